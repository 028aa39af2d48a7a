//! A clip: an MP4 whose samples are all known, in memory or in a file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::cmaf::{Defaults, TrackHeader};
use crate::isobmff::boxes::{FileType, Moof};
use crate::isobmff::{BoxHeader, BoxPath, BoxRef, BoxSize};
use crate::{Error, Kind, Result};

use super::describe::{self, Track, unreadable};
use super::samples::{self, Entry, Placement};
use super::{Ahead, Sample};

/// Longest `moov` that is read: the tables of a day of video.
const LONGEST_MOOV: u64 = 512 << 20;
/// Longest `moof`.
const LONGEST_MOOF: u64 = 64 << 20;
/// Largest sample: more than any picture.
const LARGEST_SAMPLE: u32 = 64 << 20;
/// Samples that are read from a file at a time, and their bytes.
const READ_SAMPLES: usize = 64;
const READ_BYTES: u64 = 1 << 20;

/// See the module.
pub(in crate::push) struct Clip {
    tracks: Vec<ClipTrack>,
    data: Data,
    /// How long one round of an endless one is, in nanoseconds.
    round: Option<u128>,
}

struct ClipTrack {
    track: Track,
    placement: Placement,
    entries: Vec<Entry>,
}

enum Data {
    Memory(&'static [u8]),
    File(File),
}

/// What was read of one track while the file was looked through.
struct Found {
    id: u32,
    track: Track,
    entries: Vec<Entry>,
}

impl Clip {
    pub(super) fn memory(bytes: &'static [u8]) -> Result<Self> {
        let mut input = std::io::Cursor::new(bytes);
        Self::read(&mut input, Data::Memory(bytes), true)
    }

    pub(super) fn file(path: &Path, again: bool) -> Result<Self> {
        let unreadable =
            |e: std::io::Error| Error::new(Kind::NotFound, format!("cannot be read: {e}"));
        let file = File::open(path).map_err(unreadable)?;
        let is_file = file.metadata().map_err(unreadable)?.is_file();
        if !is_file {
            return Err(Error::new(
                Kind::Invalid,
                "is no regular file; a stream is read from standard input: name it -",
            ));
        }
        let mut input = BufReader::new(file.try_clone().map_err(unreadable)?);
        Self::read(&mut input, Data::File(file), again)
    }

    fn read<R: Read + Seek>(input: &mut R, data: Data, again: bool) -> Result<Self> {
        let failed = |e: std::io::Error| Error::new(Kind::Invalid, format!("cannot be read: {e}"));
        let end = input.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut header: Option<(TrackHeader, Defaults, Vec<Found>)> = None;
        let mut brands = None;
        let (mut at, mut count) = (0u64, 0usize);
        while at < end {
            input.seek(SeekFrom::Start(at)).map_err(failed)?;
            let (kind, size) = box_header(input, at, end)?;
            match &kind.0 {
                b"ftyp" => {
                    let bytes = whole(input, at, size, LONGEST_MOOF)?;
                    let ftyp = BoxRef::top(&bytes, at).and_then(|b| FileType::decode(&b));
                    brands = Some(ftyp.map_err(unreadable)?);
                }
                b"moov" if header.is_none() => {
                    let bytes = whole(input, at, size, LONGEST_MOOV)?;
                    let moov = BoxRef::top(&bytes, at).map_err(unreadable)?;
                    let (read, found) = tracks_of(brands.take(), &moov)?;
                    count = found.iter().map(|found| found.entries.len()).sum();
                    let defaults = Defaults::of(&read);
                    header = Some((read, defaults, found));
                }
                b"moof" => {
                    let Some((_, defaults, found)) = &mut header else {
                        return Err(Error::new(
                            Kind::Invalid,
                            "a moof comes before any moov: a segment alone cannot be pushed",
                        ));
                    };
                    let bytes = whole(input, at, size, LONGEST_MOOF)?;
                    let moof = BoxRef::top(&bytes, at)
                        .and_then(|b| Moof::decode(&b))
                        .map_err(unreadable)?;
                    count += add_fragment(
                        &moof,
                        at,
                        defaults,
                        samples::MOST.saturating_sub(count),
                        found,
                    )?;
                }
                _ => {}
            }
            at = at.saturating_add(size);
        }
        let Some((header, _, found)) = header else {
            return Err(Error::new(
                Kind::Invalid,
                "there is no moov in it: this is no MP4, or not a whole one",
            ));
        };
        Self::put_together(&header, found, data, end, again)
    }

