//! Roots that were replaced, and certificates that end soon.

use rusqlite::Row;
use serde::Serialize;

use super::{EventKind, Tables};
use crate::clock::Timestamp;

/// A root that another one has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldRoot {
    pub(crate) fingerprint: String,
    /// `server` or `device`.
    pub(crate) hierarchy: String,
    pub(crate) pem: String,
    /// A certificate for the key of the root that replaced it, signed with its own; PEM.
    pub(crate) between: Option<String>,
    /// Trusted until then.
    pub(crate) until: Timestamp,
    /// Until then the server shows a certificate of this root.
    pub(crate) switch: Option<Timestamp>,
    /// Of a device root: the last revocation list that it signed, DER.
    pub(crate) list: Option<Vec<u8>>,
}

/// A certificate that ends soon and has no successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Expiring {
    pub(crate) hierarchy: String,
    pub(crate) name: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
    pub(crate) not_after: Timestamp,
}

/// Old roots that are remembered, newest first: also those that are not trusted any more, to say so.
const MAX_OLD_ROOTS: i64 = 32;

impl Tables<'_> {
    pub(crate) fn add_old_root(&self, old: &OldRoot) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT OR REPLACE INTO old_root (fingerprint, hierarchy, pem, between_pem, until, switch, list) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                &old.fingerprint,
                &old.hierarchy,
                &old.pem,
                &old.between,
                old.until.as_micros(),
                old.switch.map(Timestamp::as_micros),
                &old.list,
            ))?;
        Ok(())
    }

    /// Old roots of both hierarchies, those replaced last first.
    pub(crate) fn old_roots(&self) -> rusqlite::Result<Vec<OldRoot>> {
        self.0
            .prepare_cached(
                "SELECT fingerprint, hierarchy, pem, between_pem, until, switch, list FROM old_root \
                 ORDER BY id DESC LIMIT ?",
            )?
            .query_map((MAX_OLD_ROOTS,), |row: &Row<'_>| {
                Ok(OldRoot {
                    fingerprint: row.get(0)?,
                    hierarchy: row.get(1)?,
                    pem: row.get(2)?,
                    between: row.get(3)?,
                    until: Timestamp::from_micros(row.get(4)?),
                    switch: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                    list: row.get(6)?,
                })
            })?
            .collect()
    }

    /// The newest certificate of each name where it is valid now and ends before `then`, by its end.
    pub(crate) fn expiring(
        &self,
        now: Timestamp,
        then: Timestamp,
    ) -> rusqlite::Result<Vec<Expiring>> {
        self.0
            .prepare_cached(
                "SELECT hierarchy, name, serial, fingerprint, not_after FROM certificate AS this \
                 WHERE issued IS NOT NULL AND revoked IS NULL AND not_after > ?1 AND not_after <= ?2 \
                 AND NOT EXISTS (SELECT 1 FROM certificate AS newer WHERE newer.hierarchy = this.hierarchy \
                 AND newer.name = this.name AND newer.issued > this.issued) ORDER BY not_after",
            )?
            .query_map((now.as_micros(), then.as_micros()), |row| {
                Ok(Expiring {
                    hierarchy: row.get(0)?,
                    name: row.get(1)?,
                    serial: row.get(2)?,
                    fingerprint: row.get(3)?,
                    not_after: Timestamp::from_micros(row.get(4)?),
                })
            })?
            .collect()
    }

    /// Records that certificates end soon.
    pub(crate) fn add_expiring(&self, all: &[Expiring]) -> rusqlite::Result<()> {
        for one in all {
            let detail = serde_json::to_string(one).unwrap_or_default();
            self.add_event(
                EventKind::CertificateExpiring,
                None,
                None,
                None,
                Some(&detail),
            )?;
        }
        Ok(())
    }
}
