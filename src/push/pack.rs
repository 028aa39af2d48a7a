//! Samples into the bytes of CMAF: headers and chunks.

use bytes::Bytes;

use super::cut::Chunk;
use super::source::{Shape, Track};
use crate::isobmff::FourCc;
use crate::isobmff::boxes::{
    Edit, Elst, FileType, Hdlr, Mdhd, Mfhd, Moof, Mvhd, Ntp, Prft, Smhd, Tfdt, Tfhd, Tkhd, Traf,
    Trex, Trun, Vmhd,
};
use crate::isobmff::build::{boxed, concat, full};

/// The matrix that changes nothing.
const UNITY: [i32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
/// Every header has one track.
const TRACK_ID: u32 = 1;
/// `prft`: the time is that of capture.
const CAPTURED: u32 = 24;

fn brands(major: &[u8; 4], compatible: &[&[u8; 4]]) -> FileType {
    FileType {
        major_brand: FourCc(*major),
        minor_version: 0,
        compatible_brands: compatible.iter().map(|brand| FourCc(**brand)).collect(),
    }
}

/// The CMAF header of a track.
pub(super) fn header(track: &Track) -> Bytes {
    let ftyp = brands(b"iso6", &[b"iso6", b"cmf2", b"cmfc", b"mp41"]).encode(b"ftyp");
    let mvhd = Mvhd {
        creation_time: 0,
        timescale: track.timescale,
        duration: 0,
        rate: 0x0001_0000,
        volume: 0x0100,
        matrix: UNITY,
        next_track_id: TRACK_ID + 1,
    };
    let trex = Trex {
        track_id: TRACK_ID,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: 0,
    };
    let moov = concat(&[mvhd.encode(), trak(track), boxed(b"mvex", &trex.encode())]);
    concat(&[ftyp, boxed(b"moov", &moov)]).into()
}

fn trak(track: &Track) -> Vec<u8> {
    let (width, height, volume) = match track.shape {
        Shape::Video {
            display: (width, height),
            ..
        } => (width, height, 0),
        Shape::Audio { .. } => (0, 0, 0x0100),
    };
    let tkhd = Tkhd {
        flags: 3,
        creation_time: 0,
        track_id: TRACK_ID,
        duration: 0,
        layer: 0,
        alternate_group: 0,
        volume,
        matrix: UNITY,
        width,
        height,
    };
    let edit = Edit {
        segment_duration: 0,
        media_time: i64::try_from(track.priming).unwrap_or(0),
        rate: 1,
    };
    let edts = match track.priming {
        0 => Vec::new(),
        _ => boxed(b"edts", &Elst { edits: vec![edit] }.encode()),
    };
    boxed(b"trak", &concat(&[tkhd.encode(), edts, mdia(track)]))
}

fn mdia(track: &Track) -> Vec<u8> {
    let (handler, name, media) = match track.shape {
        Shape::Video { .. } => {
            let vmhd = Vmhd {
                flags: 1,
                graphics_mode: 0,
                op_color: [0; 3],
            };
            (b"vide", "VideoHandler", vmhd.encode())
        }
        Shape::Audio { .. } => (b"soun", "SoundHandler", Smhd { balance: 0 }.encode()),
    };
    let mdhd = Mdhd {
        creation_time: 0,
        timescale: track.timescale,
        duration: 0,
        language: track.language.clone(),
    };
    let hdlr = Hdlr {
        handler: FourCc(*handler),
        name: name.to_owned(),
    };
    // One data reference: the media is in this file.
    let dref = full(
        b"dref",
        0,
        0,
        &concat(&[&1u32.to_be_bytes()[..], &full(b"url ", 0, 1, &[])]),
    );
    let stsd = full(
        b"stsd",
        0,
        0,
        &concat(&[&1u32.to_be_bytes()[..], &track.entry]),
    );
    let empty = |kind| full(kind, 0, 0, &[0; 4]);
    let stbl = concat(&[
        stsd,
        empty(b"stts"),
        empty(b"stsc"),
        full(b"stsz", 0, 0, &[0; 8]),
        empty(b"stco"),
    ]);
    let minf = concat(&[media, boxed(b"dinf", &dref), boxed(b"stbl", &stbl)]);
    boxed(
        b"mdia",
        &concat(&[mdhd.encode(), hdlr.encode(), boxed(b"minf", &minf)]),
    )
}

/// What a chunk says besides its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) sequence: u32,
    /// Microseconds since 1970 at which the first sample was captured; without it there is no `prft`.
    pub(super) captured: Option<i64>,
}

/// The bytes of a chunk: `styp`, `prft`, `moof`, `mdat`.
pub(super) fn chunk(chunk: &Chunk, marks: Marks) -> Bytes {
    let mut styp: Vec<&[u8; 4]> = vec![b"cmfl"];
    if chunk.begins {
        styp.splice(0..0, [b"msdh", b"cmfs", b"cmff"]);
    }
    if chunk.last {
        styp.push(b"lmsg");
    }
    let styp = brands(if chunk.begins { b"msdh" } else { b"cmfl" }, &styp).encode(b"styp");
    let prft = marks.captured.map_or_else(Vec::new, |micros| {
        let prft = Prft {
            flags: CAPTURED,
            track_id: TRACK_ID,
            ntp: Ntp::from_unix_micros(micros),
            media_time: chunk.time(),
        };
        prft.encode()
    });
    let moof = moof(chunk, marks.sequence);
    let data = chunk.samples.iter().map(|sample| sample.data.clone());
    let mdat = boxed(b"mdat", &concat(&data.collect::<Vec<_>>()));
    concat(&[styp, prft, moof, mdat]).into()
}

