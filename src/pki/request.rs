//! A key, and the request for a certificate over it: what a device makes.

use rcgen::{CertificateParams, DistinguishedName, DnType};

use super::authority::new_key;
use super::{Error, Result};

/// Makes a P-256 key and a signing request for it, both in PEM. `name` becomes the common name; whoever
/// signs may give another one.
///
/// # Errors
///
/// [`Error::Internal`].
pub fn request(name: &str) -> Result<(String, String)> {
    let failed = |e: rcgen::Error| Error::Internal(format!("cannot make a signing request: {e}"));
    let (key, _) = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((key.serialize_pem(), request.pem().map_err(failed)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, CertName, Validity, check_pair};

    #[test]
    fn a_root_signs_it() {
        let now = time::OffsetDateTime::now_utc();
        let root = Authority::generate("test", now).unwrap();
        let (key, request) = request("cam-1").unwrap();
        let name = CertName::parse("cam-1").unwrap();
        let validity = Validity::from_now(now, time::Duration::days(1));
        let signed = root.sign_csr(&name, &request, validity).unwrap();
        check_pair(&signed.cert_pem, &key).unwrap();
    }
}
