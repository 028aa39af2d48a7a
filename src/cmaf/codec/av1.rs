//! AV1 sequence header OBU. AV1 specification §5.5.

use super::{Bits, Chroma, Colour, Picture};

/// What a sequence header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    /// High tier of the first operating point.
    pub high_tier: bool,
    /// The picture.
    pub picture: Picture,
}

/// Type of a sequence header OBU.
const SEQUENCE_HEADER: u32 = 1;

impl SequenceHeader {
    /// Finds the sequence header among `obus` and reads it.
    #[must_use]
    pub fn find(mut obus: &[u8]) -> Option<Self> {
        while !obus.is_empty() {
            let bits = &mut Bits::new(obus);
            bits.skip(1)?;
            let kind = bits.take(4)?;
            let (extension, has_size) = (bits.flag()?, bits.flag()?);
            let header: usize = if extension { 2 } else { 1 };
            let rest = obus.get(header..)?;
            let (payload, next) = if has_size {
                let (size, rest) = leb128(rest)?;
                rest.split_at_checked(size)?
            } else {
                (rest, &[][..])
            };
            if kind == SEQUENCE_HEADER {
                return Self::read(payload);
            }
            obus = next;
        }
        None
    }

    /// Reads the payload of a sequence header OBU.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bits = &mut Bits::new(payload);
        let profile = bits.take8(3)?;
        bits.skip(1)?;
        let reduced = bits.flag()?;
        let mut level = 0;
        let mut high_tier = false;
        let mut frame_rate = None;
        if reduced {
            level = bits.take8(5)?;
        } else {
            let mut delay_bits = None;
            if bits.flag()? {
                let (units, scale) = (bits.take(32)?, bits.take(32)?);
                if bits.flag()? {
                    let per_picture = bits.uvlc()?.checked_add(1)?;
                    frame_rate = units.checked_mul(per_picture).map(|units| (scale, units));
                }
                if bits.flag()? {
                    delay_bits = Some(bits.take(5)?.saturating_add(1));
                    bits.skip(42)?;
                }
            }
            let initial_delay = bits.flag()?;
            let points = bits.take(5)?;
            for point in 0..=points {
                bits.skip(12)?;
                let this_level = bits.take8(5)?;
                let this_tier = this_level > 7 && bits.flag()?;
                if point == 0 {
                    (level, high_tier) = (this_level, this_tier);
                }
                if let Some(delay_bits) = delay_bits
                    && bits.flag()?
                {
                    bits.take(delay_bits)?;
                    bits.take(delay_bits)?;
                    bits.skip(1)?;
                }
                if initial_delay && bits.flag()? {
                    bits.skip(4)?;
                }
            }
        }
        let (width_bits, height_bits) = (bits.take(4)?, bits.take(4)?);
        let width = bits.take(width_bits.saturating_add(1))?.checked_add(1)?;
        let height = bits.take(height_bits.saturating_add(1))?.checked_add(1)?;
        if !reduced && bits.flag()? {
            bits.skip(7)?;
        }
        bits.skip(3)?;
        if !reduced {
            tools(bits)?;
        }
        bits.skip(3)?;
        let mut picture = Picture {
            width,
            height,
            coded_width: width,
            coded_height: height,
            frame_rate,
            ..Picture::default()
        };
        colour(bits, profile, &mut picture)?;
        Some(Self {
            profile,
            level,
            high_tier,
            picture,
        })
    }
}

/// Passes over the switches of coding tools.
fn tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4)?;
    let order_hint = bits.flag()?;
    if order_hint {
        bits.skip(2)?;
    }
    let choose = bits.flag()?;
    let screen_content = choose || bits.flag()?;
    if screen_content && !bits.flag()? {
        bits.skip(1)?;
    }
    if order_hint {
        bits.skip(3)?;
    }
    Some(())
}

fn colour(bits: &mut Bits<'_>, profile: u8, picture: &mut Picture) -> Option<()> {
    let high = bits.flag()?;
    picture.bit_depth = match (profile, high) {
        (_, false) => 8,
        (2, true) if bits.flag()? => 12,
        _ => 10,
    };
    let monochrome = profile != 1 && bits.flag()?;
    let mut colour = Colour::default();
    if bits.flag()? {
        colour.primaries = bits.take16(8)?;
        colour.transfer = bits.take16(8)?;
        colour.matrix = bits.take16(8)?;
    }
    if monochrome {
        colour.full_range = Some(bits.flag()?);
        picture.chroma = Chroma::Monochrome;
    } else if (colour.primaries, colour.transfer, colour.matrix) == (1, 13, 0) {
        colour.full_range = Some(true);
        picture.chroma = Chroma::C444;
    } else {
        colour.full_range = Some(bits.flag()?);
        picture.chroma = match profile {
            0 => Chroma::C420,
            1 => Chroma::C444,
            _ if picture.bit_depth < 12 => Chroma::C422,
            _ => match bits.flag()? {
                false => Chroma::C444,
                true if bits.flag()? => Chroma::C420,
                true => Chroma::C422,
            },
        };
        if picture.chroma == Chroma::C420 {
            // 1 is left, 2 is top left; 0 says nothing.
            picture.chroma_location = match bits.take(2)? {
                1 => Some(0),
                2 => Some(2),
                _ => None,
            };
        }
    }
    picture.colour = colour;
    Some(())
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value: usize = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        let shift = at.checked_mul(7)?;
        value |= usize::from(byte & 0x7f).checked_shl(u32::try_from(shift).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at.checked_add(1)?..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// libaom, Main, 176x144, ten bits, BT.709, behind a temporal delimiter.
    const OBUS: [u8; 18] = [
        0x12, 0x00, 0x0a, 0x0e, 0x00, 0x00, 0x00, 0x03, 0xbd, 0x7c, 0x79, 0xb5, 0xf2, 0xa0, 0x20,
        0x20, 0x20, 0x80,
    ];

    #[test]
    fn the_header_is_found_and_read() {
        let header = SequenceHeader::find(&OBUS).unwrap();
        assert_eq!(
            (header.profile, header.level, header.high_tier),
            (0, 0, false)
        );
        let picture = header.picture;
        assert_eq!(
            (picture.width, picture.height, picture.bit_depth),
            (176, 144, 10)
        );
        let colour = picture.colour;
        assert_eq!(
            (colour.primaries, colour.transfer, colour.matrix),
            (1, 1, 1)
        );
        assert_eq!(colour.full_range, Some(false));
    }

    #[test]
    fn what_is_cut_is_nothing() {
        for len in 0..OBUS.len() {
            assert_eq!(SequenceHeader::find(&OBUS[..len]), None, "{len} bytes");
        }
        assert_eq!(
            SequenceHeader::find(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
    }
}
