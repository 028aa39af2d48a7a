//! How much each stream has received lately.
//!
//! Counted as the bytes come, so that an upload that never ends shows like many short ones. Kept in
//! memory only: after a restart it begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::names::StreamId;

/// Length of a slot.
pub(crate) const SLOT_SECONDS: u64 = 5;
/// Slots that are kept: five minutes.
pub(crate) const SLOTS: usize = 60;

/// What all streams have received lately. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Inner>);

struct Inner {
    began: Instant,
    streams: Mutex<HashMap<StreamId, Recent>>,
}

/// The newest slots of one stream, as a ring.
#[derive(Clone)]
struct Recent {
    /// Number of the newest slot, counted from the server's start.
    newest: u64,
    slots: [Slot; SLOTS],
    running: usize,
}

/// What came in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) bytes: u64,
    /// Uploads that ended.
    pub(crate) uploads: u32,
}

/// An upload's share: it counts as under way until this is dropped.
pub(crate) struct Meter {
    activity: Activity,
    stream: StreamId,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            streams: Mutex::default(),
        }))
    }
}

impl Activity {
    /// An upload to the stream begins.
    pub(crate) fn meter(&self, stream: StreamId) -> Meter {
        self.with(stream, self.slot(), |recent| recent.running += 1);
        Meter {
            activity: self.clone(),
            stream,
        }
    }

    /// The slots of a stream, oldest first, and its uploads under way. The last slot is still filling.
    pub(crate) fn of(&self, stream: StreamId) -> ([Slot; SLOTS], usize) {
        self.at(stream, self.slot())
    }

    /// Forgets a stream that is gone.
    pub(crate) fn forget(&self, stream: StreamId) {
        self.streams().remove(&stream);
    }

    fn at(&self, stream: StreamId, now: u64) -> ([Slot; SLOTS], usize) {
        let mut slots = [Slot::default(); SLOTS];
        let Some(mut recent) = self.streams().get(&stream).cloned() else {
            return (slots, 0);
        };
        recent.advance(now);
        for (place, slot) in slots.iter_mut().enumerate() {
            *slot = recent.slots[(index(recent.newest) + 1 + place) % SLOTS];
        }
        (slots, recent.running)
    }

    fn slot(&self) -> u64 {
        self.0.began.elapsed().as_secs() / SLOT_SECONDS
    }

    fn with(&self, stream: StreamId, now: u64, change: impl FnOnce(&mut Recent)) {
        let mut streams = self.streams();
        let recent = streams.entry(stream).or_insert_with(|| Recent {
            newest: now,
            slots: [Slot::default(); SLOTS],
            running: 0,
        });
        recent.advance(now);
        change(recent);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Recent>> {
        self.0
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Makes `now` the newest slot; those between are empty.
    fn advance(&mut self, now: u64) {
        let steps = now.saturating_sub(self.newest).min(SLOTS as u64);
        for back in 0..steps {
            self.slots[index(now - back)] = Slot::default();
        }
        self.newest = self.newest.max(now);
    }

    fn last(&mut self) -> &mut Slot {
        &mut self.slots[index(self.newest)]
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

impl Meter {
    /// Bytes of the body have come.
    pub(crate) fn bytes(&self, count: u64) {
        self.activity
            .with(self.stream, self.activity.slot(), |recent| {
                let slot = recent.last();
                slot.bytes = slot.bytes.saturating_add(count);
            });
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let now = self.activity.slot();
        // A stream that was deleted meanwhile is not taken up again.
        if let Some(recent) = self.activity.streams().get_mut(&self.stream) {
            recent.advance(now);
            recent.running = recent.running.saturating_sub(1);
            let slot = recent.last();
            slot.uploads = slot.uploads.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: StreamId = StreamId(1);

    #[test]
    fn what_came_lies_in_the_slot_of_its_time_and_leaves_with_it() {
        let activity = Activity::default();
        let put = |slot, bytes| activity.with(ONE, slot, |recent| recent.last().bytes += bytes);
        let bytes = |now| activity.at(ONE, now).0.map(|slot| slot.bytes);
        put(100, 7);
        put(102, 5);
        let seen = bytes(103);
        assert_eq!(&seen[SLOTS - 4..], &[7, 0, 5, 0]);
        assert_eq!(seen.iter().sum::<u64>(), 12);
        assert_eq!(bytes(100 + SLOTS as u64)[0..2], [0, 5]);
        assert_eq!(bytes(100 + 10 * SLOTS as u64).iter().sum::<u64>(), 0);
        put(1000 * SLOTS as u64, 1);
        assert_eq!(bytes(1000 * SLOTS as u64).iter().sum::<u64>(), 1);
    }

    #[test]
    fn an_upload_is_under_way_until_its_meter_is_dropped() {
        let activity = Activity::default();
        let meter = activity.meter(ONE);
        meter.bytes(3);
        assert_eq!(activity.of(ONE).1, 1);
        drop(meter);
        let (slots, running) = activity.of(ONE);
        assert_eq!(running, 0);
        assert_eq!(slots.iter().map(|slot| slot.uploads).sum::<u32>(), 1);
        let late = activity.meter(ONE);
        activity.forget(ONE);
        drop(late);
        assert_eq!(activity.of(ONE), ([Slot::default(); SLOTS], 0));
    }
}
