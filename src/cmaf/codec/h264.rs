//! H.264 sequence parameter set. ITU-T H.264 §7.3.2.1.1 and Annex E.

use super::bits::raw_payload;
use super::{Bits, Chroma, Colour, Picture, vui_front};

/// What a sequence parameter set says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// `constraint_set0_flag` to `constraint_set5_flag`, the first the most significant of 8 bits.
    pub constraints: u8,
    /// `level_idc`.
    pub level: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// The picture.
    pub picture: Picture,
}

/// Profiles whose parameter set says how colour is sampled.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Reads a NAL unit of type 7, header included.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Self> {
        if nal.first()? & 0x1f != 7 {
            return None;
        }
        let raw = raw_payload(nal, 1)?;
        let bits = &mut Bits::new(&raw);
        let profile = bits.take8(8)?;
        let constraints = bits.take8(8)?;
        let level = bits.take8(8)?;
        bits.ue()?;
        let mut chroma_idc = 1;
        let mut separate_planes = false;
        let mut depth = (8, 8);
        if HIGH_PROFILES.contains(&profile) {
            chroma_idc = bits.ue()?;
            if chroma_idc == 3 {
                separate_planes = bits.flag()?;
            }
            depth = (bit_depth(bits)?, bit_depth(bits)?);
            bits.skip(1)?;
            if bits.flag()? {
                scaling_lists(bits, if chroma_idc == 3 { 12 } else { 8 })?;
            }
        }
        bits.ue()?;
        picture_order(bits)?;
        bits.ue()?;
        bits.skip(1)?;
        let width_mbs = bits.ue()?.checked_add(1)?;
        let height_units = bits.ue()?.checked_add(1)?;
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        let fields = if frames_only { 1 } else { 2 };
        let coded_width = width_mbs.checked_mul(16)?;
        let coded_height = height_units.checked_mul(16)?.checked_mul(fields)?;
        let chroma = Chroma::from_idc(chroma_idc)?;
        let (mut width, mut height) = (coded_width, coded_height);
        if bits.flag()? {
            let (x, y) = match (chroma, separate_planes) {
                (Chroma::C420, _) => (2, 2),
                (Chroma::C422, _) => (2, 1),
                _ => (1, 1),
            };
            let y = fields.checked_mul(y)?;
            let horizontal = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(x)?;
            let vertical = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(y)?;
            width = width.checked_sub(horizontal)?;
            height = height.checked_sub(vertical)?;
        }
        let mut picture = Picture {
            width,
            height,
            coded_width,
            coded_height,
            chroma,
            bit_depth: depth.0,
            colour: Colour::default(),
            progressive: frames_only.then_some(true),
            ..Picture::default()
        };
        if bits.flag()? {
            // A VUI that is cut short (there are such encoders) spoils only itself.
            let _ = vui(bits, &mut picture);
        }
        Some(Self {
            profile,
            constraints,
            level,
            bit_depth_chroma: depth.1,
            picture,
        })
    }
}

fn bit_depth(bits: &mut Bits<'_>) -> Option<u8> {
    let over_eight = bits.ue().filter(|depth| *depth <= 6)?;
    u8::try_from(over_eight).ok()?.checked_add(8)
}

fn scaling_lists(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    for list in 0..count {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(bits.se()?) & 0xff;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

fn picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            let count = bits.ue().filter(|count| *count <= 255)?;
            for _ in 0..count {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

fn vui(bits: &mut Bits<'_>, picture: &mut Picture) -> Option<()> {
    let front = vui_front(bits)?;
    picture.pixel_aspect = front.pixel_aspect;
    picture.colour = front.colour;
    picture.chroma_location = front.chroma_location;
    if bits.flag()? {
        let (units, scale) = (bits.take(32)?, bits.take(32)?);
        bits.skip(1)?;
        // The clock ticks twice per frame.
        picture.frame_rate = units.checked_mul(2).map(|units| (scale, units));
    }
    let nal = hrd(bits)?;
    let vcl = hrd(bits)?;
    if nal || vcl {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    if bits.flag()? {
        bits.skip(1)?;
        for _ in 0..4 {
            bits.ue()?;
        }
        picture.reorder_frames = Some(bits.ue()?);
    }
    Some(())
}

/// Passes over `hrd_parameters`, if they are there.
fn hrd(bits: &mut Bits<'_>) -> Option<bool> {
    if !bits.flag()? {
        return Some(false);
    }
    let count = bits.ue().filter(|count| *count < 32)?;
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20)?;
    Some(true)
}
