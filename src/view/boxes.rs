//! The boxes of an ISO media file, with the values of the fields that are known.
//!
//! Shows what is there, also where it is wrong: a box that cannot be read ends the list with a sentence,
//! it does not spoil what came before it.

use std::io::{self, Read, Seek, SeekFrom};

use serde::Serialize;

use crate::isobmff::{BoxHeader, BoxPath, BoxRef, BoxSize, Children, FourCc, Reader, limits};

/// Most boxes in one answer, those inside of others counted too.
const MOST_BOXES: usize = 4000;
/// Longest value of a field, in characters.
const MOST_SHOWN: usize = 200;
/// Entries of a table that are shown.
const MOST_ENTRIES: usize = 12;

/// Some of the boxes of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Boxes {
    /// Bytes of the file.
    pub(crate) size: u64,
    pub(crate) boxes: Vec<Node>,
    /// Where the next ones begin, if there are more: the value of `from` for them.
    pub(crate) next: Option<u64>,
    /// Why the list ends before the end of the file.
    pub(crate) error: Option<String>,
}

/// A box.
#[derive(Debug, Serialize)]
pub(crate) struct Node {
    /// Its four characters.
    pub(crate) kind: String,
    /// Its ancestors and itself: `moof > traf > tfhd`.
    pub(crate) path: String,
    /// Bytes from the front of the file.
    pub(crate) offset: u64,
    /// Bytes, header included.
    pub(crate) size: u64,
    /// The fields that are known, as text.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) boxes: Vec<Node>,
    /// Why it could not be read to its end.
    pub(crate) error: Option<String>,
}

/// At most `limit` top-level boxes from byte `from` on, which must be where one begins.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(
    source: &mut (impl Read + Seek),
    size: u64,
    from: u64,
    limit: usize,
) -> io::Result<Boxes> {
    let mut found = Boxes {
        size,
        boxes: Vec::new(),
        next: None,
        error: None,
    };
    let mut budget = MOST_BOXES;
    let mut offset = from;
    while offset < size {
        if found.boxes.len() >= limit || budget == 0 {
            found.next = Some(offset);
            break;
        }
        match top(source, size, offset, &mut budget)? {
            Ok(node) => {
                offset = offset.saturating_add(node.size.max(8));
                found.boxes.push(node);
            }
            Err(why) => {
                found.error = Some(why);
                break;
            }
        }
    }
    Ok(found)
}

fn top(
    source: &mut (impl Read + Seek),
    size: u64,
    offset: u64,
    budget: &mut usize,
) -> io::Result<Result<Node, String>> {
    let left = size.saturating_sub(offset);
    source.seek(SeekFrom::Start(offset))?;
    let mut head = Vec::new();
    source
        .by_ref()
        .take(BoxHeader::MAX_LEN as u64)
        .read_to_end(&mut head)?;
    let header = match BoxHeader::read(&head, offset, &BoxPath::ROOT) {
        Ok(Some(header)) => header,
        Ok(None) => {
            return Ok(Err(format!(
                "{left} bytes at byte {offset} are no whole box"
            )));
        }
        Err(e) => return Ok(Err(e.to_string())),
    };
    let length = match header.size {
        BoxSize::Bytes(length) => length,
        BoxSize::ToEnd => left,
    };
    let bare = |error| Node {
        kind: header.kind.to_string(),
        path: header.kind.to_string(),
        offset,
        size: length,
        fields: Vec::new(),
        boxes: Vec::new(),
        error,
    };
    *budget = budget.saturating_sub(1);
    if length > left {
        let why = format!("the box says it has {length} bytes, but the file has {left} left");
        return Ok(Ok(bare(Some(why))));
    }
    if !is_read(header.kind) || length > limits::WHOLE_BOX as u64 || header.size == BoxSize::ToEnd {
        return Ok(Ok(bare(None)));
    }
    source.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    source.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok(Ok(match BoxRef::top(&bytes, offset) {
        Ok(whole) => node(&whole, budget),
        Err(e) => bare(Some(e.to_string())),
    }))
}

/// Media data is not looked into.
fn is_read(kind: FourCc) -> bool {
    ![b"mdat", b"free", b"skip", b"idat"]
        .iter()
        .any(|no| kind == **no)
}

