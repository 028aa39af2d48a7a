//! Information beside the samples: encryption per sample (`senc`, `saiz`, `saio`), keys (`pssh`),
//! groups (`sbgp`, `sgpd`) and parts of samples (`subs`).

use crate::isobmff::{BoxRef, FourCc, Reader, Result};

use super::index::done;

/// Sample encryption (`senc`), in `traf`. ISO/IEC 23001-7.
///
/// | field                 | bits     | when                                            |
/// |-----------------------|----------|-------------------------------------------------|
/// | sample_count          | 32       |                                                 |
/// | InitializationVector  | 0, 64, 128 | per sample; the size is that of `tenc` or `seig` |
/// | subsample_count       | 16       | per sample, flag 2                              |
/// | clear, protected bytes | 16, 32  | per subsample, flag 2                           |
///
/// The samples are read with [`Senc::samples`], which has to know the size of the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Senc {
    /// 2 = with subsamples.
    pub flags: u32,
    /// Number of samples.
    pub sample_count: u32,
}

/// What [`Senc`] says about one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SencSample {
    /// Initialization vector.
    pub iv: Vec<u8>,
    /// Clear bytes, then protected ones, in turn; empty = all is protected.
    pub subsamples: Vec<(u16, u32)>,
}

impl Senc {
    /// Samples have subsamples.
    pub const SUBSAMPLES: u32 = 2;

    /// Reads a `senc` box as far as that goes without knowing the size of the vectors.
    ///
    /// # Errors
    ///
    /// It is too short. So for all below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (_, flags) = reader.version_and_flags(0)?;
        Ok(Self {
            flags,
            sample_count: reader.u32()?,
        })
    }

    /// The samples, with vectors of `iv_size` bytes, one by one; after an error none. `source` is the
    /// box this was read from. Where vectors and subsamples are both missing there is nothing to say,
    /// and no sample is given.
    ///
    /// # Errors
    ///
    /// They do not fill the box.
    pub fn samples<'a>(
        &self,
        source: &BoxRef<'a>,
        iv_size: u8,
    ) -> impl Iterator<Item = Result<SencSample>> + use<'a> {
        let mut reader = source.reader();
        let with_subsamples = self.flags & Self::SUBSAMPLES != 0;
        let mut left = match (iv_size, with_subsamples) {
            (0, false) => 0,
            _ => self.sample_count,
        };
        let mut begun = false;
        std::iter::from_fn(move || {
            if !begun {
                begun = true;
                if let Err(error) = reader.skip(8) {
                    left = 0;
                    return Some(Err(error));
                }
            }
            let next = left.checked_sub(1)?;
            let sample = SencSample::read(&mut reader, iv_size, with_subsamples);
            let sample = match (sample, next) {
                (Ok(sample), 0) => done(&reader).map(|()| sample),
                (sample, _) => sample,
            };
            left = if sample.is_ok() { next } else { 0 };
            Some(sample)
        })
    }
}

impl SencSample {
    fn read(reader: &mut Reader<'_>, iv_size: u8, with_subsamples: bool) -> Result<Self> {
        let iv = reader.bytes(usize::from(iv_size))?.to_vec();
        let mut subsamples = Vec::new();
        if with_subsamples {
            for _ in 0..reader.u16()? {
                subsamples.push((reader.u16()?, reader.u32()?));
            }
        }
        Ok(Self { iv, subsamples })
    }
}

/// Sizes of auxiliary information (`saiz`), in `traf`. ISO/IEC 14496-12.
///
/// | field                      | bits   | when          |
/// |----------------------------|--------|---------------|
/// | aux_info_type, its parameter | 2 x 32 | flag 1      |
/// | default_sample_info_size   | 8      |               |
/// | sample_count               | 32     |               |
/// | sample_info_size           | 8 each | default is 0  |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saiz {
    /// What the information is, where said.
    pub info_type: Option<(FourCc, u32)>,
    /// Bytes of each, if all are alike.
    pub default_size: u8,
    /// Number of samples; backed by no bytes where all sizes are alike.
    pub sample_count: u32,
    /// Bytes of each, if they differ.
    pub sizes: Vec<u8>,
}

impl Saiz {
    /// Reads a `saiz` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (_, flags) = reader.version_and_flags(0)?;
        let info_type = info_type(&mut reader, flags)?;
        let default_size = reader.u8()?;
        let (sample_count, sizes) = if default_size == 0 {
            let count = reader.count(1)?;
            let len = usize::try_from(count).unwrap_or(usize::MAX);
            (count, reader.bytes(len)?.to_vec())
        } else {
            (reader.u32()?, Vec::new())
        };
        Ok(Self {
            info_type,
            default_size,
            sample_count,
            sizes,
        })
    }

    /// Bytes of all samples together.
    #[must_use]
    pub fn total(&self) -> u64 {
        if self.default_size == 0 {
            let sizes = self.sizes.iter().map(|size| u64::from(*size));
            sizes.fold(0, u64::saturating_add)
        } else {
            u64::from(self.default_size).saturating_mul(u64::from(self.sample_count))
        }
    }
}

