//! Media held against the rules, while they stream past.
//!
//! ```text
//! events of the push parser ──► file        order and place of top-level boxes
//!                 moov ───────► header      what a CMAF header has to be
//!                 moof, mdat ─► segment     what a chunk, fragment or segment has to be
//!                               protection  what encrypted samples need
//!                               continuity  what follows from the fragment before
//!                                   └─────► findings, by the rules in rules
//! ```
//!
//! Nothing here reads a byte a second time: [`super::BodyScanner`] shows what it has parsed. What is
//! known from outside the body comes in as a [`Context`]. How much a finding matters is not decided
//! here: a rule has a severity per profile. Boxes that are not known are passed over in silence.

mod continuity;
mod file;
mod header;
mod protection;
mod rules;
mod segment;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::finding::{Finding, Findings, Rule};
use crate::isobmff::boxes::Moof;
use crate::isobmff::{BoxHeader, BoxPath, BoxRef, Cause, Error, FourCc};

use super::{Defaults, Start, Ticks, Timescale, TrackHeader, TrafSummary};

pub use rules::RULES;

/// What is known of a body before its first byte.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What its name promises.
    pub kind: Kind,
    /// The header that its media belong to, if it came before in another body.
    pub header: Option<TrackHeader>,
    /// Where the fragment before its first one ended.
    pub previous: Option<FragmentEnd>,
    /// How long it is said to last.
    pub expected: Option<Expected>,
}

/// What the name of an object promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A header and nothing else.
    Header,
    /// One segment, whose header came before: it has to begin with a sync sample. Only to be said by
    /// one who has looked for the header.
    Segment,
    /// A track, or a stretch of one, header or not.
    Track,
    /// Nothing. A body that is no CMAF is no trouble then.
    #[default]
    Unknown,
}

impl Kind {
    /// What the last part of `path` promises.
    ///
    /// | name                                   | kind    |
    /// |----------------------------------------|---------|
    /// | `*.init`, `*.header`, `*init*.m4s`, `*init*.mp4` | header |
    /// | other `*.m4s`                          | segment |
    /// | `*.cmfv`, `*.cmfa`, `*.cmft`, `*.cmfm`, `Streams(…)` | track |
    /// | all others                             | unknown |
    #[must_use]
    pub fn of_name(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.starts_with("Streams(") {
            return Self::Track;
        }
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        match extension {
            "init" | "header" => Self::Header,
            "m4s" | "mp4" if stem.to_ascii_lowercase().contains("init") => Self::Header,
            "m4s" => Self::Segment,
            "cmfv" | "cmfa" | "cmft" | "cmfm" => Self::Track,
            _ => Self::Unknown,
        }
    }
}

/// How long a segment is said to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// So long, to the rounding: `X-EXTINF-duration`, or a `SegmentTimeline`.
    Exactly(Duration),
    /// So long, give or take half of it; the last one may be shorter: `SegmentTemplate@duration`.
    About(Duration),
}

/// A fragment, as far as the next one has to go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentEnd {
    /// The track.
    pub track_id: u32,
    /// When its first sample is decoded.
    pub decode_time: Ticks,
    /// When the first sample behind it should be decoded.
    pub end: Ticks,
    /// `mfhd.sequence_number`, where it is remembered.
    pub sequence_number: Option<u32>,
}

/// Looks at one body. Its memory is bounded by that of the boxes it is shown.
#[derive(Debug)]
pub(in crate::cmaf) struct Checker {
    kind: Kind,
    expected: Option<Expected>,
    /// The newest header, of this body or of another.
    header: Option<TrackHeader>,
    file: file::State,
    segment: segment::State,
    continuity: continuity::State,
    findings: Findings,
}

impl Checker {
    pub(super) fn new(context: Context) -> Self {
        Self {
            kind: context.kind,
            expected: context.expected,
            header: context.header,
            file: file::State::default(),
            segment: segment::State::default(),
            continuity: continuity::State::new(context.previous),
            findings: Findings::default(),
        }
    }

    pub(super) fn findings(&self) -> &Findings {
        &self.findings
    }

    pub(super) fn take_findings(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }

    pub(super) fn header(&self) -> Option<&TrackHeader> {
        self.header.as_ref()
    }

    pub(super) fn last_fragment(&self) -> Option<&FragmentEnd> {
        self.continuity.last()
    }

    /// The body begins.
    pub(super) fn begin(&mut self, start: Start) {
        match start {
            Start::Other => self.not_media(),
            // A segment that brings its header is not one of a set.
            Start::Header if self.kind == Kind::Segment => self.kind = Kind::Unknown,
            Start::Header | Start::Media => {}
        }
    }

