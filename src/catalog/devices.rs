//! Devices: what is known of each, besides its certificates and streams.

use rusqlite::{OptionalExtension, Row};

use super::Tables;
use crate::clock::Timestamp;
use crate::names::StreamId;

/// A device's last request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Timestamp,
    pub(crate) address: String,
    pub(crate) tls_version: &'static str,
    /// Its User-Agent.
    pub(crate) client: Option<String>,
    /// The certificate that it showed.
    pub(crate) fingerprint: String,
    pub(crate) serial: String,
    pub(crate) der: Vec<u8>,
}

/// What is known of a device. Most of it is nothing before it has sent a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) seen: Option<Timestamp>,
    pub(crate) address: Option<String>,
    pub(crate) tls_version: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) uploads: i64,
    /// Uploads with at least one error.
    pub(crate) errors: i64,
}

/// Names that somebody has, or was given leave to have.
const NAMES: &str = "SELECT name FROM device UNION \
     SELECT name FROM certificate WHERE hierarchy = 'device' AND name <> 'root' UNION \
     SELECT name FROM enrolment UNION \
     SELECT owner FROM stream WHERE owner IS NOT NULL AND NOT deleted";

impl Tables<'_> {
    /// Devices with names behind `after`, in the order of their names' bytes.
    pub(crate) fn devices(&self, after: &str, limit: usize) -> rusqlite::Result<Vec<Device>> {
        self.0
            .prepare_cached(&format!(
                "SELECT n.name, d.seen, d.address, d.tls_version, d.client, d.uploads, d.errors \
                 FROM ({NAMES}) n LEFT JOIN device d ON d.name = n.name \
                 WHERE n.name > ? ORDER BY n.name LIMIT ?"
            ))?
            .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), device)?
            .collect()
    }

    /// The device of this name.
    pub(crate) fn device(&self, name: &str) -> rusqlite::Result<Option<Device>> {
        self.0
            .prepare_cached(&format!(
                "SELECT n.name, d.seen, d.address, d.tls_version, d.client, d.uploads, d.errors \
                 FROM ({NAMES}) n LEFT JOIN device d ON d.name = n.name WHERE n.name = ?"
            ))?
            .query_row((name,), device)
            .optional()
    }

    /// The newest streams that belong to a device, in order.
    pub(crate) fn streams_of(&self, name: &str, limit: usize) -> rusqlite::Result<Vec<StreamId>> {
        let mut streams: Vec<StreamId> = self
            .0
            .prepare_cached(
                "SELECT id FROM stream WHERE owner = ? AND NOT deleted ORDER BY id DESC LIMIT ?",
            )?
            .query_map((name, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
                row.get(0).map(StreamId)
            })?
            .collect::<rusqlite::Result<_>>()?;
        streams.reverse();
        Ok(streams)
    }

    /// Remembers the last requests of devices, and the certificates they showed: not all were issued here.
    pub(crate) fn note_seen(&self, seen: &[(String, Seen)]) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached(
            "INSERT INTO device (name, seen, address, tls_version, client) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, address = excluded.address, \
             tls_version = excluded.tls_version, client = excluded.client",
        )?;
        for (name, seen) in seen {
            self.add_shown(&seen.fingerprint, name, &seen.serial, &seen.der)?;
            statement.execute((
                name,
                seen.at.as_micros(),
                &seen.address,
                seen.tls_version,
                &seen.client,
            ))?;
        }
        Ok(())
    }
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        name: row.get(0)?,
        seen: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
        address: row.get(2)?,
        tls_version: row.get(3)?,
        client: row.get(4)?,
        uploads: row.get::<_, Option<i64>>(5)?.unwrap_or(0),
        errors: row.get::<_, Option<i64>>(6)?.unwrap_or(0),
    })
}
