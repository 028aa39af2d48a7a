//! Who was turned away, and why: the newest, and no more.

use rusqlite::Row;
use serde::Serialize;
use serde_json::Value;

use super::{EventKind, Tables};
use crate::clock::Timestamp;

/// How many are kept, here and among the events.
const KEPT: i64 = 1000;

/// A connection or a request that was turned away.
#[derive(Clone, Debug)]
pub(crate) struct NewRefusal {
    pub(crate) at: Timestamp,
    /// How many alike it stands for.
    pub(crate) count: u64,
    pub(crate) remote: String,
    pub(crate) cause: &'static str,
    pub(crate) reason: String,
    pub(crate) certificate: Option<RefusedCertificate>,
    /// What the client offered, as JSON.
    pub(crate) hello: Option<String>,
    /// Which request it was, as JSON.
    pub(crate) request: Option<String>,
}

/// The certificate that a refused client showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct RefusedCertificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
}

/// A refusal as it is kept.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    /// Its number; rises.
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) count: u64,
    pub(crate) remote: String,
    pub(crate) cause: String,
    pub(crate) reason: String,
    pub(crate) certificate: Option<RefusedCertificate>,
    /// `server_name`, `versions`, `ciphers`, …; `null` where the client had not come to that.
    pub(crate) hello: Option<Value>,
    /// `null` for a connection.
    pub(crate) request: Option<Value>,
}

impl Tables<'_> {
    /// Adds refusals, oldest first, and forgets those that are too old then.
    pub(crate) fn add_refusals(&self, refusals: &[NewRefusal]) -> rusqlite::Result<()> {
        let mut insert = self.0.prepare_cached(
            "INSERT INTO refusal (at, count, remote, cause, reason, subject, issuer, serial, hello, request) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for refusal in refusals {
            let shown = refusal.certificate.as_ref();
            insert.execute((
                refusal.at.as_micros(),
                i64::try_from(refusal.count).unwrap_or(i64::MAX),
                &refusal.remote,
                refusal.cause,
                &refusal.reason,
                shown.map(|it| &it.subject),
                shown.map(|it| &it.issuer),
                shown.map(|it| &it.serial),
                &refusal.hello,
                &refusal.request,
            ))?;
            let detail = serde_json::json!({
                "refusal": self.0.last_insert_rowid(),
                "remote": refusal.remote,
                "cause": refusal.cause,
                "reason": refusal.reason,
            });
            self.add_event(
                EventKind::Refusal,
                None,
                None,
                None,
                Some(&detail.to_string()),
            )?;
        }
        self.0
            .prepare_cached("DELETE FROM refusal WHERE id <= (SELECT max(id) FROM refusal) - ?")?
            .execute((KEPT,))?;
        self.0
            .prepare_cached(
                "DELETE FROM event WHERE kind = 'refusal' AND seq <= \
                 (SELECT seq FROM event WHERE kind = 'refusal' ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            )?
            .execute((KEPT,))?;
        Ok(())
    }

    /// At most `limit` refusals with numbers below `before`, newest first.
    pub(crate) fn refusals(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Refusal>> {
        self.0
            .prepare_cached(
                "SELECT id, at, count, remote, cause, reason, subject, issuer, serial, hello, request \
                 FROM refusal WHERE id < ? ORDER BY id DESC LIMIT ?",
            )?
            .query_map(
                (
                    before.unwrap_or(i64::MAX),
                    i64::try_from(limit).unwrap_or(i64::MAX),
                ),
                refusal,
            )?
            .collect()
    }
}

fn refusal(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    let json = |column: usize| -> rusqlite::Result<Option<Value>> {
        let text: Option<String> = row.get(column)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    let subject: Option<String> = row.get(6)?;
    let certificate = match subject {
        Some(subject) => Some(RefusedCertificate {
            subject,
            issuer: row.get(7)?,
            serial: row.get(8)?,
        }),
        None => None,
    };
    let count: i64 = row.get(2)?;
    Ok(Refusal {
        id: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        count: u64::try_from(count).unwrap_or(0),
        remote: row.get(3)?,
        cause: row.get(4)?,
        reason: row.get(5)?,
        certificate,
        hello: json(9)?,
        request: json(10)?,
    })
}
