//! Uploads whose bytes are held although no path serves them, and where those of any upload are.

use std::collections::HashMap;

use rusqlite::OptionalExtension;

use super::Tables;
use super::uploads::signed;
use crate::clock::Timestamp;
use crate::names::StreamId;

/// Superseded versions of a path that are kept.
pub(crate) const VERSIONS: i64 = 10;

/// How much may be kept for one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptLimits {
    pub(crate) bytes: u64,
    pub(crate) uploads: i64,
}

/// Why the bytes of an upload are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Rejected,
    Superseded,
}

/// Where the bytes of an upload lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// In a file of their own: `kept/STREAM/UPLOAD`.
    Kept,
    /// They are what their path serves.
    Object,
    /// The first bytes of an object that its path does not serve: `parts/STREAM/OBJECT`.
    Aside { object: i64, len: u64 },
    /// Ranges of the parts of a track, in order.
    Parts(Vec<PartRanges>),
}

/// What an upload added to a part of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartRanges {
    pub(crate) object: i64,
    /// The path serves it.
    pub(crate) current: bool,
    /// First byte and the one after the last; they do not touch.
    pub(crate) ranges: Vec<(u64, u64)>,
}

impl Tables<'_> {
    /// Records that the bytes of an upload are kept. Returns the uploads whose bytes have to go for it.
    pub(crate) fn keep(
        &self,
        stream: StreamId,
        path: &str,
        upload: i64,
        why: Kept,
        size: u64,
        limits: KeptLimits,
    ) -> rusqlite::Result<Vec<i64>> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO kept (upload, stream, path, superseded, size, at) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                upload,
                stream.0,
                path,
                why == Kept::Superseded,
                signed(size),
                Timestamp::now().as_micros(),
            ))?;
        let mut gone: Vec<i64> = self
            .0
            .prepare_cached(
                "DELETE FROM kept WHERE upload IN (SELECT upload FROM kept \
                 WHERE stream = ? AND path = ? AND superseded \
                 ORDER BY at DESC, upload DESC LIMIT -1 OFFSET ?) RETURNING upload",
            )?
            .query_map((stream.0, path, VERSIONS), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        gone.extend(self.drop_oldest(stream, limits)?);
        Ok(gone)
    }

    /// Drops the oldest of what is kept for a stream, as far as it is more than may be.
    fn drop_oldest(&self, stream: StreamId, limits: KeptLimits) -> rusqlite::Result<Vec<i64>> {
        let (mut uploads, mut bytes): (i64, i64) = self
            .0
            .prepare_cached("SELECT count(*), ifnull(sum(size), 0) FROM kept WHERE stream = ?")?
            .query_row((stream.0,), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let most = signed(limits.bytes);
        let mut gone = Vec::new();
        if uploads <= limits.uploads && bytes <= most {
            return Ok(gone);
        }
        let mut oldest = self
            .0
            .prepare_cached("SELECT upload, size FROM kept WHERE stream = ? ORDER BY at, upload")?;
        let mut rows = oldest.query((stream.0,))?;
        while (uploads > limits.uploads || bytes > most)
            && let Some(row) = rows.next()?
        {
            gone.push(row.get(0)?);
            uploads -= 1;
            bytes -= row.get::<_, i64>(1)?;
        }
        drop(rows);
        let mut delete = self.0.prepare_cached("DELETE FROM kept WHERE upload = ?")?;
        for upload in &gone {
            delete.execute((upload,))?;
        }
        Ok(gone)
    }

    /// The uploads whose bytes are kept, in order, by stream.
    pub(crate) fn all_kept(&self) -> rusqlite::Result<HashMap<StreamId, Vec<i64>>> {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        let mut statement = self
            .0
            .prepare("SELECT stream, upload FROM kept ORDER BY upload")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            all.entry(StreamId(row.get(0)?))
                .or_default()
                .push(row.get(1)?);
        }
        Ok(all)
    }

    /// Where the bytes of an upload lie; `None` where they are not held.
    pub(crate) fn content(
        &self,
        stream: StreamId,
        upload: i64,
    ) -> rusqlite::Result<Option<Content>> {
        let path: Option<String> = self
            .0
            .prepare_cached("SELECT path FROM upload WHERE stream = ? AND id = ?")?
            .query_row((stream.0, upload), |row| row.get(0))
            .optional()?;
        match path {
            Some(path) => self.content_at(stream, &path, upload),
            None => Ok(None),
        }
    }

    fn content_at(
        &self,
        stream: StreamId,
        path: &str,
        upload: i64,
    ) -> rusqlite::Result<Option<Content>> {
        let is_kept = self
            .0
            .prepare_cached("SELECT 1 FROM kept WHERE upload = ?")?
            .exists((upload,))?;
        if is_kept {
            return Ok(Some(Content::Kept));
        }
        let made = self
            .0
            .prepare_cached(
                "SELECT o.id, o.current, o.growing, o.size, o.media_end, u.status FROM upload u \
                 JOIN object o ON o.id = u.object WHERE u.id = ? AND o.part IS NULL \
                 AND o.upload = u.id",
            )?
            .query_row((upload,), |row| {
                let (current, growing): (bool, bool) = (row.get(1)?, row.get(2)?);
                let len: i64 = row.get(if growing { 4 } else { 3 })?;
                let status: String = row.get(5)?;
                let object = row.get(0)?;
                let len = u64::try_from(len).unwrap_or(0);
                Ok(match (current, status.as_str()) {
                    (true, _) => Some(Content::Object),
                    (false, "incomplete") => Some(Content::Aside { object, len }),
                    (false, _) => None,
                })
            })
            .optional()?;
        if let Some(content) = made {
            return Ok(content);
        }
        let parts = self.added(stream, path, upload)?;
        Ok((!parts.is_empty()).then_some(Content::Parts(parts)))
    }

    /// What an upload added to the parts of the track at a path.
    fn added(
        &self,
        stream: StreamId,
        path: &str,
        upload: i64,
    ) -> rusqlite::Result<Vec<PartRanges>> {
        let held = self
            .0
            .prepare_cached(
                "SELECT id, current, header_size, media_end, size, upload, begun FROM object \
                 INDEXED BY object_parts_of \
                 WHERE stream = ? AND path = ? AND part IS NOT NULL ORDER BY id",
            )?
            .query_map((stream.0, path), |row| {
                Ok(HeldPart {
                    id: row.get(0)?,
                    current: row.get(1)?,
                    header_size: unsigned(row.get(2)?),
                    media_end: unsigned(row.get(3)?),
                    size: unsigned(row.get(4)?),
                    last: row.get(5)?,
                    begun: row.get(6)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut parts = Vec::new();
        for part in held {
            let ranges = self.added_to(&part, upload)?;
            if !ranges.is_empty() {
                parts.push(PartRanges {
                    object: part.id,
                    current: part.current,
                    ranges,
                });
            }
        }
        Ok(parts)
    }

    fn added_to(&self, part: &HeldPart, upload: i64) -> rusqlite::Result<Vec<(u64, u64)>> {
        let has_bytes = part.current
            || self
                .0
                .prepare_cached("SELECT 1 FROM fragment WHERE object = ? LIMIT 1")?
                .exists((part.id,))?;
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        if !has_bytes {
            return Ok(ranges); // another one took its place, and its file
        }
        if part.begun == Some(upload) && part.header_size > 0 {
            ranges.push((0, part.header_size));
        }
        let mut statement = self.0.prepare_cached(
            "SELECT offset, size FROM fragment WHERE object = ? AND upload = ? ORDER BY offset",
        )?;
        let mut rows = statement.query((part.id, upload))?;
        while let Some(row) = rows.next()? {
            let start = unsigned(row.get(0)?);
            let end = start.saturating_add(unsigned(row.get(1)?));
            match ranges.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => ranges.push((start, end)),
            }
        }
        if part.last == upload
            && part.size > part.media_end
            && let Some(last) = ranges.last_mut()
            && last.1 == part.media_end
        {
            last.1 = part.size; // boxes after the last fragment
        }
        Ok(ranges)
    }
}

struct HeldPart {
    id: i64,
    current: bool,
    header_size: u64,
    media_end: u64,
    size: u64,
    last: i64,
    begun: Option<i64>,
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
