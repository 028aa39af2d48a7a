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
    /// What the start of a slice and the timing of a picture are read with.
    syntax: Syntax,
}

/// Lengths of fields elsewhere that the parameter set decides on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Syntax {
    separate_planes: bool,
    frame_num_bits: u32,
    /// Bits of `pic_order_cnt_lsb`, where the picture order is of that kind.
    order_bits: Option<u32>,
    frames_only: bool,
    /// Bits of the two delays in a picture timing message.
    delay_bits: Option<(u32, u32)>,
    pic_struct: bool,
}

/// In which order the fields of an interlaced picture are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldOrder {
    /// Both at once.
    Progressive,
    /// Top, then bottom.
    TopFirst,
    /// Bottom, then top.
    BottomFirst,
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
        let mut syntax = Syntax {
            separate_planes,
            frame_num_bits: log2(bits)?,
            order_bits: picture_order(bits)?,
            ..Syntax::default()
        };
        bits.ue()?;
        bits.skip(1)?;
        let width_mbs = bits.ue()?.checked_add(1)?;
        let height_units = bits.ue()?.checked_add(1)?;
        let frames_only = bits.flag()?;
        syntax.frames_only = frames_only;
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
            let _ = vui(bits, &mut picture, &mut syntax);
        }
        Some(Self {
            profile,
            constraints,
            level,
            bit_depth_chroma: depth.1,
            picture,
            syntax,
        })
    }

    /// How the picture whose NAL units these are is to be shown: told by its timing message, or else
    /// by the start of its first slice. `None` for single fields, and where the units do not say.
    ///
    /// `bottom_order` is the flag of the picture parameter set that lets slices give an order to the
    /// fields, see [`bottom_field_order_present`].
    pub fn field_order<'n>(
        &self,
        nals: impl IntoIterator<Item = &'n [u8]>,
        bottom_order: bool,
    ) -> Option<FieldOrder> {
        if self.syntax.frames_only {
            return Some(FieldOrder::Progressive);
        }
        let mut told = None;
        for nal in nals {
            match nal.first()? & 0x1f {
                6 if told.is_none() => told = self.pic_struct(nal),
                1 | 5 => return self.slice(nal, told, bottom_order),
                _ => {}
            }
        }
        None
    }

    /// `pic_struct` of a SEI unit that has a picture timing message.
    fn pic_struct(&self, nal: &[u8]) -> Option<u32> {
        let raw = raw_payload(nal, 1)?;
        let mut left = raw.as_slice();
        loop {
            let (kind, rest) = sei_number(left)?;
            let (len, rest) = sei_number(rest)?;
            if kind == 1 {
                let bits = &mut Bits::new(rest);
                if let Some((removal, output)) = self.syntax.delay_bits {
                    bits.take(removal)?;
                    bits.take(output)?;
                }
                return if self.syntax.pic_struct {
                    bits.take(4)
                } else {
                    None
                };
            }
            left = rest.get(len..)?;
        }
    }

    fn slice(&self, nal: &[u8], told: Option<u32>, bottom_order: bool) -> Option<FieldOrder> {
        let raw = raw_payload(nal, 1)?;
        let bits = &mut Bits::new(&raw);
        for _ in 0..3 {
            bits.ue()?;
        }
        if self.syntax.separate_planes {
            bits.skip(2)?;
        }
        bits.take(self.syntax.frame_num_bits)?;
        let single_field = bits.flag()?;
        if single_field {
            return None;
        }
        if let Some(told) = told {
            return Some(match told {
                3 | 5 => FieldOrder::TopFirst,
                4 | 6 => FieldOrder::BottomFirst,
                _ => FieldOrder::Progressive,
            });
        }
        if nal.first()? & 0x1f == 5 {
            bits.ue()?;
        }
        bits.take(self.syntax.order_bits?)?;
        let bottom_after_top = if bottom_order { bits.se()? } else { 0 };
        Some(match bottom_after_top.signum() {
            1 => FieldOrder::TopFirst,
            -1 => FieldOrder::BottomFirst,
            _ => FieldOrder::Progressive,
        })
    }
}

/// `bottom_field_pic_order_in_frame_present_flag` of a picture parameter set, NAL header included.
#[must_use]
pub fn bottom_field_order_present(pps: &[u8]) -> Option<bool> {
    let raw = raw_payload(pps, 1)?;
    let bits = &mut Bits::new(&raw);
    bits.ue()?;
    bits.ue()?;
    bits.skip(1)?;
    bits.flag()
}

/// A number of a SEI message: 255 for each full byte, then the rest.
fn sei_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().position(|byte| *byte != 0xff)?;
    let rest = bytes.get(full..)?;
    let (last, rest) = rest.split_first()?;
    Some((
        full.checked_mul(255)?.checked_add(usize::from(*last))?,
        rest,
    ))
}

