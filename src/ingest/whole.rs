//! Objects of their own: a whole body takes the place of what its path held.

use std::sync::Arc;

use super::track::{Held, end_of, row_at};
use super::upload::{Growing, Piece, Running, Settled};
use super::{Receipt, add_certificate};
use crate::catalog::{FragmentRow, NewObject, Status};
use crate::cmaf::FragmentSeen;
use crate::live::Extent;
use crate::{Error, Kind, Result};

impl Running {
    /// A fragment of an object of unknown length: from now on it can be read up to there.
    pub(super) async fn grow(&mut self, seen: &FragmentSeen) -> Result<()> {
        let row = row_at(seen.range.start, seen);
        let len = seen.range.end;
        if self.growing.is_none() {
            self.growing = self.begin_growing().await?;
        }
        let Some(growing) = &mut self.growing else {
            return Ok(());
        };
        let (object, upload, end_time) = (growing.object, growing.upload, end_of(&row));
        self.ingest
            .catalog
            .write(move |tables| {
                tables.add_fragments(object, upload, &[row])?;
                tables.grow_object(object, upload, len, end_time)
            })
            .await?;
        growing.len = len;
        if let Some(announcement) = &growing.announcement {
            announcement.update(Extent { len, open: true });
        }
        Ok(())
    }

    async fn begin_growing(&mut self) -> Result<Option<Growing>> {
        let Some(spool) = &mut self.spool else {
            return Ok(None);
        };
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let file = spool.file();
        let new = self.new_upload(Status::Incomplete, None, None);
        let mut growing = self.new_object(0, false);
        let certificate = self.incoming.certificate.clone();
        let (upload, object, hides_whole) = self
            .ingest
            .catalog
            .write(move |tables| {
                add_certificate(tables, certificate.as_ref())?;
                growing.upload = tables.insert_upload(&new)?;
                let held = tables.object(stream, growing.path.as_str())?;
                let object = tables.insert_growing(&growing)?;
                Ok((growing.upload, object, held.is_some_and(|held| held.whole)))
            })
            .await?;
        if let Some(spool) = &mut self.spool {
            self.ingest.workdir.name_growing(spool, stream, object)?;
        }
        let announcement = (!hides_whole).then(|| {
            self.ingest
                .live
                .announce(stream, &path, file, Extent { len: 0, open: true })
        });
        Ok(Some(Growing {
            upload,
            object,
            announcement,
            len: 0,
        }))
    }

