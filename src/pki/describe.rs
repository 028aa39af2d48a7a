//! Certificates and keys as JSON.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    CRLDistributionPoints, DistributionPointName, ExtendedKeyUsage, GeneralName, KeyUsage,
    ParsedExtension, X509Extension,
};

use super::cert::{parse, public_key, validity};
use super::key::{KeyKind, PrivateKey, PublicKey, oid_name};
use super::{Error, Result, Validity, dn, hex, pem, sha256};

/// What a certificate says.
///
/// The first seven fields are those of the reference tool. Times are ISO 8601 with `+00:00`, names are
/// RFC 4514 (last part first), extensions are sentences for people: programs read the fields below them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertDescription {
    /// The certificate, one PEM block.
    pub public_cert: String,
    /// `0x` and lower-case hexadecimal without leading zeros.
    pub serial_number: String,
    /// `2026-11-21T07:51:12+00:00`.
    pub not_valid_before: String,
    /// The same for the end.
    pub not_valid_after: String,
    /// Who signed it.
    pub issuer: String,
    /// Whom it names.
    pub subject: String,
    /// Every extension: `keyUsage, critical: digitalSignature`.
    pub extensions: Vec<String>,
    /// The subject's last common name.
    pub common_name: Option<String>,
    /// SHA-256 of the DER, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    /// `ecdsa-with-SHA256` and the like; numbers for an unknown one.
    pub signature_algorithm: String,
    /// `EC`, `RSA`, `Ed25519` …; numbers for an unknown one.
    pub key_type: String,
    /// `P-256` or `P-384`.
    pub key_curve: Option<&'static str>,
    /// In bits.
    pub key_size: Option<u32>,
    /// `DNS:localhost`, `IP:127.0.0.1`, `URI:…`.
    pub subject_alt_names: Vec<String>,
    /// Whether it may issue certificates.
    pub is_ca: bool,
    /// How many authorities may stand between it and a leaf.
    pub path_length: Option<u32>,
    /// `digitalSignature` …, in the order of the standard.
    pub key_usage: Vec<&'static str>,
    /// `serverAuth`, `clientAuth` …; numbers for unknown ones.
    pub extended_key_usage: Vec<String>,
    /// Lower-case hexadecimal.
    pub subject_key_identifier: Option<String>,
    /// Lower-case hexadecimal.
    pub authority_key_identifier: Option<String>,
    /// The two times as values.
    #[serde(skip)]
    pub validity: Validity,
    /// Whether it carries a signature of its own key: a root, or a leaf that is nobody's.
    #[serde(skip)]
    pub is_self_signed: bool,
}

/// What a private key file says about itself. The private key is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDescription {
    /// `EC` or `RSA`.
    pub key_type: &'static str,
    /// `P-256` or `P-384`.
    pub key_curve: Option<&'static str>,
    /// In bits.
    pub key_size: u32,
    /// The public half, a `PUBLIC KEY` PEM block.
    pub public_key: String,
}

/// Describes the first certificate in `bytes`, PEM or DER of at most 64 KiB.
///
/// # Errors
///
/// [`Error::BadPem`], [`Error::BadCert`].
pub fn describe_cert(bytes: &[u8]) -> Result<CertDescription> {
    let der = super::cert_der(bytes)?;
    let cert = parse(&der)?;
    let validity = validity(&cert);
    let (key_type, key_curve, key_size) = key_fields(&cert);
    let mut description = CertDescription {
        public_cert: pem::encode("CERTIFICATE", &der),
        serial_number: serial_number(cert.raw_serial()),
        not_valid_before: iso_time(validity.not_before),
        not_valid_after: iso_time(validity.not_after),
        issuer: dn::rfc4514(cert.issuer()),
        subject: dn::rfc4514(cert.subject()),
        extensions: cert.extensions().iter().map(sentence).collect(),
        common_name: dn::common_name(cert.subject()),
        fingerprint_sha256: hex(&sha256(&der)),
        signature_algorithm: oid_name(cert.signature_algorithm.algorithm.as_bytes()),
        key_type,
        key_curve,
        key_size,
        subject_alt_names: Vec::new(),
        is_ca: false,
        path_length: None,
        key_usage: Vec::new(),
        extended_key_usage: Vec::new(),
        subject_key_identifier: None,
        authority_key_identifier: None,
        validity,
        is_self_signed: cert.issuer().as_raw() == cert.subject().as_raw()
            && cert.verify_signature(None).is_ok(),
    };
    for extension in cert.extensions() {
        description.take_in(extension.parsed_extension());
    }
    Ok(description)
}

