//! The one place where the `mp4` crate decodes, and what must hold before it may.
//!
//! The crate trusts sizes and counts, so it is never shown one that was not checked here, and it
//! never walks: it gets one leaf box at a time, alone in its window. The window ends where version,
//! flags and counts say that the fields end; a box that is shorter is refused, and what follows in a
//! longer one the crate does not see.
//!
//! | goes through the crate                  | read by our own code instead, because          |
//! |------------------------------------------|-------------------------------------------------|
//! | `ftyp` `styp` `mvhd` `tkhd` `mdhd`       | containers: a child of size 0 hangs the crate   |
//! | `vmhd` `smhd` `mehd` `trex`              | `hdlr`: the last byte of the name is dropped    |
//! | `mfhd` `tfhd` `tfdt`                     | bare `trun`: loops for counts without bytes     |
//! | `trun` with per-sample fields            | `stsz` of one size: the same                    |
//! | `elst` `stts` `ctts` `stsc` `stco` `co64` `stss` | sample entries, `esds`, `vpcC`: wrong or partial |
//! | `stsz` of sizes, `emsg`, `avcC`          | all others: the crate does not know them        |

use std::io::Cursor;

use mp4::{MoofBox, MoovBox, ReadBox};

use super::boxes::{
    AvcC, ChunkOffsets, Ctts, Edit, Elst, Emsg, EventTime, FileType, Mdhd, Mehd, Mfhd, Mvhd, Smhd,
    Stsc, Stss, Stsz, Stts, Tfdt, Tfhd, Tkhd, Trex, Trun, Vmhd,
};
use super::reader::length;
use super::{BoxRef, Cause, FourCc, Result, limits};

/// A box whose payload has been found to hold all its fields, and how long they are.
struct Checked<'b, 'a> {
    source: &'b BoxRef<'a>,
    fields: u64,
}

/// Decodes the box as a `B`. The box types of the crate have no public names: they are reached as
/// the type of a field, named by a function that is never called.
fn decode<P, B>(_field: fn(&P) -> Option<&B>, checked: &Checked<'_, '_>) -> Result<B>
where
    B: for<'c, 'w> ReadBox<&'c mut Cursor<&'w [u8]>>,
{
    // `read_box` expects to stand behind an eight-byte header and takes 8 off its position.
    let len = checked.fields.saturating_add(8);
    let window = checked.source.window();
    let window = usize::try_from(len)
        .ok()
        .and_then(|len| window.get(..len))
        .unwrap_or(window);
    let mut cursor = Cursor::new(window);
    cursor.set_position(8);
    B::read_box(&mut cursor, length(window)).map_err(|_| {
        let cause = Cause::Value("the fields do not go with the length of the box");
        checked.source.error(cause)
    })
}

/// Requires `fields` bytes of payload. More may follow, for what a later edition adds; the crate does
/// not see it.
fn at_least<'b, 'a>(source: &'b BoxRef<'a>, fields: u64) -> Result<Checked<'b, 'a>> {
    let left = length(source.payload());
    if left < fields {
        let need = fields;
        return Err(source.reader().error(Cause::Short { need, left }));
    }
    Ok(Checked { source, fields })
}

/// All of a box whose last field goes to its end.
fn whole<'b, 'a>(source: &'b BoxRef<'a>) -> Checked<'b, 'a> {
    let fields = length(source.payload());
    Checked { source, fields }
}

/// Requires version 0 with `short` bytes of payload, or version 1 with `long`.
fn versioned<'b, 'a>(source: &'b BoxRef<'a>, short: u64, long: u64) -> Result<Checked<'b, 'a>> {
    match source.reader().version_and_flags(1)? {
        (0, _) => at_least(source, short),
        _ => at_least(source, long),
    }
}

/// Requires version 0 with `fields` bytes of payload.
fn plain<'b, 'a>(source: &'b BoxRef<'a>, fields: u64) -> Result<Checked<'b, 'a>> {
    source.reader().version_and_flags(0)?;
    at_least(source, fields)
}

