//! `AudioSpecificConfig` of MPEG-4 audio. ISO/IEC 14496-3.

use super::Bits;

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Audio object type of the core coder: 1 Main, 2 LC, 3 SSR, 4 LTP, 23 LD, 39 ELD, 42 USAC.
    pub object_type: u8,
    /// Hertz of the core coder.
    pub sample_rate: u32,
    /// `channelConfiguration`; 0 = in the stream.
    pub channel_configuration: u8,
    /// Spectral band replication: hertz of the output, where said.
    pub sbr_rate: Option<u32>,
    /// Parametric stereo.
    pub parametric_stereo: bool,
    /// The channels where `channel_configuration` is 0.
    pub program: Option<Program>,
}

/// Channels of a program configuration element, by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// In front.
    pub front: u8,
    /// At the sides.
    pub side: u8,
    /// Behind.
    pub back: u8,
    /// For low frequencies.
    pub lfe: u8,
}

const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

impl AudioSpecificConfig {
    /// Reads a configuration.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bits = &mut Bits::new(bytes);
        let mut object_type = object_type_of(bits)?;
        let sample_rate = rate(bits)?;
        let channel_configuration = bits.take8(4)?;
        let mut sbr_rate = None;
        let mut parametric_stereo = false;
        if matches!(object_type, 5 | 29) {
            parametric_stereo = object_type == 29;
            sbr_rate = Some(rate(bits)?);
            object_type = object_type_of(bits)?;
        } else if let Some((rate, stereo)) = extension(bits.clone()) {
            sbr_rate = Some(rate);
            parametric_stereo = stereo;
        }
        let general = matches!(object_type, 1..=4 | 6 | 7 | 17 | 19 | 20 | 22 | 23);
        let program = match channel_configuration {
            0 if general => Program::read(bits),
            _ => None,
        };
        Some(Self {
            object_type,
            sample_rate,
            channel_configuration,
            sbr_rate,
            parametric_stereo,
            program,
        })
    }

    /// Number of channels of the output; `None` where only the stream knows.
    #[must_use]
    pub fn channels(&self) -> Option<u8> {
        Some(match self.channel_configuration {
            1 if self.parametric_stereo => 2,
            n @ 1..=6 => n,
            7 | 12 | 14 => 8,
            11 => 7,
            0 => self.program?.channels(),
            _ => return None,
        })
    }
}

impl Program {
    /// Reads the general audio configuration up to the lists of a program configuration element.
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        bits.skip(1)?;
        if bits.flag()? {
            bits.skip(14)?;
        }
        bits.skip(1)?;
        bits.skip(10)?;
        let (front, side, back) = (bits.take(4)?, bits.take(4)?, bits.take(4)?);
        let lfe = bits.take8(2)?;
        bits.skip(7)?;
        for mix in [4, 4, 3] {
            if bits.flag()? {
                bits.skip(mix)?;
            }
        }
        Some(Self {
            front: elements(bits, front)?,
            side: elements(bits, side)?,
            back: elements(bits, back)?,
            lfe,
        })
    }

    /// All of them.
    #[must_use]
    pub fn channels(&self) -> u8 {
        let Self {
            front,
            side,
            back,
            lfe,
        } = *self;
        [front, side, back, lfe]
            .into_iter()
            .fold(0, u8::saturating_add)
    }
}

/// Channels of a list of elements, of which each is one or a pair.
fn elements(bits: &mut Bits<'_>, count: u32) -> Option<u8> {
    let mut channels: u8 = 0;
    for _ in 0..count {
        let pair = bits.flag()?;
        channels = channels.saturating_add(if pair { 2 } else { 1 });
        bits.skip(4)?;
    }
    Some(channels)
}

fn object_type_of(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.take8(5)? {
        31 => bits.take8(6)?.checked_add(32),
        short => Some(short),
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    let index = bits.take(4)?;
    if index == 15 {
        return bits.take(24);
    }
    RATES.get(usize::try_from(index).ok()?).copied()
}

/// Rate and parametric stereo of the extension that old decoders do not see: a sync word at some
/// bit behind the configuration.
fn extension(mut bits: Bits<'_>) -> Option<(u32, bool)> {
    while bits.left() > 15 {
        let mut here = bits.clone();
        if here.take(11)? != 0x2b7 {
            bits.skip(1)?;
            continue;
        }
        if object_type_of(&mut here)? != 5 || !here.flag()? {
            return None;
        }
        let rate = rate(&mut here)?;
        let stereo = here.take(11) == Some(0x548) && here.flag() == Some(true);
        return Some((rate, stereo));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lc_without_and_with_the_extension() {
        let lc = AudioSpecificConfig::read(&[0x11, 0x88, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!(
            (lc.object_type, lc.sample_rate, lc.channels()),
            (2, 48_000, Some(1))
        );
        assert_eq!((lc.sbr_rate, lc.parametric_stereo), (None, false));
        let he = AudioSpecificConfig::read(&[0x13, 0x10, 0x56, 0xe5, 0x98]).unwrap();
        assert_eq!((he.sample_rate, he.sbr_rate), (24_000, Some(48_000)));
    }

    #[test]
    fn explicit_rates_and_hierarchical_signalling() {
        // HE-AAC v2: object type 29, 22.05 kHz mono, 44.1 kHz stereo out, core LC.
        let v2 = AudioSpecificConfig::read(&[0xeb, 0x8a, 0x08, 0x00]).unwrap();
        assert_eq!((v2.object_type, v2.sample_rate), (2, 22_050));
        assert_eq!((v2.sbr_rate, v2.channels()), (Some(44_100), Some(2)));
        // LC, 24-bit rate of 12,345 Hz, stereo.
        let odd = AudioSpecificConfig::read(&[0x17, 0x80, 0x18, 0x1c, 0x90]).unwrap();
        assert_eq!((odd.sample_rate, odd.channels()), (12_345, Some(2)));
        assert_eq!(AudioSpecificConfig::read(&[0x11]), None);
    }
}
