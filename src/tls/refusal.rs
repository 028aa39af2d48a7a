//! Why a connection did not come about, in words for whoever set up the client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, PeerIncompatible};

use super::hello::{ClientHello, version_name};
use super::identity::Shown;
use super::peer::{ShownCert, Unfit, printable};

/// A connection that ended before its first request could be read.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// What it is, for counting and for programs.
    pub(crate) cause: Cause,
    /// What happened and what to do about it, in one sentence.
    pub(crate) reason: String,
    /// The certificate that the client showed, if it came to that.
    pub(crate) certificate: Option<ShownCert>,
    /// What the client offered, if it said so.
    pub(crate) hello: Option<ClientHello>,
}

/// Kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefusalKind {
    /// It spoke HTTP without TLS; it was told to use https.
    PlainHttp,
    /// The handshake was not done in time.
    Timeout,
    /// There are as many connections as there may be.
    Limit,
    /// Its certificate is not good enough.
    Certificate,
    /// It does not speak TLS, or nothing that we speak.
    Protocol,
    /// It gave up, mostly since it does not trust our certificate.
    ClientAlert,
    /// The connection broke.
    Io,
}

impl RefusalKind {
    /// Every kind, for counters that start at zero.
    pub(crate) const ALL: [Self; 7] = [
        Self::PlainHttp,
        Self::Timeout,
        Self::Limit,
        Self::Certificate,
        Self::Protocol,
        Self::ClientAlert,
        Self::Io,
    ];

    /// A word for labels: `plain_http`, `timeout`, ….
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Certificate => "certificate",
            Self::Protocol => "protocol",
            Self::ClientAlert => "client_alert",
            Self::Io => "io",
        }
    }
}

/// What a [`Refusal`] comes from, finer than its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// HTTP without TLS.
    PlainHttp,
    /// It connected and sent nothing.
    Silent,
    /// It began a handshake and did not end it in time.
    HandshakeTimeout,
    /// No place is free.
    ConnectionLimit,
    /// Its certificate, or one above it, has expired.
    CertificateExpired,
    /// Its certificate, or one above it, is not valid yet: one of two clocks is wrong.
    CertificateNotYetValid,
    /// Its certificate leads to no root that is known here.
    CertificateUnknownIssuer,
    /// Its certificate is issued by the root of the server's certificate, not by a device root.
    CertificateOfServerRoot,
    /// Its root was replaced.
    CertificateOfOldRoot,
    /// It signed its certificate itself.
    CertificateSelfSigned,
    /// Its certificate does not allow client authentication.
    CertificateNotForClients,
    /// Its certificate is that of an authority.
    CertificateOfAuthority,
    /// Its certificate is damaged, or signed in a way that is not supported.
    CertificateBad,
    /// Its certificate was revoked.
    CertificateRevoked,
    /// A newer certificate has taken the place of its certificate.
    CertificateSuperseded,
    /// It does not have the key of the certificate it showed.
    CertificateWithoutKey,
    /// It offers no protocol version of ours.
    NoSharedVersion,
    /// It offers no cipher suite, group or signature of ours.
    NoSharedCipher,
    /// It offers application protocols, and none of ours.
    NoSharedProtocol,
    /// It does not speak TLS.
    NotTls,
    /// The handshake went wrong in another way.
    HandshakeFailed,
    /// It does not trust the root of our certificate.
    ClientDistrustsRoot,
    /// It wants a name or an address that is not in our certificate.
    ClientExpectsOtherName,
    /// For its clock our certificate is not valid.
    ClientClock,
    /// It does not accept our certificate, for a reason of its own.
    ClientRejectsCertificate,
    /// It ended the handshake with another alert.
    ClientAlert,
    /// It went away in the middle of the handshake without a word.
    ClientLeft,
    /// The connection broke before the client said anything.
    Io,
}

