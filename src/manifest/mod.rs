//! Manifests: bytes to what they say. Media Presentation Descriptions of DASH ([`mpd`]) and playlists
//! of HLS ([`playlist`]).
//!
//! The readers take a whole manifest, look at each byte a fixed number of times, and keep no more than
//! a small multiple of it. What cannot be read at all is a [`Fault`]; a value that is not what its
//! attribute takes is left out, and listed beside the rest.
//!
//! They know nothing of objects, streams or media: what a manifest's URLs mean is for others.

pub mod mpd;
pub mod playlist;

use std::fmt;

/// The longest manifest that is read, in bytes. A day of two-second segments, listed one by one for two
/// tracks, is about half of it.
pub const MAX_SIZE: usize = 8 << 20;

/// Values that are not what their attribute takes: as many are listed.
const MAX_UNREADABLE: usize = 20;

/// A longer text out of a manifest is cut in messages.
const MAX_QUOTED: usize = 60;

/// Where a manifest is not what it should be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, counted from 1.
    pub line: u64,
    /// Byte of the manifest, counted from 0.
    pub byte: u64,
    /// What was found and what was expected: one sentence, lower case, without full stop.
    pub message: String,
}

impl Fault {
    fn at(bytes: &[u8], byte: usize, message: impl Into<String>) -> Self {
        let before = bytes.get(..byte).unwrap_or(bytes);
        let ends = before.iter().filter(|byte| **byte == b'\n').count();
        Self {
            line: count(ends) + 1,
            byte: count(byte),
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} (byte {}): {}",
            self.line, self.byte, self.message
        )
    }
}

impl std::error::Error for Fault {}

/// The name of the object that a URL in the manifest at `base` means, both below the same root;
/// `None` for what lies elsewhere. Queries and fragments are left out.
#[must_use]
pub fn resolve(base: &str, url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    if url.starts_with('/') || scheme.is_some_and(|scheme| !scheme.contains('/')) {
        return None;
    }
    let url = percent_encoding::percent_decode_str(url)
        .decode_utf8()
        .ok()?;
    let mut levels: Vec<&str> = base.split('/').collect();
    levels.pop();
    for level in url.split('/') {
        match level {
            "." => {}
            ".." => {
                levels.pop()?;
            }
            level => levels.push(level),
        }
    }
    Some(levels.join("/"))
}

/// The manifest as text, if its length and encoding allow it.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MAX_SIZE {
        let message = format!("the manifest is longer than {} MiB", MAX_SIZE >> 20);
        return Err(Fault::at(bytes, MAX_SIZE, message));
    }
    std::str::from_utf8(bytes)
        .map_err(|e| Fault::at(bytes, e.valid_up_to(), "the manifest is not UTF-8 here"))
}

/// `text` for a message.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn urls_mean_objects_below_the_same_root() {
        for (base, url, object) in [
            ("index.mpd", "v/1.m4s", Some("v/1.m4s")),
            ("s/index.mpd", "v/a%20b.m4s?x=/y#z", Some("s/v/a b.m4s")),
            ("s/v/index.m3u8", "../a/./1.m4s", Some("s/a/1.m4s")),
            ("s/index.mpd", "../../x", None),
            ("s/index.mpd", "/x", None),
            ("s/index.mpd", "https://host/x", None),
            ("s/index.mpd", "x/a:b", Some("s/x/a:b")),
            ("s/index.mpd", "%ff", None),
        ] {
            assert_eq!(resolve(base, url).as_deref(), object, "{base} {url}");
        }
    }
}
