//! Tracks: objects to which uploads add fragments.
//!
//! A track is stored in parts. Each is one file: header, then fragments in the order of their
//! arrival. The path serves the newest part.
//!
//! ```text
//! streams/1/Streams(video.cmfv)   header | fragment | fragment | …      the current part
//! parts/1/17                      header | fragment | …                 an earlier one
//! ```

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::catalog::{FragmentRow, NewObject};
use crate::clock::Timestamp;
use crate::cmaf::{FragmentSeen, TrackHeader};
use crate::live::{Announcement, Extent};
use crate::names::{ObjectPath, StreamId};
use crate::workdir::{self, Spool, Workdir};
use crate::{Error, Kind, Result};

use super::Ingest;

/// What uploads to one path share.
#[derive(Default)]
pub(super) struct State {
    /// Order number of the newest upload that was published here.
    pub(super) newest: u64,
    /// The track at the path, once somebody asked.
    pub(super) track: Held,
}

/// What is known of the track at a path.
#[derive(Default)]
pub(super) enum Held {
    #[default]
    Unknown,
    None,
    Track(Box<Track>),
}

/// The current part of a track, open for appending.
pub(super) struct Track {
    pub(super) object: i64,
    pub(super) part: i64,
    pub(super) file: Arc<File>,
    pub(super) header_size: u64,
    pub(super) header: Option<Arc<TrackHeader>>,
    /// End of the last fragment (or of the header): where the next one goes.
    pub(super) media_end: u64,
    /// Greatest end of a fragment, in ticks.
    pub(super) end_time: Option<u64>,
    announcement: Announcement,
    /// Requests of unknown length that are adding to it; while there are any, readers wait for more.
    senders: usize,
}

/// Bytes of one request that lie in its spool, addressed by their offset in the body.
pub(super) struct Source<'s> {
    pub(super) file: &'s File,
    /// Body offset of the spool's first byte.
    pub(super) base: u64,
}

impl Source<'_> {
    fn position(&self, body_offset: u64) -> u64 {
        body_offset - self.base
    }
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// At the end of the current part, which is the object with this number.
    Appended(i64),
    /// It was held already.
    Held,
}

/// Where a fragment belongs.
enum Place {
    End,
    Held,
    NextPart,
}

impl Track {
    fn extent(&self) -> Extent {
        Extent {
            len: self.media_end,
            open: self.senders > 0,
        }
    }

    pub(super) fn add_sender(&mut self) {
        self.senders += 1;
        self.announcement.update(self.extent());
    }

    pub(super) fn remove_sender(&mut self) {
        self.senders = self.senders.saturating_sub(1);
        self.announcement.update(self.extent());
    }

    pub(super) fn has_fragments(&self) -> bool {
        self.media_end > self.header_size
    }

    /// Whether the part begins with exactly these header bytes.
    pub(super) fn has_header(&self, source: &Source<'_>, range: &Range<u64>) -> Result<bool> {
        let len = range.end - range.start;
        Ok(len == self.header_size
            && workdir::same_bytes(
                &self.file,
                0,
                source.file,
                source.position(range.start),
                len,
            )?)
    }
}

/// A fragment's place in an object, when it begins at `offset`.
pub(super) fn row_at(offset: u64, seen: &FragmentSeen) -> FragmentRow {
    FragmentRow {
        offset,
        size: seen.range.end - seen.range.start,
        media_offset: offset + (seen.media.start - seen.range.start),
        media_size: seen.media.end - seen.media.start,
        decode_time: seen.decode_time,
        duration: seen.duration,
        sync: seen.sync,
        wall_clock: seen.wall_clock.map(Timestamp::from_micros),
    }
}

/// End of a fragment in ticks.
pub(super) fn end_of(row: &FragmentRow) -> Option<u64> {
    row.decode_time
        .map(|start| start.saturating_add(row.duration))
}

impl Ingest {
    /// Loads the track at the path, unless that is done.
    pub(super) async fn load_track(
        &self,
        state: &mut State,
        stream: StreamId,
        path: &ObjectPath,
    ) -> Result<()> {
        if !matches!(state.track, Held::Unknown) {
            return Ok(());
        }
        let name = path.as_str().to_owned();
        let object = self
            .catalog
            .read(move |tables| tables.object(stream, &name))
            .await?;
        state.track = Held::None;
        let Some(object) = object else { return Ok(()) };
        let (Some(part), Some(file)) = (object.part, self.workdir.open_track(stream, path)?) else {
            return Ok(());
        };
        let header = read_header(&file, object.header_size);
        let extent = Extent {
            len: object.media_end,
            open: false,
        };
        let announcement = self.live.announce(stream, path, Arc::clone(&file), extent);
        state.track = Held::Track(Box::new(Track {
            object: object.id,
            part,
            file,
            header_size: object.header_size,
            header,
            media_end: object.media_end,
            end_time: object.end_time,
            announcement,
            senders: 0,
        }));
        Ok(())
    }

