//! What our certificates contain.
//!
//! | | root | server leaf | device leaf |
//! |---|---|---|---|
//! | subject | `O=pavs, CN=pavs LABEL root XXXXXXXXXXXXXXXX` | `O=pavs, OU=server, CN=name` | `O=pavs, OU=device, CN=name` |
//! | BasicConstraints | critical, CA, path length 0 | not a CA | not a CA |
//! | KeyUsage, critical | digitalSignature, keyCertSign, cRLSign | digitalSignature | digitalSignature, for RSA keys also keyEncipherment |
//! | ExtendedKeyUsage | none | serverAuth | clientAuth |
//! | SubjectAltName | none | DNS names and addresses | none |
//! | key identifiers | SKI | SKI, AKI | SKI, AKI |
//!
//! Serial numbers are 127 random bits, positive. There is no OCSP; an authority that was given the address
//! of its revocation list adds it to device leaves as CRLDistributionPoints.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::key::{KeyKind, PublicKey};
use super::{CertName, Error, Result, der, random};

const ORGANIZATION: &str = "pavs";
/// Certificates begin a day before they are made: the clocks of cameras are often behind.
const BACKDATE: Duration = Duration::DAY;
/// Twenty years.
const ROOT_LIFETIME: Duration = Duration::hours(20 * 8766);

const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const SUBJECT_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 14];

/// From when until when a certificate holds, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: OffsetDateTime,
    /// Last moment.
    pub not_after: OffsetDateTime,
}

impl Validity {
    /// From a day before `now`, for clocks that are behind, until `lifetime` after it.
    pub fn from_now(now: OffsetDateTime, lifetime: Duration) -> Self {
        Self {
            not_before: now.saturating_sub(BACKDATE),
            not_after: now.saturating_add(lifetime),
        }
    }

    /// Whether it holds at `time`.
    pub fn contains(&self, time: OffsetDateTime) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }
}

/// Who a server certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNames {
    /// The common name. Clients look at the other two; some old ones only here.
    pub common_name: CertName,
    /// Host names, ASCII (punycode). A final dot is dropped, a name said twice is written once.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// A new root. `label` tells the hierarchies apart.
pub(super) fn root(label: &str, now: OffsetDateTime, key: &PublicKey) -> Result<CertificateParams> {
    let mut params = blank(Validity::from_now(now, ROOT_LIFETIME))?;
    let common_name = format!("pavs {label} root {}", random_letters()?);
    params.distinguished_name = subject(None, &common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.key_id());
    Ok(params)
}

/// A server's leaf.
pub(super) fn server(
    names: &ServerNames,
    validity: Validity,
    key: &PublicKey,
) -> Result<CertificateParams> {
    let mut params = leaf(validity, key)?;
    params.distinguished_name = subject(Some("server"), names.common_name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for dns in &names.dns {
        let name = SanType::DnsName(host_name(dns)?.try_into().map_err(internal)?);
        push_new(&mut params.subject_alt_names, name);
    }
    for &ip in &names.ips {
        push_new(&mut params.subject_alt_names, SanType::IpAddress(ip));
    }
    Ok(params)
}

/// A device's leaf, whoever made its key.
pub(super) fn device(
    name: &CertName,
    validity: Validity,
    key: &PublicKey,
) -> Result<CertificateParams> {
    let mut params = leaf(validity, key)?;
    params.distinguished_name = subject(Some("device"), name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if matches!(key.kind, KeyKind::Rsa { .. }) {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn leaf(validity: Validity, key: &PublicKey) -> Result<CertificateParams> {
    let mut params = blank(validity)?;
    params.use_authority_key_identifier_extension = true;
    // rcgen's `ExplicitNoCa` would mark the constraint critical; these two are its extensions otherwise.
    params.is_ca = IsCa::NoCa;
    params.custom_extensions = vec![
        CustomExtension::from_oid_content(BASIC_CONSTRAINTS, der::write(der::SEQUENCE, &[])),
        CustomExtension::from_oid_content(
            SUBJECT_KEY_IDENTIFIER,
            der::write(der::OCTET_STRING, &[&key.key_id()]),
        ),
    ];
    Ok(params)
}

fn blank(validity: Validity) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    // Years before 1970 only come from broken clocks, and not all of them can be written down.
    params.not_before = validity.not_before.max(OffsetDateTime::UNIX_EPOCH);
    params.not_after = validity.not_after;
    if params.not_before >= params.not_after {
        return Err(Error::Validity(format!(
            "a certificate cannot be valid from {} to {}: the end must come after the beginning",
            params.not_before, params.not_after
        )));
    }
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn subject(unit: Option<&str>, common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    if let Some(unit) = unit {
        name.push(DnType::OrganizationalUnitName, unit);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// Sixteen bytes whose first is between 0x40 and 0x7f: positive, and never shortened.
fn serial() -> Result<SerialNumber> {
    let mut bytes = random::<16>()?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Sixteen of 32 characters, so that every byte picks one evenly. No vowels, no words.
fn random_letters() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"0123456789BCDFGHJKLMNPQRSTVWXYZb";
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte % 32)]);
    Ok(random::<16>()?.into_iter().map(letter).collect())
}

/// A host name as certificates carry it.
fn host_name(text: &str) -> Result<&str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_is_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let labels = name.strip_prefix("*.").unwrap_or(name);
    if name.len() <= 253 && labels.split('.').all(label_is_fine) {
        return Ok(name);
    }
    Err(Error::BadName {
        name: text.chars().take(300).collect(),
        reason: "a host name has labels of 1 to 63 letters, digits, - or _, 253 characters in all",
    })
}

fn push_new(names: &mut Vec<SanType>, name: SanType) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn internal(error: rcgen::Error) -> Error {
    Error::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for (text, name) in [
            ("localhost", "localhost"),
            ("a._http._tcp.local.", "a._http._tcp.local"),
            ("*.example.org", "*.example.org"),
        ] {
            assert_eq!(host_name(text), Ok(name));
        }
        let long = "a.".repeat(127) + "com";
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "bücher.example",
            "a/b",
            "a.*",
            &long,
        ] {
            assert!(
                matches!(host_name(text), Err(Error::BadName { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn validity_saturates_at_the_ends_of_time() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let validity = Validity::from_now(now, Duration::MAX);
        assert!(validity.contains(now));
        assert!(blank(validity).is_ok());
        assert!(matches!(
            blank(Validity::from_now(now, -Duration::DAY)),
            Err(Error::Validity(_))
        ));
    }
}
