//! Certificate revocation lists (RFC 5280 section 5), as `rcgen` lays them out.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

use super::{Error, Result, pem};

/// A certificate that a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Since when it is not good any more.
    pub since: OffsetDateTime,
    /// Another certificate has taken its place; otherwise no reason is told.
    pub superseded: bool,
}

/// A list that is to be signed.
#[derive(Clone, Debug)]
pub struct ListContent<'l> {
    /// Greater than that of every list before.
    pub number: u64,
    /// When it is made.
    pub this_update: OffsetDateTime,
    /// When it is to be replaced at the latest.
    pub next_update: OffsetDateTime,
    /// What it names.
    pub revoked: &'l [Revoked],
}

impl ListContent<'_> {
    pub(super) fn params(&self, key_id: &[u8]) -> Result<CertificateRevocationListParams> {
        let entry = |revoked: &Revoked| {
            Ok(RevokedCertParams {
                serial_number: serial(&revoked.serial)?,
                revocation_time: revoked.since,
                reason_code: revoked.superseded.then_some(RevocationReason::Superseded),
                invalidity_date: None,
            })
        };
        Ok(CertificateRevocationListParams {
            this_update: self.this_update,
            next_update: self.next_update,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.iter().map(entry).collect::<Result<_>>()?,
            key_identifier_method: KeyIdMethod::PreSpecified(key_id.to_vec()),
        })
    }
}

/// A list as one PEM block.
pub fn list_pem(der: &[u8]) -> String {
    pem::encode("X509 CRL", der)
}

fn serial(text: &str) -> Result<SerialNumber> {
    let damaged = || Error::Internal(format!("{text:?} is no serial number"));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(damaged());
    }
    let padded = match text.len() % 2 {
        0 => text.to_owned(),
        _ => format!("0{text}"),
    };
    let bytes: Option<Vec<u8>> = (0..padded.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(padded.get(at..at + 2)?, 16).ok())
        .collect();
    Ok(SerialNumber::from_slice(&bytes.ok_or_else(damaged)?))
}
