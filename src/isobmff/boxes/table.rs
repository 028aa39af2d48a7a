//! The sample table of a progressive file, and edit lists.

use crate::isobmff::{BoxRef, Result, through_mp4};

/// Edit list (`elst`), in `edts`. ISO/IEC 14496-12.
///
/// | field            | bits         | unit                                         |
/// |------------------|--------------|----------------------------------------------|
/// | entry_count      | 32           |                                              |
/// | segment_duration | 32 (v0) / 64 | ticks of the `mvhd` timescale                |
/// | media_time       | 32 (v0) / 64 | ticks of the track, signed; -1 = empty edit  |
/// | media_rate       | 2 x 16       | 16.16, 1.0 = normal                          |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elst {
    /// In order of presentation.
    pub edits: Vec<Edit>,
}

/// One entry of [`Elst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Ticks of the movie's clock; 0 = all that follows.
    pub segment_duration: u64,
    /// Where in the track it begins, in its ticks; -1 = nothing is shown.
    pub media_time: i64,
    /// Integer part of the rate.
    pub rate: i16,
}

impl Elst {
    /// Reads an `elst` box.
    ///
    /// # Errors
    ///
    /// There are more entries than bytes, or the version is not defined. So for those below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::elst(source)
    }
}

/// Decoding times (`stts`): runs of samples and the ticks each lasts. ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stts {
    /// Number of samples, ticks of each.
    pub runs: Vec<(u32, u32)>,
}

impl Stts {
    /// Reads an `stts` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::stts(source)
    }
}

/// Composition offsets (`ctts`): runs of samples, and presentation minus decode time in ticks, which
/// is signed from version 1. ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctts {
    /// Number of samples, offset of each.
    pub runs: Vec<(u32, i64)>,
}

impl Ctts {
    /// Reads a `ctts` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::ctts(source)
    }
}

/// Sample sizes (`stsz`). ISO/IEC 14496-12.
///
/// | field        | bits | unit                                |
/// |--------------|------|-------------------------------------|
/// | sample_size  | 32   | bytes of every sample; 0 = see sizes |
/// | sample_count | 32   |                                     |
/// | entry_size   | 32   | bytes, per sample                   |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stsz {
    /// Bytes of every sample, if all are alike.
    pub sample_size: u32,
    /// Number of samples; backed by no bytes where all are alike.
    pub sample_count: u32,
    /// Bytes of each sample, if they differ.
    pub sizes: Vec<u32>,
}

impl Stsz {
    /// Reads an `stsz` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::stsz(source)
    }
}

/// Chunk offsets (`stco` with 32 bits each, `co64` with 64). ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOffsets(
    /// Positions in the file.
    pub Vec<u64>,
);

impl ChunkOffsets {
    /// Reads an `stco` or `co64` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::chunk_offsets(source)
    }
}

/// Samples to chunks (`stsc`): runs of chunks with the same number of samples. ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stsc {
    /// First chunk (from 1), samples in each, sample description index.
    pub runs: Vec<(u32, u32, u32)>,
}

impl Stsc {
    /// Reads an `stsc` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::stsc(source)
    }
}

/// Sync samples (`stss`); without this box all samples are. ISO/IEC 14496-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stss(
    /// Their numbers, from 1.
    pub Vec<u32>,
);

impl Stss {
    /// Reads an `stss` box.
    ///
    /// # Errors
    ///
    /// As [`Elst::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::stss(source)
    }
}
