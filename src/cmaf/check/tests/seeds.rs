//! One fault per rule, put into good media: that rule is broken, at that box and byte, and no other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::good::{
    Body, Node, TICKS, audio, avcc, brands, encrypted, metadata, mfhd, mvhd, prft, segment, tfdt,
    tfhd, tkhd, trex, trun, video,
};
use super::*;
use crate::finding::Profile;
use crate::isobmff::boxes::{
    Edit, Elng, Elst, Emsg, EventTime, Kind as Role, Mehd, Stts, Tfhd, Trun, Vmhd,
};
use crate::isobmff::build::{boxed, full};
use crate::isobmff::limits;

/// A fault.
struct Seed {
    /// The rule it breaks.
    rule: &'static Rule,
    /// What it is put into.
    body: fn() -> Body,
    /// Puts it there.
    sow: fn(&mut Body),
    /// Whether offsets are put right after that.
    settled: bool,
    /// Bytes that are cut off at the end.
    cut: usize,
    context: fn() -> Context,
    /// Where it shows: path and byte, by the tree.
    at: fn(&Body) -> (String, u64),
}

const STBL: &str = "moov > trak > mdia > minf > stbl";
const STSD: &str = "moov > trak > mdia > minf > stbl > stsd";
const AVC1: &str = "moov > trak > mdia > minf > stbl > stsd > avc1";
const ENCV: &str = "moov > trak > mdia > minf > stbl > stsd > encv";
const TRAF: &str = "moof[1] > traf";

fn track() -> Context {
    Context {
        kind: Kind::Track,
        ..Context::default()
    }
}

/// A segment of the good track.
fn of_track() -> Context {
    let mut header = video();
    header.0.truncate(2);
    Context {
        kind: Kind::Segment,
        header: Some(TrackHeader::parse(&header.bytes()).unwrap()),
        ..Context::default()
    }
}

const fn seed(rule: &'static Rule, sow: fn(&mut Body), at: fn(&Body) -> (String, u64)) -> Seed {
    Seed {
        rule,
        body: video,
        sow,
        settled: true,
        cut: 0,
        context: track,
        at,
    }
}

impl Seed {
    const fn body(mut self, body: fn() -> Body) -> Self {
        self.body = body;
        self
    }

    const fn context(mut self, context: fn() -> Context) -> Self {
        self.context = context;
        self
    }

    const fn unsettled(mut self) -> Self {
        self.settled = false;
        self
    }

    const fn cut(mut self, bytes: usize) -> Self {
        self.cut = bytes;
        self
    }
}

/// The place `bytes` behind the front of a box.
fn within(body: &Body, path: &str, bytes: u64) -> (String, u64) {
    let (path, at) = body.at(path);
    (path, at + bytes)
}

fn whole_body(_: &Body) -> (String, u64) {
    (String::new(), 0)
}

fn nothing(_: &mut Body) {}

fn replace_trun(body: &mut Body, moof: &str, trun: &Trun) {
    *body.get(moof).child("traf").child("trun") = Node::leaf(&trun.encode());
}

fn replace_tfhd(body: &mut Body, moof: &str, tfhd: &Tfhd) {
    *body.get(moof).child("traf").child("tfhd") = Node::leaf(&tfhd.encode());
}

fn first_fragment_only(body: &mut Body) {
    let end = body
        .0
        .iter()
        .position(|node| &node.kind == b"mdat")
        .unwrap();
    body.0.truncate(end + 1);
}

fn edit_list(edit: Edit) -> Node {
    Node::parent(
        b"edts",
        vec![Node::leaf(&Elst { edits: vec![edit] }.encode())],
    )
}

fn cmf2(body: &mut Body) {
    *body.get("ftyp") = brands(b"ftyp", b"iso6", 0, &[b"iso6", b"cmf2"]);
}

fn events(timescale: u32) -> Node {
    let emsg = Emsg {
        scheme: "urn:x".to_owned(),
        value: String::new(),
        timescale,
        time: EventTime::Absolute(0),
        duration: None,
        id: 1,
        message: Vec::new(),
    };
    Node::leaf(&emsg.encode())
}

