//! Certificates: those issued here, and others that a peer has shown.

use rusqlite::OptionalExtension;

use super::{EventKind, Tables};
use crate::clock::Timestamp;

/// A certificate that was issued here.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) serial: String,
    pub(crate) hierarchy: &'static str,
    /// Who asked for it: `device NAME`, `admin`, `loopback ADDRESS`, …
    pub(crate) by: String,
    pub(crate) not_after: Timestamp,
    pub(crate) der: Vec<u8>,
}

impl Tables<'_> {
    /// Remembers a certificate that was issued here.
    pub(crate) fn add_issued(&self, issued: &Issued) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO certificate (fingerprint, name, serial, hierarchy, issued, issued_by, \
                 not_after, der) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                &issued.fingerprint,
                &issued.name,
                &issued.serial,
                issued.hierarchy,
                Timestamp::now().as_micros(),
                &issued.by,
                issued.not_after.as_micros(),
                &issued.der,
            ))?;
        self.add_event(
            EventKind::CertificateIssued,
            None,
            None,
            None,
            Some(&issued.name),
        )
    }

    /// Remembers a certificate that a peer has shown, unless it is known.
    pub(crate) fn add_shown(
        &self,
        fingerprint: &str,
        name: &str,
        serial: &str,
        der: &[u8],
    ) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT OR IGNORE INTO certificate (fingerprint, name, serial, hierarchy, der) \
                 VALUES (?, ?, ?, 'device', ?)",
            )?
            .execute((fingerprint, name, serial, der))?;
        Ok(())
    }

    /// The certificate with this fingerprint, as DER.
    pub(crate) fn certificate(&self, fingerprint: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        self.0
            .prepare_cached("SELECT der FROM certificate WHERE fingerprint = ?")?
            .query_row((fingerprint,), |row| row.get(0))
            .optional()
    }
}
