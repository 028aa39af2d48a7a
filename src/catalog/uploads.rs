//! Uploads: one row for each request that tried to store something, whatever became of it.

use rusqlite::{OptionalExtension, Row};
use serde::Serialize;

use super::findings::{self, Found};
use super::sessions::{self, Judged};
use super::{EventKind, Tables};
use crate::clock::Timestamp;
use crate::finding::{Findings, Profile};
use crate::names::StreamId;

/// Refused uploads kept per stream: anybody may cause one, so there must be an end to them.
const REFUSED_KEPT: i64 = 1000;

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Stored; its path serves it, or serves a track it is part of.
    Accepted,
    /// Was accepted; a newer upload to the same path has taken its place.
    Superseded,
    /// Whole, but it broke rules that its stream enforces.
    Rejected,
    /// Ended early; nothing of it is kept.
    Aborted,
    /// Not (yet) at its end; what is there up to the last whole fragment is kept.
    Incomplete,
    /// Turned away before its body was read.
    Refused,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }

    pub(super) fn from_text(text: &str) -> Self {
        match text {
            "accepted" => Self::Accepted,
            "superseded" => Self::Superseded,
            "rejected" => Self::Rejected,
            "aborted" => Self::Aborted,
            "refused" => Self::Refused,
            _ => Self::Incomplete,
        }
    }
}

/// The request as it came, and over what it came.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestRecord {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Header fields in order; secret values are already taken out.
    pub(crate) headers: Vec<(String, String)>,
    /// `content-length`, `chunked` or `stream` (HTTP/2 without a length).
    pub(crate) framing: String,
    pub(crate) http_version: String,
    pub(crate) tls_version: String,
    pub(crate) cipher: String,
    /// Number of the connection since the server's start.
    pub(crate) connection: i64,
    pub(crate) remote: String,
    /// SHA-256 fingerprint of the client certificate.
    pub(crate) peer: Option<String>,
    /// Name of the device.
    pub(crate) device: Option<String>,
}

/// An upload to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) stream: StreamId,
    pub(crate) path: String,
    pub(crate) request: RequestRecord,
    /// Value of its `X-EXTINF-duration`.
    pub(crate) extinf: Option<String>,
    pub(crate) first_byte: Timestamp,
    pub(crate) outcome: Outcome,
}

/// What is known of an upload once it has ended, or so far.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// What happened to it besides: `retransmission`, `empty`, …
    pub(crate) note: Option<&'static str>,
    /// The object its bytes are part of.
    pub(crate) object: Option<i64>,
    /// Bytes of body received.
    pub(crate) size: u64,
    /// Status of the answer; `None` while there is none, or where nobody was left to read it.
    pub(crate) http_status: Option<u16>,
    pub(crate) errors: Vec<String>,
    /// Ids of the broken rules among them.
    pub(crate) rules: Vec<&'static str>,
    /// What was found in its media, and what they were held against.
    pub(crate) findings: Findings,
    pub(crate) profile: Profile,
    /// The verdict, where one was given.
    pub(crate) judged: Option<Judged>,
    pub(crate) last_byte: Timestamp,
}

/// A path whose newest upload broke a rule.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) path: String,
    pub(crate) errors: Vec<String>,
    pub(crate) session: Option<u64>,
}

/// An upload as recorded.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Upload {
    pub(crate) id: i64,
    pub(crate) path: String,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) size: i64,
    pub(crate) http_status: Option<i64>,
    pub(crate) errors: Vec<String>,
    /// Ids of the broken rules.
    pub(crate) rules: Vec<String>,
    /// What was found in its media.
    pub(crate) findings: Vec<Found>,
    /// The session that its path names, and the run of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extinf_duration: Option<String>,
    /// Its bytes are held.
    pub(crate) content: bool,
    /// The part of the track its bytes lie in, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<i64>,
    pub(crate) first_byte: Timestamp,
    pub(crate) last_byte: Timestamp,
    #[serde(flatten)]
    pub(crate) request: RequestRecord,
}

pub(super) const COLUMNS: &str = "u.id, u.path, u.status, u.note, u.size, u.http_status, u.errors, o.part, u.first_byte, \
     u.last_byte, u.method, u.target, u.headers, u.framing, u.http_version, u.tls_version, u.cipher, \
     u.connection, u.remote, u.peer, u.device, u.rules, u.session, u.run, u.extinf, u.findings, \
     ifnull(CASE WHEN o.part IS NULL THEN o.upload = u.id AND (o.current OR u.status = 'incomplete') \
     ELSE u.status IN ('accepted', 'incomplete') END, 0) \
     OR EXISTS (SELECT 1 FROM kept WHERE kept.upload = u.id)";

