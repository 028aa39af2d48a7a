//! One upload, from its first byte to a stored object.
//!
//! ```text
//! body ──> spool file ──> rename ──> streams/ID/PATH        any object, once it is whole
//!    └───> scanner ─┬──> fragment index                     what lies where in it
//!                   └──> append to the track's file         for tracks, fragment by fragment
//! ```
//!
//! Each request runs in a task of its own, so that a client that closes its connection right after
//! the last byte still gets its object stored. What is acknowledged is recorded first.
//!
//! Knows nothing of HTTP but how a body arrives, and nothing of who may upload.

mod append;
mod body;
mod index;
mod keep;
mod media;
mod order;
mod recover;
mod slots;
mod track;
mod upload;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use tokio::sync::{Semaphore, watch};

use self::body::BodyReader;
pub(crate) use self::index::{Index, index};
use self::order::Sessions;
use self::slots::Slots;
use self::track::Held;
use self::upload::Running;
use crate::catalog::{
    Catalog, HandedOver, KeptLimits, NewUpload, Outcome, RequestRecord, Status, Stream, Tables,
};
use crate::clock::Timestamp;
use crate::finding::Findings;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::names::{ObjectPath, StreamId};
use crate::workdir::Workdir;
use crate::{Error, Kind, Result};

/// Limits of uploads.
#[derive(Clone, Debug)]
pub(crate) struct IngestLimits {
    /// Longest silence in a body of known length.
    pub(crate) body: Duration,
    /// Longest silence in a body of unknown length.
    pub(crate) chunked_body: Duration,
    /// Bytes of one object.
    pub(crate) object_size: u64,
    /// Bytes of one manifest.
    pub(crate) manifest_size: u64,
    /// Bytes that stay free on the disk.
    pub(crate) free_disk: u64,
    /// Uploads at a time; each holds up to two open files.
    pub(crate) uploads: usize,
    /// Time without an upload after which a session may begin anew.
    pub(crate) session: Duration,
    /// Bytes and uploads that are kept for one stream although no path serves them.
    pub(crate) kept: KeptLimits,
}

/// An upload whose header has arrived and which its sender may make.
pub(crate) struct Incoming {
    pub(crate) stream: Arc<Stream>,
    pub(crate) path: ObjectPath,
    /// Length of the body, where the request says it.
    pub(crate) length: Option<u64>,
    pub(crate) request: RequestRecord,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) first_byte: Timestamp,
    /// Value of the `X-EXTINF-duration` header field.
    pub(crate) extinf: Option<String>,
    /// The fault that it meets on purpose, for its record.
    pub(crate) injected: Option<&'static str>,
}

/// The certificate that a sender has shown.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) serial: String,
    pub(crate) der: Arc<[u8]>,
}

/// A stored upload.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    /// Validator of the object it became, where it became one.
    pub(crate) etag: Option<String>,
}

/// Takes uploads.
pub(crate) struct Ingest {
    catalog: Catalog,
    workdir: Workdir,
    live: Hub,
    metrics: Arc<Metrics>,
    limits: IngestLimits,
    slots: Slots,
    sessions: Sessions,
    running: Arc<Semaphore>,
    cut: watch::Sender<bool>,
}

impl Ingest {
    /// Mends what an earlier server left unfinished, and is ready then.
    pub(crate) async fn open(
        catalog: Catalog,
        workdir: Workdir,
        live: Hub,
        metrics: Arc<Metrics>,
        limits: IngestLimits,
    ) -> Result<Arc<Self>> {
        let running = Arc::new(Semaphore::new(limits.uploads));
        let ingest = Self {
            catalog,
            workdir,
            live,
            metrics,
            limits,
            slots: Slots::default(),
            sessions: Sessions::default(),
            running,
            cut: watch::Sender::new(false),
        };
        ingest.recover().await?;
        Ok(Arc::new(ingest))
    }

