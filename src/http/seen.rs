//! When each device was last here: noted in memory by every request, written down now and then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, header};

use crate::Result;
use crate::catalog::{Catalog, Seen};
use crate::clock::Timestamp;
use crate::tls::{Connection, PeerCert};

/// Certificates that are noted between two writings; the requests of more go unnoted.
const MAX_NOTED: usize = 10_000;
/// Characters that are kept of a User-Agent.
const MAX_CLIENT: usize = 200;

/// Requests of devices that are not written down yet, by certificate: each that is shown has to come into
/// the records, where it can be revoked.
#[derive(Debug, Default)]
pub(crate) struct LastSeen(Mutex<HashMap<String, (String, Seen)>>);

impl LastSeen {
    /// Notes a request of the device with this certificate.
    pub(super) fn note(&self, cert: &PeerCert, connection: &Connection, headers: &HeaderMap) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MAX_NOTED && !noted.contains_key(&cert.fingerprint) {
            return;
        }
        let client = headers
            .get(header::USER_AGENT)
            .map(|agent| String::from_utf8_lossy(agent.as_bytes()))
            .map(|agent| agent.chars().take(MAX_CLIENT).collect());
        let seen = Seen {
            at: Timestamp::now(),
            address: connection.remote.ip().to_canonical().to_string(),
            tls_version: connection.tls_version,
            client,
            fingerprint: cert.fingerprint.clone(),
            serial: cert.serial.clone(),
            der: cert.der.clone(),
        };
        noted.insert(cert.fingerprint.clone(), (cert.name.clone(), seen));
    }

    /// Writes down what was noted.
    pub(crate) async fn write_down(&self, catalog: &Catalog) -> Result<()> {
        let mut noted: Vec<_> = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain()
            .map(|(_, noted)| noted)
            .collect();
        if noted.is_empty() {
            return Ok(());
        }
        // The last request of a device with two certificates is written last.
        noted.sort_by_key(|(_, seen)| seen.at);
        catalog.write(move |tables| tables.note_seen(&noted)).await
    }
}