/// Four more than an exponent: the length of a counter in bits.
fn log2(bits: &mut Bits<'_>) -> Option<u32> {
    bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)
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

/// Passes over the picture order; gives the length of its counter, if it is sent.
fn picture_order(bits: &mut Bits<'_>) -> Option<Option<u32>> {
    match bits.ue()? {
        0 => return Some(Some(log2(bits)?)),
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
    Some(None)
}

fn vui(bits: &mut Bits<'_>, picture: &mut Picture, syntax: &mut Syntax) -> Option<()> {
    let front = vui_front(bits)?;
    picture.pixel_aspect = front.pixel_aspect;
    picture.colour = front.colour;
    picture.chroma_location = front.chroma_location.or(Some(0));
    if bits.flag()? {
        let (units, scale) = (bits.take(32)?, bits.take(32)?);
        bits.skip(1)?;
        // The clock ticks twice per frame.
        picture.frame_rate = units.checked_mul(2).map(|units| (scale, units));
    }
    let nal = hrd(bits)?;
    let vcl = hrd(bits)?;
    syntax.delay_bits = nal.or(vcl);
    if syntax.delay_bits.is_some() {
        bits.skip(1)?;
    }
    syntax.pic_struct = bits.flag()?;
    if bits.flag()? {
        bits.skip(1)?;
        for _ in 0..4 {
            bits.ue()?;
        }
        picture.reorder_frames = Some(bits.ue()?);
    }
    Some(())
}

/// Passes over `hrd_parameters`, if they are there, and gives the lengths of the delays.
fn hrd(bits: &mut Bits<'_>) -> Option<Option<(u32, u32)>> {
    if !bits.flag()? {
        return Some(None);
    }
    let count = bits.ue().filter(|count| *count < 32)?;
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(5)?;
    let removal = bits.take(5)?.saturating_add(1);
    let output = bits.take(5)?.saturating_add(1);
    bits.skip(5)?;
    Some(Some((removal, output)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::codec::nals;

    /// x264, Main, 320x180 in 25 frames per second.
    const MAIN: [u8; 25] = [
        0x67, 0x4d, 0x40, 0x0c, 0xec, 0xa0, 0xa0, 0xcf, 0xcf, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00,
        0x08, 0x00, 0x00, 0x03, 0x01, 0x90, 0x78, 0xa1, 0x4c, 0xb0,
    ];

    /// x264, High, 352x288 interlaced, pixels of 16:11.
    const INTERLACED: [u8; 24] = [
        0x67, 0x64, 0x00, 0x15, 0xac, 0xd9, 0x41, 0x61, 0x2d, 0x82, 0x08, 0x00, 0x00, 0x03, 0x00,
        0x08, 0x00, 0x00, 0x03, 0x01, 0x90, 0xf8, 0xa1, 0x4c,
    ];

    #[test]
    fn size_is_what_cropping_leaves() {
        let sps = Sps::read(&MAIN).unwrap();
        assert_eq!((sps.profile, sps.level), (77, 12));
        let picture = sps.picture;
        assert_eq!((picture.width, picture.height), (320, 180));
        assert_eq!((picture.coded_width, picture.coded_height), (320, 192));
        assert_eq!(picture.pixel_aspect, Some((1, 1)));
        assert_eq!(picture.frame_rate, Some((50, 2)));
        assert_eq!(picture.reorder_frames, Some(2));
        assert_eq!(picture.progressive, Some(true));
    }

    #[test]
    fn a_cut_vui_spoils_only_itself() {
        let sps = Sps::read(&INTERLACED[..20]).unwrap();
        assert_eq!((sps.picture.width, sps.picture.height), (352, 288));
        assert_eq!(sps.picture.pixel_aspect, Some((16, 11)));
        assert_eq!(
            (sps.picture.progressive, sps.picture.reorder_frames),
            (None, None)
        );
    }

    #[test]
    fn what_is_cut_before_the_vui_is_nothing() {
        for len in 0..9 {
            assert_eq!(Sps::read(&MAIN[..len]), None, "{len} bytes");
        }
        assert_eq!(Sps::read(&[0x68; 30]), None, "another kind of unit");
    }

    #[test]
    fn progressive_pictures_have_no_order_of_fields() {
        let sps = Sps::read(&MAIN).unwrap();
        assert_eq!(
            sps.field_order(nals(&[], 4), false),
            Some(FieldOrder::Progressive)
        );
        let interlaced = Sps::read(&INTERLACED).unwrap();
        assert_eq!(interlaced.field_order(nals(&[], 4), false), None);
    }

    #[test]
    fn long_numbers_of_messages() {
        assert_eq!(sei_number(&[0xff, 0xff, 3, 9]), Some((513, &[9][..])));
        assert_eq!(sei_number(&[0xff, 0xff]), None);
    }
}
