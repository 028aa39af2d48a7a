//! Certificates that end soon, said in time.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::{Identity, SERVER_NAME, ours, timestamp};
use crate::Result;
use crate::catalog::Expiring;
use crate::clock::Timestamp;
use crate::pki;
use crate::workdir::Hierarchy;

/// How long before its end a certificate is spoken of.
const NOTICE: time::Duration = time::Duration::days(30);
/// The most certificates that get a line of the log each.
const LINES: usize = 20;

/// What was spoken of, and on which day.
#[derive(Default)]
pub(crate) struct Spoken(HashMap<String, i64>);

impl Identity {
    /// Certificates that end within 30 days and that nobody renews by himself: devices without a newer
    /// one, roots, and a server certificate made elsewhere.
    pub(crate) async fn expiring(&self) -> Result<Vec<Expiring>> {
        let now = OffsetDateTime::now_utc();
        let then = now + NOTICE;
        let (from, to) = (timestamp(now), timestamp(then));
        let mut found = self
            .0
            .catalog
            .read(move |tables| tables.expiring(from, to))
            .await?;
        found.retain(|cert| {
            cert.name != "root" && !(cert.hierarchy == "server" && cert.name == SERVER_NAME)
        });
        for hierarchy in [Hierarchy::Server, Hierarchy::Device] {
            let root = self.authority(hierarchy);
            self.add_if_ending(&mut found, hierarchy, "root", root.cert_pem(), then)?;
        }
        if let Some(own) = &self.0.own {
            let name = "--server-cert";
            self.add_if_ending(&mut found, Hierarchy::Server, name, &own.good().chain, then)?;
        }
        Ok(found)
    }

    fn add_if_ending(
        &self,
        found: &mut Vec<Expiring>,
        hierarchy: Hierarchy,
        name: &str,
        pem: &str,
        then: OffsetDateTime,
    ) -> Result<()> {
        let said = pki::describe_cert(pem.as_bytes()).map_err(ours)?;
        if said.validity.not_after <= then {
            found.push(Expiring {
                hierarchy: hierarchy.as_str().to_owned(),
                name: name.to_owned(),
                serial: said.serial_number.trim_start_matches("0x").to_owned(),
                fingerprint: said.fingerprint_sha256,
                not_after: timestamp(said.validity.not_after),
            });
        }
        Ok(())
    }

    /// Says which certificates end soon, in the log and by an event, of each once a day.
    pub(crate) async fn speak_of_ends(&self, spoken: &mut Spoken) -> Result<()> {
        let today = OffsetDateTime::now_utc().unix_timestamp() / 86_400;
        let mut found = self.expiring().await?;
        spoken.0.retain(|_, day| *day == today);
        found.retain(|cert| spoken.0.insert(cert.fingerprint.clone(), today).is_none());
        if found.is_empty() {
            return Ok(());
        }
        for cert in found.iter().take(LINES) {
            let ends = serde_json::to_value(cert.not_after).unwrap_or_default();
            let over = if cert.not_after <= Timestamp::now() {
                "ended"
            } else {
                "ends"
            };
            tracing::warn!(
                hierarchy = %cert.hierarchy,
                name = %cert.name,
                serial = %cert.serial,
                "a certificate {over} at {}: {}",
                ends.as_str().unwrap_or_default(),
                match (cert.hierarchy.as_str(), cert.name.as_str()) {
                    (_, "root") => "make a new root in time (pavs ca rotate)",
                    ("server", _) => "put a new one into the files of --server-cert and --server-key",
                    _ => "have the device sign up for a new one",
                }
            );
        }
        if found.len() > LINES {
            tracing::warn!(
                "{} more certificates end within 30 days",
                found.len() - LINES
            );
        }
        self.0
            .catalog
            .write(move |tables| tables.add_expiring(&found))
            .await
    }
}
