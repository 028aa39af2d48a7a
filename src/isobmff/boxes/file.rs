//! Brands: `ftyp` and `styp`.

use crate::isobmff::{BoxRef, FourCc, Result, through_mp4};

/// File type (`ftyp`) or segment type (`styp`). ISO/IEC 14496-12.
///
/// | field             | bits | unit                     |
/// |-------------------|------|--------------------------|
/// | major_brand       | 32   | four characters          |
/// | minor_version     | 32   |                          |
/// | compatible_brands | 32 n | four characters each     |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileType {
    /// The brand the file is best used as.
    pub major_brand: FourCc,
    /// For information.
    pub minor_version: u32,
    /// All brands the file conforms to.
    pub compatible_brands: Vec<FourCc>,
}

impl FileType {
    /// Reads an `ftyp` or `styp` box.
    ///
    /// # Errors
    ///
    /// It is too short, or longer than a whole number of brands.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::file_type(source)
    }

    /// Whether the brand is the major or a compatible one.
    #[must_use]
    pub fn has(&self, brand: &[u8; 4]) -> bool {
        self.major_brand == brand || self.compatible_brands.iter().any(|b| *b == brand)
    }
}
