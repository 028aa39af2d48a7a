//! Media without a fault, as a tree that a fault can be put into, and that knows where its boxes
//! stand.

use crate::isobmff::boxes::{
    Btrt, FileType, Hdlr, Mdhd, Mfhd, Mvhd, Ntp, Prft, Smhd, Tfdt, Tfhd, Tkhd, Trex, Trun, Vmhd,
};
use crate::isobmff::build::{boxed, concat, full};

pub(super) const UNITY: [i32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// Ticks of one sample.
pub(super) const TICKS: u32 = 512;

/// Bytes of the two samples of a fragment.
const SIZES: [u32; 2] = [30, 20];

/// A box: what stands before its children, and these.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: [u8; 4],
    pub(super) fields: Vec<u8>,
    pub(super) children: Vec<Node>,
    /// What the size field says, if it lies.
    pub(super) size: Option<u32>,
}

impl Node {
    /// A box as an encoder makes it, without children.
    pub(super) fn leaf(bytes: &[u8]) -> Self {
        Self::new(bytes[4..8].try_into().unwrap(), &bytes[8..], Vec::new())
    }

    pub(super) fn new(kind: &[u8; 4], fields: &[u8], children: Vec<Self>) -> Self {
        Self {
            kind: *kind,
            fields: fields.to_vec(),
            children,
            size: None,
        }
    }

    pub(super) fn parent(kind: &[u8; 4], children: Vec<Self>) -> Self {
        Self::new(kind, &[], children)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let children: Vec<_> = self.children.iter().map(Self::bytes).collect();
        let mut bytes = boxed(
            &self.kind,
            &concat(&[self.fields.clone(), concat(&children)]),
        );
        if let Some(size) = self.size {
            bytes[..4].copy_from_slice(&size.to_be_bytes());
        }
        bytes
    }

    pub(super) fn len(&self) -> u64 {
        let children: u64 = self.children.iter().map(Self::len).sum();
        8 + self.fields.len() as u64 + children
    }

    pub(super) fn child(&mut self, name: &str) -> &mut Self {
        let at = position(&self.children, name);
        &mut self.children[at]
    }

    pub(super) fn remove(&mut self, name: &str) -> Self {
        let at = position(&self.children, name);
        self.children.remove(at)
    }

