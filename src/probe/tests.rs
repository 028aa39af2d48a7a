use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::cmaf::testing::{header, moof};
use crate::isobmff::build::concat;

/// Fields that must be what ffprobe 5.1 gives, wherever it gives one.
const FIELDS: [&str; 30] = [
    "codec_name",
    "codec_type",
    "codec_tag_string",
    "codec_tag",
    "profile",
    "level",
    "width",
    "height",
    "coded_width",
    "coded_height",
    "sample_aspect_ratio",
    "display_aspect_ratio",
    "pix_fmt",
    "color_range",
    "color_space",
    "color_transfer",
    "color_primaries",
    "chroma_location",
    "field_order",
    "has_b_frames",
    "sample_fmt",
    "sample_rate",
    "channels",
    "channel_layout",
    "r_frame_rate",
    "avg_frame_rate",
    "time_base",
    "start_pts",
    "nb_frames",
    "disposition",
];

/// Where ffprobe says "unknown" (level -99) and the bytes know better: the file, the box, the
/// position of the byte in the box's payload, and its value, which is the level we give.
const KNOWN_LEVELS: [(&str, &[u8; 4], usize, u8); 11] = [
    ("dash/init-stream0.m4s", b"avcC", 3, 30),
    ("dash/init-stream1.m4s", b"avcC", 3, 12),
    ("hls/v0/init_0.mp4", b"avcC", 3, 12),
    ("matter/session_1/video/video.init", b"avcC", 3, 12),
    ("segments/h264/init.mp4", b"avcC", 3, 30),
    ("encrypted/h264-clear/video/init.mp4", b"avcC", 3, 12),
    ("encrypted/h264-cbcs/video/init.mp4", b"avcC", 3, 12),
    ("encrypted/h264-cenc/video/init.mp4", b"avcC", 3, 12),
    ("tracks/vp9-360p.cmfv", b"vpcC", 5, 21),
    ("tracks/vvc-180p.cmfv", b"vvcC", 10, 32),
    ("made/vp9-full-range.cmfv", b"vpcC", 5, 10),
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/media")
}

/// Names of all media files below `tests/data/media` beside which there is what ffprobe says of them.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![data()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(data()).unwrap().to_str().unwrap();
            if path.is_dir() {
                directories.push(path);
            } else if let Some(media) = name.strip_suffix(".ffprobe.json") {
                found.push(media.to_owned());
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    found.sort();
    found
}

/// The header that goes with a media segment.
fn header_of(name: &str) -> Option<PathBuf> {
    let path = data().join(name);
    let init = match name {
        _ if name.contains("init") || name.starts_with("tracks/") || name.starts_with("made/") => {
            return None;
        }
        _ if name.starts_with("dash/") => {
            let stream = name.split('-').nth(1).unwrap();
            format!("init-{stream}.m4s")
        }
        _ if name.starts_with("matter/") => "audio.init".to_owned(),
        _ if name.starts_with("hls/") => "init_1.mp4".to_owned(),
        _ => "init.mp4".to_owned(),
    };
    Some(path.with_file_name(init))
}

