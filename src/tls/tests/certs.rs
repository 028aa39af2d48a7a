//! Certificates of every make, sound and unsound.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::tls::Identity;

/// A root.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // The root as a client certificate must fail for what it is, not for want of a purpose.
        params.extended_key_usages = vec![];
        let key = KeyPair::generate().expect("a P-256 key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root"),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The root with its key, as a client would misuse it.
    pub(super) fn as_leaf(&self) -> Issued {
        Issued {
            pem: self.pem(),
            der: self.der(),
            key: KeyPair::from_pem(&self.issuer.key().serialize_pem()).expect("our own key"),
        }
    }

    pub(super) fn issue(&self, cert: &Cert) -> Issued {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::new(cert.dns.clone()).expect("DNS names");
        params.distinguished_name = Default::default();
        if let Some(name) = &cert.name {
            params
                .distinguished_name
                .push(DnType::CommonName, name.as_str());
        }
        params.serial_number = Some(SerialNumber::from_slice(&[0x5a, 0x01]));
        params.not_before = now + Duration::hours(cert.from_hours);
        params.not_after = now + Duration::hours(cert.to_hours);
        params.extended_key_usages = cert.purposes.clone();
        params.is_ca = if cert.authority {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        let key = KeyPair::generate().expect("a P-256 key");
        let issued = params.signed_by(&key, &self.issuer).expect("a leaf");
        Issued {
            pem: issued.pem(),
            der: issued.der().clone(),
            key,
        }
    }
}

/// What goes into a leaf.
pub(super) struct Cert {
    pub(super) name: Option<String>,
    pub(super) dns: Vec<String>,
    pub(super) purposes: Vec<ExtendedKeyUsagePurpose>,
    pub(super) from_hours: i64,
    pub(super) to_hours: i64,
    pub(super) authority: bool,
}

impl Cert {
    pub(super) fn device(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            dns: vec![],
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
            from_hours: -1,
            to_hours: 1,
            authority: false,
        }
    }

    pub(super) fn server(name: &str) -> Self {
        Self {
            dns: vec![name.to_owned(), "127.0.0.1".to_owned()],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Self::device(name)
        }
    }
}

/// A certificate with its key.
pub(super) struct Issued {
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
    key: KeyPair,
}

/// PEM files as a gate takes them.
pub(super) struct Pems(String, String, String);

impl Pems {
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity {
            chain_pem: self.0.as_bytes(),
            key_pem: self.1.as_bytes(),
            device_roots_pem: self.2.as_bytes(),
            more_device_roots: &[],
            server_roots_pem: b"",
        }
    }
}

impl Issued {
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(super) fn pems(&self, devices: &Authority) -> Pems {
        Pems(self.pem.clone(), self.key_pem(), devices.pem())
    }
}