/// Describes all certificates in a PEM text, in their order: 1 to 100.
///
/// # Errors
///
/// [`Error::BadPem`], [`Error::BadCert`].
pub fn describe_certs(text: &str) -> Result<Vec<CertDescription>> {
    let certs = pem::certs(text)?;
    let describe = |der: &Vec<u8>| {
        // Said here: `describe_cert` would take what is no DER for text.
        parse(der)?;
        describe_cert(der)
    };
    certs.iter().map(describe).collect()
}

impl CertDescription {
    fn take_in(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alt_names = names.general_names.iter().map(general_name).collect();
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => self.key_usage = key_usage(usage),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = extended_key_usage(usage);
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                self.subject_key_identifier = Some(hex(id.0));
            }
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                self.authority_key_identifier =
                    authority.key_identifier.as_ref().map(|id| hex(id.0));
            }
            _ => {}
        }
    }
}

/// Describes the first private key in a PEM text.
///
/// # Errors
///
/// [`Error::BadPem`], [`Error::BadKey`], [`Error::Unsupported`].
pub fn describe_key(key_pem: &str) -> Result<KeyDescription> {
    let key = PrivateKey::from_pem(key_pem)?;
    let public = key.public().ok_or_else(|| {
        Error::Unsupported(
            "the file holds no public key beside the private one: rewrite it (openssl pkey -in old.key -out new.key)".to_owned(),
        )
    })?;
    let (key_type, key_curve, key_size) = kind_fields(public);
    Ok(KeyDescription {
        key_type,
        key_curve,
        key_size,
        public_key: pem::encode("PUBLIC KEY", &public.spki_der()),
    })
}

/// Checks that the first certificate and the first private key of two PEM texts belong together.
///
/// # Errors
///
/// [`Error::NotAPair`] if both can be read and do not; otherwise what is wrong with the one or the other.
pub fn check_pair(cert_pem: &str, key_pem: &str) -> Result<()> {
    let cert = super::cert_der(cert_pem.as_bytes())?;
    let public = public_key(&parse(&cert)?)?;
    PrivateKey::from_pem(key_pem)?.into_signer(&public)?;
    Ok(())
}

fn key_fields(cert: &X509Certificate<'_>) -> (String, Option<&'static str>, Option<u32>) {
    match public_key(cert) {
        Ok(public) => {
            let (name, curve, size) = kind_fields(&public);
            (name.to_owned(), curve, Some(size))
        }
        Err(_) => {
            let algorithm = &cert.public_key().algorithm.algorithm;
            (oid_name(algorithm.as_bytes()), None, None)
        }
    }
}

fn kind_fields(public: &PublicKey) -> (&'static str, Option<&'static str>, u32) {
    match public.kind {
        KeyKind::Rsa { bits } => ("RSA", None, bits),
        KeyKind::Ec(curve) => ("EC", Some(curve.name()), curve.bits()),
    }
}

fn serial_number(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    match digits.trim_start_matches('0') {
        "" => "0x0".to_owned(),
        significant => format!("0x{significant}"),
    }
}

