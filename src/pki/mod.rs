//! The small certificate authority: roots, leaf profiles, signing requests, descriptions.
//!
//! Bytes in, bytes out. It reads and writes PEM and DER and never touches the disk, the network or the
//! clock; `workdir` stores what it returns, `tls` presents and checks it.
//!
//! ```text
//! Authority (root certificate + key)          one per hierarchy: server, device
//!   ├─ issue_server ─> Issued                 new P-256 key, serverAuth, names in the SAN
//!   ├─ issue_device ─> Issued                 new P-256 key, clientAuth, CN = CertName
//!   ├─ sign_csr     ─> IssuedCert             the request's key, otherwise as issue_device
//!   ├─ successor    ─> Authority              the root that takes its place, under the same name
//!   ├─ vouch_for    ─> PEM                    the successor's key, for who only knows this root
//!   └─ sign_list    ─> DER                    certificates of it that are not good any more
//!
//! describe_cert, describe_key, evidence       what a certificate or key says, as JSON
//! ```
//!
//! Certificates are laid out by `rcgen` and read by `x509-parser`; signatures are made and checked by
//! `ring`. What those three do not do for us (old private key forms, the issuer's name byte for byte,
//! requests in all the shapes `openssl req` can give them) is done here, on a small DER reader.

mod authority;
mod cert;
mod crl;
mod csr;
mod der;
mod describe;
mod dn;
mod evidence;
mod key;
mod name;
mod pem;
mod profile;
mod request;
#[cfg(test)]
mod testing;

pub use authority::{Authority, Issued, IssuedCert};
pub use crl::{ListContent, Revoked, list_pem};
pub use describe::{
    CertDescription, KeyDescription, check_pair, describe_cert, describe_certs, describe_key,
};
pub use evidence::{Evidence, evidence};
pub use name::CertName;
pub use pem::cert_der;
pub use profile::{ServerNames, Validity};
pub use request::request;

/// Why a name, key, certificate or request cannot be used. The message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no certificate name, see [`CertName::parse`].
    #[error("{name:?} is not a certificate name: {reason}")]
    BadName {
        /// The refused text, cut to a readable length.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no usable PEM block where one is needed.
    #[error("{0}")]
    BadPem(String),
    /// The bytes are no certificate, or not one for this purpose.
    #[error("{0}")]
    BadCert(String),
    /// The bytes are no certificate signing request (PKCS #10).
    #[error("{0}")]
    BadCsr(String),
    /// The bytes are no private key, or a damaged one.
    #[error("{0}")]
    BadKey(String),
    /// A kind of key or signature that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// An RSA key below the smallest size accepted.
    #[error("an RSA key of {bits} bits is too weak: use at least 2048 bits, or P-256")]
    WeakKey {
        /// Size of the modulus.
        bits: u32,
    },
    /// The request is not signed by the key it carries, so its sender may not hold that key.
    #[error(
        "the signature of the certificate request does not match its public key: make the request again with the device's own key"
    )]
    Signature,
    /// A certificate and a private key do not belong together.
    #[error(
        "the private key does not belong to the certificate: use the two that were made together"
    )]
    NotAPair,
    /// No certificate can be valid in the time asked for.
    #[error("{0}")]
    Validity(String),
    /// Our own failure, such as no random numbers.
    #[error("{0}")]
    Internal(String),
}

/// Result with the [`Error`] of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether a request (PEM) is for the key of this certificate (DER).
///
/// # Errors
///
/// As [`Authority::sign_csr`], where one of the two cannot be read.
pub fn is_for_key_of(csr_pem: &str, cert: &[u8]) -> Result<bool> {
    let asked = csr::public_key(csr_pem)?;
    let held = cert::public_key(&cert::parse(cert)?)?;
    Ok(asked.spki_der() == held.spki_der())
}

/// Lower-case hexadecimal without separators.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over the DER of a certificate, the usual fingerprint.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// `N` bytes from the system's random generator.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Error::Internal("the system gives no random numbers".to_owned()))?;
    Ok(bytes)
}
