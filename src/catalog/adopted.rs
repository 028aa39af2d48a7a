//! Streams that another server has kept in the same working directory.

use std::collections::{BTreeSet, HashMap};

use super::uploads::signed;
use super::{Catalog, EventKind, FragmentRow, NewObject, NewUpload, Stream, Tables};
use crate::Result;
use crate::matter::{Session, Track};
use crate::names::StreamId;

/// A stream with all that is known of it.
#[derive(Debug)]
pub(crate) struct AdoptedStream {
    pub(crate) stream: Stream,
    /// In the order in which they came.
    pub(crate) uploads: Vec<AdoptedUpload>,
    pub(crate) sessions: Vec<AdoptedSession>,
}

/// An upload, with the object that it is, if its path still serves it.
#[derive(Debug)]
pub(crate) struct AdoptedUpload {
    pub(crate) upload: NewUpload,
    pub(crate) object: Option<(NewObject, Vec<FragmentRow>)>,
    /// Number of its session, and the run of it.
    pub(crate) session: Option<(u64, i64)>,
}

/// A run of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdoptedSession {
    pub(crate) number: u64,
    pub(crate) session: Session,
    pub(crate) tracks: Vec<(String, Track)>,
}

impl Catalog {
    /// Records the stream with all that belongs to it, or nothing of it. `then` is done in the same
    /// transaction, with the numbers of the uploads in their order.
    pub(crate) async fn adopt_stream<T, F>(&self, adopted: AdoptedStream, then: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tables<'_>, &[i64]) -> rusqlite::Result<T> + Send + 'static,
    {
        self.changing(async move |catalog| {
            let (stream, done) = catalog
                .write(move |tables| {
                    let (stream, uploads) = tables.insert_adopted(adopted)?;
                    Ok((stream, then(tables, &uploads)?))
                })
                .await?;
            catalog.streams.put(stream);
            Ok(done)
        })
        .await
    }
}

impl Tables<'_> {
    /// The numbers of all streams, also of those that are being deleted.
    pub(crate) fn stream_numbers(&self) -> rusqlite::Result<BTreeSet<StreamId>> {
        self.0
            .prepare("SELECT id FROM stream")?
            .query_map((), |row| row.get(0).map(StreamId))?
            .collect()
    }

    /// New streams get greater numbers than this one.
    pub(crate) fn reserve_stream_number(&self, id: StreamId) -> rusqlite::Result<()> {
        let known = self.0.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'stream'",
            (id.0,),
        )?;
        if known == 0 {
            self.0.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('stream', ?)",
                (id.0,),
            )?;
        }
        Ok(())
    }

    /// Whether any certificate of a device is known.
    pub(crate) fn knows_devices(&self) -> rusqlite::Result<bool> {
        self.0
            .prepare(
                "SELECT 1 FROM certificate WHERE hierarchy = 'device' AND name <> 'root' LIMIT 1",
            )?
            .exists(())
    }

    /// Fingerprints of the devices' certificates by serial number, without leading zeros.
    pub(crate) fn device_serials(&self) -> rusqlite::Result<HashMap<String, String>> {
        self.0
            .prepare("SELECT serial, fingerprint FROM certificate WHERE hierarchy = 'device'")?
            .query_map((), |row| {
                let serial: String = row.get(0)?;
                Ok((serial.trim_start_matches('0').to_owned(), row.get(1)?))
            })?
            .collect()
    }

    fn insert_adopted(&self, adopted: AdoptedStream) -> rusqlite::Result<(Stream, Vec<i64>)> {
        let AdoptedStream {
            stream,
            uploads,
            sessions,
        } = adopted;
        let id = stream.id;
        self.0
            .prepare_cached(
                "INSERT INTO stream (id, interface, strict_mode, track_name, owner, created) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                id.0,
                stream.interface.as_str(),
                stream.strict_mode,
                &stream.track_name,
                &stream.owner,
                stream.created.as_micros(),
            ))?;
        self.add_event(
            EventKind::StreamCreated,
            Some(id),
            None,
            None,
            Some("adopted"),
        )?;
        for AdoptedSession {
            number,
            session,
            tracks,
        } in &sessions
        {
            self.put_session(id, *number, session)?;
            for (name, track) in tracks {
                self.put_track(id, *number, session.run, name, track)?;
            }
        }
        let mut bytes = 0_i64;
        let mut numbers = Vec::with_capacity(uploads.len());
        for AdoptedUpload {
            upload,
            object,
            session,
        } in uploads
        {
            let number = self.insert_upload(&upload)?;
            numbers.push(number);
            if let Some((session, run)) = session {
                self.0
                    .prepare_cached("UPDATE upload SET session = ?, run = ? WHERE id = ?")?
                    .execute((session.to_string(), run, number))?;
            }
            bytes = bytes.saturating_add(signed(upload.outcome.size));
            if let Some((mut object, fragments)) = object {
                object.upload = number;
                let held = self.replace_object(&object)?;
                self.add_fragments(held, number, &fragments)?;
                self.note_errors(id, &upload.path, number, &upload.outcome.errors)?;
            }
        }
        // Their sizes were not counted, because nobody knows how they were answered.
        self.0
            .prepare_cached("UPDATE stream SET bytes = bytes + ? WHERE id = ?")?
            .execute((bytes, id.0))?;
        Ok((stream, numbers))
    }
}
