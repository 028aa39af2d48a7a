//! Verdicts, in order.
//!
//! Uploads to one session are judged one after the other: each takes its turn once its body is whole,
//! and ends it when its record is handed over to the catalogue. So verdicts are given in the order in
//! which records are committed, and nobody waits for another's commit. How a session stands is in
//! memory as long as somebody uploads to it, and in the catalogue always, changed in one transaction
//! with the record of the upload. Where that cannot be committed, what was judged on it is not either,
//! and the session is read again.
//!
//! Streams without sessions (`cmaf-ingest`) have no turns and wait for nobody.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Ingest;
use super::slots::{Hold, Shared};
use super::upload::Running;
use crate::catalog::{Judged, Tables};
use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::manifest;
use crate::matter::{self, Change, Name, Session, Standing, Track, Verdict};
use crate::names::{Interface, Naming, ObjectPath, StreamId};
use crate::{Result, workdir};

/// All sessions that uploads are under way to.
pub(super) type Sessions = Shared<(StreamId, u64), Mutex<Known>>;

/// How a session stands.
#[derive(Default)]
pub(super) struct Known {
    is_loaded: bool,
    session: Option<Session>,
    /// Those of its tracks that somebody asked for.
    tracks: HashMap<String, Option<Track>>,
}

/// The session and the track that an upload's path names.
pub(super) struct Seat {
    hold: Hold<(StreamId, u64), Mutex<Known>>,
    stream: StreamId,
    number: u64,
    track: Option<String>,
}

/// An upload's turn. Others to the same session wait for its end.
pub(super) struct Turn(Option<OwnedMutexGuard<Known>>);

impl Ingest {
    /// A seat in the session that the path names; `None` where order does not matter.
    pub(super) fn seat(
        &self,
        stream: StreamId,
        interface: Interface,
        path: &ObjectPath,
    ) -> Option<Seat> {
        if interface == Interface::CmafIngest {
            return None;
        }
        let name = Name::of(path);
        let number = name.session()?;
        Some(Seat {
            hold: self.sessions.enter((stream, number)),
            stream,
            number,
            track: name.track().map(str::to_owned),
        })
    }

    async fn turn(&self, seat: Option<&Seat>) -> Result<Turn> {
        let Some(seat) = seat else {
            return Ok(Turn(None));
        };
        let mut known = Arc::clone(seat.hold.value()).lock_owned().await;
        let (stream, number, wanted) = (seat.stream, seat.number, seat.track.clone());
        if !known.is_loaded {
            let (session, track) = self
                .catalog
                .look_up(move |tables| {
                    let session = tables.session(stream, number)?;
                    let track = match (&session, &wanted) {
                        (Some(session), Some(name)) => {
                            tables.session_track(stream, number, session.run, name)?
                        }
                        _ => None,
                    };
                    Ok((session, track))
                })
                .await?;
            *known = Known {
                is_loaded: true,
                session,
                tracks: seat
                    .track
                    .iter()
                    .map(|name| (name.clone(), track.clone()))
                    .collect(),
            };
        } else if let (Some(session), Some(name)) = (&known.session, wanted)
            && !known.tracks.contains_key(&name)
        {
            let (run, asked) = (session.run, name.clone());
            let track = self
                .catalog
                .look_up(move |tables| tables.session_track(stream, number, run, &asked))
                .await?;
            known.tracks.insert(name, track);
        }
        Ok(Turn(Some(known)))
    }
}

impl Turn {
    fn standing(&self, seat: Option<&Seat>) -> Standing<'_> {
        let Some(known) = &self.0 else {
            return Standing::default();
        };
        let track = seat.and_then(|seat| seat.track.as_ref());
        Standing {
            session: known.session.as_ref(),
            track: track.and_then(|name| known.tracks.get(name)?.as_ref()),
        }
    }

    /// Ends the turn: what it changes holds for the next one.
    fn end(self, judged: Option<&Judged>) {
        let (Some(mut known), Some(judged)) = (self.0, judged) else {
            return;
        };
        let Some(Change { session, track }) = judged.change.clone() else {
            return;
        };
        if known.session.as_ref().map(|held| held.run) != Some(session.run) {
            known.tracks.clear();
        }
        known.session = Some(session);
        if let (Some(name), Some(track)) = (&judged.track, track) {
            known.tracks.insert(name.clone(), Some(track));
        }
    }
}