fn node(whole: &BoxRef<'_>, budget: &mut usize) -> Node {
    let mut reader = whole.reader();
    let mut fields = Vec::new();
    let mut error = None;
    if let Some(layout) = layout(whole.kind) {
        let mut state = State::default();
        for field in layout {
            if let Err(e) = show(field, &mut reader, &mut state, &mut fields) {
                error = Some(e.to_string());
                break;
            }
        }
    }
    let mut boxes = Vec::new();
    if error.is_none() && holds_boxes(whole.kind) {
        for child in Children::of(&reader) {
            match child {
                Ok(child) if *budget > 0 => {
                    *budget -= 1;
                    boxes.push(node(&child, budget));
                }
                Ok(_) => {
                    error = Some("more boxes than are shown".to_owned());
                    break;
                }
                Err(e) => {
                    error = Some(e.to_string());
                    break;
                }
            }
        }
    }
    Node {
        kind: whole.kind.to_string(),
        path: whole.path.to_string(),
        offset: whole.offset,
        size: whole.end().saturating_sub(whole.offset),
        fields,
        boxes,
        error,
    }
}

fn holds_boxes(kind: FourCc) -> bool {
    const CONTAINERS: [&[u8; 4]; 17] = [
        b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf",
        b"mfra", b"sinf", b"schi", b"dref", b"stsd", b"meta", b"wvtt",
    ];
    CONTAINERS.iter().any(|container| kind == **container) || is_visual(kind) || is_audio(kind)
}

fn is_visual(kind: FourCc) -> bool {
    const VISUAL: [&[u8; 4]; 12] = [
        b"avc1", b"avc3", b"hvc1", b"hev1", b"vvc1", b"vvi1", b"av01", b"vp08", b"vp09", b"mp4v",
        b"encv", b"dvh1",
    ];
    VISUAL.iter().any(|visual| kind == **visual)
}

fn is_audio(kind: FourCc) -> bool {
    const AUDIO: [&[u8; 4]; 7] = [
        b"mp4a", b"Opus", b"fLaC", b"ac-3", b"ec-3", b"ac-4", b"enca",
    ];
    AUDIO.iter().any(|audio| kind == **audio)
}