    /// Adds one fragment to the track.
    ///
    /// `header` is the header that came before it in the same request, where there was one and it
    /// is not the held one; it begins the next part. `upload` is recorded with the fragment.
    pub(super) async fn place_fragment(
        &self,
        state: &mut State,
        target: &Target<'_>,
        source: &Source<'_>,
        header: Option<&Range<u64>>,
        seen: &FragmentSeen,
    ) -> Result<Placed> {
        if let Some(header) = header {
            let object = self
                .begin_part(
                    state,
                    target,
                    source,
                    PartHeader::Sent(header.clone()),
                    Some(seen),
                )
                .await?;
            return Ok(Placed::Appended(object));
        }
        let Held::Track(track) = &mut state.track else {
            return Err(header_missing(target.path));
        };
        match self.place_of(track, source, seen).await? {
            Place::Held => Ok(Placed::Held),
            Place::NextPart => {
                let object = self
                    .begin_part(state, target, source, PartHeader::Held, Some(seen))
                    .await?;
                Ok(Placed::Appended(object))
            }
            Place::End => {
                let row = row_at(track.media_end, seen);
                let end = row.offset + row.size;
                let (from, to) = (
                    source.position(seen.range.start),
                    source.position(seen.range.end),
                );
                workdir::copy_range(source.file, from, to, &track.file, row.offset)?;
                // Where an upload ended in boxes after its last fragment, they may reach further.
                workdir::truncate(&track.file, end)?;
                let end_time = track.end_time.max(end_of(&row));
                let (object, upload) = (track.object, target.upload);
                self.catalog
                    .write(move |tables| {
                        tables.add_fragments(object, upload, &[row])?;
                        tables.grow_object(object, upload, end, end_time)
                    })
                    .await?;
                track.media_end = end;
                track.end_time = end_time;
                track.announcement.update(track.extent());
                Ok(Placed::Appended(object))
            }
        }
    }

    /// Writes a fragment behind the last one, and records it.
    async fn append(
        &self,
        track: &mut Track,
        upload: i64,
        source: &Source<'_>,
        seen: &FragmentSeen,
    ) -> Result<()> {
        let row = row_at(track.media_end, seen);
        let end = row.offset + row.size;
        let from = source.position(seen.range.start);
        let to = source.position(seen.range.end);
        workdir::copy_range(source.file, from, to, &track.file, row.offset)?;
        // Where an upload ended in boxes after its last fragment, they may reach further.
        workdir::truncate(&track.file, end)?;
        let end_time = track.end_time.max(end_of(&row));
        let object = track.object;
        self.catalog
            .write(move |tables| {
                tables.add_fragments(object, upload, &[row])?;
                tables.grow_object(object, upload, end, end_time)
            })
            .await?;
        track.media_end = end;
        track.end_time = end_time;
        track.announcement.update(track.extent());
        Ok(())
    }

    /// Where the fragment belongs by its decode time and bytes.
    async fn place_of(
        &self,
        track: &Track,
        source: &Source<'_>,
        seen: &FragmentSeen,
    ) -> Result<Place> {
        let size = seen.range.end - seen.range.start;
        let fits = track.media_end.saturating_add(size) <= self.limits.object_size;
        let at_end = if fits { Place::End } else { Place::NextPart };
        let (Some(start), Some(held_until)) = (seen.decode_time, track.end_time) else {
            return Ok(at_end); // without times nothing can be told
        };
        if start >= held_until {
            return Ok(at_end);
        }
        let object = track.object;
        let end = start.saturating_add(seen.duration);
        let overlapped = self
            .catalog
            .read(move |tables| tables.fragments_at(object, start, end))
            .await?;
        let Some(held) = overlapped.first() else {
            return Ok(at_end);
        };
        let len = seen.media.end - seen.media.start;
        let same = held.decode_time == Some(start)
            && held.media_size == len
            && workdir::same_bytes(
                &track.file,
                held.media_offset,
                source.file,
                source.position(seen.media.start),
                len,
            )?;
        Ok(if same { Place::Held } else { Place::NextPart })
    }

