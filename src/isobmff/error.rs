//! Why bytes could not be read as boxes.

use std::fmt;

use super::{BoxPath, FourCc};

/// Result with this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong, in which box, at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    path: Vec<FourCc>,
    offset: u64,
    cause: Cause,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Fewer bytes than the fields need.
    Short {
        /// Bytes needed from the offset on.
        need: u64,
        /// Bytes there are.
        left: u64,
    },
    /// The size field is smaller than the header it stands in.
    SizeTooSmall {
        /// What the size field says.
        size: u64,
        /// Bytes the header takes.
        header: u64,
    },
    /// "To the end of the file" where that is not allowed.
    OpenSize,
    /// The box ends behind its parent.
    PastParent {
        /// What the size field says.
        size: u64,
        /// Bytes left in the parent.
        left: u64,
    },
    /// The box is longer than what is held for one of its type.
    TooLarge {
        /// What the size field says.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// More nesting than [`super::limits::DEPTH`].
    TooDeep,
    /// More boxes than [`super::limits::BOXES`].
    TooMany,
    /// Four bytes that no box type is made of.
    NoBox,
    /// A version of the box that is not defined.
    Version {
        /// The version found.
        found: u8,
    },
    /// An entry count that does not go with the bytes of the box.
    Count {
        /// The count found.
        found: u64,
        /// Bytes that many entries need.
        need: u64,
        /// Bytes there are.
        left: u64,
    },
    /// The box must hold a box of this type, and does not.
    Missing(FourCc),
    /// Anything else; the words say what was expected.
    Value(&'static str),
}

impl Error {
    /// An error in the box at `path`, at byte `offset` of the input.
    #[must_use]
    pub fn new(path: &BoxPath, offset: u64, cause: Cause) -> Self {
        Self {
            path: path.kinds().to_vec(),
            offset,
            cause,
        }
    }

    /// The types from the outermost box to the one in trouble; empty at the top level.
    #[must_use]
    pub fn path(&self) -> &[FourCc] {
        &self.path
    }

    /// Position in the input, counted from its first byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kind) in self.path.iter().enumerate() {
            let separator = if at > 0 { " > " } else { "" };
            write!(f, "{separator}{kind}")?;
        }
        let space = if self.path.is_empty() { "" } else { " " };
        write!(f, "{space}at byte {}: {}", self.offset, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { need, left } => write!(f, "need {need} bytes, {left} left"),
            Self::SizeTooSmall { size, header } => {
                write!(
                    f,
                    "box size {size} is less than its header of {header} bytes"
                )
            }
            Self::OpenSize => {
                f.write_str("box size 0 (to the end of the file) is only allowed for a last mdat")
            }
            Self::PastParent { size, left } => {
                write!(f, "box size {size}, but its parent has {left} bytes left")
            }
            Self::TooLarge { size, limit } => {
                write!(f, "box size {size} is over the limit of {limit} bytes")
            }
            Self::TooDeep => f.write_str("boxes are nested too deep"),
            Self::TooMany => f.write_str("too many boxes"),
            Self::NoBox => f.write_str("expected a box, found bytes that are no box type"),
            Self::Version { found } => write!(f, "version {found} is not defined"),
            Self::Count { found, need, left } => {
                write!(f, "{found} entries need {need} bytes, {left} left")
            }
            Self::Missing(kind) => write!(f, "expected a {kind} box, found none"),
            Self::Value(expected) => f.write_str(expected),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_path_offset_needed_and_found() {
        let path = BoxPath::ROOT
            .child(FourCc(*b"moof"))
            .and_then(|p| p.child(FourCc(*b"traf")))
            .and_then(|p| p.child(FourCc(*b"tfdt")))
            .unwrap();
        let error = Error::new(&path, 1184, Cause::Short { need: 8, left: 3 });
        assert_eq!(
            error.to_string(),
            "moof > traf > tfdt at byte 1184: need 8 bytes, 3 left"
        );
    }
}