fn moof(chunk: &Chunk, sequence: u32) -> Vec<u8> {
    let samples = &chunk.samples;
    let first = samples.first();
    let duration = first.map(|first| first.duration);
    let has_one_duration = samples
        .iter()
        .all(|sample| Some(sample.duration) == duration);
    // As in most tracks: the first sample is sync, the others are all alike.
    let flags = samples.get(1).or(first).map(|sample| sample.flags);
    let rest_alike = samples
        .iter()
        .skip(1)
        .all(|sample| Some(sample.flags) == flags);
    let first_flags = first
        .map(|first| first.flags)
        .filter(|first| Some(*first) != flags);
    let has_offsets = samples.iter().any(|sample| sample.composition_offset != 0);
    let size =
        |sample: &super::source::Sample| u32::try_from(sample.data.len()).unwrap_or(u32::MAX);
    let all = |field: fn(&super::source::Sample) -> u32| samples.iter().map(field).collect();
    let trun = Trun {
        version: 1,
        flags: 0,
        sample_count: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        data_offset: Some(0),
        first_sample_flags: first_flags.filter(|_| rest_alike),
        durations: if has_one_duration {
            Vec::new()
        } else {
            all(|sample| sample.duration)
        },
        sizes: samples.iter().map(size).collect(),
        sample_flags: if rest_alike {
            Vec::new()
        } else {
            all(|sample| sample.flags)
        },
        composition_offsets: if has_offsets {
            samples
                .iter()
                .map(|sample| sample.composition_offset)
                .collect()
        } else {
            Vec::new()
        },
    };
    let tfhd = Tfhd {
        flags: Tfhd::DEFAULT_BASE_IS_MOOF,
        track_id: TRACK_ID,
        base_data_offset: None,
        sample_description_index: None,
        default_sample_duration: duration.filter(|_| has_one_duration),
        default_sample_size: None,
        default_sample_flags: flags.filter(|_| rest_alike),
    };
    let tfdt = Tfdt {
        version: 1,
        base_media_decode_time: chunk.time(),
    };
    let mut moof = Moof {
        mfhd: Mfhd {
            sequence_number: sequence,
        },
        trafs: vec![Traf {
            tfhd,
            tfdt: Some(tfdt),
            truns: vec![trun],
        }],
    };
    // The data begins behind the header of the mdat; the length of the moof does not depend on it.
    let offset = i32::try_from(moof.encode().len().saturating_add(8)).unwrap_or(i32::MAX);
    for trun in moof.trafs.iter_mut().flat_map(|traf| &mut traf.truns) {
        trun.data_offset = Some(offset);
    }
    moof.encode()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::cmaf::check::{Context, Kind};
    use crate::cmaf::{BodyScanner, TrackHeader};
    use crate::push::cut::{Cutter, Lengths, Pace};
    use crate::push::source::Source;

    /// The rules that a body breaks.
    fn broken(context: Context, body: &[u8]) -> BTreeSet<&'static str> {
        let mut scanner = BodyScanner::checked(context);
        let mut events = Vec::new();
        scanner.push(body, &mut events);
        scanner.finish(&mut events);
        scanner
            .take_findings()
            .iter()
            .map(|finding| finding.rule.id)
            .collect()
    }

    #[tokio::test]
    async fn what_is_built_in_breaks_no_rule() {
        for place in [0, 1] {
            let mut source = Source::synthetic().unwrap();
            let track = source.tracks().remove(place);
            let header = header(&track);
            let context = Context {
                kind: Kind::Header,
                ..Context::default()
            };
            assert_eq!(broken(context, &header), BTreeSet::new(), "{}", track.name);
            let lengths = Lengths {
                timescale: track.timescale,
                segment: Duration::from_secs(2),
                chunk: Some(Duration::from_millis(400)),
                whole: Some(Duration::from_secs(12)),
            };
            let feed = source.play(&[place]).unwrap().remove(0);
            let mut cutter = Cutter::new(feed, Pace::Source, lengths);
            let mut body = header.to_vec();
            let mut sequence = 0;
            while let Some(next) = cutter.next().await.unwrap() {
                sequence += 1;
                body.extend(chunk(
                    &next,
                    Marks {
                        sequence,
                        captured: Some(1_795_000_000_000_000),
                    },
                ));
            }
            let found = broken(
                Context {
                    kind: Kind::Track,
                    ..Context::default()
                },
                &body,
            );
            // What only tells that the last segment is marked is no fault.
            let faults: Vec<_> = found.iter().filter(|id| **id != "segment-last").collect();
            assert!(faults.is_empty(), "{}: {faults:?}", track.name);
            assert!(
                TrackHeader::parse(&header).unwrap().tracks[0]
                    .edits
                    .is_empty()
            );
        }
    }
}
