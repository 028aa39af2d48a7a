//! Where the samples are: the table of a progressive file, or the runs of a fragment.

use crate::cmaf::{self, Defaults};
use crate::isobmff::BoxRef;
use crate::isobmff::boxes::{
    ChunkOffsets, Ctts, Moof, Stsc, Stss, Stsz, Stts, Tfhd, Traf, sample_flags,
};
use crate::{Error, Kind, Result};

use super::describe::{sample_table, unreadable};

/// Most samples of one source: a day of video and audio, in some 400 MB.
pub(super) const MOST: usize = 12 << 20;

/// A sample other samples depend on nothing of, and that depends on none.
const SYNC: u32 = 0x0200_0000;
/// One that depends on others.
const DEPENDENT: u32 = 0x0100_0000 | sample_flags::NON_SYNC;

/// One sample: where it lies and when it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// First byte, in the source.
    pub(super) offset: u64,
    /// Decode time in ticks; as the source counts at first, on the session's timeline in the end.
    pub(super) time: u64,
    /// Bytes.
    pub(super) size: u32,
    /// Ticks.
    pub(super) duration: u32,
    /// Presentation minus decode time.
    pub(super) composition_offset: i32,
    /// As in `trun`.
    pub(super) flags: u32,
}

impl Entry {
    /// When it is shown, in ticks.
    pub(super) fn presented(&self) -> i64 {
        i64::try_from(self.time)
            .unwrap_or(i64::MAX)
            .saturating_add(i64::from(self.composition_offset))
    }
}

fn too_many() -> Error {
    Error::new(
        Kind::TooLarge,
        format!("more than {MOST} samples: push it in pieces"),
    )
}

/// The samples that `trak` itself describes; empty in a fragmented file.
pub(super) fn of_table(trak: &BoxRef<'_>) -> Result<Vec<Entry>> {
    let read = || {
        let stbl = sample_table(trak)?;
        let sizes = stbl.child(b"stsz")?.map(|b| Stsz::decode(&b)).transpose()?;
        let times = stbl.child(b"stts")?.map(|b| Stts::decode(&b)).transpose()?;
        let runs = stbl.child(b"stsc")?.map(|b| Stsc::decode(&b)).transpose()?;
        let chunks = match (stbl.child(b"stco")?, stbl.child(b"co64")?) {
            (Some(b), _) | (None, Some(b)) => Some(ChunkOffsets::decode(&b)?),
            (None, None) => None,
        };
        let compositions = stbl.child(b"ctts")?.map(|b| Ctts::decode(&b)).transpose()?;
        let sync = stbl.child(b"stss")?.map(|b| Stss::decode(&b)).transpose()?;
        let dependencies = stbl.child(b"sdtp")?.map(|b| {
            let payload = b.payload();
            payload.get(4..).unwrap_or_default().to_vec()
        });
        Ok((sizes, times, runs, chunks, compositions, sync, dependencies))
    };
    let (sizes, times, runs, chunks, compositions, sync, dependencies) =
        read().map_err(unreadable)?;
    let (Some(sizes), Some(times), Some(runs), Some(chunks)) = (sizes, times, runs, chunks) else {
        return Ok(Vec::new());
    };
    let count = usize::try_from(sizes.sample_count).unwrap_or(usize::MAX);
    if count > MOST {
        return Err(too_many());
    }
    let size_of = |at: usize| match sizes.sample_size {
        0 => sizes.sizes.get(at).copied(),
        all => Some(all),
    };
    let mut durations = spread(times.runs.iter().copied());
    let mut offsets = spread(
        compositions
            .iter()
            .flat_map(|ctts| ctts.runs.iter().copied()),
    );
    let mut sync = sync.map(|Stss(numbers)| numbers.into_iter().peekable());
    let mut found = Vec::with_capacity(count.min(1 << 20));
    let (mut time, mut at) = (0u64, 0usize);
    'chunks: for (chunk, start) in (1u32..).zip(&chunks.0) {
        let run = runs.runs.partition_point(|(first, ..)| *first <= chunk);
        let Some((_, in_chunk, _)) = run.checked_sub(1).and_then(|run| runs.runs.get(run)) else {
            return Err(Error::new(
                Kind::Invalid,
                "stsc does not begin with chunk 1",
            ));
        };
        let mut offset = *start;
        for _ in 0..*in_chunk {
            if at >= count {
                break 'chunks;
            }
            let number = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            let is_sync = match &mut sync {
                None => true,
                Some(numbers) => {
                    while numbers.next_if(|next| *next < number).is_some() {}
                    numbers.peek() == Some(&number)
                }
            };
            let told = dependencies.as_ref().and_then(|all| all.get(at)).copied();
            let flags = match (told.map(|byte| u32::from(byte) << 20), is_sync) {
                (Some(told), true) => told,
                (Some(told), false) => told | sample_flags::NON_SYNC,
                (None, true) => SYNC,
                (None, false) => DEPENDENT,
            };
            let (Some(size), Some(duration)) = (size_of(at), durations.next()) else {
                return Err(Error::new(
                    Kind::Invalid,
                    "stsz, stts and stsc do not describe the same number of samples",
                ));
            };
            let composition_offset = offsets.next().unwrap_or(0);
            found.push(Entry {
                offset,
                time,
                size,
                duration,
                composition_offset: i32::try_from(composition_offset).map_err(|_| {
                    Error::new(Kind::Invalid, "a composition offset is out of range")
                })?,
                flags,
            });
            offset = offset.saturating_add(u64::from(size));
            time = time.saturating_add(u64::from(duration));
            at += 1;
        }
    }
    if at < count {
        return Err(Error::new(
            Kind::Invalid,
            "stsz has more samples than stsc and stco place",
        ));
    }
    Ok(found)
}