/// Positions of auxiliary information (`saio`), in `traf`. ISO/IEC 14496-12.
///
/// | field                        | bits             | when   |
/// |------------------------------|------------------|--------|
/// | aux_info_type, its parameter | 2 x 32           | flag 1 |
/// | entry_count                  | 32               |        |
/// | offset                       | 32 (v0) / 64 each | from the base of the fragment |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saio {
    /// What the information is, where said.
    pub info_type: Option<(FourCc, u32)>,
    /// One for all runs, or one for each.
    pub offsets: Vec<u64>,
}

impl Saio {
    /// Reads a `saio` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, flags) = reader.version_and_flags(1)?;
        let info_type = info_type(&mut reader, flags)?;
        let count = reader.count(if version == 0 { 4 } else { 8 })?;
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(match version {
                0 => u64::from(reader.u32()?),
                _ => reader.u64()?,
            });
        }
        Ok(Self { info_type, offsets })
    }
}

fn info_type(reader: &mut Reader<'_>, flags: u32) -> Result<Option<(FourCc, u32)>> {
    match flags & 1 {
        0 => Ok(None),
        _ => Ok(Some((reader.fourcc()?, reader.u32()?))),
    }
}

/// Protection system specific header (`pssh`), in `moov` or `moof`. ISO/IEC 23001-7.
///
/// | field     | bits      | when      |
/// |-----------|-----------|-----------|
/// | SystemID  | 128       |           |
/// | KID_count | 32        | version 1 |
/// | KID       | 128 each  | version 1 |
/// | DataSize  | 32        |           |
/// | Data      | 8 each    |           |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pssh {
    /// Whose system.
    pub system_id: [u8; 16],
    /// The keys it is about.
    pub key_ids: Vec<[u8; 16]>,
    /// Length of what is for the system only.
    pub data_len: u32,
}

impl Pssh {
    /// Reads a `pssh` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        let system_id = reader.array()?;
        let mut key_ids = Vec::new();
        if version > 0 {
            for _ in 0..reader.count(16)? {
                key_ids.push(reader.array()?);
            }
        }
        Ok(Self {
            system_id,
            key_ids,
            data_len: reader.count(1)?,
        })
    }
}

/// Sample to group (`sbgp`), in `stbl` or `traf`. ISO/IEC 14496-12.
///
/// | field                   | bits   | when      |
/// |-------------------------|--------|-----------|
/// | grouping_type           | 32     |           |
/// | grouping_type_parameter | 32     | version 1 |
/// | entry_count             | 32     |           |
/// | sample_count, group_description_index | 2 x 32 each | index 0 = no group; above 0x10000 = described in the same fragment |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbgp {
    /// `seig`, `roll`, `rap `, ...
    pub grouping_type: FourCc,
    /// Number of samples, index of their group.
    pub runs: Vec<(u32, u32)>,
}

impl Sbgp {
    /// Reads an `sbgp` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        let grouping_type = reader.fourcc()?;
        if version > 0 {
            reader.skip(4)?;
        }
        let mut runs = Vec::new();
        for _ in 0..reader.count(8)? {
            runs.push((reader.u32()?, reader.u32()?));
        }
        Ok(Self {
            grouping_type,
            runs,
        })
    }
}

/// Sample group descriptions (`sgpd`), in `stbl` or `traf`. ISO/IEC 14496-12.
///
/// | field                           | bits | when                              |
/// |---------------------------------|------|-----------------------------------|
/// | grouping_type                   | 32   |                                   |
/// | default_length                  | 32   | version 1 on; 0 = each has its own |
/// | default_group_description_index | 32   | version 2 on                      |
/// | entry_count                     | 32   |                                   |
/// | description_length              | 32   | each, version 1 on, default is 0  |
/// | entry                           |      | by the type of group              |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sgpd {
    /// `seig`, `roll`, `rap `, ...
    pub grouping_type: FourCc,
    /// Group of samples that are in none by `sbgp`.
    pub default_index: Option<u32>,
    /// Number of entries.
    pub entry_count: u32,
    /// The entries; empty for version 0, which does not say how long they are.
    pub entries: Vec<Vec<u8>>,
}

