//! Small CMAF pieces for tests, built box by box.

use crate::isobmff::boxes::{
    Hdlr, Mdhd, Mfhd, Moof, Mvhd, Ntp, Prft, Tfdt, Tfhd, Tkhd, Traf, Trex, Trun,
};
use crate::isobmff::build::{boxed, concat, full};

/// The matrix that changes nothing.
const UNITY: [i32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

pub(crate) fn ftyp() -> Vec<u8> {
    boxed(b"ftyp", b"iso6\0\0\x02\0iso6cmfc")
}

/// A header with one video track per id, without codec configuration.
pub(crate) fn header(track_ids: &[u32]) -> Vec<u8> {
    let traks: Vec<_> = track_ids.iter().map(|id| trak(*id)).collect();
    let trexes: Vec<_> = track_ids.iter().map(|id| trex(*id)).collect();
    let moov = concat(&[mvhd(), concat(&traks), boxed(b"mvex", &concat(&trexes))]);
    concat(&[ftyp(), boxed(b"moov", &moov)])
}

/// The head of a progressive file: no `mvex`.
pub(crate) fn progressive_head() -> Vec<u8> {
    concat(&[ftyp(), boxed(b"moov", &concat(&[mvhd(), trak(1)]))])
}

fn mvhd() -> Vec<u8> {
    let mvhd = Mvhd {
        creation_time: 0,
        timescale: 1000,
        duration: 0,
        rate: 0x0001_0000,
        volume: 0x0100,
        matrix: UNITY,
        next_track_id: 2,
    };
    mvhd.encode()
}

fn trak(id: u32) -> Vec<u8> {
    let tkhd = Tkhd {
        flags: 3,
        creation_time: 0,
        track_id: id,
        duration: 0,
        layer: 0,
        alternate_group: 0,
        volume: 0,
        matrix: UNITY,
        width: 0,
        height: 0,
    };
    let mdhd = Mdhd {
        creation_time: 0,
        timescale: 12_800,
        duration: 0,
        language: "und".to_owned(),
    };
    let hdlr = Hdlr {
        handler: b"vide".into(),
        name: "VideoHandler".to_owned(),
    };
    let entry = boxed(b"avc1", &[0; 78]);
    let stsd = full(b"stsd", 0, 0, &concat(&[&1u32.to_be_bytes()[..], &entry]));
    let minf = boxed(b"minf", &boxed(b"stbl", &stsd));
    let mdia = boxed(b"mdia", &concat(&[mdhd.encode(), hdlr.encode(), minf]));
    boxed(b"trak", &concat(&[tkhd.encode(), mdia]))
}

fn trex(track_id: u32) -> Vec<u8> {
    let trex = Trex {
        track_id,
        default_sample_description_index: 1,
        default_sample_duration: 512,
        default_sample_size: 0,
        default_sample_flags: 0x0101_0000,
    };
    trex.encode()
}

/// `moof` with one `traf` per track; every sample of `sizes` lasts the track's 512 ticks, the first is
/// sync.
pub(crate) fn moof(sequence: u32, track_ids: &[u32], decode_time: u64, sizes: &[u32]) -> Vec<u8> {
    let traf = |track_id: &u32| Traf {
        tfhd: Tfhd {
            flags: Tfhd::DEFAULT_BASE_IS_MOOF,
            track_id: *track_id,
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration: None,
            default_sample_size: None,
            default_sample_flags: None,
        },
        tfdt: Some(Tfdt {
            version: 1,
            base_media_decode_time: decode_time,
        }),
        truns: vec![Trun {
            sample_count: u32::try_from(sizes.len()).unwrap(),
            data_offset: Some(0),
            first_sample_flags: Some(0x0200_0000),
            sizes: sizes.to_vec(),
            ..Trun::default()
        }],
    };
    let moof = Moof {
        mfhd: Mfhd {
            sequence_number: sequence,
        },
        trafs: track_ids.iter().map(traf).collect(),
    };
    moof.encode()
}

pub(crate) fn mdat(len: usize) -> Vec<u8> {
    boxed(b"mdat", &vec![0x5a; len])
}

pub(crate) fn prft(unix_seconds: u64) -> Vec<u8> {
    let prft = Prft {
        flags: 24,
        track_id: 1,
        ntp: Ntp((unix_seconds + 2_208_988_800) << 32),
        media_time: 0,
    };
    prft.encode()
}

pub(crate) fn styp(brands: &[u8]) -> Vec<u8> {
    boxed(b"styp", &concat(&[&b"msdh\0\0\0\0"[..], brands]))
}
