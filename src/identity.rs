//! The server's two hierarchies as they lie in the working directory, and what is issued from them.
//!
//! `pki` makes certificates out of bytes, `workdir` stores files, `catalog` remembers; this module is
//! where they meet. A `.key` never lies beside a certificate that is not its pair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use time::OffsetDateTime;

use crate::catalog::{Catalog, Issued};
use crate::clock::Timestamp;
use crate::pki::{self, Authority, CertName, IssuedCert, ServerNames, Validity};
use crate::workdir::{self, Hierarchy, Workdir};
use crate::{Error, Kind, Result};

/// Life of the server's own certificate.
const SERVER_LIFETIME: time::Duration = time::Duration::days(730);
/// Name of the server's own certificate, and of its files.
const SERVER_NAME: &str = "localhost";

/// The hierarchies, ready to issue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Identity(Arc<Inner>);

struct Inner {
    workdir: Workdir,
    catalog: Catalog,
    server: Authority,
    device: Authority,
    device_lifetime: time::Duration,
    names: Names,
    /// Files of one name change together.
    issuing: tokio::sync::Mutex<()>,
}

/// The names under which the server may be reached.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) dns: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
}

impl Names {
    /// Localhost, the host's own name, and what the configuration adds.
    pub(crate) fn new(dns: &[String], ips: &[IpAddr]) -> Self {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let mut all = Self {
            dns: vec![SERVER_NAME.to_owned()],
            ips: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        };
        let usable = |name: &String| !name.is_empty() && name.is_ascii() && !name.contains('_');
        for name in std::iter::once(&host)
            .filter(|name| usable(name))
            .chain(dns)
        {
            if !all.dns.iter().any(|held| held.eq_ignore_ascii_case(name)) {
                all.dns.push(name.clone());
            }
        }
        for ip in ips {
            if !all.ips.contains(ip) {
                all.ips.push(*ip);
            }
        }
        all
    }
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
    /// Opens both hierarchies, making what is missing, and renews the server's certificate when less
    /// than half of its life is left or its names have changed.
    pub(crate) async fn open(
        workdir: Workdir,
        catalog: Catalog,
        names: Names,
        device_lifetime: std::time::Duration,
    ) -> Result<Self> {
        let server = open_root(&workdir, &catalog, Hierarchy::Server).await?;
        let device = open_root(&workdir, &catalog, Hierarchy::Device).await?;
        let identity = Self(Arc::new(Inner {
            workdir,
            catalog,
            server,
            device,
            device_lifetime: time::Duration::try_from(device_lifetime)
                .map_err(|e| Error::internal("the device validity is out of range", e))?,
            names,
            issuing: tokio::sync::Mutex::new(()),
        }));
        identity.renew_server().await?;
        Ok(identity)
    }

    /// Root of the server's certificate, as PEM: what a device must trust.
    pub(crate) fn server_root(&self) -> &str {
        self.0.server.cert_pem()
    }

    /// Root of the devices' certificates, as PEM.
    pub(crate) fn device_root(&self) -> &str {
        self.0.device.cert_pem()
    }

    /// Certificate chain and key of the server, as PEM.
    pub(crate) fn server_material(&self) -> Result<(String, String)> {
        let read = |name: String| {
            let path = self.0.workdir.cert_file(Hierarchy::Server, &name);
            workdir::read_small(&path)?
                .ok_or_else(|| Error::new(Kind::Internal, format!("{} is missing", path.display())))
        };
        Ok((
            read(format!("{SERVER_NAME}.pem"))?,
            read(format!("{SERVER_NAME}.key"))?,
        ))
    }

    /// A device certificate with a key made here.
    pub(crate) async fn make_device(
        &self,
        name: &CertName,
        replace: bool,
        by: String,
    ) -> Result<DeviceCertificate> {
        let _issuing = self.0.issuing.lock().await;
        let (cert_path, key_path) = self.device_files(name);
        // Also where the device signed for it with a key of its own: that certificate is in use.
        if let Some(held) = workdir::read_small(&cert_path)?.filter(|_| !replace) {
            return self.held_certificate(name, &held);
        }
        let issued = self
            .0
            .device
            .issue_device(name, self.device_validity())
            .map_err(ours)?;
        self.remember(&issued.cert, name.as_str(), Hierarchy::Device, by)
            .await?;
        workdir::remove(&cert_path)?;
        workdir::write_small(&key_path, &issued.key_pem)?;
        workdir::write_small(&cert_path, &issued.cert.chain_pem)?;
        Ok(self.device_certificate(name, true, issued.cert.cert_pem, Some(issued.key_pem)))
    }

