//! Fragmented MP4 as it comes, of which no more than one fragment and what waits for the network is held.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::cmaf::{Defaults, TrackHeader};
use crate::isobmff::boxes::{FileType, Moof};
use crate::isobmff::{BoxHeader, BoxPath, BoxRef, BoxSize};
use crate::{Error, Kind, Result};

use super::Sample;
use super::clip::{fragmented_tracks_of, place};
use super::describe::{self, Track, unreadable};
use super::samples::{self, Entry, Placement};

/// Largest box that is held: `moov`, `moof`, or the data of one fragment.
const LARGEST_BOX: u64 = 64 << 20;
/// Samples of one track that wait for the network.
const WAITING: usize = 256;
/// Most samples of one fragment.
const SAMPLES: usize = 1 << 16;

/// Fragmented MP4, read up to its first fragment.
pub(in crate::push) struct Pipe {
    tracks: Vec<(u32, Track)>,
    placements: Vec<Placement>,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    defaults: Defaults,
    first: Fragment,
    at: u64,
}

/// One `moof` with the samples it describes.
struct Fragment {
    samples: Vec<(u32, Entry, Bytes)>,
}

/// Reads up to the first fragment.
pub(super) async fn open(reader: impl AsyncRead + Send + Unpin + 'static) -> Result<Pipe> {
    let mut reader: Box<dyn AsyncRead + Send + Unpin> = Box::new(reader);
    let mut brands = None;
    let mut at = 0;
    let (header, mut tracks) = loop {
        let Some((kind, bytes)) = next_box(&mut reader, &mut at).await? else {
            return Err(Error::new(
                Kind::Invalid,
                "it ended before any media: send fragmented MP4 (ffmpeg … -f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof -)",
            ));
        };
        let start = at.saturating_sub(crate::push::len(&bytes));
        match &kind {
            b"ftyp" => {
                let ftyp = BoxRef::top(&bytes, start).and_then(|b| FileType::decode(&b));
                brands = Some(ftyp.map_err(unreadable)?);
            }
            b"moov" => {
                let moov = BoxRef::top(&bytes, start).map_err(unreadable)?;
                break fragmented_tracks_of(brands, &moov)?;
            }
            b"mdat" | b"moof" => {
                return Err(Error::new(
                    Kind::Unsupported,
                    "media comes before moov: only fragmented MP4 can be read from a pipe (ffmpeg … -movflags +frag_keyframe+empty_moov+default_base_moof -)",
                ));
            }
            _ => {}
        }
    };
    if tracks.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "there is no track of video or audio in it",
        ));
    }
    describe::name(tracks.iter_mut().map(|(_, track)| track));
    let defaults = Defaults::of(&header);
    let first = next_fragment(&mut reader, &mut at, &defaults, &[]).await?;
    let first =
        first.ok_or_else(|| Error::new(Kind::Invalid, "it ended before the first fragment"))?;
    let placements = placements(&header, &mut tracks, &first)?;
    Ok(Pipe {
        tracks,
        placements,
        reader,
        defaults,
        first,
        at,
    })
}

fn placements(
    header: &TrackHeader,
    tracks: &mut [(u32, Track)],
    first: &Fragment,
) -> Result<Vec<Placement>> {
    let entries: Vec<Vec<Entry>> = tracks
        .iter()
        .map(|(id, _)| {
            let of_track = first.samples.iter().filter(|(track, ..)| track == id);
            of_track.map(|(_, entry, _)| *entry).collect()
        })
        .collect();
    let firsts = tracks.iter().zip(&entries);
    let placed = place(
        header,
        firsts.map(|((id, track), entries)| (*id, track, entries.as_slice())),
    )?;
    for (((_, track), placement), entries) in tracks.iter_mut().zip(&placed).zip(&entries) {
        track.priming = placement.priming;
        track.sample_duration = entries.first().map_or(0, |entry| entry.duration);
    }
    Ok(placed)
}

impl Pipe {
    pub(super) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|(_, track)| track)
    }

    /// Goes on reading in a task of its own, and gives the samples of the wanted tracks.
    pub(super) fn play(self, wanted: &[usize]) -> Vec<mpsc::Receiver<Result<Sample>>> {
        let mut sinks = Vec::new();
        let mut feeds = Vec::new();
        for at in wanted {
            let (sink, feed) = mpsc::channel(WAITING);
            if let (Some((id, _)), Some(placement)) =
                (self.tracks.get(*at), self.placements.get(*at))
            {
                sinks.push(Sink {
                    id: *id,
                    placement: *placement,
                    ends: 0,
                    samples: sink,
                });
            }
            feeds.push(feed);
        }
        tokio::spawn(pump(self, sinks));
        feeds
    }
}

/// Where the samples of one track go.
struct Sink {
    id: u32,
    placement: Placement,
    /// Where its last sample ended, on the source's timeline.
    ends: u64,
    samples: mpsc::Sender<Result<Sample>>,
}

