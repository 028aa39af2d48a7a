//! What uploads share with others that are under way.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::track::State;
use crate::names::{ObjectPath, StreamId};

/// Values that are there as long as somebody uses them, by key.
pub(super) struct Shared<K, V>(Arc<Mutex<Users<K, V>>>);

/// Each value with the number of those who use it.
type Users<K, V> = HashMap<K, (usize, Arc<V>)>;

/// One user's hold on a value; the last one out takes it along.
pub(super) struct Hold<K: Eq + Hash, V> {
    all: Shared<K, V>,
    key: K,
    value: Arc<V>,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone, V: Default> Shared<K, V> {
    pub(super) fn enter(&self, key: K) -> Hold<K, V> {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.0 += 1;
        let value = Arc::clone(&entry.1);
        drop(entries);
        Hold {
            all: Self(Arc::clone(&self.0)),
            key,
            value,
        }
    }
}

impl<K, V> Shared<K, V> {
    fn entries(&self) -> MutexGuard<'_, Users<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Hold<K, V> {
    pub(super) fn value(&self) -> &Arc<V> {
        &self.value
    }
}

impl<K: Eq + Hash, V> Drop for Hold<K, V> {
    fn drop(&mut self) {
        let mut entries = self.all.entries();
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.0 -= 1;
            if entry.0 == 0 {
                entries.remove(&self.key);
            }
        }
    }
}

/// The paths that uploads are under way to.
///
/// Uploads to one path share a lock. It is asynchronous, and held while the path gets another file or
/// another fragment and the catalogue records it, so that both change in the same order. Taken
/// meanwhile are only the lock of the upload's session ([`super::order`]), always after this one, and
/// those inside `live` and `catalog`, which never call back.
#[derive(Default)]
pub(super) struct Slots {
    paths: Shared<(StreamId, ObjectPath), tokio::sync::Mutex<State>>,
    uploads: AtomicU64,
}

/// One upload's place at its path.
pub(super) struct Slot {
    hold: Hold<(StreamId, ObjectPath), tokio::sync::Mutex<State>>,
    /// Uploads are numbered as they begin: of two to the same path the higher one is the newer.
    pub(super) order: u64,
}

impl Slots {
    pub(super) fn enter(&self, stream: StreamId, path: &ObjectPath) -> Slot {
        Slot {
            hold: self.paths.enter((stream, path.clone())),
            order: self.uploads.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Slot {
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, State> {
        self.hold.value().lock().await
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
        assert!(slots.paths.entries().is_empty());
        assert_eq!(slots.enter(StreamId(1), &path).lock().await.newest, 0);
    }
}