    /// A device certificate for a key that the device has made.
    pub(crate) async fn sign_device(
        &self,
        name: &CertName,
        csr_pem: &str,
        replace: bool,
        by: String,
    ) -> Result<DeviceCertificate> {
        let _issuing = self.0.issuing.lock().await;
        let (cert_path, key_path) = self.device_files(name);
        if let Some(held) = workdir::read_small(&cert_path)?.filter(|_| !replace) {
            return self.held_certificate(name, &held);
        }
        let issued = self
            .0
            .device
            .sign_csr(name, csr_pem, self.device_validity())
            .map_err(|e| match e {
                pki::Error::Validity(_) | pki::Error::Internal(_) => ours(e),
                e => Error::new(Kind::Invalid, e.to_string()),
            })?;
        self.remember(&issued, name.as_str(), Hierarchy::Device, by)
            .await?;
        if let Some(key) = workdir::read_small(&key_path)?
            && pki::check_pair(&issued.cert_pem, &key).is_err()
        {
            workdir::remove(&key_path)?;
        }
        workdir::write_small(&cert_path, &issued.chain_pem)?;
        Ok(self.device_certificate(name, true, issued.cert_pem, None))
    }

    /// File names of both hierarchies, sorted.
    pub(crate) fn list(&self, hierarchy: Hierarchy) -> Result<Vec<String>> {
        self.0.workdir.cert_files(hierarchy)
    }

    /// Text of a certificate file (`NAME.pem`) or key file (`NAME.key`).
    pub(crate) fn read(&self, hierarchy: Hierarchy, file: &str) -> Result<String> {
        let missing = || {
            Error::new(
                Kind::NotFound,
                format!(
                    "there is no {file:?} among the {} certificates",
                    hierarchy.as_str()
                ),
            )
        };
        let stem = file
            .strip_suffix(".pem")
            .or_else(|| file.strip_suffix(".key"))
            .ok_or_else(missing)?;
        // The root's name is refused for devices, but the root can be looked at.
        if stem != "root" && CertName::parse(stem).is_err() {
            return Err(missing());
        }
        workdir::read_small(&self.0.workdir.cert_file(hierarchy, file))?.ok_or_else(missing)
    }

