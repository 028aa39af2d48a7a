//! Uploads to tracks: their header and fragments go to the end of what is held.

use std::ops::Range;
use std::sync::Arc;

use super::track::{Header, Held, PartContent, PartFile, Placed, Source, State, Target, row_at};
use super::upload::{Piece, Running, Settled};
use super::{Receipt, add_certificate};
use crate::catalog::{FragmentRow, Status};
use crate::cmaf::FragmentSeen;
use crate::{Error, Kind, Result};

/// Fragments that were held already and that one request may take along into the next part.
const MAX_REPEATED: usize = 4096;

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
        self.begin_record().await?;
        let (ingest, slot) = (Arc::clone(&self.ingest), Arc::clone(&self.slot));
        let mut state = slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(file) = self.spool.as_ref().map(|spool| spool.file()) else {
            return Ok(());
        };
        let source = Source {
            file: &file,
            base: self.base,
        };
        let before = held_object(&state);
        let placed = match self.track.header.take() {
            Some(range) if self.begins_part(&state, &source, &range)? => {
                let content = PartContent {
                    header: Some(range),
                    repeated: &[],
                    fragment: Some(seen),
                };
                let target = self.target();
                Placed::Appended(
                    ingest
                        .begin_part(&mut state, &target, &source, content)
                        .await?,
                )
            }
            _ => {
                self.check_header_holds(&state)?;
                let repeated = self.track.repeated_in(before);
                ingest
                    .place_fragment(&mut state, &self.target(), &source, seen, repeated)
                    .await?
            }
        };
        self.note_placed(&mut state, before, placed, seen);
        drop(state);
        // What was handed on need not stay on the disk twice.
        if self.is_endless()
            && let Some(spool) = &mut self.spool
            && self.base + spool.len() == seen.range.end
        {
            spool.truncate(0)?;
            self.base = seen.range.end;
        }
        Ok(())
    }

    fn note_placed(
        &mut self,
        state: &mut State,
        before: Option<i64>,
        placed: Placed,
        seen: &FragmentSeen,
    ) {
        let endless = self.is_endless();
        let Held::Track(track) = &mut state.track else {
            return;
        };
        let work = &mut self.track;
        match placed {
            Placed::Appended(object) if before != Some(object) => {
                work.began = Some((object, track.media_end));
                work.object = Some(object);
                work.repeated = None;
            }
            Placed::Appended(object) => {
                let size = seen.range.end - seen.range.start;
                if let Some((began, end)) = &mut work.began
                    && *began == object
                    && *end + size == track.media_end
                {
                    *end = track.media_end;
                }
                work.object = Some(object);
            }
            Placed::Held(row) => {
                work.held += 1;
                let (_, rows) = work.repeated.get_or_insert((track.object, Vec::new()));
                if rows.len() < MAX_REPEATED {
                    rows.push(row);
                }
            }
        }
        if endless && work.sending.is_none() {
            track.add_sender();
            work.sending = Some(track.generation);
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            stream: self.incoming.stream.id,
            path: &self.incoming.path,
            upload: self.track.upload.unwrap_or_default(),
            order: self.slot.order,
        }
    }

    /// Whether a header that this request has sent is another one than the held part's.
    fn begins_part(
        &mut self,
        state: &State,
        source: &Source<'_>,
        range: &Range<u64>,
    ) -> Result<bool> {
        let sent = source.digest(range)?;
        self.track.sent_header = Some(sent);
        Ok(held_header(state).is_none_or(|held| held.digest != sent))
    }

    /// Fragments may only follow the header that they were sent with.
    fn check_header_holds(&self, state: &State) -> Result<()> {
        match (&self.track.sent_header, held_header(state)) {
            (Some(sent), Some(held)) if *sent != held.digest => Err(Error::new(
                Kind::Conflict,
                format!(
                    "another request has begun the next part of \"{}\" with another header: \
                     send the header again",
                    self.incoming.path
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Records the upload before its first fragment is placed: the fragments name it.
    async fn begin_record(&mut self) -> Result<()> {
        if self.track.upload.is_some() {
            return Ok(());
        }
        let new = self.new_upload(Status::Incomplete, None, None);
        let certificate = self.incoming.certificate.clone();
        let upload = self
            .ingest
            .write_in(new.stream, move |tables| {
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new)
            })
            .await?;
        self.track.upload = Some(upload);
        Ok(())
    }

    /// The body came to its end.
    pub(super) async fn finish_track(&mut self) -> Result<Settled> {
        if !self.is_endless() {
            if let Some(message) = self.broken.take() {
                return Err(Error::new(Kind::Invalid, message));
            }
            if !self.media_refusals().is_empty() {
                let turn = self.take_turn().await?;
                self.judge(&turn);
                return self.reject(turn).await;
            }
            if self.publish_as_part().await? {
                return self.finish_record(None).await;
            }
            if self.overfull {
                return Err(Error::new(
                    Kind::TooLarge,
                    "too many fragments in one body of known length: send them in several requests",
                ));
            }
        }
        for piece in std::mem::take(&mut self.pieces) {
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
    async fn publish_as_part(&mut self) -> Result<bool> {
        let Some((Piece::Header(header), fragments)) = self.pieces.split_first() else {
            return Ok(false);
        };
        let header = header.clone();
        let mut rows: Vec<FragmentRow> = Vec::with_capacity(fragments.len());
        for piece in fragments {
            let Piece::Fragment(seen) = piece else {
                return Ok(false);
            };
            rows.push(row_at(seen.range.start, seen));
        }
        self.begin_record().await?;
        let (ingest, slot) = (Arc::clone(&self.ingest), Arc::clone(&self.slot));
        let mut state = slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(spool) = self.spool.take() else {
            return Ok(false);
        };
        let file = spool.file();
        let source = Source {
            file: &file,
            base: 0,
        };
        if !self.begins_part(&state, &source, &header)? {
            self.spool = Some(spool);
            return Ok(false);
        }
        let part = PartFile {
            spool,
            header_size: header.end,
            media_end: self.media_end.max(header.end),
            rows,
        };
        let object = ingest
            .publish_part(&mut state, &self.target(), part)
            .await?;
        self.track.object = Some(object);
        Ok(true)
    }

    /// The request held a header and no fragment for it.
    async fn add_lone_header(&mut self, range: Range<u64>) -> Result<()> {
        self.begin_record().await?;
        let (ingest, slot) = (Arc::clone(&self.ingest), Arc::clone(&self.slot));
        let mut state = slot.lock().await;
        ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        let Some(file) = self.spool.as_ref().map(|spool| spool.file()) else {
            return Ok(());
        };
        let source = Source {
            file: &file,
            base: self.base,
        };
        if !self.begins_part(&state, &source, &range)? {
            self.track.held += 1;
            return Ok(());
        }
        let content = PartContent {
            header: Some(range),
            ..PartContent::default()
        };
        let object = ingest
            .begin_part(&mut state, &self.target(), &source, content)
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
        let mut state = self.slot.lock().await;
        let Held::Track(track) = &mut state.track else {
            return Ok(());
        };
        if track.object != object || track.media_end != end {
            return Ok(());
        }
        crate::workdir::copy_range(&spool.file(), 0, rest, &track.file, end)?;
        track.has_trailer = true;
        let Some(upload) = self.track.upload else {
            return Ok(());
        };
        self.ingest
            .write_in(self.incoming.stream.id, move |tables| {
                tables.complete_object(object, upload, end + rest)
            })
            .await
    }

    async fn finish_record(&mut self, note: Option<&'static str>) -> Result<Settled> {
        self.begin_record().await?;
        let upload = self.track.upload.unwrap_or_default();
        let turn = self.take_turn().await?;
        self.judge(&turn); // the source has chosen the name: what it breaks was known from the start
        let mut new = self.new_upload(Status::Accepted, note, Some(202));
        new.outcome.object = self.track.object;
        self.commit(turn, move |tables| {
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
        let Some(generation) = self.track.sending.take() else {
            return;
        };
        if let Held::Track(track) = &mut self.slot.lock().await.track
            && track.generation == generation
        {
            track.remove_sender();
        }
    }
}

fn held_object(state: &State) -> Option<i64> {
    match &state.track {
        Held::Track(track) => Some(track.object),
        Held::None | Held::Unknown => None,
    }
}

fn held_header(state: &State) -> Option<&Header> {
    match &state.track {
        Held::Track(track) => Some(&track.header),
        Held::None | Held::Unknown => None,
    }
}
