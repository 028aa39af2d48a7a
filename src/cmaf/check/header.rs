//! What a CMAF header has to be: `ftyp` and all of `moov`.

use crate::cmaf::codec::aac::AudioSpecificConfig;
use crate::isobmff::boxes::{
    Configuration, Dref, Elng, Elst, FileType, Hdlr, HvcC, Kind, Mdhd, Mehd, Mvhd, NalArray,
    SampleEntry, Smhd, Tkhd, Trex, Vmhd,
};
use crate::isobmff::{BoxRef, Children, FourCc, Result};

use super::{Checker, TrackHeader, rules};

/// The matrix that changes nothing.
const UNITY: [i32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// Scheme version 1.0.
const SCHEME_VERSION: u32 = 0x0001_0000;

/// The boxes of a container in their order; several of one place are alternatives.
type Order = &'static [&'static [&'static [u8; 4]]];

const IN_MOOV: Order = &[&[b"trak"], &[b"mvex"], &[b"pssh"]];
const IN_TRAK: Order = &[&[b"tkhd"], &[b"edts"], &[b"mdia"], &[b"udta"]];
const IN_MDIA: Order = &[&[b"mdhd"], &[b"hdlr"], &[b"elng"], &[b"minf"]];
const IN_MINF: Order = &[
    &[b"vmhd", b"smhd", b"sthd", b"nmhd"],
    &[b"dinf"],
    &[b"stbl"],
];
const IN_STBL: Order = &[
    &[b"stsd"],
    &[b"stts"],
    &[b"stsc"],
    &[b"stsz", b"stz2"],
    &[b"stco", b"co64"],
    &[b"sgpd"],
    &[b"stss"],
];

/// Boxes that may be there more than once.
const MANY: [&[u8; 4]; 3] = [b"trak", b"pssh", b"sgpd"];

pub(super) fn ftyp(checker: &mut Checker, whole: &BoxRef<'_>) {
    let Ok(brands) = FileType::decode(whole) else {
        return; // whoever needs the brands says so
    };
    if !brands.has(b"cmfc") && !brands.has(b"cmf2") {
        checker.note_box(&rules::BRAND, whole, || {
            format!(
                "expected cmfc or cmf2, found {} and others",
                brands.major_brand
            )
        });
    }
    let structural = brands.major_brand == b"cmfc" || brands.major_brand == b"cmf2";
    if structural && brands.minor_version != 0 {
        checker.note_box(&rules::BRAND_MINOR, whole, || {
            format!("expected minor version 0, found {}", brands.minor_version)
        });
    }
    checker.file.brands = Some(brands);
}

pub(super) fn moov(checker: &mut Checker, moov: &BoxRef<'_>) {
    let first = boxes(moov).next();
    if first.is_some_and(|first| first.kind != b"mvhd") {
        checker.note_box(&rules::MVHD_FIRST, moov, || {
            format!(
                "expected mvhd first, found {}",
                first.map_or_else(FourCc::default, |first| first.kind)
            )
        });
    }
    let traks = boxes(moov).filter(|child| child.kind == b"trak").count();
    if traks != 1 {
        checker.note_box(&rules::ONE_TRACK, moov, || {
            format!("expected one trak, found {traks}")
        });
    }
    order(checker, moov, IN_MOOV);
    for child in boxes(moov).filter(|child| child.kind == b"mvhd").skip(1) {
        repeated(checker, &child);
    }
    if let Some(at) = child(moov, b"mvhd")
        && let Ok(mvhd) = Mvhd::decode(&at)
    {
        if mvhd.rate != 0x0001_0000 || mvhd.volume != 0x0100 || mvhd.matrix != UNITY {
            checker.note_box(&rules::MVHD_DEFAULTS, &at, || {
                format!(
                    "expected rate 0x00010000, volume 0x0100 and no transformation, found rate 0x{:08x}, volume 0x{:04x}",
                    mvhd.rate, mvhd.volume
                )
            });
        }
        timescale(checker, &at, mvhd.timescale);
    }
    let mvex = child(moov, b"mvex");
    match &mvex {
        Some(mvex) => extends(checker, mvex),
        None => checker.note_box(&rules::MVEX_MISSING, moov, || {
            "expected mvex, found none: this is no fragmented file".to_owned()
        }),
    }
    for trak in boxes(moov).filter(|child| child.kind == b"trak") {
        track(checker, &trak, mvex.as_ref());
    }
}

/// Whether the header describes another track than the one before.
pub(super) fn changed(checker: &mut Checker, moov: &BoxRef<'_>, header: &TrackHeader) {
    let Some(before) = &checker.header else {
        return;
    };
    let essence = |header: &TrackHeader| -> Vec<_> {
        let tracks = header.tracks.iter();
        tracks
            .map(|track| (track.id, track.timescale, track.handler, track.codec))
            .collect()
    };
    let (was, is) = (essence(before), essence(header));
    if was != is {
        checker.continuity.forget();
        checker.note_box(&rules::HEADER_CHANGED, moov, || {
            let tell = |tracks: &[(u32, u32, FourCc, Option<FourCc>)]| match tracks {
                [(id, timescale, handler, codec)] => {
                    let codec = codec.unwrap_or_default();
                    format!("track {id}, {handler} {codec}, timescale {timescale}")
                }
                tracks => format!("{} tracks", tracks.len()),
            };
            format!("{} before, now {}", tell(&was), tell(&is))
        });
    }
}

/// The children that can be told apart. A container that is not filled with boxes is a finding of
/// whoever has to read it.
fn boxes<'a>(parent: &BoxRef<'a>) -> impl Iterator<Item = BoxRef<'a>> {
    parent.children().map_while(Result::ok)
}

