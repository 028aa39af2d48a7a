//! Names that come from outside. Each type can only be built valid; nothing re-checks them later.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Kind, Result};

/// What is encoded in a URL: all but what RFC 3986 section 2.3 leaves as it is.
pub(crate) const IN_URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Longest object path, in bytes after percent-decoding.
const MAX_PATH: usize = 1024;
/// Most segments of an object path.
const MAX_LEVELS: usize = 16;
/// Longest segment of an object path in bytes: what Linux file systems take, less the room for
/// nothing else, since an object lies under exactly its own name.
const MAX_SEGMENT: usize = 255;
/// Longest name of a device in characters: that of another authority, a slash, and its own.
const MAX_DEVICE: usize = 300;
/// Longest track name in characters; Matter allows 16, other sources use longer ones.
const MAX_TRACK_NAME: usize = 256;

/// Longest name of a stream.
const MAX_STREAM_NAME: usize = 64;
/// Most tags of a stream.
const MAX_TAGS: usize = 16;
/// Longest tag in characters.
const MAX_TAG: usize = 64;

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
                    format!(
                        "{text:?} is not a stream: expected its id, a number from 1, or its name"
                    ),
                )
            })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people call a stream: 1 to 64 of `[A-Za-z0-9_.-]`, not all digits, so that it cannot be taken for
/// an id, and none of the words that stand in its place in an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamName(String);

impl StreamName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Kind::Shape`], with what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let why = if text.is_empty() || text.len() > MAX_STREAM_NAME {
            "it must have 1 to 64 characters"
        } else if !text.bytes().all(allowed) {
            "only letters, digits, \"_\", \".\" and \"-\" are allowed"
        } else if text.bytes().all(|b| b.is_ascii_digit()) {
            "it must not be a number"
        } else if [".", "..", "probe"].contains(&text) {
            "the word is taken"
        } else {
            return Ok(Self(text.to_owned()));
        };
        let shown: String = text.chars().take(80).collect();
        Err(Error::new(
            Kind::Shape,
            format!("{shown:?} cannot be the name of a stream: {why}"),
        ))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StreamName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Checks the words that a stream is to be found by, and takes out those that are there twice.
///
/// # Errors
/// [`Kind::Shape`]: there are more than 16, or one is empty, too long, or has control characters.
pub(crate) fn tags(given: Vec<String>) -> Result<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in given {
        let tag = tag.trim();
        if tag.is_empty() || tag.chars().count() > MAX_TAG || tag.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::Shape,
                "a tag must have 1 to 64 characters, none of them control characters",
            ));
        }
        if !tags.iter().any(|held| held == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.len() > MAX_TAGS {
        return Err(Error::new(Kind::Shape, "a stream has at most 16 tags"));
    }
    Ok(tags)
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
            other => {
                let shown: String = other.chars().take(80).collect();
                let accepted = "interface must be \"cmaf-ingest\", \"dash\" or \"hls\"";
                Err(Error::new(
                    Kind::Shape,
                    format!("interface {shown:?} is not known: {accepted}, in lower case"),
                )
                .with_reasons(vec![accepted.to_owned()]))
            }
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

/// The name of a device, which may not be known (yet).
pub(crate) fn device(name: &str) -> Result<String> {
    let fits = (1..=MAX_DEVICE).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    if fits {
        return Ok(name.to_owned());
    }
    Err(Error::new(
        Kind::Invalid,
        format!(
            "a device's name has 1 to {MAX_DEVICE} characters, no control characters, and no white space at its ends"
        ),
    ))
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
    fn names_of_streams_are_no_numbers_and_need_no_escape() {
        for good in ["door-1", "1a", "a", "Front.Door_2", "-"] {
            assert_eq!(StreamName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "12",
            "a b",
            "a/b",
            "<b>",
            "ü",
            ".",
            "..",
            "probe",
            &"a".repeat(65),
        ] {
            assert!(StreamName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tags_are_few_short_and_different() {
        let own = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(tags(own(&["a", " b ", "a"])).unwrap(), own(&["a", "b"]));
        assert!(tags(own(&["a\nb"])).is_err());
        assert!(tags((0..17).map(|n| n.to_string()).collect()).is_err());
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
