//! Connections and requests that are turned away, on their way into the catalogue.
//!
//! Whoever tells of one does not wait. What comes within a moment is written together; those that are
//! alike become one row with a count; and what is too much is counted and let go, so that a flood
//! costs one small transaction a second.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::catalog::{Catalog, NewRefusal, RefusedCertificate};
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::tls::{self, ClientHello, Connection, Peer, version_name};

/// Refusals that wait to be written.
const WAITING: usize = 256;
/// From the first refusal of a batch to its transaction.
const MOMENT: Duration = Duration::from_millis(250);
/// Rest after a transaction: what comes meanwhile goes into the next.
const REST: Duration = Duration::from_millis(750);
/// How long the last transaction may take when the server stops.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// The most rows of one batch.
const ROWS: usize = 64;
/// The longest path of a request that is kept, in characters.
const MAX_PATH: usize = 200;

/// Causes of refused requests, 401 and 403, as [`tls::Cause`] has those of connections.
pub(crate) const REQUEST_CAUSES: [&str; 2] = ["request-unidentified", "request-forbidden"];

/// Takes refusals. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Refusals {
    sender: mpsc::Sender<Told>,
    stopping: Arc<watch::Sender<bool>>,
    metrics: Arc<Metrics>,
}

enum Told {
    Refusal(Box<NewRefusal>),
    /// Everything before this is written when the other end hears of it.
    Mark(oneshot::Sender<()>),
}

/// A request that was answered 401 or 403.
pub(crate) struct RefusedRequest<'r> {
    pub(crate) connection: &'r Connection,
    pub(crate) method: &'r str,
    /// Without its query.
    pub(crate) path: &'r str,
    pub(crate) status: u16,
    pub(crate) request_id: &'r str,
    /// One sentence.
    pub(crate) reason: String,
}

impl Refusals {
    /// Begins to write what it is told of into `catalog`.
    pub(crate) fn start(catalog: Catalog, metrics: Arc<Metrics>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let stopping = Arc::new(watch::Sender::new(false));
        let stop = stopping.subscribe();
        tokio::spawn(write(catalog, Arc::clone(&metrics), receiver, stop));
        Self {
            sender,
            stopping,
            metrics,
        }
    }

    /// Has everything written that it was told of so far, before the catalogue is closed.
    pub(crate) async fn finish(&self) {
        self.stopping.send_replace(true);
        let (mark, written) = oneshot::channel();
        let finished = async {
            if self.sender.send(Told::Mark(mark)).await.is_ok() {
                let _ = written.await;
            }
        };
        // What the disk does not take by then is not worth a server that does not stop.
        let _ = tokio::time::timeout(LAST_WRITE, finished).await;
    }

    /// A connection that did not come about.
    pub(crate) fn connection(&self, refusal: &tls::Refusal) {
        self.metrics.refused(refusal.cause.as_str());
        // Port scans and health checks would only push out what somebody looks for.
        if refusal.cause.is_noise() {
            return;
        }
        self.tell(NewRefusal {
            at: Timestamp::now(),
            count: 1,
            remote: refusal.remote.to_string(),
            cause: refusal.cause.as_str(),
            reason: refusal.reason.clone(),
            certificate: refusal.certificate.clone().map(certificate),
            hello: refusal.hello.as_ref().map(offered),
            request: None,
        });
    }

    /// A request that its sender may not make.
    pub(crate) fn request(&self, refused: RefusedRequest<'_>) {
        let [unidentified, forbidden] = REQUEST_CAUSES;
        let cause = match refused.status {
            401 => unidentified,
            _ => forbidden,
        };
        self.metrics.refused(cause);
        let shown = match &refused.connection.peer {
            Peer::Verified(cert) => Some(certificate(cert.shown())),
            Peer::Anonymous => None,
        };
        let path: String = refused.path.chars().take(MAX_PATH).collect();
        let request = serde_json::json!({
            "method": refused.method,
            "path": path,
            "status": refused.status,
            "request_id": refused.request_id,
            "tls_version": refused.connection.tls_version,
            "cipher": &*refused.connection.cipher,
            "server_name": refused.connection.sni.as_deref(),
        });
        self.tell(NewRefusal {
            at: Timestamp::now(),
            count: 1,
            remote: refused.connection.remote.to_string(),
            cause,
            reason: refused.reason,
            certificate: shown,
            hello: None,
            request: Some(request.to_string()),
        });
    }

    fn tell(&self, refusal: NewRefusal) {
        let told = Told::Refusal(Box::new(refusal));
        if self.sender.try_send(told).is_err() {
            self.metrics.refusals_dropped(1);
        }
    }
}

