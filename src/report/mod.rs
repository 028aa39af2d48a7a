//! The report on a stream or a directory: its sessions, their tracks with their timelines, and what
//! was found in them, held against each profile.
//!
//! It is data, made in one way whether the media lie in files or were recorded by the server:
//! [`crate::layout`] says which names belong together, [`Builder`] takes in headers, fragments and findings,
//! and [`Report`] is written as JSON, JUnit or text. It reads no file and no catalogue.

pub mod alignment;
mod build;
mod durations;
mod junit;
pub mod manifests;
mod text;

pub use build::{Builder, Fragment, SessionBuilder, TrackBuilder};
pub use durations::Durations;

use serde::{Serialize, Serializer};

use crate::finding::{Profile, Rule, Severity};

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it is about.
    pub name: String,
    /// There is more than was looked at.
    pub truncated: bool,
    /// Over all sessions, one for each profile.
    pub verdicts: Vec<Verdict>,
    /// In the order of their names.
    pub sessions: Vec<Session>,
}

/// What belongs together: a `session_N`, or everything that is in none.
#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// Its directory; empty for what is in none.
    pub name: String,
    /// One for each profile.
    pub verdicts: Vec<Verdict>,
    /// In the order of their names.
    pub manifests: Vec<Manifest>,
    /// In the order of their names.
    pub tracks: Vec<Track>,
    /// By rule; the worst first.
    pub findings: Vec<Group>,
    /// What was found in uploads whose bytes are served no more, or never were: by rule and what became
    /// of the uploads; the worst first. It does not count for the verdicts.
    pub past: Vec<Group>,
}

/// How a session, or all of them, stand up to a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The profile.
    pub profile: Profile,
    /// There is no error.
    pub passed: bool,
    /// How often rules were broken that are errors there.
    pub errors: u64,
    /// How often rules were broken that are warnings there.
    pub warnings: u64,
    /// How often something was worth knowing.
    pub infos: u64,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Its name.
    pub path: String,
    /// Which it is.
    pub kind: ManifestKind,
    /// `type` of an MPD, `EXT-X-PLAYLIST-TYPE` of a playlist, as it is written.
    #[serde(rename = "type")]
    pub presentation_type: Option<String>,
    /// It says that nothing will be added.
    pub ended: bool,
    /// Representations, or variants and renditions.
    pub tracks: u64,
    /// Segments that are listed one by one.
    pub segments: u64,
}

/// Kinds of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestKind {
    /// A Media Presentation Description.
    Mpd,
    /// An HLS playlist of playlists.
    Multivariant,
    /// An HLS playlist of segments.
    MediaPlaylist,
    /// It cannot be read.
    Unreadable,
}

/// One track. Times are seconds on the track's own clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Track {
    /// Its directory or file.
    pub name: String,
    /// `video`, `audio`, `text`, `metadata`; absent where its header is not known.
    pub kind: Option<&'static str>,
    /// One for each track of its header: more than one if it is muxed.
    pub codecs: Vec<String>,
    /// Several tracks in one file. Their times are not told: no timeline, duration or bit rate.
    pub muxed: bool,
    /// Its samples are encrypted.
    pub encrypted: bool,
    /// Three letters.
    pub language: Option<String>,
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Ticks per second.
    pub timescale: Option<u32>,
    /// Files, its header among them.
    pub objects: u64,
    /// Of all of them.
    pub bytes: u64,
    /// Fragments: one or more to a segment.
    pub fragments: u64,
    /// Fragments that begin with a key frame (a sync sample).
    pub key_frames: u64,
    /// Samples, where they are known.
    pub samples: Option<u64>,
    /// Sum of all fragments, in seconds.
    pub duration: Option<f64>,
    /// Bits per second: all fragments in their duration.
    pub bit_rate: Option<u64>,
    /// Stretches without a gap, in the order of names and then of bytes; at most 1,000.
    pub timeline: Vec<Span>,
    /// There are more stretches than are listed.
    pub timeline_truncated: bool,
}

/// A stretch of a track without a gap.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Span {
    /// Decode time of its first sample.
    pub start: f64,
    /// Where its last sample ends.
    pub end: f64,
    /// Seconds that are missing before it; negative: it begins before the one before it ends. Null for
    /// the first.
    pub gap: Option<f64>,
    /// Object it begins in.
    pub object: String,
    /// Fragments.
    pub fragments: u64,
    /// Fragments that begin with a key frame.
    pub key_frames: u64,
    /// Bits per second.
    pub bit_rate: Option<u64>,
    /// The producer's clock where the first fragment that tells it begins, RFC 3339.
    pub wall_clock: Option<String>,
}

/// What was found by one rule.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The rule, by its id.
    #[serde(serialize_with = "by_id")]
    pub rule: &'static Rule,
    /// What became of the uploads it was found in, where their bytes are not served: `superseded`,
    /// `rejected`, `aborted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// What holds.
    pub sentence: &'static str,
    /// Where it is written.
    pub clause: Option<&'static str>,
    /// How much it matters, by profile; null: not at all.
    pub severity: BySeverity,
    /// How often it was broken.
    pub count: u64,
    /// In how many objects.
    pub objects: u64,
    /// The first of them.
    pub first: Occurrence,
}

/// How much a rule matters in each profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BySeverity(pub &'static Rule);

impl Serialize for BySeverity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(Profile::ALL.map(|profile| (profile.as_str(), self.0.severity(profile))))
    }
}

/// Where a rule was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Occurrence {
    /// Name of the object.
    pub object: String,
    /// What was found, and what was expected.
    pub message: String,
    /// Path of the box.
    #[serde(rename = "box")]
    pub box_path: Option<String>,
    /// Byte of the object.
    pub offset: Option<u64>,
}

impl Report {
    /// How it stands up to a profile.
    #[must_use]
    pub fn verdict(&self, profile: Profile) -> Option<&Verdict> {
        self.verdicts
            .iter()
            .find(|verdict| verdict.profile == profile)
    }

    /// As JSON, over several lines.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// As JUnit: a suite for each session and profile, in it a case for each rule.
    #[must_use]
    pub fn junit(&self, profiles: &[Profile]) -> String {
        junit::write(self, profiles)
    }

    /// For people.
    #[must_use]
    pub fn text(&self, profiles: &[Profile]) -> String {
        text::write(self, profiles)
    }
}

impl Verdict {
    fn of(profile: Profile, groups: &[Group]) -> Self {
        let count = |severity| {
            groups
                .iter()
                .filter(|group| group.rule.severity(profile) == Some(severity))
                .fold(0u64, |sum, group| sum.saturating_add(group.count))
        };
        let errors = count(Severity::Error);
        Self {
            profile,
            passed: errors == 0,
            errors,
            warnings: count(Severity::Warning),
            infos: count(Severity::Info),
        }
    }
}

fn by_id<S: Serializer>(rule: &&'static Rule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.id)
}