fn child<'a>(parent: &BoxRef<'a>, kind: &[u8; 4]) -> Option<BoxRef<'a>> {
    boxes(parent).find(|child| child.kind == kind)
}

/// What was read, or a finding.
fn read<T>(checker: &mut Checker, result: Result<T>) -> Option<T> {
    result.map_err(|error| checker.broken(&error)).ok()
}

/// Whether the children of `parent` that `table` names are in its order, and there once.
fn order(checker: &mut Checker, parent: &BoxRef<'_>, table: Order) {
    let place = |kind: FourCc| {
        table
            .iter()
            .position(|place| place.iter().any(|name| kind == *name))
    };
    let mut furthest = 0;
    let mut seen: u32 = 0;
    for child in boxes(parent) {
        let Some(at) = place(child.kind) else {
            continue;
        };
        let bit = 1u32
            .checked_shl(u32::try_from(at).unwrap_or(u32::MAX))
            .unwrap_or(0);
        if seen & bit != 0 && !MANY.iter().any(|many| child.kind == *many) {
            repeated(checker, &child);
        } else if at < furthest {
            checker.note_box(&rules::HEADER_ORDER, &child, || {
                let names: Vec<_> = table
                    .iter()
                    .filter_map(|place| place.first())
                    .map(|name| FourCc(**name).to_string())
                    .collect();
                format!(
                    "{} comes too late; expected the order {}",
                    child.kind,
                    names.join(", ")
                )
            });
        }
        seen |= bit;
        furthest = furthest.max(at);
    }
}

fn repeated(checker: &mut Checker, again: &BoxRef<'_>) {
    checker.note_box(&rules::HEADER_REPEATED, again, || {
        format!("found another {}", again.kind)
    });
}

fn timescale(checker: &mut Checker, at: &BoxRef<'_>, found: u32) {
    if found == 0 {
        checker.note_box(&rules::TIMESCALE, at, || "the timescale is 0".to_owned());
    }
}

fn extends(checker: &mut Checker, mvex: &BoxRef<'_>) {
    let Some(at) = child(mvex, b"mehd") else {
        return;
    };
    if let Some(mehd) = read(checker, Mehd::decode(&at))
        && mehd.fragment_duration == 0
    {
        checker.note_box(&rules::MEHD, &at, || "it says 0".to_owned());
    }
}