impl Running {
    /// Whether the body is read as a manifest of the stream's interface.
    pub(super) fn has_manifest(&self) -> bool {
        let path = &self.incoming.path;
        let wanted = match self.facts.interface {
            Interface::CmafIngest => return false,
            Interface::Dash => "mpd",
            Interface::Hls => "m3u8",
        };
        path.naming() == Naming::Plain && path.extension() == Some(wanted)
    }

    /// Reads what a manifest says. It is whole, and no longer than a manifest may be.
    pub(super) async fn read_manifest(&mut self) -> Result<()> {
        if !self.has_manifest() {
            return Ok(());
        }
        let interface = self.facts.interface;
        let file = self.spool.as_ref().map(|spool| (spool.file(), spool.len()));
        let read = move || {
            let bytes = match file {
                Some((file, len)) => {
                    // One byte more than is read says that it is too long.
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    workdir::read_range(&file, 0, len.min(manifest::MAX_SIZE + 1))?
                }
                None => Vec::new(),
            };
            Ok(matter::of_manifest(interface, &bytes))
        };
        self.facts.manifest = Some(workdir::blocking(read).await?);
        Ok(())
    }

    /// Waits for this upload's turn in its session.
    pub(super) async fn take_turn(&self) -> Result<Turn> {
        self.ingest.turn(self.seat.as_ref()).await
    }

    /// Whether the upload would break no rule if its body ended now.
    pub(super) async fn would_do(&self) -> Result<bool> {
        let turn = self.take_turn().await?;
        let verdict = self.verdict(&turn, Timestamp::now());
        Ok(verdict.findings.is_empty())
    }

    fn verdict(&self, turn: &Turn, at: Timestamp) -> Verdict {
        let upload = matter::Upload {
            path: &self.incoming.path,
            at,
            facts: &self.facts,
        };
        matter::judge(upload, turn.standing(self.seat.as_ref()))
    }

    /// Judges the upload, whose last byte is there. Whether it is to be rejected.
    pub(super) fn judge(&mut self, turn: &Turn) -> bool {
        let refusals = self.media_refusals();
        // What is refused for its media moves no state either.
        self.facts.unfit = !refusals.is_empty();
        let verdict = self.verdict(turn, self.ended());
        let standing = turn.standing(self.seat.as_ref());
        let after = verdict
            .change
            .as_ref()
            .map(|change| &change.session)
            .or(standing.session);
        let number = self.seat.as_ref().map(|seat| seat.number);
        let judged = Judged {
            session: number.zip(after.map(|session| session.run)),
            number,
            version: standing.session.map(|session| session.version),
            track: self.seat.as_ref().and_then(|seat| seat.track.clone()),
            change: verdict.change,
            facts: serde_json::to_string(&self.facts).unwrap_or_default(),
        };
        self.judged = Some(judged);
        self.findings = verdict.findings;
        let is_out_of_rule = self.incoming.stream.strict_mode && !self.findings.is_empty();
        self.findings.extend(refusals);
        is_out_of_rule || self.facts.unfit
    }

    /// Records the upload with its verdict and ends its turn; returns after the commit.
    pub(super) async fn commit<T, F>(&mut self, turn: Turn, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let stream = self.incoming.stream.id;
        let handed = self.ingest.hand_over_in(stream, change).await?;
        turn.end(self.judged.as_ref());
        let committed = handed.committed().await;
        if committed.is_err()
            && let Some(seat) = &self.seat
        {
            seat.hold.value().lock().await.is_loaded = false;
        }
        committed
    }
}

/// The sentences of broken rules.
pub(super) fn sentences(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| finding.message.clone())
        .collect()
}
