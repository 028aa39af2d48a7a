//! Takes in what is known of objects, one after the other, and makes the report of it.

use std::collections::BTreeMap;

use super::alignment::{self, Aligned, Timing};
use super::manifests::{Described, Judged};
use super::{BySeverity, Group, Manifest, Occurrence, Report, Session, Span, Track, Verdict};
use crate::cmaf::codec::codecs;
use crate::cmaf::{Timescale, TrackHeader};
use crate::finding::{Finding, Profile};

/// Stretches of a track that are listed.
const MAX_SPANS: usize = 1_000;

/// Collects what a report is about.
#[derive(Debug, Default)]
pub struct Builder {
    sessions: Vec<SessionBuilder>,
    truncated: bool,
}

/// Collects what a session is about.
#[derive(Debug, Default)]
pub struct SessionBuilder {
    name: String,
    manifests: Vec<Manifest>,
    /// What MPDs say of tracks, by their names.
    described: Vec<(String, Vec<Described>)>,
    tracks: Vec<TrackBuilder>,
    groups: BTreeMap<&'static str, Group>,
    /// By rule, and what became of the uploads.
    past: BTreeMap<(&'static str, &'static str), Group>,
}

/// Collects what a track is about.
#[derive(Debug, Default)]
pub struct TrackBuilder {
    track: Track,
    /// Ticks.
    duration: u64,
    /// Bytes of fragments.
    media: u64,
    /// Where the last fragment ended, in ticks.
    end: Option<u64>,
    /// Bytes and ticks of the last stretch.
    span: (u64, u64),
    /// The track of its last fragment.
    id: Option<u32>,
    /// Name of the object with its header.
    header: Option<String>,
    timing: Timing,
}

/// What is known of a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The track it tells the times of, where it is known.
    pub track_id: Option<u32>,
    /// Ticks.
    pub decode_time: Option<u64>,
    /// Ticks.
    pub duration: u64,
    /// Bytes, with all that belongs to it.
    pub bytes: u64,
    /// It begins with a sync sample.
    pub sync: bool,
    /// Number of samples, where it is known.
    pub samples: Option<u64>,
    /// The producer's clock at its begin, in microseconds since 1970.
    pub wall_clock: Option<i64>,
}

impl Builder {
    /// A session; they are told in the order in which they are first asked for.
    pub fn session(&mut self, name: &str) -> &mut SessionBuilder {
        let at = match self
            .sessions
            .iter()
            .position(|session| session.name == name)
        {
            Some(at) => at,
            None => {
                self.sessions.push(SessionBuilder {
                    name: name.to_owned(),
                    ..SessionBuilder::default()
                });
                self.sessions.len() - 1
            }
        };
        &mut self.sessions[at]
    }

    /// Says that there is more than was looked at.
    pub fn truncated(&mut self) {
        self.truncated = true;
    }

    /// The report on what was taken in.
    #[must_use]
    pub fn finish(self, name: &str) -> Report {
        let sessions: Vec<_> = self
            .sessions
            .into_iter()
            .map(SessionBuilder::finish)
            .collect();
        let verdicts = Profile::ALL.map(|profile| {
            let all = sessions.iter().flat_map(|session| &session.verdicts);
            let mut sum = Verdict::of(profile, &[]);
            for verdict in all.filter(|verdict| verdict.profile == profile) {
                sum.errors = sum.errors.saturating_add(verdict.errors);
                sum.warnings = sum.warnings.saturating_add(verdict.warnings);
                sum.infos = sum.infos.saturating_add(verdict.infos);
                sum.passed &= verdict.passed;
            }
            sum
        });
        Report {
            name: name.to_owned(),
            truncated: self.truncated,
            verdicts: verdicts.to_vec(),
            sessions,
        }
    }
}

impl SessionBuilder {
    /// Adds a manifest, and what was found in it.
    pub fn manifest(&mut self, judged: &Judged) {
        self.findings(&judged.manifest.path, &judged.findings);
        self.manifests.push(judged.manifest.clone());
        if !judged.described.is_empty() {
            let (name, described) = (judged.manifest.path.clone(), judged.described.clone());
            self.described.push((name, described));
        }
    }