/// Each value of runs as often as its run is long.
fn spread<T: Copy>(runs: impl Iterator<Item = (u32, T)>) -> impl Iterator<Item = T> {
    runs.flat_map(|(count, value)| (0..count).map(move |_| value))
}

/// The samples of one fragment by track. `start` is the position of `moof`, `room` says how many more
/// may come.
pub(super) fn of_fragment(
    moof: &Moof,
    start: u64,
    defaults: &Defaults,
    room: usize,
    mut found: impl FnMut(u32, Entry),
    time_after: impl Fn(u32) -> u64,
) -> Result<usize> {
    let mut count = 0;
    // Where nothing says where the data of a run is, it follows that of the run before.
    let mut next = start;
    for traf in &moof.trafs {
        let base = base_of(traf, start, next);
        let mut time = traf.tfdt.map_or_else(
            || time_after(traf.tfhd.track_id),
            |tfdt| tfdt.base_media_decode_time,
        );
        next = base;
        let mut samples = cmaf::samples(traf, defaults);
        for run in &traf.truns {
            if let Some(offset) = run.data_offset {
                next = base.checked_add_signed(i64::from(offset)).ok_or_else(|| {
                    Error::new(Kind::Invalid, "the data of a fragment lies before the file")
                })?;
            }
            for _ in 0..run.sample_count {
                count += 1;
                if count > room {
                    return Err(too_many());
                }
                let Some(sample) = samples.next() else { break };
                let composition_offset =
                    i32::try_from(sample.composition_offset).map_err(|_| {
                        Error::new(Kind::Invalid, "a composition offset is out of range")
                    })?;
                let entry = Entry {
                    offset: next,
                    time,
                    size: sample.size,
                    duration: sample.duration,
                    composition_offset,
                    flags: sample.flags,
                };
                found(traf.tfhd.track_id, entry);
                next = next.saturating_add(u64::from(sample.size));
                time = time.saturating_add(u64::from(sample.duration));
            }
        }
    }
    Ok(count)
}

/// What the data offsets of a `traf` count from.
fn base_of(traf: &Traf, moof: u64, after_last: u64) -> u64 {
    match traf.tfhd.base_data_offset {
        Some(base) => base,
        None if traf.tfhd.flags & Tfhd::DEFAULT_BASE_IS_MOOF != 0 => moof,
        None => after_last,
    }
}

