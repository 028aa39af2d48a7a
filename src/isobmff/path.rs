//! Where a box stands: the types of all its ancestors and its own.

use std::fmt;

use super::{FourCc, limits};

/// Path of a box from the top level, at most [`limits::DEPTH`] long; `moof > traf > tfdt`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BoxPath {
    kinds: [FourCc; limits::DEPTH],
    len: u8,
}

impl BoxPath {
    /// The path of the file itself.
    pub const ROOT: Self = Self {
        kinds: [FourCc([0; 4]); limits::DEPTH],
        len: 0,
    };

    /// The path of a child of this box; `None` where it would be too deep.
    #[must_use]
    pub fn child(mut self, kind: FourCc) -> Option<Self> {
        *self.kinds.get_mut(usize::from(self.len))? = kind;
        self.len = self.len.checked_add(1)?;
        Some(self)
    }

    /// The types, outermost first.
    #[must_use]
    pub fn kinds(&self) -> &[FourCc] {
        self.kinds.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for BoxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kind) in self.kinds().iter().enumerate() {
            if at > 0 {
                f.write_str(" > ")?;
            }
            write!(f, "{kind}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BoxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_the_depth_limit() {
        let mut path = BoxPath::ROOT;
        for _ in 0..limits::DEPTH {
            path = path.child(FourCc(*b"moov")).unwrap();
        }
        assert_eq!(path.child(FourCc(*b"trak")), None);
        assert_eq!(path.kinds().len(), limits::DEPTH);
    }
}
