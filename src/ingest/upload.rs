//! One running upload: reading the body, and what every ending has in common.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};

use super::order::{Seat, sentences};
use super::slots::Slot;
use super::track::{Digest, Held, header_missing};
use super::{Incoming, Ingest, Receipt, add_certificate};
use crate::catalog::{FragmentRow, Judged, NewUpload, Outcome, Status};
use crate::clock::Timestamp;
use crate::cmaf::check::{self, Context};
use crate::cmaf::{BodyScanner, FragmentSeen, ScanEvent, Start, TrackHeader};
use crate::finding::Finding;
use crate::finding::Findings;
use crate::live::Announcement;
use crate::matter::{self, Facts};
use crate::names::Naming;
use crate::workdir::Spool;
use crate::{Error, Kind, Result};

/// Fragments of one body whose places are kept in memory until its end (about 10 MiB). Those beyond
/// are stored but not indexed.
pub(super) const MAX_INDEXED: usize = 100_000;

/// Bytes after which the free disk space is looked at again.
const DISK_CHECK: u64 = 16 << 20;

/// What the body adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its first bytes have not come yet.
    Undecided,
    /// An object of its own, in place of what is there.
    Whole,
    /// Header and fragments for the track at the path.
    Track,
}

/// A piece of a track, as found in the body.
pub(super) enum Piece {
    Header(Range<u64>),
    Fragment(FragmentSeen),
}

/// An object of unknown length that is on its way and has a whole fragment.
pub(super) struct Growing {
    pub(super) upload: i64,
    pub(super) object: i64,
    pub(super) announcement: Option<Announcement>,
    /// The path serves a whole object, so that this one is not announced.
    pub(super) hidden: bool,
    /// End of its last whole fragment.
    pub(super) len: u64,
}

/// What an upload has done to its track.
#[derive(Default)]
pub(super) struct Work {
    /// Its record, written before its first fragment is placed.
    pub(super) upload: Option<i64>,
    /// The object that it last added to.
    pub(super) object: Option<i64>,
    /// A header that came and whose first fragment has not.
    pub(super) header: Option<Range<u64>>,
    /// The header that its fragments belong to, where it sent one.
    pub(super) sent_header: Option<Digest>,
    /// The part that it began, and where that ends if nobody else has added to it.
    pub(super) began: Option<(i64, u64)>,
    /// Fragments that were held already.
    pub(super) held: u64,
    /// Which ones, and in which object.
    pub(super) repeated: Option<(i64, Vec<FragmentRow>)>,
    /// Readers of this generation of the track wait for more from this upload.
    pub(super) sending: Option<u64>,
}

impl Work {
    /// Whether a header or a fragment was seen.
    fn has_pieces(&self) -> bool {
        self.header.is_some() || self.upload.is_some()
    }

    /// The fragments of an object that this upload has sent again.
    pub(super) fn repeated_in(&self, object: Option<i64>) -> &[FragmentRow] {
        match &self.repeated {
            Some((held_in, rows)) if Some(*held_in) == object => rows,
            _ => &[],
        }
    }
}

/// A running upload.
pub(super) struct Running {
    pub(super) ingest: Arc<Ingest>,
    pub(super) incoming: Incoming,
    pub(super) slot: Arc<Slot>,
    pub(super) spool: Option<Spool>,
    /// Body offset of the spool's first byte.
    pub(super) base: u64,
    /// Bytes of body stored so far.
    pub(super) received: u64,
    pub(super) mode: Mode,
    /// What has not been handed on yet: at the end of a body of known length, all of it.
    pub(super) pieces: Vec<Piece>,
    /// End of the last fragment that was seen.
    pub(super) media_end: u64,
    /// More pieces came than `pieces` may hold.
    pub(super) overfull: bool,
    /// Bytes received when the disk was last looked at.
    checked: u64,
    /// Why the scanner stopped.
    pub(super) broken: Option<String>,
    pub(super) growing: Option<Growing>,
    pub(super) track: Work,
    /// What its verdict depends on.
    pub(super) facts: Facts,
    /// Rules that it breaks, as far as that is known.
    pub(super) findings: Vec<Finding>,
    pub(super) judged: Option<Judged>,
    pub(super) seat: Option<Seat>,
    /// It breaks a rule that its stream enforces, so that its bytes are only kept.
    is_doomed: bool,
    /// Nobody may follow it: it may yet be rejected.
    pub(super) is_held_back: bool,
    /// It is larger than what may be kept of a rejected upload.
    pub(super) is_unkept: bool,
    /// When its last byte came.
    ended: Option<Timestamp>,
    pub(super) scanner: Option<BodyScanner>,
    /// What was found in its media, once nothing is read in it any more.
    pub(super) media: Findings,
    began: Instant,
}

