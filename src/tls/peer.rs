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

use super::refusal::Cause;

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
    /// certificate without one is known by `sha256:` and its fingerprint. With a foreign authority, that
    /// one's name and a slash go before it.
    pub(crate) name: String,
    /// Serial number, lower-case hexadecimal, without leading zero bytes.
    pub(crate) serial: String,
    /// SHA-256 of the certificate, 64 lower-case hexadecimal digits.
    pub(crate) fingerprint: String,
    /// Last moment of its validity.
    not_after: OffsetDateTime,
    /// The roots of the set that it leads to.
    roots: Arc<[CertificateDer<'static>]>,
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
    /// Whether its time is over. That was not so in the handshake, which may be long ago.
    pub(super) fn has_ended(&self) -> bool {
        self.not_after < OffsetDateTime::now_utc()
    }

    /// What it says of itself.
    pub(crate) fn shown(&self) -> ShownCert {
        ShownCert::read(&self.der).unwrap_or_else(|| ShownCert {
            subject: self.name.clone(),
            issuer: String::new(),
            serial: self.serial.clone(),
        })
    }

    fn new(
        der: &[u8],
        certificate: &X509Certificate<'_>,
        set: &DeviceRoot,
    ) -> Result<Self, String> {
        let authority = set.authority.as_deref();
        let fingerprint = hex(digest(&SHA256, der).as_ref());
        let name = match certificate.subject().iter_common_name().last() {
            Some(name) => name
                .as_str()
                .map_err(|_| "its common name is no text pavs can read")?
                .to_owned(),
            None => format!("sha256:{fingerprint}"),
        };
        // A name with a slash is that of a foreign authority's device, up to the first one; no
        // certificate of ours may pass for one.
        let name = match authority {
            Some(_)
                if name.chars().any(char::is_control) || name.chars().count() > MAX_NAME_CHARS =>
            {
                return Err(format!(
                    "its common name is no name: use up to {MAX_NAME_CHARS} characters, none of them for control"
                ));
            }
            Some(authority) => format!("{authority}/{name}"),
            None if name.contains('/') => {
                return Err(
                    "its common name has a slash, which stands for a foreign authority here; issue one under another name"
                        .to_owned(),
                );
            }
            // The root's own name is nobody else's, here as where pavs issues; records count on that.
            None if name.eq_ignore_ascii_case("root") || name.chars().any(char::is_control) => {
                return Err(
                    "its common name is no name of a device; issue one under another name"
                        .to_owned(),
                );
            }
            None => name,
        };
        Ok(Self {
            der: der.to_vec(),
            name,
            serial: serial(certificate),
            fingerprint,
            not_after: certificate.validity().not_after.to_datetime(),
            roots: Arc::clone(&set.roots),
        })
    }
}

/// Why a certificate that verifies is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// It was revoked.
    Revoked,
    /// Another one has taken its place, and the time for the change is over.
    Superseded,
}

impl Barred {
    /// What happened and what to do about it; continues "the certificate is refused:".
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "it was revoked here; have a new certificate issued",
            Self::Superseded => {
                "a newer certificate has taken its place, and the time to change over has ended; use the newer one"
            }
        }
    }
}

/// Says whether a certificate that verifies is barred. Called on the runtime: it must not block.
pub(crate) type Bar = Arc<dyn Fn(&PeerCert) -> Option<Barred> + Send + Sync>;

/// What a client certificate says of itself, in text for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShownCert {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Lower-case hexadecimal, without leading zero bytes.
    pub(crate) serial: String,
}

impl ShownCert {
    /// `None` for what is no certificate.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self::of(&certificate))
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: printable(&serial(certificate)),
        }
    }
}

/// A set of roots that device certificates may lead to.
#[derive(Debug)]
struct DeviceRoot {
    webpki: Arc<dyn ClientCertVerifier>,
    roots: Arc<[CertificateDer<'static>]>,
    /// What is sent along on behalf of devices that do not send it.
    between: Vec<CertificateDer<'static>>,
    /// Name of a foreign authority, which goes before the names of its devices. `None`: names are as
    /// pavs issued them.
    authority: Option<String>,
    /// Not trusted from then on.
    until: Option<OffsetDateTime>,
}

/// The certificates of one set of roots, for [`DeviceRoots::new`].
pub(super) struct RootSet {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) between: Vec<CertificateDer<'static>>,
    pub(super) authority: Option<String>,
    pub(super) until: Option<OffsetDateTime>,
}

