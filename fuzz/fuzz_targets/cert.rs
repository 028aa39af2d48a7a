//! Readers of certificates and private keys.

#![cfg_attr(fuzzing, no_main)]

use std::sync::OnceLock;

use pavs_fuzz::fuzz_target;
use pavs_fuzz::pki::{Authority, cert_der, check_pair, describe_cert, describe_key, evidence};
use time::OffsetDateTime;

fn root() -> &'static Authority {
    static ROOT: OnceLock<Authority> = OnceLock::new();
    ROOT.get_or_init(|| {
        Authority::generate("device", OffsetDateTime::now_utc()).expect("random numbers")
    })
}

fuzz_target!(|data: &[u8]| {
    if let Ok(said) = describe_cert(data) {
        assert_eq!(said.fingerprint_sha256.len(), 64);
        let der = cert_der(said.public_cert.as_bytes()).expect("it was written here");
        let again = describe_cert(&der).expect("it was read before");
        assert_eq!(again, said);
        let _ = evidence(&der);
        assert!(!root().has_issued(&der));
    }
    let _ = evidence(data);
    let text = String::from_utf8_lossy(data);
    let _ = describe_key(&text);
    let _ = Authority::load(&text, &text);
    let _ = check_pair(&text, root().key_pem());
    let key = pem::encode(&pem::Pem::new("PRIVATE KEY", data));
    let _ = describe_key(&key);
    let _ = check_pair(root().cert_pem(), &key);
});
