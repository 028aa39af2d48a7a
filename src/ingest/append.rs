//! Uploads to tracks: their header and fragments go to the end of what is held.

use std::ops::Range;
use std::sync::Arc;

use super::track::{Held, PartHeader, Placed, Source, State, Target, row_at};
use super::upload::{Piece, Running, Settled};
use super::{Receipt, add_certificate};
use crate::catalog::{FragmentRow, Status};
use crate::cmaf::FragmentSeen;
use crate::{Error, Kind, Result};

impl Running {
    /// Takes the next piece of a track.
    pub(super) async fn add_piece(&mut self, piece: Piece) -> Result<()> {
        match piece {
            Piece::Header(range) => {
                self.track.header = Some(range);
                Ok(())
            }
            Piece::Fragment(seen) => self.add_fragment(&seen).await,
        }
    }

    async fn add_fragment(&mut self, seen: &FragmentSeen) -> Result<()> {
        let upload = self.begin_record().await?;
        let ingest = Arc::clone(&self.ingest);
        let mut state = self.slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(spool) = &mut self.spool else {
            return Ok(());
        };
        let file = spool.file();
        let source = Source {
            file: &file,
            base: self.base,
        };
        let target = Target {
            stream: self.incoming.stream.id,
            path: &self.incoming.path,
            upload,
        };
        let header = match self.track.header.take() {
            Some(range) if begins_part(&state, &source, &range)? => Some(range),
            _ => None,
        };
        let before = held_object(&state);
        let placed = ingest
            .place_fragment(&mut state, &target, &source, header.as_ref(), seen)
            .await?;
        if let Held::Track(track) = &mut state.track {
            match placed {
                Placed::Appended(object) => {
                    if before != Some(object) {
                        self.track.began = Some((object, track.media_end));
                    } else if let Some((began, end)) = &mut self.track.began
                        && *began == object
                        && *end + (seen.range.end - seen.range.start) == track.media_end
                    {
                        *end = track.media_end;
                    }
                    self.track.object = Some(object);
                }
                Placed::Held => self.track.held += 1,
            }
            if self.incoming.length.is_none() && !self.track.sending {
                track.add_sender();
                self.track.sending = true;
            }
        }
        drop(state);
        // What was handed on need not stay on the disk twice.
        if self.incoming.length.is_none() && self.base + spool.len() == seen.range.end {
            spool.truncate(0)?;
            self.base = seen.range.end;
        }
        Ok(())
    }

