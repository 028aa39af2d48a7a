//! The TCP socket under TLS: quick ACKs on the way in, a limit for a client that takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::hello::{ClientHello, MAX_HELLO};

/// How much unsent data the kernel takes before it makes us wait. Without it a slow reader is heard
/// of only after a third of a send buffer of megabytes, and would look as if it had stopped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// How much is written to a client that is gone: the answers to the uploads it left behind, but not a
/// download.
const UNHEARD_BYTES: usize = 64 << 10;
/// How long after its last byte: what it left behind is dealt with by then, and who goes on telling it
/// things, as long as it cares to listen, has to hear that nobody does.
const UNHEARD_TIME: Duration = Duration::from_secs(10);

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
    /// When it last sent something.
    last_read: Instant,
    /// The begin of what the client sends, until the handshake is done.
    heard: Option<Heard>,
    /// Made at the first stall, kept for the next.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

impl Wire {
    pub(super) fn new(
        tcp: TcpStream,
        activity: Arc<Activity>,
        stall_limit: Duration,
        heard: Heard,
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
            last_read: Instant::now(),
            heard: Some(heard),
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

    /// Lets an answer to a client that is gone pass for written, within [`UNHEARD_BYTES`] and
    /// [`UNHEARD_TIME`].
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
                    && self.unheard + bytes <= UNHEARD_BYTES
                    && self.last_read.elapsed() < UNHEARD_TIME =>
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

/// The first message of a client, shared with whoever has to explain why it was refused: the wire itself
/// is gone when a handshake takes too long.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// What the client offered, if that has come.
    pub(super) fn hello(&self) -> Option<ClientHello> {
        ClientHello::read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds bytes as they come. Whether that was all there is to hear.
    fn add(&self, bytes: &[u8]) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HELLO.saturating_sub(held.len());
        held.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        ClientHello::is_all_there(&held)
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
        let before = buf.filled().len();
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.last_read = Instant::now();
        }
        if let Some(heard) = &this.heard
            && heard.add(buf.filled().get(before..).unwrap_or_default())
        {
            this.heard = None;
        }
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
