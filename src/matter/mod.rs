//! Object names as the Matter profile wants them.
//!
//! [`check`] looks at one upload's name alone. Its sentences are those that users of the Matter
//! project's test server know.

use crate::catalog::Stream;
use crate::names::{Interface, Naming, ObjectPath};

/// What is wrong with an upload of this name to this stream; empty when it is right.
pub(crate) fn check(stream: &Stream, path: &ObjectPath, has_certificate: bool) -> Vec<String> {
    let mut errors = Vec::new();
    let extension = path.extension().unwrap_or_default();
    match extension {
        // Interface 1 leaves the names of tracks to the source.
        _ if stream.interface == Interface::CmafIngest && path.naming() != Naming::Plain => {}
        "mpd" => check_mpd(stream, path, &mut errors),
        "m3u8" => check_m3u8(stream, path, &mut errors),
        "m4s" | "init" => check_segment(stream, path, extension, &mut errors),
        other => errors.push(format!(
            "Invalid extension: {other}, valid extensions are mpd, m3u8, m4s, init"
        )),
    }
    if !has_certificate {
        errors.push("File upload did not happen with SSL context".to_owned());
    }
    errors
}

fn check_mpd(stream: &Stream, path: &ObjectPath, errors: &mut Vec<String>) {
    if stream.interface != Interface::Dash {
        errors.push("Unsupported manifest object extension".to_owned());
    }
    if !matches!(levels(path)[..], [session, "index.mpd"] if is_session(session)) {
        errors.push("DASH manifest must be uploaded as session_X/index.mpd".to_owned());
    }
}

fn check_m3u8(stream: &Stream, path: &ObjectPath, errors: &mut Vec<String>) {
    if stream.interface != Interface::Hls {
        errors.push("Unsupported manifest object extension".to_owned());
    }
    match levels(path)[..] {
        [session, "index.m3u8"] if is_session(session) => {}
        [session, track, "index.m3u8"] if is_session(session) => check_track(stream, track, errors),
        _ => errors.push(
            "HLS manifest must be uploaded as session_X/index.m3u8 (multi-variant) or \
             session_X/track_name/index.m3u8 (media playlist)"
                .to_owned(),
        ),
    }
}

fn check_segment(stream: &Stream, path: &ObjectPath, extension: &str, errors: &mut Vec<String>) {
    match levels(path)[..] {
        [session, track, name]
            if is_session(session) && (extension == "init" || is_segment(name)) =>
        {
            check_track(stream, track, errors);
        }
        _ => errors.push("Path does not adhere to Matter's path format".to_owned()),
    }
}

fn check_track(stream: &Stream, track: &str, errors: &mut Vec<String>) {
    if let Some(expected) = stream
        .track_name
        .as_deref()
        .filter(|expected| *expected != track)
    {
        errors.push(format!(
            "Track name mismatch: {track} != {expected}, must match TrackName provided in ContainerOptions"
        ));
    }
}

fn levels(path: &ObjectPath) -> Vec<&str> {
    path.as_str().split('/').collect()
}

fn is_session(name: &str) -> bool {
    name.strip_prefix("session_").is_some_and(is_number)
}

fn is_segment(name: &str) -> bool {
    name.strip_prefix("segment_")
        .and_then(|n| n.strip_suffix(".m4s"))
        .is_some_and(is_number)
}

/// ASCII digits up to 2^64 - 1.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::names::StreamId;

    fn stream(interface: Interface, track_name: Option<&str>) -> Stream {
        Stream {
            id: StreamId(1),
            interface,
            strict_mode: true,
            track_name: track_name.map(str::to_owned),
            owner: None,
            created: Timestamp::now(),
        }
    }

    #[test]
    fn d20_d34_names_of_each_interface() {
        use Interface::{CmafIngest, Dash, Hls};
        const MANIFEST: &str = "Unsupported manifest";
        const FORMAT: &str = "Path does not adhere";
        for (interface, path, fault) in [
            (Dash, "session_1/index.mpd", None),
            (
                Dash,
                "session_18446744073709551615/v/segment_1001.m4s",
                None,
            ),
            (
                Dash,
                "session_18446744073709551616/v/segment_1001.m4s",
                Some(FORMAT),
            ),
            (Dash, "session_1/v/v.init", None),
            (Dash, "session_1/v/x/v.init", Some(FORMAT)),
            (Dash, "session_1/v/segment_١.m4s", Some(FORMAT)),
            (Dash, "session_1/index.m3u8", Some(MANIFEST)),
            (Dash, "index.mpd", Some("DASH manifest must")),
            (
                Dash,
                "session_1/v/segment_1.M4S",
                Some("Invalid extension: M4S"),
            ),
            (Dash, "video.cmfv", Some("Invalid extension: cmfv")),
            (Hls, "session_1/index.m3u8", None),
            (Hls, "session_1/v/index.m3u8", None),
            (Hls, "v/index.m3u8", Some("HLS manifest must")),
            (Hls, "session_1/index.mpd", Some(MANIFEST)),
            (CmafIngest, "cmaf/example/video-720p.cmfv", None),
            (CmafIngest, "Switching(1)/Streams(video)", None),
            (CmafIngest, "session_1/v/segment_1.m4s", None),
            (CmafIngest, "video.mp4", Some("Invalid extension: mp4")),
            (CmafIngest, "session_1/index.mpd", Some(MANIFEST)),
        ] {
            let errors = check(
                &stream(interface, None),
                &ObjectPath::parse(path).unwrap(),
                true,
            );
            match fault {
                None => assert!(errors.is_empty(), "{path}: {errors:?}"),
                Some(fault) => {
                    assert!(
                        errors.iter().any(|e| e.starts_with(fault)),
                        "{path}: {errors:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_track_name_is_compared_where_one_is_set() {
        let stream = stream(Interface::Dash, Some("media"));
        let path = |text| ObjectPath::parse(text).unwrap();
        assert!(check(&stream, &path("session_1/media/segment_1.m4s"), true).is_empty());
        let errors = check(&stream, &path("session_1/video/segment_1.m4s"), false);
        assert!(errors[0].starts_with("Track name mismatch: video != media"));
        assert_eq!(errors[1], "File upload did not happen with SSL context");
    }
}