impl DeviceRoot {
    fn new(set: RootSet, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for root in &set.roots {
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
        Ok(Self {
            webpki,
            roots: set.roots.into(),
            between: set.between,
            authority: set.authority,
            until: set.until,
        })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if self.is_over(now) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verified = if self.between.is_empty() {
            self.webpki.verify_client_cert(leaf, between, now)
        } else {
            let all: Vec<_> = between.iter().chain(&self.between).cloned().collect();
            self.webpki.verify_client_cert(leaf, &all, now)
        };
        verified.map(drop)
    }

    fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| is_over(until, now))
    }

    fn has_subject(&self, name: &X509Name<'_>) -> bool {
        self.roots.iter().any(|root| has_subject(root, name))
    }
}

fn is_over(until: OffsetDateTime, now: UnixTime) -> bool {
    u64::try_from(until.unix_timestamp()).is_ok_and(|until| now.as_secs() > until)
}

fn has_subject(root: &CertificateDer<'_>, name: &X509Name<'_>) -> bool {
    X509Certificate::from_der(root).is_ok_and(|(_, root)| root.subject().as_raw() == name.as_raw())
}

/// All roots that device certificates may lead to.
#[derive(Debug)]
pub(super) struct DeviceRoots {
    /// Our own first: what leads there bears the name we issued it under.
    sets: Vec<DeviceRoot>,
    /// Roots of the server's certificate, which devices are given to trust and nothing else.
    server_roots: Vec<CertificateDer<'static>>,
}

impl DeviceRoots {
    /// `own` are the roots that pavs issues from.
    pub(super) fn new(
        own: Vec<CertificateDer<'static>>,
        more: Vec<RootSet>,
        server_roots: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let own = RootSet {
            roots: own,
            between: Vec::new(),
            authority: None,
            until: None,
        };
        let sets = std::iter::once(own)
            .chain(more)
            .map(|set| DeviceRoot::new(set, provider))
            .collect::<Result<_, _>>()?;
        Ok(Self { sets, server_roots })
    }

    /// Whether the roots that a peer's certificate led to in its handshake are trusted still.
    pub(super) fn trusts(&self, peer: &PeerCert) -> bool {
        let now = UnixTime::now();
        self.sets
            .iter()
            .any(|set| set.roots == peer.roots && !set.is_over(now))
    }

    /// The verifier that checks signatures, which is the same for all roots.
    fn webpki(&self) -> &dyn ClientCertVerifier {
        &*self.sets[0].webpki
    }

