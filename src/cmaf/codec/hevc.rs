//! HEVC sequence parameter set. ITU-T H.265 §7.3.2.2 and Annex E.

use super::bits::raw_payload;
use super::{Bits, Chroma, Picture, vui_front};

/// What a sequence parameter set says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `general_profile_idc`.
    pub profile: u8,
    /// `general_level_idc`: thirty times the level.
    pub level: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// The picture.
    pub picture: Picture,
}

impl Sps {
    /// Reads a NAL unit of type 33, header included.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Self> {
        if (nal.first()? >> 1) & 0x3f != 33 {
            return None;
        }
        let raw = raw_payload(nal, 2)?;
        let bits = &mut Bits::new(&raw);
        bits.skip(4)?;
        let sublayers = bits.take(3)?;
        bits.skip(1)?;
        let general = profile_tier_level(bits, sublayers)?;
        bits.ue()?;
        let chroma = Chroma::from_idc(bits.ue()?)?;
        let separate = chroma == Chroma::C444 && bits.flag()?;
        let (coded_width, coded_height) = (bits.ue()?, bits.ue()?);
        let (mut width, mut height) = (coded_width, coded_height);
        if bits.flag()? {
            let (x, y) = match chroma {
                Chroma::C420 => (2, 2),
                Chroma::C422 => (2, 1),
                _ => (1, 1),
            };
            let horizontal = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(x)?;
            let vertical = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(y)?;
            width = width.checked_sub(horizontal)?;
            height = height.checked_sub(vertical)?;
        }
        let (luma, chroma_depth) = (bit_depth(bits)?, bit_depth(bits)?);
        let order_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?;
        let all = bits.flag()?;
        let mut reorder = 0;
        for _ in if all { 0 } else { sublayers }..=sublayers {
            bits.ue()?;
            reorder = bits.ue()?;
            bits.ue()?;
        }
        let mut picture = Picture {
            width,
            height,
            coded_width,
            coded_height,
            chroma: if separate { Chroma::Monochrome } else { chroma },
            bit_depth: luma,
            reorder_frames: Some(reorder),
            progressive: general.progressive,
            ..Picture::default()
        };
        // What follows serves only to find the VUI; one that cannot be found leaves the rest.
        let _ = to_vui(bits, order_bits, &mut picture);
        Some(Self {
            profile: general.profile,
            level: general.level,
            bit_depth_chroma: chroma_depth,
            picture,
        })
    }
}

struct General {
    profile: u8,
    level: u8,
    progressive: Option<bool>,
}

fn profile_tier_level(bits: &mut Bits<'_>, sublayers: u32) -> Option<General> {
    bits.skip(3)?;
    let profile = bits.take8(5)?;
    bits.skip(32)?;
    let (progressive, interlaced) = (bits.flag()?, bits.flag()?);
    bits.skip(46)?;
    let level = bits.take8(8)?;
    let mut present = Vec::new();
    for _ in 0..sublayers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sublayers > 0 {
        for _ in sublayers..8 {
            bits.skip(2)?;
        }
    }
    for (has_profile, has_level) in present {
        if has_profile {
            bits.skip(88)?;
        }
        if has_level {
            bits.skip(8)?;
        }
    }
    Some(General {
        profile,
        level,
        progressive: match (progressive, interlaced) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        },
    })
}

fn bit_depth(bits: &mut Bits<'_>) -> Option<u8> {
    let over_eight = bits.ue().filter(|depth| *depth <= 8)?;
    u8::try_from(over_eight).ok()?.checked_add(8)
}

fn to_vui(bits: &mut Bits<'_>, order_bits: u32, picture: &mut Picture) -> Option<()> {
    for _ in 0..6 {
        bits.ue()?;
    }
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    let sets = bits.ue().filter(|sets| *sets <= 64)?;
    let mut previous = 0;
    for index in 0..sets {
        previous = reference_set(bits, index, previous)?;
    }
    if bits.flag()? {
        let count = bits.ue().filter(|count| *count <= 32)?;
        for _ in 0..count {
            bits.take(order_bits)?;
            bits.skip(1)?;
        }
    }
    bits.skip(2)?;
    if !bits.flag()? {
        return Some(());
    }
    let front = vui_front(bits)?;
    picture.pixel_aspect = front.pixel_aspect;
    picture.colour = front.colour;
    picture.chroma_location = front.chroma_location;
    bits.skip(1)?;
    let fields = bits.flag()?;
    if fields {
        picture.progressive = Some(false);
    }
    bits.skip(1)?;
    if bits.flag()? {
        // The default display window.
        for _ in 0..4 {
            bits.ue()?;
        }
    }
    if bits.flag()? {
        let (units, scale) = (bits.take(32)?, bits.take(32)?);
        picture.frame_rate = Some((scale, units));
    }
    Some(())
}

fn scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4u32 {
        let step = if size == 3 { 3 } else { 1 };
        for _ in (0..6).step_by(step) {
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..if size == 0 { 16 } else { 64 } {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// Passes over `st_ref_pic_set` and gives the number of its pictures, which the next one needs.
fn reference_set(bits: &mut Bits<'_>, index: u32, previous: u32) -> Option<u32> {
    if index > 0 && bits.flag()? {
        bits.skip(1)?;
        bits.ue()?;
        let mut count: u32 = 0;
        for _ in 0..=previous {
            let used = bits.flag()?;
            let use_delta = if used { true } else { bits.flag()? };
            if use_delta {
                count = count.saturating_add(1);
            }
        }
        return Some(count).filter(|count| *count <= 16);
    }
    let negative = bits.ue().filter(|count| *count <= 16)?;
    let positive = bits.ue().filter(|count| *count <= 16)?;
    let count = negative.saturating_add(positive);
    for _ in 0..count {
        bits.ue()?;
        bits.skip(1)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::codec::Colour;

    /// x265, Main 10, 320x180, BT.2020 with PQ.
    const HDR: [u8; 44] = [
        0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x3c, 0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x6d, 0x96, 0x56, 0x69, 0x24, 0xca, 0xf0,
        0x16, 0xa1, 0x22, 0x01, 0x20, 0x80, 0x00, 0x01, 0xf4, 0x80, 0x00, 0x2e, 0xe0, 0x04,
    ];

    #[test]
    fn size_depth_colour_and_rate() {
        let sps = Sps::read(&HDR).unwrap();
        assert_eq!((sps.profile, sps.level), (2, 60));
        let picture = sps.picture;
        assert_eq!((picture.width, picture.height), (320, 180));
        assert_eq!((picture.coded_width, picture.coded_height), (320, 184));
        assert_eq!((picture.bit_depth, picture.chroma), (10, Chroma::C420));
        let colour = Colour {
            full_range: Some(false),
            primaries: 9,
            transfer: 16,
            matrix: 9,
        };
        assert_eq!(picture.colour, colour);
        assert_eq!(picture.frame_rate, Some((24_000, 1001)));
        assert_eq!(picture.reorder_frames, Some(2));
    }

    #[test]
    fn what_is_cut_is_nothing() {
        for len in 0..24 {
            assert_eq!(Sps::read(&HDR[..len]), None, "{len} bytes");
        }
    }
}
