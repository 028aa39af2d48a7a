use std::fmt;
use std::str::FromStr;

use super::{Error, Result};

/// RFC 5280, appendix A: upper bound of a common name, in characters.
const MAX_CHARS: usize = 64;
/// Leaves room for an extension and a temporary suffix in a file name of 255 bytes.
const MAX_BYTES: usize = 200;

/// The name a certificate is issued under: its common name and the stem of its files.
///
/// It is known to be a single harmless path segment, and never the root's own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertName(String);

impl CertName {
    /// Takes 1 to 64 characters without control characters, slashes or backslashes. Refused besides:
    /// `.` and `..`, `root` in any case (it would replace the authority's own files, also where a file
    /// system ignores case), and white space at either end.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`].
    pub fn parse(text: &str) -> Result<Self> {
        match objection(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(Error::BadName {
                name: text.chars().take(MAX_CHARS + 1).collect(),
                reason,
            }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn objection(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.chars().count() > MAX_CHARS {
        return Some("it is longer than 64 characters");
    }
    if text.len() > MAX_BYTES {
        return Some("it is longer than 200 bytes");
    }
    if text.chars().any(char::is_control) {
        return Some("control characters are not allowed");
    }
    if text.contains(['/', '\\']) {
        return Some("slashes and backslashes are not allowed");
    }
    if matches!(text, "." | "..") {
        return Some("it means a directory");
    }
    if text.eq_ignore_ascii_case("root") {
        return Some("it is reserved for the authority itself");
    }
    if text.trim() != text {
        return Some("white space at either end is not allowed");
    }
    None
}

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CertName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_kept_as_they_are() {
        let longest = "é".repeat(64);
        for text in [
            "dev",
            "cam-1",
            "front door.2",
            "...",
            "rooted",
            "Kamera Tür 北",
            "a._http._tcp.local.",
            &longest,
        ] {
            assert_eq!(CertName::parse(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn names_that_reach_elsewhere_are_refused() {
        let too_long = "x".repeat(65);
        let too_many_bytes = "\u{1f3a5}".repeat(64);
        for text in [
            "",
            ".",
            "..",
            "root",
            "ROOT",
            "a/b",
            "/",
            "a\\b",
            "a\0",
            "a\nb",
            "a\u{7f}",
            "a\u{85}",
            " a",
            "a ",
            &too_long,
            &too_many_bytes,
        ] {
            let error = CertName::parse(text).expect_err(text);
            assert!(matches!(error, Error::BadName { .. }), "{error}");
        }
    }

    #[test]
    fn the_message_names_the_text_and_the_reason() {
        assert_eq!(
            CertName::parse("root").unwrap_err().to_string(),
            r#""root" is not a certificate name: it is reserved for the authority itself"#
        );
    }
}
