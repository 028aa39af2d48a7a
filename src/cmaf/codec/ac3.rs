//! What `dac3` and `dec3` say about AC-3 and Enhanced AC-3. ETSI TS 102 366, Annex F.

use super::Bits;

/// Rate and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ac3 {
    /// Hertz.
    pub sample_rate: u32,
    /// Audio coding mode: which channels there are but for low frequencies.
    pub mode: u8,
    /// There is a channel for low frequencies.
    pub lfe: bool,
}

impl Ac3 {
    /// Reads the payload of `dac3`.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bits = &mut Bits::new(payload);
        let sample_rate = rate(bits)?;
        bits.skip(5 + 3)?;
        Some(Self {
            sample_rate,
            mode: bits.take8(3)?,
            lfe: bits.flag()?,
        })
    }

    /// Reads the payload of `dec3`, as far as the first substream.
    #[must_use]
    pub fn read_enhanced(payload: &[u8]) -> Option<Self> {
        let bits = &mut Bits::new(payload);
        bits.skip(13 + 3)?;
        let sample_rate = rate(bits)?;
        bits.skip(5 + 1 + 1 + 3)?;
        Some(Self {
            sample_rate,
            mode: bits.take8(3)?,
            lfe: bits.flag()?,
        })
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> u8 {
        let full = [2, 1, 2, 3, 3, 4, 4, 5]
            .get(usize::from(self.mode))
            .copied();
        full.unwrap_or(0u8).saturating_add(u8::from(self.lfe))
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    let index = usize::try_from(bits.take(2)?).ok()?;
    [48_000, 44_100, 32_000].get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_channels_and_one() {
        let ac3 = Ac3::read(&[0x10, 0x3d, 0x60]).unwrap();
        assert_eq!((ac3.sample_rate, ac3.channels()), (48_000, 6));
        assert_eq!(Ac3::read(&[0xff; 3]), None);
        assert_eq!(Ac3::read_enhanced(&[0x06]), None);
    }
}