static SEEDS: &[Seed] = &[
    // The body as boxes.
    seed(
        &rules::BODY_START,
        |b| b.0 = vec![Node::new(b"junk", &[1, 2, 3], vec![])],
        whole_body,
    ),
    seed(&rules::BODY_CUT, nothing, |b| b.at("mdat[1]")).cut(1),
    seed(
        &rules::BOX_TYPE,
        |b| b.0.push(Node::new(&[0, 1, 2, 3], &[], vec![])),
        |b| (String::new(), b.len() - 8),
    ),
    seed(
        &rules::BOX_SIZE,
        |b| b.get(TRAF).child("tfdt").size = Some(4),
        |b| b.at("moof[1] > traf > tfdt"),
    ),
    seed(
        &rules::BOX_OPEN,
        |b| b.get(TRAF).child("tfdt").size = Some(0),
        |b| b.at("moof[1] > traf > tfdt"),
    ),
    seed(
        &rules::BOX_PAST_PARENT,
        |b| b.get(TRAF).child("trun").size = Some(999),
        |b| b.at("moof[1] > traf > trun"),
    ),
    seed(
        &rules::BOX_DEPTH,
        |b| {
            let mut deep = Node::parent(b"traf", vec![]);
            for _ in 0..limits::DEPTH {
                deep = Node::parent(b"traf", vec![deep]);
            }
            b.get("moof[1]").children.insert(0, deep);
        },
        |b| {
            // The last path that can be told has the greatest depth, and what is in its box is too deep.
            let path = ["moof"]
                .into_iter()
                .chain(std::iter::repeat_n("traf", limits::DEPTH - 1));
            let path: Vec<_> = path.collect();
            (
                path.join(" > "),
                b.at("moof[1]").1 + 8 * limits::DEPTH as u64,
            )
        },
    ),
    seed(
        &rules::BOX_NUMBER,
        |b| {
            let many = vec![Node::parent(b"free", vec![]); limits::BOXES];
            b.get("moof[1]").children.splice(0..0, many);
        },
        // The moof counts, too.
        |b| within(b, "moof[1] > free", 8 * (limits::BOXES as u64 - 1)),
    ),
    seed(
        &rules::BOX_LONG,
        |b| b.get("moof[1]").size = Some(5 << 20),
        |b| b.at("moof[1]"),
    ),
    seed(
        &rules::BOX_COUNT,
        |b| {
            b.get("moov > trak > mdia > minf > dinf > dref")
                .set(4, &[0, 0, 0, 99])
        },
        |b| within(b, "moov > trak > mdia > minf > dinf > dref", 8 + 4),
    ),
    seed(
        &rules::BOX_SHORT,
        |b| {
            b.get("moov > trak > mdia")
                .children
                .insert(2, Node::new(b"elng", &[0, 0], vec![]))
        },
        // The version is there, the flags are not.
        |b| within(b, "moov > trak > mdia > elng", 8 + 1),
    ),
    seed(
        &rules::BOX_VERSION,
        |b| b.get(TRAF).child("tfdt").set(0, &[9]),
        |b| within(b, "moof[1] > traf > tfdt", 8),
    ),
    seed(
        &rules::BOX_MISSING,
        |b| drop(b.get("moof[1]").remove("mfhd")),
        |b| b.at("moof[1]"),
    ),
    seed(
        &rules::BOX_VALUE,
        |b| b.get(STSD).set(4, &[0, 0, 0, 2]),
        |b| b.at(STSD),
    ),
    // The file level.
    seed(
        &rules::FTYP_FIRST,
        |b| b.0.push(video().remove("moov")),
        |b| b.at("moov"),
    )
    .body(segment)
    .context(|| Context {
        kind: Kind::Track,
        ..of_track()
    }),
    seed(
        &rules::FTYP_ONCE,
        |b| b.insert_before("moov", video().remove("ftyp")),
        |b| b.at("ftyp[1]"),
    ),
    seed(
        &rules::MOOV_ONCE,
        |b| b.0.extend(video().0.into_iter().take(2)),
        |b| b.at("moov[1]"),
    ),
    seed(&rules::MOOV_MISSING, |b| b.0.truncate(1), whole_body).context(|| Context {
        kind: Kind::Header,
        ..Context::default()
    }),
    seed(&rules::HEADER_ONLY, first_fragment_only, |b| b.at("moof")).context(|| Context {
        kind: Kind::Header,
        ..Context::default()
    }),
    seed(
        &rules::META_AT_FILE_LEVEL,
        |b| b.0.push(Node::leaf(&full(b"meta", 0, 0, &[]))),
        |b| b.at("meta"),
    ),
    // The header.
    seed(
        &rules::BRAND,
        |b| *b.get("ftyp") = brands(b"ftyp", b"iso6", 0, &[b"iso6"]),
        |b| b.at("ftyp"),
    ),
    seed(
        &rules::BRAND_MINOR,
        |b| *b.get("ftyp") = brands(b"ftyp", b"cmfc", 1, &[b"iso6"]),
        |b| b.at("ftyp"),
    ),
    seed(
        &rules::MVHD_FIRST,
        |b| {
            let mvhd = b.get("moov").remove("mvhd");
            b.get("moov").children.push(mvhd);
        },
        |b| b.at("moov"),
    ),
    seed(
        &rules::ONE_TRACK,
        |b| {
            let mut trak = b.get("moov > trak").clone();
            *trak.child("tkhd") = Node::leaf(&tkhd(2, true).encode());
            b.get("moov").children.insert(2, trak);
            b.get("moov > mvex").children.push(trex(2));
        },
        |b| b.at("moov"),
    ),
    seed(
        &rules::MVEX_MISSING,
        |b| {
            b.0.truncate(2);
            b.get("moov").remove("mvex");
        },
        |b| b.at("moov"),
    ),
    seed(
        &rules::HEADER_ORDER,
        |b| b.get("moov").children.swap(1, 2),
        |b| b.at("moov > trak"),
    ),
    seed(
        &rules::HEADER_REPEATED,
        |b| {
            let minf = b.get("moov > trak > mdia > minf");
            let again = minf.child("vmhd").clone();
            minf.children.insert(1, again);
        },
        |b| b.at("moov > trak > mdia > minf > vmhd[1]"),
    ),
    seed(
        &rules::HEADER_REPEATED,
        |b| {
            b.get("moov")
                .children
                .insert(1, Node::leaf(&mvhd().encode()))
        },
        |b| b.at("moov > mvhd[1]"),
    ),
    seed(
        &rules::TABLE_MISSING,
        |b| drop(b.get(STBL).remove("stsc")),
        |b| b.at(STBL),
    ),
    seed(
        &rules::TABLE_EMPTY,
        |b| {
            *b.get(STBL).child("stts") = Node::leaf(
                &Stts {
                    runs: vec![(1, TICKS)],
                }
                .encode(),
            )
        },
        |b| b.at("moov > trak > mdia > minf > stbl > stts"),
    ),
    seed(
        &rules::MVHD_DEFAULTS,
        |b| {
            *b.get("moov > mvhd") = Node::leaf(
                &crate::isobmff::boxes::Mvhd {
                    volume: 0,
                    ..mvhd()
                }
                .encode(),
            )
        },
        |b| b.at("moov > mvhd"),
    ),
    seed(
        &rules::TKHD_DURATION,
        |b| {
            *b.get("moov > trak > tkhd") = Node::leaf(
                &crate::isobmff::boxes::Tkhd {
                    duration: 5,
                    ..tkhd(1, true)
                }
                .encode(),
            )
        },
        |b| b.at("moov > trak > tkhd"),
    ),
    seed(
        &rules::TKHD_SIZE,
        |b| *b.get("moov > trak > tkhd") = Node::leaf(&tkhd(1, false).encode()),
        |b| b.at("moov > trak > tkhd"),
    ),
    seed(
        &rules::TRACK_ID,
        |b| {
            *b.get("moov > trak > tkhd") = Node::leaf(&tkhd(0, true).encode());
            *b.get("moov > mvex > trex") = trex(0);
            for (moof, time) in [("moof[0]", 0), ("moof[1]", u64::from(2 * TICKS))] {
                replace_tfhd(
                    b,
                    moof,
                    &Tfhd {
                        track_id: 0,
                        ..tfhd()
                    },
                );
                *b.get(&moof.replace("moof", "prft")) = prft(0, time);
            }
        },
        |b| b.at("moov > trak > tkhd"),
    ),
    // Version and flags, two times, timescale.
    seed(
        &rules::TIMESCALE,
        |b| b.get("moov > trak > mdia > mdhd").set(12, &[0; 4]),
        |b| b.at("moov > trak > mdia > mdhd"),
    ),
    seed(
        &rules::TIMESCALE,
        |b| b.get("moov > mvhd").set(12, &[0; 4]),
        |b| b.at("moov > mvhd"),
    ),
    // And the duration.
    seed(
        &rules::LANGUAGE,
        |b| b.get("moov > trak > mdia > mdhd").set(20, &[0; 2]),
        |b| b.at("moov > trak > mdia > mdhd"),
    ),
    seed(
        &rules::LANGUAGE,
        |b| {
            let elng = Elng {
                language: "de CH".to_owned(),
            };
            b.get("moov > trak > mdia")
                .children
                .insert(2, Node::leaf(&elng.encode()));
        },
        |b| b.at("moov > trak > mdia > elng"),
    ),
    seed(
        &rules::MEDIA_HEADER,
        |b| *b.get("moov > trak > mdia > minf > vmhd") = Node::leaf(&full(b"nmhd", 0, 0, &[])),
        |b| b.at("moov > trak > mdia > minf"),
    ),
    seed(
        &rules::MEDIA_HEADER_DEFAULTS,
        |b| {
            let vmhd = Vmhd {
                flags: 1,
                graphics_mode: 1,
                op_color: [0; 3],
            };
            *b.get("moov > trak > mdia > minf > vmhd") = Node::leaf(&vmhd.encode());
        },
        |b| b.at("moov > trak > mdia > minf > vmhd"),
    ),
    seed(
        &rules::DREF,
        |b| {
            b.get("moov > trak > mdia > minf > dinf > dref")
                .child("url ")
                .set(3, &[0])
        },
        |b| b.at("moov > trak > mdia > minf > dinf > dref"),
    ),
    seed(
        &rules::DREF,
        |b| drop(b.get("moov > trak > mdia > minf").remove("dinf")),
        |b| b.at("moov > trak > mdia > minf"),
    ),
    seed(
        &rules::STSD_VERSION,
        |b| b.get(STSD).set(0, &[1]),
        |b| b.at(STSD),
    ),
    seed(
        &rules::STSD_EMPTY,
        |b| *b.get(STSD) = Node::leaf(&full(b"stsd", 0, 0, &[0; 4])),
        |b| b.at(STSD),
    ),
    seed(
        &rules::CONFIGURATION_MISSING,
        |b| drop(b.get(AVC1).remove("avcC")),
        |b| b.at(AVC1),
    ),
    seed(
        &rules::CONFIGURATION,
        // One SPS of nine bytes, of which none is there.
        |b| {
            *b.get(AVC1).child("avcC") =
                Node::new(b"avcC", &[1, 66, 0xc0, 13, 0xff, 0xe1, 0, 9], vec![])
        },
        |b| {
            within(
                b,
                "moov > trak > mdia > minf > stbl > stsd > avc1 > avcC",
                8 + 8,
            )
        },
    ),
    seed(
        &rules::PARAMETER_SETS,
        |b| *b.get(AVC1).child("avcC") = avcc(&[], &[]),
        |b| b.at(AVC1),
    ),
    seed(
        &rules::SAMPLE_ENTRY_BOX,
        |b| b.get(AVC1).children.push(Node::new(b"pasp", &[], vec![])),
        |b| {
            within(
                b,
                "moov > trak > mdia > minf > stbl > stsd > avc1 > pasp",
                8,
            )
        },
    ),
    seed(
        &rules::ESDS_ID,
        // Version and flags, tag and length, then the id.
        |b| b.get(STSD).child("mp4a").child("esds").set(6, &[0, 1]),
        |b| b.at("moov > trak > mdia > minf > stbl > stsd > mp4a"),
    )
    .body(audio),
    seed(
        &rules::EDIT_LIST,
        |b| {
            let edit = Edit {
                segment_duration: 0,
                media_time: 0,
                rate: 2,
            };
            b.get("moov > trak").children.insert(1, edit_list(edit));
        },
        |b| b.at("moov > trak > edts > elst"),
    ),
    seed(
        &rules::EDIT_LIST,
        |b| {
            b.get("moov > trak")
                .children
                .insert(1, Node::parent(b"edts", vec![]))
        },
        |b| b.at("moov > trak > edts"),
    ),
    seed(
        &rules::EDIT_LIST_CMF2,
        |b| {
            cmf2(b);
            let edit = Edit {
                segment_duration: 0,
                media_time: 512,
                rate: 1,
            };
            b.get("moov > trak").children.insert(1, edit_list(edit));
        },
        |b| b.at("moov > trak > edts > elst"),
    ),
    seed(
        &rules::TREX_MISSING,
        |b| *b.get("moov > mvex > trex") = trex(9),
        |b| b.at("moov > mvex"),
    ),
    seed(
        &rules::MEHD,
        |b| {
            b.get("moov > mvex").children.insert(
                0,
                Node::leaf(
                    &Mehd {
                        fragment_duration: 0,
                    }
                    .encode(),
                ),
            )
        },
        |b| b.at("moov > mvex > mehd"),
    ),
    seed(
        &rules::KIND,
        |b| {
            let kind = Role {
                scheme: String::new(),
                value: "main".to_owned(),
            };
            let udta = Node::parent(b"udta", vec![Node::leaf(&kind.encode())]);
            b.get("moov > trak").children.push(udta);
        },
        |b| b.at("moov > trak > udta > kind"),
    ),
    seed(
        &rules::PROTECTION,
        |b| drop(b.get(ENCV).child("sinf").remove("schm")),
        |b| b.at(ENCV),
    )
    .body(encrypted),
    seed(
        &rules::PROTECTION,
        |b| drop(b.get(ENCV).child("sinf").remove("frma")),
        |b| b.at("moov > trak > mdia > minf > stbl > stsd > encv > sinf"),
    )
    .body(encrypted),
    seed(
        &rules::SCHEME,
        |b| b.get(ENCV).child("sinf").child("schm").set(4, b"what"),
        |b| b.at(ENCV),
    )
    .body(encrypted),
    seed(
        &rules::TENC,
        |b| {
            b.get(ENCV)
                .child("sinf")
                .child("schi")
                .child("tenc")
                .set(8, &[0; 16])
        },
        |b| b.at(ENCV),
    )
    .body(encrypted),
    seed(
        &rules::BIT_RATE,
        |b| drop(b.get(AVC1).remove("btrt")),
        |b| b.at(AVC1),
    ),
    seed(&rules::ENCRYPTED, nothing, |b| b.at(ENCV)).body(encrypted),
    seed(
        &rules::MATTER_CODEC,
        |b| {
            let entry = b.get(AVC1);
            entry.kind = *b"vp09";
            *entry.child("avcC") = Node::leaf(&full(b"vpcC", 1, 0, &[0, 10, 0x82, 2, 2, 2, 0, 0]));
        },
        |b| b.at("moov > trak > mdia > minf > stbl > stsd > vp09"),
    ),
    seed(&rules::MATTER_METADATA, nothing, |b| {
        b.at("moov > trak > mdia > minf > stbl > stsd > urim")
    })
    .body(|| metadata("urn:other")),
    seed(
        &rules::HEADER_CHANGED,
        |b| {
            b.get("moov > trak > mdia > mdhd")
                .set(12, &25_600u32.to_be_bytes())
        },
        |b| b.at("moov"),
    )
    .context(|| Context {
        kind: Kind::Track,
        ..of_track()
    }),
    // Segments, fragments and chunks.
    seed(&rules::HEADER_KNOWN, nothing, |b| b.at("moof"))
        .body(segment)
        .context(|| Context {
            kind: Kind::Segment,
            ..Context::default()
        }),
    seed(
        &rules::MDAT_AFTER_MOOF,
        |b| b.insert_before("mdat[1]", Node::parent(b"free", vec![])),
        |b| b.at("mdat[1]"),
    ),
    seed(
        &rules::MDAT_WITHOUT_MOOF,
        |b| b.0.push(Node::new(b"mdat", &[1], vec![])),
        |b| b.at("mdat[2]"),
    ),
    seed(
        &rules::MOOF_WITHOUT_MDAT,
        |b| drop(b.remove("mdat[1]")),
        |b| b.at("moof[1]"),
    ),
    seed(
        &rules::SEGMENT_ORDER,
        |b| {
            let styp = b.remove("styp");
            b.insert_before("moof", styp);
        },
        |b| b.at("styp"),
    ),
    seed(
        &rules::BOX_UNUSED,
        |b| b.0.push(brands(b"styp", b"cmfs", 0, &[])),
        |b| b.at("styp[1]"),
    ),
    seed(
        &rules::SEGMENT_INDEX,
        |b| b.insert_before("prft[1]", Node::new(b"sidx", &[0; 24], vec![])),
        |b| b.at("sidx"),
    ),
    seed(
        &rules::EVENT,
        // A scheme that does not end.
        |b| {
            b.insert_before(
                "moof[1]",
                Node::leaf(&full(b"emsg", 0, 0, b"urn:x and so on, without end")),
            )
        },
        |b| within(b, "emsg", 8 + 4),
    ),
    seed(
        &rules::EVENT_TIMESCALE,
        |b| b.insert_before("moof[1]", events(1000)),
        |b| b.at("emsg"),
    ),
    seed(
        &rules::MFHD_FIRST,
        |b| b.get("moof[1]").children.swap(0, 1),
        |b| b.at("moof[1]"),
    ),
    seed(
        &rules::MFHD_FIRST,
        |b| b.get(TRAF).children.swap(0, 1),
        |b| b.at(TRAF),
    ),
    seed(
        &rules::ONE_TRAF,
        |b| {
            let traf = b.get(TRAF).clone();
            b.get("moof[1]").children.push(traf);
            let mdat = b.get("mdat[1]");
            let again = mdat.fields.clone();
            mdat.fields.extend(again);
        },
        |b| b.at("moof[1]"),
    ),
    seed(
        &rules::TFHD_TRACK,
        |b| {
            replace_tfhd(
                b,
                "moof[1]",
                &Tfhd {
                    track_id: 7,
                    ..tfhd()
                },
            );
            *b.get("prft[1]") = prft(7, u64::from(2 * TICKS));
        },
        |b| b.at("moof[1] > traf > tfhd"),
    ),
    seed(
        &rules::TFHD_BASE,
        |b| {
            replace_tfhd(
                b,
                "moof[1]",
                &Tfhd {
                    base_data_offset: Some(0),
                    ..tfhd()
                },
            )
        },
        |b| b.at("moof[1] > traf > tfhd"),
    ),
    seed(
        &rules::TFHD_BASE_IS_MOOF,
        |b| replace_tfhd(b, "moof[1]", &Tfhd { flags: 0, ..tfhd() }),
        |b| b.at("moof[1] > traf > tfhd"),
    ),
    seed(
        &rules::SAMPLE_DESCRIPTION,
        |b| {
            replace_tfhd(
                b,
                "moof[1]",
                &Tfhd {
                    sample_description_index: Some(2),
                    ..tfhd()
                },
            )
        },
        |b| b.at("moof[1] > traf > tfhd"),
    ),
    seed(
        &rules::TFDT_MISSING,
        |b| drop(b.get(TRAF).remove("tfdt")),
        |b| b.at(TRAF),
    ),
    seed(
        &rules::TFDT_ONCE,
        |b| {
            let again = b.get(TRAF).child("tfdt").clone();
            b.get(TRAF).children.insert(1, again);
        },
        |b| b.at("moof[1] > traf > tfdt[1]"),
    ),
    seed(
        &rules::TFDT_RANGE,
        |b| {
            first_fragment_only(b);
            *b.get("prft") = prft(1, u64::MAX);
            *b.get("moof > traf > tfdt") = tfdt(u64::MAX);
        },
        |b| b.at("moof > traf > tfdt"),
    ),
    seed(
        &rules::TRUN_MISSING,
        |b| {
            replace_trun(
                b,
                "moof[1]",
                &Trun {
                    sample_count: 0,
                    sizes: vec![],
                    ..trun()
                },
            );
            b.get("mdat[1]").fields.clear();
        },
        |b| b.at(TRAF),
    ),
    seed(
        &rules::TRUN_OFFSET,
        |b| {
            replace_trun(
                b,
                "moof[1]",
                &Trun {
                    data_offset: None,
                    ..trun()
                },
            )
        },
        |b| b.at("moof[1] > traf > trun"),
    ),
    seed(
        &rules::TRUN_OUTSIDE,
        |b| {
            let trun = b.get(TRAF).child("trun");
            trun.fields[11] += 1;
        },
        |b| b.at("moof[1] > traf > trun"),
    )
    .unsettled(),
    seed(
        &rules::MDAT_UNUSED,
        |b| b.get("mdat[1]").fields.push(0),
        |b| b.at("mdat[1]"),
    ),
    seed(
        &rules::SAMPLE_DURATION,
        |b| {
            replace_tfhd(
                b,
                "moof[1]",
                &Tfhd {
                    default_sample_duration: Some(0),
                    ..tfhd()
                },
            )
        },
        |b| b.at("moof[1] > traf > trun"),
    ),
    seed(
        &rules::SYNC,
        |b| {
            replace_trun(
                b,
                "moof",
                &Trun {
                    first_sample_flags: None,
                    ..trun()
                },
            )
        },
        |b| b.at("moof > traf"),
    )
    .body(segment)
    .context(of_track),
    seed(
        &rules::SYNC,
        |b| {
            replace_trun(
                b,
                "moof",
                &Trun {
                    first_sample_flags: None,
                    ..trun()
                },
            )
        },
        |b| b.at("moof > traf"),
    ),
    seed(
        &rules::COMPOSITION,
        |b| {
            replace_trun(
                b,
                "moof[1]",
                &Trun {
                    composition_offsets: vec![512, 512],
                    ..trun()
                },
            )
        },
        |b| b.at("moof[1] > traf > trun"),
    ),
    seed(
        &rules::CMF2_RUN,
        |b| {
            cmf2(b);
            replace_trun(
                b,
                "moof[1]",
                &Trun {
                    version: 0,
                    ..trun()
                },
            );
        },
        |b| b.at("moof[1] > traf > trun"),
    ),
    seed(
        &rules::SAIZ_SAIO,
        |b| {
            for name in ["saiz", "saio", "senc"] {
                b.get(TRAF).remove(name);
            }
        },
        |b| b.at(TRAF),
    )
    .body(encrypted),
    seed(
        &rules::SAIO_ENTRIES,
        |b| {
            *b.get(TRAF).child("saio") =
                Node::leaf(&full(b"saio", 0, 0, &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]))
        },
        |b| b.at("moof[1] > traf > saio"),
    )
    .body(encrypted),
    seed(
        &rules::SAIO_OFFSET,
        |b| b.get(TRAF).child("saio").fields[11] += 1,
        |b| b.at("moof[1] > traf > saio"),
    )
    .body(encrypted)
    .unsettled(),
    // Version and flags, the size of all, their number.
    seed(
        &rules::SAIZ_COUNT,
        |b| b.get(TRAF).child("saiz").set(5, &[0, 0, 0, 3]),
        |b| b.at("moof[1] > traf > saiz"),
    )
    .body(encrypted),
    seed(
        &rules::SENC_COUNT,
        |b| b.get(TRAF).child("senc").set(4, &[0, 0, 0, 1]),
        |b| b.at("moof[1] > traf > senc"),
    )
    .body(encrypted),
    seed(
        &rules::SAIZ_SIZE,
        |b| b.get(TRAF).child("saiz").set(4, &[15]),
        |b| b.at("moof[1] > traf > senc"),
    )
    .body(encrypted),
    seed(
        &rules::PRFT_MISSING,
        |b| drop(b.remove("prft")),
        |b| b.at("moof"),
    ),
    seed(
        &rules::PRFT_TRACK,
        |b| *b.get("prft[1]") = prft(9, u64::from(2 * TICKS)),
        |b| b.at("prft[1]"),
    ),
    seed(
        &rules::PRFT_TIME,
        |b| *b.get("prft[1]") = prft(1, 0),
        |b| b.at("prft[1]"),
    ),
    seed(
        &rules::SEGMENT_LAST,
        |b| *b.get("styp") = brands(b"styp", b"cmfs", 0, &[b"lmsg"]),
        |b| b.at("styp"),
    ),
    seed(
        &rules::SEGMENT_FILLER,
        |b| *b.get("styp") = brands(b"styp", b"cmfs", 0, &[b"slat"]),
        |b| b.at("styp"),
    ),
    seed(
        &rules::SEGMENT_BRAND,
        |b| *b.get("styp") = brands(b"styp", b"iso6", 0, &[b"iso6"]),
        |b| b.at("styp"),
    ),
    seed(
        &rules::MFRA,
        |b| b.0.push(Node::leaf(&boxed(b"mfra", &[]))),
        |b| b.at("mfra"),
    ),
    // From one fragment to the next.
    seed(
        &rules::DECODE_GAP,
        |b| {
            *b.get(TRAF).child("tfdt") = tfdt(u64::from(2 * TICKS + 1));
            *b.get("prft[1]") = prft(1, u64::from(2 * TICKS + 1));
        },
        |b| b.at("moof[1] > traf > tfdt"),
    ),
    seed(
        &rules::DECODE_OVERLAP,
        |b| {
            *b.get(TRAF).child("tfdt") = tfdt(u64::from(2 * TICKS - 1));
            *b.get("prft[1]") = prft(1, u64::from(2 * TICKS - 1));
        },
        |b| b.at("moof[1] > traf > tfdt"),
    ),
    seed(&rules::DECODE_BACKWARD, nothing, |b| {
        b.at("moof > traf > tfdt")
    })
    .body(segment)
    .context(|| {
        let previous = FragmentEnd {
            track_id: 1,
            decode_time: Ticks(5000),
            end: Ticks(6024),
            sequence_number: Some(0),
        };
        Context {
            previous: Some(previous),
            ..of_track()
        }
    }),
    seed(
        &rules::SEQUENCE_ORDER,
        |b| *b.get("moof[1]").child("mfhd") = mfhd(1),
        |b| b.at("moof[1] > mfhd"),
    ),
    seed(
        &rules::SEQUENCE_GAP,
        |b| *b.get("moof[1]").child("mfhd") = mfhd(4),
        |b| b.at("moof[1] > mfhd"),
    ),
    // Two fragments of two samples: 2048 of 12,800 ticks are 160 ms.
    seed(&rules::DURATION, nothing, whole_body)
        .body(segment)
        .context(|| Context {
            expected: Some(Expected::Exactly(Duration::from_millis(200))),
            ..of_track()
        }),
    seed(&rules::DURATION, nothing, whole_body)
        .body(segment)
        .context(|| Context {
            expected: Some(Expected::About(Duration::from_millis(100))),
            ..of_track()
        }),
    seed(
        &rules::MATTER_DURATION,
        |b| {
            first_fragment_only(b);
            // Two samples of 33 seconds.
            replace_tfhd(
                b,
                "moof",
                &Tfhd {
                    default_sample_duration: Some(33 * 12_800),
                    ..tfhd()
                },
            );
        },
        whole_body,
    )
    .body(segment)
    .context(of_track),
];