/// How an upload ended well.
pub(super) struct Settled {
    pub(super) receipt: Receipt,
    /// [`Status::Rejected`]: recorded, and the sender is told why.
    pub(super) status: Status,
}

impl Running {
    /// Reads the body to its end and stores it.
    pub(super) async fn run(
        ingest: Arc<Ingest>,
        incoming: Incoming,
        body: Body,
    ) -> Result<Receipt> {
        let stream = incoming.stream.id;
        let facts = Facts {
            interface: incoming.stream.interface,
            track_name: incoming.stream.track_name.clone(),
            certificate: incoming.certificate.is_some(),
            extinf: incoming.extinf.clone(),
            manifest: None,
            timeout: i64::try_from(ingest.limits.session.as_micros()).unwrap_or(i64::MAX),
            unfit: false,
        };
        let findings = matter::judge_alone(&incoming.path, &facts);
        let is_doomed = incoming.stream.strict_mode && !findings.is_empty();
        let mut running = Self {
            slot: Arc::new(ingest.slots.enter(incoming.stream.id, &incoming.path)),
            seat: ingest.seat(stream, incoming.stream.interface, &incoming.path),
            facts,
            findings,
            judged: None,
            is_doomed,
            is_held_back: false,
            is_unkept: false,
            ended: None,
            ingest,
            incoming,
            spool: None,
            base: 0,
            received: 0,
            mode: if is_doomed {
                Mode::Whole
            } else {
                Mode::Undecided
            },
            pieces: Vec::new(),
            media_end: 0,
            overfull: false,
            checked: 0,
            broken: None,
            growing: None,
            track: Work::default(),
            scanner: None,
            media: Findings::default(),
            began: Instant::now(),
        };
        let ended = match running.read(body).await {
            Ok(()) => running.settle().await,
            Err(e) => Err(e),
        };
        // Whatever failed, it failed because the stream was deleted meanwhile.
        let ended = ended.map_err(|e| match running.ingest.catalog.stream(stream) {
            Err(gone) if e.kind() == Kind::Internal => gone,
            _ => e,
        });
        let ended = match ended {
            Ok(settled) => Ok(settled),
            Err(e) => Err((running.give_up(&e).await, e)),
        };
        running.leave_track().await;
        let mut errors = sentences(&running.findings);
        let (status, ended) = match ended {
            Ok(settled) if settled.status == Status::Rejected => {
                let error = Error::new(Kind::Invalid, errors.join("; "));
                (settled.status, Err(error.with_reasons(errors.clone())))
            }
            Ok(settled) => (settled.status, Ok(settled.receipt)),
            Err((status, e)) => {
                errors.push(e.message().to_owned());
                (status, Err(e))
            }
        };
        let profile = running.incoming.stream.interface.profile();
        running
            .ingest
            .metrics
            .findings(&running.media_findings(), profile);
        running.ingest.count(
            &running.incoming,
            &errors,
            status,
            running.received,
            running.began,
        );
        ended
    }

    /// When the last byte came; now, as long as it has not.
    pub(super) fn ended(&self) -> Timestamp {
        self.ended.unwrap_or_else(Timestamp::now)
    }

    /// Whether the body has no length, so that it may be read while it comes.
    pub(super) fn is_endless(&self) -> bool {
        self.incoming.length.is_none()
    }

    async fn read(&mut self, body: Body) -> Result<()> {
        self.prepare_scanner().await?;
        let mut reader = self.ingest.reader(&self.incoming, body);
        while let Some(bytes) = reader.next().await? {
            self.take(&bytes).await?;
        }
        let mut events = Vec::new();
        if let Some(scanner) = &mut self.scanner {
            scanner.finish(&mut events);
        }
        for event in events {
            self.see(event).await?;
        }
        if self.mode == Mode::Undecided && self.received > 0 {
            self.decide(Start::Other).await?;
        }
        Ok(())
    }

    /// Fragments that are sent without their header need the held one to be understood.
    async fn prepare_scanner(&mut self) -> Result<()> {
        if self.is_doomed {
            return Ok(());
        }
        if self.incoming.path.naming() == Naming::Plain {
            let context = self.media_context().await?;
            self.scanner = Some(BodyScanner::checked(context));
            return Ok(());
        }
        let mut state = self.slot.lock().await;
        self.ingest
            .load_track(&mut state, self.incoming.stream.id, &self.incoming.path)
            .await?;
        if let Held::Track(track) = &state.track
            && let Some(header) = &track.header.parsed
        {
            let (object, header) = (track.object, TrackHeader::clone(header));
            let last = self
                .ingest
                .catalog
                .look_up(move |tables| tables.last_fragment(object))
                .await?;
            let id = header.tracks.first().map_or(0, |track| track.id);
            self.scanner = Some(BodyScanner::checked(Context {
                kind: check::Kind::Track,
                header: Some(header),
                previous: last.and_then(|row| super::media::end(id, &row)),
                expected: None,
            }));
        } else {
            drop(state);
            let context = self.media_context().await?;
            self.scanner = Some(BodyScanner::checked(context));
        }
        Ok(())
    }

