//! What an object is, by its path.
//!
//! ```text
//! session_N/index.mpd                   MPD
//! session_N/index.m3u8                  multivariant playlist
//! session_N/TRACK/index.m3u8            media playlist
//! session_N/TRACK/NAME.init             CMAF header
//! session_N/TRACK/segment_N.m4s         segment
//! ….cmfv .cmfa .cmft .cmfm, Streams(…)  track of DASH-IF Interface-1
//! ```
//!
//! A pattern covers the whole path. `N` is ASCII digits up to 2^64 - 1. Extensions are compared as they
//! are written here.

use crate::names::{Naming, ObjectPath};

/// What the path of an upload says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'p> {
    DashManifest {
        session: u64,
    },
    Multivariant {
        session: u64,
    },
    MediaPlaylist {
        session: u64,
        track: &'p str,
    },
    Init {
        session: u64,
        track: &'p str,
    },
    Segment {
        session: u64,
        track: &'p str,
    },
    /// A track whose path the source has chosen.
    Interface1 {
        /// Its own name: within `Streams(…)`, or of the file.
        name: &'p str,
        /// The directory it lies in.
        directory: Option<&'p str>,
    },
    /// The extension is known and the path is none of the above.
    Misplaced(Extension),
    /// Another extension.
    Other(&'p str),
}

/// A known extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Mpd,
    M3u8,
    Init,
    M4s,
}

impl<'p> Name<'p> {
    pub(crate) fn of(path: &'p ObjectPath) -> Self {
        let text = path.as_str();
        if path.naming() != Naming::Plain {
            return interface1(text);
        }
        let levels = text.split('/');
        let mut parts = [""; 3];
        let mut count = 0_usize;
        for level in levels {
            if let Some(part) = parts.get_mut(count) {
                *part = level;
            }
            count += 1;
        }
        let [first, second, third] = parts;
        let session = numbered(first, "session_", "");
        match (path.extension().unwrap_or_default(), count, session) {
            ("mpd", 2, Some(session)) if second == "index.mpd" => Self::DashManifest { session },
            ("mpd", ..) => Self::Misplaced(Extension::Mpd),
            ("m3u8", 2, Some(session)) if second == "index.m3u8" => Self::Multivariant { session },
            ("m3u8", 3, Some(session)) if third == "index.m3u8" => Self::MediaPlaylist {
                session,
                track: second,
            },
            ("m3u8", ..) => Self::Misplaced(Extension::M3u8),
            ("init", 3, Some(session)) if third != ".init" => Self::Init {
                session,
                track: second,
            },
            ("init", ..) => Self::Misplaced(Extension::Init),
            ("m4s", 3, Some(session)) if numbered(third, "segment_", ".m4s").is_some() => {
                Self::Segment {
                    session,
                    track: second,
                }
            }
            ("m4s", ..) => Self::Misplaced(Extension::M4s),
            (other, ..) => Self::Other(other),
        }
    }

    /// The session that the path names.
    pub(crate) fn session(&self) -> Option<u64> {
        match *self {
            Self::DashManifest { session }
            | Self::Multivariant { session }
            | Self::MediaPlaylist { session, .. }
            | Self::Init { session, .. }
            | Self::Segment { session, .. } => Some(session),
            Self::Interface1 { .. } | Self::Misplaced(_) | Self::Other(_) => None,
        }
    }

    /// The track of a session that the path names.
    pub(crate) fn track(&self) -> Option<&'p str> {
        match *self {
            Self::MediaPlaylist { track, .. }
            | Self::Init { track, .. }
            | Self::Segment { track, .. } => Some(track),
            _ => None,
        }
    }
}

fn interface1(path: &str) -> Name<'_> {
    let (above, last) = match path.rsplit_once('/') {
        Some((above, last)) => (Some(above), last),
        None => (None, path),
    };
    let name = last
        .strip_prefix("Streams(")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(last);
    let name = [".cmfv", ".cmfa", ".cmft", ".cmfm"]
        .iter()
        .find_map(|extension| name.strip_suffix(extension))
        .unwrap_or(name);
    let directory = above.map(|above| above.rsplit_once('/').map_or(above, |(_, last)| last));
    Name::Interface1 { name, directory }
}

/// The number between two texts.
fn numbered(text: &str, before: &str, after: &str) -> Option<u64> {
    let digits = text.strip_prefix(before)?.strip_suffix(after)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d34_paths_are_what_their_whole_text_says() {
        use Extension::{Init, M3u8, M4s, Mpd};
        let segment = |session| Name::Segment {
            session,
            track: "v",
        };
        for (text, expected) in [
            ("session_1/index.mpd", Name::DashManifest { session: 1 }),
            ("session_01/index.m3u8", Name::Multivariant { session: 1 }),
            (
                "session_1/v/index.m3u8",
                Name::MediaPlaylist {
                    session: 1,
                    track: "v",
                },
            ),
            (
                "session_1/v/v.init",
                Name::Init {
                    session: 1,
                    track: "v",
                },
            ),
            ("session_1/v/segment_0001.m4s", segment(1)),
            (
                "session_18446744073709551615/v/segment_18446744073709551615.m4s",
                segment(u64::MAX),
            ),
            (
                "session_18446744073709551616/v/segment_1.m4s",
                Name::Misplaced(M4s),
            ),
            (
                "session_1/v/segment_18446744073709551616.m4s",
                Name::Misplaced(M4s),
            ),
            ("session_١/index.mpd", Name::Misplaced(Mpd)),
            ("session_1/v/segment_١.m4s", Name::Misplaced(M4s)),
            ("session_1/v/segment_+1.m4s", Name::Misplaced(M4s)),
            ("session_/v/segment_1.m4s", Name::Misplaced(M4s)),
            ("session_1/v/segment_.m4s", Name::Misplaced(M4s)),
            ("a/session_1/v/segment_1.m4s", Name::Misplaced(M4s)),
            ("session_1/v/w/segment_1.m4s", Name::Misplaced(M4s)),
            ("session_1/v/w/v.init", Name::Misplaced(Init)),
            ("session_1/v/.init", Name::Misplaced(Init)),
            ("session_1/v.init", Name::Misplaced(Init)),
            ("session_1/v/index.mpd", Name::Misplaced(Mpd)),
            ("session_1/other.mpd", Name::Misplaced(Mpd)),
            ("index.m3u8", Name::Misplaced(M3u8)),
            ("session_1/v/w/index.m3u8", Name::Misplaced(M3u8)),
            ("session_1/v/segment_1.M4S", Name::Other("M4S")),
            ("session_1/v/segment_1", Name::Other("")),
            ("a.mp4", Name::Other("mp4")),
        ] {
            let path = ObjectPath::parse(text).unwrap();
            assert_eq!(Name::of(&path), expected, "{text}");
        }
    }

    #[test]
    fn tracks_of_interface_1_have_a_name_and_a_directory() {
        for (text, name, directory) in [
            ("Streams(video.cmfv)", "video", None),
            ("Switching(1)/Streams(video)", "video", Some("Switching(1)")),
            (
                "cmaf/example/video-720p.cmfv",
                "video-720p",
                Some("example"),
            ),
            ("video/17.cmfa", "17", Some("video")),
        ] {
            let path = ObjectPath::parse(text).unwrap();
            assert_eq!(
                Name::of(&path),
                Name::Interface1 { name, directory },
                "{text}"
            );
        }
    }
}