    /// Adds a track.
    pub fn track(&mut self, name: &str) -> &mut TrackBuilder {
        self.tracks.push(TrackBuilder {
            track: Track {
                name: name.to_owned(),
                ..Track::default()
            },
            ..TrackBuilder::default()
        });
        let last = self.tracks.len() - 1;
        &mut self.tracks[last]
    }

    /// Adds what was found in an object.
    pub fn findings<'a>(&mut self, object: &str, findings: impl IntoIterator<Item = &'a Finding>) {
        for finding in findings {
            let group = self.groups.entry(finding.rule.id);
            group
                .or_insert_with(|| Group::of(object, finding, None))
                .add(finding);
        }
    }

    /// Adds what was found in an upload of an object that is not there any more, or never was; `status`
    /// is what became of it. It does not count for the verdicts.
    pub fn past<'a>(
        &mut self,
        object: &str,
        status: &'static str,
        findings: impl IntoIterator<Item = &'a Finding>,
    ) {
        for finding in findings {
            let group = self.past.entry((finding.rule.id, status));
            group
                .or_insert_with(|| Group::of(object, finding, Some(status)))
                .add(finding);
        }
    }

    /// How its tracks go together.
    fn align(&mut self) {
        let aligned: Vec<_> = self
            .tracks
            .iter()
            .filter_map(TrackBuilder::aligned)
            .collect();
        // What is in no session may have nothing to do with each other.
        let guess = !self.name.is_empty();
        let ended = self.manifests.iter().any(|manifest| manifest.ended);
        let found = alignment::judge(&aligned, &self.described, guess, ended);
        for (name, finding) in found {
            self.findings(&name, [&finding]);
        }
    }

    fn finish(mut self) -> Session {
        self.align();
        let worst_first = |mut groups: Vec<Group>| {
            let worst = |group: &Group| group.rule.severities.iter().max().copied();
            groups.sort_by_key(|group| std::cmp::Reverse(worst(group)));
            groups
        };
        let findings = worst_first(self.groups.into_values().collect());
        Session {
            past: worst_first(self.past.into_values().collect()),
            name: self.name,
            verdicts: Profile::ALL
                .map(|profile| Verdict::of(profile, &findings))
                .to_vec(),
            manifests: self.manifests,
            tracks: self.tracks.into_iter().map(TrackBuilder::finish).collect(),
            findings,
        }
    }
}

impl Group {
    fn of(object: &str, finding: &Finding, status: Option<&'static str>) -> Self {
        Self {
            rule: finding.rule,
            status,
            sentence: finding.rule.sentence,
            clause: finding.rule.clause,
            severity: BySeverity(finding.rule),
            count: 0,
            objects: 0,
            first: Occurrence {
                object: object.to_owned(),
                message: finding.message.clone(),
                box_path: finding.box_path.clone(),
                offset: finding.offset,
            },
        }
    }

    fn add(&mut self, finding: &Finding) {
        self.count = self.count.saturating_add(finding.count);
        self.objects += 1;
    }
}

impl TrackBuilder {
    /// Adds an object, whatever is in it.
    pub fn object(&mut self, bytes: u64) {
        self.track.objects += 1;
        self.track.bytes = self.track.bytes.saturating_add(bytes);
    }

    /// What its header, in `object`, says. The first one counts.
    pub fn header(&mut self, object: Option<&str>, header: &TrackHeader) {
        let track = &mut self.track;
        let Some(first) = header.tracks.first().filter(|_| track.timescale.is_none()) else {
            return;
        };
        track.muxed = header.tracks.len() > 1;
        self.id = Some(first.id);
        self.header = object.map(str::to_owned);
        track.timescale = Some(first.timescale).filter(|timescale| *timescale > 0);
        track.kind = match &first.handler.0 {
            b"vide" => Some("video"),
            b"soun" => Some("audio"),
            b"text" | b"subt" | b"sbtl" => Some("text"),
            b"meta" => Some("metadata"),
            _ => None,
        };
        let entries = header
            .tracks
            .iter()
            .filter_map(|track| track.entries.first());
        track.codecs = entries.clone().map(codecs).collect();
        track.encrypted = entries.clone().any(|entry| entry.protection.is_some());
        track.language = Some(first.language.clone()).filter(|language| language != "und");
        let visual = first
            .entries
            .first()
            .and_then(|entry| entry.visual.as_ref());
        track.width = visual.map(|visual| u32::from(visual.width));
        track.height = visual.map(|visual| u32::from(visual.height));
    }