    fn put_together(
        header: &TrackHeader,
        found: Vec<Found>,
        data: Data,
        end: u64,
        again: bool,
    ) -> Result<Self> {
        let found: Vec<Found> = found
            .into_iter()
            .filter(|found| !found.entries.is_empty())
            .collect();
        if found.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "there is no sample of video or audio in it",
            ));
        }
        for found in &found {
            check_entries(found, end)?;
        }
        let placements = place(
            header,
            found
                .iter()
                .map(|found| (found.id, &found.track, found.entries.as_slice())),
        )?;
        let mut tracks: Vec<ClipTrack> = found
            .into_iter()
            .zip(placements)
            .map(|(found, placement)| {
                let mut track = found.track;
                track.priming = placement.priming;
                track.sample_duration = found.entries.first().map_or(0, |entry| entry.duration);
                track.bit_rate =
                    bit_rate(&found.entries, track.timescale).unwrap_or(track.bit_rate);
                ClipTrack {
                    track,
                    placement,
                    entries: found.entries,
                }
            })
            .collect();
        describe::name(tracks.iter_mut().map(|track| &mut track.track));
        let round = tracks.iter().map(ClipTrack::ends).max().filter(|_| again);
        Ok(Self {
            tracks,
            data,
            round,
        })
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|track| &track.track)
    }

    fn read_at(&self, offset: u64, size: usize) -> std::io::Result<Bytes> {
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        match &self.data {
            Data::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(|_| short())?;
                let end = start.checked_add(size).ok_or_else(short)?;
                bytes
                    .get(start..end)
                    .map(Bytes::from_static)
                    .ok_or_else(short)
            }
            Data::File(file) => {
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
        }
    }

    /// The next samples of a track, from sample `at` of round `round` on.
    fn batch(&self, place: usize, round: u64, at: usize) -> std::io::Result<Ahead> {
        let mut ahead = Ahead::new();
        let Some(track) = self.tracks.get(place) else {
            return Ok(ahead);
        };
        let rounds = self.round.unwrap_or(0).saturating_mul(u128::from(round));
        let later = rounds.saturating_mul(u128::from(track.track.timescale)) / 1_000_000_000;
        let later = u64::try_from(later).unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        for entry in track.entries.iter().skip(at).take(READ_SAMPLES) {
            bytes = bytes.saturating_add(u64::from(entry.size));
            if bytes > READ_BYTES && !ahead.is_empty() {
                break;
            }
            let (time, composition_offset) = track.placement.apply(entry);
            ahead.push_back(Sample {
                time: time.saturating_add(later),
                duration: entry.duration,
                composition_offset,
                flags: entry.flags,
                data: self.read_at(entry.offset, usize::try_from(entry.size).unwrap_or(0))?,
            });
        }
        Ok(ahead)
    }
}

impl ClipTrack {
    /// Where its last sample ends, in nanoseconds.
    fn ends(&self) -> u128 {
        let last = self.entries.last();
        let end = last.map_or(0, |entry| {
            self.placement
                .apply(entry)
                .0
                .saturating_add(u64::from(entry.duration))
        });
        u128::from(end) * 1_000_000_000 / u128::from(self.track.timescale.max(1))
    }
}

/// The tracks of `moov` that can be sent, with what it says of their samples.
fn tracks_of(brands: Option<FileType>, moov: &BoxRef<'_>) -> Result<(TrackHeader, Vec<Found>)> {
    let header = TrackHeader::of_movie(brands, moov).map_err(unreadable)?;
    let mut found = Vec::new();
    let traks = moov
        .children()
        .filter_map(|child| child.ok().filter(|child| child.kind == b"trak"));
    for (track, trak) in header.tracks.iter().zip(traks) {
        if let Some(read) = Track::read(track, &trak)? {
            found.push(Found {
                id: track.id,
                track: read,
                entries: samples::of_table(&trak)?,
            });
        }
    }
    Ok((header, found))
}

/// As [`tracks_of`], for a source that has no samples in its `moov`.
pub(super) fn fragmented_tracks_of(
    brands: Option<FileType>,
    moov: &BoxRef<'_>,
) -> Result<(TrackHeader, Vec<(u32, Track)>)> {
    let (header, found) = tracks_of(brands, moov)?;
    Ok((
        header,
        found
            .into_iter()
            .map(|found| (found.id, found.track))
            .collect(),
    ))
}

/// Places tracks, of which each comes with its number and its first samples.
pub(super) fn place<'a>(
    header: &TrackHeader,
    tracks: impl Iterator<Item = (u32, &'a Track, &'a [Entry])>,
) -> Result<Vec<Placement>> {
    let tracks: Vec<_> = tracks
        .filter_map(|(id, track, entries)| {
            let first = entries.iter().take(samples::REORDERED).copied().collect();
            Some((header.track(id)?, track.is_video(), first))
        })
        .collect();
    samples::place(header.movie_timescale, &tracks)
}