    /// Begins the next part (or the first one) with a header and, if given, a fragment.
    pub(super) async fn begin_part(
        &self,
        state: &mut State,
        target: &Target<'_>,
        source: &Source<'_>,
        header: PartHeader,
        seen: Option<&FragmentSeen>,
    ) -> Result<i64> {
        let mut spool = self.workdir.spool()?;
        match (&header, &state.track) {
            (PartHeader::Sent(range), _) => {
                spool.copy_from(
                    source.file,
                    source.position(range.start),
                    source.position(range.end),
                )?;
            }
            (PartHeader::Held, Held::Track(track)) => {
                spool.copy_from(&track.file, 0, track.header_size)?;
            }
            (PartHeader::Held, _) => return Err(header_missing(target.path)),
        }
        let header_size = spool.len();
        let row = seen.map(|seen| row_at(header_size, seen));
        if let Some(seen) = seen {
            let (from, to) = (
                source.position(seen.range.start),
                source.position(seen.range.end),
            );
            spool.copy_from(source.file, from, to)?;
        }
        self.publish_part(state, target, spool, header_size, row.into_iter().collect())
            .await
    }

    /// Makes a file that holds a header and the given fragments the part that the path serves.
    pub(super) async fn publish_part(
        &self,
        state: &mut State,
        target: &Target<'_>,
        mut spool: Spool,
        header_size: u64,
        media_end: u64,
        rows: Vec<FragmentRow>,
    ) -> Result<i64> {
        let (part, senders, kept) = match &state.track {
            Held::Track(held) if held.has_fragments() => {
                self.workdir
                    .keep_part(target.stream, target.path, held.object)?;
                (held.part + 1, held.senders)
            }
            Held::Track(held) => (held.part, held.senders, None),
            Held::None | Held::Unknown => (1, 0, None),
        };
        let end_time = rows.iter().filter_map(end_of).max();
        let file = spool.file();
        let published = self
            .workdir
            .publish(&mut spool, target.stream, target.path)?;
        let new = NewObject {
            stream: target.stream,
            path: target.path.clone(),
            upload: target.upload,
            size: published.size,
            whole: true,
            part: Some(part),
            header_size,
            media_end,
            end_time,
        };
        let upload = target.upload;
        let recorded = self
            .catalog
            .write(move |tables| {
                let object = tables.replace_object(&new)?;
                tables.add_fragments(object, upload, &rows)?;
                Ok(object)
            })
            .await?;
        let extent = Extent {
            len: media_end,
            open: senders > 0,
        };
        let announcement =
            self.live
                .announce(target.stream, target.path, Arc::clone(&file), extent);
        let header = read_header(&file, header_size);
        state.track = Held::Track(Box::new(Track {
            object,
            part,
            file,
            header_size,
            header,
            media_end,
            end_time,
            announcement,
            senders,
        }));
        Ok(object)
    }
}

/// Where fragments go, and on whose behalf.
pub(super) struct Target<'t> {
    pub(super) stream: StreamId,
    pub(super) path: &'t ObjectPath,
    /// Number of the upload's record.
    pub(super) upload: i64,
}

/// Header of a part that begins.
pub(super) enum PartHeader {
    /// As sent, at this range of the body.
    Sent(Range<u64>),
    /// The held part's.
    Held,
}

/// The parsed header of a part; `None` when it cannot be read, which costs its defaults only.
fn read_header(file: &File, size: u64) -> Option<Arc<TrackHeader>> {
    let bytes = workdir::read_range(file, 0, usize::try_from(size).ok()?).ok()?;
    TrackHeader::parse(&bytes).ok().map(Arc::new)
}

pub(super) fn header_missing(path: &ObjectPath) -> Error {
    Error::new(
        Kind::HeaderMissing,
        format!("there is no CMAF header at \"{path}\" yet: send the track's header first"),
    )
}

impl Workdir {
    /// Cuts a track's file back to what the catalogue knows of it, at start-up.
    pub(super) fn mend_track(
        &self,
        stream: StreamId,
        path: &ObjectPath,
        size: u64,
    ) -> Result<bool> {
        let Some(file) = self.open_track(stream, path)? else {
            return Ok(false);
        };
        let len = file
            .metadata()
            .map_err(|e| Error::internal("cannot read a track's size", e))?
            .len();
        if len > size {
            workdir::truncate(&file, size)?;
        }
        Ok(len >= size)
    }
}
