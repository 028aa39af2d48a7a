//! The server's two hierarchies as they lie in the working directory, and what is issued from them.
//!
//! `pki` makes certificates out of bytes, `workdir` stores files, `catalog` remembers; this module is
//! where they meet. A `.key` never lies beside a certificate that is not its pair.

mod ends;
mod enrol;
mod foreign;
mod issue;
mod own;
mod presented;
mod revoke;
mod rotate;
mod tokens;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;

pub(crate) use self::ends::Spoken;
pub(crate) use self::issue::{DeviceCertificate, IfHeld, Leave};
use self::own::OwnCertificate;
pub(crate) use self::presented::{Presented, Trusted};
use self::revoke::Standings;
pub(crate) use self::tokens::Bearer;
use crate::catalog::{Catalog, Issued, OldRoot};
use crate::clock::Timestamp;
use crate::pki::{self, Authority, CertName, IssuedCert, ServerNames, Validity};
use crate::workdir::{self, Hierarchy, Workdir};
use crate::{Error, Kind, Result};

/// Name of the server's own certificate, and of its files.
const SERVER_NAME: &str = "localhost";

/// The hierarchies, ready to issue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Identity(Arc<Inner>);

struct Inner {
    workdir: Workdir,
    catalog: Catalog,
    server: ArcSwap<Authority>,
    device: ArcSwap<Authority>,
    /// Roots that were replaced, those replaced last first.
    old: ArcSwap<Vec<OldRoot>>,
    /// Authorities made elsewhere.
    foreign: Vec<Trusted>,
    /// The server's certificate, where it was made elsewhere.
    own: Option<OwnCertificate>,
    /// Who shows what follows from all this, and what that was last.
    shown: presented::Shown,
    device_lifetime: time::Duration,
    server_lifetime: time::Duration,
    renewal_overlap: Duration,
    public_url: Option<String>,
    names: Names,
    standings: Standings,
    /// The revocation list as it was last made.
    list: tokio::sync::Mutex<Option<revoke::List>>,
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

/// What identities are made by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Life of a device certificate.
    pub(crate) device_lifetime: Duration,
    /// How long earlier certificates of a device stay good.
    pub(crate) renewal_overlap: Duration,
    /// Where the server is reached from outside, without a slash at its end.
    pub(crate) public_url: Option<String>,
    /// Life of the server's own certificate.
    pub(crate) server_lifetime: Duration,
    /// Files of authorities made elsewhere whose devices are taken.
    pub(crate) device_ca: Vec<PathBuf>,
    /// Certificate and key of the server, where they were made elsewhere.
    pub(crate) server_cert: Option<(PathBuf, PathBuf)>,
}

impl Identity {
    /// Opens both hierarchies, making what is missing, and renews the server's certificate when less
    /// than half of its life is left or its names have changed.
    pub(crate) async fn open(
        workdir: Workdir,
        catalog: Catalog,
        names: Names,
        settings: Settings,
    ) -> Result<Self> {
        let server = rotate::recover(&workdir, &catalog, Hierarchy::Server).await?;
        let device = rotate::recover(&workdir, &catalog, Hierarchy::Device).await?;
        let device = device.with_list_url(list_url(settings.public_url.as_deref()));
        let lifetime = |given: Duration| {
            time::Duration::try_from(given)
                .map_err(|e| Error::internal("a certificate's validity is out of range", e))
        };
        let own = settings
            .server_cert
            .map(|(cert, key)| OwnCertificate::open(cert, key))
            .transpose()?;
        let standings = Standings::load(&catalog).await?;
        let identity = Self(Arc::new(Inner {
            workdir,
            catalog,
            server: ArcSwap::from_pointee(server),
            device: ArcSwap::from_pointee(device),
            old: ArcSwap::default(),
            foreign: foreign::load(&settings.device_ca)?,
            own,
            shown: presented::Shown::default(),
            device_lifetime: lifetime(settings.device_lifetime)?,
            server_lifetime: lifetime(settings.server_lifetime)?,
            renewal_overlap: settings.renewal_overlap,
            public_url: settings.public_url,
            names,
            standings,
            list: tokio::sync::Mutex::new(None),
            issuing: tokio::sync::Mutex::new(()),
        }));
        identity.load_old_roots().await?;
        identity.renew_server().await?;
        Ok(identity)
    }

    /// What issues in this hierarchy now.
    fn authority(&self, hierarchy: Hierarchy) -> Arc<Authority> {
        match hierarchy {
            Hierarchy::Server => self.0.server.load_full(),
            Hierarchy::Device => self.0.device.load_full(),
        }
    }

    /// From now on this issues.
    fn take(&self, hierarchy: Hierarchy, root: Authority) {
        match hierarchy {
            Hierarchy::Server => self.0.server.store(Arc::new(root)),
            Hierarchy::Device => {
                let root = root.with_list_url(list_url(self.public_url()));
                self.0.device.store(Arc::new(root));
            }
        }
    }

    /// Where the server is reached from outside, without a slash at its end, if that was said.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.0.public_url.as_deref()
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
        // What a client is to trust is not always what issues: see `server_roots`.
        if (hierarchy, file) == (Hierarchy::Server, "root.pem") {
            return Ok(self.server_roots());
        }
        workdir::read_small(&self.0.workdir.cert_file(hierarchy, file))?.ok_or_else(missing)
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
        let issued = record(cert, name, hierarchy, by)?;
        self.0
            .catalog
            .write(move |tables| tables.add_issued(&issued))
            .await
    }

    /// Makes the server's certificate anew where that is due. Whether it was.
    pub(crate) async fn renew_server(&self) -> Result<bool> {
        let _issuing = self.0.issuing.lock().await;
        self.renew_leaf().await
    }

    /// The same for who holds `issuing`.
    async fn renew_leaf(&self) -> Result<bool> {
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
            .authority(Hierarchy::Server)
            .issue_server(&names, Validity::from_now(now, self.0.server_lifetime))
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
        let root = self.authority(Hierarchy::Server);
        if !pki::cert_der(cert.as_bytes()).is_ok_and(|der| root.has_issued(&der)) {
            return Some("it is not signed by the server root");
        }
        let Validity {
            not_before,
            not_after,
        } = described.validity;
        // Where the root itself ends sooner, a new certificate would be no better.
        let ends_with_root = not_after >= root.validity().not_after;
        if now < not_before
            || now > not_after
            || (!ends_with_root && not_after - now < self.0.server_lifetime / 2)
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

/// The address of the revocation list, for the certificates of devices.
fn list_url(public_url: Option<&str>) -> Option<String> {
    public_url.map(|url| format!("{url}/api/v1/crl.der"))
}

/// A new certificate as it is remembered.
fn record(cert: &IssuedCert, name: &str, hierarchy: Hierarchy, by: String) -> Result<Issued> {
    tracing::info!(name, serial = %cert.serial, by = %by, "certificate issued");
    Ok(Issued {
        fingerprint: cert.fingerprint.clone(),
        name: name.to_owned(),
        serial: cert.serial.clone(),
        hierarchy: hierarchy.as_str(),
        by,
        not_after: timestamp(cert.not_after),
        der: pki::cert_der(cert.cert_pem.as_bytes()).map_err(ours)?,
    })
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
