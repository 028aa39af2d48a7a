//! What happened, in the order in which it was committed.

use rusqlite::Row;
use rusqlite::types::Value;
use serde::Serialize;

use super::Tables;
use crate::clock::Timestamp;
use crate::names::StreamId;

/// Most values that one filter may name.
pub(crate) const MOST_WANTED: usize = 100;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    /// Rises with every commit, also across restarts.
    pub(crate) seq: i64,
    pub(crate) at: Timestamp,
    pub(crate) kind: String,
    pub(crate) stream: Option<StreamId>,
    pub(crate) path: Option<String>,
    /// Number of the upload's record.
    pub(crate) upload: Option<i64>,
    pub(crate) detail: Option<String>,
}

/// Which events are wanted: of these streams, of these kinds. An empty list means all.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventFilter {
    pub(crate) streams: Vec<StreamId>,
    pub(crate) kinds: Vec<String>,
}

impl Tables<'_> {
    /// At most `limit` events with a number above `after` and up to `until`, in order.
    pub(crate) fn events(
        &self,
        after: i64,
        until: i64,
        filter: &EventFilter,
        limit: usize,
    ) -> rusqlite::Result<Vec<Event>> {
        let marks = |count: usize| vec!["?"; count].join(",");
        let mut sql = "SELECT seq, at, kind, stream, path, upload, detail FROM event \
                       WHERE seq > ? AND seq <= ?"
            .to_owned();
        let mut values = vec![Value::from(after), Value::from(until)];
        if !filter.streams.is_empty() {
            sql.push_str(&format!(" AND stream IN ({})", marks(filter.streams.len())));
            values.extend(filter.streams.iter().map(|stream| Value::from(stream.0)));
        }
        if !filter.kinds.is_empty() {
            sql.push_str(&format!(" AND kind IN ({})", marks(filter.kinds.len())));
            values.extend(filter.kinds.iter().cloned().map(Value::from));
        }
        sql.push_str(" ORDER BY seq LIMIT ?");
        values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.0
            .prepare_cached(&sql)?
            .query_map(rusqlite::params_from_iter(values), event)?
            .collect()
    }

    /// Number of the newest event; 0 when nothing has happened yet.
    pub(crate) fn last_event(&self) -> rusqlite::Result<i64> {
        self.0
            .prepare_cached("SELECT ifnull(max(seq), 0) FROM event")?
            .query_row((), |row| row.get(0))
    }

    /// The newest `limit` events of these kinds, newest first.
    pub(crate) fn newest_events(
        &self,
        kinds: &[&str],
        limit: usize,
    ) -> rusqlite::Result<Vec<Event>> {
        let marks = vec!["?"; kinds.len()].join(",");
        let mut values: Vec<Value> = kinds
            .iter()
            .map(|kind| Value::from((*kind).to_owned()))
            .collect();
        values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.0
            .prepare_cached(&format!(
                "SELECT seq, at, kind, stream, path, upload, detail FROM event \
                 WHERE kind IN ({marks}) ORDER BY seq DESC LIMIT ?"
            ))?
            .query_map(rusqlite::params_from_iter(values), event)?
            .collect()
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        kind: row.get(2)?,
        stream: row.get::<_, Option<i64>>(3)?.map(StreamId),
        path: row.get(4)?,
        upload: row.get(5)?,
        detail: row.get(6)?,
    })
}
