//! The clocks of an open connection.
//!
//! hyper has one timer for HTTP/1.1, which runs from the end of a request to the end of the next
//! header: header limit and keep-alive in one. It waits without limit for the first byte, and keeps an
//! HTTP/2 connection without requests for as long as it answers PINGs. So hyper's timer is off and the
//! stream keeps time itself. Which clock runs follows from what the connection is doing:
//!
//! | requests in flight                        | clock        | at its end                    |
//! |-------------------------------------------|--------------|-------------------------------|
//! | none, nothing read since the last one     | `keep_alive` | end of file for hyper         |
//! | none, HTTP/1.1, something read since      | `header`     | `408`, end of file            |
//! | none, HTTP/2                              | `keep_alive` | end of file                   |
//! | some, HTTP/2, all wait for the client to take more | `write_stall` | error, connection cut |
//! | some                                      | none         | uploads are timed by their readers, downloads by the socket |
//!
//! A connection whose certificate is barred or ends meanwhile is cut, whatever it is doing.
//!
//! Bytes of a header that came in one piece with the body before it do not start the header clock;
//! the next byte does, or the keep-alive clock runs out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Limits;
use super::activity::Activity;

const HEADER_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A decrypted stream with the clocks above.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    header_limit: Duration,
    idle_limit: Duration,
    stall_limit: Duration,
    header: Option<Header>,
    /// Moved only when it fires (or a header begins): no timer work per packet.
    timer: Pin<Box<Sleep>>,
    /// Done when the client's certificate is not good any more.
    barred: Option<BoxFuture<'static, ()>>,
    ended: bool,
}

/// A header whose first bytes have come. It counts only until another request has begun.
struct Header {
    begun_before: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Expired {
    Idle,
    Header,
    Unread,
}

impl<S> Watched<S> {
    pub(super) fn new(
        stream: S,
        activity: Arc<Activity>,
        limits: &Limits,
        barred: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self {
            stream,
            activity,
            header_limit: limits.header,
            idle_limit: limits.keep_alive,
            stall_limit: limits.write_stall,
            header: None,
            timer: Box::pin(tokio::time::sleep(
                limits.keep_alive.min(limits.write_stall),
            )),
            barred,
            ended: false,
        }
    }

    /// When the connection has to be closed if nothing happens, and why.
    fn deadline(&self) -> Option<(Instant, Expired)> {
        let moves = self.activity.now();
        match &self.header {
            _ if moves.in_flight > 0 => (self.activity.is_http2()
                && moves.untaken == moves.in_flight)
                .then(|| (moves.changed + self.stall_limit, Expired::Unread)),
            Some(header) if header.begun_before == moves.begun => {
                Some((header.since + self.header_limit, Expired::Header))
            }
            _ => Some((moves.changed + self.idle_limit, Expired::Idle)),
        }
    }

    /// Ready when a clock has run out.
    ///
    /// No deadline can be missed between two looks: each lies at least the shorter of the idle and the
    /// stall limit after the change that set it, or was set on this side, by `bytes_came`.
    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let now = Instant::now();
            // One that has fired is not asked again: it might only say that the task has used up its
            // turn, and a client that never leaves the socket empty would outlive every clock.
            if now < self.timer.deadline() {
                ready!(self.timer.as_mut().poll(cx));
                continue;
            }
            match self.deadline() {
                Some((at, expired)) if at <= now => return Poll::Ready(expired),
                Some((at, _)) => self.timer.as_mut().reset(at),
                None => self
                    .timer
                    .as_mut()
                    .reset(now + self.idle_limit.min(self.stall_limit)),
            }
        }
    }

    /// An error once the client's certificate is barred; from then on, always.
    fn check_bar(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(barred) = &mut self.barred else {
            return Ok(());
        };
        if barred.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        self.barred = Some(futures_util::future::ready(()).boxed());
        self.activity.bar();
        Err(not_good_any_more())
    }

    fn bytes_came(&mut self) {
        if self.activity.is_http2() {
            return;
        }
        let moves = self.activity.now();
        let known = self
            .header
            .as_ref()
            .is_some_and(|header| header.begun_before == moves.begun);
        if moves.in_flight > 0 || known {
            return;
        }
        let since = Instant::now();
        self.header = Some(Header {
            begun_before: moves.begun,
            since,
        });
        let due = since + self.header_limit;
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }
}

/// What a connection and its request bodies end with when the client's certificate is barred.
pub(super) fn not_good_any_more() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the client certificate is not good any more",
    )
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn end(&mut self, cx: &mut Context<'_>, expired: Expired) -> io::Result<()> {
        tracing::debug!(?expired, "connection closed by its clock");
        match expired {
            Expired::Unread => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes nothing of the answers",
                ));
            }
            // As good as the socket lets us in one go; hyper has nothing to write at this point.
            Expired::Header => {
                let mut stream = Pin::new(&mut self.stream);
                if let Poll::Ready(Ok(_)) = stream.as_mut().poll_write(cx, HEADER_TIMEOUT) {
                    let _ = stream.as_mut().poll_flush(cx);
                    let _ = stream.poll_shutdown(cx);
                }
            }
            Expired::Idle => {}
        }
        self.ended = true;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        // First: a sender that never pauses must be cut too.
        this.check_bar(cx)?;
        // Before the clocks: what came in time is served, even when it is us who are late.
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            if buf.filled().len() > before {
                this.bytes_came();
            }
            return read;
        }
        let expired = ready!(this.poll_clocks(cx));
        Poll::Ready(this.end(cx, expired))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_bar(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_bar(cx)?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