fn add_fragment(
    moof: &Moof,
    start: u64,
    defaults: &Defaults,
    room: usize,
    found: &mut [Found],
) -> Result<usize> {
    let ends: Vec<(u32, u64)> = found
        .iter()
        .map(|found| {
            let last = found.entries.last();
            (
                found.id,
                last.map_or(0, |entry| {
                    entry.time.saturating_add(u64::from(entry.duration))
                }),
            )
        })
        .collect();
    let time_after = |id| {
        ends.iter()
            .find(|(track, _)| *track == id)
            .map_or(0, |(_, end)| *end)
    };
    samples::of_fragment(
        moof,
        start,
        defaults,
        room,
        |id, entry| {
            if let Some(track) = found.iter_mut().find(|track| track.id == id) {
                track.entries.push(entry);
            }
        },
        time_after,
    )
}

/// Whether every sample lies in the file and none goes back in time.
fn check_entries(found: &Found, end: u64) -> Result<()> {
    let mut before = 0;
    for (number, entry) in (1u64..).zip(&found.entries) {
        let wrong = |why: &str| {
            Error::new(
                Kind::Invalid,
                format!("sample {number} of track {} {why}", found.id),
            )
        };
        if entry.offset.saturating_add(u64::from(entry.size)) > end {
            return Err(wrong("lies behind the end of the file: it is not whole"));
        }
        if entry.size > LARGEST_SAMPLE {
            return Err(wrong("is larger than 64 MiB"));
        }
        if entry.time < before {
            return Err(wrong("is decoded before the one in front of it"));
        }
        before = entry.time;
    }
    Ok(())
}

/// Bits per second over all samples.
fn bit_rate(entries: &[Entry], timescale: u32) -> Option<u64> {
    let bytes: u128 = entries.iter().map(|entry| u128::from(entry.size)).sum();
    let ticks: u128 = entries.iter().map(|entry| u128::from(entry.duration)).sum();
    let rate = (bytes * 8 * u128::from(timescale)).checked_div(ticks)?;
    u64::try_from(rate).ok()
}

/// Type and whole length of the box at `at`.
fn box_header<R: Read>(input: &mut R, at: u64, end: u64) -> Result<(crate::isobmff::FourCc, u64)> {
    let mut bytes = Vec::with_capacity(BoxHeader::MAX_LEN);
    let most = u64::try_from(BoxHeader::MAX_LEN).unwrap_or(16);
    input
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::new(Kind::Invalid, format!("cannot be read: {e}")))?;
    let header = BoxHeader::read(&bytes, at, &BoxPath::ROOT).map_err(unreadable)?;
    let header =
        header.ok_or_else(|| Error::new(Kind::Invalid, "it ends within the header of a box"))?;
    let left = end.saturating_sub(at);
    match header.size {
        BoxSize::ToEnd => Ok((header.kind, left)),
        BoxSize::Bytes(size) if size > left && header.kind != b"mdat" => Err(Error::new(
            Kind::Invalid,
            format!("the box at byte {at} is not whole: this is no MP4, or a part of one"),
        )),
        BoxSize::Bytes(size) => Ok((header.kind, size)),
    }
}

/// The whole box of `size` bytes at `at`.
fn whole<R: Read + Seek>(input: &mut R, at: u64, size: u64, most: u64) -> Result<Vec<u8>> {
    if size > most {
        return Err(Error::new(
            Kind::TooLarge,
            format!("the box at byte {at} has {size} bytes, more than {most}"),
        ));
    }
    let failed = |e: std::io::Error| Error::new(Kind::Invalid, format!("cannot be read: {e}"));
    input.seek(SeekFrom::Start(at)).map_err(failed)?;
    let mut bytes = Vec::new();
    input.take(size).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Plays one track of a clip.
pub(in crate::push) struct Player {
    clip: Arc<Clip>,
    place: usize,
    round: u64,
    at: usize,
    ahead: Ahead,
}

impl Player {
    pub(super) fn new(clip: Arc<Clip>, place: usize) -> Self {
        Self {
            clip,
            place,
            round: 0,
            at: 0,
            ahead: Ahead::new(),
        }
    }

    /// The next sample; `None` at the end of a clip that has one.
    pub(super) async fn next(&mut self) -> Result<Option<Sample>> {
        if let Some(sample) = self.ahead.pop_front() {
            return Ok(Some(sample));
        }
        let count = self
            .clip
            .tracks
            .get(self.place)
            .map_or(0, |track| track.entries.len());
        if self.at >= count {
            if self.clip.round.is_none() || count == 0 {
                return Ok(None);
            }
            self.at = 0;
            self.round += 1;
        }
        let (place, round, at) = (self.place, self.round, self.at);
        let read = match &self.clip.data {
            Data::Memory(_) => self.clip.batch(place, round, at),
            Data::File(_) => {
                let clip = Arc::clone(&self.clip);
                tokio::task::spawn_blocking(move || clip.batch(place, round, at))
                    .await
                    .map_err(|e| Error::internal("reading the file was ended", e))?
            }
        };
        self.ahead = read
            .map_err(|e| Error::new(Kind::Invalid, format!("the file cannot be read on: {e}")))?;
        self.at += self.ahead.len();
        Ok(self.ahead.pop_front())
    }
}
