//! PEM in, rustls configuration out.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};

use super::peer::{DeviceRoots, Examiner};

/// Application protocols, best first. A client that names none gets HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the server shows and whom it believes. PEM, as it lies on disk.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// The server's certificate, then those between it and the root, if any.
    pub(crate) chain_pem: &'a [u8],
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub(crate) key_pem: &'a [u8],
    /// The roots that device certificates must lead to; one or more.
    pub(crate) device_roots_pem: &'a [u8],
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
        let roots = certificates(identity.device_roots_pem).map_err(Error::DeviceRoots)?;
        let roots = DeviceRoots::new(roots, &provider).map_err(Error::DeviceRoots)?;
        Ok(Self {
            provider,
            certificate: Arc::new(SingleCertAndKey::from(certified)),
            roots: Arc::new(roots),
        })
    }

    /// The configuration of one handshake. Each has its own, around the shared parts, so that the
    /// verdict on the client's certificate has a place where the gate finds it again; rustls itself
    /// only tells that, and with which alert, the handshake failed.
    ///
    /// The client's order of cipher suites is kept: rustls knows no AES-first order that spares the
    /// cameras without AES instructions, which put ChaCha20 first for a reason.
    pub(super) fn for_handshake(&self) -> (Arc<ServerConfig>, Arc<Examiner>) {
        let examiner = Arc::new(Examiner::new(Arc::clone(&self.roots)));
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

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("there is no CERTIFICATE block in it".to_owned());
    }
    Ok(found)
}
