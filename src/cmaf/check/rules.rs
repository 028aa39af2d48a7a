//! The rules that media are held against: one line each, and nothing of how they are looked at.
//!
//! Clauses are those of the DASH-IF conformance checklist for CMAF and of DASH-IF Live Media Ingest
//! (whose item numbers follow a hyphen); where none is known to us, none is given.
//!
//! Severities are, in this order, by the letter of CMAF, by DASH-IF ingest, and in Matter. What real
//! producers get wrong in ways that players put up with is an error by the letter only.

use crate::finding::{Severity, rule_table};

type Severities = [Option<Severity>; 3];

const INFO: Option<Severity> = Some(Severity::Info);
const WARNING: Option<Severity> = Some(Severity::Warning);
const ERROR: Option<Severity> = Some(Severity::Error);

/// An error whoever asks.
const BROKEN: Severities = [ERROR; 3];
/// An error by the letter; real producers do it.
const LETTER: Severities = [ERROR, WARNING, WARNING];
/// Players cope, and it should be mended.
const WARNED: Severities = [WARNING; 3];
/// Worth knowing.
const TOLD: Severities = [INFO; 3];
/// What only DASH-IF ingest asks for.
const INGEST: Severities = [None, WARNING, None];
/// What only Matter asks for.
const MATTER: Severities = [None, None, WARNING];