fn iso_time(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

fn sentence(extension: &X509Extension<'_>) -> String {
    let oid = extension.oid.to_id_string();
    let name = extension_name(&oid).unwrap_or(&oid);
    let critical = match extension.critical {
        true => ", critical",
        false => "",
    };
    let value = value_text(extension.parsed_extension())
        .unwrap_or_else(|| format!("#{}", hex(extension.value)));
    format!("{name}{critical}: {value}")
}

/// RFC 5280, section 4.2, and what is common besides.
fn extension_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.29.14" => "subjectKeyIdentifier",
        "2.5.29.15" => "keyUsage",
        "2.5.29.17" => "subjectAltName",
        "2.5.29.18" => "issuerAltName",
        "2.5.29.19" => "basicConstraints",
        "2.5.29.30" => "nameConstraints",
        "2.5.29.31" => "cRLDistributionPoints",
        "2.5.29.32" => "certificatePolicies",
        "2.5.29.35" => "authorityKeyIdentifier",
        "2.5.29.36" => "policyConstraints",
        "2.5.29.37" => "extKeyUsage",
        "1.3.6.1.5.5.7.1.1" => "authorityInfoAccess",
        "2.16.840.1.113730.1.1" => "netscapeCertType",
        "2.16.840.1.113730.1.13" => "netscapeComment",
        _ => return None,
    })
}

/// `None` for extensions that are shown as bytes.
fn value_text(extension: &ParsedExtension<'_>) -> Option<String> {
    Some(match extension {
        ParsedExtension::BasicConstraints(constraints) => {
            match (constraints.ca, constraints.path_len_constraint) {
                (true, Some(length)) => format!("CA:TRUE, path length {length}"),
                (true, None) => "CA:TRUE".to_owned(),
                (false, _) => "CA:FALSE".to_owned(),
            }
        }
        ParsedExtension::KeyUsage(usage) => key_usage(usage).join(", "),
        ParsedExtension::ExtendedKeyUsage(usage) => extended_key_usage(usage).join(", "),
        ParsedExtension::SubjectAlternativeName(names) => list(&names.general_names),
        ParsedExtension::IssuerAlternativeName(names) => list(&names.general_names),
        ParsedExtension::SubjectKeyIdentifier(id) => hex(id.0),
        ParsedExtension::AuthorityKeyIdentifier(authority) => {
            format!("keyid {}", hex(authority.key_identifier.as_ref()?.0))
        }
        ParsedExtension::CRLDistributionPoints(points) => crl_uris(points).join(", "),
        ParsedExtension::AuthorityInfoAccess(access) => access
            .iter()
            .map(|entry| general_name(&entry.access_location))
            .collect::<Vec<_>>()
            .join(", "),
        ParsedExtension::NsCertComment(text) => format!("{text:?}"),
        _ => return None,
    })
}

fn list(names: &[GeneralName<'_>]) -> String {
    names
        .iter()
        .map(general_name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(text) => format!("DNS:{}", printable(text)),
        GeneralName::RFC822Name(text) => format!("email:{}", printable(text)),
        GeneralName::URI(text) => format!("URI:{}", printable(text)),
        GeneralName::DirectoryName(name) => format!("DirName:{}", dn::rfc4514(name)),
        GeneralName::IPAddress(bytes) => format!("IP:{}", address(bytes)),
        GeneralName::RegisteredID(oid) => format!("RID:{}", oid.to_id_string()),
        GeneralName::OtherName(oid, value) => {
            format!("othername:{}:#{}", oid.to_id_string(), hex(value))
        }
        GeneralName::X400Address(value) => format!("x400:#{}", hex(value.data)),
        GeneralName::EDIPartyName(value) => format!("ediparty:#{}", hex(value.data)),
        GeneralName::Invalid(tag, value) => format!("invalid [{}]:#{}", tag.0, hex(value)),
    }
}

/// Text from outside on one line.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|char| match char.is_control() {
            true => char.escape_unicode().collect::<Vec<_>>(),
            false => vec![char],
        })
        .collect()
}

fn address(bytes: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(octets).to_string()
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(octets).to_string()
    } else {
        format!("#{}", hex(bytes))
    }
}

pub(super) fn crl_uris(points: &CRLDistributionPoints<'_>) -> Vec<String> {
    points
        .points
        .iter()
        .filter_map(|point| match &point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            _ => None,
        })
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(printable(uri)),
            _ => None,
        })
        .collect()
}

/// RFC 5280, section 4.2.1.3.
fn key_usage(usage: &KeyUsage) -> Vec<&'static str> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

