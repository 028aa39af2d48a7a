//! Small CMAF pieces for tests, built box by box.

use crate::isobmff::build::{boxed, concat, full};

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
    let mut fields = vec![0; 96];
    fields[8..12].copy_from_slice(&1000u32.to_be_bytes());
    full(b"mvhd", 0, 0, &fields)
}

fn trak(id: u32) -> Vec<u8> {
    let mut tkhd = vec![0; 80];
    tkhd[8..12].copy_from_slice(&id.to_be_bytes());
    let mut mdhd = vec![0; 20];
    mdhd[8..12].copy_from_slice(&12800u32.to_be_bytes());
    mdhd[16..18].copy_from_slice(&0x55c4u16.to_be_bytes());
    let hdlr = concat(&[&[0; 4][..], b"vide", &[0; 12], b"VideoHandler\0"]);
    let entry = boxed(b"avc1", &[0; 78]);
    let stsd = full(b"stsd", 0, 0, &concat(&[&1u32.to_be_bytes()[..], &entry]));
    let minf = boxed(b"minf", &boxed(b"stbl", &stsd));
    let mdia = concat(&[full(b"mdhd", 0, 0, &mdhd), full(b"hdlr", 0, 0, &hdlr), minf]);
    boxed(
        b"trak",
        &concat(&[full(b"tkhd", 0, 3, &tkhd), boxed(b"mdia", &mdia)]),
    )
}

fn trex(id: u32) -> Vec<u8> {
    let fields = [id, 1, 512, 0, 0x0101_0000];
    full(b"trex", 0, 0, &concat(&fields.map(u32::to_be_bytes)))
}

/// `moof` with one `traf` per track; every sample of `sizes` lasts 512 ticks, the first is sync.
pub(crate) fn moof(sequence: u32, track_ids: &[u32], decode_time: u64, sizes: &[u32]) -> Vec<u8> {
    let mut parts = vec![full(b"mfhd", 0, 0, &sequence.to_be_bytes())];
    for id in track_ids {
        let tfhd = full(b"tfhd", 0, 0x02_0000, &id.to_be_bytes());
        let tfdt = full(b"tfdt", 1, 0, &decode_time.to_be_bytes());
        let count = u32::try_from(sizes.len()).unwrap();
        let run = concat(
            &[&[count, 0, 0x0200_0000][..], sizes]
                .concat()
                .iter()
                .map(|n| n.to_be_bytes())
                .collect::<Vec<_>>(),
        );
        let trun = full(b"trun", 0, 0x205, &run);
        parts.push(boxed(b"traf", &concat(&[tfhd, tfdt, trun])));
    }
    boxed(b"moof", &concat(&parts))
}

pub(crate) fn mdat(len: usize) -> Vec<u8> {
    boxed(b"mdat", &vec![0x5a; len])
}

pub(crate) fn prft(unix_seconds: u64) -> Vec<u8> {
    let ntp = (unix_seconds + 2_208_988_800) << 32;
    full(
        b"prft",
        1,
        24,
        &concat(&[&[0, 0, 0, 1][..], &ntp.to_be_bytes(), &[0; 8]]),
    )
}

pub(crate) fn styp(brands: &[u8]) -> Vec<u8> {
    boxed(b"styp", &concat(&[&b"msdh\0\0\0\0"[..], brands]))
}
