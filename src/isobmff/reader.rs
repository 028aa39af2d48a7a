//! A cursor over the payload of one box that knows where in the input it stands.

use super::{BoxPath, Cause, Error, FourCc, Result};

/// Reads big-endian fields from a slice and never past it; errors carry the path of the box and
/// the byte in the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
    offset: u64,
    path: BoxPath,
}

impl<'a> Reader<'a> {
    /// A reader over `payload`, whose first byte is byte `offset` of the input, in the box at
    /// `path`.
    #[must_use]
    pub fn new(payload: &'a [u8], offset: u64, path: BoxPath) -> Self {
        Self {
            left: payload,
            offset,
            path,
        }
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// Whether all bytes have been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Position of the next byte in the input.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The box this reader reads.
    #[must_use]
    pub fn path(&self) -> &BoxPath {
        &self.path
    }

    /// An error at the present position.
    #[must_use]
    pub fn error(&self, cause: Cause) -> Error {
        Error::new(&self.path, self.offset, cause)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// [`Cause::Short`] if there are fewer; nothing is read then. So for all that follow.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((taken, left)) = self.left.split_at_checked(len) else {
            return Err(self.short(len));
        };
        self.advance(left, len);
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, left)) = self.left.split_first_chunk::<N>() else {
            return Err(self.short(N));
        };
        self.advance(left, N);
        Ok(*taken)
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: usize) -> Result<()> {
        self.bytes(len).map(drop)
    }

    /// 8 bits.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// 16 bits.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// 24 bits.
    pub fn u24(&mut self) -> Result<u32> {
        self.array()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// 32 bits.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// 64 bits.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// 16 bits, signed.
    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// 32 bits, signed.
    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Four characters.
    pub fn fourcc(&mut self) -> Result<FourCc> {
        self.array().map(FourCc)
    }

    /// Version and flags of a full box; versions above `max` are refused.
    pub fn version_and_flags(&mut self, max: u8) -> Result<(u8, u32)> {
        let start = self.offset;
        let version = self.u8()?;
        let flags = self.u24()?;
        if version > max {
            let cause = Cause::Version { found: version };
            return Err(Error::new(&self.path, start, cause));
        }
        Ok((version, flags))
    }

    /// A 32-bit entry count, checked against the bytes that are left: `entry_len` bytes each.
    pub fn count(&mut self, entry_len: u64) -> Result<u32> {
        let start = self.offset;
        let count = self.u32()?;
        let need = u64::from(count).saturating_mul(entry_len);
        let left = length(self.left);
        if need > left {
            let found = u64::from(count);
            return Err(Error::new(
                &self.path,
                start,
                Cause::Count { found, need, left },
            ));
        }
        Ok(count)
    }

    /// Bytes up to a NUL, which is passed over, or to the end of the box where there is none:
    /// `QuickTime` and several cameras leave the NUL out.
    pub fn text(&mut self) -> &'a [u8] {
        let len = self
            .left
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(self.left.len());
        let (text, rest) = self.left.split_at_checked(len).unwrap_or((self.left, &[]));
        let rest = rest.split_first().map_or(rest, |(_, rest)| rest);
        let taken = self.left.len().saturating_sub(rest.len());
        self.advance(rest, taken);
        text
    }

    fn short(&self, need: usize) -> Error {
        self.error(Cause::Short {
            need: u64::try_from(need).unwrap_or(u64::MAX),
            left: length(self.left),
        })
    }

    fn advance(&mut self, left: &'a [u8], taken: usize) {
        self.left = left;
        self.offset = self
            .offset
            .saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
    }
}

/// Length of a slice in the type that offsets have.
pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, 100, BoxPath::ROOT.child(FourCc(*b"test")).unwrap())
    }

    #[test]
    fn reads_fields_and_knows_the_offset() {
        let mut r = reader(&[0, 0, 0, 1, 2, 3, 4, 0xff, 0xff, b'h', b'i', 0, 9]);
        assert_eq!(r.u32().unwrap(), 1);
        assert_eq!(r.u24().unwrap(), 0x020304);
        assert_eq!(r.i16().unwrap(), -1);
        assert_eq!(r.text(), b"hi");
        assert_eq!(r.offset(), 112);
        assert_eq!(
            r.u16().unwrap_err().to_string(),
            "test at byte 112: need 2 bytes, 1 left"
        );
        assert_eq!(r.u8().unwrap(), 9);
        assert!(r.is_empty());
        assert_eq!(r.text(), b"");
    }

    #[test]
    fn a_count_needs_bytes_behind_it() {
        let error = reader(&[0xff; 8]).count(12).unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Count { left: 4, .. }),
            "{error}"
        );
        assert_eq!(reader(&[0, 0, 0, 1, 7]).count(1).unwrap(), 1);
    }
}