/// Requires a full box of version `max` or less with as many entries of `entry` bytes as the 32 bits
/// at `at` in the payload say.
fn table<'b, 'a>(
    source: &'b BoxRef<'a>,
    max: u8,
    at: usize,
    entry: u64,
) -> Result<Checked<'b, 'a>> {
    let mut reader = source.reader();
    reader.version_and_flags(max)?;
    reader.skip(at.saturating_sub(4))?;
    let count = reader.count(entry)?;
    let fields = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(4);
    at_least(
        source,
        u64::from(count)
            .saturating_mul(entry)
            .saturating_add(fields),
    )
}

pub(super) fn file_type(source: &BoxRef<'_>) -> Result<FileType> {
    /// `FtypBox` does have a name, but no box has a field of that type.
    struct Holder(mp4::FtypBox);
    let len = source.payload().len();
    at_least(source, 8)?;
    if !len.is_multiple_of(4) || len > limits::SMALL_BOX {
        let cause = Cause::Value("the length is no whole number of brands within the limit");
        return Err(source.error(cause));
    }
    let found = decode(|holder: &Holder| Some(&holder.0), &whole(source))?;
    Ok(FileType {
        major_brand: FourCc(found.major_brand.value),
        minor_version: found.minor_version,
        compatible_brands: found
            .compatible_brands
            .iter()
            .map(|brand| FourCc(brand.value))
            .collect(),
    })
}

pub(super) fn mvhd(source: &BoxRef<'_>) -> Result<Mvhd> {
    let checked = versioned(source, 100, 112)?;
    let found = decode(|moov: &MoovBox| Some(&moov.mvhd), &checked)?;
    let m = &found.matrix;
    Ok(Mvhd {
        creation_time: found.creation_time,
        timescale: found.timescale,
        duration: found.duration,
        rate: found.rate.raw_value(),
        volume: found.volume.raw_value(),
        matrix: [m.a, m.b, m.u, m.c, m.d, m.v, m.x, m.y, m.w],
        next_track_id: found.next_track_id,
    })
}

pub(super) fn tkhd(source: &BoxRef<'_>) -> Result<Tkhd> {
    let checked = versioned(source, 84, 96)?;
    let found = decode(
        |moov: &MoovBox| moov.traks.first().map(|trak| &trak.tkhd),
        &checked,
    )?;
    let m = &found.matrix;
    Ok(Tkhd {
        flags: found.flags,
        creation_time: found.creation_time,
        track_id: found.track_id,
        duration: found.duration,
        // The crate has these two unsigned.
        layer: i16::from_be_bytes(found.layer.to_be_bytes()),
        alternate_group: i16::from_be_bytes(found.alternate_group.to_be_bytes()),
        volume: found.volume.raw_value(),
        matrix: [m.a, m.b, m.u, m.c, m.d, m.v, m.x, m.y, m.w],
        width: found.width.raw_value(),
        height: found.height.raw_value(),
    })
}

pub(super) fn mdhd(source: &BoxRef<'_>) -> Result<Mdhd> {
    let checked = versioned(source, 24, 36)?;
    let found = decode(
        |moov: &MoovBox| moov.traks.first().map(|trak| &trak.mdia.mdhd),
        &checked,
    )?;
    Ok(Mdhd {
        creation_time: found.creation_time,
        timescale: found.timescale,
        duration: found.duration,
        language: found.language,
    })
}

pub(super) fn vmhd(source: &BoxRef<'_>) -> Result<Vmhd> {
    let checked = plain(source, 12)?;
    let found = decode(
        |moov: &MoovBox| {
            moov.traks
                .first()
                .and_then(|trak| trak.mdia.minf.vmhd.as_ref())
        },
        &checked,
    )?;
    Ok(Vmhd {
        flags: found.flags,
        graphics_mode: found.graphics_mode,
        op_color: [
            found.op_color.red,
            found.op_color.green,
            found.op_color.blue,
        ],
    })
}

pub(super) fn smhd(source: &BoxRef<'_>) -> Result<Smhd> {
    let checked = plain(source, 8)?;
    let found = decode(
        |moov: &MoovBox| {
            moov.traks
                .first()
                .and_then(|trak| trak.mdia.minf.smhd.as_ref())
        },
        &checked,
    )?;
    Ok(Smhd {
        balance: found.balance.raw_value(),
    })
}

