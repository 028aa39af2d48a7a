//! Movie fragments: `moof`, `mfhd`, `traf`, `tfhd`, `tfdt`, `trun`.

use crate::isobmff::{BoxRef, Cause, Result, through_mp4};

/// Bits of the 32 that describe a sample in `trex`, `tfhd` and `trun`.
pub mod sample_flags {
    /// The sample is no sync sample.
    pub const NON_SYNC: u32 = 0x0001_0000;
}

/// Movie fragment (`moof`): the description of the samples in the `mdat` that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moof {
    /// Its header.
    pub mfhd: Mfhd,
    /// One per track with samples here, in file order.
    pub trafs: Vec<Traf>,
}

impl Moof {
    /// Reads a `moof` box. Boxes that are not named here are passed over.
    ///
    /// # Errors
    ///
    /// A box in it cannot be read, `mfhd` is missing, or `tfhd` in one of its `traf`.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut mfhd = None;
        let mut trafs = Vec::new();
        for child in source.children() {
            let child = child?;
            match &child.kind.0 {
                b"mfhd" => mfhd = Some(Mfhd::decode(&child)?),
                b"traf" => trafs.push(Traf::decode(&child)?),
                _ => {}
            }
        }
        let missing = || source.error(Cause::Missing(b"mfhd".into()));
        Ok(Self {
            mfhd: mfhd.ok_or_else(missing)?,
            trafs,
        })
    }
}

/// Movie fragment header (`mfhd`), in `moof`. ISO/IEC 14496-12.
///
/// | field           | bits | unit                           |
/// |-----------------|------|--------------------------------|
/// | sequence_number | 32   | rises from fragment to fragment |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mfhd {
    /// Rises from fragment to fragment.
    pub sequence_number: u32,
}

impl Mfhd {
    /// Reads an `mfhd` box.
    ///
    /// # Errors
    ///
    /// It is too short for its version and flags, or the version is not defined. So for those below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::mfhd(source)
    }
}

/// Track fragment (`traf`), in `moof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traf {
    /// Its header.
    pub tfhd: Tfhd,
    /// When its first sample is decoded, where said.
    pub tfdt: Option<Tfdt>,
    /// Its runs of samples, in file order.
    pub truns: Vec<Trun>,
}

impl Traf {
    /// Reads a `traf` box. Boxes that are not named here are passed over.
    ///
    /// # Errors
    ///
    /// A box in it cannot be read, or `tfhd` is missing.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut tfhd = None;
        let mut tfdt = None;
        let mut truns = Vec::new();
        for child in source.children() {
            let child = child?;
            match &child.kind.0 {
                b"tfhd" => tfhd = Some(Tfhd::decode(&child)?),
                b"tfdt" => tfdt = Some(Tfdt::decode(&child)?),
                b"trun" => truns.push(Trun::decode(&child)?),
                _ => {}
            }
        }
        let missing = || source.error(Cause::Missing(b"tfhd".into()));
        Ok(Self {
            tfhd: tfhd.ok_or_else(missing)?,
            tfdt,
            truns,
        })
    }
}

/// Track fragment header (`tfhd`), in `traf`. ISO/IEC 14496-12.
///
/// | field                    | flag    | bits | unit                    |
/// |--------------------------|---------|------|-------------------------|
/// | track_ID                 |         | 32   |                         |
/// | base_data_offset         | 0x01    | 64   | byte in the file        |
/// | sample_description_index | 0x02    | 32   | from 1                  |
/// | default_sample_duration  | 0x08    | 32   | ticks of the track      |
/// | default_sample_size      | 0x10    | 32   | bytes                   |
/// | default_sample_flags     | 0x20    | 32   | [`sample_flags`]        |
/// | (duration-is-empty)      | 0x10000 | 0    |                         |
/// | (default-base-is-moof)   | 0x20000 | 0    |                         |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tfhd {
    /// The bits of the table.
    pub flags: u32,
    /// The track.
    pub track_id: u32,
    /// What the data offsets of the runs count from, if not the `moof`.
    pub base_data_offset: Option<u64>,
    /// Entry of `stsd`, from 1.
    pub sample_description_index: Option<u32>,
    /// Ticks of the track's clock.
    pub default_sample_duration: Option<u32>,
    /// Bytes.
    pub default_sample_size: Option<u32>,
    /// See [`sample_flags`].
    pub default_sample_flags: Option<u32>,
}

