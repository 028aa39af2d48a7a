//! The TCP socket under TLS: quick ACKs on the way in, a limit for a client that takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// How much unsent data the kernel takes before it makes us wait. Without it a slow reader is heard
/// of only after a third of a send buffer of megabytes, and would look as if it had stopped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// How much is written to a client that is gone: the answers to the uploads it left behind, but not a
/// download.
const UNHEARD_BYTES: usize = 64 << 10;

/// A TCP connection, from accept to close.
#[derive(Debug)]
pub(super) struct Wire {
    tcp: TcpStream,
    activity: Arc<Activity>,
    stall_limit: Duration,
    /// The last read found nothing.
    waits: bool,
    /// Bytes written to a client that is gone.
    unheard: usize,
    /// Made at the first stall, kept for the next.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

impl Wire {
    pub(super) fn new(
        tcp: TcpStream,
        activity: Arc<Activity>,
        stall_limit: Duration,
    ) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self {
            tcp,
            activity,
            stall_limit,
            waits: false,
            unheard: 0,
            stall: None,
            stalled: false,
        })
    }

    /// Acknowledges what has arrived now instead of up to 40 ms later.
    ///
    /// ffmpeg (5.1 to 9.0) closes its socket behind its last byte without waiting for an answer. What
    /// Nagle's algorithm still holds back for a delayed ACK at that moment dies with the connection,
    /// and that is its last object. The kernel leaves this mode by itself, so it is set time and again.
    fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&self.tcp).set_tcp_quickack(true) {
            tracing::debug!(%error, "cannot set TCP_QUICKACK");
        }
    }

    /// Lets an answer to a client that is gone pass for written, within [`UNHEARD_BYTES`].
    ///
    /// ffmpeg sends its last objects over one connection and closes it without waiting for answers.
    /// The answer to the first then meets a closed socket, while the others are here already, unread.
    /// If the write failed, so would the connection, and they would be lost. What is left to read is
    /// read; behind it comes the end of the connection.
    fn speak_on(
        &mut self,
        written: Poll<io::Result<usize>>,
        bytes: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) && !self.activity.is_http2()
                    && self.unheard + bytes <= UNHEARD_BYTES =>
            {
                self.unheard += bytes;
                Poll::Ready(Ok(bytes))
            }
            written => written,
        }
    }

    /// Passes on what a write came to; fails it when the client has taken nothing for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = false;
            return written;
        }
        let limit = self.stall_limit;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.stalled {
            self.stalled = true;
            stall.as_mut().reset(Instant::now() + limit);
        }
        ready!(stall.as_mut().poll(cx));
        tracing::debug!(?limit, "connection cut: the client takes nothing");
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client takes nothing of the answer",
        )))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // On waking up, and when everything is read: between the two the kernel keeps up by itself, and
        // the call would cost a bulk upload several percent.
        if this.waits {
            this.acknowledge();
        }
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if read.is_pending() && !this.waits {
            this.acknowledge();
        }
        this.waits = read.is_pending();
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, buf);
        let written = this.speak_on(written, buf.len());
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        let written = this.speak_on(written, bufs.iter().map(|buf| buf.len()).sum());
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
