//! Who is on the other end, or why we do not want to know them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// The most characters of a foreign name that go into a message.
const MAX_NAME_CHARS: usize = 200;

/// Who is on the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// A device: its certificate leads to a device root and it proved to have the key.
    Verified(Arc<PeerCert>),
    /// It showed no certificate. (One that is not good enough ends the handshake.)
    Anonymous,
}

/// A verified client certificate.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PeerCert {
    /// The certificate itself.
    pub(crate) der: Vec<u8>,
    /// Its common name, the last one if there are several: the name pavs issued it under. A
    /// certificate without one is known by `sha256:` and its fingerprint.
    pub(crate) name: String,
    /// Serial number, lower-case hexadecimal, without leading zero bytes.
    pub(crate) serial: String,
    /// SHA-256 of the certificate, 64 lower-case hexadecimal digits.
    pub(crate) fingerprint: String,
}

impl fmt::Debug for PeerCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCert")
            .field("name", &self.name)
            .field("serial", &self.serial)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl PeerCert {
    fn new(der: &[u8], certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let fingerprint = hex(digest(&SHA256, der).as_ref());
        let name = match certificate.subject().iter_common_name().last() {
            Some(name) => name
                .as_str()
                .map_err(|_| "its common name is no text pavs can read")?
                .to_owned(),
            None => format!("sha256:{fingerprint}"),
        };
        Ok(Self {
            der: der.to_vec(),
            name,
            serial: serial(certificate),
            fingerprint,
        })
    }
}

/// The roots that device certificates must lead to.
#[derive(Debug)]
pub(super) struct DeviceRoots {
    webpki: Arc<dyn ClientCertVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl DeviceRoots {
    pub(super) fn new(
        roots: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| error.to_string())?;
        }
        let webpki =
            WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
                .allow_unauthenticated()
                // Without a list of names every client sends the certificate it has. With one, GnuTLS
                // (Debian's ffmpeg) keeps a certificate of another root to itself, and nobody learns
                // why the camera is nobody.
                .clear_root_hint_subjects()
                .build()
                .map_err(|error| error.to_string())?;
        Ok(Self { webpki, roots })
    }

    /// The peer that may call itself the owner of `leaf`, or why not.
    fn examine(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PeerCert, Unfit> {
        let certificate = match X509Certificate::from_der(leaf) {
            Ok(([], certificate)) => certificate,
            Ok(_) => return Err(Unfit::unreadable("bytes follow it")),
            Err(error) => return Err(Unfit::unreadable(&error.to_string())),
        };
        let unfit = |error, why: &str| Unfit {
            error,
            reason: format!("{} is refused: {why}", describe(&certificate)),
        };
        // A root without basic constraints would pass as its own leaf.
        if self.roots.iter().any(|root| root.as_ref() == leaf.as_ref()) {
            return Err(unfit(
                CertificateError::InvalidPurpose,
                "it is the device root itself; give each device a certificate of its own and keep the root's key here",
            ));
        }
        if let Err(error) = self.webpki.verify_client_cert(leaf, between, now) {
            let (error, why) = self.explain(error, &certificate);
            return Err(unfit(error, &why));
        }
        // For webpki a certificate without any extended key usage is good for everything.
        let purposes = certificate.extended_key_usage().ok().flatten();
        if !purposes.is_some_and(|purposes| purposes.value.client_auth) {
            return Err(unfit(CertificateError::InvalidPurpose, WRONG_PURPOSE));
        }
        PeerCert::new(leaf, &certificate).map_err(|why| unfit(CertificateError::BadEncoding, &why))
    }

    /// What webpki's verdict means for whoever set up the device.
    fn explain(
        &self,
        error: rustls::Error,
        certificate: &X509Certificate<'_>,
    ) -> (CertificateError, String) {
        let rustls::Error::InvalidCertificate(error) = error else {
            return (CertificateError::BadEncoding, error.to_string());
        };
        let why = match &error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "a certificate in its chain has expired (this one is valid until {}, now it is {}); issue a new one, or set this machine's clock",
                date(certificate.validity().not_after.timestamp()),
                date(OffsetDateTime::now_utc().unix_timestamp()),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
                "a certificate in its chain is not valid yet (this one is valid from {}, now it is {}); set the clock of this machine, or of the one that issued it",
                date(certificate.validity().not_before.timestamp()),
                date(OffsetDateTime::now_utc().unix_timestamp()),
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if self.is_named_like_a_root(certificate.issuer()) =>
            {
                "its issuer has the name of the device root here but another key, so the root was made anew since; issue a new certificate".to_owned()
            }
            CertificateError::UnknownIssuer => {
                "it does not lead to a device root of this server; use a certificate that this server issued, and send those between it and the root with it".to_owned()
            }
            CertificateError::BadSignature => {
                "a signature in its chain is wrong; issue a new certificate".to_owned()
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                WRONG_PURPOSE.to_owned()
            }
            CertificateError::BadEncoding => "it is malformed; issue a new one".to_owned(),
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                "its chain is signed in a way that is not supported; use P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits with SHA-256, SHA-384 or SHA-512".to_owned()
            }
            _ if certificate.is_ca() => {
                return (
                    CertificateError::InvalidPurpose,
                    "it is the certificate of an authority, not of a device; issue one for the device".to_owned(),
                );
            }
            other => format!("{other}; issue a new certificate"),
        };
        (error, why)
    }

    fn is_named_like_a_root(&self, name: &X509Name<'_>) -> bool {
        self.roots.iter().any(|root| {
            X509Certificate::from_der(root)
                .is_ok_and(|(_, root)| root.subject().as_raw() == name.as_raw())
        })
    }
}

