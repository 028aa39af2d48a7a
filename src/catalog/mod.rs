//! What is remembered: streams, uploads, objects, fragments, certificates, events.
//!
//! One door with two leaves. [`Catalog::write`] hands a closure to the one thread that writes; what
//! is waiting there is done in one transaction, and the caller hears back after its commit.
//! [`Catalog::read`] runs a closure on one of a few reading connections. Both see the data through
//! [`Tables`], the only place that speaks SQL; another engine would replace that and the thread.
//!
//! Knows nothing of HTTP, TLS, and of where files lie.

mod adopted;
mod audit;
mod certificates;
mod devices;
mod enrolments;
mod events;
mod findings;
mod kept;
mod lines;
mod objects;
mod refusals;
mod roots;
mod sessions;
mod streams;
mod tokens;
mod uploads;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use self::adopted::{AdoptedSession, AdoptedStream, AdoptedUpload};
pub(crate) use self::audit::{Audit, Audited, By};
pub(crate) use self::certificates::{CertificateRow, Issued, Which};
pub(crate) use self::devices::{Device, Seen};
pub(crate) use self::enrolments::{Enrolment, EnrolmentState, NewEnrolment};
pub(crate) use self::events::{Event, EventFilter, MOST_WANTED};
pub(crate) use self::findings::Found;
pub(crate) use self::kept::{Content, Kept, KeptLimits, PartRanges, VERSIONS};
pub(crate) use self::lines::UploadLine;
pub(crate) use self::objects::{FragmentRow, ListedObject, NewObject, Object};
pub(crate) use self::refusals::{NewRefusal, Refusal, RefusedCertificate};
pub(crate) use self::roots::{Expiring, OldRoot};
pub(crate) use self::sessions::{Judged, ListedSession};
pub(crate) use self::streams::{NewStream, Stream, StreamChange, StreamCounts};
pub(crate) use self::tokens::{NewToken, Role, Token};
pub(crate) use self::uploads::{NewUpload, Outcome, RequestRecord, Status, Upload};
pub(crate) use self::writer::HandedOver;
use self::writer::Writer;
use crate::clock::Timestamp;
use crate::names::StreamId;
use crate::{Error, Kind, Result};

/// What makes the schema, step by step. SQLite's `user_version` counts the steps a catalogue has seen; a
/// step that was ever released does not change any more.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/1-base.sql"),
    include_str!("migrations/2-judging.sql"),
    include_str!("migrations/3-findings.sql"),
    include_str!("migrations/4-identity.sql"),
    include_str!("migrations/5-page.sql"),
];
/// Reading connections for listings. More than the cores of a small server gain nothing.
const LISTING_READERS: usize = 3;
/// Reading connections for what uploads wait for.
const LOOKUP_READERS: usize = 2;

/// The door to the catalogue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Catalog {
    writer: Arc<Writer>,
    listings: Arc<Readers>,
    lookups: Arc<Readers>,
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
        let version: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        let version = usize::try_from(version).unwrap_or(usize::MAX);
        if version > MIGRATIONS.len() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the catalogue {} has format {version}, this program knows formats up to {}: \
                     use the program that wrote it",
                    file.display(),
                    MIGRATIONS.len()
                ),
            ));
        }
        migrate(&connection, version).map_err(failed)?;
        let known = streams::Known::load(&Tables(&connection)).map_err(failed)?;
        Ok(Self {
            writer: Arc::new(Writer::start(connection)?),
            listings: Readers::open(file, LISTING_READERS).map_err(failed)?,
            lookups: Readers::open(file, LOOKUP_READERS).map_err(failed)?,
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
        self.writer.hand_over(change).await?.committed().await
    }

    /// As [`Self::write`], and returns before the commit: changes are done in the order in which they
    /// were handed over.
    pub(crate) async fn hand_over<T, F>(&self, change: F) -> Result<HandedOver<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.writer.hand_over(change).await
    }

    /// Runs `query` on a reading connection, off the runtime's threads. For listings.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.listings.run(query).await
    }

    /// As [`Self::read`], for short queries that an upload waits for: listings do not hold them up.
    pub(crate) async fn look_up<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.lookups.run(query).await
    }

    /// Changes with every commit: who follows the events waits for it.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.writer.commits()
    }

    /// Waits until everything handed over so far is committed, and ends the writing thread.
    pub(crate) fn close(&self) {
        self.writer.close();
    }
}

/// A reading connection in use; it is put back when the lease ends, however that comes about.
struct Lease {
    readers: Arc<Readers>,
    connection: Option<Connection>,
    // Given back after the connection: whoever gets it finds one.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    fn new(readers: Arc<Readers>, permit: OwnedSemaphorePermit) -> Self {
        let connection = readers.idle().pop();
        Self {
            readers,
            connection,
            _permit: permit,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.idle().push(connection);
        }
    }
}

impl Readers {
    fn open(file: &Path, number: usize) -> rusqlite::Result<Arc<Self>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = |_| {
            let reader = Connection::open_with_flags(file, flags)?;
            prepare(&reader)?;
            Ok(reader)
        };
        let idle = (0..number).map(open).collect::<rusqlite::Result<_>>()?;
        Ok(Arc::new(Self {
            idle: Mutex::new(idle),
            permits: Arc::new(Semaphore::new(number)),
        }))
    }

    async fn run<T, F>(self: &Arc<Self>, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let closed = |_| Error::new(Kind::Busy, "the server is shutting down");
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(closed)?;
        let lease = Lease::new(Arc::clone(self), permit);
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

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Takes the catalogue from `version` to the newest: every step is done whole or not at all.
fn migrate(connection: &Connection, version: usize) -> rusqlite::Result<()> {
    for (step, script) in MIGRATIONS.iter().enumerate().skip(version) {
        let next = step + 1;
        connection.execute_batch(&format!(
            "BEGIN; {script}\nPRAGMA user_version = {next}; COMMIT;"
        ))?;
    }
    Ok(())
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
    /// Somebody changed something; the detail is JSON.
    Audit,
    /// A connection or a request was turned away; the detail is JSON.
    Refusal,
    /// A certificate ends soon; the detail is JSON.
    CertificateExpiring,
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
            Self::Audit => "audit",
            Self::Refusal => "refusal",
            Self::CertificateExpiring => "certificate-expiring",
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
