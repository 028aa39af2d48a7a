//! What a request carries: all at once, as it comes, or less than it promised.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The body of a request of ours.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes that are handed over in one piece.
const PIECE: usize = 64 << 10;
/// In which what was handed over is sent.
const MOMENT: Duration = Duration::from_millis(300);

/// Where a body comes from. It can be had again, for another try.
#[derive(Clone)]
pub(super) enum Content {
    Whole(Bytes),
    Growing(Arc<Growing>),
}

impl Content {
    /// The length, where it is known.
    pub(super) fn known_length(&self) -> Option<usize> {
        match self {
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Growing(_) => None,
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Growing(growing) => growing.held().pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Since when nothing is missing; `None` while something is, and where nothing ever was.
    pub(super) fn whole_since(&self) -> Option<Instant> {
        match self {
            Self::Whole(_) => None,
            Self::Growing(growing) => growing.held().whole,
        }
    }

    pub(super) fn body(&self) -> Body {
        match self {
            Self::Whole(bytes) => Full::new(bytes.clone())
                .map_err(|e| match e {})
                .boxed_unsync(),
            Self::Growing(growing) => {
                let pieces = stream::unfold((Arc::clone(growing), 0), |(growing, at)| async move {
                    let piece = growing.piece(at).await?;
                    Some((Ok(Frame::data(piece)), (growing, at + 1)))
                });
                StreamBody::new(pieces).boxed_unsync()
            }
        }
    }
}

/// A body that is still being made.
#[derive(Default)]
pub(super) struct Growing {
    held: Mutex<Held>,
    grown: Notify,
}

#[derive(Default)]
struct Held {
    pieces: Vec<Bytes>,
    /// Since when nothing is missing.
    whole: Option<Instant>,
}

impl Growing {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, piece: Bytes) {
        self.held().pieces.push(piece);
        self.grown.notify_waiters();
    }

    pub(super) fn finish(&self) {
        self.held().whole = Some(Instant::now());
        self.grown.notify_waiters();
    }

    /// Piece `at`, once it is there; `None` when there is none and none will come.
    async fn piece(&self, at: usize) -> Option<Bytes> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // What comes between the look and the wait is not to be missed.
            grown.as_mut().enable();
            {
                let held = self.held();
                if let Some(piece) = held.pieces.get(at) {
                    return Some(piece.clone());
                }
                if held.whole.is_some() {
                    return None;
                }
            }
            grown.await;
        }
    }
}

/// The first half of `whole`, and then the end of the connection: after a moment, since what has not left
/// by then would never be seen.
pub(super) fn truncated(whole: &Bytes) -> Body {
    let end = stream::once(async {
        tokio::time::sleep(MOMENT).await;
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "cut on purpose"))
    });
    StreamBody::new(half(whole).chain(end)).boxed_unsync()
}

/// The first half of `whole`, and then nothing, for `time`.
pub(super) fn stalled(whole: &Bytes, time: Duration) -> Body {
    let end = stream::once(async move {
        tokio::time::sleep(time).await;
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "stalled on purpose",
        ))
    });
    StreamBody::new(half(whole).chain(end)).boxed_unsync()
}

fn half(whole: &Bytes) -> impl futures_util::Stream<Item = io::Result<Frame<Bytes>>> + use<> {
    let half = whole.slice(..whole.len() / 2);
    let starts: Vec<usize> = (0..half.len()).step_by(PIECE).collect();
    let pieces = starts.into_iter().map(move |start| {
        let end = start.saturating_add(PIECE).min(half.len());
        Ok(Frame::data(half.slice(start..end)))
    });
    stream::iter(pieces)
}