impl Cause {
    /// Every cause, for counters that start at zero.
    pub(crate) const ALL: [Self; 28] = [
        Self::PlainHttp,
        Self::Silent,
        Self::HandshakeTimeout,
        Self::ConnectionLimit,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateUnknownIssuer,
        Self::CertificateOfServerRoot,
        Self::CertificateOfOldRoot,
        Self::CertificateSelfSigned,
        Self::CertificateNotForClients,
        Self::CertificateOfAuthority,
        Self::CertificateBad,
        Self::CertificateRevoked,
        Self::CertificateSuperseded,
        Self::CertificateWithoutKey,
        Self::NoSharedVersion,
        Self::NoSharedCipher,
        Self::NoSharedProtocol,
        Self::NotTls,
        Self::HandshakeFailed,
        Self::ClientDistrustsRoot,
        Self::ClientExpectsOtherName,
        Self::ClientClock,
        Self::ClientRejectsCertificate,
        Self::ClientAlert,
        Self::ClientLeft,
        Self::Io,
    ];

    /// Some words for labels and programs, never reused for another meaning.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain-http",
            Self::Silent => "silent",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::ConnectionLimit => "connection-limit",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateUnknownIssuer => "certificate-unknown-issuer",
            Self::CertificateOfServerRoot => "certificate-of-server-root",
            Self::CertificateOfOldRoot => "certificate-of-old-root",
            Self::CertificateSelfSigned => "certificate-self-signed",
            Self::CertificateNotForClients => "certificate-not-for-clients",
            Self::CertificateOfAuthority => "certificate-of-authority",
            Self::CertificateBad => "certificate-bad",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateSuperseded => "certificate-superseded",
            Self::CertificateWithoutKey => "certificate-without-key",
            Self::NoSharedVersion => "no-shared-version",
            Self::NoSharedCipher => "no-shared-cipher",
            Self::NoSharedProtocol => "no-shared-protocol",
            Self::NotTls => "not-tls",
            Self::HandshakeFailed => "handshake-failed",
            Self::ClientDistrustsRoot => "client-distrusts-root",
            Self::ClientExpectsOtherName => "client-expects-other-name",
            Self::ClientClock => "client-clock",
            Self::ClientRejectsCertificate => "client-rejects-certificate",
            Self::ClientAlert => "client-alert",
            Self::ClientLeft => "client-left",
            Self::Io => "io",
        }
    }

    /// The coarser kind.
    #[must_use]
    pub(crate) const fn kind(self) -> RefusalKind {
        match self {
            Self::PlainHttp => RefusalKind::PlainHttp,
            Self::Silent | Self::HandshakeTimeout => RefusalKind::Timeout,
            Self::ConnectionLimit => RefusalKind::Limit,
            Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::CertificateUnknownIssuer
            | Self::CertificateOfServerRoot
            | Self::CertificateOfOldRoot
            | Self::CertificateSelfSigned
            | Self::CertificateNotForClients
            | Self::CertificateOfAuthority
            | Self::CertificateBad
            | Self::CertificateRevoked
            | Self::CertificateSuperseded
            | Self::CertificateWithoutKey => RefusalKind::Certificate,
            Self::NoSharedVersion
            | Self::NoSharedCipher
            | Self::NoSharedProtocol
            | Self::NotTls
            | Self::HandshakeFailed => RefusalKind::Protocol,
            Self::ClientDistrustsRoot
            | Self::ClientExpectsOtherName
            | Self::ClientClock
            | Self::ClientRejectsCertificate
            | Self::ClientAlert
            | Self::ClientLeft => RefusalKind::ClientAlert,
            Self::Io => RefusalKind::Io,
        }
    }

    /// Nothing was said that could be of use to anybody: port scans and health checks are like that.
    #[must_use]
    pub(crate) const fn is_noise(self) -> bool {
        matches!(self, Self::Silent | Self::Io)
    }
}

/// What a handshake that failed is judged by.
pub(super) struct Attempt<'a> {
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// What the client offered, as far as it came.
    pub(super) hello: Option<ClientHello>,
    /// The certificate that it was shown.
    pub(super) shown: &'a Shown,
}

