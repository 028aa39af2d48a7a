//! Enrolments: leave to have one certificate signed under one name.

use rusqlite::{OptionalExtension, Row};
use serde::Serialize;

use super::Tables;
use crate::clock::Timestamp;
use crate::names::StreamId;

/// For how long an enrolment that is over stays in the list: 90 days.
const KEPT_MICROS: i64 = 90 * 86_400 * 1_000_000;

/// An enrolment to be remembered; `hash` is all that is kept of its token.
#[derive(Clone, Debug)]
pub(crate) struct NewEnrolment {
    pub(crate) name: String,
    pub(crate) stream: Option<StreamId>,
    pub(crate) hash: String,
    pub(crate) by: String,
    pub(crate) ends: Timestamp,
}

/// An enrolment, without its token.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Enrolment {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) stream: Option<StreamId>,
    pub(crate) state: EnrolmentState,
    pub(crate) created: Timestamp,
    pub(crate) created_by: String,
    pub(crate) ends: Timestamp,
    pub(crate) used: Option<Timestamp>,
    pub(crate) used_from: Option<String>,
    /// Fingerprint of the certificate that was signed.
    pub(crate) certificate: Option<String>,
}

/// What an enrolment is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EnrolmentState {
    Open,
    Used,
    Expired,
    Withdrawn,
}

const COLUMNS: &str =
    "id, name, stream, created, created_by, ends, used, used_from, certificate, withdrawn";

impl Tables<'_> {
    /// Remembers an enrolment, and forgets those that were over long ago.
    pub(crate) fn add_enrolment(&self, new: &NewEnrolment) -> rusqlite::Result<Enrolment> {
        let created = Timestamp::now();
        self.0.execute(
            "DELETE FROM enrolment WHERE ends < ?",
            (created.as_micros() - KEPT_MICROS,),
        )?;
        self.0
            .prepare_cached(&format!(
                "INSERT INTO enrolment (name, stream, hash, created, created_by, ends) \
                 VALUES (?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
            ))?
            .query_row(
                (
                    &new.name,
                    new.stream.map(|stream| stream.0),
                    &new.hash,
                    created.as_micros(),
                    &new.by,
                    new.ends.as_micros(),
                ),
                enrolment,
            )
    }

    /// Enrolments by number, whatever became of them.
    pub(crate) fn enrolments(&self, after: i64, limit: usize) -> rusqlite::Result<Vec<Enrolment>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM enrolment WHERE id > ? ORDER BY id LIMIT ?"
            ))?
            .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), enrolment)?
            .collect()
    }

    /// The enrolment with this number.
    pub(crate) fn enrolment(&self, id: i64) -> rusqlite::Result<Option<Enrolment>> {
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM enrolment WHERE id = ?"))?
            .query_row((id,), enrolment)
            .optional()
    }

    /// The enrolment whose token has this hash.
    pub(crate) fn enrolment_by_token(&self, hash: &str) -> rusqlite::Result<Option<Enrolment>> {
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM enrolment WHERE hash = ?"))?
            .query_row((hash,), enrolment)
            .optional()
    }

    /// Uses an enrolment for a certificate. Whether it was still open.
    pub(super) fn use_enrolment(
        &self,
        id: i64,
        certificate: &str,
        from: &str,
    ) -> rusqlite::Result<bool> {
        let now = Timestamp::now().as_micros();
        let used = self
            .0
            .prepare_cached(
                "UPDATE enrolment SET used = ?1, used_from = ?2, certificate = ?3 \
                 WHERE id = ?4 AND used IS NULL AND withdrawn IS NULL AND ends > ?1",
            )?
            .execute((now, from, certificate, id))?;
        Ok(used == 1)
    }

    /// Withdraws an enrolment. Whether it was still open.
    pub(crate) fn withdraw_enrolment(&self, id: i64) -> rusqlite::Result<bool> {
        let now = Timestamp::now().as_micros();
        let withdrawn = self
            .0
            .prepare_cached(
                "UPDATE enrolment SET withdrawn = ?1 \
                 WHERE id = ?2 AND used IS NULL AND withdrawn IS NULL AND ends > ?1",
            )?
            .execute((now, id))?;
        Ok(withdrawn == 1)
    }
}

fn enrolment(row: &Row<'_>) -> rusqlite::Result<Enrolment> {
    let time = |index| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(index)?
            .map(Timestamp::from_micros))
    };
    let ends = Timestamp::from_micros(row.get(5)?);
    let used = time(6)?;
    let state = if used.is_some() {
        EnrolmentState::Used
    } else if time(9)?.is_some() {
        EnrolmentState::Withdrawn
    } else if ends <= Timestamp::now() {
        EnrolmentState::Expired
    } else {
        EnrolmentState::Open
    };
    Ok(Enrolment {
        id: row.get(0)?,
        name: row.get(1)?,
        stream: row.get::<_, Option<i64>>(2)?.map(StreamId),
        state,
        created: Timestamp::from_micros(row.get(3)?),
        created_by: row.get(4)?,
        ends,
        used,
        used_from: row.get(7)?,
        certificate: row.get(8)?,
    })
}