fn track(checker: &mut Checker, trak: &BoxRef<'_>, mvex: Option<&BoxRef<'_>>) {
    order(checker, trak, IN_TRAK);
    let Some(mdia) = child(trak, b"mdia") else {
        return; // without it no header is read, which is a finding
    };
    let hdlr = child(&mdia, b"hdlr").and_then(|at| Hdlr::decode(&at).ok());
    let handler = hdlr.map_or_else(FourCc::default, |hdlr| hdlr.handler);
    if let Some(at) = child(trak, b"tkhd")
        && let Ok(tkhd) = Tkhd::decode(&at)
    {
        track_header(checker, &at, &tkhd, handler);
        if let Some(mvex) = mvex {
            let own = boxes(mvex)
                .filter(|child| child.kind == b"trex")
                .filter_map(|child| Trex::decode(&child).ok())
                .any(|trex| trex.track_id == tkhd.track_id);
            if !own {
                checker.note_box(&rules::TREX_MISSING, mvex, || {
                    format!("expected a trex for track {}, found none", tkhd.track_id)
                });
            }
        }
    }
    if let Some(edts) = child(trak, b"edts") {
        edits(checker, &edts, handler);
    }
    if let Some(udta) = child(trak, b"udta") {
        for kind in boxes(&udta).filter(|child| child.kind == b"kind") {
            if let Some(role) = read(checker, Kind::decode(&kind))
                && role.scheme.is_empty()
            {
                checker.note_box(&rules::KIND, &kind, || "the scheme is empty".to_owned());
            }
        }
    }
    media(checker, &mdia, handler);
}

fn track_header(checker: &mut Checker, at: &BoxRef<'_>, tkhd: &Tkhd, handler: FourCc) {
    if tkhd.track_id == 0 {
        checker.note_box(&rules::TRACK_ID, at, || "the track_ID is 0".to_owned());
    }
    if tkhd.duration != 0 {
        checker.note_box(&rules::TKHD_DURATION, at, || {
            format!("expected duration 0, found {}", tkhd.duration)
        });
    }
    let sized = tkhd.width != 0 && tkhd.height != 0;
    let empty = tkhd.width == 0 && tkhd.height == 0;
    let right = match &handler.0 {
        b"vide" => sized,
        b"soun" | b"meta" => empty,
        _ => true, // text may have a place on the screen
    };
    if !right {
        checker.note_box(&rules::TKHD_SIZE, at, || {
            format!(
                "a track of handler {handler} has width {} and height {}",
                tkhd.width >> 16,
                tkhd.height >> 16
            )
        });
    }
}

fn edits(checker: &mut Checker, edts: &BoxRef<'_>, handler: FourCc) {
    let Some(at) = child(edts, b"elst") else {
        return checker.note_box(&rules::EDIT_LIST, edts, || {
            "expected elst in edts, found none".to_owned()
        });
    };
    let Ok(elst) = Elst::decode(&at) else {
        return; // no header is read then
    };
    if let [edit] = elst.edits.as_slice() {
        if edit.rate != 1 || edit.segment_duration != 0 || edit.media_time < 0 {
            checker.note_box(&rules::EDIT_LIST, &at, || {
                format!(
                    "expected rate 1 and duration 0, found rate {}, duration {}, media time {}",
                    edit.rate, edit.segment_duration, edit.media_time
                )
            });
        }
    } else {
        checker.note_box(&rules::EDIT_LIST, &at, || {
            format!("expected one entry, found {}", elst.edits.len())
        });
    }
    let brands = checker.file.brands.as_ref();
    if handler == b"vide" && brands.is_some_and(|brands| brands.has(b"cmf2")) {
        checker.note_box(&rules::EDIT_LIST_CMF2, &at, || {
            "found an edit list in video of the brand cmf2".to_owned()
        });
    }
}

fn media(checker: &mut Checker, mdia: &BoxRef<'_>, handler: FourCc) {
    order(checker, mdia, IN_MDIA);
    if let Some(at) = child(mdia, b"mdhd")
        && let Ok(mdhd) = Mdhd::decode(&at)
    {
        timescale(checker, &at, mdhd.timescale);
        if !mdhd
            .language
            .bytes()
            .all(|letter| letter.is_ascii_lowercase())
        {
            checker.note_box(&rules::LANGUAGE, &at, || {
                format!("expected three small letters, found {:?}", mdhd.language)
            });
        }
    }
    if let Some(at) = child(mdia, b"elng")
        && let Some(elng) = read(checker, Elng::decode(&at))
    {
        let tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if elng.language.is_empty() || !elng.language.bytes().all(tag) {
            checker.note_box(&rules::LANGUAGE, &at, || {
                format!("expected a language tag, found {:?}", elng.language)
            });
        }
    }
    let Some(minf) = child(mdia, b"minf") else {
        return;
    };
    order(checker, &minf, IN_MINF);
    media_header(checker, &minf, handler);
    data_references(checker, &minf);
    if let Some(stbl) = child(&minf, b"stbl") {
        sample_table(checker, &stbl, handler);
    }
}

