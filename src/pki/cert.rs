//! Reading certificates: what both the authority and the descriptions need.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::PublicKey;
use super::{Error, Result, Validity};

/// Certificates longer than this are refused unread.
const MAX_BYTES: usize = 64 * 1024;

/// Reads one certificate without anything after it.
pub(super) fn parse(cert: &[u8]) -> Result<X509Certificate<'_>> {
    if cert.len() > MAX_BYTES {
        return Err(Error::BadCert(format!(
            "a certificate of {} bytes is too long: at most {MAX_BYTES}",
            cert.len()
        )));
    }
    match X509Certificate::from_der(cert) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(Error::BadCert("the certificate is damaged".to_owned())),
    }
}

pub(super) fn public_key(cert: &X509Certificate<'_>) -> Result<PublicKey> {
    PublicKey::from_spki(cert.public_key().raw)
}

pub(super) fn validity(cert: &X509Certificate<'_>) -> Validity {
    Validity {
        not_before: cert.validity().not_before.to_datetime(),
        not_after: cert.validity().not_after.to_datetime(),
    }
}

pub(super) fn subject_key_id(cert: &X509Certificate<'_>) -> Option<Vec<u8>> {
    cert.extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
}
