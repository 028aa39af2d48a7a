//! Streams: their settings, which are few and also held in memory, and their counts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{OptionalExtension, Row};

use super::{Catalog, EventKind, Tables};
use crate::clock::Timestamp;
use crate::names::{Interface, StreamId};
use crate::{Error, Kind, Result};

/// A stream's settings.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) interface: Interface,
    pub(crate) strict_mode: bool,
    pub(crate) track_name: Option<String>,
    /// Name of the device it belongs to; `None`: it takes uploads of any device.
    pub(crate) owner: Option<String>,
    pub(crate) created: Timestamp,
}

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) interface: Interface,
    pub(crate) strict_mode: bool,
    pub(crate) owner: Option<String>,
}

/// Settings to change; `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamChange {
    pub(crate) track_name: Option<Option<String>>,
    pub(crate) strict_mode: Option<bool>,
}

/// How much a stream has seen and holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamCounts {
    pub(crate) uploads: i64,
    pub(crate) bytes: i64,
    pub(crate) manifests: i64,
    pub(crate) objects: i64,
    pub(crate) problems: i64,
    pub(crate) last_upload: Option<Timestamp>,
}

/// The settings of all streams, in memory: every request asks for them.
pub(super) struct Known(RwLock<BTreeMap<StreamId, Arc<Stream>>>);

impl Known {
    pub(super) fn load(tables: &Tables<'_>) -> rusqlite::Result<Self> {
        let mut statement = tables
            .0
            .prepare("SELECT id, interface, strict_mode, track_name, owner, created FROM stream")?;
        let streams = statement
            .query_map((), stream)?
            .map(|stream| stream.map(|s| (s.id, Arc::new(s))))
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self(RwLock::new(streams)))
    }

    fn get(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn put(&self, stream: Stream) -> Arc<Stream> {
        let stream = Arc::new(stream);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(stream.id, Arc::clone(&stream));
        stream
    }
}

impl Catalog {
    /// The stream's settings.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none.
    pub(crate) fn stream(&self, id: StreamId) -> Result<Arc<Stream>> {
        self.streams
            .get(id)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("stream {id} does not exist")))
    }

    /// At most `limit` streams with an id above `after` that `wanted` accepts, in order of their ids.
    pub(crate) fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Vec<Arc<Stream>> {
        let known = self
            .streams
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        known
            .range((start, std::ops::Bound::Unbounded))
            .map(|(_, stream)| stream)
            .filter(|stream| wanted(stream))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Opens a stream under a number of its own.
    pub(crate) async fn create_stream(&self, new: NewStream) -> Result<Arc<Stream>> {
        let stream = self.write(move |tables| tables.insert_stream(new)).await?;
        Ok(self.streams.put(stream))
    }

    /// Changes settings.
    pub(crate) async fn change_stream(
        &self,
        id: StreamId,
        change: StreamChange,
    ) -> Result<Arc<Stream>> {
        let changed = self
            .write(move |tables| tables.change_stream(id, change))
            .await?;
        let changed = changed
            .ok_or_else(|| Error::new(Kind::NotFound, format!("stream {id} does not exist")))?;
        Ok(self.streams.put(changed))
    }

    /// Forgets a stream and all that belongs to it. Its number is not given again.
    pub(crate) async fn delete_stream(&self, id: StreamId) -> Result<()> {
        // First from memory: from here on its uploads are refused.
        self.streams
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        self.write(move |tables| tables.delete_stream(id)).await
    }
}

impl Tables<'_> {
    fn insert_stream(&self, new: NewStream) -> rusqlite::Result<Stream> {
        let created = Timestamp::now();
        self.0
            .prepare_cached(
                "INSERT INTO stream (interface, strict_mode, owner, created) VALUES (?, ?, ?, ?)",
            )?
            .execute((
                new.interface.as_str(),
                new.strict_mode,
                &new.owner,
                created.as_micros(),
            ))?;
        let id = StreamId(self.0.last_insert_rowid());
        self.add_event(EventKind::StreamCreated, Some(id), None, None, None)?;
        Ok(Stream {
            id,
            interface: new.interface,
            strict_mode: new.strict_mode,
            track_name: None,
            owner: new.owner,
            created,
        })
    }

    fn change_stream(
        &self,
        id: StreamId,
        change: StreamChange,
    ) -> rusqlite::Result<Option<Stream>> {
        if let Some(name) = change.track_name {
            self.0.execute(
                "UPDATE stream SET track_name = ? WHERE id = ?",
                (name, id.0),
            )?;
        }
        if let Some(strict) = change.strict_mode {
            self.0.execute(
                "UPDATE stream SET strict_mode = ? WHERE id = ?",
                (strict, id.0),
            )?;
        }
        self.add_event(EventKind::StreamChanged, Some(id), None, None, None)?;
        self.0
            .prepare_cached(
                "SELECT id, interface, strict_mode, track_name, owner, created FROM stream WHERE id = ?",
            )?
            .query_row((id.0,), stream)
            .optional()
    }

    fn delete_stream(&self, id: StreamId) -> rusqlite::Result<()> {
        self.0.execute(
            "DELETE FROM fragment WHERE object IN (SELECT id FROM object WHERE stream = ?)",
            (id.0,),
        )?;
        for table in ["object", "upload", "problem"] {
            self.0
                .execute(&format!("DELETE FROM {table} WHERE stream = ?"), (id.0,))?;
        }
        self.0.execute("DELETE FROM stream WHERE id = ?", (id.0,))?;
        self.add_event(EventKind::StreamDeleted, Some(id), None, None, None)
    }

    /// Whether the stream still is there: an upload may end after its stream was deleted.
    pub(crate) fn stream_exists(&self, id: StreamId) -> rusqlite::Result<bool> {
        self.0
            .prepare_cached("SELECT 1 FROM stream WHERE id = ?")?
            .exists((id.0,))
    }

    /// The stream's counts; zeros when it is gone.
    pub(crate) fn counts(&self, id: StreamId) -> rusqlite::Result<StreamCounts> {
        self.0
            .prepare_cached(
                "SELECT uploads, bytes, manifests, objects, problems, last_upload FROM stream WHERE id = ?",
            )?
            .query_row((id.0,), |row| {
                Ok(StreamCounts {
                    uploads: row.get(0)?,
                    bytes: row.get(1)?,
                    manifests: row.get(2)?,
                    objects: row.get(3)?,
                    problems: row.get(4)?,
                    last_upload: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                })
            })
            .optional()
            .map(Option::unwrap_or_default)
    }
}

fn stream(row: &Row<'_>) -> rusqlite::Result<Stream> {
    let interface: String = row.get(1)?;
    Ok(Stream {
        id: StreamId(row.get(0)?),
        interface: interface.parse().map_err(|e: Error| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e))
        })?,
        strict_mode: row.get(2)?,
        track_name: row.get(3)?,
        owner: row.get(4)?,
        created: Timestamp::from_micros(row.get(5)?),
    })
}