    /// Checks what can be checked before a byte of the body is read.
    ///
    /// # Errors
    /// [`Kind::TooLarge`], [`Kind::StorageFull`], [`Kind::Conflict`].
    pub(crate) fn check_header(
        &self,
        stream: StreamId,
        path: &ObjectPath,
        length: Option<u64>,
    ) -> Result<()> {
        self.workdir.check_place(stream, path)?;
        let limit = self.size_limit(path);
        if let Some(length) = length.filter(|length| *length > limit) {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "a body of {length} bytes is larger than the limit of {limit} bytes for \"{path}\""
                ),
            ));
        }
        self.check_disk(length.unwrap_or(0))
    }

    /// A change to what belongs to a stream.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the stream was deleted: an upload may outlive it.
    async fn write_in<T, F>(&self, stream: StreamId, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.hand_over_in(stream, change).await?.committed().await
    }

    /// As [`Self::write_in`], and returns before the commit.
    async fn hand_over_in<T, F>(&self, stream: StreamId, change: F) -> Result<HandedOverIn<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let handed = self
            .catalog
            .hand_over(move |tables| {
                if tables.stream_exists(stream)? {
                    change(tables).map(Some)
                } else {
                    Ok(None)
                }
            })
            .await?;
        Ok(HandedOverIn { stream, handed })
    }

    /// Undoes a file change that could not be recorded: the path gets back the track it held, if any.
    fn take_back(&self, stream: StreamId, path: &ObjectPath, held: Option<i64>) -> Result<()> {
        if self.catalog.stream(stream).is_err() {
            return self.workdir.delete_stream(stream);
        }
        match held {
            Some(held) => self.workdir.restore_part(stream, path, held).map(|_| ()),
            None => self.workdir.delete_object(stream, path),
        }
    }

    /// Whether enough of the disk would stay free after `coming` more bytes.
    fn check_disk(&self, coming: u64) -> Result<()> {
        let (free, _) = self.workdir.disk_space()?;
        if free.saturating_sub(coming) < self.limits.free_disk {
            return Err(Error::new(
                Kind::StorageFull,
                format!(
                    "less than {} bytes would stay free on the server's disk",
                    self.limits.free_disk
                ),
            ));
        }
        Ok(())
    }

    /// Records an upload that is turned away before its body is read.
    pub(crate) async fn refuse(&self, mut incoming: Incoming, error: &Error) {
        let errors = vec![error.message().to_owned()];
        self.count(&incoming, &errors, Status::Refused, 0, Instant::now());
        let certificate = incoming.certificate.take();
        let mut upload = new_upload(
            incoming,
            Status::Refused,
            0,
            Some(error.kind().http_status()),
        );
        upload.outcome.errors = errors;
        let recorded = self
            .catalog
            .write(move |tables| {
                if !tables.stream_exists(upload.stream)? {
                    return Ok(());
                }
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&upload)?;
                tables.prune_refused(upload.stream)
            })
            .await;
        if let Err(e) = recorded {
            tracing::error!(error = %e.chain(), "a refused upload could not be recorded");
        }
    }

    /// Reads the body and stores it.
    ///
    /// # Errors
    /// As the body deserves; what was stored nevertheless is in the upload's record.
    ///
    /// # Cancel safety
    /// The upload goes on when the caller goes away, as far as its body comes.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        incoming: Incoming,
        body: Body,
    ) -> Result<Receipt> {
        let permit = Arc::clone(&self.running)
            .try_acquire_owned()
            .map_err(|_| Error::new(Kind::Busy, "too many uploads at a time; try again later"))?;
        let ingest = Arc::clone(self);
        let span = tracing::Span::current();
        let work = async move {
            let _permit = permit;
            Running::run(ingest, incoming, body).await
        };
        tokio::spawn(tracing::Instrument::instrument(work, span))
            .await
            .map_err(|e| Error::internal("an upload's task panicked", e))?
    }

    /// Removes the object at the path; there may be none.
    pub(crate) async fn delete(&self, stream: StreamId, path: ObjectPath) -> Result<()> {
        let slot = self.slots.enter(stream, &path);
        let mut state = slot.lock().await;
        self.workdir.delete_object(stream, &path)?;
        state.track = Held::None;
        self.live.withdraw(stream, &path);
        let gone = path.clone();
        self.catalog
            .write(move |tables| tables.delete_object(stream, &gone))
            .await?;
        tracing::info!("Object deleted: stream={stream}, file={path}");
        Ok(())
    }

    /// Deletes a stream with all that belongs to it. Done to its end also when the caller goes away.
    pub(crate) async fn delete_stream(self: &Arc<Self>, stream: StreamId) -> Result<()> {
        let ingest = Arc::clone(self);
        let work = async move {
            ingest.catalog.delete_stream(stream).await?;
            ingest.live.activity().forget(stream);
            let workdir = ingest.workdir.clone();
            crate::workdir::blocking(move || workdir.delete_stream(stream)).await?;
            ingest.catalog.purge_stream(stream).await
        };
        tokio::spawn(work)
            .await
            .map_err(|e| Error::internal("a deletion panicked", e))?
    }

    /// Uploads under way.
    pub(crate) fn running(&self) -> usize {
        self.limits.uploads - self.running.available_permits()
    }

    /// Waits until running uploads have ended; those that are left after `patience` are cut, which
    /// keeps their whole fragments.
    pub(crate) async fn drain(&self, patience: Duration) {
        let all = u32::try_from(self.limits.uploads).unwrap_or(u32::MAX);
        if tokio::time::timeout(patience, self.running.acquire_many(all))
            .await
            .is_err()
        {
            tracing::warn!(
                uploads = self.running(),
                "cutting uploads that did not end in time"
            );
            self.cut.send_replace(true);
            // Cut uploads only have their record to write.
            let _ =
                tokio::time::timeout(Duration::from_secs(5), self.running.acquire_many(all)).await;
        }
    }

    fn size_limit(&self, path: &ObjectPath) -> u64 {
        if path.is_manifest() {
            self.limits.manifest_size
        } else {
            self.limits.object_size
        }
    }

    fn reader(&self, incoming: &Incoming, body: Body) -> BodyReader {
        let idle = if incoming.length.is_some() {
            self.limits.body
        } else {
            self.limits.chunked_body
        };
        let limit = match (incoming.length, incoming.path.naming()) {
            // An endless body is as large as it is; its track goes on in its next part.
            (None, naming) if naming != crate::names::Naming::Plain => u64::MAX,
            _ => self.size_limit(&incoming.path),
        };
        let meter = self.live.activity().meter(incoming.stream.id);
        BodyReader::new(body, idle, limit, self.cut.subscribe(), meter)
    }

    fn count(
        &self,
        incoming: &Incoming,
        errors: &[String],
        status: Status,
        bytes: u64,
        began: Instant,
    ) {
        self.metrics.upload(status, bytes, began.elapsed());
        let (stream, path) = (incoming.stream.id, &incoming.path);
        match status {
            Status::Accepted | Status::Superseded if errors.is_empty() => {
                tracing::info!(
                    bytes,
                    "Upload successful: stream={stream}, file={path}, errors=[]"
                );
            }
            Status::Accepted | Status::Superseded => {
                tracing::warn!(
                    bytes,
                    "Upload successful: stream={stream}, file={path}, errors={errors:?}"
                );
            }
            other => {
                tracing::warn!(
                    bytes,
                    "Upload {}: stream={stream}, file={path}, errors={errors:?}",
                    other.as_str()
                );
            }
        }
    }
}