    /// Records the upload before its first fragment is placed: the fragments name it.
    async fn begin_record(&mut self) -> Result<i64> {
        if let Some(upload) = self.track.upload {
            return Ok(upload);
        }
        let new = self.new_upload(Status::Incomplete, None, None);
        let certificate = self.incoming.certificate.clone();
        let upload = self
            .ingest
            .catalog
            .write(move |tables| {
                if !tables.stream_exists(new.stream)? {
                    return Ok(None);
                }
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new).map(Some)
            })
            .await?;
        let gone = || {
            let stream = self.incoming.stream.id;
            Error::new(
                Kind::NotFound,
                format!("stream {stream} does not exist any more"),
            )
        };
        let upload = upload.ok_or_else(gone)?;
        self.track.upload = Some(upload);
        Ok(upload)
    }

    /// The body came to its end.
    pub(super) async fn finish_track(&mut self) -> Result<Settled> {
        let pieces = std::mem::take(&mut self.pieces);
        if !self.is_endless() && self.publish_as_part(&pieces).await? {
            return self.finish_record(None).await;
        }
        if !self.is_endless()
            && let Some(message) = self.broken.take()
        {
            return Err(Error::new(Kind::Invalid, message));
        }
        if self.overfull {
            return Err(Error::new(
                Kind::TooLarge,
                "too many fragments in one body of known length: send them in several requests",
            ));
        }
        for piece in pieces {
            self.add_piece(piece).await?;
        }
        if let Some(range) = self.track.header.take() {
            self.add_lone_header(range).await?;
        }
        self.keep_trailer().await?;
        let note = match (self.track.object, self.track.held) {
            (Some(_), _) => None,
            (None, 0) => Some("nothing to add"),
            (None, _) => Some("retransmission"),
        };
        self.finish_record(note).await
    }

    /// A body that begins with a new header is a part as it stands, byte for byte.
    async fn publish_as_part(&mut self, pieces: &[Piece]) -> Result<bool> {
        let Some((Piece::Header(header), fragments)) = pieces.split_first() else {
            return Ok(false);
        };
        let mut rows: Vec<FragmentRow> = Vec::with_capacity(fragments.len());
        for piece in fragments {
            let Piece::Fragment(seen) = piece else {
                return Ok(false);
            };
            rows.push(row_at(seen.range.start, seen));
        }
        let media_end = self.media_end.max(header.end);
        let upload = self.begin_record().await?;
        let ingest = Arc::clone(&self.ingest);
        let mut state = self.slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(spool) = self.spool.take() else {
            return Ok(false);
        };
        let file = spool.file();
        if !begins_part(
            &state,
            &Source {
                file: &file,
                base: 0,
            },
            header,
        )? {
            self.spool = Some(spool);
            return Ok(false);
        }
        let target = Target {
            stream: self.incoming.stream.id,
            path: &self.incoming.path,
            upload,
        };
        let object = ingest
            .publish_part(&mut state, &target, spool, header.end, rows)
            .await?;
        self.track.object = Some(object);
        Ok(true)
    }

    /// The request held a header and no fragment for it.
    async fn add_lone_header(&mut self, range: Range<u64>) -> Result<()> {
        let upload = self.begin_record().await?;
        let ingest = Arc::clone(&self.ingest);
        let mut state = self.slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(spool) = &self.spool else {
            return Ok(());
        };
        let file = spool.file();
        let source = Source {
            file: &file,
            base: self.base,
        };
        if !begins_part(&state, &source, &range)? {
            self.track.held += 1;
            return Ok(());
        }
        let target = Target {
            stream: self.incoming.stream.id,
            path: &self.incoming.path,
            upload,
        };
        let object = ingest
            .begin_part(&mut state, &target, &source, PartHeader::Sent(range), None)
            .await?;
        self.track.object = Some(object);
        Ok(())
    }

    /// Boxes after the last fragment (such as `mfra`) stay with a part that this upload alone made, so
    /// that a file pushed in one request is read back byte for byte.
    async fn keep_trailer(&mut self) -> Result<()> {
        let (Some((object, end)), Some(spool)) = (self.track.began, &self.spool) else {
            return Ok(());
        };
        let rest = spool.len();
        if !self.is_endless() || rest == 0 {
            return Ok(());
        }
        let state = self.slot.lock().await;
        let Held::Track(track) = &state.track else {
            return Ok(());
        };
        if track.object != object || track.media_end != end {
            return Ok(());
        }
        crate::workdir::copy_range(&spool.file(), 0, rest, &track.file, end)?;
        let Some(upload) = self.track.upload else {
            return Ok(());
        };
        self.ingest
            .catalog
            .write(move |tables| tables.complete_object(object, upload, end + rest))
            .await
    }

    async fn finish_record(&mut self, note: Option<&'static str>) -> Result<Settled> {
        let upload = self.begin_record().await?;
        let mut new = self.new_upload(Status::Accepted, note, Some(202));
        new.outcome.object = self.track.object;
        self.ingest
            .catalog
            .write(move |tables| {
                tables.finish_upload(upload, &new)?;
                tables.note_errors(new.stream, &new.path, upload, &new.outcome.errors)
            })
            .await?;
        let (stream, path) = (self.incoming.stream.id, &self.incoming.path);
        let track = self.ingest.workdir.open_object(stream, path)?;
        let receipt = Receipt {
            etag: track.map(|track| track.etag()),
        };
        Ok(Settled {
            receipt,
            status: Status::Accepted,
        })
    }

    /// Readers of the track no longer wait for this upload.
    pub(super) async fn leave_track(&mut self) {
        if !std::mem::take(&mut self.track.sending) {
            return;
        }
        if let Held::Track(track) = &mut self.slot.lock().await.track {
            track.remove_sender();
        }
    }
}

fn held_object(state: &State) -> Option<i64> {
    match &state.track {
        Held::Track(track) => Some(track.object),
        _ => None,
    }
}

/// Whether a header that was sent is not the held one.
fn begins_part(state: &State, source: &Source<'_>, header: &Range<u64>) -> Result<bool> {
    match &state.track {
        Held::Track(track) => Ok(!track.has_header(source, header)?),
        Held::None | Held::Unknown => Ok(true),
    }
}
