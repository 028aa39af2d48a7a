//! How the tracks of a session go together, and with what an MPD says of their segments.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::manifests::Described;
use crate::cmaf::{Ticks, Timescale};
use crate::finding::{Finding, Severity, rule_table};

/// Players cope, and it should be mended.
const WARNED: [Option<Severity>; 3] = [Some(Severity::Warning); 3];

rule_table! {
    SWITCHING_SET: "switching-set-boundaries", "session",
        Some("ISO/IEC 23000-19:2020 7.3.4.1"), WARNED,
        "tracks of one switching set begin together, and have as many segments at the same times";
    TIMELINE: "mpd-timeline", "manifest", None, WARNED,
        "a SegmentTimeline gives the lengths and times of the segments it lists";
}

/// Segments of one track that are remembered.
const MAX_SEGMENTS: usize = 50_000;

/// Rounding of a length that is told in ticks of another scale.
const ROUNDING: Duration = Duration::from_millis(10);

/// How much longer the first segment may be than it is listed: the encoder's priming, one frame or two,
/// which an edit list takes off.
const PRIMING: Duration = Duration::from_millis(100);

/// What of a track is held against others.
#[derive(Debug, Default)]
pub(super) struct Timing {
    segments: Vec<Segment>,
    /// Where fragments of a lone object begin that begin with a sync sample.
    sync: Vec<Ticks>,
    /// There are more than are remembered, or times of some are not known.
    incomplete: bool,
}

/// The fragments of one object.
#[derive(Debug)]
struct Segment {
    object: String,
    start: Ticks,
    length: Ticks,
}

/// A track, as far as it is compared.
pub(super) struct Aligned<'a> {
    pub(super) name: &'a str,
    /// `video` and the like.
    pub(super) kind: Option<&'static str>,
    pub(super) codec: &'a str,
    pub(super) language: Option<&'a str>,
    pub(super) timescale: Timescale,
    /// Name of the object with its header.
    pub(super) header: Option<&'a str>,
    pub(super) timing: &'a Timing,
}

impl Timing {
    /// Adds the next fragment.
    pub(super) fn fragment(&mut self, object: &str, start: Option<u64>, length: u64, sync: bool) {
        let Some(start) = start.map(Ticks) else {
            self.incomplete = true;
            return;
        };
        let length = Ticks(length);
        let is_full = self.segments.len() == MAX_SEGMENTS;
        match self.segments.last_mut() {
            Some(last) if last.object == object => {
                last.length = last.length.saturating_add(length);
            }
            _ if is_full => self.incomplete = true,
            _ => self.segments.push(Segment {
                object: object.to_owned(),
                start,
                length,
            }),
        }
        if self.segments.len() == 1 && sync {
            if self.sync.len() == MAX_SEGMENTS {
                self.incomplete = true;
            } else {
                self.sync.push(start);
            }
        }
    }

    /// Where its segments begin.
    fn starts(&self) -> Vec<Ticks> {
        self.segments.iter().map(|segment| segment.start).collect()
    }

    fn is_lone(&self) -> bool {
        self.segments.len() == 1
    }
}

/// Holds the tracks of a session against each other and against what its MPDs say of them. `guess`:
/// tracks that no MPD tells of may be of one switching set if they look like it. `ended`: nothing will
/// be added. Findings come with the names of what they are about.
pub(super) fn judge(
    tracks: &[Aligned<'_>],
    mpds: &[(String, Vec<Described>)],
    guess: bool,
    ended: bool,
) -> Vec<(String, Finding)> {
    let mut findings = Vec::new();
    let mut places = HashMap::new();
    for (place, track) in tracks.iter().enumerate() {
        let header = track.header.into_iter();
        let objects = track.timing.segments.iter().map(|it| it.object.as_str());
        for object in header.chain(objects) {
            places.insert(object, place);
        }
    }
    let mut sets: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    let mut told = vec![false; tracks.len()];
    for (at, (name, described)) in mpds.iter().enumerate() {
        for one in described {
            let named = one
                .initialization
                .iter()
                .chain(one.segments.iter().map(|it| &it.name));
            let Some(place) = named.filter_map(|name| places.get(name.as_str())).next() else {
                continue;
            };
            if let Some(told) = told.get_mut(*place) {
                *told = true;
            }
            let set = sets.entry((at, one.adaptation_set)).or_default();
            if !set.contains(place) {
                set.push(*place);
            }
            findings.extend(timeline(one, tracks, &places).map(|found| (name.clone(), found)));
        }
    }
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, track) in tracks.iter().enumerate() {
        let is_told = told.get(place).copied().unwrap_or(true);
        if let (true, false, Some(kind)) = (guess, is_told, track.kind) {
            let family = family(track.codec);
            let key = (kind, family, track.language, track.timescale.0);
            alike.entry(key).or_default().push(place);
        }
    }
    for set in sets.values().chain(alike.values()) {
        let mut members = set.iter().filter_map(|place| tracks.get(*place));
        let Some(first) = members.next() else {
            continue;
        };
        findings.extend(members.filter_map(|other| {
            let message = differs(first, other, ended)?;
            let found = Finding::new(&SWITCHING_SET, message);
            Some((other.name.to_owned(), found))
        }));
    }
    findings
}

