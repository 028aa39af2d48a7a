//! PEM in, rustls configuration out.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::peer::{Bar, DeviceRoots, Examiner, RootSet, date, printable};

/// Application protocols, best first. A client that names none gets HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The most names that go into a message.
const MAX_NAMES: usize = 12;

/// What the server shows and whom it believes. PEM, as it lies on disk.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// The server's certificate, then those between it and the root, if any.
    pub(crate) chain_pem: &'a [u8],
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub(crate) key_pem: &'a [u8],
    /// The roots that pavs issues device certificates from; one or more.
    pub(crate) device_roots_pem: &'a [u8],
    /// Other roots that device certificates may lead to.
    pub(crate) more_device_roots: &'a [DeviceAuthority],
    /// The roots of the server's certificate, to tell who confuses the two; may be empty.
    pub(crate) server_roots_pem: &'a [u8],
}

/// Roots of device certificates besides those that pavs issues from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceAuthority {
    /// Goes, with a slash, before the names of its devices. `None`: they are as pavs issued them.
    pub(crate) name: Option<String>,
    /// One or more roots, as PEM.
    pub(crate) roots_pem: String,
    /// Certificates between these and the devices', as PEM; may be empty.
    pub(crate) between_pem: String,
    /// Not trusted from then on.
    pub(crate) until: Option<OffsetDateTime>,
}

/// Why an [`Identity`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server's chain is empty or not PEM.
    #[error("the server certificate cannot be read: {0}")]
    Chain(String),
    /// The private key is missing, not PEM, or of a kind that cannot sign.
    #[error("the server key cannot be read: {0}")]
    Key(String),
    /// Key and certificate do not belong together.
    #[error("the server key is not the key of the server certificate")]
    NotAPair,
    /// The device roots are empty, not PEM, or not certificates.
    #[error("the device root cannot be read: {0}")]
    DeviceRoots(String),
}

/// An [`Identity`], parsed: what every handshake shares.
#[derive(Debug)]
pub(super) struct Material {
    provider: Arc<CryptoProvider>,
    certificate: Arc<dyn ResolvesServerCert>,
    roots: Arc<DeviceRoots>,
    shown: Arc<Shown>,
}

impl Material {
    pub(super) fn read(identity: Identity<'_>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(identity.chain_pem).map_err(Error::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem)
            .map_err(|error| Error::Key(error.to_string()))?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Error::NotAPair,
                rustls::Error::InvalidCertificate(error) => Error::Chain(error.to_string()),
                other => Error::Key(other.to_string()),
            })?;
        let shown =
            Shown::of(certified.cert.first().map_or(&[][..], |leaf| leaf)).map_err(Error::Chain)?;
        let own = certificates(identity.device_roots_pem).map_err(Error::DeviceRoots)?;
        let mut more = Vec::new();
        for authority in identity.more_device_roots {
            more.push(RootSet {
                roots: certificates(authority.roots_pem.as_bytes()).map_err(Error::DeviceRoots)?,
                between: if authority.between_pem.is_empty() {
                    Vec::new()
                } else {
                    certificates(authority.between_pem.as_bytes()).map_err(Error::DeviceRoots)?
                },
                authority: authority.name.clone(),
                until: authority.until,
            });
        }
        let server_roots = certificates(identity.server_roots_pem).unwrap_or_default();
        let roots =
            DeviceRoots::new(own, more, server_roots, &provider).map_err(Error::DeviceRoots)?;
        Ok(Self {
            provider,
            shown: Arc::new(shown),
            certificate: Arc::new(SingleCertAndKey::from(certified)),
            roots: Arc::new(roots),
        })
    }

    /// Whom this server believes.
    pub(super) fn roots(&self) -> &DeviceRoots {
        &self.roots
    }

    /// The certificate that clients see.
    pub(super) fn shown(&self) -> &Arc<Shown> {
        &self.shown
    }

    /// The configuration of one handshake. Each has its own, around the shared parts, so that the
    /// verdict on the client's certificate has a place where the gate finds it again; rustls itself
    /// only tells that, and with which alert, the handshake failed.
    ///
    /// The client's order of cipher suites is kept: rustls knows no AES-first order that spares the
    /// cameras without AES instructions, which put ChaCha20 first for a reason.
    pub(super) fn for_handshake(&self, bar: &Bar) -> (Arc<ServerConfig>, Arc<Examiner>) {
        let examiner = Arc::new(Examiner::new(Arc::clone(&self.roots), Arc::clone(bar)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(Arc::clone(&examiner) as _)
            .with_cert_resolver(Arc::clone(&self.certificate));
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        // No resumption in either version; see the module's documentation.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        (Arc::new(config), examiner)
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("there is no CERTIFICATE block in it".to_owned());
    }
    Ok(found)
}

/// The server's certificate as clients judge it.
#[derive(Debug)]
pub(super) struct Shown {
    der: CertificateDer<'static>,
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

impl Shown {
    fn of(leaf: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|e| e.to_string())?;
        let mut names = Vec::new();
        if let Ok(Some(extension)) = certificate.subject_alternative_name() {
            for name in &extension.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push(printable(name)),
                    GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        Ok(Self {
            der: CertificateDer::from(leaf.to_vec()),
            names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    /// Whether a client that asks for `name` finds it in the certificate.
    pub(super) fn covers_name(&self, name: &str) -> bool {
        // A final dot is not part of what is compared.
        ServerName::try_from(name.trim_end_matches('.')).is_ok_and(|name| self.covers(&name))
    }

    /// Whether a client that connects to `ip` finds it in the certificate.
    pub(super) fn covers_ip(&self, ip: IpAddr) -> bool {
        self.covers(&ServerName::from(ip.to_canonical()))
    }

    fn covers(&self, name: &ServerName<'_>) -> bool {
        ParsedCertificate::try_from(&self.der)
            .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
    }

    /// The names in it, for people.
    pub(super) fn names(&self) -> String {
        match self.names.as_slice() {
            [] => "none".to_owned(),
            names => {
                let mut text = names
                    .iter()
                    .take(MAX_NAMES)
                    .map(String::as_str)
                    .collect::<Vec<_>>();
                if names.len() > MAX_NAMES {
                    text.push("…");
                }
                text.join(", ")
            }
        }
    }

    /// From when until when it is valid, and what time it is here, for people.
    pub(super) fn validity(&self) -> String {
        format!(
            "from {} until {}, by the clock of this machine it is {}",
            date(self.not_before),
            date(self.not_after),
            date(OffsetDateTime::now_utc().unix_timestamp())
        )
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let ip = <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()?;
    Some(ip.to_string())
}