impl Tables<'_> {
    /// Records an upload and returns its number.
    pub(crate) fn insert_upload(&self, new: &NewUpload) -> rusqlite::Result<i64> {
        let (request, outcome) = (&new.request, &new.outcome);
        let (facts, session, run) = recorded(outcome.judged.as_ref());
        self.0
            .prepare_cached(
                "INSERT INTO upload (stream, path, status, note, object, size, http_status, errors, method, \
                 target, headers, framing, http_version, tls_version, cipher, connection, remote, peer, \
                 device, first_byte, last_byte, rules, extinf, facts, session, run, findings) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(rusqlite::params![
                new.stream.0,
                new.path,
                outcome.status.as_str(),
                outcome.note,
                outcome.object,
                signed(outcome.size),
                outcome.http_status,
                json(&outcome.errors),
                request.method,
                request.target,
                json(&request.headers),
                request.framing,
                request.http_version,
                request.tls_version,
                request.cipher,
                request.connection,
                request.remote,
                request.peer,
                request.device,
                new.first_byte.as_micros(),
                outcome.last_byte.as_micros(),
                json(&outcome.rules),
                new.extinf,
                facts,
                session,
                run,
                findings_json(outcome),
            ])?;
        let id = self.0.last_insert_rowid();
        if let Some(judged) = &outcome.judged {
            self.record_judged(new.stream, id, judged)?;
        }
        self.count_upload(new.stream, outcome)?;
        if outcome.status == Status::Refused {
            return Ok(id); // anybody may cause these
        }
        self.add_event(
            EventKind::Upload,
            Some(new.stream),
            Some(&new.path),
            Some(id),
            Some(outcome.status.as_str()),
        )?;
        Ok(id)
    }

    /// Records how an upload that was recorded before its end has ended.
    pub(crate) fn finish_upload(&self, id: i64, new: &NewUpload) -> rusqlite::Result<()> {
        let outcome = &new.outcome;
        let (facts, session, run) = recorded(outcome.judged.as_ref());
        self.0
            .prepare_cached(
                "UPDATE upload SET status = ?, note = ?, object = ?, size = ?, http_status = ?, errors = ?, \
                 rules = ?, findings = ?, last_byte = ?, facts = ?, session = ?, run = ? WHERE id = ?",
            )?
            .execute((
                outcome.status.as_str(),
                outcome.note,
                outcome.object,
                signed(outcome.size),
                outcome.http_status,
                json(&outcome.errors),
                json(&outcome.rules),
                findings_json(outcome),
                outcome.last_byte.as_micros(),
                facts,
                session,
                run,
                id,
            ))?;
        if let Some(judged) = &outcome.judged {
            self.record_judged(new.stream, id, judged)?;
        }
        self.0
            .prepare_cached("UPDATE stream SET bytes = bytes + ?, last_upload = ? WHERE id = ?")?
            .execute((
                signed(outcome.size),
                outcome.last_byte.as_micros(),
                new.stream.0,
            ))?;
        self.count_findings(new.stream, &outcome.findings, outcome.profile)?;
        self.add_event(
            EventKind::Upload,
            Some(new.stream),
            Some(&new.path),
            Some(id),
            Some(outcome.status.as_str()),
        )
    }

    fn count_upload(&self, stream: StreamId, outcome: &Outcome) -> rusqlite::Result<()> {
        // An upload that is recorded before its end is counted with its size when it ends.
        let ended = outcome.http_status.is_some();
        let size = if ended { signed(outcome.size) } else { 0 };
        self.0
            .prepare_cached(
                "UPDATE stream SET uploads = uploads + 1, bytes = bytes + ?, last_upload = ? WHERE id = ?",
            )?
            .execute((size, outcome.last_byte.as_micros(), stream.0))?;
        if ended {
            self.count_findings(stream, &outcome.findings, outcome.profile)?;
        }
        Ok(())
    }

    /// Drops the oldest refused uploads of a stream beyond those that are kept.
    pub(crate) fn prune_refused(&self, stream: StreamId) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "DELETE FROM upload WHERE id IN (SELECT id FROM upload WHERE stream = ? AND status = 'refused' \
                 ORDER BY id DESC LIMIT -1 OFFSET ?)",
            )?
            .execute((stream.0, REFUSED_KEPT))?;
        Ok(())
    }

    /// Keeps, or clears, what the newest upload of a path did wrong.
    pub(crate) fn note_errors(
        &self,
        stream: StreamId,
        path: &str,
        upload: i64,
        errors: &[String],
    ) -> rusqlite::Result<()> {
        let was = self
            .0
            .prepare_cached("DELETE FROM problem WHERE stream = ? AND path = ?")?
            .execute((stream.0, path))?;
        if !errors.is_empty() {
            self.0
                .prepare_cached(
                    "INSERT INTO problem (stream, path, upload, errors) VALUES (?, ?, ?, ?)",
                )?
                .execute((stream.0, path, upload, json(errors)))?;
        }
        let change = i64::from(!errors.is_empty()) - i64::from(was > 0);
        if change != 0 {
            self.0
                .prepare_cached("UPDATE stream SET problems = problems + ? WHERE id = ?")?
                .execute((change, stream.0))?;
        }
        Ok(())
    }

    /// The newest `limit` paths whose newest upload broke a rule, with its sentences.
    pub(crate) fn problems(
        &self,
        stream: StreamId,
        limit: usize,
    ) -> rusqlite::Result<Vec<Problem>> {
        self.0
            .prepare_cached(
                "SELECT p.path, p.errors, u.session FROM problem p LEFT JOIN upload u ON u.id = p.upload \
                 WHERE p.stream = ? ORDER BY p.upload DESC LIMIT ?",
            )?
            .query_map((stream.0, signed_len(limit)), |row| {
                Ok(Problem {
                    path: row.get(0)?,
                    errors: from_json(&row.get::<_, String>(1)?),
                    session: session_number(row, 2)?,
                })
            })?
            .collect()
    }

    /// At most `limit` uploads of a stream with an id above `after`, in order.
    pub(crate) fn uploads(
        &self,
        stream: StreamId,
        after: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Upload>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM upload u LEFT JOIN object o ON o.id = u.object \
                 WHERE u.stream = ? AND u.id > ? ORDER BY u.id LIMIT ?"
            ))?
            .query_map((stream.0, after, signed_len(limit)), upload)?
            .collect()
    }

    /// The upload that made, or last added to, what the path serves: `None` when it serves nothing,
    /// `Some(None)` when that upload has no record.
    pub(crate) fn newest_upload_to(
        &self,
        stream: StreamId,
        path: &str,
    ) -> rusqlite::Result<Option<Option<Upload>>> {
        let held = self.object(stream, path)?;
        held.map(|object| self.upload(stream, object.upload))
            .transpose()
    }

    /// One upload of a stream.
    pub(crate) fn upload(&self, stream: StreamId, id: i64) -> rusqlite::Result<Option<Upload>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM upload u LEFT JOIN object o ON o.id = u.object \
                 WHERE u.stream = ? AND u.id = ?"
            ))?
            .query_row((stream.0, id), upload)
            .optional()
    }

    /// Whether the device has stored something in the stream: an empty upload stores nothing.
    pub(crate) fn has_uploaded(&self, stream: StreamId, device: &str) -> rusqlite::Result<bool> {
        self.0
            .prepare_cached(
                "SELECT 1 FROM upload WHERE stream = ? AND device = ? AND status = 'accepted' \
                 AND note IS NOT 'empty' LIMIT 1",
            )?
            .exists((stream.0, device))
    }
}