impl Tfhd {
    /// Data offsets count from the first byte of the `moof`.
    pub const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;

    /// Reads a `tfhd` box.
    ///
    /// # Errors
    ///
    /// As [`Mfhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::tfhd(source)
    }
}

/// Track fragment decode time (`tfdt`), in `traf`. ISO/IEC 14496-12.
///
/// | version | field               | bits | unit                                  |
/// |---------|---------------------|------|---------------------------------------|
/// | 0       | baseMediaDecodeTime | 32   | ticks of the track's `mdhd` timescale |
/// | 1       | baseMediaDecodeTime | 64   | same                                  |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tfdt {
    /// 0 or 1.
    pub version: u8,
    /// Sum of the durations of all samples before, in ticks.
    pub base_media_decode_time: u64,
}

impl Tfdt {
    /// Reads a `tfdt` box.
    ///
    /// # Errors
    ///
    /// As [`Mfhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::tfdt(source)
    }
}

/// Track run (`trun`), in `traf`. ISO/IEC 14496-12.
///
/// | field                          | flag  | bits | unit                              |
/// |--------------------------------|-------|------|-----------------------------------|
/// | sample_count                   |       | 32   |                                   |
/// | data_offset                    | 0x001 | 32   | bytes, signed, see [`Tfhd`]       |
/// | first_sample_flags             | 0x004 | 32   | [`sample_flags`]                  |
/// | sample_duration                | 0x100 | 32   | ticks, per sample                 |
/// | sample_size                    | 0x200 | 32   | bytes, per sample                 |
/// | sample_flags                   | 0x400 | 32   | per sample                        |
/// | sample_composition_time_offset | 0x800 | 32   | ticks, per sample, signed from v1 |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trun {
    /// 0 or 1.
    pub version: u8,
    /// The bits of the table.
    pub flags: u32,
    /// Number of samples. Where no per-sample field is there, no bytes back this number: never
    /// allocate or loop for it.
    pub sample_count: u32,
    /// Where the data of the first sample is.
    pub data_offset: Option<i32>,
    /// Replaces the flags of the first sample.
    pub first_sample_flags: Option<u32>,
    /// Empty, or one per sample. So for the next three.
    pub durations: Vec<u32>,
    /// Bytes.
    pub sizes: Vec<u32>,
    /// See [`sample_flags`].
    pub sample_flags: Vec<u32>,
    /// Presentation minus decode time, in ticks.
    pub composition_offsets: Vec<i64>,
}

impl Trun {
    /// `data_offset` is there.
    pub const DATA_OFFSET: u32 = 0x001;
    /// `first_sample_flags` is there.
    pub const FIRST_SAMPLE_FLAGS: u32 = 0x004;
    /// Samples have fields of their own.
    pub const PER_SAMPLE: u32 = 0xf00;

    /// Reads a `trun` box.
    ///
    /// # Errors
    ///
    /// As [`Mfhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, flags) = reader.version_and_flags(1)?;
        if flags & Self::PER_SAMPLE != 0 {
            return through_mp4::trun(source);
        }
        // The crate would loop `sample_count` times over nothing: seconds for 16 bytes.
        let sample_count = reader.u32()?;
        let data_offset = match flags & Self::DATA_OFFSET {
            0 => None,
            _ => Some(reader.i32()?),
        };
        let first_sample_flags = match flags & Self::FIRST_SAMPLE_FLAGS {
            0 => None,
            _ => Some(reader.u32()?),
        };
        Ok(Self {
            version,
            flags,
            sample_count,
            data_offset,
            first_sample_flags,
            ..Self::default()
        })
    }
}
