//! Objects: what lies at a path, with the index of its fragments.

use rusqlite::{OptionalExtension, Row};

use super::uploads::{session_number, signed, signed_len};
use super::{EventKind, Tables};
use crate::clock::Timestamp;
use crate::layout;
use crate::names::{ObjectPath, StreamId};

/// An object as recorded.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) id: i64,
    pub(crate) path: String,
    /// The last upload that changed it.
    pub(crate) upload: i64,
    pub(crate) size: u64,
    /// Its last upload came to its end.
    pub(crate) whole: bool,
    /// Number of the part, from 1, when it is a track.
    pub(crate) part: Option<i64>,
    /// Bytes of the CMAF header it begins with; 0 when it does not.
    pub(crate) header_size: u64,
    /// End of its last fragment in bytes.
    pub(crate) media_end: u64,
    /// Greatest end of a fragment in ticks.
    pub(crate) end_time: Option<u64>,
}

/// An object as listings show it.
#[derive(Clone, Debug)]
pub(crate) struct ListedObject {
    pub(crate) path: String,
    /// The last upload that changed it.
    pub(crate) upload: i64,
    pub(crate) size: u64,
    /// The session that its path names, and the run of it.
    pub(crate) session: Option<(u64, i64)>,
}

/// An object to be recorded as what its path serves from now on.
#[derive(Clone, Debug)]
pub(crate) struct NewObject {
    pub(crate) stream: StreamId,
    pub(crate) path: ObjectPath,
    pub(crate) upload: i64,
    pub(crate) size: u64,
    pub(crate) whole: bool,
    pub(crate) part: Option<i64>,
    pub(crate) header_size: u64,
    pub(crate) media_end: u64,
    pub(crate) end_time: Option<u64>,
}

/// One fragment of an object. Offsets count from the object's start.
#[derive(Clone, Debug)]
pub(crate) struct FragmentRow {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) media_offset: u64,
    pub(crate) media_size: u64,
    /// Ticks.
    pub(crate) decode_time: Option<u64>,
    /// Ticks.
    pub(crate) duration: u64,
    pub(crate) sync: bool,
    pub(crate) wall_clock: Option<Timestamp>,
    /// `mfhd.sequence_number`.
    pub(crate) sequence: Option<u32>,
}

const FRAGMENT: &str =
    "offset, size, media_offset, media_size, decode_time, duration, sync, wall_clock, sequence";

const COLUMNS: &str = "id, path, upload, size, whole, part, header_size, media_end, end_time";

