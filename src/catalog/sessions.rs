//! Sessions as they stand, and what every verdict depended on.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Row};

use super::Tables;
use super::uploads::{signed, signed_len};
use crate::clock::Timestamp;
use crate::matter::{Change, Session, Track, TrackState};
use crate::names::StreamId;

/// Most tracks that a listing of sessions shows.
const LISTED_TRACKS: i64 = 5000;

/// A verdict to be recorded with its upload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// The session that the path names, where there is one after the verdict, and its run.
    pub(crate) session: Option<(u64, i64)>,
    /// The number that the path names.
    pub(crate) number: Option<u64>,
    /// Version of the session that the verdict was given on.
    pub(crate) version: Option<i64>,
    pub(crate) change: Option<Change>,
    /// The track that changes.
    pub(crate) track: Option<String>,
    /// [`crate::matter::Facts`] as they are recorded.
    pub(crate) facts: String,
}

/// A run of a session, for listings.
#[derive(Clone, Debug)]
pub(crate) struct ListedSession {
    pub(crate) number: u64,
    pub(crate) session: Session,
    /// Whether a newer run has taken its place.
    pub(crate) replaced: bool,
    pub(crate) tracks: Vec<(String, Track)>,
}

/// A verdict's upload as recorded: what a replay needs, and what came out.
#[derive(Clone, Debug)]
#[cfg(test)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    pub(crate) at: Timestamp,
    pub(crate) facts: crate::matter::Facts,
    pub(crate) errors: Vec<String>,
}

const COLUMNS: &str =
    "run, version, complete, opened, last, segments, expected_tracks, completed_tracks";