/// A field of a box, in the order in which they lie there.
#[derive(Clone, Copy)]
enum Field {
    /// 8-bit version and 24-bit flags.
    Full,
    U8(&'static str),
    U16(&'static str),
    I16(&'static str),
    U32(&'static str),
    Hex32(&'static str),
    U64(&'static str),
    /// 32 bits in version 0, 64 in the others.
    Long(&'static str),
    /// 16.16 fixed point.
    Fixed(&'static str),
    /// Seconds since 1900 in 32 bits and their fraction in as many.
    Ntp(&'static str),
    /// Four characters.
    Code(&'static str),
    /// Four characters each, to the end.
    Codes(&'static str),
    /// Up to a NUL.
    Text(&'static str),
    /// Three letters in 15 bits.
    Language(&'static str),
    /// A string of 32 bytes, its length in the first.
    Pascal(&'static str),
    /// This many bytes, as hexadecimal digits.
    Bytes(&'static str, usize),
    Skip(usize),
    /// 32 bits, if the flags have this bit.
    If(u32, &'static str),
    /// 64 bits, if the flags have this bit.
    If64(u32, &'static str),
    /// A 32-bit count of entries, each made of 32-bit numbers of these names; those behind a flag only
    /// where it is set.
    Table(&'static [(u32, &'static str)]),
    /// The entry count of a `trun`, which stands before other fields.
    Count(&'static str),
    /// The entries that [`Field::Count`] has counted.
    Entries(&'static [(u32, &'static str)]),
}

#[derive(Default)]
struct State {
    version: u8,
    flags: u32,
    count: u32,
}

const VISUAL: &[Field] = &[
    Field::Skip(6),
    Field::U16("data_reference_index"),
    Field::Skip(16),
    Field::U16("width"),
    Field::U16("height"),
    Field::Fixed("horizresolution"),
    Field::Fixed("vertresolution"),
    Field::Skip(4),
    Field::U16("frame_count"),
    Field::Pascal("compressorname"),
    Field::U16("depth"),
    Field::Skip(2),
];

const AUDIO: &[Field] = &[
    Field::Skip(6),
    Field::U16("data_reference_index"),
    Field::Skip(8),
    Field::U16("channelcount"),
    Field::U16("samplesize"),
    Field::Skip(4),
    Field::Fixed("samplerate"),
];

/// The fields of a box; `None` for a box that is not known. Names are those of the standards.
fn layout(kind: FourCc) -> Option<&'static [Field]> {
    use Field::{
        Bytes, Code, Codes, Count, Entries, Fixed, Full, Hex32, I16, If, If64, Language, Long, Ntp,
        Skip, Table, Text, U8, U16, U32, U64,
    };
    if is_visual(kind) {
        return Some(VISUAL);
    }
    if is_audio(kind) {
        return Some(AUDIO);
    }
    Some(match &kind.0 {
        b"ftyp" | b"styp" => &[
            Code("major_brand"),
            U32("minor_version"),
            Codes("compatible_brands"),
        ],
        b"mvhd" => &[
            Full,
            Long("creation_time"),
            Long("modification_time"),
            U32("timescale"),
            Long("duration"),
            Fixed("rate"),
            U16("volume"),
            Skip(70),
            U32("next_track_ID"),
        ],
        b"tkhd" => &[
            Full,
            Long("creation_time"),
            Long("modification_time"),
            U32("track_ID"),
            Skip(4),
            Long("duration"),
            Skip(8),
            I16("layer"),
            I16("alternate_group"),
            U16("volume"),
            Skip(38),
            Fixed("width"),
            Fixed("height"),
        ],
        b"mdhd" => &[
            Full,
            Long("creation_time"),
            Long("modification_time"),
            U32("timescale"),
            Long("duration"),
            Language("language"),
        ],
        b"hdlr" => &[Full, Skip(4), Code("handler_type"), Skip(12), Text("name")],
        b"vmhd" => &[Full, U16("graphicsmode")],
        b"smhd" => &[Full, I16("balance")],
        b"elng" => &[Full, Text("extended_language")],
        // Of the edits the first: CMAF allows one.
        b"elst" => &[
            Full,
            U32("entry_count"),
            Long("segment_duration"),
            Long("media_time"),
            U16("media_rate_integer"),
        ],
        b"mehd" => &[Full, Long("fragment_duration")],
        b"trex" => &[
            Full,
            U32("track_ID"),
            U32("default_sample_description_index"),
            U32("default_sample_duration"),
            U32("default_sample_size"),
            Hex32("default_sample_flags"),
        ],
        b"dref" | b"stsd" => &[Full, U32("entry_count")],
        b"url " => &[Full, Text("location")],
        b"meta" => &[Full],
        b"stts" => &[Full, Table(&[(0, "sample_count"), (0, "sample_delta")])],
        b"ctts" => &[Full, Table(&[(0, "sample_count"), (0, "sample_offset")])],
        b"stsc" => &[
            Full,
            Table(&[
                (0, "first_chunk"),
                (0, "samples_per_chunk"),
                (0, "sample_description_index"),
            ]),
        ],
        b"stss" => &[Full, Table(&[(0, "sample_number")])],
        b"stco" => &[Full, Table(&[(0, "chunk_offset")])],
        b"stsz" => &[Full, U32("sample_size"), U32("sample_count")],
        b"mfhd" => &[Full, U32("sequence_number")],
        b"tfhd" => &[
            Full,
            U32("track_ID"),
            If64(0x01, "base_data_offset"),
            If(0x02, "sample_description_index"),
            If(0x08, "default_sample_duration"),
            If(0x10, "default_sample_size"),
            If(0x20, "default_sample_flags"),
        ],
        b"tfdt" => &[Full, Long("baseMediaDecodeTime")],
        b"trun" => &[
            Full,
            Count("sample_count"),
            If(0x01, "data_offset"),
            If(0x04, "first_sample_flags"),
            Entries(&[
                (0x100, "duration"),
                (0x200, "size"),
                (0x400, "flags"),
                (0x800, "composition_time_offset"),
            ]),
        ],
        b"sidx" => &[
            Full,
            U32("reference_ID"),
            U32("timescale"),
            Long("earliest_presentation_time"),
            Long("first_offset"),
            Skip(2),
            U16("reference_count"),
        ],
        b"prft" => &[
            Full,
            U32("reference_track_ID"),
            Ntp("ntp_timestamp"),
            Long("media_time"),
        ],
        b"emsg" => &[Full],
        b"pssh" => &[Full, Bytes("SystemID", 16)],
        b"frma" => &[Code("data_format")],
        b"schm" => &[Full, Code("scheme_type"), Hex32("scheme_version")],
        b"tenc" => &[
            Full,
            Skip(2),
            U8("default_isProtected"),
            U8("default_Per_Sample_IV_Size"),
            Bytes("default_KID", 16),
        ],
        b"saiz" => &[Full],
        b"senc" => &[Full, U32("sample_count")],
        b"btrt" => &[U32("bufferSizeDB"), U32("maxBitrate"), U32("avgBitrate")],
        b"pasp" => &[U32("hSpacing"), U32("vSpacing")],
        b"colr" => &[
            Code("colour_type"),
            U16("colour_primaries"),
            U16("transfer_characteristics"),
            U16("matrix_coefficients"),
        ],
        b"avcC" => &[
            U8("configurationVersion"),
            U8("AVCProfileIndication"),
            U8("profile_compatibility"),
            U8("AVCLevelIndication"),
        ],
        b"hvcC" => &[
            U8("configurationVersion"),
            U8("general_profile"),
            Hex32("general_profile_compatibility_flags"),
        ],
        b"av1C" => &[U8("marker_and_version"), U8("seq_profile_and_level")],
        b"vpcC" => &[Full, U8("profile"), U8("level")],
        b"dOps" => &[
            U8("Version"),
            U8("OutputChannelCount"),
            U16("PreSkip"),
            U32("InputSampleRate"),
        ],
        b"mfro" => &[Full, U32("parent_size")],
        b"co64" => &[Full, U32("entry_count"), U64("first_chunk_offset")],
        _ => return None,
    })
}

fn show(
    field: &Field,
    reader: &mut Reader<'_>,
    state: &mut State,
    fields: &mut Vec<(String, String)>,
) -> crate::isobmff::Result<()> {
    let mut put = |name: &str, value: String| {
        let mut value: String = value.chars().take(MOST_SHOWN + 1).collect();
        if value.chars().count() > MOST_SHOWN {
            value.pop();
            value.push('…');
        }
        fields.push((name.to_owned(), value));
    };
    let printable =
        |bytes: &[u8]| -> String { String::from_utf8_lossy(bytes).escape_debug().to_string() };
    match *field {
        Field::Full => {
            (state.version, state.flags) = reader.version_and_flags(u8::MAX)?;
            put("version", state.version.to_string());
            put("flags", format!("0x{:06x}", state.flags));
        }
        Field::U8(name) => put(name, reader.u8()?.to_string()),
        Field::U16(name) => put(name, reader.u16()?.to_string()),
        Field::I16(name) => put(name, reader.i16()?.to_string()),
        Field::U32(name) => put(name, reader.u32()?.to_string()),
        Field::Hex32(name) => put(name, format!("0x{:08x}", reader.u32()?)),
        Field::U64(name) => put(name, reader.u64()?.to_string()),
        Field::Long(name) => put(name, long(reader, state)?.to_string()),
        Field::Fixed(name) => put(name, (f64::from(reader.u32()?) / 65536.0).to_string()),
        Field::Ntp(name) => {
            let ntp = crate::isobmff::boxes::Ntp(reader.u64()?);
            put(name, format!("0x{:016x}", ntp.0));
        }
        Field::Code(name) => put(name, reader.fourcc()?.to_string()),
        Field::Codes(name) => {
            let mut codes = Vec::new();
            while !reader.is_empty() && codes.len() < 64 {
                codes.push(reader.fourcc()?.to_string());
            }
            put(name, codes.join(" "));
        }
        Field::Text(name) => put(name, printable(reader.text())),
        Field::Language(name) => {
            let code = reader.u16()?;
            let letter = |shift: u16| {
                let value = u8::try_from((code >> shift) & 0x1f).unwrap_or(0);
                char::from(value.saturating_add(0x60))
            };
            put(name, [letter(10), letter(5), letter(0)].iter().collect());
        }
        Field::Pascal(name) => {
            let bytes = reader.bytes(32)?;
            let (length, text) = bytes.split_first().unwrap_or((&0, &[]));
            put(
                name,
                printable(text.get(..usize::from(*length)).unwrap_or(text)),
            );
        }
        Field::Bytes(name, length) => {
            let digits = reader
                .bytes(length)?
                .iter()
                .map(|byte| format!("{byte:02x}"));
            put(name, digits.collect());
        }
        Field::Skip(length) => reader.skip(length)?,
        Field::If(bit, name) if state.flags & bit != 0 => {
            let value = reader.u32()?;
            let text = if name.ends_with("flags") {
                format!("0x{value:08x}")
            } else {
                value.to_string()
            };
            put(name, text);
        }
        Field::If64(bit, name) if state.flags & bit != 0 => put(name, reader.u64()?.to_string()),
        Field::If(..) | Field::If64(..) => {}
        Field::Table(columns) => {
            state.count = reader.u32()?;
            put("entry_count", state.count.to_string());
            table(columns, reader, state, &mut put)?;
        }
        Field::Count(name) => {
            state.count = reader.u32()?;
            put(name, state.count.to_string());
        }
        Field::Entries(columns) => table(columns, reader, state, &mut put)?,
    }
    Ok(())
}

fn long(reader: &mut Reader<'_>, state: &State) -> crate::isobmff::Result<u64> {
    if state.version == 0 {
        reader.u32().map(u64::from)
    } else {
        reader.u64()
    }
}

/// The first entries of a table, a field each.
fn table(
    columns: &[(u32, &'static str)],
    reader: &mut Reader<'_>,
    state: &State,
    put: &mut impl FnMut(&str, String),
) -> crate::isobmff::Result<()> {
    let present = |bit: u32| bit == 0 || state.flags & bit != 0;
    if !columns.iter().any(|(bit, _)| present(*bit)) {
        return Ok(());
    }
    let entries = usize::try_from(state.count).unwrap_or(usize::MAX);
    for entry in 0..entries.min(MOST_ENTRIES) {
        let mut shown = Vec::new();
        for (bit, name) in columns {
            if present(*bit) {
                let value = reader.u32()?;
                shown.push(if *name == "flags" {
                    format!("{name} 0x{value:08x}")
                } else {
                    format!("{name} {value}")
                });
            }
        }
        put(&format!("[{entry}]"), shown.join(", "));
    }
    if entries > MOST_ENTRIES {
        put("…", format!("{} more", entries - MOST_ENTRIES));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!(
            "{}/tests/data/media/tracks/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    }

    fn tree(bytes: &[u8], from: u64, limit: usize) -> Boxes {
        read(&mut Cursor::new(bytes), bytes.len() as u64, from, limit).unwrap()
    }

    fn find<'n>(nodes: &'n [Node], path: &str) -> &'n Node {
        fn all<'n>(nodes: &'n [Node], found: &mut Vec<&'n Node>) {
            for node in nodes {
                found.push(node);
                all(&node.boxes, found);
            }
        }
        let mut found = Vec::new();
        all(nodes, &mut found);
        found.into_iter().find(|node| node.path == path).unwrap()
    }

    fn value<'n>(node: &'n Node, field: &str) -> &'n str {
        let found = node.fields.iter().find(|(name, _)| name == field);
        &found.unwrap_or_else(|| panic!("{field} in {node:?}")).1
    }

    #[test]
    fn fields_of_a_real_track() {
        let bytes = file("h264-main-180p.cmfv");
        let found = tree(&bytes, 0, 1000);
        assert_eq!((found.next, &found.error), (None, &None));
        let end: u64 = found.boxes.iter().map(|node| node.size).sum();
        assert_eq!(end, bytes.len() as u64);
        let entry = find(
            &found.boxes,
            "moov > trak > mdia > minf > stbl > stsd > avc1",
        );
        assert_eq!(
            (value(entry, "width"), value(entry, "height")),
            ("320", "180")
        );
        let avcc = &entry.boxes[0];
        assert_eq!(avcc.kind, "avcC");
        assert_eq!(
            value(
                find(&found.boxes, "moov > trak > mdia > hdlr"),
                "handler_type"
            ),
            "vide"
        );
        let trun = find(&found.boxes, "moof > traf > trun");
        assert!(value(trun, "sample_count").parse::<u32>().unwrap() > 0);
        assert!(value(trun, "[0]").contains("size "), "{trun:?}");
        let mdat = found.boxes.iter().find(|node| node.kind == "mdat").unwrap();
        assert!(mdat.boxes.is_empty() && mdat.fields.is_empty());
    }

    #[test]
    fn pages_join_up_and_a_cut_file_says_where() {
        let bytes = file("h264-main-180p.cmfv");
        let whole = tree(&bytes, 0, 1000);
        let first = tree(&bytes, 0, 2);
        let rest = tree(&bytes, first.next.unwrap(), 1000);
        let offsets = |boxes: &[Node]| boxes.iter().map(|node| node.offset).collect::<Vec<_>>();
        let joined = [offsets(&first.boxes), offsets(&rest.boxes)].concat();
        assert_eq!(joined, offsets(&whole.boxes));
        let cut = tree(&bytes[..bytes.len() - 10], 0, 1000);
        let last = cut.boxes.last().unwrap();
        assert!(last.error.as_ref().unwrap().contains("left"), "{last:?}");
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_answered() {
        let bytes = file("aac-64k-48k.cmfa");
        let bytes = &bytes[..bytes.len().min(1500)];
        for end in 0..bytes.len() {
            tree(&bytes[..end], 0, 100);
            let mut changed = bytes.to_vec();
            changed[end] ^= 0xff;
            tree(&changed, 0, 100);
        }
    }
}