/// `vmhd` and its like.
fn media_header(checker: &mut Checker, minf: &BoxRef<'_>, handler: FourCc) {
    let wanted = match &handler.0 {
        b"vide" => b"vmhd",
        b"soun" => b"smhd",
        b"subt" => b"sthd",
        b"text" | b"meta" => b"nmhd",
        _ => return,
    };
    let Some(at) = child(minf, wanted) else {
        return checker.note_box(&rules::MEDIA_HEADER, minf, || {
            format!(
                "expected {} for handler {handler}, found none",
                FourCc(*wanted)
            )
        });
    };
    let fine = match wanted {
        b"vmhd" => read(checker, Vmhd::decode(&at))
            .is_none_or(|vmhd| vmhd.graphics_mode == 0 && vmhd.op_color == [0; 3]),
        b"smhd" => read(checker, Smhd::decode(&at)).is_none_or(|smhd| smhd.balance == 0),
        _ => true,
    };
    if !fine {
        checker.note_box(&rules::MEDIA_HEADER_DEFAULTS, &at, || {
            "expected all fields 0".to_owned()
        });
    }
}

fn data_references(checker: &mut Checker, minf: &BoxRef<'_>) {
    let dref = child(minf, b"dinf").and_then(|dinf| child(&dinf, b"dref"));
    let Some(at) = dref else {
        return checker.note_box(&rules::DREF, minf, || {
            "expected dinf with dref, found none".to_owned()
        });
    };
    if let Some(dref) = read(checker, Dref::decode(&at))
        && dref.entry_flags != [Dref::SELF_CONTAINED]
    {
        checker.note_box(&rules::DREF, &at, || {
            format!(
                "expected one entry with flags 1, found flags {:?}",
                dref.entry_flags
            )
        });
    }
}

fn sample_table(checker: &mut Checker, stbl: &BoxRef<'_>, handler: FourCc) {
    order(checker, stbl, IN_STBL);
    let tables: [&[&[u8; 4]]; 4] = [
        &[b"stts"],
        &[b"stsc"],
        &[b"stsz", b"stz2"],
        &[b"stco", b"co64"],
    ];
    for names in tables {
        let there = boxes(stbl).any(|child| names.iter().any(|name| child.kind == *name));
        if !there && let Some(name) = names.first() {
            checker.note_box(&rules::TABLE_MISSING, stbl, || {
                format!("expected {}, found none", FourCc(**name))
            });
        }
    }
    for table in boxes(stbl) {
        // Before the number of entries: version and flags, and in two of them the size of samples.
        let before = match &table.kind.0 {
            b"stts" | b"stsc" | b"stco" | b"co64" | b"stss" | b"ctts" => 4,
            b"stsz" | b"stz2" => 8,
            _ => continue,
        };
        let mut reader = table.reader();
        let count = reader.skip(before).and_then(|()| reader.u32());
        if let Some(count) = read(checker, count)
            && count > 0
        {
            checker.note_box(&rules::TABLE_EMPTY, &table, || {
                format!("expected no entries, found {count}")
            });
        }
    }
    if let Some(stsd) = child(stbl, b"stsd") {
        sample_descriptions(checker, &stsd, handler);
    }
}

fn sample_descriptions(checker: &mut Checker, stsd: &BoxRef<'_>, handler: FourCc) {
    let mut reader = stsd.reader();
    let Ok((version, _)) = reader.version_and_flags(u8::MAX) else {
        return;
    };
    if version != 0 {
        checker.note_box(&rules::STSD_VERSION, stsd, || {
            format!("expected version 0, found {version}")
        });
    }
    if reader.skip(4).is_err() {
        return;
    }
    let mut none = true;
    for source in Children::of(&reader).map_while(Result::ok) {
        none = false;
        let entry = SampleEntry::decode(&source);
        sample_entry(checker, &source, &entry, handler);
    }
    if none {
        checker.note_box(&rules::STSD_EMPTY, stsd, || {
            "expected a sample entry, found none".to_owned()
        });
    }
}