/// Ends when nobody is left to tell of anything.
async fn write(
    catalog: Catalog,
    metrics: Arc<Metrics>,
    mut receiver: mpsc::Receiver<Told>,
    mut stop: watch::Receiver<bool>,
) {
    while let Some(first) = receiver.recv().await {
        wait(&mut stop, MOMENT).await;
        let mut batch = Batch::default();
        let mut dropped = 0;
        let mut marks = Vec::new();
        let mut next = Some(first);
        while let Some(told) = next {
            match told {
                Told::Refusal(refusal) => dropped += batch.add(*refusal),
                Told::Mark(mark) => marks.push(mark),
            }
            next = receiver.try_recv().ok();
        }
        metrics.refusals_dropped(dropped);
        let rows = batch.rows;
        if !rows.is_empty()
            && let Err(e) = catalog
                .write(move |tables| tables.add_refusals(&rows))
                .await
        {
            tracing::warn!(error = %e.chain(), "refusals could not be recorded");
        }
        // Each mark is heard of by its end.
        drop(marks);
        wait(&mut stop, REST).await;
    }
}

/// Waits for a while, but not for a server that stops.
async fn wait(stop: &mut watch::Receiver<bool>, time: Duration) {
    let _ = tokio::time::timeout(time, stop.wait_for(|stopping| *stopping)).await;
}

/// What is written together.
#[derive(Default)]
struct Batch {
    rows: Vec<NewRefusal>,
    /// Where those alike are.
    alike: HashMap<Likeness, usize>,
}

/// What makes two refusals one: the same client with the same fault.
#[derive(PartialEq, Eq, Hash)]
struct Likeness {
    address: String,
    cause: &'static str,
    certificate: Option<RefusedCertificate>,
    hello: Option<String>,
    request: Option<(String, String)>,
}

impl Batch {
    /// Adds one, and says how many were let go.
    fn add(&mut self, refusal: NewRefusal) -> u64 {
        match self.alike.entry(Likeness::of(&refusal)) {
            Entry::Occupied(held) => {
                if let Some(row) = self.rows.get_mut(*held.get()) {
                    let count = row.count.saturating_add(refusal.count);
                    *row = NewRefusal { count, ..refusal };
                }
                0
            }
            Entry::Vacant(_) if self.rows.len() >= ROWS => refusal.count,
            Entry::Vacant(place) => {
                place.insert(self.rows.len());
                self.rows.push(refusal);
                0
            }
        }
    }
}

impl Likeness {
    fn of(refusal: &NewRefusal) -> Self {
        // Each attempt comes from another port, and each request has another id.
        let address = match refusal.remote.parse::<SocketAddr>() {
            Ok(remote) => remote.ip().to_string(),
            Err(_) => refusal.remote.clone(),
        };
        let request = refusal.request.as_deref().and_then(|text| {
            let request: serde_json::Value = serde_json::from_str(text).ok()?;
            let word = |key| Some(request.get(key)?.as_str()?.to_owned());
            Some((word("method")?, word("path")?))
        });
        Self {
            address,
            cause: refusal.cause,
            certificate: refusal.certificate.clone(),
            hello: refusal.hello.clone(),
            request,
        }
    }
}

fn certificate(shown: tls::ShownCert) -> RefusedCertificate {
    RefusedCertificate {
        subject: shown.subject,
        issuer: shown.issuer,
        serial: shown.serial,
    }
}

/// What a client offered, by the names that people look for.
fn offered(hello: &ClientHello) -> String {
    let versions: Vec<_> = hello.versions.iter().map(|it| version_name(*it)).collect();
    let hex =
        |list: &[u16]| -> Vec<String> { list.iter().map(|it| format!("0x{it:04x}")).collect() };
    serde_json::json!({
        "server_name": hello.server_name,
        "versions": versions,
        "ciphers": tls::cipher_names(&hello.ciphers),
        "groups": tls::group_names(&hello.groups),
        "signatures": hex(&hello.signatures),
        "protocols": hello.protocols,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(remote: &str, reason: &str) -> NewRefusal {
        NewRefusal {
            at: Timestamp::now(),
            count: 1,
            remote: remote.to_owned(),
            cause: "not-tls",
            reason: reason.to_owned(),
            certificate: None,
            hello: None,
            request: None,
        }
    }

    #[test]
    fn those_alike_are_one_row_and_too_many_are_let_go() {
        let mut batch = Batch::default();
        assert_eq!(batch.add(refusal("192.0.2.1:1", "first")), 0);
        assert_eq!(batch.add(refusal("192.0.2.1:2", "second")), 0);
        assert_eq!(batch.rows.len(), 1);
        assert_eq!((batch.rows[0].count, &*batch.rows[0].reason), (2, "second"));
        let let_go: u64 = (0..100)
            .map(|n| batch.add(refusal(&format!("198.51.100.{n}:1"), "x")))
            .sum();
        assert_eq!(batch.rows.len(), ROWS);
        assert_eq!(let_go, 101 - ROWS as u64);
    }
}