/// What is found, but for what the media are told without any fault.
fn found(seed: &Seed) -> (Body, Vec<Finding>) {
    let mut body = (seed.body)();
    (seed.sow)(&mut body);
    if seed.settled {
        body.settle();
    }
    let bytes = body.bytes();
    let (findings, _) = judge((seed.context)(), &bytes[..bytes.len() - seed.cut]);
    let told =
        |found: &Finding| found.rule.id != rules::ENCRYPTED.id || seed.rule.id == found.rule.id;
    (body, findings.into_vec().into_iter().filter(told).collect())
}

#[test]
fn good_media_break_no_rule() {
    for body in [video(), audio(), metadata("urn:csa:matter:av-metadata")] {
        let (findings, _) = judge(track(), &body.bytes());
        assert!(findings.is_empty(), "{findings:#?}");
    }
    let (findings, _) = judge(track(), &encrypted().bytes());
    let told: Vec<_> = findings.iter().map(|found| found.rule.id).collect();
    assert_eq!(told, ["encrypted"]);
    let expected = Expected::Exactly(Duration::from_millis(160));
    let context = Context {
        expected: Some(expected),
        ..of_track()
    };
    let (findings, _) = judge(context, &segment().bytes());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_fault_breaks_the_rule_it_is_named_by_and_no_other() {
    for seed in SEEDS {
        let (body, found) = found(seed);
        let (path, offset) = (seed.at)(&body);
        let [finding] = found.as_slice() else {
            panic!("{}: {found:#?}", seed.rule.id);
        };
        assert_eq!(finding.rule.id, seed.rule.id, "{finding:#?}");
        assert_eq!(
            finding.box_path.as_deref().unwrap_or_default(),
            path,
            "{}",
            seed.rule.id
        );
        assert_eq!(finding.offset, Some(offset), "{finding:#?}");
        assert_eq!(finding.count, 1, "{finding:#?}");
    }
}

#[test]
fn every_rule_has_a_fault_that_breaks_it() {
    let sown: BTreeSet<_> = SEEDS.iter().map(|seed| seed.rule.id).collect();
    let written: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(sown, written);
    assert_eq!(written.len(), RULES.len(), "an id is given twice");
}

#[test]
fn rules_are_written_alike() {
    for rule in RULES {
        let mut letters = rule.id.chars();
        assert!(
            letters.all(|letter| letter.is_ascii_lowercase()
                || letter.is_ascii_digit()
                || letter == '-')
        );
        assert!(!rule.sentence.ends_with('.'), "{}", rule.id);
        assert!(
            Profile::ALL
                .iter()
                .any(|profile| rule.severity(*profile).is_some()),
            "{}",
            rule.id
        );
    }
}

#[test]
fn a_fragment_that_is_sent_again_is_not_judged_twice() {
    let mut body = video();
    let again: Vec<_> = body.0.iter().skip(6).cloned().collect();
    body.0.extend(again);
    body.settle();
    let (findings, _) = judge(track(), &body.bytes());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_rule_is_told_once_and_counted() {
    let mut body = video();
    for moof in ["moof[0]", "moof[1]"] {
        replace_tfhd(&mut body, moof, &Tfhd { flags: 0, ..tfhd() });
    }
    body.settle();
    let (findings, _) = judge(track(), &body.bytes());
    let [finding] = &findings.into_vec()[..] else {
        panic!()
    };
    assert_eq!(finding.count, 2);
    assert_eq!(finding.offset, Some(body.at("moof > traf > tfhd").1));
}

#[test]
fn what_is_no_media_by_its_name_may_be_anything() {
    let (findings, _) = judge(Context::default(), b"<MPD/> and nothing else");
    assert!(findings.is_empty());
    let (findings, _) = judge(track(), b"<MP");
    assert_eq!(findings.iter().next().unwrap().rule.id, "body-cut");
    let (findings, _) = judge(track(), b"");
    assert!(findings.is_empty());
}