pub(super) fn mehd(source: &BoxRef<'_>) -> Result<Mehd> {
    let checked = versioned(source, 8, 12)?;
    let found = decode(
        |moov: &MoovBox| moov.mvex.as_ref().and_then(|mvex| mvex.mehd.as_ref()),
        &checked,
    )?;
    Ok(Mehd {
        fragment_duration: found.fragment_duration,
    })
}

pub(super) fn trex(source: &BoxRef<'_>) -> Result<Trex> {
    let checked = plain(source, 24)?;
    let found = decode(
        |moov: &MoovBox| moov.mvex.as_ref().map(|mvex| &mvex.trex),
        &checked,
    )?;
    Ok(Trex {
        track_id: found.track_id,
        default_sample_description_index: found.default_sample_description_index,
        default_sample_duration: found.default_sample_duration,
        default_sample_size: found.default_sample_size,
        default_sample_flags: found.default_sample_flags,
    })
}

pub(super) fn mfhd(source: &BoxRef<'_>) -> Result<Mfhd> {
    let checked = plain(source, 8)?;
    let found = decode(|moof: &MoofBox| Some(&moof.mfhd), &checked)?;
    Ok(Mfhd {
        sequence_number: found.sequence_number,
    })
}

pub(super) fn tfhd(source: &BoxRef<'_>) -> Result<Tfhd> {
    let (_, flags) = source.reader().version_and_flags(0)?;
    let optional = [(0x01, 8), (0x02, 4), (0x08, 4), (0x10, 4), (0x20, 4)];
    let present = optional.iter().filter(|(bit, _)| flags & bit != 0);
    let checked = at_least(
        source,
        present.fold(8, |sum: u64, (_, len)| sum.saturating_add(*len)),
    )?;
    let found = decode(
        |moof: &MoofBox| moof.trafs.first().map(|traf| &traf.tfhd),
        &checked,
    )?;
    Ok(Tfhd {
        flags,
        track_id: found.track_id,
        base_data_offset: found.base_data_offset,
        sample_description_index: found.sample_description_index,
        default_sample_duration: found.default_sample_duration,
        default_sample_size: found.default_sample_size,
        default_sample_flags: found.default_sample_flags,
    })
}

pub(super) fn tfdt(source: &BoxRef<'_>) -> Result<Tfdt> {
    let checked = versioned(source, 8, 12)?;
    let found = decode(
        |moof: &MoofBox| moof.trafs.first().and_then(|traf| traf.tfdt.as_ref()),
        &checked,
    )?;
    Ok(Tfdt {
        version: found.version,
        base_media_decode_time: found.base_media_decode_time,
    })
}

/// Only for runs with per-sample fields: their count is backed by bytes.
pub(super) fn trun(source: &BoxRef<'_>) -> Result<Trun> {
    let mut reader = source.reader();
    let (_, flags) = reader.version_and_flags(1)?;
    let count = reader.u32()?;
    let each = u64::from((flags & Trun::PER_SAMPLE).count_ones()).saturating_mul(4);
    let fixed = [Trun::DATA_OFFSET, Trun::FIRST_SAMPLE_FLAGS]
        .iter()
        .filter(|bit| flags & **bit != 0)
        .fold(8, |sum: u64, _| sum.saturating_add(4));
    if each == 0 {
        return Err(source.error(Cause::Value("a run without per-sample fields")));
    }
    let checked = at_least(
        source,
        fixed.saturating_add(u64::from(count).saturating_mul(each)),
    )?;
    let found = decode(
        |moof: &MoofBox| moof.trafs.first().and_then(|traf| traf.trun.as_ref()),
        &checked,
    )?;
    let signed = |offset: &u32| i64::from(i32::from_be_bytes(offset.to_be_bytes()));
    Ok(Trun {
        version: found.version,
        flags,
        sample_count: found.sample_count,
        data_offset: found.data_offset,
        first_sample_flags: found.first_sample_flags,
        durations: found.sample_durations,
        sizes: found.sample_sizes,
        sample_flags: found.sample_flags,
        // The crate has them unsigned in both versions.
        composition_offsets: match found.version {
            0 => found
                .sample_cts
                .iter()
                .map(|offset| i64::from(*offset))
                .collect(),
            _ => found.sample_cts.iter().map(signed).collect(),
        },
    })
}

