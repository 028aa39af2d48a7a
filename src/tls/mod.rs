//! TLS: who may connect, who is on the other end, and how long a silent connection is kept.
//!
//! A [`Gate`] owns everything between the TCP accept and the request: the connection limit, the
//! handshake and its deadline, the check of the client's certificate, the clocks hyper does not have,
//! and the draining of bodies nobody wanted. What it learnt of the other end is a [`Connection`] in
//! the extensions of every request.
//!
//! ```text
//!  TcpStream ── Wire ── TlsStream ── Watched ── hyper ── Requests ── axum::Router
//!               │                    │                   │
//!               quick ACKs,          header, idle and    Connection into the extensions,
//!               write stall,         stuck-h2 clocks     bodies drained,
//!               clients gone                             ffmpeg answered late
//! ```
//!
//! The three share one [`activity::Activity`]: what the connection is doing right now decides which
//! clock runs. Only this module names rustls. It knows nothing of the CA, the routes or the catalogue.
//!
//! # Clients that close without waiting for an answer
//!
//! ffmpeg does, and whatever it sent is to be stored. Four things see to that: hyper's `half_close`
//! (the handler of an upload that is here lives on), a wire that lets the answer to nobody pass for
//! written (the uploads behind it are read), answers to ffmpeg held back for a moment (see `request`),
//! and quick ACKs. The last helps clients that do the same and are not ffmpeg.
//!
//! # Sessions are not resumed
//!
//! A resumed session skips the certificate check, so a device whose certificate has expired, or
//! whose root was replaced by [`Gate::swap`], would stay welcome for as long as it has a ticket. And
//! the tickets themselves cost some GnuTLS clients the tail of their upload. A full handshake with
//! P-256 keys costs about 0.3 ms; that is cheaper than the surprise.

pub(crate) mod drain;

mod activity;
pub(crate) mod client;
mod gate;
mod hello;
mod identity;
mod peer;
mod pinned;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
mod watched;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use gate::Gate;
pub(crate) use hello::{ClientHello, version_name};
pub(crate) use identity::{DeviceAuthority, Error, Identity};
pub(crate) use peer::{Bar, Barred, Peer, PeerCert, ShownCert};
pub(crate) use refusal::{Cause, Refusal, RefusalKind};
pub(crate) use request::header_bytes;

/// The most bytes the header section of a request may have, names, values and target together.
///
/// HTTP/2 enforces it here (`431` from the h2 crate). For HTTP/1.1 hyper's own end is far off: it
/// answers `431` when a head outgrows its read buffer (408 KiB, and what the allocator gave besides; the
/// client may see a reset, as the rest is not read) or has more than 100 fields, and `414` above 65,534
/// bytes of target. That buffer is what makes uploads cheap, so it stays, and the
/// `http` layer compares [`header_bytes`] with this.
pub(crate) const MAX_HEADER_BYTES: usize = 32 << 10;

/// How many connections, and how long each may do nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at the same time, handshakes included. One more is closed unanswered.
    pub(crate) max_connections: usize,
    /// From the TCP accept to the end of the TLS handshake.
    pub(crate) handshake: Duration,
    /// HTTP/1.1: from the first byte of a request's header section to its last.
    pub(crate) header: Duration,
    /// From the end of the last request (or of the handshake) to the first byte of the next one; on
    /// HTTP/2 to the next request, whatever PINGs are answered meanwhile.
    pub(crate) keep_alive: Duration,
    /// For how long a client may take no byte of what is waiting for it.
    pub(crate) write_stall: Duration,
    /// What is read of a body after the handler answered without it.
    pub(crate) drain: drain::Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            keep_alive: Duration::from_secs(120),
            write_stall: Duration::from_secs(120),
            drain: drain::Budget::default(),
        }
    }
}

impl Limits {
    /// The same with no time longer than `longest`.
    fn at_most(mut self, longest: Duration) -> Self {
        for time in [
            &mut self.handshake,
            &mut self.header,
            &mut self.keep_alive,
            &mut self.write_stall,
            &mut self.drain.time,
        ] {
            *time = longest.min(*time);
        }
        self
    }
}

/// One accepted connection: in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Counts from 1 over the life of the [`Gate`].
    pub(crate) id: u64,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// The address the client reached us under.
    pub(crate) local: SocketAddr,
    /// Who proved to be on the other end.
    pub(crate) peer: Peer,
    /// The server name the client asked for, if it did.
    pub(crate) sni: Option<Arc<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) tls_version: &'static str,
    /// The IANA name of the cipher suite, such as `TLS13_AES_128_GCM_SHA256` (rustls' spelling).
    pub(crate) cipher: Arc<str>,
}

/// TLS settings of a client that knows its server by this very certificate (PEM), whatever its names and
/// whoever issued it, and shows none itself.
///
/// # Errors
/// When there is no certificate in the text.
pub(crate) fn client(certificate_pem: &[u8]) -> Result<rustls::ClientConfig, Error> {
    pinned::client(certificate_pem)
}

/// Cipher suites by their IANA names (rustls' spelling), those without one by their number.
pub(crate) fn cipher_names(ciphers: &[u16]) -> Vec<String> {
    let name = |suite: &u16| match rustls::CipherSuite::from(*suite).as_str() {
        Some(name) => name.to_owned(),
        None => format!("0x{suite:04x}"),
    };
    ciphers.iter().map(name).collect()
}

/// Key exchange groups by their names, those without one by their number.
pub(crate) fn group_names(groups: &[u16]) -> Vec<String> {
    let name = |group: &u16| match rustls::NamedGroup::from(*group).as_str() {
        Some(name) => name.to_owned(),
        None => format!("0x{group:04x}"),
    };
    groups.iter().map(name).collect()
}

/// Is told of every connection. Called on the runtime: it must not block.
pub(crate) trait Observer: Send + Sync {
    /// The handshake is done.
    fn opened(&self, connection: &Connection);
    /// The socket and every request of the connection are gone.
    fn closed(&self, connection: &Connection);
    /// A connection that never opened. Nobody else logs this.
    fn refused(&self, refusal: &Refusal);
}
