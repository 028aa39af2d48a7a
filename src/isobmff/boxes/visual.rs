//! What visual sample entries add: `pasp`, `colr`, `fiel`, `clli`, `mdcv`.

use crate::isobmff::{BoxRef, Result};

/// Pixel aspect ratio (`pasp`). ISO/IEC 14496-12.
///
/// | field    | bits | unit                         |
/// |----------|------|------------------------------|
/// | hSpacing | 32   | relative width of a pixel    |
/// | vSpacing | 32   | relative height of a pixel   |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pasp {
    /// Relative width of a pixel.
    pub h_spacing: u32,
    /// Relative height of a pixel.
    pub v_spacing: u32,
}

impl Pasp {
    /// Reads a `pasp` box.
    ///
    /// # Errors
    ///
    /// It is too short. So for all below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        Ok(Self {
            h_spacing: reader.u32()?,
            v_spacing: reader.u32()?,
        })
    }
}

/// Colour by code points (`colr` of type `nclx`, or `nclc` of `QuickTime`). ISO/IEC 14496-12; the
/// numbers are those of ISO/IEC 23091-2.
///
/// | field                    | bits | when   |
/// |--------------------------|------|--------|
/// | colour_type              | 32   |        |
/// | colour_primaries         | 16   |        |
/// | transfer_characteristics | 16   |        |
/// | matrix_coefficients      | 16   |        |
/// | full_range_flag          | 1    | `nclx` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colr {
    /// Code point.
    pub primaries: u16,
    /// Code point.
    pub transfer: u16,
    /// Code point.
    pub matrix: u16,
    /// All values are used; `None` where the type has no such flag.
    pub full_range: Option<bool>,
}

impl Colr {
    /// Reads a `colr` box; `None` for ICC profiles.
    ///
    /// # Errors
    ///
    /// As [`Pasp::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Option<Self>> {
        let mut reader = source.reader();
        let kind = reader.fourcc()?;
        if kind != b"nclx" && kind != b"nclc" {
            return Ok(None);
        }
        Ok(Some(Self {
            primaries: reader.u16()?,
            transfer: reader.u16()?,
            matrix: reader.u16()?,
            full_range: match kind == b"nclx" {
                true => Some(reader.u8()? & 0x80 != 0),
                false => None,
            },
        }))
    }
}

/// Field handling (`fiel`), from `QuickTime`.
///
/// | field  | bits | values                                                          |
/// |--------|------|-----------------------------------------------------------------|
/// | fields | 8    | 1 = progressive, 2 = interlaced                                 |
/// | detail | 8    | 1 top first, 6 bottom first, 9 bottom coded, top shown first, 14 the reverse |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fiel {
    /// Fields per frame.
    pub fields: u8,
    /// Their order.
    pub detail: u8,
}

impl Fiel {
    /// Reads a `fiel` box.
    ///
    /// # Errors
    ///
    /// As [`Pasp::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        Ok(Self {
            fields: reader.u8()?,
            detail: reader.u8()?,
        })
    }
}

/// Content light level (`clli`). ISO/IEC 14496-12.
///
/// | field                       | bits | unit                      |
/// |-----------------------------|------|---------------------------|
/// | max_content_light_level     | 16   | candela per square metre  |
/// | max_pic_average_light_level | 16   | same                      |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clli {
    /// Brightest pixel.
    pub max_content: u16,
    /// Brightest frame on average.
    pub max_average: u16,
}

impl Clli {
    /// Reads a `clli` box.
    ///
    /// # Errors
    ///
    /// As [`Pasp::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        Ok(Self {
            max_content: reader.u16()?,
            max_average: reader.u16()?,
        })
    }
}

/// Mastering display colour volume (`mdcv`). ISO/IEC 14496-12.
///
/// | field         | bits        | unit                             |
/// |---------------|-------------|----------------------------------|
/// | primaries     | 3 x 2 x 16  | x, y in 0.00002; green, blue, red |
/// | white_point   | 2 x 16      | same                             |
/// | max_luminance | 32          | 0.0001 candela per square metre  |
/// | min_luminance | 32          | same                             |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mdcv {
    /// x and y of green, blue, red.
    pub primaries: [[u16; 2]; 3],
    /// x and y of white.
    pub white_point: [u16; 2],
    /// Brightest.
    pub max_luminance: u32,
    /// Darkest.
    pub min_luminance: u32,
}

impl Mdcv {
    /// Reads an `mdcv` box.
    ///
    /// # Errors
    ///
    /// As [`Pasp::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let mut point = || -> Result<[u16; 2]> { Ok([reader.u16()?, reader.u16()?]) };
        Ok(Self {
            primaries: [point()?, point()?, point()?],
            white_point: point()?,
            max_luminance: reader.u32()?,
            min_luminance: reader.u32()?,
        })
    }
}
