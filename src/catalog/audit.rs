//! Who changed what: events of one kind, whose detail is JSON.

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventKind, Tables};
use crate::clock::Timestamp;

/// Who makes a change, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct By {
    /// `admin NAME`, `device NAME`, `loopback`, `anyone`.
    pub(crate) who: String,
    /// The address that the request came from.
    pub(crate) from: String,
}

/// A change, as it is recorded. `before` and `after` hold what differs; secrets are never in them.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) by: By,
    /// One word, such as `token-made`.
    pub(crate) what: &'static str,
    /// The name or number of what was changed.
    pub(crate) subject: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// A recorded change.
#[derive(Debug, Serialize)]
pub(crate) struct Audited {
    /// Its number; rises with every commit.
    pub(crate) seq: i64,
    at: Timestamp,
    #[serde(flatten)]
    detail: Detail,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Detail {
    who: String,
    from: String,
    what: String,
    subject: String,
    before: Value,
    after: Value,
}

impl Tables<'_> {
    /// Records a change, in the transaction that makes it.
    pub(crate) fn add_audit(&self, audit: &Audit) -> rusqlite::Result<()> {
        let detail = Detail {
            who: audit.by.who.clone(),
            from: audit.by.from.clone(),
            what: audit.what.to_owned(),
            subject: audit.subject.clone(),
            before: audit.before.clone(),
            after: audit.after.clone(),
        };
        let detail = serde_json::to_string(&detail).unwrap_or_default();
        self.add_event(EventKind::Audit, None, None, None, Some(&detail))
    }

    /// At most `limit` changes with numbers below `before`, newest first.
    pub(crate) fn audits(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Audited>> {
        self.0
            .prepare_cached(
                "SELECT seq, at, detail FROM event WHERE kind = 'audit' AND seq < ? \
                 ORDER BY seq DESC LIMIT ?",
            )?
            .query_map(
                (
                    before.unwrap_or(i64::MAX),
                    i64::try_from(limit).unwrap_or(i64::MAX),
                ),
                audited,
            )?
            .collect()
    }
}

fn audited(row: &Row<'_>) -> rusqlite::Result<Audited> {
    let detail: String = row.get(2)?;
    Ok(Audited {
        seq: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        detail: serde_json::from_str(&detail).unwrap_or_default(),
    })
}