/// A change in a stream that was handed over and will be done.
struct HandedOverIn<T> {
    stream: StreamId,
    handed: HandedOver<Option<T>>,
}

impl<T> HandedOverIn<T> {
    async fn committed(self) -> Result<T> {
        let stream = self.stream;
        self.handed.committed().await?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("stream {stream} does not exist any more"),
            )
        })
    }
}

fn new_upload(
    incoming: Incoming,
    status: Status,
    size: u64,
    http_status: Option<u16>,
) -> NewUpload {
    let profile = incoming.stream.interface.profile();
    NewUpload {
        stream: incoming.stream.id,
        path: incoming.path.as_str().to_owned(),
        request: incoming.request,
        extinf: incoming.extinf,
        first_byte: incoming.first_byte,
        outcome: Outcome {
            status,
            note: incoming.injected,
            object: None,
            size,
            http_status,
            errors: Vec::new(),
            rules: Vec::new(),
            findings: Findings::default(),
            profile,
            judged: None,
            last_byte: Timestamp::now(),
        },
    }
}

fn add_certificate(tables: &Tables<'_>, certificate: Option<&Certificate>) -> rusqlite::Result<()> {
    match certificate {
        Some(c) => tables.add_shown(&c.fingerprint, &c.name, &c.serial, &c.der),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