impl Tables<'_> {
    /// What the path serves.
    pub(crate) fn object(&self, stream: StreamId, path: &str) -> rusqlite::Result<Option<Object>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM object WHERE stream = ? AND path = ? AND current"
            ))?
            .query_row((stream.0, path), object)
            .optional()
    }

    /// The object that an upload made, if its path serves it; not for tracks.
    pub(crate) fn served(&self, stream: StreamId, upload: i64) -> rusqlite::Result<Option<Object>> {
        let made = self
            .0
            .prepare_cached("SELECT path FROM upload WHERE id = ? AND stream = ?")?
            .query_row((upload, stream.0), |row| row.get::<_, String>(0))
            .optional()?;
        let Some(path) = made else { return Ok(None) };
        let held = self.object(stream, &path)?;
        Ok(held.filter(|held| held.upload == upload && held.part.is_none()))
    }

    /// At most `limit` objects below a directory (`""` or ending in `/`) that begin with a CMAF header.
    pub(crate) fn headers(
        &self,
        stream: StreamId,
        directory: &str,
        limit: usize,
    ) -> rusqlite::Result<Vec<Object>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Every path below the directory sorts before its name followed by the last character.
        let end = format!("{directory}\u{10FFFF}");
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM object WHERE stream = ? AND path >= ? AND path < ? AND current \
                 AND header_size > 0 ORDER BY path LIMIT ?"
            ))?
            .query_map((stream.0, directory, end, limit), object)?
            .collect()
    }

    /// At most `limit` objects below a directory (`""` or ending in `/`), in the order of their names.
    pub(crate) fn objects_below(
        &self,
        stream: StreamId,
        directory: &str,
        limit: usize,
    ) -> rusqlite::Result<Vec<Object>> {
        let end = format!("{directory}\u{10FFFF}");
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM object WHERE stream = ? AND path >= ? AND path < ? AND current \
                 ORDER BY path LIMIT ?"
            ))?
            .query_map((stream.0, directory, end, signed_len(limit)), object)?
            .collect()
    }

    /// The header of a lone segment's track: of those objects that begin with a header, that `fits`, and
    /// that lie in its directory, or else in the nearest one above that has any, the one with the most
    /// similar name; and whether no other is as similar. Looks at `limit` objects in each.
    pub(crate) fn nearest_header(
        &self,
        stream: StreamId,
        path: &str,
        limit: usize,
        fits: impl Fn(&Object) -> bool,
    ) -> rusqlite::Result<Option<(Object, bool)>> {
        let mut below = path;
        loop {
            let directory = below.rfind('/').map_or("", |slash| &below[..=slash]);
            let mut best: Option<(usize, Object, bool)> = None;
            for held in self.headers(stream, directory, limit)? {
                if held.path == path || !fits(&held) {
                    continue;
                }
                let like = layout::likeness(&held.path, path);
                match &mut best {
                    // Of equally similar names the first one: those of headers sort before others.
                    Some((most, _, unique)) if like == *most => *unique = false,
                    Some((most, ..)) if like < *most => {}
                    _ => best = Some((like, held, true)),
                }
            }
            if best.is_some() || directory.is_empty() {
                return Ok(best.map(|(_, held, unique)| (held, unique)));
            }
            below = &directory[..directory.len() - 1];
        }
    }

    /// Paths of at most `limit` manifests that lie in a directory (`""` or ending in `/`), not below it.
    pub(crate) fn manifests_in(
        &self,
        stream: StreamId,
        directory: &str,
        limit: usize,
    ) -> rusqlite::Result<Vec<String>> {
        // The expression is the path without its last name: as the index has it.
        self.0
            .prepare_cached(
                "SELECT path FROM object INDEXED BY object_manifests WHERE stream = ? \
                 AND rtrim(path, replace(path, '/', '')) = ? AND current AND manifest ORDER BY path LIMIT ?",
            )?
            .query_map((stream.0, directory, signed_len(limit)), |row| row.get(0))?
            .collect()
    }

    /// The newest `limit` objects (manifests, or all others), newest first.
    pub(crate) fn objects(
        &self,
        stream: StreamId,
        manifests: bool,
        limit: usize,
    ) -> rusqlite::Result<Vec<ListedObject>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.0
            .prepare_cached(
                "SELECT o.path, o.upload, o.size, u.session, u.run FROM object o \
                 LEFT JOIN upload u ON u.id = o.upload \
                 WHERE o.stream = ? AND o.manifest = ? AND o.current ORDER BY o.upload DESC LIMIT ?",
            )?
            .query_map((stream.0, manifests, limit), |row| {
                let run: Option<i64> = row.get(4)?;
                Ok(ListedObject {
                    path: row.get(0)?,
                    upload: row.get(1)?,
                    size: unsigned(row.get(2)?),
                    session: session_number(row, 3)?.zip(run),
                })
            })?
            .collect()
    }

    /// Records the object as what its path serves, and the one before as superseded: all its uploads
    /// when `new` takes its place, none when `new` is the next part of the same track.
    pub(crate) fn replace_object(&self, new: &NewObject) -> rusqlite::Result<i64> {
        self.retire_current(new)?;
        self.insert_object(new, true)
    }

    fn retire_current(&self, new: &NewObject) -> rusqlite::Result<()> {
        match self.object(new.stream, new.path.as_str())? {
            Some(before) => {
                let next_part = before.part.is_some() && new.part > before.part;
                self.retire_object(&before, new.upload, next_part)
            }
            None => self.count_object(new.stream, new.path.is_manifest(), 1),
        }
    }

    fn insert_object(&self, new: &NewObject, current: bool) -> rusqlite::Result<i64> {
        self.0
            .prepare_cached(
                "INSERT INTO object (stream, path, current, growing, manifest, upload, size, whole, part, \
                 header_size, media_end, end_time, stored, begun) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(rusqlite::params![
                new.stream.0,
                new.path.as_str(),
                current,
                !current,
                new.path.is_manifest(),
                new.upload,
                signed(new.size),
                new.whole,
                new.part,
                signed(new.header_size),
                signed(new.media_end),
                new.end_time.map(signed),
                Timestamp::now().as_micros(),
                new.upload,
            ])?;
        let id = self.0.last_insert_rowid();
        self.0
            .prepare_cached("UPDATE upload SET object = ? WHERE id = ?")?
            .execute((id, new.upload))?;
        Ok(id)
    }

    fn retire_object(&self, before: &Object, newer: i64, next_part: bool) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE object SET current = 0 WHERE id = ?")?
            .execute((before.id,))?;
        if !next_part {
            self.0
                .prepare_cached(
                    "UPDATE upload SET status = 'superseded' WHERE object = ? AND id <> ? \
                     AND status IN ('accepted', 'incomplete')",
                )?
                .execute((before.id, newer))?;
            // The bytes are gone, so is what leads into them.
            self.0
                .prepare_cached("DELETE FROM fragment WHERE object = ?")?
                .execute((before.id,))?;
        }
        Ok(())
    }

    /// Records that a track has grown.
    pub(crate) fn grow_object(
        &self,
        id: i64,
        upload: i64,
        size: u64,
        end_time: Option<u64>,
    ) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "UPDATE object SET upload = ?, size = ?, media_end = ?, end_time = ? WHERE id = ?",
            )?
            .execute((upload, signed(size), signed(size), end_time.map(signed), id))?;
        Ok(())
    }

    /// Records that an object has its last byte, with what followed its last fragment.
    pub(crate) fn complete_object(&self, id: i64, upload: i64, size: u64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE object SET upload = ?, size = ?, whole = 1 WHERE id = ?")?
            .execute((upload, signed(size), id))?;
        Ok(())
    }

    /// Forgets what the path serves; its uploads stay recorded. Whether there was something.
    pub(crate) fn delete_object(
        &self,
        stream: StreamId,
        path: &ObjectPath,
    ) -> rusqlite::Result<bool> {
        let Some(object) = self.object(stream, path.as_str())? else {
            return Ok(false);
        };
        self.0
            .prepare_cached("DELETE FROM fragment WHERE object = ?")?
            .execute((object.id,))?;
        self.0
            .prepare_cached("DELETE FROM object WHERE id = ?")?
            .execute((object.id,))?;
        self.count_object(stream, path.is_manifest(), -1)?;
        self.add_event(
            EventKind::ObjectDeleted,
            Some(stream),
            Some(path.as_str()),
            None,
            None,
        )?;
        Ok(true)
    }

    fn count_object(&self, stream: StreamId, manifest: bool, change: i64) -> rusqlite::Result<()> {
        let column = if manifest { "manifests" } else { "objects" };
        self.0
            .prepare_cached(&format!(
                "UPDATE stream SET {column} = {column} + ? WHERE id = ?"
            ))?
            .execute((change, stream.0))?;
        Ok(())
    }

    /// Adds fragments to an object's index.
    pub(crate) fn add_fragments(
        &self,
        object: i64,
        upload: i64,
        fragments: &[FragmentRow],
    ) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached(
            "INSERT OR REPLACE INTO fragment (object, offset, size, media_offset, media_size, decode_time, \
             duration, sync, wall_clock, sequence, upload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for f in fragments {
            statement.execute((
                object,
                signed(f.offset),
                signed(f.size),
                signed(f.media_offset),
                signed(f.media_size),
                f.decode_time.map(signed),
                signed(f.duration),
                f.sync,
                f.wall_clock.map(Timestamp::as_micros),
                f.sequence,
                upload,
            ))?;
        }
        Ok(())
    }

    /// A fragment of an object that covers a tick of `start..end` (or begin at `start`).
    pub(crate) fn fragment_at(
        &self,
        object: i64,
        start: u64,
        end: u64,
    ) -> rusqlite::Result<Option<FragmentRow>> {
        // The one that begins last before `start` may reach into the range; it and those that begin
        // within are all that can overlap, since held fragments do not overlap each other.
        self.0
            .prepare_cached(
                "SELECT offset, size, media_offset, media_size, decode_time, duration, sync, wall_clock, sequence \
                 FROM fragment WHERE object = ?1 AND decode_time >= ifnull((SELECT max(decode_time) \
                 FROM fragment WHERE object = ?1 AND decode_time <= ?2), 0) AND \
                 (decode_time = ?2 OR (decode_time < ?3 AND decode_time + duration > ?2)) \
                 AND decode_time < max(?3, ?2 + 1) ORDER BY decode_time LIMIT 1",
            )?
            .query_row((object, signed(start), signed(end)), fragment)
            .optional()
    }

    /// Shows each fragment of an object, in the order of their bytes.
    pub(crate) fn each_fragment(
        &self,
        object: i64,
        mut show: impl FnMut(&FragmentRow),
    ) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {FRAGMENT} FROM fragment WHERE object = ? ORDER BY offset"
        ))?;
        let mut rows = statement.query((object,))?;
        while let Some(row) = rows.next()? {
            show(&fragment(row)?);
        }
        Ok(())
    }

    /// The fragment of an object that stands last.
    pub(crate) fn last_fragment(&self, object: i64) -> rusqlite::Result<Option<FragmentRow>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {FRAGMENT} FROM fragment WHERE object = ? ORDER BY offset DESC LIMIT 1"
            ))?
            .query_row((object,), fragment)
            .optional()
    }

    /// The fragments of an object from a byte offset on.
    #[cfg(test)]
    pub(crate) fn fragments(&self, object: i64) -> rusqlite::Result<Vec<FragmentRow>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {FRAGMENT} FROM fragment WHERE object = ? ORDER BY offset"
            ))?
            .query_map((object,), fragment)?
            .collect()
    }

    /// Records an object that is on its way; its path does not serve it yet.
    pub(crate) fn insert_growing(&self, new: &NewObject) -> rusqlite::Result<i64> {
        self.insert_object(new, false)
    }

    /// Makes an object that was on its way what its path serves.
    pub(crate) fn settle_growing(&self, id: i64, new: &NewObject) -> rusqlite::Result<()> {
        self.retire_current(new)?;
        self.0
            .prepare_cached(
                "UPDATE object SET current = 1, growing = 0, upload = ?, size = ?, whole = ? WHERE id = ?",
            )?
            .execute((new.upload, signed(new.size), new.whole, id))?;
        Ok(())
    }

    /// Records that an object that was on its way ended without becoming what its path serves.
    pub(crate) fn shelve_growing(&self, id: i64, size: u64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE object SET growing = 0, size = ? WHERE id = ?")?
            .execute((signed(size), id))?;
        Ok(())
    }

    /// Forgets an object that was on its way, with its fragments.
    pub(crate) fn drop_growing(&self, id: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "UPDATE upload SET status = 'aborted' WHERE object = ? AND status = 'incomplete'",
            )?
            .execute((id,))?;
        self.0
            .prepare_cached("DELETE FROM fragment WHERE object = ?")?
            .execute((id,))?;
        self.0
            .prepare_cached("DELETE FROM object WHERE id = ?")?
            .execute((id,))?;
        Ok(())
    }

    /// Objects that were on their way when the server ended.
    pub(crate) fn growing_objects(&self) -> rusqlite::Result<Vec<(StreamId, Object)>> {
        self.listed("object_growing", "growing")
    }

    /// The tracks that paths serve.
    pub(crate) fn tracks(&self) -> rusqlite::Result<Vec<(StreamId, Object)>> {
        self.listed("object_parts", "current AND part IS NOT NULL")
    }

    fn listed(&self, index: &str, condition: &str) -> rusqlite::Result<Vec<(StreamId, Object)>> {
        self.0
            .prepare(&format!(
                "SELECT {COLUMNS}, stream FROM object INDEXED BY {index} WHERE {condition} \
                 AND stream IN (SELECT id FROM stream WHERE NOT deleted)"
            ))?
            .query_map((), |row| Ok((StreamId(row.get(9)?), object(row)?)))?
            .collect()
    }
}

fn object(row: &Row<'_>) -> rusqlite::Result<Object> {
    Ok(Object {
        id: row.get(0)?,
        path: row.get(1)?,
        upload: row.get(2)?,
        size: unsigned(row.get(3)?),
        whole: row.get(4)?,
        part: row.get(5)?,
        header_size: unsigned(row.get(6)?),
        media_end: unsigned(row.get(7)?),
        end_time: row.get::<_, Option<i64>>(8)?.map(unsigned),
    })
}

pub(super) fn fragment(row: &Row<'_>) -> rusqlite::Result<FragmentRow> {
    Ok(FragmentRow {
        offset: unsigned(row.get(0)?),
        size: unsigned(row.get(1)?),
        media_offset: unsigned(row.get(2)?),
        media_size: unsigned(row.get(3)?),
        decode_time: row.get::<_, Option<i64>>(4)?.map(unsigned),
        duration: unsigned(row.get(5)?),
        sync: row.get(6)?,
        wall_clock: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
        sequence: row.get(8)?,
    })
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
