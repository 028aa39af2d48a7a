//! What is remembered: streams, uploads, objects, fragments, certificates, events.
//!
//! One door with two leaves. [`Catalog::write`] hands a closure to the one thread that writes; what
//! is waiting there is done in one transaction, and the caller hears back after its commit.
//! [`Catalog::read`] runs a closure on one of a few reading connections. Both see the data through
//! [`Tables`], the only place that speaks SQL; another engine would replace that and the thread.
//!
//! Knows nothing of HTTP, TLS, and of where files lie.

mod certificates;
mod objects;
mod streams;
mod uploads;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::certificates::Issued;
pub(crate) use self::objects::{FragmentRow, NewObject, Object};
pub(crate) use self::streams::{NewStream, Stream, StreamChange, StreamCounts};
pub(crate) use self::uploads::{NewUpload, Outcome, RequestRecord, Status, Upload};
use self::writer::Writer;
use crate::clock::Timestamp;
use crate::names::StreamId;
use crate::{Error, Kind, Result};

/// Version of the schema, kept in SQLite's `user_version`.
const SCHEMA_VERSION: i32 = 1;
/// Reading connections. More than the cores of a small server gain nothing.
const READERS: usize = 4;

/// The door to the catalogue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Catalog {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    streams: Arc<streams::Known>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// The tables, seen through one connection.
pub(crate) struct Tables<'c>(&'c Connection);

impl Catalog {
    /// Opens the catalogue in `file`, making it when it is not there.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let failed = |e: rusqlite::Error| {
            Error::internal(format!("cannot open the catalogue {}", file.display()), e)
        };
        let connection = Connection::open(file).map_err(failed)?;
        prepare(&connection).map_err(failed)?;
        let version: i32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        match version {
            0 => create(&connection).map_err(failed)?,
            SCHEMA_VERSION => {}
            other => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "the catalogue {} has format {other}, this program reads format {SCHEMA_VERSION}: \
                         use the program that wrote it",
                        file.display()
                    ),
                ));
            }
        }
        let known = streams::Known::load(&Tables(&connection)).map_err(failed)?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let reader = Connection::open_with_flags(file, flags).map_err(failed)?;
            prepare(&reader).map_err(failed)?;
            readers.push(reader);
        }
        Ok(Self {
            writer: Arc::new(Writer::start(connection)?),
            readers: Arc::new(Readers {
                idle: Mutex::new(readers),
                permits: Arc::new(Semaphore::new(READERS)),
            }),
            streams: Arc::new(known),
        })
    }

    /// Runs `change` in a transaction and returns after it is committed.
    ///
    /// Changes are done in the order of their calls. A change that fails leaves nothing behind.
    ///
    /// # Cancel safety
    /// Once called, the change is done, also when the caller goes away.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.writer.run(change).await
    }

    /// Runs `query` on a reading connection, off the runtime's threads.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = |_| Error::new(Kind::Busy, "the server is shutting down");
        let permits = Arc::clone(&self.readers.permits);
        let permit = permits.acquire_owned().await.map_err(closed)?;
        let lease = Lease::new(Arc::clone(&self.readers), permit);
        // The lease goes along: it ends with the query, also when the caller has gone away.
        let done = tokio::task::spawn_blocking(move || {
            let Some(connection) = &lease.connection else {
                return Err(Error::new(Kind::Internal, "no reading connection is idle"));
            };
            query(&Tables(connection))
                .map_err(|e| Error::internal("the catalogue cannot be read", e))
        });
        done.await
            .map_err(|e| Error::internal("a catalogue query panicked", e))?
    }

    /// Waits until everything handed over so far is committed, and ends the writing thread.
    pub(crate) fn close(&self) {
        self.writer.close();
    }
}

impl Readers {
    fn take(&self) -> Option<Connection> {
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .pop()
    }

    fn put_back(&self, connection: Connection) {
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(connection);
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // In WAL mode a commit with synchronous=NORMAL survives the end of the process, whatever ended it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let script = include_str!("schema.sql");
    connection.execute_batch(&format!(
        "BEGIN; {script}\nPRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ))
}

/// What happened, for those who follow the events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EventKind {
    StreamCreated,
    StreamChanged,
    StreamDeleted,
    Upload,
    ObjectDeleted,
    CertificateIssued,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::StreamCreated => "stream-created",
            Self::StreamChanged => "stream-changed",
            Self::StreamDeleted => "stream-deleted",
            Self::Upload => "upload",
            Self::ObjectDeleted => "object-deleted",
            Self::CertificateIssued => "certificate-issued",
        }
    }
}

impl Tables<'_> {
    /// Adds an event. Its sequence number rises with every commit.
    pub(crate) fn add_event(
        &self,
        kind: EventKind,
        stream: Option<StreamId>,
        path: Option<&str>,
        upload: Option<i64>,
        detail: Option<&str>,
    ) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO event (at, kind, stream, path, upload, detail) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                Timestamp::now().as_micros(),
                kind.as_str(),
                stream.map(|s| s.0),
                path,
                upload,
                detail,
            ))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
