//! The report, field by field as ffprobe names and writes them.

use serde::Serialize;

use super::stream;
use super::walk::Facts;

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// One per track.
    pub streams: Vec<StreamReport>,
    /// The object.
    pub format: Format,
}

/// One track. Numbers that ffprobe writes as text are text here too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct StreamReport {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    pub codec_type: &'static str,
    pub codec_tag_string: String,
    pub codec_tag: String,
    /// Ours: the parameter of that name in manifests and media types.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub codecs: String,
    /// Ours: how the samples are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    #[serde(flatten)]
    pub video: Option<VideoReport>,
    #[serde(flatten)]
    pub audio: Option<AudioReport>,
    pub id: String,
    pub r_frame_rate: String,
    pub avg_frame_rate: String,
    pub time_base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_pts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    pub duration_ts: u64,
    pub duration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_rate: Option<String>,
    pub nb_frames: String,
    pub disposition: Disposition,
    pub tags: StreamTags,
}

/// How the samples of a track are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Encryption {
    /// `cenc`, `cbcs`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The key's id, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// What only video has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct VideoReport {
    pub width: u32,
    pub height: u32,
    pub coded_width: u32,
    pub coded_height: u32,
    pub has_b_frames: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_aspect_ratio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_aspect_ratio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pix_fmt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_range: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_space: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_transfer: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_primaries: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chroma_location: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_order: Option<&'static str>,
}

/// What only audio has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct AudioReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_fmt: Option<&'static str>,
    pub sample_rate: String,
    pub channels: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_layout: Option<&'static str>,
    pub bits_per_sample: u32,
}

/// What a track is for; 1 where it applies. Only `default` is ever set: it says that the track is
/// enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct Disposition {
    pub default: u8,
    pub dub: u8,
    pub original: u8,
    pub comment: u8,
    pub lyrics: u8,
    pub karaoke: u8,
    pub forced: u8,
    pub hearing_impaired: u8,
    pub visual_impaired: u8,
    pub clean_effects: u8,
    pub attached_pic: u8,
    pub timed_thumbnails: u8,
    pub captions: u8,
    pub descriptions: u8,
    pub metadata: u8,
    pub dependent: u8,
    pub still_image: u8,
}

/// Words about a track.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct StreamTags {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handler_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encoder: String,
}

/// The object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct Format {
    pub filename: String,
    pub nb_streams: usize,
    pub nb_programs: usize,
    pub format_name: &'static str,
    pub format_long_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    pub size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_rate: Option<String>,
    pub probe_score: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<FormatTags>,
}

/// Words about the object: its brands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields are those of ffprobe, under its names"
)]
pub struct FormatTags {
    pub major_brand: String,
    pub minor_version: String,
    pub compatible_brands: String,
}

pub(super) fn report(facts: &Facts, size: u64, name: &str) -> Report {
    let mut streams = Vec::new();
    // The longest track and the earliest start make the object's, in microseconds.
    let mut duration = 0;
    let mut start = None;
    for (index, (track, sums)) in facts.tracks.iter().enumerate() {
        let timescale = track.timescale;
        streams.push(stream::report(index, track, sums, facts.movie_timescale));
        duration = duration.max(micros(i128::from(sums.duration), timescale));
        let starts = stream::start_pts(track, sums, facts.movie_timescale);
        let starts = starts.map(|pts| micros(i128::from(pts), timescale));
        start = start.min(starts).or(start).or(starts);
    }
    Report {
        format: Format {
            filename: name.to_owned(),
            nb_streams: streams.len(),
            nb_programs: 0,
            format_name: "mov,mp4,m4a,3gp,3g2,mj2",
            format_long_name: "QuickTime / MOV",
            start_time: start.map(seconds),
            duration: (duration > 0).then(|| seconds(duration)),
            size: size.to_string(),
            bit_rate: bit_rate(size, u64::try_from(duration).unwrap_or(0), 1_000_000),
            probe_score: 100,
            tags: facts.brands.as_ref().map(|brands| FormatTags {
                major_brand: brands.major_brand.to_string(),
                minor_version: brands.minor_version.to_string(),
                compatible_brands: brands
                    .compatible_brands
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            }),
        },
        streams,
    }
}

/// Ticks in microseconds, to the nearest.
pub(super) fn micros(ticks: i128, timescale: u32) -> i128 {
    let scale = i128::from(timescale.max(1));
    (ticks * 1_000_000 + scale / 2).div_euclid(scale)
}

/// Microseconds in seconds with six decimals.
pub(super) fn seconds(micros: i128) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Bits per second of `bytes` that last `ticks`.
pub(super) fn bit_rate(bytes: u64, ticks: u64, timescale: u32) -> Option<String> {
    let bits = u128::from(bytes) * 8 * u128::from(timescale);
    bits.checked_div(u128::from(ticks))
        .map(|rate| rate.to_string())
}
