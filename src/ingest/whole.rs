//! Objects of their own: a whole body takes the place of what its path held.

use std::sync::Arc;

use super::keep::Aside;
use super::order::Turn;
use super::track::{Held, end_of, row_at};
use super::upload::{Growing, Piece, Running, Settled};
use super::{Receipt, add_certificate};
use crate::catalog::{FragmentRow, Kept, NewObject, Status, Tables};
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
            .write_in(self.incoming.stream.id, move |tables| {
                tables.add_fragments(object, upload, &[row])?;
                tables.grow_object(object, upload, len, end_time)
            })
            .await?;
        growing.len = len;
        let extent = Extent { len, open: true };
        match &growing.announcement {
            Some(announcement) => announcement.update(extent),
            None if !growing.hidden => self.announce(extent).await?,
            None => {}
        }
        Ok(())
    }

    /// Lets readers follow, unless the path serves a whole object, which must not be hidden.
    async fn announce(&mut self, extent: Extent) -> Result<()> {
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let (Some(growing), Some(spool)) = (&mut self.growing, &self.spool) else {
            return Ok(());
        };
        // What the path serves does not change while the slot is locked.
        let state = self.slot.lock().await;
        let name = path.as_str().to_owned();
        let held = self
            .ingest
            .catalog
            .look_up(move |tables| tables.object(stream, &name))
            .await?;
        growing.hidden = held.is_some_and(|held| held.whole) || state.newest > self.slot.order;
        if !growing.hidden {
            let announced = self
                .ingest
                .live
                .announce(stream, &path, spool.file(), extent);
            growing.announcement = Some(announced);
        }
        Ok(())
    }

    async fn begin_growing(&mut self) -> Result<Option<Growing>> {
        let stream = self.incoming.stream.id;
        let new = self.new_upload(Status::Incomplete, None, None);
        let mut growing = self.new_object(0, false);
        let certificate = self.incoming.certificate.clone();
        let Some(spool) = &mut self.spool else {
            return Ok(None);
        };
        let (upload, object) = self
            .ingest
            .write_in(stream, move |tables| {
                add_certificate(tables, certificate.as_ref())?;
                growing.upload = tables.insert_upload(&new)?;
                Ok((growing.upload, tables.insert_growing(&growing)?))
            })
            .await?;
        self.ingest.workdir.name_growing(spool, stream, object)?;
        Ok(Some(Growing {
            upload,
            object,
            announcement: None,
            hidden: false,
            len: 0,
        }))
    }

    /// Makes the body the object at its path.
    pub(super) async fn publish(&mut self) -> Result<Settled> {
        let (ingest, slot) = (Arc::clone(&self.ingest), Arc::clone(&self.slot));
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let mut state = slot.lock().await;
        let turn = self.take_turn().await?;
        if self.judge(&turn) {
            drop(state);
            return self.reject(turn).await;
        }
        if self.received == 0 {
            return self.record_empty(turn).await;
        }
        if state.newest > slot.order {
            drop(state);
            return self.record_overtaken(turn).await;
        }
        let track = match &state.track {
            Held::Track(track) => Some(track.object),
            Held::None | Held::Unknown => None,
        };
        if let Some(track) = track {
            ingest.workdir.keep_part(stream, &path, track)?;
        }
        let growing = self
            .growing
            .as_ref()
            .map(|growing| (growing.upload, growing.object));
        let before = ingest.set_aside(stream, &path).await;
        let Some(spool) = &mut self.spool else {
            return Err(Error::new(
                Kind::Internal,
                "an upload has bytes but no file",
            ));
        };
        let file = match growing {
            None => ingest.workdir.publish(spool, stream, &path)?,
            Some(_) => ingest.workdir.publish_growing(spool, stream, &path)?,
        };
        let object = self.new_object(file.size, true);
        let recorded = self
            .record_published(turn, object, growing, before.clone())
            .await;
        if let Err(e) = recorded {
            state.track = Held::Unknown;
            self.spool = None;
            match before {
                Some(before) if track.is_none() && e.kind() != Kind::NotFound => {
                    before.put_back()?;
                }
                _ => ingest.take_back(stream, &path, track)?,
            }
            return Err(e);
        }
        state.newest = slot.order;
        state.track = Held::None;
        if let Some(growing) = self.growing.take() {
            if let Some(announcement) = &growing.announcement {
                // Those who follow it get what came after the last fragment, too.
                let (len, open) = (file.size, false);
                announcement.update(Extent { len, open });
            }
            ingest.workdir.forget_part(stream, growing.object);
        }
        // An older upload that is still growing no longer stands for the path.
        ingest.live.withdraw(stream, &path);
        if let Some(track) = track {
            ingest.workdir.forget_part(stream, track);
        }
        drop(state);
        let receipt = Receipt {
            etag: Some(file.etag()),
        };
        Ok(Settled {
            receipt,
            status: Status::Accepted,
        })
    }

    async fn record_published(
        &mut self,
        turn: Turn,
        mut object: NewObject,
        growing: Option<(i64, i64)>,
        before: Option<Aside>,
    ) -> Result<()> {
        let stream = self.incoming.stream.id;
        let rows: Vec<FragmentRow> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Fragment(seen) => Some(row_at(seen.range.start, seen)),
                Piece::Header(_) => None,
            })
            .collect();
        object.media_end = self.media_end.max(object.header_size);
        object.end_time = rows.iter().filter_map(end_of).max();
        let mut new = self.new_upload(Status::Accepted, None, Some(202));
        let certificate = self.incoming.certificate.clone();
        let record = move |tables: &Tables<'_>| {
            let gone = match before {
                Some(before) => before.keep(tables)?,
                None => Vec::new(),
            };
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
            Ok(gone)
        };
        let gone = self.commit(turn, record).await?;
        self.ingest.workdir.forget_kept(stream, &gone);
        Ok(())
    }

    /// An empty manifest, where no rule forbids it: there is nothing to store.
    async fn record_empty(&mut self, turn: Turn) -> Result<Settled> {
        let new = self.new_upload(Status::Accepted, Some("empty"), Some(202));
        let certificate = self.incoming.certificate.clone();
        self.commit(turn, move |tables| {
            add_certificate(tables, certificate.as_ref())?;
            let upload = tables.insert_upload(&new)?;
            tables.note_errors(new.stream, &new.path, upload, &new.outcome.errors)
        })
        .await?;
        Ok(Settled {
            receipt: Receipt { etag: None },
            status: Status::Accepted,
        })
    }

    /// A newer upload to the path was whole first: this one has nothing left to replace, and is an earlier
    /// version from its start.
    async fn record_overtaken(&mut self, turn: Turn) -> Result<Settled> {
        let new = self.new_upload(Status::Superseded, Some("overtaken"), Some(202));
        let (growing, file) = (self.growing.take(), self.spool.take());
        let certificate = self.incoming.certificate.clone();
        self.commit_kept(turn, file, Kept::Superseded, move |tables| match growing {
            Some(growing) => {
                tables.finish_upload(growing.upload, &new)?;
                tables.drop_growing(growing.object)?;
                Ok(growing.upload)
            }
            None => {
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new)
            }
        })
        .await?;
        Ok(Settled {
            receipt: Receipt { etag: None },
            status: Status::Superseded,
        })
    }

    /// The body was cut: keeps it up to its last whole fragment. At its path, unless a whole object
    /// is there.
    pub(super) async fn cut_growing(&mut self, error: &Error) -> Result<()> {
        let (ingest, slot) = (Arc::clone(&self.ingest), Arc::clone(&self.slot));
        let (stream, path) = (self.incoming.stream.id, self.incoming.path.clone());
        let mut object = self.new_object(0, false);
        let mut new = self.new_upload(Status::Incomplete, None, Some(error.kind().http_status()));
        let (Some(growing), Some(spool)) = (&self.growing, &mut self.spool) else {
            return Err(Error::new(Kind::Internal, "a growing upload has no file"));
        };
        let (len, id, upload) = (growing.len, growing.object, growing.upload);
        let mut state = slot.lock().await;
        spool.truncate(len)?;
        let name = path.as_str().to_owned();
        let held = ingest
            .catalog
            .look_up(move |tables| tables.object(stream, &name))
            .await?;
        let wanted = !held.is_some_and(|held| held.whole) && state.newest < slot.order;
        let serve = wanted && ingest.workdir.publish_growing(spool, stream, &path).is_ok();
        object.size = len;
        object.upload = upload;
        new.outcome.errors.push(error.message().to_owned());
        new.outcome.object = Some(id);
        ingest
            .write_in(stream, move |tables| {
                if serve {
                    tables.settle_growing(id, &object)?;
                } else {
                    tables.shelve_growing(id, len)?;
                }
                tables.finish_upload(upload, &new)
            })
            .await?;
        if serve {
            state.track = Held::None;
            ingest.workdir.forget_part(stream, id);
        } else {
            spool.keep();
        }
        self.growing = None;
        Ok(())
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