/// What a verdict depended on, and the session that it was given in, as they are recorded.
fn recorded(judged: Option<&Judged>) -> (Option<&str>, Option<String>, Option<i64>) {
    let (session, run) = judged.and_then(|judged| judged.session).unzip();
    let facts = judged.map(|judged| judged.facts.as_str());
    (facts, session.map(|number: u64| number.to_string()), run)
}

impl Upload {
    /// The same, with those findings that a profile looks at and how much they matter there.
    pub(crate) fn in_profile(mut self, profile: Profile) -> Self {
        findings::in_profile(&mut self.findings, profile);
        self
    }
}

/// `None` where nothing was found: most uploads have nothing to be told.
fn findings_json(outcome: &Outcome) -> Option<String> {
    (!outcome.findings.is_empty()).then(|| json(&outcome.findings))
}

pub(super) fn upload(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload {
        id: row.get(0)?,
        path: row.get(1)?,
        status: Status::from_text(&row.get::<_, String>(2)?),
        note: row.get(3)?,
        size: row.get(4)?,
        http_status: row.get(5)?,
        errors: from_json(&row.get::<_, String>(6)?),
        rules: from_json(&row.get::<_, String>(21)?),
        session_id: session_number(row, 22)?,
        run: row.get(23)?,
        extinf_duration: row.get(24)?,
        findings: row
            .get::<_, Option<String>>(25)?
            .map(|text| from_json(&text))
            .unwrap_or_default(),
        content: row.get(26)?,
        part: row.get(7)?,
        first_byte: Timestamp::from_micros(row.get(8)?),
        last_byte: Timestamp::from_micros(row.get(9)?),
        request: RequestRecord {
            method: row.get(10)?,
            target: row.get(11)?,
            headers: from_json(&row.get::<_, String>(12)?),
            framing: row.get(13)?,
            http_version: row.get(14)?,
            tls_version: row.get(15)?,
            cipher: row.get(16)?,
            connection: row.get(17)?,
            remote: row.get(18)?,
            peer: row.get(19)?,
            device: row.get(20)?,
        },
    })
}

/// Number of a session, where there is one.
pub(super) fn session_number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => sessions::number(row, column).map(Some),
    }
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn from_json<T: serde::de::DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

/// SQLite's integers are signed; sizes beyond 2^63 do not occur.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn signed_len(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