fn sample_entry(checker: &mut Checker, at: &BoxRef<'_>, entry: &SampleEntry, handler: FourCc) {
    let mut unreadable = false;
    let mut unprotected = false;
    for trouble in &entry.troubles {
        let path = trouble.path();
        let rule = if path.contains(&FourCc(*b"sinf")) {
            unprotected = true;
            &rules::PROTECTION
        } else if path
            .last()
            .is_none_or(|last| is_configuration(*last) || *last == at.kind)
        {
            unreadable = true;
            &rules::CONFIGURATION
        } else {
            &rules::SAMPLE_ENTRY_BOX
        };
        checker.note_error(rule, trouble);
    }
    let format = entry.format();
    if let Some(wanted) = configuration_of(format)
        && !unreadable
        && entry
            .configuration
            .as_ref()
            .is_none_or(|found| box_of(found) != wanted)
    {
        checker.note_box(&rules::CONFIGURATION_MISSING, at, || {
            format!("expected {} in {}, found none", FourCc(*wanted), at.kind)
        });
    }
    if let Some(missing) = missing_parameter_sets(format, entry.configuration.as_ref()) {
        checker.note_box(&rules::PARAMETER_SETS, at, || {
            format!("expected {missing} in the configuration of {format}, found none")
        });
    }
    if let Some(Configuration::Mpeg4(esds)) = &entry.configuration
        && esds.es_id != 0
    {
        checker.note_box(&rules::ESDS_ID, at, || {
            format!("expected ES_ID 0, found {}", esds.es_id)
        });
    }
    if !unprotected {
        protection(checker, at, entry);
    }
    let timed = handler == b"vide" || handler == b"soun";
    if timed && entry.btrt.is_none() {
        checker.note_box(&rules::BIT_RATE, at, || {
            "expected btrt, found none".to_owned()
        });
    }
    matter(checker, at, entry);
}

fn protection(checker: &mut Checker, at: &BoxRef<'_>, entry: &SampleEntry) {
    let encrypted = matches!(&entry.kind.0, b"encv" | b"enca" | b"enct" | b"encs");
    if !encrypted && entry.protection.is_none() {
        return;
    }
    checker.note_box(&rules::ENCRYPTED, at, || {
        format!("the samples are encrypted ({})", entry.kind)
    });
    let parts = entry.protection.as_ref();
    let (Some((scheme, version)), Some(tenc)) = (
        parts.and_then(|parts| parts.scheme),
        parts.and_then(|parts| parts.tenc.as_ref()),
    ) else {
        return checker.note_box(&rules::PROTECTION, at, || {
            "expected sinf with frma, schm, and schi with tenc".to_owned()
        });
    };
    let known = matches!(&scheme.0, b"cenc" | b"cbc1" | b"cens" | b"cbcs");
    if !known || version != SCHEME_VERSION {
        checker.note_box(&rules::SCHEME, at, || {
            format!("found scheme {scheme} of version 0x{version:08x}")
        });
    }
    let vector = match tenc.iv_size {
        0 => !tenc.constant_iv.is_empty(),
        8 | 16 => true,
        _ => false,
    };
    if !tenc.is_protected || tenc.key_id == [0; 16] || !vector {
        checker.note_box(&rules::TENC, at, || {
            let known = if tenc.key_id == [0; 16] { "no" } else { "a" };
            format!(
                "found protected: {}, {known} key, vectors of {} bytes, {} bytes for all",
                tenc.is_protected,
                tenc.iv_size,
                tenc.constant_iv.len()
            )
        });
    }
}

