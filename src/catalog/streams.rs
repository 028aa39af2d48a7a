//! Streams: their settings, which are few and also held in memory, and their counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::{OptionalExtension, Row};

use super::uploads::{from_json, json};
use super::{Audit, By, Catalog, EventKind, Tables};
use crate::clock::Timestamp;
use crate::names::{Interface, StreamId, StreamName};
use crate::{Error, Kind, Result};

/// Rows that are removed at a time.
const SLICE: i64 = 5000;

/// A stream's settings.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) interface: Interface,
    pub(crate) strict_mode: bool,
    /// Errors in media are refused.
    pub(crate) strict_media: bool,
    pub(crate) track_name: Option<String>,
    /// Name of the device it belongs to; `None`: it takes uploads of any device.
    pub(crate) owner: Option<String>,
    /// What people call it; no two streams have the same name.
    pub(crate) name: Option<StreamName>,
    /// Words to find it by.
    pub(crate) tags: Vec<String>,
    pub(crate) created: Timestamp,
}

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) interface: Interface,
    pub(crate) strict_mode: bool,
    /// Errors in media are refused.
    pub(crate) strict_media: bool,
    pub(crate) owner: Option<String>,
    /// Who opens it, for the record.
    pub(crate) by: By,
}

/// Settings to change; `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamChange {
    pub(crate) track_name: Option<Option<String>>,
    pub(crate) strict_mode: Option<bool>,
    pub(crate) name: Option<Option<StreamName>>,
    pub(crate) tags: Option<Vec<String>>,
    /// The device that it is to belong to.
    pub(crate) owner: Option<Option<String>>,
    /// Who changes them, for the record.
    pub(crate) by: Option<By>,
    pub(crate) strict_media: Option<bool>,
}

/// How much a stream has seen and holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamCounts {
    pub(crate) uploads: i64,
    pub(crate) bytes: i64,
    pub(crate) manifests: i64,
    pub(crate) objects: i64,
    pub(crate) problems: i64,
    /// Uploads with errors in their media.
    pub(crate) media_errors: i64,
    /// Warnings about media.
    pub(crate) warnings: i64,
    pub(crate) last_upload: Option<Timestamp>,
}

/// The settings of all streams, in memory: every request asks for them.
pub(super) struct Known {
    streams: RwLock<Index>,
    changing: tokio::sync::Mutex<()>,
}

/// The streams by their ids, and the ids by the streams' names.
#[derive(Default)]
struct Index {
    by_id: BTreeMap<StreamId, Arc<Stream>>,
    by_name: HashMap<StreamName, StreamId>,
}

impl Index {
    fn put(&mut self, stream: Arc<Stream>) {
        self.remove(stream.id);
        if let Some(name) = &stream.name {
            self.by_name.insert(name.clone(), stream.id);
        }
        self.by_id.insert(stream.id, stream);
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(name) = self.by_id.remove(&id).and_then(|old| old.name.clone()) {
            self.by_name.remove(&name);
        }
    }
}

