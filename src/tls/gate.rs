//! From a TCP accept to an HTTP connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use futures_util::future::{BoxFuture, FutureExt};
use hyper_util::rt::TokioTimer;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::identity::Material;
use super::refusal::{Attempt, Refusal};
use super::request::{Line, Requests};
use super::watched::Watched;
use super::wire::{Heard, Wire};
use super::{Bar, Connection, Error, Identity, Limits, MAX_HEADER_BYTES, Observer, Peer, PeerCert};

/// HTTP/2 streams at the same time on one connection.
const H2_STREAMS: u32 = 128;
/// What one stream may send unread: a second and more of 4K video over a distant link.
const H2_STREAM_WINDOW: u32 = 4 << 20;
/// What all streams of a connection may send unread: the bound on its memory.
const H2_CONNECTION_WINDOW: u32 = 8 << 20;
/// The largest frame. hyper holds one whole; at its default of 16 KiB large uploads cost a third more.
const H2_FRAME: u32 = 64 << 10;
/// What one stream holds of a response that the socket does not take yet.
const H2_SEND_BUFFER: usize = 128 << 10;
/// A dead HTTP/2 peer is noticed after the two together.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long, and for how many bytes, a refused client is listened to, so that the answer or alert is
/// not destroyed by the reset that follows closing a socket with unread data.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// No limit is longer: the sum of a time and a limit must be a time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const USE_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\n\
    content-length: 51\r\n\
    connection: close\r\n\r\n\
    this port speaks TLS, not plain HTTP: use https://\n";

/// The way in. Cheap to clone; clones share the identity, the limits and the connection count.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    material: Arc<ArcSwap<Material>>,
    limits: Limits,
    observer: Arc<dyn Observer>,
    bar: Bar,
    /// Sent to when the bar may say something else than before.
    barring: watch::Sender<()>,
    places: Arc<Semaphore>,
    opened: AtomicU64,
    stopping: watch::Sender<bool>,
}

impl Gate {
    /// A gate with this identity, which takes no certificate that `bar` bars.
    ///
    /// # Errors
    /// When a certificate or key cannot be read, or key and certificate are no pair.
    pub(crate) fn new(
        identity: Identity<'_>,
        limits: Limits,
        observer: Arc<dyn Observer>,
        bar: Bar,
    ) -> Result<Self, Error> {
        let places = limits.max_connections.min(Semaphore::MAX_PERMITS);
        let limits = limits.at_most(LONGEST);
        Ok(Self(Arc::new(Inner {
            material: Arc::new(ArcSwap::from_pointee(Material::read(identity)?)),
            limits,
            observer,
            bar,
            barring: watch::Sender::new(()),
            places: Arc::new(Semaphore::new(places)),
            opened: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
        })))
    }

    /// Replaces the identity for all handshakes from now on. Open connections stay as they are, but for
    /// those whose certificates lead to a root that is not trusted any more: these are cut.
    ///
    /// # Errors
    /// As [`Gate::new`]; the old identity then stays in use.
    pub(crate) fn swap(&self, identity: Identity<'_>) -> Result<(), Error> {
        self.0.material.store(Arc::new(Material::read(identity)?));
        self.bar_again();
        Ok(())
    }

    /// Has every open connection looked at again: those of certificates that are barred now, have ended,
    /// or whose root's time is over are cut.
    pub(crate) fn bar_again(&self) {
        self.0.barring.send_replace(());
    }