    /// Makes the body the object at its path.
    pub(super) async fn publish(&mut self) -> Result<Settled> {
        let ingest = Arc::clone(&self.ingest);
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let Some(mut spool) = self.spool.take() else {
            return Err(Error::new(
                Kind::Internal,
                "an upload has bytes but no file",
            ));
        };
        let mut state = self.slot.lock().await;
        if state.newest > self.slot.order {
            drop(state);
            return self.record_overtaken().await;
        }
        let growing = self
            .growing
            .as_ref()
            .map(|growing| (growing.upload, growing.object));
        let published = match growing {
            None => ingest.workdir.publish(&mut spool, stream, &path),
            Some(_) => ingest.workdir.publish_growing(&mut spool, stream, &path),
        };
        let file = match published {
            Ok(file) => file,
            Err(e) => {
                self.spool = Some(spool); // what has grown of it is kept aside
                return Err(e);
            }
        };
        state.newest = self.slot.order;
        state.track = Held::None;
        let rows: Vec<FragmentRow> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Fragment(seen) => Some(row_at(seen.range.start, seen)),
                Piece::Header(_) => None,
            })
            .collect();
        let mut object = self.new_object(file.size, true);
        object.media_end = rows
            .last()
            .map_or(object.header_size, |row| row.offset + row.size);
        object.end_time = rows.iter().filter_map(end_of).max();
        let mut new = self.new_upload(Status::Accepted, None, Some(202));
        let growing = self
            .growing
            .as_ref()
            .map(|growing| (growing.upload, growing.object));
        let certificate = self.incoming.certificate.clone();
        let recorded = ingest
            .catalog
            .write(move |tables| {
                if !tables.stream_exists(stream)? {
                    return Ok(false);
                }
                let upload = if let Some((upload, id)) = growing {
                    new.outcome.object = Some(id);
                    object.upload = upload;
                    tables.settle_growing(id, &object)?;
                    tables.finish_upload(upload, &new)?;
                    upload
                } else {
                    add_certificate(tables, certificate.as_ref())?;
                    object.upload = tables.insert_upload(&new)?;
                    let id = tables.replace_object(&object)?;
                    tables.add_fragments(id, object.upload, &rows)?;
                    object.upload
                };
                tables.note_errors(stream, object.path.as_str(), upload, &new.outcome.errors)?;
                Ok(true)
            })
            .await?;
        drop(state);
        self.growing = None;
        if let Some((_, object)) = growing {
            ingest.workdir.forget_growing(stream, object);
        }
        if !recorded {
            ingest.workdir.delete_object(stream, &path)?;
            return Err(Error::new(
                Kind::NotFound,
                format!("stream {stream} does not exist any more"),
            ));
        }
        let receipt = Receipt {
            etag: Some(file.etag()),
        };
        Ok(Settled {
            receipt,
            status: Status::Accepted,
        })
    }

    /// A newer upload to the path was whole first: this one has nothing left to replace.
    async fn record_overtaken(&mut self) -> Result<Settled> {
        let Some(growing) = self.growing.take() else {
            return self.record(Status::Superseded, Some("overtaken")).await;
        };
        let new = self.new_upload(Status::Superseded, Some("overtaken"), Some(202));
        self.ingest
            .catalog
            .write(move |tables| {
                tables.finish_upload(growing.upload, &new)?;
                tables.drop_growing(growing.object)
            })
            .await?;
        let receipt = Receipt { etag: None };
        Ok(Settled {
            receipt,
            status: Status::Superseded,
        })
    }

    /// The body was cut: keeps it up to its last whole fragment. At its path, unless a whole object
    /// is there. Whether something was kept.
    pub(super) async fn cut_growing(&mut self, error: &Error) -> Result<bool> {
        let (Some(growing), Some(mut spool)) = (self.growing.take(), self.spool.take()) else {
            return Ok(false);
        };
        let ingest = Arc::clone(&self.ingest);
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let mut state = self.slot.lock().await;
        spool.truncate(growing.len)?;
        let name = path.as_str().to_owned();
        let held = ingest
            .catalog
            .read(move |tables| tables.object(stream, &name))
            .await?;
        let serve = !held.is_some_and(|held| held.whole) && state.newest < self.slot.order;
        if serve {
            state.newest = self.slot.order;
            state.track = Held::None;
        } else {
            spool.keep();
        }
        let mut object = self.new_object(growing.len, false);
        object.upload = growing.upload;
        let mut new = self.new_upload(Status::Incomplete, None, Some(error.kind().http_status()));
        new.outcome.errors.push(error.message().to_owned());
        new.outcome.object = Some(growing.object);
        ingest
            .catalog
            .write(move |tables| {
                if serve {
                    tables.settle_growing(growing.object, &object)?;
                } else {
                    tables.shelve_growing(growing.object, growing.len)?;
                }
                tables.finish_upload(growing.upload, &new)
            })
            .await?;
        if serve {
            ingest.workdir.forget_growing(stream, growing.object);
        }
        Ok(true)
    }

    /// The record of the object that this body is.
    fn new_object(&self, size: u64, whole: bool) -> NewObject {
        let header_size = match self.pieces.first() {
            Some(Piece::Header(range)) => range.end,
            _ => 0,
        };
        NewObject {
            stream: self.incoming.stream.id,
            path: self.incoming.path.clone(),
            upload: 0, // known once the upload is recorded
            size,
            whole,
            part: None,
            header_size,
            media_end: header_size,
            end_time: None,
        }
    }
}
