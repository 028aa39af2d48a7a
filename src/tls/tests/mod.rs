//! A real gate on a loopback port, and clients that behave and misbehave.

mod certs;
mod clients;
mod clocks;
mod drained;
mod gone;
mod handshake;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, Version};
use axum::routing::{get, put};
use axum_server::Handle;
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

use super::drain::Drain;
use super::{Connection, Gate, Limits, Observer, Peer, Refusal};
use certs::{Authority, Cert};

/// The most a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the observer was told, and what handlers noted.
#[derive(Default)]
struct Seen {
    opened: Mutex<Vec<Connection>>,
    closed: Mutex<Vec<u64>>,
    refused: Mutex<Vec<Refusal>>,
    notes: Mutex<Vec<String>>,
}

impl Observer for Seen {
    fn opened(&self, connection: &Connection) {
        self.opened.lock().unwrap().push(connection.clone());
    }

    fn closed(&self, connection: &Connection) {
        self.closed.lock().unwrap().push(connection.id);
    }

    fn refused(&self, refusal: &Refusal) {
        self.refused.lock().unwrap().push(refusal.clone());
    }
}

impl Seen {
    fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap().push(text.into());
    }

    async fn wait_note(&self, text: &str) {
        wait_for(text, || {
            self.notes.lock().unwrap().iter().any(|it| it == text)
        })
        .await;
    }

    async fn wait_closed(&self, count: usize) {
        wait_for("closed connections", || {
            self.closed.lock().unwrap().len() == count
        })
        .await;
    }

    /// The only refusal so far.
    async fn wait_refusal(&self) -> Refusal {
        wait_for("a refusal", || !self.refused.lock().unwrap().is_empty()).await;
        let refused = self.refused.lock().unwrap();
        assert_eq!(refused.len(), 1, "{refused:?}");
        refused[0].clone()
    }
}

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

/// A gate that serves, with the certificates around it.
struct Served {
    addr: SocketAddr,
    gate: Gate,
    seen: Arc<Seen>,
    server_root: Authority,
    device_root: Authority,
    handle: Handle<SocketAddr>,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.task.abort();
    }
}

impl Served {
    fn start() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self::on(listener, change)
    }

    fn on(listener: TcpListener, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let server_root = Authority::new("test server root");
        let device_root = Authority::new("test device root");
        let seen = Arc::new(Seen::default());
        let server = server_root.issue(&Cert::server("localhost"));
        let pems = server.pems(&device_root);
        let gate = Gate::new(
            pems.identity(),
            limits,
            Arc::clone(&seen) as _,
            Arc::new(|_| None),
        )
        .expect("sound identity");
        let addr = listener.local_addr().expect("bound");
        let handle = Handle::new();
        let serving = (gate.clone(), router(Arc::clone(&seen)), handle.clone());
        let task = tokio::spawn(async move {
            let (gate, router, handle) = serving;
            gate.serve(listener, router, handle).await.expect("serves");
        });
        Self {
            addr,
            gate,
            seen,
            server_root,
            device_root,
            handle,
            task,
        }
    }
}

fn router(seen: Arc<Seen>) -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/store", put(store))
        .route("/store-slowly", put(store_slowly))
        .route("/refuse", put(async || StatusCode::FORBIDDEN))
        .route("/refuse-undrained", put(refuse_undrained))
        .route("/time-out", put(time_out))
        .route("/endless", get(endless))
        .route("/trickle", get(trickle))
        .with_state(seen)
}

async fn who(Extension(connection): Extension<Connection>, version: Version) -> String {
    let name = match &connection.peer {
        Peer::Verified(cert) => cert.name.as_str(),
        Peer::Anonymous => "-",
    };
    format!("{} {name} {version:?}", connection.id)
}

async fn store(State(seen): State<Arc<Seen>>, request: Request) -> Result<String, StatusCode> {
    seen.note("store began");
    let mut body = request.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            seen.note("cut");
            return Err(StatusCode::BAD_REQUEST);
        };
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    seen.note(format!("stored {bytes}"));
    Ok(format!("{bytes} bytes"))
}

/// Reads the body, then takes its time to store it.
async fn store_slowly(State(seen): State<Arc<Seen>>, body: Bytes) -> StatusCode {
    seen.note("read");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(seen.closed.lock().unwrap().is_empty());
    seen.note(format!("stored {}", body.len()));
    StatusCode::ACCEPTED
}

async fn refuse_undrained(Extension(drain): Extension<Drain>, _body: Body) -> StatusCode {
    drain.off();
    StatusCode::FORBIDDEN
}

/// Reads the first piece of the body, then finds that the client has stopped.
async fn time_out(body: Body) -> StatusCode {
    let mut body = body;
    let _ = body.frame().await;
    StatusCode::REQUEST_TIMEOUT
}

async fn endless(State(seen): State<Arc<Seen>>) -> Body {
    struct Gone(Arc<Seen>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.note("endless is gone");
        }
    }
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    Body::from_stream(stream::unfold(Gone(seen), move |gone| {
        let piece = piece.clone();
        async move { Some((Ok::<_, std::io::Error>(piece), gone)) }
    }))
}

/// Ten pieces, 60 ms apart.
async fn trickle() -> Body {
    Body::from_stream(stream::unfold(0, |sent| async move {
        if sent == 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        Some((
            Ok::<_, std::io::Error>(Bytes::from_static(b"piece ")),
            sent + 1,
        ))
    }))
}
