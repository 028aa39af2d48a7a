//! Certificates that verify and are not taken: revoked ones, and those that another has replaced.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Identity, ours};
use crate::access::Granted;
use crate::catalog::{Audit, Catalog, CertificateRow, Which};
use crate::clock::Timestamp;
use crate::pki::{self, Authority, CertName};
use crate::tls::Barred;
use crate::workdir::{self, Hierarchy};
use crate::{Error, Kind, Result};

/// How long a revocation list may be used.
const LIST_LIFE: time::Duration = time::Duration::days(7);
/// After this time it is made anew when it is asked for, changed or not.
const LIST_FRESH: time::Duration = time::Duration::DAY;
/// Certificates that have ended stay on the list for as long as one list may be used.
const LISTED_AFTER_END: time::Duration = LIST_LIFE;

/// The barred certificates by fingerprint, in memory: every handshake and every request asks.
#[derive(Debug)]
pub(super) struct Standings {
    barred: RwLock<HashMap<String, Since>>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    Revoked,
    Superseded(Timestamp),
}

impl Standings {
    pub(super) async fn load(catalog: &Catalog) -> Result<Self> {
        let rows = catalog.read(|tables| tables.barred_certificates()).await?;
        // Also those that have ended: a clock that was ahead at the start and is set right later would bring
        // them back.
        let barred = rows.into_iter().filter_map(|row| {
            let since = match (row.revoked, row.superseded) {
                (Some(_), _) => Since::Revoked,
                (None, Some(from)) => Since::Superseded(from),
                (None, None) => return None,
            };
            Some((row.fingerprint, since))
        });
        Ok(Self {
            barred: RwLock::new(barred.collect()),
            changed: watch::Sender::new(()),
        })
    }

    fn of(&self, fingerprint: &str) -> Option<Barred> {
        match self.read().get(fingerprint)? {
            Since::Revoked => Some(Barred::Revoked),
            Since::Superseded(from) => (*from <= Timestamp::now()).then_some(Barred::Superseded),
        }
    }

    pub(super) fn supersede(&self, fingerprints: Vec<String>, from: Timestamp) {
        let mut barred = self.write();
        for fingerprint in fingerprints {
            barred.entry(fingerprint).or_insert(Since::Superseded(from));
        }
    }

    fn revoke(&self, rows: &[CertificateRow]) {
        let mut barred = self.write();
        for row in rows {
            barred.insert(row.fingerprint.clone(), Since::Revoked);
        }
        drop(barred);
        self.changed.send_replace(());
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Since>> {
        self.barred.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Since>> {
        self.barred.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A revocation list that was made.
pub(super) struct List {
    /// The root that has signed it, PEM.
    root: String,
    /// What it was made of.
    content: Vec<(String, pki::Revoked)>,
    made: OffsetDateTime,
    der: Vec<u8>,
}

impl Identity {
    /// Why the device certificate with this fingerprint is not taken, if it is not.
    pub(crate) fn barred(&self, fingerprint: &str) -> Option<Barred> {
        self.0.standings.of(fingerprint)
    }

    /// Told of every revocation.
    pub(crate) fn revocations(&self) -> watch::Receiver<()> {
        self.0.standings.changed.subscribe()
    }

    /// Revokes certificates for good. Gives those that were good until now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such certificate, [`Kind::Conflict`] when a serial number is that
    /// of several.
    pub(crate) async fn revoke(
        &self,
        granted: Granted,
        which: Which,
    ) -> Result<Vec<CertificateRow>> {
        let _issuing = self.0.issuing.lock().await;
        if let Which::Name(name) = &which
            && let Ok(name) = CertName::parse(name)
        {
            self.remember_held(&name).await?;
        }
        let by = granted.by().clone();
        let asked_one = matches!(which, Which::One(_));
        let (asked, revoked) = (which.clone(), which);
        let (known, revoked) = self
            .0
            .catalog
            .write(move |tables| {
                let known = tables.device_certificates(&asked, 2)?;
                // Each authority counts its own: a serial number may be that of two devices.
                if matches!(asked, Which::One(_)) && known.len() > 1 {
                    return Ok((known, Vec::new()));
                }
                let revoked = tables.revoke(&revoked)?;
                for row in &revoked {
                    tables.add_audit(&Audit {
                        by: by.clone(),
                        what: "certificate-revoked",
                        subject: row.name.clone(),
                        before: serde_json::Value::Null,
                        after: serde_json::json!({
                            "serial": row.serial,
                            "fingerprint": row.fingerprint,
                        }),
                    })?;
                }
                Ok((known, revoked))
            })
            .await?;
        match (asked_one, known.as_slice()) {
            (_, []) => {
                return Err(Error::new(
                    Kind::NotFound,
                    "there is no such device certificate: name the device, or a serial number or fingerprint",
                ));
            }
            (true, [one, other]) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "that is the serial number of certificates of {:?} and {:?}: name one by its fingerprint, such as {}",
                        one.name, other.name, one.fingerprint
                    ),
                ));
            }
            _ => {}
        }
        self.0.standings.revoke(&revoked);
        for row in &revoked {
            tracing::warn!(name = %row.name, serial = %row.serial, by = %granted.by().who, "certificate revoked");
            self.remove_files_of(row)?;
        }
        Ok(revoked)
    }

