//! Bytes that no path serves: of rejected uploads, and of what another upload has taken the place of.
//!
//! A file gets the name under which it is kept before the commit that records it: what is replaced before
//! its path changes, what is rejected within the transaction. Files that are to go are removed after
//! their commit. So what is recorded as kept is there, and what a crash leaves over is found at the next
//! start: a file that nobody knows of and that is what its path should serve is put back there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::order::Turn;
use super::upload::{Running, Settled};
use super::{Ingest, Receipt, add_certificate};
use crate::Result;
use crate::catalog::{Kept, KeptLimits, Status, Tables};
use crate::names::{ObjectPath, StreamId};
use crate::workdir::{Spool, Workdir};

/// What a path held before it got another file.
#[derive(Clone)]
pub(super) struct Aside {
    workdir: Workdir,
    limits: KeptLimits,
    stream: StreamId,
    path: ObjectPath,
    /// Goes away with the last of those who hold it, unless it was kept or put back.
    file: Arc<Mutex<Spool>>,
}

impl Ingest {
    /// Takes hold of what the path holds, if anything.
    pub(super) async fn set_aside(&self, stream: StreamId, path: &ObjectPath) -> Option<Aside> {
        let file = self.take_hold(stream, path).await.unwrap_or_else(|e| {
            // The new version matters more than the old one.
            tracing::error!(error = %e.chain(), "Earlier version is not kept: stream={stream}, file={path}");
            None
        })?;
        Some(Aside {
            workdir: self.workdir.clone(),
            limits: self.limits.kept,
            stream,
            path: path.clone(),
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// The file that the path holds, under the name that it is to be kept by.
    pub(super) async fn take_hold(
        &self,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<Option<Spool>> {
        let Some(mut file) = self.workdir.set_aside(stream, path)? else {
            return Ok(None);
        };
        let name = path.as_str().to_owned();
        let held = self
            .catalog
            .look_up(move |tables| tables.object(stream, &name))
            .await?;
        if let Some(held) = held.filter(|held| held.part.is_none()) {
            self.workdir.name_kept(&mut file, stream, held.upload)?;
        }
        Ok(Some(file))
    }
}

impl Aside {
    /// Keeps it as the bytes of the upload that the catalogue still names for the path. Returns the uploads
    /// whose kept bytes have to go for it.
    pub(super) fn keep(self, tables: &Tables<'_>) -> rusqlite::Result<Vec<i64>> {
        let held = tables.object(self.stream, self.path.as_str())?;
        let Some(held) = held.filter(|held| held.part.is_none()) else {
            return Ok(Vec::new()); // a track keeps its parts
        };
        keep(
            tables,
            &self.workdir,
            self.limits,
            (self.stream, self.path.as_str(), held.upload),
            &mut self.file(),
            Kept::Superseded,
        )
    }

    /// Puts it back: what took its place could not be recorded.
    pub(super) fn put_back(&self) -> Result<()> {
        self.workdir
            .publish(&mut self.file(), self.stream, &self.path)
            .map(drop)
    }

    fn file(&self) -> MutexGuard<'_, Spool> {
        lock(&self.file)
    }
}

impl Running {
    /// Records an upload that breaks rules of a stream that enforces them, and keeps its bytes.
    pub(super) async fn reject(&mut self, turn: Turn) -> Result<Settled> {
        let limits = self.ingest.limits.kept;
        let growing = self.growing.take();
        let mut file = self.spool.take();
        if file.as_ref().is_some_and(|file| file.len() > limits.bytes) {
            file = None;
            self.is_unkept = true;
        }
        let note = self.is_unkept.then_some("too large to keep");
        let new = self.new_upload(Status::Rejected, note, Some(400));
        let certificate = self.incoming.certificate.clone();
        let stream = new.stream;
        let begun = growing.map(|growing| {
            // Those who follow it are told that there is no more; from here on nobody can.
            drop(growing.announcement);
            (growing.upload, growing.object)
        });
        self.commit_kept(turn, file, Kept::Rejected, move |tables| {
            let upload = if let Some((upload, object)) = begun {
                tables.finish_upload(upload, &new)?;
                tables.drop_growing(object)?;
                upload
            } else {
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new)?
            };
            tables.note_errors(stream, &new.path, upload, &new.outcome.errors)?;
            Ok(upload)
        })
        .await?;
        Ok(Settled {
            receipt: Receipt { etag: None },
            status: Status::Rejected,
        })
    }

    /// Records the upload, and keeps its file as the bytes of the record whose number `record` returns.
    pub(super) async fn commit_kept<F>(
        &mut self,
        turn: Turn,
        file: Option<Spool>,
        why: Kept,
        record: F,
    ) -> Result<()>
    where
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<i64> + Send + 'static,
    {
        let ingest = Arc::clone(&self.ingest);
        let (workdir, limits) = (ingest.workdir.clone(), ingest.limits.kept);
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let file = file.map(|file| Arc::new(Mutex::new(file)));
        let keeping = file.clone();
        let recorded = self
            .commit(turn, move |tables| {
                let upload = record(tables)?;
                let Some(file) = &keeping else {
                    return Ok(Vec::new());
                };
                let of = (stream, path.as_str(), upload);
                keep(tables, &workdir, limits, of, &mut lock(file), why)
            })
            .await;
        if let (Err(_), Some(file)) = (&recorded, &file) {
            lock(file).discard(); // the record's number may be another's soon
        }
        ingest.workdir.forget_kept(stream, &recorded?);
        Ok(())
    }
}

fn lock(file: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(
    tables: &Tables<'_>,
    workdir: &Workdir,
    limits: KeptLimits,
    (stream, path, upload): (StreamId, &str, i64),
    file: &mut Spool,
    why: Kept,
) -> rusqlite::Result<Vec<i64>> {
    if file.len() > limits.bytes {
        return Ok(Vec::new());
    }
    if let Err(e) = workdir.keep_upload(file, stream, upload) {
        tracing::error!(error = %e.chain(), "Bytes are not kept: stream={stream}, file={path}, upload={upload}");
        return Ok(Vec::new());
    }
    tables.keep(stream, path, upload, why, file.len(), limits)
}