    /// The peer that may call itself the owner of `leaf`, or why not.
    fn examine(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PeerCert, Box<Unfit>> {
        let certificate = match X509Certificate::from_der(leaf) {
            Ok(([], certificate)) => certificate,
            Ok(_) => return Err(Unfit::unreadable("bytes follow it")),
            Err(error) => return Err(Unfit::unreadable(&error.to_string())),
        };
        let unfit = |error, cause, why: &str| {
            let shown = ShownCert::of(&certificate);
            Box::new(Unfit {
                error,
                cause,
                reason: format!("{} is refused: {why}", describe(&shown)),
                shown: Some(shown),
            })
        };
        // A root without basic constraints would pass as its own leaf.
        let mut roots = self.sets.iter().flat_map(|set| set.roots.iter());
        if roots.any(|root| root.as_ref() == leaf.as_ref()) {
            return Err(unfit(
                CertificateError::InvalidPurpose,
                Cause::CertificateOfAuthority,
                "it is the device root itself; give each device a certificate of its own and keep the root's key here",
            ));
        }
        let mut verdict = CertificateError::UnknownIssuer.into();
        let mut found = None;
        for set in &self.sets {
            match set.verify(leaf, between, now) {
                Ok(()) => {
                    found = Some(set);
                    break;
                }
                // Of several verdicts, that of the root it leads to says most.
                Err(error) if is_unknown_issuer(&verdict) => verdict = error,
                Err(_) => {}
            }
        }
        let Some(set) = found else {
            let (error, cause, why) = self.explain(verdict, &certificate, now);
            return Err(unfit(error, cause, &why));
        };
        // For webpki a certificate without any extended key usage is good for everything.
        let purposes = certificate.extended_key_usage().ok().flatten();
        if !purposes.is_some_and(|purposes| purposes.value.client_auth) {
            return Err(unfit(
                CertificateError::InvalidPurpose,
                Cause::CertificateNotForClients,
                WRONG_PURPOSE,
            ));
        }
        PeerCert::new(leaf, &certificate, set)
            .map_err(|why| unfit(CertificateError::BadEncoding, Cause::CertificateBad, &why))
    }

    /// What webpki's verdict means for whoever set up the device.
    fn explain(
        &self,
        error: rustls::Error,
        certificate: &X509Certificate<'_>,
        now: UnixTime,
    ) -> (CertificateError, Cause, String) {
        let rustls::Error::InvalidCertificate(error) = error else {
            return (
                CertificateError::BadEncoding,
                Cause::CertificateBad,
                error.to_string(),
            );
        };
        let clock = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (cause, why) = match &error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                let end = certificate.validity().not_after.timestamp();
                let since = match clock.checked_sub(end) {
                    Some(over) if over > 0 => format!(" since {}", span(over)),
                    _ => String::new(),
                };
                let why = format!(
                    "a certificate in its chain has expired{since} (this one is valid until {}, by the clock of this machine it is {}); issue a new one, or set this machine's clock",
                    date(end),
                    date(clock),
                );
                (Cause::CertificateExpired, why)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                let begin = certificate.validity().not_before.timestamp();
                let ahead = match begin.checked_sub(clock) {
                    Some(ahead) if ahead > 0 => format!(" for another {}", span(ahead)),
                    _ => String::new(),
                };
                let why = format!(
                    "a certificate in its chain is not valid yet{ahead} (this one is valid from {}, by the clock of this machine it is {}); set the clock of this machine, or of the one that issued it",
                    date(begin),
                    date(clock),
                );
                (Cause::CertificateNotYetValid, why)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if self.is_over(certificate, now) =>
            {
                (
                    Cause::CertificateOfOldRoot,
                    "its root was replaced, and the time in which the old one stayed trusted is over; issue a new certificate".to_owned(),
                )
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if self
                    .sets
                    .iter()
                    .any(|set| set.has_subject(certificate.issuer())) =>
            {
                (
                    Cause::CertificateOfOldRoot,
                    "its issuer has the name of the device root here but another key, so the root was made anew since; issue a new certificate".to_owned(),
                )
            }
            CertificateError::UnknownIssuer
                if self
                    .server_roots
                    .iter()
                    .any(|root| has_subject(root, certificate.issuer())) =>
            {
                (
                    Cause::CertificateOfServerRoot,
                    "it does not lead to a device root of this server: it is issued by the server root, which is only there for the server's own certificate; use a certificate of the device root".to_owned(),
                )
            }
            CertificateError::UnknownIssuer
                if certificate.issuer().as_raw() == certificate.subject().as_raw() =>
            {
                (
                    Cause::CertificateSelfSigned,
                    "it does not lead to a device root of this server: the device has signed it itself; use a certificate that this server issued, or name its authority with --device-ca".to_owned(),
                )
            }
            CertificateError::UnknownIssuer => (
                Cause::CertificateUnknownIssuer,
                "it does not lead to a device root of this server; use a certificate that this server issued, or name its authority with --device-ca, and send those between it and the root with it".to_owned(),
            ),
            CertificateError::BadSignature => (
                Cause::CertificateBad,
                "a signature in its chain is wrong; issue a new certificate".to_owned(),
            ),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                (Cause::CertificateNotForClients, WRONG_PURPOSE.to_owned())
            }
            CertificateError::BadEncoding => (
                Cause::CertificateBad,
                "it is malformed; issue a new one".to_owned(),
            ),
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
                Cause::CertificateBad,
                "its chain is signed in a way that is not supported; use P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits with SHA-256, SHA-384 or SHA-512".to_owned(),
            ),
            _ if certificate.is_ca() => {
                return (
                    CertificateError::InvalidPurpose,
                    Cause::CertificateOfAuthority,
                    "it is the certificate of an authority, not of a device; issue one for the device".to_owned(),
                );
            }
            other => (
                Cause::CertificateBad,
                format!("{other}; issue a new certificate"),
            ),
        };
        (error, cause, why)
    }

    /// Whether it names a root that was trusted until some time ago.
    fn is_over(&self, certificate: &X509Certificate<'_>, now: UnixTime) -> bool {
        self.sets
            .iter()
            .any(|set| set.is_over(now) && set.has_subject(certificate.issuer()))
    }
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// A length of time, to two digits or so.
fn span(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds} seconds"),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