/// RFC 5280, section 4.2.1.12.
fn extended_key_usage(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "any"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    known
        .into_iter()
        .filter(|&(set, _)| set)
        .map(|(_, name)| name.to_owned())
        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::super::testing::{Openssl, a_year, device_root};
    use super::super::{CertName, evidence};
    use super::*;

    /// One of nearly everything a certificate can carry.
    const RICH: &str = "\
[req]
distinguished_name = dn
x509_extensions = ext
prompt = no
[dn]
O = CSA, Inc.
OU = cams
CN = cam-7
[ext]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature,keyAgreement,decipherOnly
extendedKeyUsage = clientAuth,1.2.3.4
subjectAltName = DNS:cam.local,IP:10.0.0.1,IP:2001:db8::1,URI:urn:x,email:a@b.c,RID:1.2.3,otherName:1.2.3;UTF8:x,dirName:where
authorityInfoAccess = OCSP;URI:http://ocsp,caIssuers;URI:http://ca
crlDistributionPoints = URI:http://crl/one,URI:http://crl/two
nameConstraints = permitted;DNS:a
certificatePolicies = 1.2.3
1.2.3.4 = ASN1:NULL
[where]
CN = x
";

    #[test]
    fn a_rich_certificate_is_described() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        openssl.write("rich.cnf", RICH);
        openssl.make_key("key", "rsa:2048");
        let pem = openssl
            .run("req -new -x509 -config rich.cnf -key key -sha384 -set_serial 0x00a7 -days 3");
        let described = describe_cert(pem.as_bytes()).unwrap();
        assert_eq!(described.public_cert, pem);
        assert_eq!(described.serial_number, "0xa7");
        assert_eq!(described.subject, "CN=cam-7,OU=cams,O=CSA\\, Inc.");
        assert_eq!(described.common_name.as_deref(), Some("cam-7"));
        assert_eq!(described.signature_algorithm, "sha384WithRSAEncryption");
        assert_eq!(
            (
                described.key_type.as_str(),
                described.key_curve,
                described.key_size
            ),
            ("RSA", None, Some(2048))
        );
        assert_eq!(
            described.key_usage,
            ["digitalSignature", "keyAgreement", "decipherOnly"]
        );
        assert_eq!(described.extended_key_usage, ["clientAuth", "1.2.3.4"]);
        assert_eq!(
            described.subject_alt_names[..6],
            [
                "DNS:cam.local",
                "IP:10.0.0.1",
                "IP:2001:db8::1",
                "URI:urn:x",
                "email:a@b.c",
                "RID:1.2.3"
            ]
        );
        assert_eq!(described.subject_alt_names[7], "DirName:CN=x");
        for sentence in [
            "basicConstraints: CA:FALSE",
            "keyUsage, critical: digitalSignature, keyAgreement, decipherOnly",
            "authorityInfoAccess: URI:http://ocsp, URI:http://ca",
            "cRLDistributionPoints: http://crl/one, http://crl/two",
            "1.2.3.4: #0500",
        ] {
            assert!(
                described.extensions.iter().any(|have| have == sentence),
                "{sentence}: {:?}",
                described.extensions
            );
        }
        let fingerprint = openssl_fingerprint(&openssl, &pem);
        assert_eq!(described.fingerprint_sha256, fingerprint);
        let der = super::super::cert_der(pem.as_bytes()).unwrap();
        assert_eq!(describe_cert(&der), Ok(described));
    }

    fn openssl_fingerprint(openssl: &Openssl, pem: &str) -> String {
        openssl.write("cert.pem", pem);
        let line = openssl.run("x509 -noout -fingerprint -sha256 -in cert.pem");
        let (_, digits) = line.trim().split_once('=').expect("name=digits");
        digits.replace(':', "").to_lowercase()
    }

    #[test]
    fn the_json_has_the_reference_fields() {
        let json =
            serde_json::to_value(describe_cert(Sample::get().pem.as_bytes()).unwrap()).unwrap();
        let fields = json.as_object().unwrap();
        for field in [
            "public_cert",
            "serial_number",
            "not_valid_before",
            "not_valid_after",
            "issuer",
            "subject",
        ] {
            assert!(fields[field].is_string(), "{field}");
        }
        assert!(
            fields["extensions"]
                .as_array()
                .unwrap()
                .iter()
                .all(|text| text.is_string())
        );
        assert!(!fields.contains_key("validity"));
        let before = fields["not_valid_before"].as_str().unwrap();
        assert!(before.len() == 25 && before.ends_with("+00:00") && &before[10..11] == "T");
    }

    #[test]
    fn unknown_keys_are_described_by_their_algorithm() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        openssl.make_key("key", "ED25519");
        let pem = openssl.run("req -new -x509 -key key -subj /CN=x");
        let described = describe_cert(pem.as_bytes()).unwrap();
        assert_eq!(
            (described.key_type.as_str(), described.key_size),
            ("Ed25519", None)
        );
    }

    #[test]
    fn a_key_is_described_without_its_secret() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        for (kind, forms, key_type, curve, size) in [
            (
                "rsa:2048",
                &["rsa -traditional -in key", "pkey -in key"][..],
                "RSA",
                None,
                2048,
            ),
            (
                "P-256",
                &["ec -in key", "pkey -in key"],
                "EC",
                Some("P-256"),
                256,
            ),
            (
                "P-384",
                &["ec -in key", "pkey -in key"],
                "EC",
                Some("P-384"),
                384,
            ),
        ] {
            openssl.make_key("key", kind);
            for form in forms {
                let description = describe_key(&openssl.run(form)).unwrap();
                assert_eq!(
                    description,
                    KeyDescription {
                        key_type,
                        key_curve: curve,
                        key_size: size,
                        public_key: openssl.run("pkey -in key -pubout"),
                    }
                );
            }
        }
        let bare = openssl.run("ec -in key -no_public");
        assert!(matches!(describe_key(&bare), Err(Error::Unsupported(_))));
    }

    struct Sample {
        pem: String,
        der: Vec<u8>,
        key: String,
    }

    impl Sample {
        fn get() -> &'static Self {
            static SAMPLE: OnceLock<Sample> = OnceLock::new();
            SAMPLE.get_or_init(|| {
                let name = CertName::parse("cam-1").expect("a name");
                let issued = device_root().issue_device(&name, a_year()).expect("a leaf");
                let pem = issued.cert.cert_pem;
                let der = super::super::cert_der(pem.as_bytes()).expect("just made");
                let key = issued.key_pem;
                Sample { pem, der, key }
            })
        }
    }

    /// A certificate whose every extension has a parser, built without the openssl command.
    fn rich_der() -> &'static [u8] {
        static RICH: OnceLock<Vec<u8>> = OnceLock::new();
        RICH.get_or_init(|| {
            let names = ["cam.local", "10.0.0.1", "2001:db8::1"].map(str::to_owned);
            let mut params = rcgen::CertificateParams::new(names).expect("names");
            params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any];
            params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
                uris: vec!["http://crl".to_owned()],
            }];
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(3));
            params.use_authority_key_identifier_extension = true;
            let key = rcgen::KeyPair::generate().expect("random numbers");
            params
                .self_signed(&key)
                .expect("a certificate")
                .der()
                .to_vec()
        })
    }

    fn mutate(original: &[u8], changes: Vec<(prop::sample::Index, u8)>) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn mutated_certificates_never_panic(changes in changes(), rich: bool) {
            let original = if rich { rich_der() } else { &Sample::get().der };
            let der = mutate(original, changes);
            let _ = evidence(&der);
            if let Ok(description) = describe_cert(&der) {
                let json = serde_json::to_string(&description).unwrap();
                prop_assert!(json.len() < 16 * original.len());
                for line in &description.extensions {
                    prop_assert!(!line.contains('\n'));
                }
            }
        }

        #[test]
        fn mutated_texts_never_panic(changes in changes()) {
            let sample = Sample::get();
            let _ = describe_cert(&mutate(sample.pem.as_bytes(), changes.clone()));
            let key = mutate(sample.key.as_bytes(), changes);
            let key = String::from_utf8_lossy(&key);
            let _ = describe_key(&key);
            let _ = check_pair(&sample.pem, &key);
        }
    }
}