    /// The body is nothing that was looked into.
    pub(super) fn not_media(&mut self) {
        if self.kind != Kind::Unknown {
            self.note(&rules::BODY_START, &BoxPath::ROOT, 0, || {
                "expected ftyp, styp, prft, emsg, sidx or moof first, found something else"
                    .to_owned()
            });
        }
    }

    /// The body is at its end, and too short for one box.
    pub(super) fn not_media_yet(&mut self, error: &Error) {
        if self.kind != Kind::Unknown {
            self.cut(error);
        }
    }

    /// A top-level box begins.
    pub(super) fn start(&mut self, header: &BoxHeader, offset: u64) {
        file::start(self, header, offset);
    }

    /// `ftyp`, `styp`, `prft` or `emsg` is whole.
    pub(super) fn whole(&mut self, whole: &BoxRef<'_>) {
        match &whole.kind.0 {
            b"ftyp" => header::ftyp(self, whole),
            _ => segment::front(self, whole),
        }
    }

    /// A `moov` is whole; `header` is what it says, if it announces fragments.
    pub(super) fn moov(&mut self, moov: &BoxRef<'_>, header: Option<&TrackHeader>) {
        header::moov(self, moov);
        if let Some(header) = header {
            header::changed(self, moov, header);
            self.file.fragmented = true;
            self.header = Some(header.clone());
        }
    }

    /// A `moof` is whole and was decoded; `sums` are those of its `traf`.
    pub(super) fn moof(
        &mut self,
        source: &BoxRef<'_>,
        moof: &Moof,
        sums: &[TrafSummary],
        defaults: &Defaults,
    ) {
        segment::moof(self, source, moof, sums, defaults);
    }

    /// The boxes cannot be read any further.
    pub(super) fn broken(&mut self, error: &Error) {
        let rule = match error.cause() {
            Cause::Short { .. } => &rules::BOX_SHORT,
            Cause::SizeTooSmall { .. } => &rules::BOX_SIZE,
            Cause::OpenSize => &rules::BOX_OPEN,
            Cause::PastParent { .. } => &rules::BOX_PAST_PARENT,
            Cause::TooLarge { .. } => &rules::BOX_LONG,
            Cause::TooDeep => &rules::BOX_DEPTH,
            Cause::TooMany => &rules::BOX_NUMBER,
            Cause::NoBox => &rules::BOX_TYPE,
            Cause::Version { .. } => &rules::BOX_VERSION,
            Cause::Count { .. } => &rules::BOX_COUNT,
            Cause::Missing(_) => &rules::BOX_MISSING,
            Cause::Value(_) => &rules::BOX_VALUE,
        };
        self.note_error(rule, error);
    }

    /// The body ends within a box.
    pub(super) fn cut(&mut self, error: &Error) {
        self.note_error(&rules::BODY_CUT, error);
    }

    /// The body is at its end, which is a box's end.
    pub(super) fn finish(&mut self) {
        file::finish(self);
        segment::finish(self);
        continuity::finish(self);
    }

    fn note(
        &mut self,
        rule: &'static Rule,
        path: &BoxPath,
        offset: u64,
        message: impl FnOnce() -> String,
    ) {
        self.findings.note(rule, 1, || {
            Finding::new(rule, message()).at(&path.to_string(), offset)
        });
    }

    /// At a box.
    fn note_box(&mut self, rule: &'static Rule, at: &BoxRef<'_>, message: impl FnOnce() -> String) {
        self.note(rule, &at.path, at.offset, message);
    }

    fn note_error(&mut self, rule: &'static Rule, error: &Error) {
        let path = error
            .path()
            .iter()
            .try_fold(BoxPath::ROOT, |path, kind| path.child(*kind))
            .unwrap_or(BoxPath::ROOT);
        self.note(rule, &path, error.offset(), || error.cause().to_string());
    }

    /// The clock of a track, where the header is known.
    fn timescale(&self, track_id: u32) -> Option<Timescale> {
        let track = self.header.as_ref()?.track(track_id)?;
        Some(Timescale(track.timescale))
    }

    /// What kind of media a track is, where the header is known.
    fn handler(&self, track_id: u32) -> Option<FourCc> {
        Some(self.header.as_ref()?.track(track_id)?.handler)
    }

    fn has_brand(&self, brand: &[u8; 4]) -> bool {
        let brands = self
            .header
            .as_ref()
            .and_then(|header| header.brands.as_ref());
        brands.is_some_and(|brands| brands.has(brand))
    }
}