    async fn take(&mut self, bytes: &Bytes) -> Result<()> {
        if self.is_doomed && self.received + bytes.len() as u64 > self.ingest.limits.kept.bytes {
            self.is_unkept = true;
            self.spool = None;
        }
        if self.spool.is_none() && !self.is_unkept {
            self.spool = Some(self.ingest.workdir.spool()?);
        }
        let mut events = Vec::new();
        if let Some(scanner) = &mut self.scanner {
            scanner.push(bytes, &mut events);
        }
        let start = self.received;
        let mut written = 0;
        for event in events {
            if let ScanEvent::Fragment(seen) = &event {
                // A fragment is handed on when its last byte is stored, and no byte after it.
                let end =
                    usize::try_from(seen.range.end.saturating_sub(start)).unwrap_or(usize::MAX);
                let end = end.clamp(written, bytes.len());
                self.store(&bytes[written..end])?;
                written = end;
            }
            self.see(event).await?;
        }
        self.store(&bytes[written..])
    }

    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        if let Some(spool) = &mut self.spool {
            let limit = self.ingest.limits.object_size;
            if spool.len() + size > limit {
                // Only a track may go on for ever, and it does so in fragments.
                return Err(Error::new(
                    Kind::TooLarge,
                    format!("a fragment is larger than {limit} bytes"),
                ));
            }
            spool.write(bytes)?;
        }
        self.received += size;
        if self.received - self.checked >= DISK_CHECK {
            self.checked = self.received;
            self.ingest.check_disk(0)?;
        }
        Ok(())
    }

    async fn see(&mut self, event: ScanEvent) -> Result<()> {
        match event {
            ScanEvent::Start(start) => self.decide(start).await,
            ScanEvent::Header(seen) if seen.header.is_some() => {
                self.see_piece(Piece::Header(seen.range.clone())).await
            }
            ScanEvent::Header(_) if self.incoming.path.naming() == Naming::Plain => Ok(()),
            ScanEvent::Header(_) => {
                self.not_a_track("its header is not that of a CMAF track")
                    .await
            }
            ScanEvent::Fragment(seen) => self.see_piece(Piece::Fragment(seen)).await,
            ScanEvent::Trailer(_) => Ok(()),
            ScanEvent::Broken { offset, message } => self.see_broken(offset, &message).await,
        }
    }

    async fn see_piece(&mut self, piece: Piece) -> Result<()> {
        if let Piece::Fragment(seen) = &piece {
            self.media_end = seen.range.end;
        }
        if self.mode == Mode::Track && self.is_endless() {
            // What came before is part of the track already.
            let refusals = sentences(&self.media_refusals());
            if !refusals.is_empty() {
                let error = Error::new(Kind::Invalid, refusals.join("; "));
                return Err(error.with_reasons(refusals));
            }
        }
        match (self.mode, piece) {
            (Mode::Track, piece) if self.is_endless() => self.add_piece(piece).await,
            (Mode::Whole, Piece::Fragment(seen)) if self.may_grow().await? => {
                self.grow(&seen).await
            }
            (_, piece) => {
                if self.pieces.len() < MAX_INDEXED {
                    self.pieces.push(piece);
                } else {
                    self.overfull = true;
                }
                Ok(())
            }
        }
    }

    /// Whether a body that replaces may be read while it comes: it has no length, and, where rules are
    /// enforced, breaks none by now.
    async fn may_grow(&mut self) -> Result<bool> {
        if !self.is_endless() || self.is_held_back {
            return Ok(false);
        }
        if self.growing.is_none() && self.incoming.stream.strict_mode {
            self.is_held_back = !self.would_do().await?;
        }
        self.is_held_back |= self.growing.is_none() && !self.media_refusals().is_empty();
        Ok(!self.is_held_back)
    }

    async fn see_broken(&mut self, offset: u64, message: &str) -> Result<()> {
        self.stop_scanning();
        let message = format!("no CMAF from byte {offset} on: {message}");
        self.broken = Some(message.clone());
        match self.mode {
            Mode::Track if self.is_endless() && self.track.has_pieces() => {
                Err(Error::new(Kind::Invalid, message))
            }
            Mode::Track if !self.is_endless() || self.pieces.is_empty() => {
                self.not_a_track(&message).await
            }
            _ => Ok(()),
        }
    }

    /// Falls back to an object of its own, where the name allows that and no track is lost by it.
    async fn not_a_track(&mut self, why: &str) -> Result<()> {
        let path = &self.incoming.path;
        if path.naming() == Naming::Streams {
            return Err(Error::new(
                Kind::Invalid,
                format!("\"{path}\" takes a CMAF header or fragments: {why}"),
            ));
        }
        let begun = self.track.has_pieces() || self.base > 0;
        if begun || matches!(self.slot.lock().await.track, Held::Track(_)) {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "\"{path}\" holds a track, which takes a CMAF header or fragments: {why}; \
                     delete it first if this is to take its place"
                ),
            ));
        }
        self.mode = Mode::Whole;
        Ok(())
    }

    async fn decide(&mut self, start: Start) -> Result<()> {
        let naming = self.incoming.path.naming();
        self.mode = match start {
            _ if naming == Naming::Plain => Mode::Whole,
            Start::Header => Mode::Track,
            Start::Other => return self.not_a_track("it begins with something else").await,
            Start::Media => match &self.slot.lock().await.track {
                Held::Track(_) => Mode::Track,
                _ if naming == Naming::Streams => return Err(header_missing(&self.incoming.path)),
                _ => Mode::Whole,
            },
        };
        Ok(())
    }

    /// The body came to its end.
    async fn settle(&mut self) -> Result<Settled> {
        self.ended = Some(Timestamp::now());
        if self.received == 0 && !self.has_manifest() {
            return self.record(Status::Accepted, Some("empty")).await;
        }
        self.read_manifest().await?;
        self.step_back_from_ciphertext().await?;
        match self.mode {
            Mode::Track => self.finish_track().await,
            Mode::Whole | Mode::Undecided => self.publish().await,
        }
    }

    /// The upload failed: keeps what is to be kept, and records what became of it.
    async fn give_up(&mut self, error: &Error) -> Status {
        // What fails after its verdict moves no session: its bytes are not there.
        self.judged = None;
        if self.growing.is_some() {
            match self.cut_growing(error).await {
                Ok(()) => return Status::Incomplete, // recorded with what was kept
                Err(e) => tracing::error!(error = %e.chain(), "a cut upload could not be kept"),
            }
        }
        let status = match error.kind() {
            _ if self.track.object.is_some() || self.track.held > 0 => Status::Incomplete,
            Kind::Disconnected | Kind::TimedOut | Kind::Internal | Kind::StorageFull => {
                Status::Aborted
            }
            _ => Status::Refused,
        };
        if let Err(e) = self.record_failure(status, error).await {
            tracing::error!(error = %e.chain(), "the end of an upload could not be recorded");
        }
        status
    }

    async fn record_failure(&mut self, status: Status, error: &Error) -> Result<()> {
        let mut new = self.new_upload(status, None, Some(error.kind().http_status()));
        new.outcome.errors.push(error.message().to_owned());
        new.outcome.object = self.track.object;
        let certificate = self.incoming.certificate.clone();
        let growing = self.growing.take();
        let lost = growing.as_ref().map(|growing| growing.object);
        let begun = self.track.upload.or(growing.map(|growing| growing.upload));
        let stream = new.stream;
        let recorded = self
            .ingest
            .write_in(stream, move |tables| {
                if let Some(id) = begun {
                    tables.finish_upload(id, &new)?;
                    return lost.map_or(Ok(()), |object| tables.drop_growing(object));
                }
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new)?;
                if status == Status::Refused {
                    tables.prune_refused(stream)
                } else {
                    Ok(())
                }
            })
            .await;
        match recorded {
            Err(e) if e.kind() == Kind::NotFound => Ok(()), // the stream is gone, and its records
            other => other,
        }
    }

    /// Records an upload that changed no object and was not judged.
    async fn record(&mut self, status: Status, note: Option<&'static str>) -> Result<Settled> {
        let new = self.new_upload(status, note, Some(202));
        let certificate = self.incoming.certificate.clone();
        self.ingest
            .write_in(new.stream, move |tables| {
                add_certificate(tables, certificate.as_ref())?;
                tables.insert_upload(&new)
            })
            .await?;
        Ok(Settled {
            receipt: Receipt { etag: None },
            status,
        })
    }

    /// The record of this upload as it stands.
    pub(super) fn new_upload(
        &self,
        status: Status,
        note: Option<&'static str>,
        http_status: Option<u16>,
    ) -> NewUpload {
        NewUpload {
            stream: self.incoming.stream.id,
            path: self.incoming.path.as_str().to_owned(),
            request: self.incoming.request.clone(),
            extinf: self.incoming.extinf.clone(),
            first_byte: self.incoming.first_byte,
            outcome: Outcome {
                status,
                note: self.incoming.injected.or(note),
                object: None,
                size: self.received,
                http_status,
                errors: sentences(&self.findings),
                rules: self.findings.iter().map(|f| f.rule.id).collect(),
                findings: self.media_findings(),
                profile: self.incoming.stream.interface.profile(),
                judged: self.judged.clone(),
                last_byte: self.ended(),
            },
        }
    }
}
