//! Names that come from outside. Each type can only be built valid; nothing re-checks them later.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Kind, Result};

/// Longest object path, in bytes after percent-decoding.
const MAX_PATH: usize = 1024;
/// Most segments of an object path.
const MAX_LEVELS: usize = 16;
/// Longest segment of an object path in bytes: what Linux file systems take, less the room for
/// nothing else, since an object lies under exactly its own name.
const MAX_SEGMENT: usize = 255;
/// Longest track name in characters; Matter allows 16, other sources use longer ones.
const MAX_TRACK_NAME: usize = 256;

/// Number of a stream; from 1, never given twice in one working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct StreamId(pub(crate) i64);

impl FromStr for StreamId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse()
            .ok()
            .filter(|id| *id > 0)
            .map(Self)
            .ok_or_else(|| {
                Error::new(
                    Kind::Shape,
                    format!("{text:?} is not a stream id: expected a number from 1"),
                )
            })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a stream's source speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Interface {
    /// DASH-IF Ingest interface 1: CMAF tracks.
    #[default]
    CmafIngest,
    /// Interface 2 with an MPD.
    Dash,
    /// Interface 2 with playlists.
    Hls,
}

impl Interface {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CmafIngest => "cmaf-ingest",
            Self::Dash => "dash",
            Self::Hls => "hls",
        }
    }
}

impl FromStr for Interface {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cmaf-ingest" => Ok(Self::CmafIngest),
            "dash" => Ok(Self::Dash),
            "hls" => Ok(Self::Hls),
            other => Err(Error::new(
                Kind::Shape,
                format!(
                    "interface {other:?} is not known: expected \"cmaf-ingest\", \"dash\" or \"hls\""
                ),
            )),
        }
    }
}

/// Where an object lies below its stream, percent-decoded: `session_1/index.mpd`.
///
/// 1 to 1,024 bytes of UTF-8 in 1 to 16 segments; no segment is empty, `.` or `..`, and there is no
/// control character. So it cannot leave its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectPath(String);

/// What the name of an object says about how uploads to it add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `Streams(…)`: always a track.
    Streams,
    /// `.cmfv .cmfa .cmft .cmfm`: a track once it begins with a CMAF header.
    CmafExtension,
    /// Any other name: each upload replaces the one before.
    Plain,
}

impl ObjectPath {
    /// Checks a percent-decoded path.
    ///
    /// # Errors
    /// [`Kind::Invalid`], with the path and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            Err(Error::new(
                Kind::Invalid,
                format!("{shown:?} is not an object path: {why}"),
            ))
        };
        if text.is_empty() {
            return wrong("it is empty; name the object after the stream's id");
        }
        if text.len() > MAX_PATH {
            return wrong("it is longer than 1024 bytes");
        }
        if text.chars().any(char::is_control) {
            return wrong("control characters are not allowed");
        }
        if text.split('/').count() > MAX_LEVELS {
            return wrong("it has more than 16 levels");
        }
        for segment in text.split('/') {
            match segment {
                "" => return wrong("a segment is empty"),
                "." | ".." => return wrong("\".\" and \"..\" are not allowed"),
                long if long.len() > MAX_SEGMENT => {
                    return wrong("a segment is longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last dot of the last segment; for `Streams(video.cmfv)` that is `cmfv`.
    pub(crate) fn extension(&self) -> Option<&str> {
        let name = self.0.rsplit('/').next()?;
        let name = streams_name(name).unwrap_or(name);
        name.rsplit_once('.').map(|(_, extension)| extension)
    }

    pub(crate) fn naming(&self) -> Naming {
        if self.0.rsplit('/').next().and_then(streams_name).is_some() {
            return Naming::Streams;
        }
        match self.extension() {
            Some("cmfv" | "cmfa" | "cmft" | "cmfm") => Naming::CmafExtension,
            _ => Naming::Plain,
        }
    }

    pub(crate) fn is_manifest(&self) -> bool {
        matches!(self.extension(), Some("mpd" | "m3u8"))
    }
}

/// The name within `Streams(…)`.
fn streams_name(segment: &str) -> Option<&str> {
    segment.strip_prefix("Streams(")?.strip_suffix(')')
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ObjectPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Checks the name of a track as given by `trackName`: at most 256 characters, none of them
/// control characters or `/`. The empty name means that no name is expected.
pub(crate) fn track_name(text: &str) -> Result<Option<String>> {
    if text.chars().any(|c| c.is_control() || c == '/') {
        return Err(Error::new(
            Kind::Shape,
            "track_name must not contain \"/\" or control characters",
        ));
    }
    if text.chars().count() > MAX_TRACK_NAME {
        return Err(Error::new(
            Kind::Shape,
            "track_name is longer than 256 characters",
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_leave_or_confuse_are_refused() {
        let deep = vec!["a"; 17].join("/");
        let long = "a".repeat(256);
        let longer = vec!["a".repeat(200); 6].join("/");
        for bad in [
            "",
            "/",
            "a//b",
            "../a",
            "a/..",
            "a/./b",
            "/etc/passwd",
            "a\0b",
            "a\nb",
            "a/",
            &deep,
            &long,
            &longer,
        ] {
            assert!(ObjectPath::parse(bad).is_err(), "{bad:?}");
        }
        for good in [
            "a",
            "a b+ü.m4s",
            "session_1/index.mpd",
            "Switching(v)/Streams(v.cmfv)",
            "..a/b..",
            "a\\b",
        ] {
            assert_eq!(ObjectPath::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn naming_and_extension() {
        for (path, naming, extension) in [
            ("Streams(video.cmfv)", Naming::Streams, Some("cmfv")),
            ("Switching(a)/Streams(b)", Naming::Streams, None),
            (
                "cmaf/example/video-720p.cmfv",
                Naming::CmafExtension,
                Some("cmfv"),
            ),
            ("a.cmfa/b", Naming::Plain, None),
            ("session_1/v/v.init", Naming::Plain, Some("init")),
            ("A.CMFV", Naming::Plain, Some("CMFV")),
        ] {
            let parsed = ObjectPath::parse(path).unwrap();
            assert_eq!(
                (parsed.naming(), parsed.extension()),
                (naming, extension),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_parsed_path_stays_below_its_directory(text in "[a./%\\\\ü\u{0}-\u{1f}]{0,40}") {
            if let Ok(path) = ObjectPath::parse(&text) {
                let joined = std::path::Path::new("/base").join(path.as_str());
                prop_assert!(joined.starts_with("/base"));
                prop_assert!(joined.components().all(|c| c != std::path::Component::ParentDir));
            }
        }
    }
}