    /// Ends connections that have not come to the end of their handshake, and all that come from now
    /// on. Open ones are the business of the handles that [`Gate::serve`] was given, which would wait
    /// for the others too.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Serves `router` on `listener` until `handle` ends it. Each request carries its [`Connection`]
    /// and its [`Drain`](super::drain::Drain) in the extensions.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub(crate) async fn serve(
        &self,
        listener: std::net::TcpListener,
        router: Router,
        handle: Handle<SocketAddr>,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut server = axum_server::from_tcp(listener)?
            .acceptor(Acceptor(self.clone()))
            .handle(handle);
        let http = server.http_builder();
        http.http1()
            // `Watched` has these two limits, apart.
            .header_read_timeout(None)
            // ffmpeg closes behind its last byte. hyper must not take that for a reason to drop the
            // handler which is just storing that upload.
            .half_close(true);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_frame_size(H2_FRAME)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .keep_alive_interval(H2_PING_INTERVAL)
            .keep_alive_timeout(H2_PING_TIMEOUT);
        server.serve(router.into_make_service()).await
    }

    /// Everything up to the first request. A refusal has been reported when this returns it.
    async fn admit(
        self,
        tcp: TcpStream,
        router: Router,
    ) -> io::Result<(Watched<TlsStream<Wire>>, Requests)> {
        let gate = &*self.0;
        let deadline = Instant::now() + gate.limits.handshake;
        let (remote, local) = (tcp.peer_addr()?, tcp.local_addr()?);
        let Ok(place) = Arc::clone(&gate.places).try_acquire_owned() else {
            return Err(gate.refuse(Refusal::limit(remote, gate.limits.max_connections)));
        };
        let mut first = [0];
        match timeout_at(deadline, tcp.peek(&mut first)).await {
            Err(_) => return Err(gate.refuse(Refusal::silent(remote, gate.limits.handshake))),
            Ok(Err(error)) => return Err(gate.refuse(Refusal::io(remote, &error))),
            // A TLS record begins with a number below 25, an HTTP request with its method.
            Ok(Ok(_)) if first[0].is_ascii_uppercase() => {
                let error = gate.refuse(Refusal::plain_http(remote));
                turn_away(tcp).await;
                return Err(error);
            }
            Ok(Ok(_)) => {}
        }
        let activity = Activity::new();
        let heard = Heard::default();
        let stall_limit = gate.limits.write_stall;
        let wire = Wire::new(tcp, Arc::clone(&activity), stall_limit, heard.clone())?;
        let material = gate.material.load();
        let shown = Arc::clone(material.shown());
        let (config, examiner) = material.for_handshake(&gate.bar);
        drop(material);
        let attempt = || Attempt {
            remote,
            local,
            hello: heard.hello(),
            shown: &shown,
        };
        let handshake = TlsAcceptor::from(config).accept(wire).into_fallible();
        let stream = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, wire))) => {
                let verdict = examiner
                    .verdict()
                    .map(|verdict| verdict.map(|it| it.shown()));
                let error = gate.refuse(attempt().failed(&error, verdict));
                linger(wire).await;
                return Err(error);
            }
            Err(_) => return Err(gate.refuse(attempt().late(gate.limits.handshake))),
        };
        let (_, session) = stream.get_ref();
        let peer = match (examiner.verdict(), session.peer_certificates()) {
            (Some(Ok(cert)), Some([leaf, ..])) if cert.der == leaf.as_ref() => {
                Peer::Verified(Arc::clone(cert))
            }
            (None, None) => Peer::Anonymous,
            _ => return Err(gate.refuse(attempt().mixed_up())),
        };
        if session.alpn_protocol() == Some(b"h2") {
            activity.speaks_http2();
        }
        let connection = Connection {
            id: gate.opened.fetch_add(1, Ordering::Relaxed) + 1,
            remote,
            local,
            peer,
            sni: session.server_name().map(Arc::from),
            tls_version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default()
                .into(),
        };
        let barred = match &connection.peer {
            Peer::Verified(cert) => Some(barred(&self.0, Arc::clone(cert))),
            Peer::Anonymous => None,
        };
        let line = Line::open(
            connection,
            Arc::clone(&activity),
            gate.limits.drain,
            Arc::clone(&gate.observer),
            attempt().of_another_name(),
            place,
        );
        let stream = Watched::new(stream, activity, &gate.limits, barred);
        Ok((stream, Requests::new(line, router)))
    }
}

impl Inner {
    /// Reports a refusal. The error only ends the connection: axum-server drops it unseen.
    fn refuse(&self, refusal: Refusal) -> io::Error {
        self.observer.refused(&refusal);
        io::Error::other(refusal.reason)
    }
}

/// Done when the certificate is barred, or its time or that of its root is over.
fn barred(gate: &Arc<Inner>, cert: Arc<PeerCert>) -> BoxFuture<'static, ()> {
    let (mut barring, gate) = (gate.barring.subscribe(), Arc::downgrade(gate));
    async move {
        loop {
            let Some(gate) = gate.upgrade() else {
                return; // it is gone, and the connection with it
            };
            if (gate.bar)(&cert).is_some()
                || cert.has_ended()
                || !gate.material.load().roots().trusts(&cert)
            {
                return;
            }
            drop(gate);
            if barring.changed().await.is_err() {
                return;
            }
        }
    }
    .boxed()
}

/// The gate as axum-server sees it; apart from [`Gate`] so that its types stay in here.
#[derive(Clone)]
struct Acceptor(Gate);

impl Accept<TcpStream, Router> for Acceptor {
    type Stream = Watched<TlsStream<Wire>>;
    type Service = Requests;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, tcp: TcpStream, router: Router) -> Self::Future {
        let gate = self.0.clone();
        async move {
            let mut stopping = gate.0.stopping.subscribe();
            tokio::select! {
                biased;
                admitted = gate.clone().admit(tcp, router) => admitted,
                _ = stopping.wait_for(|stopping| *stopping) => {
                    Err(io::Error::other("the server is stopping"))
                }
            }
        }
        .boxed()
    }
}

/// Tells a client that speaks plain HTTP what is wrong.
async fn turn_away(mut tcp: TcpStream) {
    if let Ok(Ok(())) = timeout(LINGER, tcp.write_all(USE_HTTPS)).await {
        linger(tcp).await;
    }
}

/// Says goodbye and listens for a moment, so that what was written last is read.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let goodbye = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is over.
    let _ = timeout(LINGER, goodbye).await;
}