    /// Adds the next fragment, which lies in `object`.
    pub fn fragment(&mut self, object: &str, fragment: &Fragment) {
        let track = &mut self.track;
        track.fragments += 1;
        self.media = self.media.saturating_add(fragment.bytes);
        if let Some(id) = fragment.track_id {
            track.muxed |= self.id.replace(id).is_some_and(|before| before != id);
        }
        track.key_frames += u64::from(fragment.sync);
        track.samples = match (track.samples, fragment.samples) {
            (_, None) => track.samples,
            (sum, Some(samples)) => Some(sum.unwrap_or(0).saturating_add(samples)),
        };
        self.duration = self.duration.saturating_add(fragment.duration);
        let (start, length) = (fragment.decode_time, fragment.duration);
        self.timing.fragment(object, start, length, fragment.sync);
        let begin = fragment.decode_time.or(self.end).unwrap_or(0);
        let gap = self
            .end
            .map(|end| i128::from(begin) - i128::from(end))
            .filter(|gap| *gap != 0);
        let end = begin.saturating_add(fragment.duration);
        if self.end.is_none() || gap.is_some() {
            if track.timeline.len() == MAX_SPANS {
                track.timeline_truncated = true;
            } else {
                self.span = (0, 0);
                track.timeline.push(Span {
                    start: seconds(i128::from(begin), track.timescale),
                    gap: gap.map(|gap| seconds(gap, track.timescale)),
                    object: object.to_owned(),
                    ..Span::default()
                });
            }
        }
        self.end = Some(end);
        if track.timeline_truncated {
            return;
        }
        self.span.0 = self.span.0.saturating_add(fragment.bytes);
        self.span.1 = self.span.1.saturating_add(fragment.duration);
        if let Some(span) = track.timeline.last_mut() {
            span.end = seconds(i128::from(end), track.timescale);
            span.fragments += 1;
            span.key_frames += u64::from(fragment.sync);
            span.bit_rate = bit_rate(self.span.0, self.span.1, track.timescale);
            if span.wall_clock.is_none() {
                span.wall_clock = fragment.wall_clock.and_then(rfc3339);
            }
        }
    }

    /// How it is held against others, where its clock is known and is the only one.
    fn aligned(&self) -> Option<Aligned<'_>> {
        let track = &self.track;
        let timescale = track.timescale.filter(|_| !track.muxed)?;
        Some(Aligned {
            name: &track.name,
            kind: track.kind,
            codec: track.codecs.first().map_or("", String::as_str),
            language: track.language.as_deref(),
            timescale: Timescale(timescale),
            header: self.header.as_deref(),
            timing: &self.timing,
        })
    }

    fn finish(self) -> Track {
        let mut track = self.track;
        if track.muxed {
            // Its tracks have clocks of their own, and of a fragment only the first one is known.
            track.timeline.clear();
            track.timeline_truncated = false;
            track.samples = None;
        } else if track.fragments > 0 && track.timescale.is_some() {
            track.duration = Some(seconds(i128::from(self.duration), track.timescale));
            track.bit_rate = bit_rate(self.media, self.duration, track.timescale);
        }
        track
    }
}

/// Ticks in seconds, to the microsecond; ticks themselves where their length is not known.
fn seconds(ticks: i128, timescale: Option<u32>) -> f64 {
    let micros = ticks * 1_000_000 / i128::from(timescale.unwrap_or(1));
    micros as f64 / 1e6
}

fn bit_rate(bytes: u64, ticks: u64, timescale: Option<u32>) -> Option<u64> {
    let bits = u128::from(bytes) * 8 * u128::from(timescale?);
    u64::try_from(bits.checked_div(u128::from(ticks))?).ok()
}

fn rfc3339(micros: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()?;
    at.format(&time::format_description::well_known::Rfc3339)
        .ok()
}

#[cfg(test)]
mod tests;
