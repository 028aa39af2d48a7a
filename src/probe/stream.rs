//! One track in ffprobe's words.

use crate::cmaf::Track;
use crate::cmaf::codec::{Chroma, Colour, Picture, codecs};
use crate::isobmff::boxes::{Configuration, SampleEntry, Sinf, Visual};

use super::codec::Codec;
use super::names;
use super::rate;
use super::report::{
    AudioReport, Disposition, Encryption, StreamReport, StreamTags, VideoReport, bit_rate, micros,
    seconds,
};
use super::walk::Sums;

pub(super) fn report(
    index: usize,
    track: &Track,
    sums: &Sums,
    movie_timescale: u32,
) -> StreamReport {
    let none = SampleEntry::default();
    let entry = track.entries.first().unwrap_or(&none);
    let codec = Codec::of(track, entry, &sums.head);
    let start = start_pts(track, sums, movie_timescale);
    let video = entry
        .visual
        .as_ref()
        .map(|visual| video(&codec, entry, visual, track, sums));
    let (r_frame_rate, avg_frame_rate) = match video {
        Some(_) => frame_rates(&codec, track, sums),
        None => ("0/0".to_owned(), "0/0".to_owned()),
    };
    let tag = entry.format();
    StreamReport {
        index,
        codec_name: codec.name,
        profile: codec.profile.clone(),
        codec_type: match (&entry.visual, &entry.audio) {
            (Some(_), _) => "video",
            (None, Some(_)) => "audio",
            (None, None) if codec.name == Some("mov_text") => "subtitle",
            // ffprobe knows no decoder for what subtitles are made of in CMAF.
            (None, None) => "data",
        },
        codec_tag_string: tag.to_string(),
        codec_tag: format!("{:#010x}", u32::from_le_bytes(tag.0)),
        codecs: match track.entries.is_empty() {
            true => String::new(),
            false => codecs(entry),
        },
        encryption: entry.protection.as_ref().map(encryption),
        video,
        audio: audio(&codec, entry),
        id: format!("{:#x}", track.id),
        r_frame_rate,
        avg_frame_rate,
        time_base: format!("1/{}", track.timescale),
        start_pts: start,
        start_time: start.map(|pts| seconds(micros(i128::from(pts), track.timescale))),
        duration_ts: sums.duration,
        duration: seconds(micros(i128::from(sums.duration), track.timescale)),
        bit_rate: bit_rate(sums.size, sums.duration, track.timescale),
        nb_frames: sums.samples.to_string(),
        disposition: Disposition {
            default: u8::from(track.enabled),
            ..Disposition::default()
        },
        tags: StreamTags {
            language: names::language(&track.language),
            handler_name: track.handler_name.clone(),
            encoder: entry
                .visual
                .as_ref()
                .map(|visual| visual.compressor.clone())
                .unwrap_or_default(),
        },
    }
}