    fn device_files(&self, name: &CertName) -> (std::path::PathBuf, std::path::PathBuf) {
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

    fn held_certificate(&self, name: &CertName, file: &str) -> Result<DeviceCertificate> {
        let held = pki::describe_cert(file.as_bytes()).map_err(ours)?;
        Ok(self.device_certificate(name, false, held.public_cert, None))
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

    /// Comes before the files are written: a certificate that is out must be in the records, whenever
    /// the process ends.
    async fn remember(
        &self,
        cert: &IssuedCert,
        name: &str,
        hierarchy: Hierarchy,
        by: String,
    ) -> Result<()> {
        let issued = Issued {
            fingerprint: cert.fingerprint.clone(),
            name: name.to_owned(),
            serial: cert.serial.clone(),
            hierarchy: hierarchy.as_str(),
            by,
            not_after: timestamp(cert.not_after),
            der: pki::cert_der(cert.cert_pem.as_bytes()).map_err(ours)?,
        };
        tracing::info!(name, serial = %issued.serial, by = %issued.by, "certificate issued");
        self.0
            .catalog
            .write(move |tables| tables.add_issued(&issued))
            .await
    }

    /// Makes the server's certificate anew where that is due. Whether it was.
    pub(crate) async fn renew_server(&self) -> Result<bool> {
        let file = |kind| {
            self.0
                .workdir
                .cert_file(Hierarchy::Server, &format!("{SERVER_NAME}.{kind}"))
        };
        let (cert_path, key_path) = (file("pem"), file("key"));
        let now = OffsetDateTime::now_utc();
        if let (Some(cert), Some(key)) = (
            workdir::read_small(&cert_path)?,
            workdir::read_small(&key_path)?,
        ) {
            match self.why_renew(&cert, &key, now) {
                None => return Ok(false),
                Some(why) => tracing::info!("the server certificate is made anew: {why}"),
            }
        }
        let names = ServerNames {
            common_name: CertName::parse(SERVER_NAME).map_err(ours)?,
            dns: self.0.names.dns.clone(),
            ips: self.0.names.ips.clone(),
        };
        let issued = self
            .0
            .server
            .issue_server(&names, Validity::from_now(now, SERVER_LIFETIME))
            .map_err(|e| {
                Error::new(
                    Kind::Invalid,
                    format!("cannot make the server certificate: {e}"),
                )
            })?;
        self.remember(
            &issued.cert,
            SERVER_NAME,
            Hierarchy::Server,
            "renewal".to_owned(),
        )
        .await?;
        workdir::remove(&cert_path)?;
        workdir::write_small(&key_path, &issued.key_pem)?;
        workdir::write_small(&cert_path, &issued.cert.chain_pem)?;
        Ok(true)
    }

    /// Why the server's certificate must be made anew; `None` when it is good.
    fn why_renew(&self, cert: &str, key: &str, now: OffsetDateTime) -> Option<&'static str> {
        let Ok(described) = pki::describe_cert(cert.as_bytes()) else {
            return Some("it cannot be read");
        };
        if pki::check_pair(cert, key).is_err() {
            return Some("its key is another one's");
        }
        if !pki::cert_der(cert.as_bytes()).is_ok_and(|der| self.0.server.has_issued(&der)) {
            return Some("it is not signed by the server root");
        }
        let Validity {
            not_before,
            not_after,
        } = described.validity;
        // Where the root itself ends sooner, a new certificate would be no better.
        let ends_with_root = not_after >= self.0.server.validity().not_after;
        if now < not_before
            || now > not_after
            || (!ends_with_root && not_after - now < SERVER_LIFETIME / 2)
        {
            return Some("less than half of its life is left");
        }
        let held = |name: String| described.subject_alt_names.contains(&name);
        let dns = self
            .0
            .names
            .dns
            .iter()
            .map(|name| format!("DNS:{}", name.trim_end_matches('.')));
        let ips = self.0.names.ips.iter().map(|ip| format!("IP:{ip}"));
        if !dns.chain(ips).all(held) {
            return Some("the server has names that are not in it");
        }
        None
    }
}

async fn open_root(
    workdir: &Workdir,
    catalog: &Catalog,
    hierarchy: Hierarchy,
) -> Result<Authority> {
    let (cert_path, key_path) = (
        workdir.cert_file(hierarchy, "root.pem"),
        workdir.cert_file(hierarchy, "root.key"),
    );
    let cert = workdir::read_small(&cert_path)?;
    let mut key = workdir::read_small(&key_path)?;
    if key.is_some() && workdir.cert_files(hierarchy)? == ["root.key"] {
        // A server was killed in its first start, between the key and the certificate. Nothing was ever
        // issued, so nothing is lost with the key.
        tracing::warn!(
            "{} has no certificate, and nothing was issued with it: it is made anew",
            key_path.display()
        );
        key = None;
    }
    match (cert, key) {
        (Some(cert), Some(key)) => Authority::load(&cert, &key).map_err(|e| {
            Error::new(
                Kind::Invalid,
                format!("cannot use {}: {e}", cert_path.display()),
            )
        }),
        (None, None) => {
            let root =
                Authority::generate(hierarchy.as_str(), OffsetDateTime::now_utc()).map_err(ours)?;
            let issued = issued_root(&root, hierarchy)?;
            catalog
                .write(move |tables| tables.add_issued(&issued))
                .await?;
            workdir::write_small(&key_path, root.key_pem())?;
            workdir::write_small(&cert_path, root.cert_pem())?;
            Ok(root)
        }
        (Some(_), None) => Err(half(&key_path, &cert_path)),
        (None, Some(_)) => Err(half(&cert_path, &key_path)),
    }
}

fn issued_root(root: &Authority, hierarchy: Hierarchy) -> Result<Issued> {
    let described = pki::describe_cert(root.cert_pem().as_bytes()).map_err(ours)?;
    Ok(Issued {
        fingerprint: described.fingerprint_sha256,
        name: "root".to_owned(),
        serial: described.serial_number.trim_start_matches("0x").to_owned(),
        hierarchy: hierarchy.as_str(),
        by: "server".to_owned(),
        not_after: timestamp(root.validity().not_after),
        der: pki::cert_der(root.cert_pem().as_bytes()).map_err(ours)?,
    })
}

fn half(missing: &std::path::Path, there: &std::path::Path) -> Error {
    Error::new(
        Kind::Invalid,
        format!(
            "{} is missing but {} is there: restore it, or remove both to start a new hierarchy",
            missing.display(),
            there.display()
        ),
    )
}

fn ours(e: pki::Error) -> Error {
    Error::internal("a certificate could not be made", e)
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    Timestamp::from_micros(time.unix_timestamp().saturating_mul(1_000_000))
}
