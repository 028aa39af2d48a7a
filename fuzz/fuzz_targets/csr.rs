//! Signing requests, as DER behind PEM and as text: what is signed says what our profile says.

#![cfg_attr(fuzzing, no_main)]

use std::sync::OnceLock;

use pavs_fuzz::fuzz_target;
use pavs_fuzz::pki::{Authority, CertName, Validity, describe_cert};
use time::{Duration, OffsetDateTime};

fn root() -> &'static Authority {
    static ROOT: OnceLock<Authority> = OnceLock::new();
    ROOT.get_or_init(|| {
        Authority::generate("device", OffsetDateTime::now_utc()).expect("random numbers")
    })
}

fuzz_target!(|data: &[u8]| {
    let wrapped = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", data));
    let text = String::from_utf8_lossy(data);
    let name = CertName::parse("cam").expect("a name");
    let validity = Validity::from_now(OffsetDateTime::now_utc(), Duration::DAY);
    for request in [&*wrapped, &*text] {
        if let Ok(issued) = root().sign_csr(&name, request, validity) {
            let said = describe_cert(issued.cert_pem.as_bytes()).expect("it is ours");
            assert_eq!(said.subject, "CN=cam,OU=device,O=pavs");
            assert!(!said.is_ca);
            assert_eq!(said.extended_key_usage, ["clientAuth"]);
        }
    }
});