fn encryption(sinf: &Sinf) -> Encryption {
    let hex = |bytes: &[u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Encryption {
        scheme: sinf.scheme.map(|(scheme, _)| scheme.to_string()),
        key_id: sinf.tenc.as_ref().map(|tenc| hex(&tenc.key_id)),
    }
}

/// Presentation time of the first sample in ticks, after the edit list.
///
/// As ffprobe has it: where composition offsets are negative, everything is moved up by the lowest
/// of them, and a file with a sample table does not start before its first edit.
pub(super) fn start_pts(track: &Track, sums: &Sums, movie_timescale: u32) -> Option<i64> {
    let first = sums.first?;
    let mut empty = 0i128;
    let mut skipped = 0i128;
    for edit in &track.edits {
        if edit.media_time >= 0 {
            skipped = i128::from(edit.media_time);
            break;
        }
        let ticks = i128::from(edit.segment_duration) * i128::from(track.timescale);
        empty += ticks / i128::from(movie_timescale.max(1));
    }
    let presented =
        i128::from(first.decode_time) + i128::from(first.offset) + i128::from(sums.negative)
            - skipped;
    let presented = if first.in_table {
        presented.max(0)
    } else {
        presented
    };
    i64::try_from(presented + empty).ok()
}

fn video(
    codec: &Codec,
    entry: &SampleEntry,
    visual: &Visual,
    track: &Track,
    sums: &Sums,
) -> VideoReport {
    let stored = (u32::from(visual.width), u32::from(visual.height));
    let picture = codec.picture.as_ref();
    let (width, height) = picture
        .filter(|_| codec.name != Some("vvc"))
        .map_or(stored, |picture| (picture.width, picture.height));
    let (coded_width, coded_height) = match picture {
        Some(picture) if codec.shows_coded_size => (picture.coded_width, picture.coded_height),
        _ => (width, height),
    };
    let pixel_aspect = pixel_aspect(entry, stored, track)
        .or(picture.and_then(|picture| picture.pixel_aspect))
        .filter(|(w, h)| *w > 0 && *h > 0);
    let colour = colour(entry, picture);
    let seen = sums.samples > 0 || codec.read_at_once;
    VideoReport {
        width,
        height,
        coded_width,
        coded_height,
        has_b_frames: picture
            .filter(|_| seen)
            .map_or(0, |picture| match picture.reorder_frames {
                None if codec.name == Some("h264") => reordering(sums),
                told => told.unwrap_or(0),
            }),
        sample_aspect_ratio: pixel_aspect.map(|(w, h)| ratio(u64::from(w), u64::from(h), ':')),
        display_aspect_ratio: pixel_aspect.map(|(w, h)| {
            let across = u64::from(width) * u64::from(w);
            ratio(across, u64::from(height) * u64::from(h), ':')
        }),
        pix_fmt: picture.map(|picture| {
            let chroma = match (picture.chroma, codec.name) {
                // The decoder makes up the colour that is not there.
                (Chroma::Monochrome, Some("h264")) => Chroma::C420,
                (chroma, _) => chroma,
            };
            let jpeg_names = matches!(codec.name, Some("h264" | "hevc"));
            names::pixel_format(chroma, picture.bit_depth, colour, jpeg_names)
        }),
        level: codec.level,
        color_range: colour.full_range.map(|full| if full { "pc" } else { "tv" }),
        color_space: names::matrix(colour.matrix),
        color_transfer: names::transfer(colour.transfer),
        color_primaries: names::primaries(colour.primaries),
        chroma_location: picture.and_then(|picture| match codec.name {
            // What is not said is the left for this decoder.
            Some("hevc") if picture.chroma == Chroma::C420 => {
                names::chroma_location(picture.chroma_location.unwrap_or(0))
            }
            _ => picture.chroma_location.and_then(names::chroma_location),
        }),
        field_order: field_order(entry, picture).or(codec.field_order),
    }
}

/// How many frames are shown after one that is decoded after them: the most among the first samples.
fn reordering(sums: &Sums) -> u32 {
    let mut decode_time = 0;
    let mut shown: Vec<i64> = Vec::new();
    let mut most = 0;
    for (duration, offset) in sums.first_durations.iter().zip(&sums.first_offsets) {
        let time = offset.saturating_add(decode_time);
        most = most.max(shown.iter().filter(|earlier| **earlier > time).count());
        shown.push(time);
        decode_time = decode_time.saturating_add(i64::from(*duration));
    }
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// From the container: `pasp`, or a presentation whose shape is not that of the picture.
fn pixel_aspect(entry: &SampleEntry, stored: (u32, u32), track: &Track) -> Option<(u32, u32)> {
    if let Some(pasp) = entry.pasp {
        return Some((pasp.h_spacing, pasp.v_spacing));
    }
    let shown = track.display_size;
    if shown == stored || shown.0 == 0 || shown.1 == 0 || stored.0 == 0 || stored.1 == 0 {
        return None;
    }
    let across = u64::from(stored.1) * u64::from(shown.0);
    let down = u64::from(stored.0) * u64::from(shown.1);
    let divisor = common_divisor(across, down);
    let short = |n: u64| u32::try_from(n / divisor).ok();
    Some((short(across)?, short(down)?))
}

/// The bitstream counts; what it leaves open comes from `colr`.
fn colour(entry: &SampleEntry, picture: Option<&Picture>) -> Colour {
    let mut colour = picture.map(|picture| picture.colour).unwrap_or_default();
    if let Some(colr) = entry.colr {
        let open = |own: &mut u16, other: u16| {
            if *own == 2 {
                *own = other;
            }
        };
        open(&mut colour.primaries, colr.primaries);
        open(&mut colour.transfer, colr.transfer);
        open(&mut colour.matrix, colr.matrix);
        colour.full_range = colour.full_range.or(colr.full_range);
    }
    colour
}

fn field_order(entry: &SampleEntry, picture: Option<&Picture>) -> Option<&'static str> {
    if let Some(fiel) = entry.fiel {
        return Some(match (fiel.fields, fiel.detail) {
            (1, _) => "progressive",
            (2, 1) => "tt",
            (2, 6) => "bb",
            (2, 9) => "tb",
            (2, 14) => "bt",
            _ => return None,
        });
    }
    picture
        .and_then(|picture| picture.progressive)
        .and_then(|progressive| progressive.then_some("progressive"))
}

fn audio(codec: &Codec, entry: &SampleEntry) -> Option<AudioReport> {
    let fields = entry.audio?;
    let (sample_rate, channels, layout) = match &codec.audio {
        Some(audio) => (audio.sample_rate, audio.channels, audio.layout),
        None => {
            let channels = u32::from(fields.channels);
            (
                fields.sample_rate,
                channels,
                names::default_layout(channels),
            )
        }
    };
    let bits = match &entry.configuration {
        Some(Configuration::Flac(dfla)) => u32::from(dfla.bits_per_sample),
        _ => u32::from(fields.sample_size),
    };
    Some(AudioReport {
        sample_fmt: codec.name.and_then(|name| names::sample_format(name, bits)),
        sample_rate: sample_rate.to_string(),
        channels,
        channel_layout: layout,
        bits_per_sample: 0,
    })
}

/// `r_frame_rate`, the lowest rate that all times are multiples of, and `avg_frame_rate`.
fn frame_rates(codec: &Codec, track: &Track, sums: &Sums) -> (String, String) {
    let timescale = u64::from(track.timescale);
    if sums.duration == 0 {
        let coded = codec
            .picture
            .as_ref()
            .and_then(|picture| picture.frame_rate);
        let (num, den) = match coded.filter(|_| codec.read_at_once) {
            Some((num, den)) => (u64::from(num), u64::from(den)),
            None => (timescale, 1),
        };
        return (ratio(num, den, '/'), "0/0".to_owned());
    }
    let average = ratio(timescale.saturating_mul(sums.samples), sums.duration, '/');
    let base = rate::base(&sums.first_durations, timescale).unwrap_or((timescale, 1));
    (ratio(base.0, base.1, '/'), average)
}

/// `a` to `b` in lowest terms.
fn ratio(a: u64, b: u64, between: char) -> String {
    let divisor = common_divisor(a, b).max(1);
    format!("{}{between}{}", a / divisor, b / divisor)
}

/// Greatest common divisor; the other number where one is 0.
pub(super) fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