impl Tables<'_> {
    /// The newest run of a session.
    pub(crate) fn session(
        &self,
        stream: StreamId,
        number: u64,
    ) -> rusqlite::Result<Option<Session>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM session WHERE stream = ? AND number = ? \
                 ORDER BY run DESC LIMIT 1"
            ))?
            .query_row((stream.0, number.to_string()), |row| session(row, 0))
            .optional()
    }

    /// A track of a run.
    pub(crate) fn session_track(
        &self,
        stream: StreamId,
        number: u64,
        run: i64,
        name: &str,
    ) -> rusqlite::Result<Option<Track>> {
        let found = self
            .0
            .prepare_cached(
                "SELECT state, segments FROM session_track \
                 WHERE stream = ? AND number = ? AND run = ? AND name = ?",
            )?
            .query_row((stream.0, number.to_string(), run, name), |row| {
                track(row, 0)
            })
            .optional()?;
        Ok(found.flatten())
    }

    /// Records what the verdict of an upload changes in its session.
    ///
    /// # Errors
    /// Also where it was given on something that was never committed.
    pub(crate) fn record_judged(
        &self,
        stream: StreamId,
        upload: i64,
        judged: &Judged,
    ) -> rusqlite::Result<()> {
        let Some(number) = judged.number else {
            return Ok(()); // whenever it is judged, the verdict is the same
        };
        let stands = self.session(stream, number)?.map(|held| held.version);
        if stands != judged.version {
            return Err(stale());
        }
        self.0
            .prepare_cached("UPDATE stream SET judged = judged + 1 WHERE id = ?")?
            .execute((stream.0,))?;
        self.0
            .prepare_cached(
                "UPDATE upload SET judged = (SELECT judged FROM stream WHERE id = ?) WHERE id = ?",
            )?
            .execute((stream.0, upload))?;
        if let Some(change) = &judged.change {
            self.put_session(stream, number, &change.session)?;
            if let (Some(name), Some(track)) = (&judged.track, &change.track) {
                self.put_track(stream, number, change.session.run, name, track)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_session(
        &self,
        stream: StreamId,
        number: u64,
        session: &Session,
    ) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO session (stream, number, run, version, complete, opened, last, \
                 segments, expected_tracks, completed_tracks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                stream.0,
                number.to_string(),
                session.run,
                session.version,
                session.complete,
                session.opened.as_micros(),
                session.last.as_micros(),
                signed(session.segments),
                session.expected_tracks.map(signed),
                signed(session.completed_tracks),
            ))?;
        Ok(())
    }

    pub(super) fn put_track(
        &self,
        stream: StreamId,
        number: u64,
        run: i64,
        name: &str,
        track: &Track,
    ) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO session_track (stream, number, run, name, state, segments) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                stream.0,
                number.to_string(),
                run,
                name,
                track.state.as_str(),
                signed(track.segments),
            ))?;
        Ok(())
    }

    /// The newest `limit` runs of sessions, in the order in which they were opened.
    pub(crate) fn sessions(
        &self,
        stream: StreamId,
        limit: usize,
    ) -> rusqlite::Result<Vec<ListedSession>> {
        let mut listed: Vec<ListedSession> = self
            .0
            .prepare_cached(&format!(
                "SELECT number, run < (SELECT max(n.run) FROM session n WHERE n.stream = s.stream \
                 AND n.number = s.number), {COLUMNS} FROM session s WHERE stream = ? \
                 ORDER BY opened DESC, number DESC, run DESC LIMIT ?"
            ))?
            .query_map((stream.0, signed_len(limit)), |row| {
                Ok(ListedSession {
                    number: number(row, 0)?,
                    replaced: row.get(1)?,
                    session: session(row, 2)?,
                    tracks: Vec::new(),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        listed.reverse();
        let place: HashMap<(String, i64), usize> = listed
            .iter()
            .enumerate()
            .map(|(place, run)| ((run.number.to_string(), run.session.run), place))
            .collect();
        let mut statement = self.0.prepare_cached(
            "SELECT t.number, t.run, t.name, t.state, t.segments FROM \
             (SELECT number, run FROM session WHERE stream = ?1 \
             ORDER BY opened DESC, number DESC, run DESC LIMIT ?2) s \
             CROSS JOIN session_track t ON t.stream = ?1 AND t.number = s.number AND t.run = s.run \
             LIMIT ?3",
        )?;
        let mut rows = statement.query((stream.0, signed_len(limit), LISTED_TRACKS))?;
        while let Some(row) = rows.next()? {
            let of = place.get(&(row.get(0)?, row.get(1)?));
            let run = of.and_then(|place| listed.get_mut(*place));
            if let (Some(run), Some(track)) = (run, track(row, 3)?) {
                run.tracks.push((row.get(2)?, track));
            }
        }
        Ok(listed)
    }

    /// Every verdict of a stream, in the order in which they were given.
    #[cfg(test)]
    pub(crate) fn verdicts(&self, stream: StreamId) -> rusqlite::Result<Vec<Recorded>> {
        self.0
            .prepare(
                "SELECT path, last_byte, facts, errors FROM upload \
                 WHERE stream = ? AND facts IS NOT NULL ORDER BY judged, id",
            )?
            .query_map((stream.0,), |row| {
                let facts: String = row.get(2)?;
                Ok(Recorded {
                    path: row.get(0)?,
                    at: Timestamp::from_micros(row.get(1)?),
                    facts: serde_json::from_str(&facts).map_err(|e| unreadable(2, e))?,
                    errors: super::uploads::from_json(&row.get::<_, String>(3)?),
                })
            })?
            .collect()
    }
}

fn session(row: &Row<'_>, first: usize) -> rusqlite::Result<Session> {
    Ok(Session {
        run: row.get(first)?,
        version: row.get(first + 1)?,
        complete: row.get(first + 2)?,
        opened: Timestamp::from_micros(row.get(first + 3)?),
        last: Timestamp::from_micros(row.get(first + 4)?),
        segments: count(row.get(first + 5)?),
        expected_tracks: row.get::<_, Option<i64>>(first + 6)?.map(count),
        completed_tracks: count(row.get(first + 7)?),
    })
}

fn track(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Track>> {
    let state = TrackState::from_text(&row.get::<_, String>(first)?);
    let segments = count(row.get(first + 1)?);
    Ok(state.map(|state| Track { state, segments }))
}

/// Number of a session, which may be larger than SQLite's integers.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let text: String = row.get(column)?;
    text.parse().map_err(|e| unreadable(column, e))
}

fn unreadable(column: usize, e: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
}

/// A change before this one could not be committed: what was judged after it must not be either.
fn stale() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
        Some("the session is not as it was when the upload was judged".to_owned()),
    )
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