rule_table! {
    // The body as boxes.
    BODY_START: "body-start", "body", None, BROKEN,
        "what is named as media begins with ftyp, styp, prft, emsg, sidx or moof";
    BODY_CUT: "body-cut", "body", None, BROKEN,
        "a body ends where its last box ends";
    BOX_TYPE: "box-type", "box", None, BROKEN,
        "where a box should begin there is a box type";
    BOX_SIZE: "box-size", "box", None, BROKEN,
        "a box is at least as long as its header";
    BOX_OPEN: "box-open", "box", None, BROKEN,
        "only the mdat that ends a file may leave its size open";
    BOX_PAST_PARENT: "box-past-parent", "box", None, BROKEN,
        "a box ends no later than the box it is in";
    BOX_DEPTH: "box-depth", "box", None, BROKEN,
        "boxes are nested no deeper than 32";
    BOX_NUMBER: "box-number", "box", None, BROKEN,
        "a box holds no more boxes than are read";
    BOX_LONG: "box-long", "box", None, BROKEN,
        "a box that has to be read whole is no longer than is read";
    BOX_COUNT: "box-count", "box", None, BROKEN,
        "an entry count goes with the bytes of its box";
    BOX_SHORT: "box-short", "box", None, BROKEN,
        "a box is long enough for its fields";
    BOX_VERSION: "box-version", "box", None, BROKEN,
        "a box is of a version that is defined";
    BOX_MISSING: "box-missing", "box", None, BROKEN,
        "a box holds the boxes without which it means nothing";
    BOX_VALUE: "box-value", "box", None, BROKEN,
        "fields have values that are defined";

    // The file level.
    FTYP_FIRST: "ftyp-first", "ftyp", Some("ISO/IEC 23000-19:2020 7.3.2.1"), BROKEN,
        "a CMAF header begins with ftyp";
    FTYP_ONCE: "ftyp-once", "ftyp", Some("ISO/IEC 23000-19:2020 7.3.2.1"), BROKEN,
        "a CMAF header has one ftyp";
    MOOV_ONCE: "moov-once", "moov", Some("ISO/IEC 23000-19:2020 7.3.2.1"), LETTER,
        "a CMAF track has one moov";
    MOOV_MISSING: "moov-missing", "moov", Some("ISO/IEC 23000-19:2020 7.3.2.1"), BROKEN,
        "a CMAF header has a moov";
    HEADER_ONLY: "header-only", "moof", Some("ISO/IEC 23000-19:2020 7.3.2.1"), BROKEN,
        "what is named as a header has no media in it";
    META_AT_FILE_LEVEL: "meta-at-file-level", "meta", Some("ISO/IEC 23000-19:2020 7.5.2"), WARNED,
        "meta and udta are inside moov, not beside it";

    // The header.
    BRAND: "brand", "ftyp", Some("ISO/IEC 23000-19:2020 7.2"), WARNED,
        "ftyp has the brand cmfc or cmf2";
    BRAND_MINOR: "brand-minor-version", "ftyp", Some("ISO/IEC 23000-19:2020 7.2"), WARNED,
        "with cmfc or cmf2 as the major brand the minor version is 0";
    MVHD_FIRST: "mvhd-first", "moov", Some("ISO/IEC 23000-19:2020 7.3.2.1"), LETTER,
        "mvhd is the first box of moov";
    ONE_TRACK: "one-track", "moov", Some("ISO/IEC 23000-19:2020 7.3.2.1"), LETTER,
        "moov has one trak";
    MVEX_MISSING: "mvex-missing", "moov", Some("ISO/IEC 23000-19:2020 7.3.2.1"), BROKEN,
        "moov announces fragments by mvex";
    HEADER_ORDER: "header-box-order", "moov", Some("ISO/IEC 23000-19:2020 7.3.1"), WARNED,
        "the boxes of a header are in the order of the table of CMAF boxes";
    HEADER_REPEATED: "header-box-repeated", "moov", Some("ISO/IEC 23000-19:2020 7.3.1"), BROKEN,
        "boxes that a header may have once are there once";
    TABLE_MISSING: "sample-table-missing", "stbl", Some("ISO/IEC 23000-19:2020 7.3.1"), LETTER,
        "stbl has stts, stsc, stsz or stz2, and stco";
    TABLE_EMPTY: "sample-table-empty", "stbl", Some("ISO/IEC 23000-19:2020 7.5.12"), BROKEN,
        "the tables of stbl have no entries";
    MVHD_DEFAULTS: "mvhd-defaults", "mvhd", Some("ISO/IEC 23000-19:2020 7.5.1"), WARNED,
        "rate, volume and matrix of mvhd have their default values";
    TKHD_DURATION: "tkhd-duration", "tkhd", Some("ISO/IEC 23000-19:2020 7.5.4"), WARNED,
        "the duration of tkhd is 0";
    TKHD_SIZE: "tkhd-size", "tkhd", Some("ISO/IEC 23000-19:2020 7.5.4"), WARNED,
        "width and height of tkhd are 0 for what is not seen, and not 0 for video";
    TRACK_ID: "track-id", "tkhd", None, BROKEN,
        "the track_ID of a track is not 0";
    TIMESCALE: "timescale", "mdhd", None, BROKEN,
        "a timescale is not 0";
    LANGUAGE: "language", "mdhd", None, WARNED,
        "a language is three small letters, an extended one a tag of letters, digits and hyphens";
    MEDIA_HEADER: "media-header", "minf", Some("ISO/IEC 23000-19:2020 7.5.6"), BROKEN,
        "minf has the media header of its handler: vmhd, smhd, sthd or nmhd";
    MEDIA_HEADER_DEFAULTS: "media-header-defaults", "minf", Some("ISO/IEC 23000-19:2020 7.5.6"), WARNED,
        "vmhd and smhd have their default values";
    DREF: "dref", "dref", Some("ISO/IEC 23000-19:2020 7.5.9"), WARNED,
        "dref has one entry, which is the file itself";
    STSD_VERSION: "stsd-version", "stsd", Some("ISO/IEC 23000-19:2020 7.5.10"), WARNED,
        "stsd is of version 0";
    STSD_EMPTY: "stsd-empty", "stsd", Some("ISO/IEC 23000-19:2020 7.5.10"), BROKEN,
        "stsd has a sample entry";
    CONFIGURATION_MISSING: "configuration-missing", "stsd", Some("ISO/IEC 23000-19:2020 7.5.10"), BROKEN,
        "a sample entry has the configuration of its codec";
    CONFIGURATION: "configuration", "stsd", Some("ISO/IEC 23000-19:2020 7.5.10"), BROKEN,
        "the configuration of a codec can be read";
    PARAMETER_SETS: "parameter-sets", "stsd", None, BROKEN,
        "avc1, hvc1 and vvc1 have their parameter sets in the header";
    SAMPLE_ENTRY_BOX: "sample-entry-box", "stsd", None, WARNED,
        "the boxes in a sample entry can be read";
    ESDS_ID: "esds-id", "esds", Some("ISO/IEC 23000-19:2020 10.3.4"), WARNED,
        "the ES_ID of esds is 0";
    EDIT_LIST: "edit-list", "elst", Some("ISO/IEC 23000-19:2020 7.5.13"), WARNED,
        "an edit list has one entry, of normal rate, for all that follows";
    EDIT_LIST_CMF2: "edit-list-cmf2", "elst", Some("ISO/IEC 23000-19:2020 7.7.2"), WARNED,
        "video of the brand cmf2 has no edit list";
    TREX_MISSING: "trex-missing", "mvex", Some("ISO/IEC 23000-19:2020 7.5.14"), BROKEN,
        "mvex has a trex for the track";
    MEHD: "mehd", "mehd", Some("ISO/IEC 23000-19:2020 7.3.2.1"), WARNED,
        "mehd is only there when it knows the duration";
    KIND: "kind", "kind", None, WARNED,
        "kind names the scheme of its role";
    PROTECTION: "protection", "sinf", Some("ISO/IEC 23000-19:2020 7.5.10"), BROKEN,
        "an encrypted sample entry has sinf with frma, schm, and schi with tenc";
    SCHEME: "protection-scheme", "sinf", Some("ISO/IEC 23000-19:2020 8.2.2.2"), BROKEN,
        "the scheme is cenc, cbc1, cens or cbcs of version 1.0";
    TENC: "track-encryption", "tenc", Some("ISO/IEC 23000-19:2020 8.2.3.2"), WARNED,
        "tenc says that samples are protected, with which key, and with vectors of 0, 8 or 16 bytes";
    BIT_RATE: "bit-rate", "stsd", Some("DASH-IF Live Media Ingest 6.2-12"), INGEST,
        "a sample entry tells its bit rate by btrt";
    ENCRYPTED: "encrypted", "stsd", Some("DASH-IF Live Media Ingest 6.2-14"), [None, INFO, None],
        "what is pushed is not encrypted";
    MATTER_CODEC: "matter-codec", "stsd", None, MATTER,
        "the codec is H.264, HEVC, VVC, AV1, Opus, AAC-LC, or Matter's metadata";
    MATTER_METADATA: "matter-metadata", "stsd", None, MATTER,
        "a metadata track is of the URI urn:csa:matter:av-metadata";
    HEADER_CHANGED: "header-changed", "moov", Some("DASH-IF Live Media Ingest 6.2-19"), WARNED,
        "a header that is sent again describes the same track";

    // Segments, fragments and chunks.
    HEADER_KNOWN: "header-known", "moof", Some("ISO/IEC 23000-19:2020 7.3.2.4"), BROKEN,
        "the header of a segment comes before it";
    MDAT_AFTER_MOOF: "mdat-after-moof", "mdat", Some("ISO/IEC 23000-19:2020 7.5.19"), LETTER,
        "mdat follows its moof directly";
    MDAT_WITHOUT_MOOF: "mdat-without-moof", "mdat", Some("ISO/IEC 23000-19:2020 7.3.2.3"), BROKEN,
        "every mdat has a moof before it";
    MOOF_WITHOUT_MDAT: "moof-without-mdat", "moof", Some("ISO/IEC 23000-19:2020 7.3.2.3"), BROKEN,
        "every moof has an mdat behind it";
    SEGMENT_ORDER: "segment-box-order", "moof", Some("ISO/IEC 23000-19:2020 7.3.2.3"), WARNED,
        "before a moof come styp, prft and emsg, in this order";
    BOX_UNUSED: "box-unused", "moof", Some("ISO/IEC 23000-19:2020 7.4.5"), WARNED,
        "styp, prft and emsg have a moof behind them";
    SEGMENT_INDEX: "segment-index", "sidx", Some("ISO/IEC 23000-19:2020 7.3.2.3"), WARNED,
        "a segment has no sidx of its own";
    EVENT: "event", "emsg", Some("ISO/IEC 23000-19:2020 7.4.5"), WARNED,
        "emsg can be read";
    EVENT_TIMESCALE: "event-timescale", "emsg", Some("ISO/IEC 23000-19:2020 7.4.5"), WARNED,
        "the timescale of emsg is that of the track";
    MFHD_FIRST: "mfhd-first", "moof", Some("ISO/IEC 23000-19:2020 7.3.1"), WARNED,
        "mfhd is the first box of moof, and tfhd of traf";
    ONE_TRAF: "one-traf", "moof", Some("ISO/IEC 23000-19:2020 7.3.1"), LETTER,
        "moof has one traf";
    TFHD_TRACK: "tfhd-track", "tfhd", Some("ISO/IEC 23000-19:2020 7.5.16"), BROKEN,
        "the track_ID of tfhd is that of the header";
    TFHD_BASE: "tfhd-base-offset", "tfhd", Some("ISO/IEC 23000-19:2020 7.5.16"), LETTER,
        "tfhd has no base_data_offset";
    TFHD_BASE_IS_MOOF: "tfhd-default-base-is-moof", "tfhd", Some("ISO/IEC 23000-19:2020 7.5.16"), LETTER,
        "tfhd says default-base-is-moof";
    SAMPLE_DESCRIPTION: "sample-description", "tfhd", None, BROKEN,
        "the sample description of a fragment is one of the header";
    TFDT_MISSING: "tfdt-missing", "traf", Some("ISO/IEC 23000-19:2020 7.5.16"), BROKEN,
        "traf has a tfdt";
    TFDT_ONCE: "tfdt-once", "tfdt", Some("ISO/IEC 23000-19:2020 7.5.16"), BROKEN,
        "traf has one tfdt";
    TFDT_RANGE: "tfdt-range", "tfdt", None, BROKEN,
        "decode times stay below 2^64";
    TRUN_MISSING: "trun-missing", "traf", Some("ISO/IEC 23000-19:2020 7.5.17"), BROKEN,
        "traf has samples";
    TRUN_OFFSET: "trun-data-offset", "trun", Some("ISO/IEC 23000-19:2020 7.5.17"), BROKEN,
        "trun has a data_offset";
    TRUN_OUTSIDE: "trun-outside-mdat", "trun", Some("ISO/IEC 23000-19:2020 7.3.2.3"), BROKEN,
        "the samples of a run lie in the mdat of its moof";
    MDAT_UNUSED: "mdat-unused", "mdat", Some("ISO/IEC 23000-19:2020 7.3.2.3"), WARNED,
        "every byte of mdat belongs to a sample";
    SAMPLE_DURATION: "sample-duration", "trun", None, WARNED,
        "the samples of a fragment last some time";
    SYNC: "fragment-sync", "traf", Some("ISO/IEC 23000-19:2020 7.3.2.4"), BROKEN,
        "a segment begins with a sync sample";
    COMPOSITION: "composition-time", "trun", Some("ISO/IEC 23000-19:2020 7.5.17"), WARNED,
        "the first sample that is shown is shown at the decode time of its fragment";
    CMF2_RUN: "trun-cmf2", "trun", Some("ISO/IEC 23000-19:2020 7.7.3"), WARNED,
        "in video of the brand cmf2 every trun is of version 1";
    SAIZ_SAIO: "auxiliary-information", "traf", Some("ISO/IEC 23000-19:2020 8.2.2.1"), LETTER,
        "encrypted samples that need vectors have senc, saiz and saio";
    SAIO_ENTRIES: "saio-entries", "saio", Some("ISO/IEC 23000-19:2020 8.2.2.1"), BROKEN,
        "saio has one entry";
    SAIO_OFFSET: "saio-offset", "saio", Some("ISO/IEC 23000-19:2020 8.2.2.1"), BROKEN,
        "saio points at the first vector in senc";
    SAIZ_COUNT: "saiz-count", "saiz", Some("ISO/IEC 23000-19:2020 8.2.2.1"), BROKEN,
        "saiz has as many samples as the fragment";
    SENC_COUNT: "senc-count", "senc", Some("ISO/IEC 23000-19:2020 8.2.2.1"), BROKEN,
        "senc has as many samples as the fragment";
    SAIZ_SIZE: "saiz-size", "saiz", Some("ISO/IEC 23000-19:2020 8.2.2.1"), BROKEN,
        "the sizes in saiz are those of what senc holds";
    PRFT_MISSING: "prft-missing", "prft", Some("DASH-IF Live Media Ingest 6.2-20"), INGEST,
        "a segment of audio or video begins with prft";
    PRFT_TRACK: "prft-track", "prft", Some("DASH-IF Live Media Ingest 6.2-20"), WARNED,
        "prft is about the track of its fragment";
    PRFT_TIME: "prft-media-time", "prft", Some("DASH-IF Live Media Ingest 6.2-20"), WARNED,
        "the media time of prft lies in its fragment";
    SEGMENT_LAST: "segment-last", "styp", Some("DASH-IF Live Media Ingest 6.2-19"), TOLD,
        "the brand lmsg marks the last segment";
    SEGMENT_FILLER: "segment-filler", "styp", Some("DASH-IF Live Media Ingest 6.2-18"), TOLD,
        "the brand slat marks filler in place of lost input";
    SEGMENT_BRAND: "segment-brand", "styp", Some("ISO/IEC 23000-19:2020 7.3.3"), TOLD,
        "styp has a brand of CMAF or DASH segments";
    MFRA: "mfra", "mfra", Some("DASH-IF Live Media Ingest 6.2-7"), [None, INFO, None],
        "the end is not told by mfra, which is deprecated";

    // From one fragment to the next.
    DECODE_GAP: "decode-time-gap", "tfdt", Some("ISO/IEC 23000-19:2020 7.3.2.2"), WARNED,
        "a fragment begins where the one before ended";
    DECODE_OVERLAP: "decode-time-overlap", "tfdt", Some("ISO/IEC 23000-19:2020 7.3.2.2"), LETTER,
        "a fragment begins no earlier than the one before ended";
    DECODE_BACKWARD: "decode-time-backward", "tfdt", Some("ISO/IEC 23000-19:2020 7.3.2.2"), LETTER,
        "decode times do not go back";
    SEQUENCE_ORDER: "sequence-order", "mfhd", Some("DASH-IF Live Media Ingest 6.2-11"), WARNED,
        "sequence numbers rise";
    SEQUENCE_GAP: "sequence-gap", "mfhd", Some("DASH-IF Live Media Ingest 6.2-11"), [INFO, WARNING, INFO],
        "sequence numbers rise by one";
    DURATION: "segment-duration", "body", Some("ISO/IEC 23000-19:2020 7.3.4.1"), WARNED,
        "a segment lasts as long as its manifest, or its request, says";
    MATTER_DURATION: "matter-segment-duration", "body", None, MATTER,
        "a segment lasts 65.5 s at most";
}