const WRONG_PURPOSE: &str = "it is not made for clients (its extended key usage does not name clientAuth); issue a device certificate";

/// A client certificate that ends the handshake.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Decides which alert the client gets.
    error: CertificateError,
    pub(super) cause: Cause,
    pub(super) reason: String,
    /// `None` where it cannot be read.
    pub(super) shown: Option<ShownCert>,
}

impl Unfit {
    fn barred(leaf: &CertificateDer<'_>, barred: Barred) -> Box<Self> {
        let shown = ShownCert::read(leaf);
        let described = shown
            .as_ref()
            .map_or_else(|| "the client certificate".to_owned(), describe);
        Box::new(Self {
            error: CertificateError::Revoked,
            cause: match barred {
                Barred::Revoked => Cause::CertificateRevoked,
                Barred::Superseded => Cause::CertificateSuperseded,
            },
            reason: format!("{described} is refused: {}", barred.reason()),
            shown,
        })
    }

    fn unreadable(why: &str) -> Box<Self> {
        Box::new(Self {
            error: CertificateError::BadEncoding,
            cause: Cause::CertificateBad,
            shown: None,
            reason: format!(
                "the client certificate cannot be read ({}); issue a new one",
                printable(why)
            ),
        })
    }
}

/// The verifier of one handshake, which remembers its verdict.
pub(super) struct Examiner {
    roots: Arc<DeviceRoots>,
    bar: Bar,
    verdict: OnceLock<Result<Arc<PeerCert>, Box<Unfit>>>,
}

impl Examiner {
    pub(super) fn new(roots: Arc<DeviceRoots>, bar: Bar) -> Self {
        Self {
            roots,
            bar,
            verdict: OnceLock::new(),
        }
    }

    /// The client's certificate or why it is refused; `None` when it showed none.
    pub(super) fn verdict(&self) -> Option<Result<&Arc<PeerCert>, &Unfit>> {
        self.verdict
            .get()
            .map(|verdict| verdict.as_ref().map_err(|unfit| &**unfit))
    }
}

impl fmt::Debug for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner").finish_non_exhaustive()
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
        self.roots.webpki().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let examined = match self.roots.examine(leaf, between, now) {
            Ok(cert) => match (self.bar)(&cert) {
                None => Ok(cert),
                Some(barred) => Err(Unfit::barred(leaf, barred)),
            },
            Err(unfit) => Err(unfit),
        };
        match examined {
            Ok(cert) => {
                let _ = self.verdict.set(Ok(Arc::new(cert)));
                Ok(ClientCertVerified::assertion())
            }
            Err(unfit) => {
                let error = unfit.error.clone();
                let _ = self.verdict.set(Err(unfit));
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
            .webpki()
            .verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .webpki()
            .verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.webpki().supported_verify_schemes()
    }
}

fn describe(shown: &ShownCert) -> String {
    format!(
        "the client certificate (subject \"{}\", issuer \"{}\", serial {})",
        shown.subject, shown.issuer, shown.serial,
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
pub(super) fn printable(text: &str) -> String {
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

pub(super) fn date(unix_seconds: i64) -> String {
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
        let roots =
            DeviceRoots::new(vec![root.der().clone()], vec![], vec![], &provider).expect("a root");
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
    fn names_that_pavs_would_not_issue_are_nobody() {
        for name in ["root", "ROOT", "cam\n1", "Plant/cam-1"] {
            let (roots, leaf) = made(name);
            let unfit = roots.examine(&leaf, &[], UnixTime::now()).unwrap_err();
            assert_eq!(unfit.cause, Cause::CertificateBad, "{}", unfit.reason);
        }
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