impl Known {
    pub(super) fn load(tables: &Tables<'_>) -> rusqlite::Result<Self> {
        let mut statement = tables
            .0
            .prepare(&format!("SELECT {COLUMNS} FROM stream WHERE NOT deleted"))?;
        let mut index = Index::default();
        for known in statement.query_map((), stream)? {
            index.put(Arc::new(known?));
        }
        Ok(Self {
            streams: RwLock::new(index),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    fn get(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.read().by_id.get(&id).cloned()
    }

    pub(super) fn put(&self, stream: Stream) -> Arc<Stream> {
        let stream = Arc::new(stream);
        self.lock().put(Arc::clone(&stream));
        stream
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Index> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
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

    /// The stream that the text of an address names: by its id or by its name.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of that id, [`Kind::Shape`] when the text is neither an id
    /// nor the name of a stream.
    pub(crate) fn stream_called(&self, text: &str) -> Result<Arc<Stream>> {
        match text.parse::<StreamId>() {
            Ok(id) => self.stream(id),
            Err(neither) => {
                let id = StreamName::parse(text)
                    .ok()
                    .and_then(|name| self.streams.read().by_name.get(&name).copied());
                self.stream(id.ok_or(neither)?)
            }
        }
    }

    /// How many streams there are.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.read().by_id.len()
    }

    /// At most `limit` streams with an id above `after` that `wanted` accepts, in order of their ids.
    pub(crate) fn streams(
        &self,
        after: Option<StreamId>,
        limit: usize,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Vec<Arc<Stream>> {
        let known = self.streams.read();
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        known
            .by_id
            .range((start, std::ops::Bound::Unbounded))
            .map(|(_, stream)| stream)
            .filter(|stream| wanted(stream))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Opens a stream under a number of its own.
    pub(crate) async fn create_stream(&self, new: NewStream) -> Result<Arc<Stream>> {
        self.changing(async move |catalog| {
            let stream = catalog
                .write(move |tables| tables.insert_stream(new))
                .await?;
            Ok(catalog.streams.put(stream))
        })
        .await
    }

    /// Changes settings.
    pub(crate) async fn change_stream(
        &self,
        id: StreamId,
        change: StreamChange,
    ) -> Result<Arc<Stream>> {
        self.changing(async move |catalog| {
            catalog.stream(id)?;
            if let Some(Some(name)) = &change.name {
                let holder = catalog.streams.read().by_name.get(name).copied();
                if let Some(holder) = holder.filter(|holder| *holder != id) {
                    return Err(Error::new(
                        Kind::Conflict,
                        format!("stream {holder} has the name \"{name}\" already: choose another"),
                    ));
                }
            }
            let changed = catalog
                .write(move |tables| tables.change_stream(id, change))
                .await?;
            Ok(catalog.streams.put(changed))
        })
        .await
    }

    /// Makes a stream unknown. What belongs to it stays until [`Self::purge_stream`].
    pub(crate) async fn delete_stream(&self, id: StreamId) -> Result<()> {
        self.changing(async move |catalog| {
            // First from memory: from here on its uploads are refused.
            catalog.streams.lock().remove(id);
            catalog.write(move |tables| tables.mark_deleted(id)).await
        })
        .await
    }

    /// Forgets all that belonged to a deleted stream. Its number is not given again.
    pub(crate) async fn purge_stream(&self, id: StreamId) -> Result<()> {
        // In slices: uploads to other streams wait for each of them.
        while self.write(move |tables| tables.purge_slice(id)).await? {}
        Ok(())
    }

    /// Streams whose removal a server that ended did not finish.
    pub(crate) async fn deleted_streams(&self) -> Result<Vec<StreamId>> {
        self.read(|tables| tables.deleted_streams()).await
    }

    /// Changes of settings are done one after the other, in memory as in the tables, and to their end
    /// also when the caller goes away.
    pub(super) async fn changing<T, F, R>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Self) -> R + Send + 'static,
        R: Future<Output = Result<T>> + Send,
    {
        let catalog = self.clone();
        let done = tokio::spawn(async move {
            let streams = Arc::clone(&catalog.streams);
            let _changing = streams.changing.lock().await;
            change(catalog).await
        });
        done.await
            .map_err(|e| Error::internal("a change of settings panicked", e))?
    }
}

impl Tables<'_> {
    fn insert_stream(&self, new: NewStream) -> rusqlite::Result<Stream> {
        let created = Timestamp::now();
        self.0
            .prepare_cached(
                "INSERT INTO stream (interface, strict_mode, owner, created, strict_media) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute((
                new.interface.as_str(),
                new.strict_mode,
                &new.owner,
                created.as_micros(),
                new.strict_media,
            ))?;
        let id = StreamId(self.0.last_insert_rowid());
        self.add_event(EventKind::StreamCreated, Some(id), None, None, None)?;
        let stream = Stream {
            id,
            interface: new.interface,
            strict_mode: new.strict_mode,
            strict_media: new.strict_media,
            track_name: None,
            owner: new.owner,
            name: None,
            tags: Vec::new(),
            created,
        };
        self.add_audit(&Audit {
            by: new.by,
            what: "stream-opened",
            subject: id.to_string(),
            before: serde_json::Value::Null,
            after: settings(&stream),
        })?;
        Ok(stream)
    }

    fn change_stream(&self, id: StreamId, change: StreamChange) -> rusqlite::Result<Stream> {
        let before = self.stream(id)?;
        if let Some(owner) = change.owner {
            self.0
                .execute("UPDATE stream SET owner = ? WHERE id = ?", (owner, id.0))?;
        }
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
        if let Some(strict) = change.strict_media {
            self.0.execute(
                "UPDATE stream SET strict_media = ? WHERE id = ?",
                (strict, id.0),
            )?;
        }
        if let Some(name) = change.name {
            self.0.execute(
                "UPDATE stream SET name = ? WHERE id = ?",
                (name.as_ref().map(StreamName::as_str), id.0),
            )?;
        }
        if let Some(tags) = change.tags {
            self.0.execute(
                "UPDATE stream SET tags = ? WHERE id = ?",
                (json(&tags), id.0),
            )?;
        }
        self.add_event(EventKind::StreamChanged, Some(id), None, None, None)?;
        let after = self.stream(id)?;
        if let Some(by) = change.by {
            self.add_audit(&Audit {
                by,
                what: "stream-changed",
                subject: id.to_string(),
                before: settings(&before),
                after: settings(&after),
            })?;
        }
        Ok(after)
    }

    fn stream(&self, id: StreamId) -> rusqlite::Result<Stream> {
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM stream WHERE id = ?"))?
            .query_row((id.0,), stream)
    }

    fn mark_deleted(&self, id: StreamId) -> rusqlite::Result<()> {
        self.0
            .execute("UPDATE stream SET deleted = 1 WHERE id = ?", (id.0,))?;
        self.add_event(EventKind::StreamDeleted, Some(id), None, None, None)
    }

    fn deleted_streams(&self) -> rusqlite::Result<Vec<StreamId>> {
        self.0
            .prepare("SELECT id FROM stream WHERE deleted")?
            .query_map((), |row| row.get(0).map(StreamId))?
            .collect()
    }

    /// Removes some of what belonged to a deleted stream, its own row last. Whether more is there.
    fn purge_slice(&self, id: StreamId) -> rusqlite::Result<bool> {
        let fragments = self.0.execute(
            "DELETE FROM fragment WHERE (object, offset) IN (SELECT f.object, f.offset FROM object o \
             JOIN fragment f ON f.object = o.id WHERE o.stream = ? LIMIT ?)",
            (id.0, SLICE),
        )?;
        if fragments > 0 {
            return Ok(true);
        }
        for table in ["object", "upload"] {
            let rows = self.0.execute(
                &format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE stream = ? LIMIT ?)"),
                (id.0, SLICE),
            )?;
            if rows > 0 {
                return Ok(true);
            }
        }
        for table in ["problem", "session_track", "session", "kept"] {
            self.0
                .execute(&format!("DELETE FROM {table} WHERE stream = ?"), (id.0,))?;
        }
        self.0
            .execute("DELETE FROM stream WHERE id = ? AND deleted", (id.0,))?;
        Ok(false)
    }

    /// Whether the stream still is there: an upload may end after its stream was deleted.
    pub(crate) fn stream_exists(&self, id: StreamId) -> rusqlite::Result<bool> {
        self.0
            .prepare_cached("SELECT 1 FROM stream WHERE id = ? AND NOT deleted")?
            .exists((id.0,))
    }

    /// The stream's counts; zeros when it is gone.
    pub(crate) fn counts(&self, id: StreamId) -> rusqlite::Result<StreamCounts> {
        self.0
            .prepare_cached(
                "SELECT uploads, bytes, manifests, objects, problems, last_upload, media_errors, warnings FROM stream WHERE id = ?",
            )?
            .query_row((id.0,), |row| {
                Ok(StreamCounts {
                    uploads: row.get(0)?,
                    bytes: row.get(1)?,
                    manifests: row.get(2)?,
                    objects: row.get(3)?,
                    problems: row.get(4)?,
                    last_upload: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                    media_errors: row.get(6)?,
                    warnings: row.get(7)?,
                })
            })
            .optional()
            .map(Option::unwrap_or_default)
    }
}

const COLUMNS: &str =
    "id, interface, strict_mode, track_name, owner, created, strict_media, name, tags";
/// A stream's settings, for the record of a change.
fn settings(stream: &Stream) -> serde_json::Value {
    serde_json::json!({
        "interface": stream.interface,
        "strict_mode": stream.strict_mode,
        "strict_media": stream.strict_media,
        "track_name": stream.track_name,
        "owner": stream.owner,
        "name": stream.name,
        "tags": stream.tags,
    })
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
        strict_media: row.get(6)?,
        name: row
            .get::<_, Option<String>>(7)?
            .and_then(|name| StreamName::parse(&name).ok()),
        tags: from_json(&row.get::<_, String>(8)?),
    })
}
