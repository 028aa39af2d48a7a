//! The eight or sixteen bytes every box begins with. ISO/IEC 14496-12.

use super::{BoxPath, Cause, Error, FourCc, Result};

/// How long a box is, its header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxSize {
    /// This many bytes.
    Bytes(u64),
    /// To the end of the file (size field 0); only the last top-level box may be so.
    ToEnd,
}

/// Type, size and header length of a box.
///
/// | field     | bits | when                                        |
/// |-----------|------|---------------------------------------------|
/// | size      | 32   | always; 1 = see largesize, 0 = to the end   |
/// | type      | 32   | always                                      |
/// | largesize | 64   | size is 1                                   |
///
/// The sixteen bytes that name a `uuid` box are left in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxHeader {
    /// The type.
    pub kind: FourCc,
    /// Length of the box.
    pub size: BoxSize,
    /// Length of the header: 8 or 16.
    pub header_len: u8,
}

impl BoxHeader {
    /// Longest header.
    pub const MAX_LEN: usize = 16;

    /// Reads a header from the front of `bytes`; `None` while it is not whole. `offset` and
    /// `parent` are for the error.
    ///
    /// # Errors
    ///
    /// The size is smaller than the header, or the type is made of no box characters.
    pub fn read(bytes: &[u8], offset: u64, parent: &BoxPath) -> Result<Option<Self>> {
        let Some((&[a, b, c, d, e, f, g, h], rest)) = bytes.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let kind = FourCc([e, f, g, h]);
        if !kind.is_plausible() {
            return Err(Error::new(parent, offset, Cause::NoBox));
        }
        let (size, header_len) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (BoxSize::ToEnd, 8),
            1 => match rest.first_chunk::<8>() {
                Some(large) => (BoxSize::Bytes(u64::from_be_bytes(*large)), 16),
                None => return Ok(None),
            },
            small => (BoxSize::Bytes(u64::from(small)), 8),
        };
        match size {
            BoxSize::Bytes(size) if size < u64::from(header_len) => {
                let path = parent.child(kind).unwrap_or(*parent);
                let header = u64::from(header_len);
                Err(Error::new(
                    &path,
                    offset,
                    Cause::SizeTooSmall { size, header },
                ))
            }
            _ => Ok(Some(Self {
                kind,
                size,
                header_len,
            })),
        }
    }

    /// Length of what follows the header; `None` to the end of the file.
    #[must_use]
    pub fn payload_len(&self) -> Option<u64> {
        match self.size {
            BoxSize::Bytes(size) => Some(size.saturating_sub(u64::from(self.header_len))),
            BoxSize::ToEnd => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<BoxHeader>> {
        BoxHeader::read(bytes, 0, &BoxPath::ROOT)
    }

    #[test]
    fn small_large_and_open_sizes() {
        let small = read(b"\0\0\0\x08free").unwrap().unwrap();
        assert_eq!(small.payload_len(), Some(0));
        let large = read(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0").unwrap().unwrap();
        assert_eq!(large.payload_len(), Some((1 << 32) - 16));
        assert_eq!(large.header_len, 16);
        let open = read(b"\0\0\0\0mdat").unwrap().unwrap();
        assert_eq!(open.payload_len(), None);
    }

    #[test]
    fn sizes_less_than_the_header_are_refused() {
        for size in 2..8u8 {
            assert!(read(&[0, 0, 0, size, b'f', b'r', b'e', b'e']).is_err());
        }
        assert!(read(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x0f").is_err());
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let large = b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0";
        for len in 0..large.len() {
            assert_eq!(read(&large[..len]).unwrap(), None, "{len}");
        }
    }
}