/// Codings between which a decoder switches.
fn family(codec: &str) -> &str {
    match codec.get(..4).unwrap_or(codec) {
        "avc1" | "avc3" => "avc",
        "hvc1" | "hev1" => "hevc",
        other => other,
    }
}

/// How the boundaries of two tracks differ.
fn differs(one: &Aligned<'_>, other: &Aligned<'_>, ended: bool) -> Option<String> {
    let (lone, other_lone) = (one.timing.is_lone(), other.timing.is_lone());
    let (ones, others) = match one.kind {
        // Files that are whole tracks: their fragments are compared. Those of audio, where every sample
        // is a sync sample, may be cut anywhere.
        Some("video") if lone && other_lone => (one.timing.sync.clone(), other.timing.sync.clone()),
        _ => (one.timing.starts(), other.timing.starts()),
    };
    if ones.is_empty() || others.is_empty() {
        return None;
    }
    let same = |(a, b): (&Ticks, &Ticks)| {
        let a = u128::from(a.0) * u128::from(other.timescale.0);
        let b = u128::from(b.0) * u128::from(one.timescale.0);
        // Times that are rounded to the coarser of two scales are less than one of its ticks apart.
        a == b
            || one.timescale != other.timescale
                && a.abs_diff(b) < u128::from(one.timescale.0.max(other.timescale.0))
    };
    if let Some(at) = ones.iter().zip(&others).position(|pair| !same(pair)) {
        let start = |starts: &[Ticks], track: &Aligned<'_>| {
            let start = starts
                .get(at)
                .and_then(|start| track.timescale.duration(*start));
            start.unwrap_or_default().as_secs_f64()
        };
        return Some(format!(
            "its segment {} begins at {:.3} s, that of {:?} at {:.3} s",
            at + 1,
            start(&others, other),
            one.name,
            start(&ones, one),
        ));
    }
    // As long as segments are still coming, one track may be ahead.
    let ahead = usize::from(!ended);
    // One may be a file, the other segments.
    let is_whole = !one.timing.incomplete && !other.timing.incomplete && lone == other_lone;
    (is_whole && ones.len().abs_diff(others.len()) > ahead).then(|| {
        let (count, expected) = (others.len(), ones.len());
        format!("it has {count} segments, {:?} has {expected}", one.name)
    })
}

/// Compares what a timeline says of segments with these.
fn timeline(
    said: &Described,
    tracks: &[Aligned<'_>],
    places: &HashMap<&str, usize>,
) -> Option<Finding> {
    let mut wrong = Vec::new();
    let mut held: HashMap<&str, &Segment> = HashMap::new();
    let mut loaded = None;
    for listed in &said.segments {
        let Some(place) = places.get(listed.name.as_str()) else {
            continue;
        };
        let Some(track) = tracks.get(*place) else {
            continue;
        };
        if loaded.replace(*place) != Some(*place) {
            let all = track.timing.segments.iter();
            held = all.map(|it| (it.object.as_str(), it)).collect();
        }
        let Some(segment) = held.get(listed.name.as_str()) else {
            continue;
        };
        let times = (
            said.timescale.duration(listed.start),
            track.timescale.duration(segment.start),
            said.timescale.duration(listed.length),
            track.timescale.duration(segment.length),
        );
        let (Some(listed_start), Some(start), Some(listed_length), Some(length)) = times else {
            continue;
        };
        let mut differences = Vec::new();
        let is_first = said.segments.first() == Some(listed);
        let most = if is_first { PRIMING } else { ROUNDING };
        if !length.is_zero() && listed_length.abs_diff(length) > most {
            let (found, listed) = (length.as_secs_f64(), listed_length.as_secs_f64());
            differences.push(format!("lasts {found:.3} s, listed are {listed:.3} s"));
        }
        // The timeline tells when a segment is presented, which may be some frames after it is decoded.
        if listed_start.abs_diff(start) > (listed_length / 2).max(ROUNDING) {
            let (found, listed) = (start.as_secs_f64(), listed_start.as_secs_f64());
            differences.push(format!("begins at {found:.3} s, listed is {listed:.3} s"));
        }
        if !differences.is_empty() {
            wrong.push((&listed.name, differences));
        }
    }
    let (name, differences) = wrong.first()?;
    let message = format!("{name:?} {}", differences.join("; it "));
    let mut found = Finding::new(&TIMELINE, message);
    found.count = u64::try_from(wrong.len()).unwrap_or(u64::MAX);
    Some(found)
}

#[cfg(test)]
mod tests;