    /// A certificate that lies among the devices' and was not issued here is revoked and replaced as the
    /// others are.
    pub(super) async fn remember_held(&self, name: &CertName) -> Result<()> {
        let Some(file) = workdir::read_small(&self.device_files(name).0)? else {
            return Ok(());
        };
        // What cannot be read no device can show.
        let (Ok(held), Ok(der)) = (
            pki::describe_cert(file.as_bytes()),
            pki::cert_der(file.as_bytes()),
        ) else {
            return Ok(());
        };
        let name = name.as_str().to_owned();
        let serial = held.serial_number.trim_start_matches("0x").to_owned();
        self.0
            .catalog
            .write(move |tables| tables.add_shown(&held.fingerprint_sha256, &name, &serial, &der))
            .await
    }

    /// The files of a name, if they are those of this certificate. The certificate stays in the records.
    fn remove_files_of(&self, row: &CertificateRow) -> Result<()> {
        let Ok(name) = CertName::parse(&row.name) else {
            return Ok(());
        };
        let (cert_path, key_path) = self.device_files(&name);
        let Some(file) = workdir::read_small(&cert_path)? else {
            return Ok(());
        };
        if pki::cert_der(file.as_bytes()).is_ok_and(|der| der == row.der) {
            workdir::remove(&cert_path)?;
            workdir::remove(&key_path)?;
        }
        Ok(())
    }

    /// The list of the device root, and the last ones of those it has replaced that are trusted still; DER.
    pub(crate) async fn revocation_lists(&self) -> Result<Vec<Vec<u8>>> {
        let mut lists = vec![self.revocation_list().await?];
        let old = self.old_roots(Hierarchy::Device);
        lists.extend(old.into_iter().filter_map(|root| root.list));
        Ok(lists)
    }

    /// The list of the device root's certificates that are not taken any more; DER.
    pub(crate) async fn revocation_list(&self) -> Result<Vec<u8>> {
        let mut list = self.0.list.lock().await;
        let now = OffsetDateTime::now_utc();
        let root = self.authority(Hierarchy::Device);
        let content = self.listed(Arc::clone(&root), now).await?;
        if let Some(list) = &*list
            && list.root == root.cert_pem()
            && list.content == content
            && (list.made..list.made + LIST_FRESH).contains(&now)
        {
            return Ok(list.der.clone());
        }
        let der = self
            .sign_list(&root, &content, now, now + LIST_LIFE)
            .await?;
        *list = Some(List {
            root: root.cert_pem().to_owned(),
            content,
            made: now,
            der: der.clone(),
        });
        Ok(der)
    }

