//! Where the media comes from: tracks of coded samples, in decode order, on one timeline.
//!
//! ```text
//! synthetic, file -> clip (a table of samples, shared) -+-> Feed: the samples of one track, one
//! standard input  -> pipe (fragments as they come)     -+         session's, times from 0 on
//! ```
//!
//! Nothing is coded anew. What says how samples are decoded (the sample entry) is taken over byte for
//! byte; where they stand in time is worked out anew, so that no edit list is needed but for the
//! priming of audio.

mod clip;
mod describe;
mod pipe;
mod samples;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Error, Kind, Result};

use self::clip::Clip;
pub(super) use self::describe::{Shape, Track};

/// The source that is built in; made by `scripts/make-synthetic`.
const SYNTHETIC: &[u8] = include_bytes!("../synthetic/source.mp4");

/// One coded sample.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Decode time on the session's timeline, in ticks of the track.
    pub(super) time: u64,
    /// Ticks.
    pub(super) duration: u32,
    /// Presentation minus decode time, in ticks.
    pub(super) composition_offset: i64,
    /// As in `trun`.
    pub(super) flags: u32,
    /// The coded bytes.
    pub(super) data: Bytes,
}

impl Sample {
    pub(super) fn is_sync(&self) -> bool {
        self.flags & crate::isobmff::boxes::sample_flags::NON_SYNC == 0
    }

    /// When the next one is decoded.
    pub(super) fn end(&self) -> u64 {
        self.time.saturating_add(u64::from(self.duration))
    }
}

/// A source, opened. Clips are played any number of times, a pipe once.
pub(super) enum Source {
    Clip(Arc<Clip>),
    Pipe(Option<pipe::Pipe>),
}

impl Source {
    /// The built-in picture and tone, without end.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub(super) fn synthetic() -> Result<Self> {
        Ok(Self::Clip(Arc::new(Clip::memory(SYNTHETIC)?)))
    }

    /// The tracks of an MP4 file, fragmented or not; `again` plays it without end.
    ///
    /// # Errors
    /// It cannot be read, or not be cut without coding it anew.
    pub(super) fn file(path: &Path, again: bool) -> Result<Self> {
        Clip::file(path, again)
            .map(|clip| Self::Clip(Arc::new(clip)))
            .map_err(|e| Error::new(e.kind(), format!("{}: {}", path.display(), e.chain())))
    }

    /// Fragmented MP4 as it comes on standard input. Waits for its first fragment.
    ///
    /// # Errors
    /// As [`Source::file`].
    pub(super) async fn stdin() -> Result<Self> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned();
        let stdin = stdin.map_err(|e| Error::internal("standard input cannot be read", e))?;
        pipe::open(tokio::fs::File::from_std(stdin.into()))
            .await
            .map(|pipe| Self::Pipe(Some(pipe)))
            .map_err(|e| Error::new(e.kind(), format!("standard input: {}", e.chain())))
    }

    /// Whether it sets its own pace.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Self::Pipe(_))
    }

    /// The same for another session or camera.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::Clip(clip) => Some(Self::Clip(Arc::clone(clip))),
            Self::Pipe(_) => None,
        }
    }

    /// Its tracks.
    pub(super) fn tracks(&self) -> Vec<Track> {
        match self {
            Self::Clip(clip) => clip.tracks().cloned().collect(),
            Self::Pipe(pipe) => pipe
                .iter()
                .flat_map(|pipe| pipe.tracks().cloned())
                .collect(),
        }
    }

    /// The samples of the tracks with these places in [`Source::tracks`], from the beginning.
    ///
    /// # Errors
    /// A pipe was played before.
    pub(super) fn play(&mut self, wanted: &[usize]) -> Result<Vec<Feed>> {
        match self {
            Self::Clip(clip) => Ok(wanted
                .iter()
                .map(|place| Feed::Clip(clip::Player::new(Arc::clone(clip), *place)))
                .collect()),
            Self::Pipe(pipe) => pipe
                .take()
                .map(|pipe| pipe.play(wanted).into_iter().map(Feed::Pipe).collect())
                .ok_or_else(|| Error::new(Kind::Invalid, "standard input cannot be played twice")),
        }
    }
}

/// The samples of one track.
pub(super) enum Feed {
    Clip(clip::Player),
    Pipe(mpsc::Receiver<Result<Sample>>),
}

impl Feed {
    /// The next sample; `None` at the end.
    ///
    /// # Errors
    /// The source cannot be read on.
    pub(super) async fn next(&mut self) -> Result<Option<Sample>> {
        match self {
            Self::Clip(player) => player.next().await,
            Self::Pipe(samples) => samples.recv().await.transpose(),
        }
    }
}

/// Samples that were read ahead.
type Ahead = VecDeque<Sample>;