pub(super) fn elst(source: &BoxRef<'_>) -> Result<Elst> {
    let version = source.reader().version_and_flags(1)?.0;
    let checked = table(source, 1, 4, if version == 0 { 12 } else { 20 })?;
    let found = decode(
        |moov: &MoovBox| {
            let edts = moov.traks.first().and_then(|trak| trak.edts.as_ref());
            edts.and_then(|edts| edts.elst.as_ref())
        },
        &checked,
    )?;
    // The crate does not extend the sign of the 32-bit form.
    let media_time = |raw: u64| match (version, u32::try_from(raw)) {
        (0, Ok(short)) => i64::from(i32::from_be_bytes(short.to_be_bytes())),
        _ => i64::from_be_bytes(raw.to_be_bytes()),
    };
    Ok(Elst {
        edits: found
            .entries
            .iter()
            .map(|entry| Edit {
                segment_duration: entry.segment_duration,
                media_time: media_time(entry.media_time),
                rate: i16::from_be_bytes(entry.media_rate.to_be_bytes()),
            })
            .collect(),
    })
}

pub(super) fn stts(source: &BoxRef<'_>) -> Result<Stts> {
    let checked = table(source, 0, 4, 8)?;
    let found = decode(
        |moov: &MoovBox| moov.traks.first().map(|trak| &trak.mdia.minf.stbl.stts),
        &checked,
    )?;
    Ok(Stts {
        runs: found
            .entries
            .iter()
            .map(|entry| (entry.sample_count, entry.sample_delta))
            .collect(),
    })
}

pub(super) fn ctts(source: &BoxRef<'_>) -> Result<Ctts> {
    let version = source.reader().version_and_flags(1)?.0;
    let checked = table(source, 1, 4, 8)?;
    let found = decode(
        |moov: &MoovBox| {
            let trak = moov.traks.first();
            trak.and_then(|trak| trak.mdia.minf.stbl.ctts.as_ref())
        },
        &checked,
    )?;
    // The crate has them signed in both versions.
    let offset = |raw: i32| match version {
        0 => i64::from(u32::from_be_bytes(raw.to_be_bytes())),
        _ => i64::from(raw),
    };
    Ok(Ctts {
        runs: found
            .entries
            .iter()
            .map(|entry| (entry.sample_count, offset(entry.sample_offset)))
            .collect(),
    })
}

pub(super) fn stsz(source: &BoxRef<'_>) -> Result<Stsz> {
    let mut reader = source.reader();
    reader.version_and_flags(0)?;
    let (sample_size, sample_count) = (reader.u32()?, reader.u32()?);
    if sample_size != 0 {
        // The count is backed by nothing: not for the crate.
        at_least(source, 12)?;
        return Ok(Stsz {
            sample_size,
            sample_count,
            sizes: Vec::new(),
        });
    }
    let checked = table(source, 0, 8, 4)?;
    let found = decode(
        |moov: &MoovBox| moov.traks.first().map(|trak| &trak.mdia.minf.stbl.stsz),
        &checked,
    )?;
    Ok(Stsz {
        sample_size,
        sample_count: found.sample_count,
        sizes: found.sample_sizes,
    })
}

pub(super) fn chunk_offsets(source: &BoxRef<'_>) -> Result<ChunkOffsets> {
    if source.kind == b"co64" {
        let checked = table(source, 0, 4, 8)?;
        let found = decode(
            |moov: &MoovBox| {
                let trak = moov.traks.first();
                trak.and_then(|trak| trak.mdia.minf.stbl.co64.as_ref())
            },
            &checked,
        )?;
        return Ok(ChunkOffsets(found.entries));
    }
    let checked = table(source, 0, 4, 4)?;
    let found = decode(
        |moov: &MoovBox| {
            let trak = moov.traks.first();
            trak.and_then(|trak| trak.mdia.minf.stbl.stco.as_ref())
        },
        &checked,
    )?;
    Ok(ChunkOffsets(
        found.entries.into_iter().map(u64::from).collect(),
    ))
}