    /// Writes over fields.
    pub(super) fn set(&mut self, at: usize, bytes: &[u8]) {
        self.fields[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Which of `nodes` is meant by `kind`, or by `kind[n]` the one after n others of the kind.
fn position(nodes: &[Node], name: &str) -> usize {
    let kind = &name.as_bytes()[..4];
    let number: usize = match name[4..].strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').unwrap().parse().unwrap(),
        None => 0,
    };
    let mut alike = (0..nodes.len()).filter(|at| nodes[*at].kind == kind);
    alike.nth(number).unwrap_or_else(|| panic!("no {name}"))
}

/// A body.
#[derive(Clone, Debug)]
pub(super) struct Body(pub(super) Vec<Node>);

impl Body {
    pub(super) fn bytes(&self) -> Vec<u8> {
        concat(&self.0.iter().map(Node::bytes).collect::<Vec<_>>())
    }

    /// The box at a path such as `moof[1] > traf > tfhd`.
    pub(super) fn get(&mut self, path: &str) -> &mut Node {
        let mut names = path.split(" > ");
        let at = position(&self.0, names.next().unwrap());
        names.fold(&mut self.0[at], Node::child)
    }

    pub(super) fn remove(&mut self, name: &str) -> Node {
        let at = position(&self.0, name);
        self.0.remove(at)
    }

    pub(super) fn insert_before(&mut self, name: &str, node: Node) {
        let at = position(&self.0, name);
        self.0.insert(at, node);
    }

    /// Path without numbers, and the byte at which the box begins.
    pub(super) fn at(&self, path: &str) -> (String, u64) {
        let mut nodes = &self.0;
        let mut offset = 0;
        let mut plain = Vec::new();
        for (depth, name) in path.split(" > ").enumerate() {
            let at = position(nodes, name);
            offset += nodes[..at].iter().map(Node::len).sum::<u64>();
            plain.push(&name[..4]);
            if depth + 1 < path.split(" > ").count() {
                offset += 8 + nodes[at].fields.len() as u64;
                nodes = &nodes[at].children;
            }
        }
        (plain.join(" > "), offset)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(Node::len).sum()
    }

    /// Puts the offsets right that point from a `moof` to its samples and vectors.
    pub(super) fn settle(&mut self) {
        let mut before = 0;
        for at in 0..self.0.len() {
            let start = before;
            before += self.0[at].len();
            if &self.0[at].kind != b"moof" {
                continue;
            }
            let mdat = self.0[at + 1..]
                .iter()
                .position(|node| &node.kind == b"mdat");
            let Some(mdat) = mdat else { continue };
            let between: u64 = self.0[at + 1..at + 1 + mdat].iter().map(Node::len).sum();
            let mut data = self.0[at].len() + between + 8;
            let mut place = 8;
            for traf in &mut self.0[at].children {
                if &traf.kind == b"traf" {
                    let senc = offset_in(traf, b"senc").map(|at| place + at + 16);
                    let sizes: u32 = SIZES.iter().sum();
                    for child in &mut traf.children {
                        match &child.kind {
                            // Version and flags, sample count, data offset.
                            b"trun" if child.fields[3] & 1 != 0 => {
                                let offset = i32::try_from(data).unwrap().to_be_bytes();
                                child.set(8, &offset);
                                data += u64::from(sizes);
                            }
                            b"saio" => {
                                let offset = u32::try_from(senc.unwrap()).unwrap().to_be_bytes();
                                child.set(8, &offset);
                            }
                            b"tfhd" if child.fields[3] & 1 != 0 => {
                                child.set(8, &start.to_be_bytes());
                            }
                            _ => {}
                        }
                    }
                }
                place += traf.len();
            }
        }
    }
}

fn offset_in(traf: &Node, kind: &[u8; 4]) -> Option<u64> {
    let at = traf.children.iter().position(|node| &node.kind == kind)?;
    Some(8 + traf.children[..at].iter().map(Node::len).sum::<u64>())
}

pub(super) fn brands(kind: &[u8; 4], major: &[u8; 4], minor: u32, compatible: &[&[u8; 4]]) -> Node {
    let brands = FileType {
        major_brand: major.into(),
        minor_version: minor,
        compatible_brands: compatible.iter().map(|brand| (*brand).into()).collect(),
    };
    Node::leaf(&brands.encode(kind))
}

pub(super) fn mvhd() -> Mvhd {
    Mvhd {
        creation_time: 0,
        timescale: 1000,
        duration: 0,
        rate: 0x0001_0000,
        volume: 0x0100,
        matrix: UNITY,
        next_track_id: 2,
    }
}

pub(super) fn tkhd(track_id: u32, visual: bool) -> Tkhd {
    let size = |pixels: u32| if visual { pixels << 16 } else { 0 };
    Tkhd {
        flags: 3,
        creation_time: 0,
        track_id,
        duration: 0,
        layer: 0,
        alternate_group: 0,
        volume: if visual { 0 } else { 0x0100 },
        matrix: UNITY,
        width: size(320),
        height: size(180),
    }
}

pub(super) fn trex(track_id: u32) -> Node {
    let trex = Trex {
        track_id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: 0,
    };
    Node::leaf(&trex.encode())
}

pub(super) fn avcc(sps: &[&[u8]], pps: &[&[u8]]) -> Node {
    let list = |units: &[&[u8]]| {
        let each = units
            .iter()
            .map(|unit| concat(&[&u16::try_from(unit.len()).unwrap().to_be_bytes()[..], unit]));
        concat(&each.collect::<Vec<_>>())
    };
    let sps_count = 0xe0 | u8::try_from(sps.len()).unwrap();
    let pps_count = u8::try_from(pps.len()).unwrap();
    let fields = concat(&[
        &[1, 66, 0xc0, 13, 0xff, sps_count][..],
        &list(sps),
        &[pps_count],
        &list(pps),
    ]);
    Node::new(b"avcC", &fields, Vec::new())
}

fn btrt() -> Node {
    let Btrt {
        buffer_size,
        max_bitrate,
        avg_bitrate,
    } = Btrt {
        buffer_size: 0,
        max_bitrate: 500_000,
        avg_bitrate: 400_000,
    };
    let fields = concat(&[buffer_size, max_bitrate, avg_bitrate].map(u32::to_be_bytes));
    Node::new(b"btrt", &fields, Vec::new())
}

/// The fields of a visual sample entry.
fn visual() -> Vec<u8> {
    let mut fields = vec![0; 78];
    fields[7] = 1;
    fields[24..28].copy_from_slice(&[1, 64, 0, 180]);
    fields
}

/// A header with one track; `media` is the media header.
fn header(handler: &[u8; 4], media: Node, entry: Node) -> Vec<Node> {
    let mdhd = Mdhd {
        creation_time: 0,
        timescale: 12_800,
        duration: 0,
        language: "und".to_owned(),
    };
    let hdlr = Hdlr {
        handler: handler.into(),
        name: "handler".to_owned(),
    };
    let url = Node::leaf(&full(b"url ", 0, 1, &[]));
    let dref = Node::new(b"dref", &[0, 0, 0, 0, 0, 0, 0, 1], vec![url]);
    let stsd = Node::new(b"stsd", &[0, 0, 0, 0, 0, 0, 0, 1], vec![entry]);
    let empty = |kind: &[u8; 4]| Node::leaf(&full(kind, 0, 0, &[0; 4]));
    let stbl = Node::parent(
        b"stbl",
        vec![
            stsd,
            empty(b"stts"),
            empty(b"stsc"),
            Node::leaf(&full(b"stsz", 0, 0, &[0; 8])),
            empty(b"stco"),
        ],
    );
    let minf = vec![media, Node::parent(b"dinf", vec![dref]), stbl];
    let mdia = vec![
        Node::leaf(&mdhd.encode()),
        Node::leaf(&hdlr.encode()),
        Node::parent(b"minf", minf),
    ];
    let trak = vec![
        Node::leaf(&tkhd(1, handler == b"vide").encode()),
        Node::parent(b"mdia", mdia),
    ];
    let moov = vec![
        Node::leaf(&mvhd().encode()),
        Node::parent(b"trak", trak),
        Node::parent(b"mvex", vec![trex(1)]),
    ];
    vec![
        brands(b"ftyp", b"iso6", 0, &[b"iso6", b"cmfc"]),
        Node::parent(b"moov", moov),
    ]
}

pub(super) fn prft(track_id: u32, media_time: u64) -> Node {
    let prft = Prft {
        flags: 24,
        track_id,
        ntp: Ntp(3_900_000_000 << 32),
        media_time,
    };
    Node::leaf(&prft.encode())
}

pub(super) fn mfhd(sequence_number: u32) -> Node {
    Node::leaf(&Mfhd { sequence_number }.encode())
}

/// Both samples last [`TICKS`]; the second is no sync sample.
pub(super) fn tfhd() -> Tfhd {
    Tfhd {
        flags: Tfhd::DEFAULT_BASE_IS_MOOF,
        track_id: 1,
        base_data_offset: None,
        sample_description_index: None,
        default_sample_duration: Some(TICKS),
        default_sample_size: None,
        default_sample_flags: Some(0x0101_0000),
    }
}

pub(super) fn tfdt(time: u64) -> Node {
    let tfdt = Tfdt {
        version: 1,
        base_media_decode_time: time,
    };
    Node::leaf(&tfdt.encode())
}

pub(super) fn trun() -> Trun {
    Trun {
        version: 1,
        sample_count: 2,
        data_offset: Some(0),
        first_sample_flags: Some(0x0200_0000),
        sizes: SIZES.to_vec(),
        ..Trun::default()
    }
}

/// `prft`, `moof` and `mdat` of the fragment after `number` - 1 others.
fn fragment(number: u32) -> Vec<Node> {
    let time = u64::from((number - 1) * 2 * TICKS);
    let traf = vec![
        Node::leaf(&tfhd().encode()),
        tfdt(time),
        Node::leaf(&trun().encode()),
    ];
    let data: u32 = SIZES.iter().sum();
    vec![
        prft(1, time),
        Node::parent(b"moof", vec![mfhd(number), Node::parent(b"traf", traf)]),
        Node::new(b"mdat", &vec![0x5a; data as usize], Vec::new()),
    ]
}

fn body(header: Vec<Node>) -> Body {
    let mut nodes = header;
    nodes.push(brands(b"styp", b"cmfs", 0, &[b"cmfs"]));
    nodes.extend(fragment(1));
    nodes.extend(fragment(2));
    let mut body = Body(nodes);
    body.settle();
    body
}

/// Clear H.264: header and two fragments.
pub(super) fn video() -> Body {
    let avcc = avcc(&[&[0x67, 66, 0xc0, 13]], &[&[0x68, 0xce]]);
    let entry = Node::new(b"avc1", &visual(), vec![avcc, btrt()]);
    let vmhd = Vmhd {
        flags: 1,
        graphics_mode: 0,
        op_color: [0; 3],
    };
    body(header(b"vide", Node::leaf(&vmhd.encode()), entry))
}

/// The same without its header.
pub(super) fn segment() -> Body {
    let mut body = video();
    body.0.drain(..2);
    body.settle();
    body
}

/// AAC-LC.
pub(super) fn audio() -> Body {
    // Descriptors: elementary stream (id 0), decoder configuration, specific: AAC-LC, 48 kHz, mono.
    let fields = concat(&[
        &[0, 0, 0, 0, 3, 22, 0, 0, 0][..],
        &[4, 17, 0x40, 0x15, 0, 0, 0],
        &concat(&[64_000u32, 64_000].map(u32::to_be_bytes)),
        &[5, 2, 0x11, 0x88],
    ]);
    let esds = Node::new(b"esds", &fields, Vec::new());
    let mut entry = vec![0; 28];
    entry[7] = 1;
    entry[17] = 1;
    entry[19] = 16;
    entry[24..26].copy_from_slice(&48_000u16.to_be_bytes());
    let entry = Node::new(b"mp4a", &entry, vec![esds, btrt()]);
    let smhd = Smhd { balance: 0 };
    body(header(b"soun", Node::leaf(&smhd.encode()), entry))
}

/// Timed metadata of a URI.
pub(super) fn metadata(uri: &str) -> Body {
    let uri = full(b"uri ", 0, 0, &concat(&[uri.as_bytes(), &[0]]));
    let entry = Node::new(b"urim", &[0, 0, 0, 0, 0, 0, 0, 1], vec![Node::leaf(&uri)]);
    let nmhd = full(b"nmhd", 0, 0, &[]);
    body(header(b"meta", Node::leaf(&nmhd), entry))
}

/// H.264 encrypted by `cenc`: a vector of eight bytes and one subsample for each sample.
pub(super) fn encrypted() -> Body {
    let mut body = video();
    let tenc = concat(&[&[0, 0, 1, 8][..], &[7; 16]]);
    let sinf = vec![
        Node::new(b"frma", b"avc1", Vec::new()),
        Node::leaf(&full(b"schm", 0, 0, b"cenc\0\x01\0\0")),
        Node::parent(b"schi", vec![Node::leaf(&full(b"tenc", 0, 0, &tenc))]),
    ];
    let entry = body.get("moov > trak > mdia > minf > stbl > stsd > avc1");
    entry.kind = *b"encv";
    entry.children.push(Node::parent(b"sinf", sinf));
    for moof in ["moof[0]", "moof[1]"] {
        let each = concat(&[&[9; 8][..], &[0, 1, 0, 5, 0, 0, 0, 15]]);
        let senc = concat(&[&[0, 0, 0, 2][..], &each, &each]);
        let traf = body.get(moof).child("traf");
        traf.children.extend([
            Node::leaf(&full(b"saiz", 0, 0, &[16, 0, 0, 0, 2])),
            Node::leaf(&full(b"saio", 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
            Node::leaf(&full(b"senc", 0, 2, &senc)),
        ]);
    }
    body.settle();
    body
}