const WRONG_PURPOSE: &str = "it is not made for clients (its extended key usage does not name clientAuth); issue a device certificate";

/// A client certificate that ends the handshake.
#[derive(Debug)]
struct Unfit {
    /// Decides which alert the client gets.
    error: CertificateError,
    reason: String,
}

impl Unfit {
    fn unreadable(why: &str) -> Self {
        Self {
            error: CertificateError::BadEncoding,
            reason: format!(
                "the client certificate cannot be read ({}); issue a new one",
                printable(why)
            ),
        }
    }
}

/// The verifier of one handshake, which remembers its verdict.
#[derive(Debug)]
pub(super) struct Examiner {
    roots: Arc<DeviceRoots>,
    verdict: OnceLock<Result<Arc<PeerCert>, String>>,
}

impl Examiner {
    pub(super) fn new(roots: Arc<DeviceRoots>) -> Self {
        Self {
            roots,
            verdict: OnceLock::new(),
        }
    }

    /// The client's certificate or why it is refused; `None` when it showed none.
    pub(super) fn verdict(&self) -> Option<Result<&Arc<PeerCert>, &str>> {
        self.verdict
            .get()
            .map(|verdict| verdict.as_ref().map_err(String::as_str))
    }
}

impl ClientCertVerifier for Examiner {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.roots.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.roots.examine(leaf, between, now) {
            Ok(cert) => {
                let _ = self.verdict.set(Ok(Arc::new(cert)));
                Ok(ClientCertVerified::assertion())
            }
            Err(Unfit { error, reason }) => {
                let _ = self.verdict.set(Err(reason));
                Err(error.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .webpki
            .verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .webpki
            .verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.webpki.supported_verify_schemes()
    }
}

fn describe(certificate: &X509Certificate<'_>) -> String {
    format!(
        "the client certificate (subject \"{}\", issuer \"{}\", serial {})",
        printable(&certificate.subject().to_string()),
        printable(&certificate.issuer().to_string()),
        printable(&serial(certificate)),
    )
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    let bytes = certificate.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    hex(&bytes[zeros.min(bytes.len().saturating_sub(1))..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` on one line of bounded length, whatever a stranger wrote into it.
fn printable(text: &str) -> String {
    let mut chars = text.chars();
    let mut kept: String = chars
        .by_ref()
        .take(MAX_NAME_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if chars.next().is_some() {
        kept.push('…');
    }
    kept
}

fn date(unix_seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{unix_seconds} s after 1970"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    use super::*;

    /// A root, and a leaf of it with this common name.
    fn made(name: &str) -> (DeviceRoots, CertificateDer<'static>) {
        let key = || KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, key()).expect("a root");
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key(), &root).expect("a leaf");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = DeviceRoots::new(vec![root.der().clone()], &provider).expect("a root");
        (roots, leaf.der().clone())
    }

    #[test]
    fn names_of_strangers_stay_on_one_short_line() {
        let (_, leaf) = made(&format!("cam\n{}", "x".repeat(1000)));
        let (roots, _) = made("another");
        let unfit = roots.examine(&leaf, &[], UnixTime::now()).unwrap_err();
        assert!(!unfit.reason.contains('\n'), "{}", unfit.reason);
        assert!(unfit.reason.len() < 1000, "{}", unfit.reason);
    }

    #[test]
    fn bytes_behind_a_certificate_make_it_unreadable() {
        let (roots, leaf) = made("cam-1");
        let longer = CertificateDer::from([leaf.as_ref(), b"x"].concat());
        let unfit = roots.examine(&longer, &[], UnixTime::now()).unwrap_err();
        assert_eq!(unfit.error, CertificateError::BadEncoding);
    }

    #[test]
    fn a_changed_certificate_is_never_good() {
        let (roots, leaf) = made("cam-1");
        assert!(roots.examine(&leaf, &[], UnixTime::now()).is_ok());
        let last = leaf.len() - 1;
        proptest!(|(at in 0..=last, flip in 1..=u8::MAX, cut in 0..=last)| {
            let mut changed = leaf.to_vec();
            changed[at] ^= flip;
            let changed = CertificateDer::from(changed);
            prop_assert!(roots.examine(&changed, &[], UnixTime::now()).is_err());
            let cut = CertificateDer::from(leaf[..cut].to_vec());
            prop_assert!(roots.examine(&cut, &[], UnixTime::now()).is_err());
        });
    }
}
