//! Early answers that arrive.
//!
//! A server that answers before it has read the body, and then stops reading, makes curl and most
//! firmwares report a broken pipe (HTTP/1.1) or a reset stream (HTTP/2) in place of the answer. So a
//! body that is dropped half read is read on in the background and thrown away, within a [`Budget`].
//! The [`Gate`](super::Gate) does this for every request; a handler just returns.
//!
//! What happens to the rest of the body when the handler has answered without it:
//!
//! | the answer                              | HTTP/1.1                                        | HTTP/2                         |
//! |-----------------------------------------|-------------------------------------------------|--------------------------------|
//! | any                                     | read on; the connection is kept if the body ends within the budget | read on; past the budget `RST_STREAM(NO_ERROR)` on this stream |
//! | `Expect: 100-continue`, body not asked for | not read, no `100` is sent; `connection: close` | not read; `RST_STREAM(NO_ERROR)` |
//! | `408`                                   | not read; `connection: close` is added          | not read; `RST_STREAM(NO_ERROR)`, the connection lives on |
//! | any, after [`Drain::off`]               | not read; the connection is closed behind the answer | not read; `RST_STREAM(NO_ERROR)` |
//!
//! On HTTP/2 the reset must not come right behind the answer: curl 7.88 then reports the reset (error 92)
//! and not the answer.
//!
//! A `408` says that the client has stopped sending, so there is nothing to wait for: the Matter camera
//! application hangs on such a connection until it is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;

/// How much of an unwanted body is read before the client is cut off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Body bytes.
    pub(crate) bytes: u64,
    /// Time since the handler let go of the body.
    pub(crate) time: Duration,
}

impl Default for Budget {
    /// 64 MiB and 30 s: more than what fits between a client and the answer it has not read yet.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            time: Duration::from_secs(30),
        }
    }
}

/// A request's drain, in its extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    off: AtomicBool,
    turned_off: Notify,
}

impl Drain {
    /// From now on the rest of the body is not read, also when a drain has begun. On HTTP/1.1 the
    /// connection is closed behind the answer, on HTTP/2 the stream is reset.
    pub(crate) fn off(&self) {
        self.0.off.store(true, Ordering::Relaxed);
        self.0.turned_off.notify_one();
    }

    fn is_off(&self) -> bool {
        self.0.off.load(Ordering::Relaxed)
    }
}

/// A request body that is read on in the background when it is dropped before its end.
#[derive(Debug)]
pub(crate) struct DrainOnDrop<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// Gone once it has ended.
    body: Option<B>,
    drain: Drain,
    budget: Budget,
    /// The client sends nothing before somebody has asked for the body.
    awaits_continue: bool,
}

impl<B> DrainOnDrop<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// Wraps the body of `request`.
    pub(crate) fn new(request: &Parts, body: B, drain: Drain, budget: Budget) -> Self {
        let expect = request.headers.get(header::EXPECT);
        Self {
            body: Some(body),
            drain,
            budget,
            awaits_continue: expect
                .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        }
    }
}

impl<B> Body for DrainOnDrop<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        this.awaits_continue = false;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
            Poll::Pending => false,
        };
        if ended {
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for DrainOnDrop<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.awaits_continue || self.drain.is_off() || body.is_end_stream() {
            return;
        }
        // Outside a runtime (it is shutting down) there is nobody left to read.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let discarding = discard(body, self.budget.bytes);
            let (drain, time) = (self.drain.clone(), self.budget.time);
            runtime.spawn(async move {
                tokio::select! {
                    () = discarding => {}
                    () = drain.0.turned_off.notified() => {}
                    () = tokio::time::sleep(time) => {}
                }
            });
        }
    }
}

/// Reads `body` to its end, its error, or past `limit` bytes.
async fn discard<B>(mut body: B, limit: u64)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > limit {
            return;
        }
    }
}
