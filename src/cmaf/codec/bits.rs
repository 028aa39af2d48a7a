//! Bits of a byte slice, most significant first, with the variable-length numbers of the codecs.

/// Reads bits; `None` at the end.
#[derive(Clone, Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl<'a> Bits<'a> {
    /// A reader at the first bit of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_mul(8).saturating_sub(self.at)
    }

    /// The next `count` bits as a number; at most 32.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        let count = usize::try_from(count.min(32)).ok()?;
        if count > self.left() {
            return None;
        }
        let mut value: u32 = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at >> 3)?;
            let bit = (byte >> (7usize.saturating_sub(self.at & 7))) & 1;
            value = (value << 1) | u32::from(bit);
            self.at = self.at.saturating_add(1);
        }
        Some(value)
    }

    /// As [`Bits::take`], at most 16.
    pub fn take16(&mut self, count: u32) -> Option<u16> {
        u16::try_from(self.take(count.min(16))?).ok()
    }

    /// As [`Bits::take`], at most 8.
    pub fn take8(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.take(count.min(8))?).ok()
    }

    /// One bit.
    pub fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// Passes over bits.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.at = self.at.saturating_add(count);
        Some(())
    }

    /// Exp-Golomb code, unsigned: `ue(v)`.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0u32;
        while !self.flag()? {
            zeros = zeros.checked_add(1).filter(|zeros| *zeros < 32)?;
        }
        let rest = self.take(zeros)?;
        1u32.checked_shl(zeros)?.checked_sub(1)?.checked_add(rest)
    }

    /// Exp-Golomb code, signed: `se(v)`.
    pub fn se(&mut self) -> Option<i32> {
        let code = self.ue()?;
        let half = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code & 1 == 1 {
            half
        } else {
            half.saturating_neg()
        })
    }

    /// Variable-length number of AV1: `uvlc()`.
    pub fn uvlc(&mut self) -> Option<u32> {
        self.ue()
    }
}

/// The payload of a NAL unit behind its header of `header` bytes, without the bytes that keep start
/// codes from appearing in it.
pub(super) fn raw_payload(nal: &[u8], header: usize) -> Option<Vec<u8>> {
    let mut zeros = 0u8;
    let mut raw = Vec::new();
    for byte in nal.get(header..)? {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 {
            zeros.saturating_add(1)
        } else {
            0
        };
        raw.push(*byte);
    }
    Some(raw)
}

/// The NAL units of the first bytes of a sample, each behind its length of `length_size` bytes. The
/// last may be cut.
pub fn nals(sample: &[u8], length_size: u8) -> impl Iterator<Item = &[u8]> {
    let mut left = sample;
    std::iter::from_fn(move || {
        let (length, rest) = left.split_at_checked(usize::from(length_size.clamp(1, 4)))?;
        let length = length
            .iter()
            .fold(0, |sum: usize, byte| (sum << 8) | usize::from(*byte));
        let (nal, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        left = rest;
        (!nal.is_empty()).then_some(nal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        // 1 | 010 | 011 | 00100 | 1101
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_1101]);
        assert_eq!(bits.ue(), Some(0));
        assert_eq!(bits.se(), Some(1));
        assert_eq!(bits.se(), Some(-1));
        assert_eq!(bits.ue(), Some(3));
        assert_eq!((bits.left(), bits.take(4)), (4, Some(13)));
    }

    #[test]
    fn the_end_is_none() {
        assert_eq!(Bits::new(&[0; 8]).ue(), None);
        assert_eq!(Bits::new(&[]).flag(), None);
        assert_eq!(Bits::new(&[1]).take(9), None);
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(
            raw_payload(&[0x67, 0, 0, 3, 1, 0, 0, 0, 3], 1).unwrap(),
            [0, 0, 1, 0, 0, 0]
        );
        assert_eq!(raw_payload(&[], 1), None);
    }
}
