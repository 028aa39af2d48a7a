//! Device certificates: made here, or signed for a key that the device has made.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::{Identity, ours, record};
use crate::access::Granted;
use crate::catalog::{Audit, EnrolmentState};
use crate::clock::Timestamp;
use crate::pki::{self, CertName, IssuedCert, Validity};
use crate::workdir::{self, Hierarchy};
use crate::{Error, Kind, Result};

/// What to do where the name has a certificate already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfHeld {
    /// Give that one.
    Keep,
    /// Make another, and refuse the held one when the time to change over has ended.
    Replace,
    /// Say so, unless it is not good any more.
    Refuse,
}

/// What somebody may have a certificate signed by, where it can be taken back while they wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave<'l> {
    /// By an enrolment, with this number.
    Enrolment(i64),
    /// By a certificate that they have already, with this fingerprint.
    Certificate(&'l str),
    /// By nothing besides what was granted.
    Granted,
}

/// A device certificate that was asked for.
pub(crate) struct DeviceCertificate {
    /// Made by this request; otherwise it was there.
    pub(crate) created: bool,
    pub(crate) cert_path: String,
    pub(crate) key_path: Option<String>,
    pub(crate) certificate: String,
    /// The key, when this request made it.
    pub(crate) key_pem: Option<String>,
}

impl Identity {
    /// A device certificate with a key made here.
    pub(crate) async fn make_device(
        &self,
        granted: Granted,
        name: &CertName,
        if_held: IfHeld,
    ) -> Result<DeviceCertificate> {
        let _issuing = self.0.issuing.lock().await;
        // Also where the device signed for it with a key of its own: that certificate is in use.
        if let Some(held) = self.held(name, if_held)? {
            return Ok(held);
        }
        let issued = self
            .authority(Hierarchy::Device)
            .issue_device(name, self.device_validity())
            .map_err(ours)?;
        self.remember_device(&granted, &issued.cert, name, None)
            .await?;
        let (cert_path, key_path) = self.device_files(name);
        workdir::remove(&cert_path)?;
        workdir::write_small(&key_path, &issued.key_pem)?;
        workdir::write_small(&cert_path, &issued.cert.chain_pem)?;
        Ok(self.device_certificate(name, true, issued.cert.cert_pem, Some(issued.key_pem)))
    }

    /// A device certificate for a key that the device has made. With an enrolment it is signed once:
    /// asked again for the same key, as by a device that lost the answer, it gives what was signed.
    pub(crate) async fn sign_device(
        &self,
        granted: Granted,
        name: &CertName,
        csr_pem: &str,
        if_held: IfHeld,
        leave: Leave<'_>,
    ) -> Result<DeviceCertificate> {
        let _issuing = self.0.issuing.lock().await;
        let enrolment = match leave {
            Leave::Enrolment(id) => Some(id),
            Leave::Certificate(fingerprint) => {
                // It may have been revoked since the request began: the next one would outlive that.
                if let Some(barred) = self.barred(fingerprint) {
                    return Err(Error::new(
                        Kind::Forbidden,
                        format!("this client certificate is refused: {}", barred.reason()),
                    ));
                }
                None
            }
            Leave::Granted => None,
        };
        if let Some(id) = enrolment
            && let Some(signed) = self.signed_before(id, csr_pem).await?
        {
            return Ok(self.device_certificate(name, false, signed, None));
        }
        if let Some(held) = self.held(name, if_held)? {
            return Ok(held);
        }
        let issued = self
            .authority(Hierarchy::Device)
            .sign_csr(name, csr_pem, self.device_validity())
            .map_err(theirs)?;
        self.remember_device(&granted, &issued, name, enrolment)
            .await?;
        let (cert_path, key_path) = self.device_files(name);
        if let Some(key) = workdir::read_small(&key_path)?
            && pki::check_pair(&issued.cert_pem, &key).is_err()
        {
            workdir::remove(&key_path)?;
        }
        workdir::write_small(&cert_path, &issued.chain_pem)?;
        Ok(self.device_certificate(name, true, issued.cert_pem, None))
    }

