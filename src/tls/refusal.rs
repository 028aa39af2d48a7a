//! Why a connection did not come about, in words for whoever set up the client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::AlertDescription;

/// A connection that ended before its first request could be read.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// What happened and what to do about it, in one sentence.
    pub(crate) reason: String,
    /// The same for counting.
    pub(crate) kind: RefusalKind,
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
    /// It gave up with a TLS alert, mostly since it does not trust our certificate.
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

impl Refusal {
    pub(super) fn new(remote: SocketAddr, kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self {
            remote,
            reason: reason.into(),
            kind,
        }
    }

    pub(super) fn limit(remote: SocketAddr, max_connections: usize) -> Self {
        let reason = format!(
            "all {max_connections} connections are in use; raise the connection limit if these are all wanted"
        );
        Self::new(remote, RefusalKind::Limit, reason)
    }

    pub(super) fn plain_http(remote: SocketAddr) -> Self {
        let reason = "the client sent plain HTTP; this port speaks TLS only, so use https://";
        Self::new(remote, RefusalKind::PlainHttp, reason)
    }

    pub(super) fn silent(remote: SocketAddr, limit: Duration) -> Self {
        let reason = format!("the client connected and sent nothing for {limit:?}");
        Self::new(remote, RefusalKind::Timeout, reason)
    }

    pub(super) fn late(remote: SocketAddr, limit: Duration) -> Self {
        let reason = format!("the client did not finish the TLS handshake within {limit:?}");
        Self::new(remote, RefusalKind::Timeout, reason)
    }

    pub(super) fn io(remote: SocketAddr, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the client closed the connection before the TLS handshake was done".to_owned()
            }
            _ => format!("the connection broke during the TLS handshake: {error}"),
        };
        Self::new(remote, RefusalKind::Io, reason)
    }

    /// What ended a handshake. `verdict` is what was found wrong with the client's certificate.
    pub(super) fn handshake(remote: SocketAddr, error: &io::Error, verdict: Option<&str>) -> Self {
        if let Some(verdict) = verdict {
            return Self::new(remote, RefusalKind::Certificate, verdict);
        }
        let Some(error) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        else {
            return Self::io(remote, error);
        };
        let (kind, reason) = match error {
            rustls::Error::AlertReceived(alert) => (RefusalKind::ClientAlert, given_up(*alert)),
            rustls::Error::NoApplicationProtocol => (
                RefusalKind::Protocol,
                "the client offers neither h2 nor http/1.1 as application protocol".to_owned(),
            ),
            rustls::Error::PeerIncompatible(what) => (
                RefusalKind::Protocol,
                format!(
                    "the client offers nothing this server speaks ({what:?}); it needs TLS 1.3, or TLS 1.2 with ECDHE, ECDSA and AES-GCM or ChaCha20-Poly1305"
                ),
            ),
            rustls::Error::InvalidMessage(what) => (
                RefusalKind::Protocol,
                format!("what the client sent is not TLS ({what:?}); use https://"),
            ),
            rustls::Error::InvalidCertificate(what) => (
                RefusalKind::Certificate,
                format!(
                    "the client could not prove that it has the key of its certificate ({what}); check that the two belong together"
                ),
            ),
            other => (
                RefusalKind::Protocol,
                format!("the TLS handshake failed: {other}"),
            ),
        };
        Self::new(remote, kind, reason)
    }
}

fn given_up(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate => format!(
            "the client does not accept the certificate of this server (alert {alert:?}); give it the server's root, connect under a name in the certificate and check its clock"
        ),
        other => format!("the client gave up the TLS handshake (alert {other:?})"),
    }
}
