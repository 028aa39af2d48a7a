//! Bitstream headers inside codec configurations, read as far as profile, picture and colour.
//!
//! They come from outside: a reader gives `None` for what it cannot make sense of, never reads past
//! its bytes, and loops only over counts with a bound.

#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic,
        reason = "tests run on their own small input"
    )
)]

pub mod aac;
pub mod ac3;
pub mod av1;
mod bits;
pub mod h264;
pub mod hevc;
mod string;

pub use bits::{Bits, nals};
pub use string::codecs;

/// What a picture is like, for any codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Pixels shown, after cropping.
    pub width: u32,
    /// Pixels shown, after cropping.
    pub height: u32,
    /// Pixels coded, before cropping.
    pub coded_width: u32,
    /// Pixels coded, before cropping.
    pub coded_height: u32,
    /// How colour is sampled.
    pub chroma: Chroma,
    /// Bits of a luma sample.
    pub bit_depth: u8,
    /// Width and height of a pixel, where said.
    pub pixel_aspect: Option<(u32, u32)>,
    /// Code points of the colour.
    pub colour: Colour,
    /// Place of chroma samples, where said: 0 left, 1 centre, 2 top left, 3 top, 4 bottom left,
    /// 5 bottom.
    pub chroma_location: Option<u8>,
    /// All frames are progressive, where said.
    pub progressive: Option<bool>,
    /// Frames that may have to wait for a later one before they are shown.
    pub reorder_frames: Option<u32>,
    /// Frames per second, as a fraction.
    pub frame_rate: Option<(u32, u32)>,
}

impl Picture {
    /// A picture of which only the size is known.
    #[must_use]
    pub fn sized(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            coded_width: width,
            coded_height: height,
            ..Self::default()
        }
    }
}

/// How colour is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chroma {
    /// No colour.
    Monochrome,
    /// A quarter of the samples.
    #[default]
    C420,
    /// Half of the samples.
    C422,
    /// As many as luma.
    C444,
}

impl Chroma {
    /// `chroma_format_idc` of the MPEG codecs.
    #[must_use]
    pub fn from_idc(idc: u32) -> Option<Self> {
        Some(match idc {
            0 => Self::Monochrome,
            1 => Self::C420,
            2 => Self::C422,
            3 => Self::C444,
            _ => return None,
        })
    }
}

/// Code points of ISO/IEC 23091-2; 2 means "not specified".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// All values are used (`Some(true)`), or the range of television.
    pub full_range: Option<bool>,
    /// `colour_primaries`.
    pub primaries: u16,
    /// `transfer_characteristics`.
    pub transfer: u16,
    /// `matrix_coefficients`.
    pub matrix: u16,
}

impl Default for Colour {
    fn default() -> Self {
        Self {
            full_range: None,
            primaries: 2,
            transfer: 2,
            matrix: 2,
        }
    }
}

/// What H.264, HEVC and VVC say about display, as far as it is the same.
#[derive(Clone, Debug, Default)]
struct Vui {
    pixel_aspect: Option<(u32, u32)>,
    colour: Colour,
    chroma_location: Option<u8>,
}

/// Sample aspect ratios by `aspect_ratio_idc`, from 1.
const PIXEL_ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Pixel aspect by its index; `explicit` reads the two numbers of index 255.
fn pixel_aspect(bits: &mut Bits<'_>) -> Option<Option<(u32, u32)>> {
    let index = bits.take(8)?;
    if index == 255 {
        return Some(Some((bits.take(16)?, bits.take(16)?)));
    }
    let at = usize::try_from(index).ok()?.checked_sub(1);
    Some(at.and_then(|at| PIXEL_ASPECTS.get(at)).copied())
}

/// The part of `vui_parameters` that H.264 and HEVC share: up to the chroma location.
fn vui_front(bits: &mut Bits<'_>) -> Option<Vui> {
    let mut vui = Vui::default();
    if bits.flag()? {
        vui.pixel_aspect = pixel_aspect(bits)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(3)?;
        vui.colour.full_range = Some(bits.flag()?);
        if bits.flag()? {
            vui.colour.primaries = bits.take16(8)?;
            vui.colour.transfer = bits.take16(8)?;
            vui.colour.matrix = bits.take16(8)?;
        }
    }
    if bits.flag()? {
        let top = bits.ue()?;
        bits.ue()?;
        vui.chroma_location = u8::try_from(top).ok();
    }
    Some(vui)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in vec(prop_oneof![Just(0u8), Just(0x80), any::<u8>()], 1..120)) {
            for first in [0x67, 0x42, 0x0a] {
                bytes[0] = first;
                if let Some(sps) = h264::Sps::read(&bytes) {
                    let _ = sps.field_order(nals(&bytes, 1), true);
                }
                let _ = hevc::Sps::read(&bytes);
                let _ = av1::SequenceHeader::find(&bytes);
                let _ = h264::bottom_field_order_present(&bytes);
            }
            let _ = aac::AudioSpecificConfig::read(&bytes).map(|config| config.channels());
            let _ = ac3::Ac3::read_enhanced(&bytes).map(|ac3| ac3.channels());
        }
    }
}
