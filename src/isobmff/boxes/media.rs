//! What kind of media a track has, where it is, and for whom: `vmhd`, `smhd`, `dref`, `elng`, `kind`.

use crate::isobmff::{BoxRef, Cause, Children, Reader, Result, limits, through_mp4};

/// Video media header (`vmhd`), in `minf`. ISO/IEC 14496-12.
///
/// | field        | bits   | unit                   |
/// |--------------|--------|------------------------|
/// | graphicsmode | 16     | 0 = copy               |
/// | opcolor      | 3 x 16 | red, green, blue       |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vmhd {
    /// Always 1.
    pub flags: u32,
    /// How the picture is put over what lies below; 0 = copied.
    pub graphics_mode: u16,
    /// Red, green, blue for other modes.
    pub op_color: [u16; 3],
}

impl Vmhd {
    /// Reads a `vmhd` box.
    ///
    /// # Errors
    ///
    /// It is too short, or its version is not defined. So for those below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::vmhd(source)
    }
}

/// Sound media header (`smhd`), in `minf`. ISO/IEC 14496-12.
///
/// | field   | bits | unit                                |
/// |---------|------|-------------------------------------|
/// | balance | 16   | 8.8, signed; -1 left, 1 right       |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smhd {
    /// 8.8 fixed point; 0 = in the middle.
    pub balance: i16,
}

impl Smhd {
    /// Reads an `smhd` box.
    ///
    /// # Errors
    ///
    /// As [`Vmhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::smhd(source)
    }
}

/// Data references (`dref`), in `dinf`: where the media data is. ISO/IEC 14496-12.
///
/// | field       | bits | unit                               |
/// |-------------|------|------------------------------------|
/// | entry_count | 32   |                                    |
/// | entries     |      | `url ` or `urn `, flag 1 = in this file |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dref {
    /// Flags of each entry.
    pub entry_flags: Vec<u32>,
}

impl Dref {
    /// An entry with this flag means the file itself.
    pub const SELF_CONTAINED: u32 = 1;

    /// Reads a `dref` box.
    ///
    /// # Errors
    ///
    /// As [`Vmhd::decode`]; or there are more entries than [`limits::SAMPLE_ENTRIES`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        reader.count(12)?;
        let mut entry_flags = Vec::new();
        for entry in Children::of(&reader) {
            if entry_flags.len() == limits::SAMPLE_ENTRIES {
                return Err(source.error(Cause::TooMany));
            }
            entry_flags.push(entry?.reader().version_and_flags(0)?.1);
        }
        Ok(Self { entry_flags })
    }
}

/// Extended language (`elng`), in `mdia`: a BCP 47 tag. ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elng {
    /// As `de-CH`.
    pub language: String,
}

impl Elng {
    /// Reads an `elng` box.
    ///
    /// # Errors
    ///
    /// As [`Vmhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        Ok(Self {
            language: lossy(&mut reader),
        })
    }
}

/// Track kind (`kind`), in `udta`: a role, by a scheme. ISO/IEC 14496-12.
///
/// | field     | bits | unit                |
/// |-----------|------|---------------------|
/// | schemeURI | text | ends with NUL       |
/// | value     | text | ends with NUL       |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// As `urn:mpeg:dash:role:2011`.
    pub scheme: String,
    /// As `main`.
    pub value: String,
}

impl Kind {
    /// Reads a `kind` box.
    ///
    /// # Errors
    ///
    /// As [`Vmhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        Ok(Self {
            scheme: lossy(&mut reader),
            value: lossy(&mut reader),
        })
    }
}

fn lossy(reader: &mut Reader<'_>) -> String {
    String::from_utf8_lossy(reader.text()).into_owned()
}