fn ours(name: &str) -> Value {
    let mut file = File::open(data().join(name)).unwrap();
    let size = file.metadata().unwrap().len();
    let header = header_of(name).map(|path| std::fs::read(path).unwrap());
    let report = probe(&mut file, size, header.as_deref(), name);
    serde_json::to_value(report.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap()
}

fn theirs(name: &str) -> Value {
    let path = data().join(format!("{name}.ffprobe.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn fields_equal_those_of_ffprobe() {
    let mut differences = Vec::new();
    for name in files() {
        let (ours, theirs) = (ours(&name), theirs(&name));
        let streams = |report: &Value| report["streams"].as_array().unwrap().clone();
        assert_eq!(streams(&ours).len(), streams(&theirs).len(), "{name}");
        for (ours, theirs) in streams(&ours).iter().zip(streams(&theirs)) {
            let tags = ["language", "handler_name"]
                .map(|tag| (&ours["tags"][tag], &theirs["tags"][tag], tag));
            let fields = FIELDS.map(|field| (&ours[field], &theirs[field], field));
            for (ours, theirs, field) in fields.into_iter().chain(tags) {
                let unknown = field == "level" && *theirs == json!(-99);
                if !theirs.is_null() && !unknown && ours != theirs {
                    differences.push(format!("{name}: {field} is {ours}, ffprobe: {theirs}"));
                }
            }
        }
        for field in ["format_name", "nb_streams"] {
            assert_eq!(ours["format"][field], theirs["format"][field], "{name}");
        }
        for tag in ["major_brand", "minor_version", "compatible_brands"] {
            assert_eq!(
                ours["format"]["tags"][tag], theirs["format"]["tags"][tag],
                "{name}"
            );
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn levels_that_ffprobe_does_not_know_are_in_the_bytes() {
    let unknown = files()
        .into_iter()
        .filter(|name| theirs(name)["streams"][0]["level"] == json!(-99));
    let mut listed: Vec<_> = KNOWN_LEVELS
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    listed.sort();
    assert_eq!(unknown.collect::<Vec<_>>(), listed);
    for (name, kind, at, level) in KNOWN_LEVELS {
        let bytes = std::fs::read(data().join(name)).unwrap();
        let payload = bytes.windows(4).position(|window| window == kind).unwrap() + 4;
        assert_eq!(bytes[payload + at], level, "{name}");
        assert_eq!(ours(name)["streams"][0]["level"], json!(level), "{name}");
    }
}

#[test]
fn durations_are_sums_and_rates_follow() {
    let segment = ours("segments/h264/0002.m4s");
    let stream = &segment["streams"][0];
    assert_eq!(stream["nb_frames"], "25");
    assert_eq!(
        (&stream["duration_ts"], &stream["duration"]),
        (&json!(12800), &json!("1.000000"))
    );
    assert_eq!(segment["format"]["size"], "44773");
    assert_eq!(segment["format"]["duration"], "1.000000");
    assert_eq!(segment["format"]["bit_rate"], (44773 * 8).to_string());
}

#[test]
fn a_growing_file_is_described_up_to_its_last_whole_fragment() {
    let bytes = std::fs::read(data().join("tracks/h264-ll-200ms-chunks.cmfv")).unwrap();
    let mut frames = Vec::new();
    for size in (0..bytes.len()).step_by(97).chain([bytes.len()]) {
        // The file has grown further meanwhile; what is behind `size` must not be looked at.
        let report = probe(&mut Cursor::new(&bytes), size as u64, None, "growing");
        match report {
            Ok(report) => frames.push(report.streams[0].nb_frames.parse::<u32>().unwrap()),
            Err(error) => {
                assert!(frames.is_empty(), "{error}");
                assert!(matches!(error, ProbeError::NotMedia), "{error}");
            }
        }
    }
    assert_eq!((frames[0], frames.last()), (0, Some(&100)));
    assert!(frames.is_sorted());
    frames.dedup();
    assert_eq!(frames.len(), 21, "one step for each of the chunks");
}

#[test]
fn a_segment_needs_a_header_and_a_playlist_is_no_media() {
    let segment = std::fs::read(data().join("segments/h264/0002.m4s")).unwrap();
    let report =
        |bytes: &[u8], header| probe(&mut Cursor::new(bytes), bytes.len() as u64, header, "x");
    assert!(matches!(
        report(&segment, None),
        Err(ProbeError::HeaderMissing)
    ));
    assert!(matches!(
        report(&segment, Some(b"nonsense")),
        Err(ProbeError::Header(_))
    ));
    assert!(matches!(
        report(b"#EXTM3U\n#EXT-X-VERSION:7\n", None),
        Err(ProbeError::NotMedia)
    ));
    assert!(matches!(report(b"", None), Err(ProbeError::NotMedia)));
}

#[test]
fn encryption_is_described() {
    let cenc = ours("encrypted/h264-cenc/video/1.m4s");
    let stream = &cenc["streams"][0];
    assert_eq!(stream["codecs"], "avc1.4d400c");
    assert_eq!(stream["encryption"]["scheme"], "cenc");
    let cbcs = ours("encrypted/h264-cbcs/audio/init.mp4");
    assert_eq!(cbcs["streams"][0]["encryption"]["scheme"], "cbcs");
    let key = cbcs["streams"][0]["encryption"]["key_id"].as_str().unwrap();
    assert!(key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert!(ours("dash/init-stream1.m4s")["streams"][0]["encryption"].is_null());
}

/// A header and then fragments of 4 MiB without end, made up as they are read.
struct Endless {
    header: Vec<u8>,
    fragment: Vec<u8>,
    at: u64,
    read: u64,
}

const MDAT: u64 = 4 << 20;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            let header = self.header.len() as u64;
            let within = match self.at.checked_sub(header) {
                None => self.header.get(self.at as usize),
                Some(at) => self
                    .fragment
                    .get((at % (self.fragment.len() as u64 + MDAT)) as usize),
            };
            *byte = within.copied().unwrap_or(0);
            self.at += 1;
        }
        self.read += buffer.len() as u64;
        Ok(buffer.len())
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
            SeekFrom::End(_) => unreachable!("the end is not asked for"),
        };
        Ok(self.at)
    }
}

#[test]
fn sixteen_gibibytes_are_probed_by_reading_few_of_them() {
    let mdat = concat(&[&((MDAT + 8) as u32).to_be_bytes()[..], b"mdat"]);
    let mut source = Endless {
        header: header(&[1]),
        fragment: concat(&[moof(1, &[1], 0, &[MDAT as u32]), mdat]),
        at: 0,
        read: 0,
    };
    let report = probe(&mut source, 16 << 30, None, "endless").unwrap();
    assert_eq!(report.streams[0].nb_frames, "4095");
    assert!(source.read < 20 << 20, "{} bytes read", source.read);
}
