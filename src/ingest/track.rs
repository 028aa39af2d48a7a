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

/// Largest header that is read at once; the scanner takes no larger ones.
const MAX_HEADER: u64 = 8 << 20;

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
    pub(super) header: Header,
    /// End of the last fragment (or of the header): where the next one goes.
    pub(super) media_end: u64,
    /// Greatest end of a fragment, in ticks.
    pub(super) end_time: Option<u64>,
    /// There are boxes behind the last fragment, which the next one takes the place of.
    pub(super) has_trailer: bool,
    announcement: Announcement,
    /// Requests of unknown length that are adding to it; while there are any, readers wait for more.
    senders: usize,
    /// Tells this track from one that took its place after a deletion; parts share it.
    pub(super) generation: u64,
}

/// The CMAF header of a part.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) size: u64,
    /// SHA-256 of its bytes.
    pub(super) digest: Digest,
    /// `None` when it cannot be read, which costs its defaults only.
    pub(super) parsed: Option<Arc<TrackHeader>>,
}

/// SHA-256.
pub(super) type Digest = [u8; 32];

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

    /// SHA-256 of a range of the body. For headers, which are small.
    pub(super) fn digest(&self, range: &Range<u64>) -> Result<Digest> {
        digest(
            self.file,
            self.position(range.start),
            range.end - range.start,
        )
    }
}

/// Where fragments go, and on whose behalf.
pub(super) struct Target<'t> {
    pub(super) stream: StreamId,
    pub(super) path: &'t ObjectPath,
    /// Number of the upload's record.
    pub(super) upload: i64,
    /// Order number of the upload.
    pub(super) order: u64,
}

/// What became of a fragment.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is the last one of the current part, which is the object with this number.
    Appended(i64),
    /// It was held already, there.
    Held(FragmentRow),
}

/// Where a fragment belongs.
enum Place {
    End,
    Held(FragmentRow),
    NextPart,
}

/// What a part that begins consists of.
#[derive(Default)]
pub(super) struct PartContent<'c> {
    /// Its header as sent, at this range of the body; else the held part's.
    pub(super) header: Option<Range<u64>>,
    /// Fragments of the held part that belong to it too: the same request sent them again.
    pub(super) repeated: &'c [FragmentRow],
    pub(super) fragment: Option<&'c FragmentSeen>,
}

