//! The decoders of single boxes, and of a header as a whole. Each is given any payload at all.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::cmaf::{Defaults, TrackHeader, TrafSummary};
use pavs_fuzz::isobmff::boxes::*;
use pavs_fuzz::isobmff::build::boxed;
use pavs_fuzz::isobmff::{BoxRef, check};

/// Decodes `source` as what its type says.
fn decode(source: &BoxRef<'_>) {
    match &source.kind.0 {
        b"ftyp" | b"styp" => drop(FileType::decode(source)),
        b"mvhd" => drop(Mvhd::decode(source)),
        b"tkhd" => drop(Tkhd::decode(source)),
        b"mdhd" => drop(Mdhd::decode(source)),
        b"hdlr" => drop(Hdlr::decode(source)),
        b"mehd" => drop(Mehd::decode(source)),
        b"trex" => drop(Trex::decode(source)),
        b"moov" => drop(TrackHeader::of_movie(None, source)),
        b"stsd" => drop(Stsd::decode(source)),
        b"elst" => drop(Elst::decode(source)),
        b"stts" => drop(Stts::decode(source)),
        b"ctts" => drop(Ctts::decode(source)),
        b"stsz" => drop(Stsz::decode(source)),
        b"stco" | b"co64" => drop(ChunkOffsets::decode(source)),
        b"mfhd" => drop(Mfhd::decode(source)),
        b"tfhd" => drop(Tfhd::decode(source)),
        b"tfdt" => drop(Tfdt::decode(source)),
        b"trun" => drop(Trun::decode(source)),
        b"prft" => drop(Prft::decode(source).map(|prft| prft.ntp.unix_micros())),
        b"vmhd" => drop(Vmhd::decode(source)),
        b"smhd" => drop(Smhd::decode(source)),
        b"dref" => drop(Dref::decode(source)),
        b"elng" => drop(Elng::decode(source)),
        b"kind" => drop(Kind::decode(source)),
        b"stsc" => drop(Stsc::decode(source)),
        b"stss" => drop(Stss::decode(source)),
        b"senc" => {
            if let Ok(senc) = Senc::decode(source) {
                for iv_size in [0, 8, 16] {
                    // Each sample has at least two bytes behind it.
                    let most = source.payload().len() / 2 + 1;
                    assert!(senc.samples(source, iv_size).count() <= most);
                }
            }
        }
        b"saiz" => drop(Saiz::decode(source).map(|saiz| saiz.total())),
        b"saio" => drop(Saio::decode(source)),
        b"pssh" => drop(Pssh::decode(source)),
        b"sbgp" => drop(Sbgp::decode(source)),
        b"sgpd" => drop(Sgpd::decode(source)),
        b"subs" => drop(Subs::decode(source)),
        b"sidx" => drop(Sidx::decode(source)),
        b"mfra" => drop(Mfra::decode(source)),
        b"emsg" => drop(Emsg::decode(source)),
        b"moof" => {
            if check(source).is_ok()
                && let Ok(moof) = Moof::decode(source)
            {
                for traf in &moof.trafs {
                    let _ = TrafSummary::of(traf, &Defaults::default());
                }
            }
        }
        _ => drop(SampleEntry::decode(source)),
    }
}

/// Types the first byte of the input chooses from; those `decode` does not name are sample entries.
const KINDS: [&[u8; 4]; 45] = [
    b"ftyp", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"mehd", b"trex", b"moov", b"stsd", b"elst",
    b"stts", b"ctts", b"stsz", b"stco", b"co64", b"mfhd", b"tfhd", b"tfdt", b"trun", b"prft",
    b"moof", b"avc1", b"hvc1", b"av01", b"mp4a", b"stpp", b"encv", b"Opus", b"vmhd", b"smhd",
    b"dref", b"elng", b"kind", b"stsc", b"stss", b"senc", b"saiz", b"saio", b"pssh", b"sbgp",
    b"sgpd", b"subs", b"sidx", b"mfra", b"emsg",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, payload)) = data.split_first() else {
        return;
    };
    let Some(kind) = KINDS.get(usize::from(*choice)) else {
        return;
    };
    let bytes = boxed(kind, payload);
    let source = BoxRef::top(&bytes, 0).expect("the box is made here");
    decode(&source);
});
