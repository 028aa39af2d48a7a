//! Samples into segments and chunks.
//!
//! Segments begin at sync samples, on a grid of the segment duration that counts from the first sample, so
//! that those of all tracks begin about together. A segment is one chunk, or chunks of about the chunk
//! duration.

use std::time::Duration;

use tokio::time::Instant;

use super::source::{Feed, Sample};
use crate::{Error, Kind, Result};

/// Most bytes of one chunk, which is held in memory.
const LARGEST_CHUNK: usize = 64 << 20;
/// How early a sample may be given out, so that not every one of them needs a timer.
const EARLY: Duration = Duration::from_millis(5);

/// Some samples that are sent as one `moof` and `mdat`.
pub(super) struct Chunk {
    pub(super) samples: Vec<Sample>,
    /// It is the first of its segment.
    pub(super) begins: bool,
    /// It is the last of its segment.
    pub(super) ends: bool,
    /// Nothing comes after it.
    pub(super) last: bool,
}

impl Chunk {
    /// Decode time of its first sample.
    pub(super) fn time(&self) -> u64 {
        self.samples.first().map_or(0, |sample| sample.time)
    }

    /// When its last sample ends.
    pub(super) fn end(&self) -> u64 {
        self.samples.last().map_or(0, Sample::end)
    }
}

/// When samples are given out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as they are there.
    Source,
    /// When a camera would have them: each at its end, counted from here.
    Real(Instant),
}

/// How a track is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Ticks per second.
    pub(super) timescale: u32,
    pub(super) segment: Duration,
    /// None: one chunk a segment.
    pub(super) chunk: Option<Duration>,
    /// All after this is left out.
    pub(super) whole: Option<Duration>,
}

/// Cuts one track.
pub(super) struct Cutter {
    feed: Feed,
    pace: Pace,
    timescale: u32,
    segment_ticks: u64,
    chunk_ticks: Option<u64>,
    end: Option<u64>,
    /// What goes into the next chunk.
    samples: Vec<Sample>,
    bytes: usize,
    /// The sample behind it, which showed that the chunk was over.
    next: Option<Sample>,
    /// Decode time of the first sample of the session.
    origin: Option<u64>,
    /// Where the next segment begins at the earliest, from the origin on.
    border: u64,
    begins: bool,
    is_over: bool,
}

impl Cutter {
    pub(super) fn new(feed: Feed, pace: Pace, lengths: Lengths) -> Self {
        let ticks = |time: Duration| ticks(time, lengths.timescale).max(1);
        Self {
            feed,
            pace,
            timescale: lengths.timescale,
            segment_ticks: ticks(lengths.segment),
            chunk_ticks: lengths.chunk.map(ticks),
            end: lengths.whole.map(ticks),
            samples: Vec::new(),
            bytes: 0,
            next: None,
            origin: None,
            border: 0,
            begins: true,
            is_over: false,
        }
    }

    /// The next chunk; `None` at the end. It may be dropped while it waits: what it has is kept for
    /// [`Cutter::flush`].
    ///
    /// # Errors
    /// The source cannot be read on, or a chunk is too large to be held.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            if self.next.is_none() {
                self.next = self.feed.next().await?;
            }
            let Some(sample) = &self.next else {
                return Ok(self.flush());
            };
            if self.origin.is_none() && !sample.is_sync() {
                self.next = None; // nobody can decode it
                continue;
            }
            let origin = *self.origin.get_or_insert(sample.time);
            let at = sample.time.saturating_sub(origin);
            if self.end.is_some_and(|end| at >= end) {
                return Ok(self.flush());
            }
            let is_border = sample.is_sync() && at >= self.border;
            if is_border && !self.samples.is_empty() {
                return Ok(Some(self.take(true)));
            }
            if is_border {
                self.border = (at / self.segment_ticks)
                    .saturating_add(1)
                    .saturating_mul(self.segment_ticks);
            }
            let first = self.samples.first().map(|first| first.time);
            let is_full = first
                .zip(self.chunk_ticks)
                .is_some_and(|(first, length)| sample.end().saturating_sub(first) > length);
            if is_full {
                return Ok(Some(self.take(false)));
            }
            if let Pace::Real(began) = self.pace {
                let due = began + duration(sample.end(), self.timescale);
                if due.saturating_duration_since(Instant::now()) > EARLY {
                    tokio::time::sleep_until(due).await;
                }
            }
            self.bytes = self.bytes.saturating_add(sample.data.len());
            if self.bytes > LARGEST_CHUNK {
                return Err(Error::new(
                    Kind::TooLarge,
                    "there is no key frame in 64 MiB of media to begin a segment at: make key frames more often",
                ));
            }
            self.samples.extend(self.next.take());
        }
    }

    /// Ends the session here: the last chunk, with what is there of it.
    pub(super) fn flush(&mut self) -> Option<Chunk> {
        let was_over = std::mem::replace(&mut self.is_over, true);
        if was_over || self.samples.is_empty() {
            return None;
        }
        let mut chunk = self.take(true);
        chunk.last = true;
        Some(chunk)
    }

    fn take(&mut self, ends: bool) -> Chunk {
        self.bytes = 0;
        Chunk {
            samples: std::mem::take(&mut self.samples),
            begins: std::mem::replace(&mut self.begins, ends),
            ends,
            last: false,
        }
    }
}