/// What follows the parameter sets (chroma format and depths of the high profiles) may be there.
pub(super) fn avcc(source: &BoxRef<'_>) -> Result<AvcC> {
    let mut reader = source.reader();
    let version = reader.u8()?;
    if version != 1 {
        return Err(source.error(Cause::Version { found: version }));
    }
    reader.skip(4)?;
    for mask in [0x1f, 0xff] {
        for _ in 0..reader.u8()? & mask {
            let len = usize::from(reader.u16()?);
            reader.skip(len)?;
        }
    }
    let found = decode(
        |moov: &MoovBox| {
            let trak = moov.traks.first();
            trak.and_then(|trak| trak.mdia.minf.stbl.stsd.avc1.as_ref())
                .map(|avc1| &avc1.avcc)
        },
        &whole(source),
    )?;
    Ok(AvcC {
        profile: found.avc_profile_indication,
        compatibility: found.profile_compatibility,
        level: found.avc_level_indication,
        nal_length_size: (found.length_size_minus_one & 0x03).saturating_add(1),
        sps: found
            .sequence_parameter_sets
            .into_iter()
            .map(|nal| nal.bytes)
            .collect(),
        pps: found
            .picture_parameter_sets
            .into_iter()
            .map(|nal| nal.bytes)
            .collect(),
    })
}

pub(super) fn stsc(source: &BoxRef<'_>) -> Result<Stsc> {
    let checked = table(source, 0, 4, 12)?;
    let found = decode(
        |moov: &MoovBox| moov.traks.first().map(|trak| &trak.mdia.minf.stbl.stsc),
        &checked,
    )?;
    Ok(Stsc {
        runs: found
            .entries
            .iter()
            .map(|entry| {
                let (first, samples) = (entry.first_chunk, entry.samples_per_chunk);
                (first, samples, entry.sample_description_index)
            })
            .collect(),
    })
}

pub(super) fn stss(source: &BoxRef<'_>) -> Result<Stss> {
    let checked = table(source, 0, 4, 4)?;
    let found = decode(
        |moov: &MoovBox| {
            let trak = moov.traks.first();
            trak.and_then(|trak| trak.mdia.minf.stbl.stss.as_ref())
        },
        &checked,
    )?;
    Ok(Stss(found.entries))
}

pub(super) fn emsg(source: &BoxRef<'_>) -> Result<Emsg> {
    /// `EmsgBox` does have a name, but the field that has its type is a list.
    struct Holder(mp4::EmsgBox);
    let mut reader = source.reader();
    let (version, _) = reader.version_and_flags(1)?;
    if source.bytes().len() > Emsg::MAX_LEN {
        return Err(source.error(Cause::TooLarge {
            size: length(source.bytes()),
            limit: u64::try_from(Emsg::MAX_LEN).unwrap_or(u64::MAX),
        }));
    }
    if version == 1 {
        reader.skip(20)?;
    }
    for _ in 0..2 {
        let before = reader.clone();
        let text = reader.text();
        let ended = before.left().get(text.len()) == Some(&0);
        if !ended || std::str::from_utf8(text).is_err() {
            return Err(before.error(Cause::Value("expected UTF-8 text with a NUL at its end")));
        }
    }
    if version == 0 {
        reader.skip(16)?;
    }
    let found = decode(|holder: &Holder| Some(&holder.0), &whole(source))?;
    Ok(Emsg {
        scheme: found.scheme_id_uri,
        value: found.value,
        timescale: found.timescale,
        time: match found.presentation_time {
            Some(time) => EventTime::Absolute(time),
            None => EventTime::Delta(found.presentation_time_delta.unwrap_or(0)),
        },
        duration: Some(found.event_duration).filter(|ticks| *ticks != u32::MAX),
        id: found.id,
        message: found.message_data,
    })
}