async fn pump(pipe: Pipe, mut sinks: Vec<Sink>) {
    let Pipe {
        mut reader,
        defaults,
        first,
        mut at,
        ..
    } = pipe;
    let mut fragment = Some(first);
    while let Some(held) = fragment {
        for (id, entry, data) in held.samples {
            let Some(sink) = sinks.iter_mut().find(|sink| sink.id == id) else {
                continue;
            };
            let (time, composition_offset) = sink.placement.apply(&entry);
            sink.ends = entry.time.saturating_add(u64::from(entry.duration));
            let sample = Sample {
                time,
                duration: entry.duration,
                composition_offset,
                flags: entry.flags,
                data,
            };
            // Nobody waits for this track any more; the others may.
            let _ = sink.samples.send(Ok(sample)).await;
        }
        if sinks.iter().all(|sink| sink.samples.is_closed()) {
            return;
        }
        let ends: Vec<(u32, u64)> = sinks.iter().map(|sink| (sink.id, sink.ends)).collect();
        fragment = match next_fragment(&mut reader, &mut at, &defaults, &ends).await {
            Ok(fragment) => fragment,
            Err(e) => {
                for sink in &sinks {
                    let copy = Error::new(e.kind(), format!("standard input: {}", e.chain()));
                    let _ = sink.samples.send(Err(copy)).await;
                }
                return;
            }
        };
    }
}

/// The next `moof` with its data; `None` at the end.
async fn next_fragment(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    at: &mut u64,
    defaults: &Defaults,
    ends: &[(u32, u64)],
) -> Result<Option<Fragment>> {
    let mut entries: Option<Vec<(u32, Entry)>> = None;
    while let Some((kind, bytes)) = next_box(reader, at).await? {
        let start = at.saturating_sub(crate::push::len(&bytes));
        match (&kind, entries.take()) {
            (b"moof", _) => {
                let moof = BoxRef::top(&bytes, start)
                    .and_then(|b| Moof::decode(&b))
                    .map_err(unreadable)?;
                let mut found = Vec::new();
                let time_after = |id| {
                    ends.iter()
                        .find(|(track, _)| *track == id)
                        .map_or(0, |(_, end)| *end)
                };
                samples::of_fragment(
                    &moof,
                    start,
                    defaults,
                    SAMPLES,
                    |id, entry| found.push((id, entry)),
                    time_after,
                )?;
                entries = Some(found);
            }
            (b"mdat", Some(entries)) => {
                let samples = entries
                    .into_iter()
                    .map(|(id, entry)| {
                        let first = entry.offset.checked_sub(start).and_then(|first| usize::try_from(first).ok());
                        let size = usize::try_from(entry.size).ok();
                        let range = first.zip(size).and_then(|(first, size)| Some(first..first.checked_add(size)?));
                        let range = range.filter(|range| range.end <= bytes.len());
                        let range = range.ok_or_else(|| {
                            Error::new(Kind::Invalid, format!("a sample of track {id} does not lie in the mdat behind its moof"))
                        })?;
                        Ok((id, entry, bytes.slice(range)))
                    })
                    .collect::<Result<_>>()?;
                return Ok(Some(Fragment { samples }));
            }
            (b"moov", _) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    "a second moov: what follows is coded differently, which one track cannot be",
                ));
            }
            (_, held) => entries = held,
        }
    }
    Ok(None)
}

/// The next box, whole if it is of a kind that matters; `None` at the end.
async fn next_box(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    at: &mut u64,
) -> Result<Option<([u8; 4], Bytes)>> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::new(Kind::Invalid, "it ended within a box"),
        _ => Error::new(Kind::Invalid, format!("cannot be read: {e}")),
    };
    let mut bytes = Vec::with_capacity(BoxHeader::MAX_LEN);
    let header = loop {
        let mut next = [0; 8];
        let read = reader.read(&mut next[..1]).await.map_err(failed)?;
        if read == 0 && bytes.is_empty() {
            return Ok(None);
        }
        if read == 0 {
            return Err(Error::new(Kind::Invalid, "it ended within a box"));
        }
        reader.read_exact(&mut next[1..]).await.map_err(failed)?;
        bytes.extend(next);
        if let Some(header) = BoxHeader::read(&bytes, *at, &BoxPath::ROOT).map_err(unreadable)? {
            break header;
        }
    };
    let kind = header.kind.0;
    let BoxSize::Bytes(size) = header.size else {
        return Err(Error::new(
            Kind::Unsupported,
            format!(
                "the {} has no size: only fragmented MP4 can be read from a pipe",
                header.kind
            ),
        ));
    };
    let left = size.saturating_sub(u64::from(header.header_len));
    *at = at.saturating_add(size);
    if matches!(&kind, b"ftyp" | b"moov" | b"moof" | b"mdat") {
        if size > LARGEST_BOX {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "the {} has {size} bytes, more than {LARGEST_BOX}: make shorter fragments",
                    header.kind
                ),
            ));
        }
        let read = reader
            .take(left)
            .read_to_end(&mut bytes)
            .await
            .map_err(failed)?;
        if crate::push::wide(read) < left {
            return Err(Error::new(Kind::Invalid, "it ended within a box"));
        }
    } else {
        let skipped = tokio::io::copy(&mut reader.take(left), &mut tokio::io::sink())
            .await
            .map_err(failed)?;
        if skipped < left {
            return Err(Error::new(Kind::Invalid, "it ended within a box"));
        }
        bytes.clear();
    }
    Ok(Some((kind, bytes.into())))
}