impl Refusal {
    fn new(remote: SocketAddr, cause: Cause, reason: impl Into<String>) -> Self {
        Self {
            remote,
            cause,
            reason: reason.into(),
            certificate: None,
            hello: None,
        }
    }

    pub(super) fn limit(remote: SocketAddr, max_connections: usize) -> Self {
        let reason = format!(
            "all {max_connections} connections are in use; raise the connection limit if these are all wanted"
        );
        Self::new(remote, Cause::ConnectionLimit, reason)
    }

    pub(super) fn plain_http(remote: SocketAddr) -> Self {
        let reason = "the client sent plain HTTP; this port speaks TLS only, so use https://";
        Self::new(remote, Cause::PlainHttp, reason)
    }

    pub(super) fn silent(remote: SocketAddr, limit: Duration) -> Self {
        let reason = format!("the client connected and sent nothing for {limit:?}");
        Self::new(remote, Cause::Silent, reason)
    }

    pub(super) fn io(remote: SocketAddr, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the client closed the connection before the TLS handshake was done".to_owned()
            }
            _ => format!("the connection broke during the TLS handshake: {error}"),
        };
        Self::new(remote, Cause::Io, reason)
    }
}

impl Attempt<'_> {
    pub(super) fn refused(self, cause: Cause, reason: impl Into<String>) -> Refusal {
        Refusal {
            hello: self.hello,
            ..Refusal::new(self.remote, cause, reason)
        }
    }

    pub(super) fn late(self, limit: Duration) -> Refusal {
        let reason = format!("the client did not finish the TLS handshake within {limit:?}");
        self.refused(Cause::HandshakeTimeout, reason)
    }

    /// The client has one certificate less than it showed, or another one.
    pub(super) fn mixed_up(self) -> Refusal {
        let reason = "the session has another client certificate than the one checked";
        self.refused(Cause::CertificateBad, reason)
    }

    /// A client that asks for a name that we do not have, if it should close without any request: some
    /// compare the name only after the handshake, and say nothing.
    pub(super) fn of_another_name(self) -> Option<Refusal> {
        let other = self.other_name()?;
        let reason = format!("the client closed the connection without any request: {other}");
        Some(self.refused(Cause::ClientExpectsOtherName, reason))
    }

    /// What ended a handshake. `verdict` is what was found wrong with the client's certificate.
    pub(super) fn failed(
        self,
        error: &io::Error,
        verdict: Option<Result<ShownCert, &Unfit>>,
    ) -> Refusal {
        let mut shown = None;
        match verdict {
            Some(Err(unfit)) => {
                let certificate = unfit.shown.clone();
                return Refusal {
                    certificate,
                    ..self.refused(unfit.cause, unfit.reason.as_str())
                };
            }
            Some(Ok(certificate)) => shown = Some(certificate),
            None => {}
        }
        let Some(error) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        else {
            return self.broken(error);
        };
        let (cause, reason) = match error {
            rustls::Error::AlertReceived(alert) => self.given_up(*alert),
            rustls::Error::NoApplicationProtocol => (
                Cause::NoSharedProtocol,
                format!(
                    "the client offers {} as application protocol, this server h2 and http/1.1; let it offer one of these or none",
                    self.offered(|hello| hello.protocols.clone())
                ),
            ),
            rustls::Error::PeerIncompatible(what) => self.incompatible(what),
            rustls::Error::InvalidMessage(what) if self.hello.is_none() => (
                Cause::NotTls,
                format!("what the client sent is not TLS ({what:?}); use https://"),
            ),
            rustls::Error::InvalidCertificate(what) => (
                Cause::CertificateWithoutKey,
                format!(
                    "the client could not prove that it has the key of its certificate ({what}); check that the two belong together"
                ),
            ),
            other => (
                Cause::HandshakeFailed,
                format!("the TLS handshake failed: {other}"),
            ),
        };
        Refusal {
            certificate: shown,
            ..self.refused(cause, reason)
        }
    }

    /// The connection broke off. Behind a hello that mostly means something.
    fn broken(self, error: &io::Error) -> Refusal {
        if self.hello.is_none() {
            return Refusal::io(self.remote, error);
        }
        let likely = self.other_name().unwrap_or_else(|| {
            "some clients do so when they do not trust the server's certificate: give it the server's root".to_owned()
        });
        let reason = format!(
            "the client closed the connection in the middle of the TLS handshake and did not say why ({error}); {likely}"
        );
        self.refused(Cause::ClientLeft, reason)
    }

    fn incompatible(&self, what: &PeerIncompatible) -> (Cause, String) {
        const OLD: [u16; 3] = [0x0300, 0x0301, 0x0302];
        let versions =
            self.offered(|hello| hello.versions.iter().map(|it| version_name(*it)).collect());
        let only_old = self.hello.as_ref().is_some_and(|hello| {
            !hello.versions.is_empty() && hello.versions.iter().all(|it| OLD.contains(it))
        });
        if only_old
            || matches!(
                what,
                PeerIncompatible::Tls12NotOffered
                    | PeerIncompatible::Tls12NotOfferedOrEnabled
                    | PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::SupportedVersionsExtensionRequired
            )
        {
            let reason = format!(
                "the client offers {versions}, this server TLS 1.2 and 1.3; use a TLS library that has one of these"
            );
            return (Cause::NoSharedVersion, reason);
        }
        let reason = format!(
            "the client offers {versions}, but nothing else that this server speaks ({what:?}); it needs TLS 1.3, or TLS 1.2 with ECDHE, ECDSA and AES-GCM or ChaCha20-Poly1305, and X25519, P-256 or P-384"
        );
        (Cause::NoSharedCipher, reason)
    }

    fn given_up(&self, alert: AlertDescription) -> (Cause, String) {
        let name = self.other_name();
        let also = name
            .as_ref()
            .map_or_else(String::new, |other| format!("; besides, {other}"));
        match alert {
            AlertDescription::UnknownCA => (
                Cause::ClientDistrustsRoot,
                format!(
                    "the client does not trust the root of this server's certificate (alert {alert:?}); give it the server's root (GET /api/v1/ca){also}"
                ),
            ),
            AlertDescription::CertificateExpired => (
                Cause::ClientClock,
                format!(
                    "for the client this server's certificate has expired or is not valid yet (alert {alert:?}): it is valid {}; set the client's clock{also}",
                    self.shown.validity()
                ),
            ),
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => match name {
                Some(other) => (
                    Cause::ClientExpectsOtherName,
                    format!(
                        "the client does not accept the certificate of this server (alert {alert:?}): {other}"
                    ),
                ),
                None => (
                    Cause::ClientRejectsCertificate,
                    format!(
                        "the client does not accept the certificate of this server (alert {alert:?}); give it the server's root (GET /api/v1/ca), connect under a name in the certificate ({}) and check its clock: the certificate is valid {}",
                        self.shown.names(),
                        self.shown.validity()
                    ),
                ),
            },
            other => (
                Cause::ClientAlert,
                format!("the client gave up the TLS handshake (alert {other:?}){also}"),
            ),
        }
    }

    /// That what the client asked for is not in our certificate, if so.
    fn other_name(&self) -> Option<String> {
        let asked = self.hello.as_ref().and_then(|it| it.server_name.as_deref());
        match asked {
            Some(name) if !self.shown.covers_name(name) => Some(format!(
                "it asked for {:?}, which is not among the names in this server's certificate ({}); connect under one of these, or add it with --dns",
                printable(name),
                self.shown.names()
            )),
            None if !self.shown.covers_ip(self.local.ip()) => Some(format!(
                "it asked for no name and came to the address {}, which is not among the names in this server's certificate ({}); connect under one of these, or add it with --server-ip",
                self.local.ip(),
                self.shown.names()
            )),
            _ => None,
        }
    }

    fn offered(&self, what: impl Fn(&ClientHello) -> Vec<String>) -> String {
        match self.hello.as_ref().map(what) {
            Some(list) if !list.is_empty() => list.join(", "),
            _ => "nothing readable".to_owned(),
        }
    }
}
