//! Common encryption in the header: `sinf` with `frma`, `schm`, `tenc`.

use crate::isobmff::{BoxRef, Cause, FourCc, Result};

/// Protection scheme information (`sinf`), in an encrypted sample entry. ISO/IEC 14496-12,
/// ISO/IEC 23001-7.
///
/// ```text
/// sinf
///   frma  the type of the entry before it was encrypted
///   schm  scheme and version
///   schi
///     tenc  key id and initialization vectors
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinf {
    /// `frma`.
    pub original_format: FourCc,
    /// `schm`: `cenc`, `cbcs`, ... and its version; `None` where it is missing.
    pub scheme: Option<(FourCc, u32)>,
    /// `tenc`.
    pub tenc: Option<Tenc>,
}

impl Sinf {
    /// Reads a `sinf` box.
    ///
    /// # Errors
    ///
    /// `frma` is missing, or a box in it cannot be read.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut original_format = None;
        let mut scheme = None;
        let mut tenc = None;
        for child in source.children() {
            let child = child?;
            let mut reader = child.reader();
            match &child.kind.0 {
                b"frma" => original_format = Some(reader.fourcc()?),
                b"schm" => {
                    reader.version_and_flags(0)?;
                    scheme = Some((reader.fourcc()?, reader.u32()?));
                }
                b"schi" => {
                    if let Some(found) = child.child(b"tenc")? {
                        tenc = Some(Tenc::decode(&found)?);
                    }
                }
                _ => {}
            }
        }
        let missing = || source.error(Cause::Missing(b"frma".into()));
        Ok(Self {
            original_format: original_format.ok_or_else(missing)?,
            scheme,
            tenc,
        })
    }
}

/// Track encryption (`tenc`), in `schi`. ISO/IEC 23001-7.
///
/// | field                   | bits | when                                 |
/// |-------------------------|------|--------------------------------------|
/// | default_crypt_byte_block | 4   | version 1                            |
/// | default_skip_byte_block | 4    | version 1                            |
/// | default_isProtected     | 8    |                                      |
/// | default_Per_Sample_IV_Size | 8 | 0, 8 or 16 bytes                     |
/// | default_KID             | 128  |                                      |
/// | default_constant_IV     | 8 n  | protected and IV size 0, after its size |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenc {
    /// Encrypted and clear blocks of the pattern; both 0 without one.
    pub pattern: (u8, u8),
    /// Samples are encrypted unless said otherwise.
    pub is_protected: bool,
    /// Bytes of each sample's initialization vector; 0 = all use the constant one.
    pub iv_size: u8,
    /// Key id.
    pub key_id: [u8; 16],
    /// For all samples, up to 16 bytes.
    pub constant_iv: Vec<u8>,
}

impl Tenc {
    /// Reads a `tenc` box.
    ///
    /// # Errors
    ///
    /// It is too short, or of a version above 1.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        reader.skip(1)?;
        let pattern = reader.u8()?;
        let is_protected = reader.u8()? == 1;
        let iv_size = reader.u8()?;
        let key_id = reader.array()?;
        let constant_iv = if is_protected && iv_size == 0 && !reader.is_empty() {
            let len = usize::from(reader.u8()?);
            reader.bytes(len)?.to_vec()
        } else {
            Vec::new()
        };
        Ok(Self {
            pattern: match version {
                0 => (0, 0),
                _ => (pattern >> 4, pattern & 0x0f),
            },
            is_protected,
            iv_size,
            key_id,
            constant_iv,
        })
    }
}
