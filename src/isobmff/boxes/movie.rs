//! The movie and its tracks: `mvhd`, `tkhd`, `mdhd`, `hdlr`, `mehd`, `trex`.

use crate::isobmff::{BoxRef, FourCc, Result, through_mp4};

/// Movie header (`mvhd`), in `moov`. ISO/IEC 14496-12.
///
/// | field         | bits         | unit                            |
/// |---------------|--------------|---------------------------------|
/// | creation_time | 32 (v0) / 64 | seconds since 1904              |
/// | timescale     | 32           | ticks per second                |
/// | duration      | 32 (v0) / 64 | ticks of this timescale         |
/// | rate          | 32           | 16.16, 1.0 = normal             |
/// | volume        | 16           | 8.8, 1.0 = full                 |
/// | next_track_ID | 32           |                                 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mvhd {
    /// Seconds since 1904.
    pub creation_time: u64,
    /// Ticks per second of the movie's own clock.
    pub timescale: u32,
    /// Ticks; 0 in a CMAF header.
    pub duration: u64,
    /// Playback rate, 16.16 fixed point.
    pub rate: u32,
    /// Volume, 8.8 fixed point.
    pub volume: u16,
    /// Transformation, row by row.
    pub matrix: [i32; 9],
    /// An id above those of all tracks.
    pub next_track_id: u32,
}

impl Mvhd {
    /// Reads an `mvhd` box.
    ///
    /// # Errors
    ///
    /// It is too short for its version, or the version is above 1. So for those below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::mvhd(source)
    }
}

/// Track header (`tkhd`), in `trak`. ISO/IEC 14496-12.
///
/// | field           | bits         | unit                             |
/// |-----------------|--------------|----------------------------------|
/// | creation_time   | 32 (v0) / 64 | seconds since 1904               |
/// | track_ID        | 32           |                                  |
/// | duration        | 32 (v0) / 64 | ticks of the `mvhd` timescale    |
/// | layer           | 16, signed   | smaller = nearer to the viewer   |
/// | alternate_group | 16, signed   |                                  |
/// | volume          | 16           | 8.8                              |
/// | matrix          | 9 x 32       | 16.16, last column 2.30          |
/// | width, height   | 32 each      | 16.16 pixels                     |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tkhd {
    /// 1 = enabled, 2 = in movie, 4 = in preview.
    pub flags: u32,
    /// Seconds since 1904.
    pub creation_time: u64,
    /// The track.
    pub track_id: u32,
    /// Ticks of the movie's clock; 0 in a CMAF header.
    pub duration: u64,
    /// Stacking order.
    pub layer: i16,
    /// Tracks of one group other than 0 are alternatives.
    pub alternate_group: i16,
    /// Volume, 8.8 fixed point.
    pub volume: u16,
    /// Transformation, row by row.
    pub matrix: [i32; 9],
    /// Width of the presentation, 16.16 pixels.
    pub width: u32,
    /// Height of the presentation, 16.16 pixels.
    pub height: u32,
}

impl Tkhd {
    /// The track is enabled.
    pub const ENABLED: u32 = 1;

    /// Reads a `tkhd` box.
    ///
    /// # Errors
    ///
    /// As [`Mvhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::tkhd(source)
    }
}

/// Media header (`mdhd`), in `mdia`. ISO/IEC 14496-12.
///
/// | field         | bits         | unit                                       |
/// |---------------|--------------|--------------------------------------------|
/// | creation_time | 32 (v0) / 64 | seconds since 1904                         |
/// | timescale     | 32           | ticks per second                           |
/// | duration      | 32 (v0) / 64 | ticks of this timescale                    |
/// | language      | 3 x 5        | letters of ISO 639-2/T, each minus 0x60    |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdhd {
    /// Seconds since 1904.
    pub creation_time: u64,
    /// Ticks per second of the track's clock.
    pub timescale: u32,
    /// Ticks; 0 in a CMAF header.
    pub duration: u64,
    /// Three letters; `und` when not known.
    pub language: String,
}

impl Mdhd {
    /// Reads an `mdhd` box.
    ///
    /// # Errors
    ///
    /// As [`Mvhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::mdhd(source)
    }
}

/// Handler (`hdlr`), in `mdia`: what kind of track it is. ISO/IEC 14496-12.
///
/// | field        | bits    | unit                              |
/// |--------------|---------|-----------------------------------|
/// | pre_defined  | 32      |                                   |
/// | handler_type | 32      | four characters                   |
/// | reserved     | 3 x 32  |                                   |
/// | name         | text    | UTF-8, ends with NUL              |
///
/// The crate drops the last byte of the name unseen, NUL or not, so this one is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hdlr {
    /// `vide`, `soun`, `text`, `subt`, `meta`, ...
    pub handler: FourCc,
    /// Name for people; may be empty. Bytes that are no UTF-8 are replaced.
    pub name: String,
}

impl Hdlr {
    /// Reads a `hdlr` box.
    ///
    /// # Errors
    ///
    /// It is too short.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        let component = reader.u32()?;
        let handler = reader.fourcc()?;
        reader.skip(12)?;
        let counted = reader
            .left()
            .split_first()
            .filter(|(len, rest)| component != 0 && usize::from(**len) <= rest.len());
        let name = match counted {
            // QuickTime, which has a component type here, gives the length of the name instead.
            Some((len, rest)) => rest.get(..usize::from(*len)).unwrap_or(rest),
            None => reader.text(),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Self { handler, name })
    }
}

/// Movie extends header (`mehd`), in `mvex`: the duration with all fragments, when it is known.
/// ISO/IEC 14496-12.
///
/// | field             | bits         | unit                          |
/// |-------------------|--------------|-------------------------------|
/// | fragment_duration | 32 (v0) / 64 | ticks of the `mvhd` timescale |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mehd {
    /// Ticks of the movie's clock.
    pub fragment_duration: u64,
}

impl Mehd {
    /// Reads a `mehd` box.
    ///
    /// # Errors
    ///
    /// As [`Mvhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::mehd(source)
    }
}

/// Track extends (`trex`), in `mvex`: what holds for a sample where its fragment says nothing.
/// ISO/IEC 14496-12.
///
/// | field                            | bits | unit                     |
/// |----------------------------------|------|--------------------------|
/// | track_ID                         | 32   |                          |
/// | default_sample_description_index | 32   | counts from 1            |
/// | default_sample_duration          | 32   | ticks of the track       |
/// | default_sample_size              | 32   | bytes                    |
/// | default_sample_flags             | 32   | [`super::sample_flags`]  |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trex {
    /// The track.
    pub track_id: u32,
    /// Entry of `stsd`, from 1.
    pub default_sample_description_index: u32,
    /// Ticks of the track's clock.
    pub default_sample_duration: u32,
    /// Bytes.
    pub default_sample_size: u32,
    /// See [`super::sample_flags`].
    pub default_sample_flags: u32,
}

impl Trex {
    /// Reads a `trex` box.
    ///
    /// # Errors
    ///
    /// As [`Mvhd::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        through_mp4::trex(source)
    }
}
