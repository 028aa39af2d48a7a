//! The one thread that writes.

use std::sync::Mutex;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::Tables;
use crate::{Error, Kind, Result};

/// Changes that may wait; callers beyond that wait to hand theirs over.
const WAITING: usize = 1024;
/// Changes in one transaction: past some dozens a larger group saves nothing more.
const GROUP: usize = 256;

/// Does its change and returns what to call when the fate of the transaction is known.
type Change = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Option<&rusqlite::Error>) + Send>;

/// A change that was handed over and will be done.
pub(crate) struct HandedOver<T>(oneshot::Receiver<Result<T>>);

impl<T> HandedOver<T> {
    /// Waits until it is committed.
    pub(crate) async fn committed(self) -> Result<T> {
        let dropped = |_| Error::new(Kind::Internal, "the catalogue cannot be written");
        self.0.await.map_err(dropped)?
    }
}

pub(super) struct Writer {
    changes: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: watch::Receiver<u64>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (committed, commits) = watch::channel(0);
        let thread = std::thread::Builder::new()
            .name("catalog".to_owned())
            .spawn(move || write_groups(&connection, receiver, &committed))
            .map_err(|e| Error::internal("cannot start the catalogue's thread", e))?;
        Ok(Self {
            changes: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            commits,
        })
    }

    /// Puts the change in line; it is done whatever becomes of the caller.
    pub(super) async fn hand_over<T, F>(&self, change: F) -> Result<HandedOver<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let done = in_savepoint(connection, change);
            Box::new(move |failed| {
                let outcome = match (done, failed) {
                    (Ok(value), None) => Ok(value),
                    (Ok(_), Some(e)) => Err(Error::new(
                        Kind::Internal,
                        "the catalogue cannot be written",
                    )
                    .because(e.to_string())),
                    (Err(e), _) => Err(Error::internal("the catalogue refused a change", e)),
                };
                // The caller may have gone away; the change stands all the same.
                let _ = answer.send(outcome);
            })
        });
        let closed = || Error::new(Kind::Busy, "the server is shutting down");
        let sender = lock(&self.changes).clone().ok_or_else(closed)?;
        sender.send(change).await.map_err(|_| closed())?;
        Ok(HandedOver(answered))
    }

    /// Counts the commits.
    pub(super) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    pub(super) fn close(&self) {
        drop(lock(&self.changes).take());
        if let Some(thread) = lock(&self.thread).take() {
            // A panic in that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn write_groups(
    connection: &Connection,
    mut changes: mpsc::Receiver<Change>,
    commits: &watch::Sender<u64>,
) {
    while let Some(first) = changes.blocking_recv() {
        let mut answers: Vec<Answer> = Vec::new();
        let committed = write_group(connection, first, &mut changes, &mut answers);
        if committed.is_ok() {
            commits.send_modify(|count| *count = count.wrapping_add(1));
        }
        if let Err(e) = &committed {
            tracing::error!(error = %e, changes = answers.len(), "the catalogue cannot be written");
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        for answer in answers {
            answer(committed.as_ref().err());
        }
    }
    // Leaves one file behind instead of three; what fails here is made good at the next start.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

fn write_group(
    connection: &Connection,
    first: Change,
    changes: &mut mpsc::Receiver<Change>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut next = Some(first);
    while let Some(change) = next {
        answers.push(change(connection));
        if connection.is_autocommit() {
            // A full or failing disk makes SQLite roll the whole group back by itself.
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
                Some("the transaction was rolled back".to_owned()),
            ));
        }
        next = if answers.len() < GROUP {
            changes.try_recv().ok()
        } else {
            None
        };
    }
    connection.execute_batch("COMMIT")
}

/// Keeps a change that fails half way from leaving its first half in the group's transaction.
fn in_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce(&Tables<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT change")?.execute(())?;
    let done = change(&Tables(connection));
    if done.is_err() {
        connection
            .prepare_cached("ROLLBACK TO change")?
            .execute(())?;
    }
    connection.prepare_cached("RELEASE change")?.execute(())?;
    done
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