impl Sgpd {
    /// Reads an `sgpd` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(3)?;
        let grouping_type = reader.fourcc()?;
        let default_length = if version > 0 { reader.u32()? } else { 0 };
        let default_index = if version > 1 {
            Some(reader.u32()?)
        } else {
            None
        };
        let mut entries = Vec::new();
        if version == 0 {
            return Ok(Self {
                grouping_type,
                default_index,
                entry_count: reader.u32()?,
                entries,
            });
        }
        let least = if default_length == 0 {
            4
        } else {
            u64::from(default_length)
        };
        let entry_count = reader.count(least)?;
        for _ in 0..entry_count {
            let len = if default_length == 0 {
                reader.u32()?
            } else {
                default_length
            };
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            entries.push(reader.bytes(len)?.to_vec());
        }
        Ok(Self {
            grouping_type,
            default_index,
            entry_count,
            entries,
        })
    }
}

/// Sub-sample information (`subs`), in `stbl` or `traf`. ISO/IEC 14496-12.
///
/// | field           | bits         | unit                              |
/// |-----------------|--------------|-----------------------------------|
/// | entry_count     | 32           |                                   |
/// | sample_delta    | 32 each      | samples since the entry before    |
/// | subsample_count | 16 each      |                                   |
/// | subsample_size  | 16 (v0) / 32 | bytes                             |
/// | subsample_priority, discardable | 2 x 8 |                          |
/// | codec_specific_parameters | 32 |                                   |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subs {
    /// Samples since the entry before, and bytes of the parts.
    pub entries: Vec<(u32, Vec<u32>)>,
}

impl Subs {
    /// Reads a `subs` box.
    ///
    /// # Errors
    ///
    /// As [`Senc::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        let mut entries = Vec::new();
        for _ in 0..reader.count(6)? {
            let delta = reader.u32()?;
            let mut sizes = Vec::new();
            for _ in 0..reader.u16()? {
                sizes.push(match version {
                    0 => u32::from(reader.u16()?),
                    _ => reader.u32()?,
                });
                reader.skip(6)?;
            }
            entries.push((delta, sizes));
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{concat, full};

    fn senc(count: u32, body: &[u8]) -> Vec<u8> {
        full(
            b"senc",
            0,
            Senc::SUBSAMPLES,
            &concat(&[&count.to_be_bytes()[..], body]),
        )
    }

    #[test]
    fn subsamples_must_fill_the_box() {
        let one = concat(&[&[7; 8][..], &[0, 1, 0, 5, 0, 0, 0, 9]]);
        let bytes = senc(2, &concat(&[one.clone(), one.clone()]));
        let source = BoxRef::top(&bytes, 0).unwrap();
        let found = Senc::decode(&source).unwrap();
        let samples: Result<Vec<_>> = found.samples(&source, 8).collect();
        let samples = samples.unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1].subsamples, [(5, 9)]);
        for count in [1, 3] {
            let bytes = senc(count, &concat(&[one.clone(), one.clone()]));
            let source = BoxRef::top(&bytes, 0).unwrap();
            let found = Senc::decode(&source).unwrap();
            assert!(
                found.samples(&source, 8).any(|sample| sample.is_err()),
                "{count}"
            );
        }
    }

    #[test]
    fn a_count_without_bytes_is_not_looped_over() {
        let bytes = full(b"senc", 0, 0, &u32::MAX.to_be_bytes());
        let source = BoxRef::top(&bytes, 0).unwrap();
        let found = Senc::decode(&source).unwrap();
        assert_eq!(found.samples(&source, 0).count(), 0);
        let saiz = full(b"saiz", 0, 0, &[16, 0xff, 0xff, 0xff, 0xff]);
        let saiz = Saiz::decode(&BoxRef::top(&saiz, 0).unwrap()).unwrap();
        assert_eq!(saiz.total(), 16 * u64::from(u32::MAX));
    }

    #[test]
    fn group_descriptions_of_one_length_and_of_many() {
        let one = full(b"sgpd", 1, 0, b"seig\0\0\0\x02\0\0\0\x02abcd");
        let one = Sgpd::decode(&BoxRef::top(&one, 0).unwrap()).unwrap();
        assert_eq!(one.entries, [b"ab".to_vec(), b"cd".to_vec()]);
        let many = full(
            b"sgpd",
            2,
            0,
            b"roll\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x03abc",
        );
        let many = Sgpd::decode(&BoxRef::top(&many, 0).unwrap()).unwrap();
        assert_eq!(
            (many.default_index, &many.entries),
            (Some(1), &vec![b"abc".to_vec()])
        );
        let lying = full(b"sgpd", 1, 0, b"roll\0\0\0\0\xff\xff\xff\xff\0\0\0\x03abc");
        assert!(Sgpd::decode(&BoxRef::top(&lying, 0).unwrap()).is_err());
    }
}
