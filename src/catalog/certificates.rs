//! Certificates: those issued here, and others that a peer has shown.

use rusqlite::{OptionalExtension, Row};

use super::{Audit, EventKind, Tables};
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

/// A device's certificate, as it stands.
#[derive(Clone, Debug)]
pub(crate) struct CertificateRow {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) serial: String,
    /// When it was issued here; `None`: it was not.
    pub(crate) issued: Option<Timestamp>,
    /// `None`: not issued here, see `der`.
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) revoked: Option<Timestamp>,
    /// From when on it is refused, as another has taken its place.
    pub(crate) superseded: Option<Timestamp>,
    pub(crate) der: Vec<u8>,
}

/// Which certificates are meant.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// All of a device.
    Name(String),
    /// The one with this serial number, or with this fingerprint.
    One(String),
}

const COLUMNS: &str = "fingerprint, name, serial, issued, not_after, revoked, superseded, der";

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

    /// Remembers a device's new certificate: the enrolment that it was made for is used, its others are
    /// refused from `superseded` on. `None`, and nothing is done, where the enrolment is not open any
    /// more; else the fingerprints of the others.
    pub(crate) fn add_device_certificate(
        &self,
        issued: &Issued,
        enrolment: Option<i64>,
        superseded: Timestamp,
        audit: &Audit,
    ) -> rusqlite::Result<Option<Vec<String>>> {
        if let Some(id) = enrolment
            && !self.use_enrolment(id, &issued.fingerprint, &audit.by.from)?
        {
            return Ok(None);
        }
        let others = self
            .0
            .prepare_cached(
                "UPDATE certificate SET superseded = ? WHERE hierarchy = 'device' AND name = ? \
                 AND revoked IS NULL AND superseded IS NULL RETURNING fingerprint",
            )?
            .query_map((superseded.as_micros(), &issued.name), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.add_issued(issued)?;
        self.add_audit(audit)?;
        Ok(Some(others))
    }

    /// Revokes device certificates from now on; those that were not revoked yet.
    pub(crate) fn revoke(&self, which: &Which) -> rusqlite::Result<Vec<CertificateRow>> {
        let (condition, value) = match which {
            Which::Name(name) => ("name = ?2", name),
            Which::One(id) => ("(serial = ?2 OR fingerprint = ?2)", id),
        };
        // The root has a name that no device can have, and is no device's to lose.
        self.0
            .prepare_cached(&format!(
                "UPDATE certificate SET revoked = ?1 WHERE hierarchy = 'device' AND name <> 'root' \
                 AND revoked IS NULL AND {condition} RETURNING {COLUMNS}"
            ))?
            .query_map((Timestamp::now().as_micros(), value), certificate)?
            .collect()
    }

    /// Device certificates that are meant, newest first.
    pub(crate) fn device_certificates(
        &self,
        which: &Which,
        limit: usize,
    ) -> rusqlite::Result<Vec<CertificateRow>> {
        let (condition, value) = match which {
            Which::Name(name) => ("name = ?1", name),
            Which::One(id) => ("(serial = ?1 OR fingerprint = ?1)", id),
        };
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM certificate WHERE hierarchy = 'device' AND name <> 'root' \
                 AND {condition} ORDER BY issued DESC LIMIT ?2"
            ))?
            .query_map(
                (value, i64::try_from(limit).unwrap_or(i64::MAX)),
                certificate,
            )?
            .collect()
    }

    /// Device certificates that are revoked or superseded, or will be superseded.
    pub(crate) fn barred_certificates(&self) -> rusqlite::Result<Vec<CertificateRow>> {
        self.0
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM certificate WHERE hierarchy = 'device' \
                 AND (revoked IS NOT NULL OR superseded IS NOT NULL) ORDER BY fingerprint"
            ))?
            .query_map((), certificate)?
            .collect()
    }

    /// A number for a revocation list, above all that were given.
    pub(crate) fn next_revocation_list(&self) -> rusqlite::Result<i64> {
        self.0.execute(
            "INSERT INTO revocation_list (made) VALUES (?)",
            (Timestamp::now().as_micros(),),
        )?;
        let number = self.0.last_insert_rowid();
        // The number alone is needed again.
        self.0
            .execute("DELETE FROM revocation_list WHERE number < ?", (number,))?;
        Ok(number)
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

fn certificate(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    let time = |index| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(index)?
            .map(Timestamp::from_micros))
    };
    Ok(CertificateRow {
        fingerprint: row.get(0)?,
        name: row.get(1)?,
        serial: row.get(2)?,
        issued: time(3)?,
        not_after: time(4)?,
        revoked: time(5)?,
        superseded: time(6)?,
        der: row.get(7)?,
    })
}
