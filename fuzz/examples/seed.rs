//! Fills `corpus/` with pieces of the files in `tests/data/media`. Run in `fuzz/`:
//! `cargo run --example seed`.

use std::fs;
use std::path::{Path, PathBuf};

use pavs_fuzz::isobmff::boxes::{Configuration, SampleEntry};
use pavs_fuzz::isobmff::{BoxRef, Children};

/// The types of the `boxes` target, in its order.
const KINDS: [&[u8; 4]; 45] = [
    b"ftyp", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"mehd", b"trex", b"moov", b"stsd", b"elst",
    b"stts", b"ctts", b"stsz", b"stco", b"co64", b"mfhd", b"tfhd", b"tfdt", b"trun", b"prft",
    b"moof", b"avc1", b"hvc1", b"av01", b"mp4a", b"stpp", b"encv", b"Opus", b"vmhd", b"smhd",
    b"dref", b"elng", b"kind", b"stsc", b"stss", b"senc", b"saiz", b"saio", b"pssh", b"sbgp",
    b"sgpd", b"subs", b"sidx", b"mfra", b"emsg",
];

/// Longer files teach the fuzzer nothing new.
const LONGEST: usize = 100_000;

fn main() {
    let mut files = Vec::new();
    collect(Path::new("../tests/data/media"), &mut files);
    for path in files {
        let bytes = fs::read(&path).expect("the file is there");
        let name = path.to_string_lossy().replace(['/', '.'], "_");
        if bytes.len() <= LONGEST {
            write("probe", &name, &bytes);
            for target in ["stream", "scanner"] {
                write(target, &name, &[&[3, 1, 9, 200][..], &bytes].concat());
            }
        }
        for (at, found) in Children::top(&bytes, 0).map_while(Result::ok).enumerate() {
            descend(&found, &format!("{name}_{at}"));
        }
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension != "json")
        {
            files.push(path);
        }
    }
}

fn descend(found: &BoxRef<'_>, name: &str) {
    if let Some(index) = KINDS.iter().position(|kind| found.kind == *kind) {
        let choice = [u8::try_from(index).expect("there are few")];
        write(
            "boxes",
            &format!("{name}_{index}"),
            &[&choice[..], found.payload()].concat(),
        );
    }
    let mut reader = found.reader();
    match &found.kind.0 {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"mvex" | b"moof" | b"traf" | b"edts"
        | b"dinf" | b"udta" => {}
        b"stsd" => reader.skip(8).expect("it has entries"),
        _ => {
            configuration(found, name);
            return;
        }
    }
    for (at, child) in Children::of(&reader).map_while(Result::ok).enumerate() {
        descend(&child, &format!("{name}_{at}"));
    }
}

/// Parameter sets, behind the byte that chooses their reader in the `codec` target.
fn configuration(entry: &BoxRef<'_>, name: &str) {
    let put = |choice: u8, bytes: &[u8]| {
        write(
            "codec",
            &format!("{name}_{choice}"),
            &[&[choice][..], bytes].concat(),
        );
    };
    match SampleEntry::decode(entry).configuration {
        Some(Configuration::Avc(avcc)) => {
            let mut units = Vec::new();
            for nal in avcc.sps.iter().chain(&avcc.pps) {
                units.extend(u16::try_from(nal.len()).expect("it is short").to_be_bytes());
                units.extend(nal);
            }
            put(0, &units);
        }
        Some(Configuration::Hevc(hvcc)) => put(1, hvcc.sps().unwrap_or_default()),
        Some(Configuration::Av1(av1c)) => put(2, &av1c.obus),
        Some(Configuration::Mpeg4(esds)) => put(3, &esds.specific),
        Some(Configuration::Ac3(payload) | Configuration::Ec3(payload)) => put(4, &payload),
        _ => {}
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new("corpus").join(target);
    fs::create_dir_all(&directory).expect("corpus can be made");
    fs::write(directory.join(name), bytes).expect("seed can be written");
}
