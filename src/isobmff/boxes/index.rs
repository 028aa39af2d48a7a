//! Where things are: `sidx`, `mfra` with `tfra` and `mfro`.

use crate::isobmff::{BoxRef, Cause, Reader, Result};

/// Segment index (`sidx`). ISO/IEC 14496-12.
///
/// | field                      | bits         | unit                                   |
/// |----------------------------|--------------|----------------------------------------|
/// | reference_ID               | 32           | the track                              |
/// | timescale                  | 32           | ticks per second                       |
/// | earliest_presentation_time | 32 (v0) / 64 | ticks                                  |
/// | first_offset               | 32 (v0) / 64 | bytes from the end of this box         |
/// | reference_count            | 16, behind 16 reserved |                              |
/// | references                 | 3 x 32 each  | [`SidxReference`]                      |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidx {
    /// The track.
    pub reference_id: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// Ticks.
    pub earliest_presentation_time: u64,
    /// Bytes from the end of this box to what the first reference is about.
    pub first_offset: u64,
    /// One after the other.
    pub references: Vec<SidxReference>,
}

/// One stretch of a [`Sidx`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidxReference {
    /// It is about another `sidx`, not about media.
    pub to_index: bool,
    /// Bytes.
    pub size: u32,
    /// Ticks.
    pub duration: u32,
    /// It begins with a stream access point.
    pub starts_with_sap: bool,
    /// 1 to 6; 0 = not known.
    pub sap_type: u8,
    /// Ticks to the stream access point.
    pub sap_delta: u32,
}

impl Sidx {
    /// Reads a `sidx` box.
    ///
    /// # Errors
    ///
    /// It is too short, or its version is not defined. So for those below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        let reference_id = reader.u32()?;
        let timescale = reader.u32()?;
        let earliest_presentation_time = wide(&mut reader, version)?;
        let first_offset = wide(&mut reader, version)?;
        reader.skip(2)?;
        let count = reader.u16()?;
        let mut references = Vec::new();
        for _ in 0..count {
            let (size, duration, sap) = (reader.u32()?, reader.u32()?, reader.u32()?);
            references.push(SidxReference {
                to_index: size >> 31 != 0,
                size: size & 0x7fff_ffff,
                duration,
                starts_with_sap: sap >> 31 != 0,
                sap_type: u8::try_from((sap >> 28) & 0x07).unwrap_or(0),
                sap_delta: sap & 0x0fff_ffff,
            });
        }
        Ok(Self {
            reference_id,
            timescale,
            earliest_presentation_time,
            first_offset,
            references,
        })
    }
}

/// Movie fragment random access (`mfra`), at the end of a file. ISO/IEC 14496-12. An empty one ends
/// a track that is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mfra {
    /// One per track.
    pub tracks: Vec<Tfra>,
    /// Length of the whole box as `mfro` says it, for those who read from the end.
    pub size: Option<u32>,
}

impl Mfra {
    /// Reads an `mfra` box.
    ///
    /// # Errors
    ///
    /// A box in it cannot be read.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut found = Self::default();
        for child in source.children() {
            let child = child?;
            match &child.kind.0 {
                b"tfra" => found.tracks.push(Tfra::decode(&child)?),
                b"mfro" => {
                    let mut reader = child.reader();
                    reader.version_and_flags(0)?;
                    found.size = Some(reader.u32()?);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Track fragment random access (`tfra`), in `mfra`. ISO/IEC 14496-12.
///
/// | field              | bits         | unit                                     |
/// |--------------------|--------------|------------------------------------------|
/// | track_ID           | 32           |                                          |
/// | lengths            | 3 x 2, lowest | bytes of the three numbers, less one    |
/// | number_of_entry    | 32           |                                          |
/// | time               | 32 (v0) / 64 | ticks of the track                       |
/// | moof_offset        | 32 (v0) / 64 | byte in the file                         |
/// | traf, trun, sample number | 8 to 32 each | from 1                            |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tfra {
    /// The track.
    pub track_id: u32,
    /// Time in ticks and position of the `moof`, of each sync sample that is listed.
    pub entries: Vec<(u64, u64)>,
}

impl Tfra {
    /// Reads a `tfra` box.
    ///
    /// # Errors
    ///
    /// As [`Sidx::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, _) = reader.version_and_flags(1)?;
        let track_id = reader.u32()?;
        let lengths = reader.u32()?;
        let numbers: u32 = [4, 2, 0].into_iter().fold(3, |sum: u32, shift| {
            sum.saturating_add((lengths >> shift) & 0x03)
        });
        let fixed: u64 = if version == 0 { 8 } else { 16 };
        let count = reader.count(fixed.saturating_add(u64::from(numbers)))?;
        let numbers = usize::try_from(numbers).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push((wide(&mut reader, version)?, wide(&mut reader, version)?));
            reader.skip(numbers)?;
        }
        Ok(Self { track_id, entries })
    }
}

/// 32 bits in version 0, 64 after.
fn wide(reader: &mut Reader<'_>, version: u8) -> Result<u64> {
    match version {
        0 => reader.u32().map(u64::from),
        _ => reader.u64(),
    }
}

/// Requires that nothing is left.
pub(super) fn done(reader: &Reader<'_>) -> Result<()> {
    if reader.is_empty() {
        Ok(())
    } else {
        Err(reader.error(Cause::Value("expected the end of the box")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{boxed, concat, full};

    #[test]
    fn a_segment_index() {
        let fields = concat(
            &[1u32, 12_800, 25_600, 0, 1, 0x0000_6000, 512, 0x9000_0000].map(u32::to_be_bytes),
        );
        let bytes = full(b"sidx", 0, 0, &fields);
        let sidx = Sidx::decode(&BoxRef::top(&bytes, 0).unwrap()).unwrap();
        assert_eq!(
            (sidx.timescale, sidx.earliest_presentation_time),
            (12_800, 25_600)
        );
        let expected = SidxReference {
            to_index: false,
            size: 0x6000,
            duration: 512,
            starts_with_sap: true,
            sap_type: 1,
            sap_delta: 0,
        };
        assert_eq!(sidx.references, [expected]);
    }

    #[test]
    fn random_access_points_with_numbers_of_any_length() {
        let head = concat(&[1u32, 0b01_00_10, 2].map(u32::to_be_bytes));
        let entries = concat(&[
            &[0, 0, 0, 9, 0, 0, 1, 0][..],
            &[0; 6],
            &[0, 0, 2, 9, 0, 0, 2, 0],
            &[0; 6],
        ]);
        let tfra = full(b"tfra", 0, 0, &concat(&[head, entries]));
        let mfro = full(b"mfro", 0, 0, &[0, 0, 0, 68]);
        let bytes = boxed(b"mfra", &concat(&[tfra, mfro]));
        let mfra = Mfra::decode(&BoxRef::top(&bytes, 0).unwrap()).unwrap();
        assert_eq!(mfra.size, Some(68));
        assert_eq!(mfra.tracks[0].entries, [(9, 256), (521, 512)]);
        let empty = boxed(b"mfra", &[]);
        assert_eq!(
            Mfra::decode(&BoxRef::top(&empty, 0).unwrap()).unwrap(),
            Mfra::default()
        );
    }
}
