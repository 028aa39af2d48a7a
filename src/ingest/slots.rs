//! The paths that uploads are under way to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::track::State;
use crate::names::{ObjectPath, StreamId};

type Key = (StreamId, ObjectPath);

/// What uploads to one path share while there are any.
///
/// The lock is asynchronous and held while the path gets another file or another fragment and the
/// catalogue records it, so that both change in the same order. No other lock is taken meanwhile but
/// those inside `live` and `catalog`, which never call back.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: tokio::sync::Mutex<State>,
}

/// All paths with uploads under way.
#[derive(Clone, Default)]
pub(super) struct Slots(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    entries: HashMap<Key, (usize, Arc<Shared>)>,
    uploads: u64,
}

/// One upload's place in the table; the last one out takes the entry along.
pub(super) struct Slot {
    slots: Slots,
    key: Key,
    shared: Arc<Shared>,
    /// Uploads are numbered as they begin: of two to the same path the higher one is the newer.
    pub(super) order: u64,
}

impl Slots {
    pub(super) fn enter(&self, stream: StreamId, path: &ObjectPath) -> Slot {
        let key = (stream, path.clone());
        let mut table = self.table();
        table.uploads += 1;
        let order = table.uploads;
        let entry = table.entries.entry(key.clone()).or_default();
        entry.0 += 1;
        let shared = Arc::clone(&entry.1);
        drop(table);
        Slot {
            slots: self.clone(),
            key,
            shared,
            order,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, State> {
        self.shared.state.lock().await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        if let Some(entry) = table.entries.get_mut(&self.key) {
            entry.0 -= 1;
            if entry.0 == 0 {
                table.entries.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uploads_to_one_path_share_a_state_until_the_last_has_gone() {
        let (slots, path) = (Slots::default(), ObjectPath::parse("a").unwrap());
        let first = slots.enter(StreamId(1), &path);
        let second = slots.enter(StreamId(1), &path);
        assert!(second.order > first.order);
        first.lock().await.newest = 7;
        drop(first);
        assert_eq!(second.lock().await.newest, 7);
        drop(second);
        assert!(slots.table().entries.is_empty());
        assert_eq!(slots.enter(StreamId(1), &path).lock().await.newest, 0);
    }
}
