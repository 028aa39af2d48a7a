//! What follows from the fragment before: decode times, sequence numbers, length.

use std::time::Duration;

use crate::isobmff::{BoxPath, BoxRef, limits};

use super::{Checker, Expected, FragmentEnd, Kind, Ticks, rules};

/// The newest fragment of each track, and how long the body is.
#[derive(Debug, Default)]
pub(super) struct State {
    ends: Vec<FragmentEnd>,
    sequence_number: Option<u32>,
    /// The track whose length counts: that of the first fragment.
    track_id: Option<u32>,
    /// When its first sample is decoded.
    begin: Ticks,
    length: Ticks,
}

/// Rounding that is put up with where a length is told in decimals.
const ROUNDING: Duration = Duration::from_millis(10);

/// Longest segment that Matter lets one ask for.
const MATTER_LONGEST: Duration = Duration::from_millis(65_500);

impl State {
    pub(super) fn new(previous: Option<FragmentEnd>) -> Self {
        Self {
            sequence_number: previous.and_then(|end| end.sequence_number),
            ends: previous.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Nothing came before: another header has begun.
    pub(super) fn forget(&mut self) {
        self.ends.clear();
        self.sequence_number = None;
    }

    /// Nothing is known of what came before.
    pub(super) fn is_new(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn last(&self) -> Option<&FragmentEnd> {
        match self.track_id {
            Some(id) => self.ends.iter().find(|end| end.track_id == id),
            None => self.ends.first(),
        }
    }
}

/// Compares the sequence number of a `moof` with the one before.
pub(super) fn sequence(checker: &mut Checker, mfhd: &BoxRef<'_>, number: u32, repeated: bool) {
    let before = checker.continuity.sequence_number.replace(number);
    let Some(before) = before.filter(|_| !repeated) else {
        return;
    };
    if number <= before {
        checker.note_box(&rules::SEQUENCE_ORDER, mfhd, || {
            format!("sequence number {number} after {before}")
        });
    } else if number != before.saturating_add(1) {
        checker.note_box(&rules::SEQUENCE_GAP, mfhd, || {
            format!("sequence number {number} after {before}")
        });
    }
}

/// Whether the fragment is the newest one of its track again.
pub(super) fn repeats(checker: &Checker, end: &FragmentEnd) -> bool {
    let held = checker.continuity.ends.iter();
    held.clone().any(|held| {
        held.track_id == end.track_id
            && held.decode_time == end.decode_time
            && held.sequence_number == end.sequence_number
    })
}

/// Compares the decode time with the end of the fragment before; `tfdt` is where it stands.
pub(super) fn fragment(checker: &mut Checker, tfdt: &BoxRef<'_>, end: FragmentEnd) {
    let state = &mut checker.continuity;
    if state.track_id.is_none() {
        state.begin = end.decode_time;
    }
    let track_id = *state.track_id.get_or_insert(end.track_id);
    if track_id == end.track_id {
        let length = end.end.distance(end.decode_time);
        state.length = state.length.saturating_add(length);
    }
    let Some(held) = state
        .ends
        .iter_mut()
        .find(|held| held.track_id == end.track_id)
    else {
        if state.ends.len() < limits::TRACKS {
            state.ends.push(end);
        }
        return;
    };
    let before = std::mem::replace(held, end);
    let (now, expected) = (end.decode_time, before.end);
    if now < before.decode_time {
        checker.note_box(&rules::DECODE_BACKWARD, tfdt, || {
            format!("decode time {now} after {}", before.decode_time)
        });
    } else if now < expected {
        checker.note_box(&rules::DECODE_OVERLAP, tfdt, || {
            format!("decode time {now}, but the fragment before ends at {expected}")
        });
    } else if now > expected && before.end > before.decode_time {
        checker.note_box(&rules::DECODE_GAP, tfdt, || {
            format!("decode time {now}, but the fragment before ended at {expected}")
        });
    }
}

pub(super) fn finish(checker: &mut Checker) {
    let state = &checker.continuity;
    let length = state
        .track_id
        .and_then(|id| checker.timescale(id)?.duration(state.length));
    let Some(length) = length.filter(|length| !length.is_zero()) else {
        return;
    };
    let wrong = match checker.expected {
        Some(Expected::Exactly(expected)) => {
            // What is told may leave out what an edit list cuts off at the front: priming samples.
            let shown = length.saturating_sub(cut_off(checker));
            let off = [length, shown].map(|length| length.abs_diff(expected));
            off.iter().all(|off| *off > ROUNDING).then_some(expected)
        }
        Some(Expected::About(expected)) => {
            let most = expected.saturating_add(expected.checked_div(2).unwrap_or_default());
            (length > most).then_some(expected)
        }
        None => None,
    };
    if let Some(expected) = wrong {
        checker.note(&rules::DURATION, &BoxPath::ROOT, 0, || {
            let (length, expected) = (length.as_secs_f64(), expected.as_secs_f64());
            format!("it lasts {length:.3} s, expected {expected:.3} s")
        });
    }
    if checker.kind == Kind::Segment && length > MATTER_LONGEST {
        checker.note(&rules::MATTER_DURATION, &BoxPath::ROOT, 0, || {
            format!("it lasts {:.3} s", length.as_secs_f64())
        });
    }
}

/// How much of the body's front is not presented.
fn cut_off(checker: &Checker) -> Duration {
    let state = &checker.continuity;
    let cut = || {
        let id = state.track_id?;
        let track = checker.header.as_ref()?.track(id)?;
        let edit = track.edits.iter().find(|edit| edit.media_time > 0)?;
        let first = u64::try_from(edit.media_time).ok()?;
        checker
            .timescale(id)?
            .duration(Ticks(first.checked_sub(state.begin.0)?))
    };
    cut().unwrap_or_default()
}
