//! The four characters that name a box, a brand, a handler or a codec.

use std::fmt;

/// A four-character code, kept as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FourCc(pub [u8; 4]);

impl FourCc {
    /// The code as a big-endian number, as it stands in the file.
    #[must_use]
    pub const fn number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// Whether all four bytes are ones that box types are made of: printable, or the `©` of
    /// `QuickTime`. Garbage where a box should begin is seldom so.
    #[must_use]
    pub fn is_plausible(self) -> bool {
        self.0.iter().all(|b| matches!(b, 0x20..=0x7e | 0xa9))
    }
}

impl From<u32> for FourCc {
    fn from(number: u32) -> Self {
        Self(number.to_be_bytes())
    }
}

impl From<&[u8; 4]> for FourCc {
    fn from(bytes: &[u8; 4]) -> Self {
        Self(*bytes)
    }
}

impl PartialEq<&[u8; 4]> for FourCc {
    fn eq(&self, other: &&[u8; 4]) -> bool {
        self.0 == **other
    }
}

impl PartialEq<[u8; 4]> for FourCc {
    fn eq(&self, other: &[u8; 4]) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if (0x20..0x7f).contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_bytes_that_are_no_characters() {
        assert_eq!(FourCc(*b"avc1").to_string(), "avc1");
        assert_eq!(FourCc([0xa9, b't', b'o', 0]).to_string(), "\\xa9to\\x00");
        assert!(FourCc(*b"\xa9too").is_plausible());
        assert!(!FourCc([0, 0, 0, 1]).is_plausible());
    }
}
