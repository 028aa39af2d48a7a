//! Uploads and fragments as a timeline needs them: the newest first, with little of each.

use std::collections::HashMap;

use rusqlite::Row;

use super::uploads::upload;
use super::{Event, FragmentRow, Status, Tables, Upload};
use crate::clock::Timestamp;
use crate::names::StreamId;

/// What is drawn of an upload.
#[derive(Clone, Debug)]
pub(crate) struct UploadLine {
    pub(crate) id: i64,
    pub(crate) path: String,
    pub(crate) status: Status,
    /// It broke rules.
    pub(crate) broken: bool,
    pub(crate) object: Option<i64>,
    pub(crate) size: i64,
    pub(crate) first_byte: Timestamp,
    pub(crate) last_byte: Timestamp,
}

impl Tables<'_> {
    /// At most `limit` uploads of a stream with numbers below `before`, newest first.
    pub(crate) fn upload_lines(
        &self,
        stream: StreamId,
        before: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<UploadLine>> {
        self.0
            .prepare_cached(
                "SELECT id, path, status, errors <> '[]', object, size, first_byte, last_byte FROM upload \
                 WHERE stream = ? AND id < ? ORDER BY id DESC LIMIT ?",
            )?
            .query_map((stream.0, before, count(limit)), line)?
            .collect()
    }

    /// At most `limit` uploads of a stream, or of one of its paths, with numbers below `before`, newest
    /// first, as recorded.
    pub(crate) fn uploads_before(
        &self,
        stream: StreamId,
        path: Option<&str>,
        before: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Upload>> {
        let columns = super::uploads::COLUMNS;
        match path {
            Some(path) => self
                .0
                .prepare_cached(&format!(
                    "SELECT {columns} FROM upload u LEFT JOIN object o ON o.id = u.object \
                     WHERE u.stream = ? AND u.path = ? AND u.id < ? ORDER BY u.id DESC LIMIT ?"
                ))?
                .query_map((stream.0, path, before, count(limit)), upload)?
                .collect(),
            None => self
                .0
                .prepare_cached(&format!(
                    "SELECT {columns} FROM upload u LEFT JOIN object o ON o.id = u.object \
                     WHERE u.stream = ? AND u.id < ? ORDER BY u.id DESC LIMIT ?"
                ))?
                .query_map((stream.0, before, count(limit)), upload)?
                .collect(),
        }
    }

    /// The last `limit` fragments of an object, in order, each with the upload that it came with.
    pub(crate) fn last_fragments(
        &self,
        object: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<(FragmentRow, i64)>> {
        let mut rows: Vec<(FragmentRow, i64)> = self
            .0
            .prepare_cached(
                "SELECT offset, size, media_offset, media_size, decode_time, duration, sync, wall_clock, \
                 upload FROM fragment WHERE object = ? ORDER BY offset DESC LIMIT ?",
            )?
            .query_map((object, count(limit)), |row| {
                Ok((super::objects::fragment(row)?, row.get(8)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        rows.reverse();
        Ok(rows)
    }

    /// Size of the catalogue, without what is still to be written into its file.
    pub(crate) fn catalogue_bytes(&self) -> rusqlite::Result<u64> {
        let pages: i64 = self
            .0
            .pragma_query_value(None, "page_count", |row| row.get(0))?;
        let size: i64 = self
            .0
            .pragma_query_value(None, "page_size", |row| row.get(0))?;
        Ok(u64::try_from(pages.saturating_mul(size)).unwrap_or(0))
    }

    /// The newest `limit` uploads that went wrong, of all streams: those that broke rules or did not come
    /// to their end.
    pub(crate) fn newest_troubles(&self, limit: usize) -> rusqlite::Result<Vec<Event>> {
        // Events of uploads carry what became of them. Looked for among the newest ones only, so that it
        // costs the same in a catalogue of any size.
        let newest = self.newest_events(&["upload"], 1000)?;
        let mut told = HashMap::new();
        for event in &newest {
            *told.entry(event.upload).or_insert(0_u32) += 1;
        }
        let mut wrong = Vec::new();
        for event in newest {
            // Of an upload only what was told last.
            let Some(times) = told.remove(&event.upload) else {
                continue;
            };
            let is_wrong = match event.detail.as_deref() {
                Some("rejected" | "aborted" | "refused") => true,
                // What is kept as it comes is told of twice: when it begins, and when it has ended.
                Some("incomplete") => times > 1,
                _ => false,
            };
            if is_wrong && wrong.len() < limit {
                wrong.push(event);
            }
        }
        Ok(wrong)
    }
}

fn line(row: &Row<'_>) -> rusqlite::Result<UploadLine> {
    Ok(UploadLine {
        id: row.get(0)?,
        path: row.get(1)?,
        status: Status::from_text(&row.get::<_, String>(2)?),
        broken: row.get(3)?,
        object: row.get(4)?,
        size: row.get(5)?,
        first_byte: Timestamp::from_micros(row.get(6)?),
        last_byte: Timestamp::from_micros(row.get(7)?),
    })
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