/// A file that is to become a part.
pub(super) struct PartFile {
    pub(super) spool: Spool,
    pub(super) header_size: u64,
    pub(super) media_end: u64,
    pub(super) rows: Vec<FragmentRow>,
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
        let mut extent = self.extent();
        if self.has_trailer && !extent.open {
            // Those who followed it to its end get all of it.
            extent.len = self.file.metadata().map_or(extent.len, |m| m.len());
        }
        self.announcement.update(extent);
    }

    pub(super) fn has_fragments(&self) -> bool {
        self.media_end > self.header.size
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
        sequence: Some(seen.sequence_number),
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
            .look_up(move |tables| tables.object(stream, &name))
            .await?;
        state.track = Held::None;
        let Some(object) = object else { return Ok(()) };
        let (Some(part), Some(file)) = (object.part, self.workdir.open_track(stream, path)?) else {
            return Ok(());
        };
        let header = read_header(&file, object.header_size)?;
        let extent = Extent {
            len: object.media_end,
            open: false,
        };
        let announcement = self.live.announce(stream, path, Arc::clone(&file), extent);
        state.track = Held::Track(Box::new(Track {
            object: object.id,
            part,
            file,
            header,
            media_end: object.media_end,
            end_time: object.end_time,
            has_trailer: object.size > object.media_end,
            announcement,
            senders: 0,
            generation: 0,
        }));
        Ok(())
    }

    /// Adds one fragment to the track: behind the last one, or to the next part, or not at all.
    pub(super) async fn place_fragment(
        &self,
        state: &mut State,
        target: &Target<'_>,
        source: &Source<'_>,
        seen: &FragmentSeen,
        repeated: &[FragmentRow],
    ) -> Result<Placed> {
        let Held::Track(track) = &mut state.track else {
            return Err(header_missing(target.path));
        };
        match self.place_of(track, source, seen).await? {
            Place::Held(row) => Ok(Placed::Held(row)),
            Place::NextPart => {
                let content = PartContent {
                    header: None,
                    repeated,
                    fragment: Some(seen),
                };
                let object = self.begin_part(state, target, source, content).await?;
                Ok(Placed::Appended(object))
            }
            Place::End => {
                let appended = self.append(track, target, source, seen).await;
                if appended.is_err() {
                    // Nobody may take what was half written for a part of the track.
                    let _ = workdir::truncate(&track.file, track.media_end);
                }
                appended?;
                Ok(Placed::Appended(track.object))
            }
        }
    }

    /// Writes a fragment behind the last one, and records it.
    async fn append(
        &self,
        track: &mut Track,
        target: &Target<'_>,
        source: &Source<'_>,
        seen: &FragmentSeen,
    ) -> Result<()> {
        let (object, upload) = (track.object, target.upload);
        if track.has_trailer {
            // Recorded first: after a crash the file is cut to what is recorded.
            let (end, end_time) = (track.media_end, track.end_time);
            self.write_in(target.stream, move |tables| {
                tables.grow_object(object, upload, end, end_time)
            })
            .await?;
            workdir::truncate(&track.file, end)?;
            track.has_trailer = false;
        }
        let row = row_at(track.media_end, seen);
        let end = row.offset + row.size;
        let from = source.position(seen.range.start);
        let to = source.position(seen.range.end);
        workdir::copy_range(source.file, from, to, &track.file, row.offset)?;
        let end_time = track.end_time.max(end_of(&row));
        self.write_in(target.stream, move |tables| {
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
            .look_up(move |tables| tables.fragment_at(object, start, end))
            .await?;
        let Some(held) = overlapped else {
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
        Ok(if same {
            Place::Held(held)
        } else {
            Place::NextPart
        })
    }

    /// Begins the next part, or the first one.
    pub(super) async fn begin_part(
        &self,
        state: &mut State,
        target: &Target<'_>,
        source: &Source<'_>,
        content: PartContent<'_>,
    ) -> Result<i64> {
        let mut spool = self.workdir.spool()?;
        match (&content.header, &state.track) {
            (Some(range), _) => {
                let (from, to) = (source.position(range.start), source.position(range.end));
                spool.copy_from(source.file, from, to)?;
            }
            (None, Held::Track(track)) => spool.copy_from(&track.file, 0, track.header.size)?,
            (None, _) => return Err(header_missing(target.path)),
        }
        let header_size = spool.len();
        let mut rows = Vec::with_capacity(content.repeated.len() + 1);
        if let Held::Track(track) = &state.track {
            for held in content.repeated {
                let offset = spool.len();
                spool.copy_from(&track.file, held.offset, held.offset + held.size)?;
                let media_offset = offset + (held.media_offset - held.offset);
                rows.push(FragmentRow {
                    offset,
                    media_offset,
                    ..held.clone()
                });
            }
        }
        if let Some(seen) = content.fragment {
            rows.push(row_at(spool.len(), seen));
            let (from, to) = (
                source.position(seen.range.start),
                source.position(seen.range.end),
            );
            spool.copy_from(source.file, from, to)?;
        }
        let file = PartFile {
            header_size,
            media_end: spool.len(),
            spool,
            rows,
        };
        self.publish_part(state, target, file).await
    }

    /// Makes a file the part that the path serves. What was there stays until that is recorded, and
    /// beyond that if it has fragments.
    pub(super) async fn publish_part(
        &self,
        state: &mut State,
        target: &Target<'_>,
        mut new: PartFile,
    ) -> Result<i64> {
        let (stream, path, upload) = (target.stream, target.path, target.upload);
        let (part, senders, generation, held) = match &state.track {
            Held::Track(held) => {
                self.workdir.keep_part(stream, path, held.object)?;
                let part = held.part + i64::from(held.has_fragments());
                (part, held.senders, held.generation, Some(held.object))
            }
            Held::None | Held::Unknown => (1, 0, target.order, None),
        };
        let end_time = new.rows.iter().filter_map(end_of).max();
        let (header_size, media_end) = (new.header_size, new.media_end);
        let header = read_header(&new.spool.file(), header_size)?;
        let published = self.workdir.publish(&mut new.spool, stream, path)?;
        let object = NewObject {
            stream,
            path: path.clone(),
            upload,
            size: published.size,
            whole: true,
            part: Some(part),
            header_size,
            media_end,
            end_time,
        };
        let rows = new.rows;
        let recorded = self
            .write_in(stream, move |tables| {
                let object = tables.replace_object(&object)?;
                tables.add_fragments(object, upload, &rows)?;
                Ok(object)
            })
            .await;
        let object = match recorded {
            Ok(object) => object,
            Err(e) => {
                state.track = Held::Unknown;
                self.take_back(stream, path, held)?;
                return Err(e);
            }
        };
        if let (Some(held), Held::Track(track)) = (held, &state.track)
            && !track.has_fragments()
        {
            self.workdir.forget_part(stream, held);
        }
        let extent = Extent {
            len: media_end,
            open: senders > 0,
        };
        let file = published.file;
        let announcement = self.live.announce(stream, path, Arc::clone(&file), extent);
        state.newest = state.newest.max(target.order);
        state.track = Held::Track(Box::new(Track {
            object,
            part,
            file,
            header,
            media_end,
            end_time,
            has_trailer: published.size > media_end,
            announcement,
            senders,
            generation,
        }));
        Ok(object)
    }
}

/// The header of a part, from its file.
fn read_header(file: &File, size: u64) -> Result<Header> {
    let len = usize::try_from(size.min(MAX_HEADER)).unwrap_or(0);
    let bytes = workdir::read_range(file, 0, len)?;
    Ok(Header {
        size,
        digest: sha256(&bytes),
        parsed: TrackHeader::parse(&bytes).ok().map(Arc::new),
    })
}

fn digest(file: &File, start: u64, len: u64) -> Result<Digest> {
    let len = usize::try_from(len.min(MAX_HEADER)).unwrap_or(0);
    workdir::read_range(file, start, len).map(|bytes| sha256(&bytes))
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
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