/// Where a track stands on the session's timeline, and what has to be done to its samples for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// Source time of the first sample.
    first: u64,
    /// Decode time of the first sample, in ticks of the track.
    pub(super) start: u64,
    /// Is taken from every composition offset.
    shift: i64,
    /// Ticks of the beginning that are not heard.
    pub(super) priming: u64,
}

impl Placement {
    /// The sample's decode time on the session's timeline, and its composition offset there.
    pub(super) fn apply(&self, entry: &Entry) -> (u64, i64) {
        let time = entry
            .time
            .saturating_sub(self.first)
            .saturating_add(self.start);
        (
            time,
            i64::from(entry.composition_offset).saturating_sub(self.shift),
        )
    }
}

/// Samples at the front that are looked at for the first one shown: pictures are reordered over at most
/// sixteen.
pub(super) const REORDERED: usize = 64;

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// Places tracks beside each other so that the earliest begins at 0. Each comes with its header and its
/// first samples.
///
/// The edit list of a track may delay it (an empty edit), and may begin after its first sample. Video is
/// moved so that its first picture is shown when it is decoded; pictures before the edit, which are
/// there because others refer to them, are shown. Audio before the edit stays in the track and is
/// told as priming.
///
/// # Errors
/// An edit list cuts or repeats.
pub(super) fn place(
    movie_timescale: u32,
    tracks: &[(&cmaf::Track, bool, Vec<Entry>)],
) -> Result<Vec<Placement>> {
    let mut placed = Vec::with_capacity(tracks.len());
    for (header, is_video, entries) in tracks {
        let (delay, media_time) = edits(header, movie_timescale)?;
        let first = entries.first().map_or(0, |entry| entry.time);
        let first_time = i64::try_from(first).unwrap_or(i64::MAX);
        let shown = entries.iter().take(REORDERED).map(Entry::presented).min();
        let shown = shown.unwrap_or(first_time);
        let timescale = i128::from(header.timescale.max(1));
        let early = media_time.saturating_sub(first_time);
        let (shift, priming, begins) = if *is_video {
            let shift = shown.saturating_sub(first_time);
            (shift, 0, i128::from(shown) - i128::from(media_time))
        } else if early > 0 && i128::from(early) < timescale {
            (0, u64::try_from(early).unwrap_or(0), 0)
        } else {
            (0, 0, -i128::from(early))
        };
        let begins = delay + begins * NANOS / timescale;
        let placement = Placement {
            first,
            start: 0,
            shift,
            priming,
        };
        placed.push((placement, begins, timescale));
    }
    let earliest = placed
        .iter()
        .map(|(_, begins, _)| *begins)
        .min()
        .unwrap_or(0);
    Ok(placed
        .into_iter()
        .map(|(placement, begins, timescale)| {
            let ticks = ((begins - earliest) * timescale + NANOS / 2) / NANOS;
            Placement {
                start: u64::try_from(ticks).unwrap_or(0),
                ..placement
            }
        })
        .collect())
}

/// How long an edit list delays a track, in nanoseconds, and the media time at which it begins.
fn edits(track: &cmaf::Track, movie_timescale: u32) -> Result<(i128, i64)> {
    let mut edits = track.edits.as_slice();
    let mut delay = 0i128;
    while let [empty, rest @ ..] = edits
        && empty.media_time < 0
    {
        delay += i128::from(empty.segment_duration) * NANOS / i128::from(movie_timescale.max(1));
        edits = rest;
    }
    match edits {
        [] => Ok((delay, 0)),
        [only] if only.rate == 1 => Ok((delay, only.media_time)),
        _ => Err(Error::new(
            Kind::Unsupported,
            format!(
                "track {} has an edit list that cuts, repeats or slows it: such a track has to be coded anew first (ffmpeg -i FILE OUT.mp4)",
                track.id
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_spread() {
        let all: Vec<u32> = spread([(2, 7), (0, 1), (1, 9)].into_iter()).collect();
        assert_eq!(all, [7, 7, 9]);
    }
}
