//! What is growing now, so that readers can follow it.
//!
//! `ingest` announces a file and how far it may be read; readers get both and wait for more. Nothing
//! here parses bytes or knows where files lie.

mod activity;

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub(crate) use self::activity::{Activity, Meter, SLOT_SECONDS};
use crate::names::{ObjectPath, StreamId};

type Key = (StreamId, ObjectPath);

/// How far a growing object may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes; readers never read past them.
    pub(crate) len: u64,
    /// Somebody is sending more.
    pub(crate) open: bool,
}

/// A growing object, for a reader.
#[derive(Clone)]
pub(crate) struct Growing {
    pub(crate) file: Arc<File>,
    pub(crate) extent: watch::Receiver<Extent>,
}

/// All growing objects.
#[derive(Clone, Default)]
pub(crate) struct Hub {
    growing: Arc<Mutex<HashMap<Key, Growing>>>,
    activity: Activity,
}

/// A growing object, for its writer. Its end is the end of the announcement.
pub(crate) struct Announcement {
    hub: Hub,
    key: Key,
    extent: watch::Sender<Extent>,
}

impl Hub {
    /// Lets readers of the path see the first `len` bytes of `file`, in place of an earlier
    /// announcement for that path.
    pub(crate) fn announce(
        &self,
        stream: StreamId,
        path: &ObjectPath,
        file: Arc<File>,
        extent: Extent,
    ) -> Announcement {
        let (sender, receiver) = watch::channel(extent);
        let key = (stream, path.clone());
        self.entries().insert(
            key.clone(),
            Growing {
                file,
                extent: receiver,
            },
        );
        Announcement {
            hub: self.clone(),
            key,
            extent: sender,
        }
    }

    /// What is growing at the path.
    pub(crate) fn growing(&self, stream: StreamId, path: &ObjectPath) -> Option<Growing> {
        self.entries().get(&(stream, path.clone())).cloned()
    }

    /// Ends what is announced for the path: something else is there now. Those who already follow it
    /// may go on.
    pub(crate) fn withdraw(&self, stream: StreamId, path: &ObjectPath) {
        self.entries().remove(&(stream, path.clone()));
    }

    /// What streams have received lately.
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Growing>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcement {
    /// Tells readers how far they may read, and whether there will be more.
    pub(crate) fn update(&self, extent: Extent) {
        self.extent.send_replace(extent);
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let mut entries = self.hub.entries();
        let still_ours = entries
            .get(&self.key)
            .is_some_and(|entry| self.extent.same_channel_as(&entry.extent));
        if still_ours {
            entries.remove(&self.key);
        }
        drop(entries);
        self.extent.send_modify(|extent| extent.open = false);
    }
}

/// `watch` has no way to ask whether a receiver belongs to a sender.
trait SameChannel {
    fn same_channel_as(&self, receiver: &watch::Receiver<Extent>) -> bool;
}

impl SameChannel for watch::Sender<Extent> {
    fn same_channel_as(&self, receiver: &watch::Receiver<Extent>) -> bool {
        self.subscribe().same_channel(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_newer_announcement_outlives_the_end_of_an_older_one() {
        let (hub, path) = (Hub::default(), ObjectPath::parse("a.cmfv").unwrap());
        let extent = |len| Extent { len, open: true };
        let older = hub.announce(StreamId(1), &path, file(), extent(1));
        let follower = hub.growing(StreamId(1), &path).unwrap();
        let newer = hub.announce(StreamId(1), &path, file(), extent(2));
        drop(older);
        assert!(!follower.extent.borrow().open);
        assert_eq!(
            *hub.growing(StreamId(1), &path).unwrap().extent.borrow(),
            extent(2)
        );
        newer.update(extent(5));
        assert_eq!(
            hub.growing(StreamId(1), &path).unwrap().extent.borrow().len,
            5
        );
        drop(newer);
        assert!(hub.growing(StreamId(1), &path).is_none());
    }
}