/// What Matter lets cameras send.
fn matter(checker: &mut Checker, at: &BoxRef<'_>, entry: &SampleEntry) {
    const METADATA: &str = "urn:csa:matter:av-metadata";
    let known = match (&entry.format().0, &entry.configuration) {
        (
            b"avc1" | b"avc3" | b"hvc1" | b"hev1" | b"vvc1" | b"vvi1" | b"av01" | b"Opus" | b"urim",
            _,
        ) => true,
        (b"mp4a", Some(Configuration::Mpeg4(esds))) => {
            let config = AudioSpecificConfig::read(&esds.specific);
            config.is_none_or(|config| config.object_type == 2)
        }
        // Not known.
        (b"mp4a" | b"encv" | b"enca", _) => true,
        _ => false,
    };
    if !known {
        checker.note_box(&rules::MATTER_CODEC, at, || {
            format!("found {}", entry.format())
        });
    }
    if let Some(Configuration::Uri(uri)) = &entry.configuration
        && uri != METADATA
    {
        checker.note_box(&rules::MATTER_METADATA, at, || {
            format!("expected {METADATA}, found {uri:?}")
        });
    }
}

/// The configuration box that a coding needs; `None` for codings that are not known.
fn configuration_of(format: FourCc) -> Option<&'static [u8; 4]> {
    Some(match &format.0 {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" | b"dva1" | b"dvav" => b"avcC",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => b"hvcC",
        b"vvc1" | b"vvi1" => b"vvcC",
        b"av01" | b"dav1" => b"av1C",
        b"vp08" | b"vp09" => b"vpcC",
        b"mp4a" | b"mp4v" => b"esds",
        b"Opus" => b"dOps",
        b"fLaC" => b"dfLa",
        b"ac-3" => b"dac3",
        b"ec-3" => b"dec3",
        b"wvtt" => b"vttC",
        b"stpp" => b"stpp",
        b"urim" => b"uri ",
        _ => return None,
    })
}

fn box_of(configuration: &Configuration) -> &'static [u8; 4] {
    match configuration {
        Configuration::Avc(_) => b"avcC",
        Configuration::Hevc(_) => b"hvcC",
        Configuration::Vvc(_) => b"vvcC",
        Configuration::Av1(_) => b"av1C",
        Configuration::Vp(_) => b"vpcC",
        Configuration::Mpeg4(_) => b"esds",
        Configuration::Opus(_) => b"dOps",
        Configuration::Flac(_) => b"dfLa",
        Configuration::Ac3(_) => b"dac3",
        Configuration::Ec3(_) => b"dec3",
        Configuration::WebVtt(_) => b"vttC",
        Configuration::Ttml(_) => b"stpp",
        Configuration::Uri(_) => b"uri ",
    }
}

fn is_configuration(kind: FourCc) -> bool {
    matches!(
        &kind.0,
        b"avcC"
            | b"hvcC"
            | b"vvcC"
            | b"av1C"
            | b"vpcC"
            | b"esds"
            | b"wave"
            | b"dOps"
            | b"dfLa"
            | b"dac3"
            | b"dec3"
            | b"vttC"
            | b"uri "
    )
}

/// The parameter sets that a coding must not leave to its samples, and does.
fn missing_parameter_sets(
    format: FourCc,
    configuration: Option<&Configuration>,
) -> Option<&'static str> {
    const HEVC_PPS: u8 = 34;
    const VVC_SPS: u8 = 15;
    const VVC_PPS: u8 = 16;
    let lacks = |arrays: &[NalArray], kind: u8| {
        !arrays
            .iter()
            .any(|array| array.nal_type == kind && !array.nals.is_empty())
    };
    match (&format.0, configuration?) {
        (b"avc1" | b"avc2" | b"dva1", Configuration::Avc(avc)) => {
            (avc.sps.is_empty() || avc.pps.is_empty()).then_some("SPS and PPS")
        }
        (b"hvc1" | b"dvh1", Configuration::Hevc(hevc)) => {
            let lacking = lacks(&hevc.arrays, HvcC::SPS) || lacks(&hevc.arrays, HEVC_PPS);
            lacking.then_some("SPS and PPS")
        }
        (b"vvc1", Configuration::Vvc(vvc)) => {
            let lacking = lacks(&vvc.arrays, VVC_SPS) || lacks(&vvc.arrays, VVC_PPS);
            lacking.then_some("SPS and PPS")
        }
        _ => None,
    }
}
