//! The verdicts on media that real muxers made.
//!
//! Each line is a header and the bodies that belong to it, in order, and what they are told with the
//! severity of error by the letter of CMAF. Whatever is not named has no error in any profile.

use std::path::Path;

use super::*;
use crate::finding::{Profile, Severity};

/// Rule, box path, byte.
type Errors = &'static [(&'static str, &'static str, u64)];

/// What breaks the letter, file by file, with the first byte that shows it. Other profiles only warn.
const LETTER_ONLY: [(&str, Errors); 3] = [
    (
        "tracks/ffmpeg-cenc-ctr.cmfv",
        &[("auxiliary-information", "moof > traf", 1413)],
    ),
    (
        "tracks/fmp4-nocmaf-base-offset.mp4",
        &[("tfhd-base-offset", "moof > traf > tfhd", 833)],
    ),
    (
        "tracks/muxed-h264-aac.mp4",
        &[("one-track", "moov", 28), ("one-traf", "moof", 1304)],
    ),
];

/// What is an error in every profile. Segment 2 of `segments/h264` begins in the middle of a group of
/// pictures: the default flags of its `tfhd` are 0x01010000, and its `trun` has none of its own.
const EVERYWHERE: [(&str, Errors); 3] = [
    (
        "made/h264-ntsc-progressive.mp4",
        &[
            ("mvex-missing", "moov", 10549),
            (
                "sample-table-empty",
                "moov > trak > mdia > minf > stbl > stts",
                11148,
            ),
        ],
    ),
    (
        "segments/h264/0002.m4s",
        &[("fragment-sync", "moof > traf", 56)],
    ),
    (
        "tracks/progressive-h264-aac.mp4",
        &[
            ("mvex-missing", "moov", 32),
            (
                "sample-table-empty",
                "moov > trak > mdia > minf > stbl > stts",
                627,
            ),
        ],
    ),
];

/// What a header and its segments are called: they are judged one after the other.
const SEGMENTED: [(&str, &[&str]); 11] = [
    ("dash/init-stream1.m4s", &["dash/chunk-stream1-00001.m4s"]),
    (
        "dash/init-stream2.m4s",
        &[
            "dash/chunk-stream2-00001.m4s",
            "dash/chunk-stream2-00004.m4s",
        ],
    ),
    (
        "encrypted/h264-cbcs/audio/init.mp4",
        &["encrypted/h264-cbcs/audio/1.m4s"],
    ),
    (
        "encrypted/h264-cbcs/video/init.mp4",
        &["encrypted/h264-cbcs/video/1.m4s"],
    ),
    (
        "encrypted/h264-cenc/video/init.mp4",
        &["encrypted/h264-cenc/video/1.m4s"],
    ),
    (
        "encrypted/hevc-cenc/video/init.mp4",
        &["encrypted/hevc-cenc/video/1.m4s"],
    ),
    ("hls/v1/init_1.mp4", &["hls/v1/segment_0003.m4s"]),
    (
        "matter/session_1/audio/audio.init",
        &["matter/session_1/audio/segment_1003.m4s"],
    ),
    (
        "segments/h264/init.mp4",
        &["segments/h264/0002.m4s", "segments/h264/0003.m4s"],
    ),
    ("text/stpp/init.mp4", &["text/stpp/2.m4s"]),
    ("text/wvtt/init.mp4", &["text/wvtt/3.m4s"]),
];

/// Rule, box path and byte of what is an error in `profile`.
fn errors(findings: &Findings, profile: Profile) -> Vec<(&'static str, String, u64)> {
    findings
        .iter()
        .filter(|found| found.severity(profile) == Some(Severity::Error))
        .map(|found| {
            let path = found.box_path.clone().unwrap_or_default();
            (found.rule.id, path, found.offset.unwrap_or(u64::MAX))
        })
        .collect()
}

/// What the tables above expect of `name`, in `profile`.
fn expected(name: &str, profile: Profile) -> Vec<(&'static str, String, u64)> {
    let of = |table: &[(&str, Errors)]| -> Vec<_> {
        let lines = table.iter().filter(|(file, _)| *file == name);
        lines
            .flat_map(|(_, errors)| errors.iter())
            .map(|(rule, path, at)| (*rule, (*path).to_owned(), *at))
            .collect()
    };
    let mut all = of(&EVERYWHERE);
    if profile == Profile::Cmaf {
        all.extend(of(&LETTER_ONLY));
        // A progressive file with two tracks breaks the letter once more.
        if name == "tracks/progressive-h264-aac.mp4" {
            all.insert(0, ("one-track", "moov".to_owned(), 32));
        }
    }
    all
}

fn media() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/media")
}

/// Judges a file and holds its errors against the tables.
fn verdict(name: &str, context: Context) -> BodyScanner {
    let body = std::fs::read(media().join(name)).unwrap();
    let (findings, scanner) = judge(context, &body);
    for profile in Profile::ALL {
        assert_eq!(
            errors(&findings, profile),
            expected(name, profile),
            "{name} as {profile:?}"
        );
    }
    scanner
}

/// The files of one directory that are media.
fn files(directory: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(media().join(directory))
        .unwrap()
        .map(|entry| {
            format!(
                "{directory}/{}",
                entry.unwrap().file_name().to_str().unwrap()
            )
        })
        .filter(|name| !name.ends_with(".json") && !name.ends_with(".err"))
        .collect();
    names.sort();
    names
}

#[test]
fn whole_tracks() {
    let mut names = files("tracks");
    names.extend(files("made"));
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        verdict(
            &name,
            Context {
                kind: Kind::of_name(&name),
                ..Context::default()
            },
        );
    }
}

#[test]
fn headers_and_their_segments() {
    for (header, segments) in SEGMENTED {
        let scanner = verdict(
            header,
            Context {
                kind: Kind::Header,
                ..Context::default()
            },
        );
        let header = scanner.last_header().unwrap().clone();
        let mut previous = None;
        for segment in segments {
            let context = Context {
                kind: Kind::of_name(segment),
                header: Some(header.clone()),
                previous,
                expected: None,
            };
            assert_eq!(context.kind, Kind::Segment);
            previous = verdict(segment, context).last_fragment().copied();
            assert!(previous.is_some());
        }
    }
}
