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
    identities();
    let mut files = Vec::new();
    collect(Path::new("../tests/data/media"), &mut files);
    for path in files {
        let bytes = fs::read(&path).expect("the file is there");
        let name = path.to_string_lossy().replace(['/', '.'], "_");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("mpd") => write("mpd", &name, &bytes),
            Some("m3u8") => write("playlist", &name, &bytes),
            _ => {}
        }
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

/// Certificates, keys, requests and a ClientHello.
fn identities() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["cam.test".to_owned()]).expect("a name");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "cam");
    let request = params.serialize_request(&key).expect("a request");
    write("csr", "der", request.der());
    write("csr", "pem", request.pem().expect("text").as_bytes());
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.self_signed(&key).expect("a certificate");
    write("cert", "der", cert.der());
    write("cert", "pem", cert.pem().as_bytes());
    write("cert", "key", &key.serialize_der());
    write("cert", "key_pem", key.serialize_pem().as_bytes());
    let both = cert.pem() + &key.serialize_pem();
    write("cert", "root", both.as_bytes());
    let extensions: [&[u8]; 5] = [
        b"\0\0\0\x0d\0\x0b\0\0\x08cam.test",
        b"\0\x2b\0\x05\x04\x03\x04\x03\x03",
        b"\0\x0a\0\x06\0\x04\0\x1d\0\x17",
        b"\0\x0d\0\x04\0\x02\x04\x03",
        b"\0\x10\0\x05\0\x03\x02h2",
    ];
    let extensions = extensions.concat();
    let length = u8::try_from(extensions.len()).expect("they are short");
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 4, 0x13, 1, 0xc0, 0x2b, 1, 0, 0, length],
        &extensions,
    ]
    .concat();
    let length = u8::try_from(body.len()).expect("it is short");
    let message = [&[1, 0, 0, length][..], &body].concat();
    let record = [&[22, 3, 1, 0, length + 4][..], &message].concat();
    write("hello", "one_record", &record);
    let pieces: Vec<u8> = message
        .chunks(40)
        .flat_map(|piece| [&[22, 3, 1, 0, u8::try_from(piece.len()).expect("40")][..], piece].concat())
        .collect();
    write("hello", "some_records", &pieces);
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