    /// What an enrolment that is used was used for, if that was this key.
    ///
    /// # Errors
    /// [`Kind::Unidentified`] where it was another, or the enrolment is over.
    async fn signed_before(&self, id: i64, csr_pem: &str) -> Result<Option<String>> {
        let over = |why: &str| {
            Err(Error::new(
                Kind::Unidentified,
                format!("this enrolment token {why}: ask for a new one"),
            ))
        };
        let found = self
            .0
            .catalog
            .look_up(move |tables| {
                let enrolment = tables.enrolment(id)?;
                let signed = enrolment.as_ref().and_then(|e| e.certificate.as_deref());
                let signed = signed.map_or(Ok(None), |it| tables.certificate(it))?;
                Ok((enrolment, signed))
            })
            .await?;
        match found {
            (Some(enrolment), _) if enrolment.state == EnrolmentState::Open => Ok(None),
            (Some(enrolment), Some(signed)) if enrolment.state == EnrolmentState::Used => {
                let barred = enrolment
                    .certificate
                    .is_some_and(|fingerprint| self.barred(&fingerprint).is_some());
                if barred || !pki::is_for_key_of(csr_pem, &signed).map_err(theirs)? {
                    return over("was used already");
                }
                let described = pki::describe_cert(&signed).map_err(ours)?;
                Ok(Some(described.public_cert))
            }
            _ => over("is not good any more"),
        }
    }

    /// The certificate that the name has, where that is what is to be answered.
    fn held(&self, name: &CertName, if_held: IfHeld) -> Result<Option<DeviceCertificate>> {
        if if_held == IfHeld::Replace {
            return Ok(None);
        }
        let Some(file) = workdir::read_small(&self.device_files(name).0)? else {
            return Ok(None);
        };
        let held = pki::describe_cert(file.as_bytes()).map_err(ours)?;
        if self.barred(&held.fingerprint_sha256).is_some() {
            return Ok(None);
        }
        let ends = held.validity.not_after;
        match if_held {
            IfHeld::Refuse if ends > OffsetDateTime::now_utc() => Err(Error::new(
                Kind::Conflict,
                format!(
                    "{name:?} has a certificate already, valid until {ends}: have it revoked, or send \
                     ?override=true to replace it",
                    name = name.as_str()
                ),
            )),
            IfHeld::Keep => Ok(Some(self.device_certificate(
                name,
                false,
                held.public_cert,
                None,
            ))),
            IfHeld::Refuse | IfHeld::Replace => Ok(None),
        }
    }

    /// Comes before the files are written: a certificate that is out must be in the records, whenever
    /// the process ends.
    async fn remember_device(
        &self,
        granted: &Granted,
        cert: &IssuedCert,
        name: &CertName,
        enrolment: Option<i64>,
    ) -> Result<()> {
        self.remember_held(name).await?;
        let by = granted.by().clone();
        let issued = record(cert, name.as_str(), Hierarchy::Device, by.who.clone())?;
        let superseded = Timestamp::from(std::time::SystemTime::now() + self.0.renewal_overlap);
        let audit = Audit {
            by,
            what: "certificate-issued",
            subject: name.as_str().to_owned(),
            before: serde_json::Value::Null,
            after: serde_json::json!({
                "serial": cert.serial,
                "fingerprint": cert.fingerprint,
                "not_after": super::timestamp(cert.not_after),
                "enrolment": enrolment,
            }),
        };
        let others = self
            .0
            .catalog
            .write(move |tables| {
                tables.add_device_certificate(&issued, enrolment, superseded, &audit)
            })
            .await?;
        match others {
            Some(others) => {
                self.0.standings.supersede(others, superseded);
                Ok(())
            }
            None => Err(Error::new(
                Kind::Unidentified,
                "this enrolment token is not good any more: ask for a new one",
            )),
        }
    }

    pub(super) fn device_files(&self, name: &CertName) -> (PathBuf, PathBuf) {
        let file = |kind| {
            self.0
                .workdir
                .cert_file(Hierarchy::Device, &format!("{name}.{kind}"))
        };
        (file("pem"), file("key"))
    }

    fn device_validity(&self) -> Validity {
        Validity::from_now(OffsetDateTime::now_utc(), self.0.device_lifetime)
    }

    fn device_certificate(
        &self,
        name: &CertName,
        created: bool,
        certificate: String,
        key_pem: Option<String>,
    ) -> DeviceCertificate {
        let (cert_path, key_path) = self.device_files(name);
        DeviceCertificate {
            created,
            cert_path: cert_path.display().to_string(),
            key_path: key_path.exists().then(|| key_path.display().to_string()),
            certificate,
            key_pem,
        }
    }
}

/// What is wrong with a request for a certificate; ours where it is not the request.
fn theirs(e: pki::Error) -> Error {
    match e {
        pki::Error::Validity(_) | pki::Error::Internal(_) => ours(e),
        e => Error::new(Kind::Invalid, e.to_string()),
    }
}