    /// The last list of a root that is about to be replaced. It may be used for as long as that one is
    /// trusted: nobody can sign another one.
    pub(super) async fn last_list(
        &self,
        root: &Arc<Authority>,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<u8>> {
        let content = self.listed(Arc::clone(root), now).await?;
        self.sign_list(root, &content, now, until).await
    }

    async fn sign_list(
        &self,
        root: &Authority,
        content: &[(String, pki::Revoked)],
        now: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Result<Vec<u8>> {
        let number = self
            .0
            .catalog
            .write(|tables| tables.next_revocation_list())
            .await?;
        let revoked: Vec<pki::Revoked> = content.iter().map(|(_, entry)| entry.clone()).collect();
        let der = root
            .sign_list(&pki::ListContent {
                number: u64::try_from(number).unwrap_or_default(),
                this_update: now,
                next_update,
                revoked: &revoked,
            })
            .map_err(ours)?;
        tracing::info!(number, entries = content.len(), "revocation list made");
        Ok(der)
    }

    /// What belongs on the list of this root now, by fingerprint.
    async fn listed(
        &self,
        root: Arc<Authority>,
        now: OffsetDateTime,
    ) -> Result<Vec<(String, pki::Revoked)>> {
        let rows = self
            .0
            .catalog
            .read(|tables| tables.barred_certificates())
            .await?;
        workdir::blocking(move || {
            let listed = rows.into_iter().filter_map(|row| {
                let (since, superseded) = match (row.revoked, row.superseded) {
                    (Some(since), _) => (since, false),
                    (None, Some(since)) => (since, true),
                    (None, None) => return None,
                };
                let since = moment(since)?;
                let end = match row.not_after {
                    Some(end) => moment(end)?,
                    None => pki::describe_cert(&row.der).ok()?.validity.not_after,
                };
                // Saturating: devices that are made to last have certificates until the last moment there is.
                let is_listed = since <= now
                    && end.saturating_add(LISTED_AFTER_END) > now
                    && root.has_issued(&row.der);
                let entry = pki::Revoked {
                    serial: row.serial,
                    since,
                    superseded,
                };
                is_listed.then_some((row.fingerprint, entry))
            });
            Ok(listed.collect())
        })
        .await
    }
}

fn moment(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_micros()) * 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{self, Action, Principal};
    use crate::config::Access;
    use crate::identity::{IfHeld, Leave, Names, Settings};
    use crate::workdir::Workdir;
    use std::time::Duration;

    async fn identity(dir: &tempfile::TempDir) -> Identity {
        let workdir = Workdir::open(Some(dir.path())).unwrap();
        let catalog = Catalog::open(&workdir.catalog_file().unwrap()).unwrap();
        let day = Duration::from_secs(86_400);
        let settings = Settings {
            device_lifetime: 365 * day,
            renewal_overlap: day,
            public_url: None,
            server_lifetime: 365 * day,
            device_ca: Vec::new(),
            server_cert: None,
        };
        Identity::open(workdir, catalog, Names::new(&[], &[]), settings)
            .await
            .unwrap()
    }

    async fn granted(identity: &Identity, action: Action) -> Granted {
        let from = std::net::Ipv4Addr::LOCALHOST.into();
        let admin = Principal::Admin(None);
        access::may(
            &identity.0.catalog,
            Access::Closed,
            &admin,
            from,
            action,
            None,
        )
        .await
        .unwrap()
    }

    fn request() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[tokio::test]
    async fn a_renewal_that_waited_for_a_revocation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity(&dir).await;
        let name = CertName::parse("cam-1").unwrap();
        let issue = granted(&identity, Action::IssueCertificates).await;
        let held = identity
            .make_device(issue, &name, IfHeld::Replace)
            .await
            .unwrap();
        let held = pki::describe_cert(held.certificate.as_bytes()).unwrap();
        let renew = async || {
            let leave = Leave::Certificate(&held.fingerprint_sha256);
            let granted = granted(&identity, Action::SignOwn).await;
            identity
                .sign_device(granted, &name, &request(), IfHeld::Replace, leave)
                .await
        };
        assert!(renew().await.is_ok(), "the old one is good for a while");
        let revoke = granted(&identity, Action::Revoke).await;
        let revoked = identity.revoke(revoke, Which::Name("cam-1".to_owned()));
        assert_eq!(revoked.await.unwrap().len(), 2);
        // It was asked before that what the device may do.
        let refused = renew().await.err().unwrap();
        assert_eq!(refused.kind(), Kind::Forbidden);
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_at_the_start_brings_no_revoked_certificate_back() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.sqlite3")).unwrap();
        let issued = crate::catalog::Issued {
            fingerprint: "f".repeat(64),
            name: "cam-1".to_owned(),
            serial: "5".to_owned(),
            hierarchy: "device",
            by: "admin".to_owned(),
            not_after: Timestamp::from_micros(0),
            der: Vec::new(),
        };
        let which = Which::Name("cam-1".to_owned());
        catalog
            .write(move |tables| {
                tables.add_issued(&issued)?;
                tables.revoke(&which)
            })
            .await
            .unwrap();
        let standings = Standings::load(&catalog).await.unwrap();
        assert_eq!(standings.of(&"f".repeat(64)), Some(Barred::Revoked));
    }
}