/// Ticks in a time.
pub(super) fn ticks(time: Duration, timescale: u32) -> u64 {
    let ticks = time.as_nanos().saturating_mul(u128::from(timescale)) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The time that ticks take.
pub(super) fn duration(ticks: u64, timescale: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::source::Source;

    async fn cut(lengths: Lengths) -> Vec<Chunk> {
        let mut source = Source::synthetic().unwrap();
        let feed = source.play(&[0]).unwrap().remove(0);
        let mut cutter = Cutter::new(feed, Pace::Source, lengths);
        let mut chunks = Vec::new();
        while let Some(chunk) = cutter.next().await.unwrap() {
            chunks.push(chunk);
        }
        chunks
    }

    fn lengths(segment_ms: u64, chunk_ms: Option<u64>, whole_ms: u64) -> Lengths {
        let track = Source::synthetic().unwrap().tracks().remove(0);
        Lengths {
            timescale: track.timescale,
            segment: Duration::from_millis(segment_ms),
            chunk: chunk_ms.map(Duration::from_millis),
            whole: Some(Duration::from_millis(whole_ms)),
        }
    }

    #[tokio::test]
    async fn segments_begin_at_key_frames_and_leave_nothing_out() {
        let chunks = cut(lengths(2_000, None, 21_000)).await;
        assert_eq!(chunks.len(), 11);
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.begins && chunk.ends && chunk.samples[0].is_sync())
        );
        assert_eq!(
            chunks
                .iter()
                .map(|chunk| chunk.samples.len())
                .sum::<usize>(),
            525
        );
        assert!(
            chunks
                .windows(2)
                .all(|pair| pair[0].end() == pair[1].time())
        );
        assert!(chunks[10].last && !chunks[9].last);
        assert_eq!(chunks[10].samples.len(), 25);
    }

    #[tokio::test]
    async fn a_segment_is_as_long_as_the_key_frames_allow() {
        let chunks = cut(lengths(1_500, None, 6_000)).await;
        let counts: Vec<usize> = chunks.iter().map(|chunk| chunk.samples.len()).collect();
        // Key frames each second, borders at 1.5, 3, 4.5.
        assert_eq!(counts, [50, 25, 50, 25]);
    }

    #[tokio::test]
    async fn chunks_fill_a_segment() {
        let chunks = cut(lengths(2_000, Some(500), 4_000)).await;
        let begins: Vec<bool> = chunks.iter().map(|chunk| chunk.begins).collect();
        let ends: Vec<bool> = chunks.iter().map(|chunk| chunk.ends).collect();
        assert_eq!(begins.iter().filter(|begins| **begins).count(), 2);
        assert_eq!(ends.iter().filter(|ends| **ends).count(), 2);
        assert_eq!(
            chunks
                .iter()
                .map(|chunk| chunk.samples.len())
                .sum::<usize>(),
            100
        );
        // 12 frames of 40 ms are the most that fit into half a second.
        assert!(chunks.iter().all(|chunk| chunk.samples.len() <= 12));
    }
}
