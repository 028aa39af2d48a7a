//! Certificate signing requests (PKCS #10, RFC 2986).
//!
//! ```text
//! SEQUENCE
//!   SEQUENCE                 the part that is signed
//!     INTEGER version, SEQUENCE subject, SEQUENCE public key, [0] attributes
//!   SEQUENCE algorithm
//!   BIT STRING signature
//! ```
//!
//! Only the public key is taken. Subject and attributes are covered by the signature but not read, so
//! no requested extension, however odd, can fail a request or get into a certificate.

use super::der::{self, Reader};
use super::key::PublicKey;
use super::{Error, Result, pem};

/// Far above any real request: one for RSA-8192 with many names has some 4 KiB.
const MAX_BYTES: usize = 64 * 1024;

/// The public key of a request in PEM, after checking that the request is signed with it.
pub(super) fn public_key(text: &str) -> Result<PublicKey> {
    if text.len() > MAX_BYTES {
        return Err(Error::BadCsr(format!(
            "a certificate request of {} bytes is too long: at most {MAX_BYTES}",
            text.len()
        )));
    }
    let request = decode(text)?;
    let Parts {
        signed,
        spki,
        algorithm,
        signature,
    } = split(&request).ok_or_else(|| {
        Error::BadCsr("the certificate request is damaged: it is no PKCS #10 structure".to_owned())
    })?;
    let key = PublicKey::from_spki(spki)?;
    key.check_size()?;
    key.verify(algorithm, signed, signature)?;
    Ok(key)
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let mut seen = None;
    for block in pem::blocks(text) {
        if matches!(
            block.label,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
        ) {
            return block.decode();
        }
        seen = seen.or(Some(block.label));
    }
    Err(match seen {
        Some(label) if label.ends_with("PRIVATE KEY") => Error::BadCsr(
            "this is a private key, which must stay on the device: send a certificate request (openssl req -new -key device.key)".to_owned(),
        ),
        Some(label) => Error::BadCsr(format!(
            "this is a {label} block: send a CERTIFICATE REQUEST (openssl req -new -key device.key)"
        )),
        None => Error::BadPem(
            "there is no CERTIFICATE REQUEST block: send the request in PEM (openssl req -new -key device.key)".to_owned(),
        ),
    })
}

struct Parts<'a> {
    signed: &'a [u8],
    spki: &'a [u8],
    algorithm: Reader<'a>,
    signature: &'a [u8],
}

fn split(request: &[u8]) -> Option<Parts<'_>> {
    let mut outer = Reader::new(request);
    let mut request = outer.read(der::SEQUENCE)?.values();
    let signed = request.read(der::SEQUENCE)?;
    let algorithm = request.read(der::SEQUENCE)?.values();
    let signature = request.read(der::BIT_STRING)?.bit_string()?;

    let mut info = signed.values();
    info.read(der::INTEGER)?;
    info.read(der::SEQUENCE)?;
    let spki = info.read(der::SEQUENCE)?.raw;

    let whole = outer.rest().is_empty() && request.rest().is_empty();
    whole.then_some(Parts {
        signed: signed.raw,
        spki,
        algorithm,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::super::testing::{Openssl, a_year, device_root};
    use super::super::{Authority, CertName, IssuedCert, describe_cert};
    use super::*;

    /// Everything a request may ask for that a device must not get, and things nobody has heard of.
    const GREEDY: &str = "\
[req]
distinguished_name = dn
req_extensions = wishes
attributes = more
[dn]
[more]
challengePassword = challenge
challengePassword_default = secret word
unstructuredName = name
unstructuredName_default = a camera
[wishes]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
extendedKeyUsage = serverAuth,clientAuth,codeSigning,1.2.3.4.5
subjectAltName = DNS:cam.local,DNS:*.cam,IP:10.0.0.1,IP:::1,URI:urn:x:y,email:a@b.c,RID:1.2.3,otherName:1.2.3.4;UTF8:odd,dirName:where
subjectKeyIdentifier = hash
nameConstraints = critical,permitted;DNS:cam.local
certificatePolicies = 1.2.3.4
tlsfeature = status_request
1.2.3.4.5.6 = critical,ASN1:UTF8String:unheard of
[where]
CN = somewhere
";

    fn sign(root: &Authority, csr: &str) -> Result<IssuedCert> {
        let name = CertName::parse("cam-1").expect("a name");
        root.sign_csr(&name, csr, a_year())
    }

    /// Signs, has OpenSSL judge the result, and checks that it holds the key of `key_file`.
    fn sign_and_verify(openssl: &Openssl, root: &Authority, csr: &str, key_file: &str) {
        let cert = sign(root, csr).unwrap_or_else(|error| panic!("{error}\n{csr}"));
        openssl
            .verify(root.cert_pem(), &cert.cert_pem, "-purpose sslclient")
            .expect("a client certificate");
        openssl
            .verify(root.cert_pem(), &cert.cert_pem, "-purpose sslserver")
            .expect_err("no server certificate");
        let key = openssl.run(&format!("pkey -pubout -in {key_file}"));
        assert_eq!(openssl.run("x509 -noout -pubkey -in verify-leaf.pem"), key);

        let described = describe_cert(cert.cert_pem.as_bytes()).expect("a certificate");
        assert_eq!(described.subject, "CN=cam-1,OU=device,O=pavs");
        assert_eq!(described.extended_key_usage, ["clientAuth"]);
        assert_eq!(described.extensions.len(), 5);
        assert!(!described.is_ca && described.subject_alt_names.is_empty());
        let expected: &[&str] = match described.key_type.as_str() {
            "RSA" => &["digitalSignature", "keyEncipherment"],
            _ => &["digitalSignature"],
        };
        assert_eq!(described.key_usage, expected);
    }

    #[test]
    fn every_request_openssl_makes_with_our_keys_is_signed() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        openssl.write("greedy.cnf", GREEDY);
        for (kind, digests) in [
            ("P-256", &["sha256", "sha384"][..]),
            ("P-384", &["sha256", "sha384"]),
            ("rsa:2048", &["sha1", "sha256", "sha384", "sha512"]),
            ("rsa:3072", &["sha256"]),
        ] {
            openssl.make_key("device.key", kind);
            for digest in digests {
                for options in ["", "-newhdr", "-config greedy.cnf", "-text"] {
                    let csr = openssl.make_csr("device.key", &format!("-{digest} {options}"));
                    sign_and_verify(&openssl, &root, &csr, "device.key");
                }
            }
        }
    }

    #[test]
    fn any_subject_will_do() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        openssl.make_key("device.key", "P-256");
        for subject in [
            "/",
            "/CN=root",
            "/DC=a/DC=b/O=x+OU=y/CN=",
            "/CN=Kamera Tür",
            "/UID=1/SN=x",
        ] {
            let csr = openssl.run_with(
                "req -new -utf8 -key device.key -multivalue-rdn -subj",
                &[subject],
            );
            sign_and_verify(&openssl, &root, &csr, "device.key");
        }
    }

    #[test]
    fn any_text_around_and_any_line_ends_will_do() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        openssl.make_key("device.key", "P-384");
        let csr = openssl.make_csr("device.key", "");
        for text in [
            csr.replace('\n', "\r\n"),
            csr.replace('\n', "\n\n"),
            csr.replace('\n', ""),
            format!("-- cam --\n{}\n{csr}trailer", root.cert_pem()),
            csr.trim().to_owned(),
        ] {
            sign_and_verify(&openssl, &root, &text, "device.key");
        }
    }

    #[test]
    fn keys_and_signatures_we_cannot_use_are_named() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        for (kind, options, message) in [
            ("rsa:1024", "", "an RSA key of 1024 bits is too weak"),
            ("rsa:2040", "", "an RSA key of 2040 bits is too weak"),
            ("ED25519", "", "Ed25519 keys are not supported: use a P-256"),
            ("ED448", "", "Ed448 keys are not supported: use a P-256"),
            (
                "RSA-PSS",
                "",
                "RSASSA-PSS keys are not supported: use a P-256",
            ),
            (
                "P-521",
                "",
                "EC keys on curve P-521 are not supported: use a P-256",
            ),
            (
                "secp256k1",
                "",
                "EC keys on curve secp256k1 are not supported",
            ),
            (
                "P-256",
                "-sha512",
                "signatures made with ecdsa-with-SHA512 are not supported",
            ),
            (
                "P-384",
                "-sha1",
                "signatures made with ecdsa-with-SHA1 are not supported",
            ),
            (
                "rsa:2048",
                "-sha224",
                "signatures made with sha224WithRSAEncryption are not",
            ),
            (
                "rsa:2048",
                "-sigopt rsa_padding_mode:pss",
                "signatures made with RSASSA-PSS are not",
            ),
        ] {
            openssl.make_key("device.key", kind);
            let csr = openssl.make_csr("device.key", options);
            let error = sign(&root, &csr).expect_err(kind).to_string();
            assert!(error.starts_with(message), "{kind}: {error}");
        }
    }

    #[test]
    fn odd_encodings_of_curves_are_named() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        openssl.make_key("device.key", "P-256");
        for (options, message) in [
            (
                "-conv_form compressed",
                "the public key is a compressed point",
            ),
            (
                "-param_enc explicit",
                "the curve of the EC key is written out",
            ),
        ] {
            openssl.run(&format!("ec -in device.key -out odd.key {options}"));
            let csr = openssl.make_csr("odd.key", "");
            let error = sign(&root, &csr).expect_err(options).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn d08_a_request_not_signed_by_its_own_key_is_refused() {
        let mine = Sample::get();
        let other = Sample::make();
        let (mine, other) = (split(&mine.der).unwrap(), split(&other.der).unwrap());
        let forged = pem_of(mine.signed, other.signature);
        assert_eq!(sign(&device_root(), &forged), Err(Error::Signature));
    }

    #[test]
    fn what_is_no_request_is_named() {
        let root = device_root();
        let too_long = " ".repeat(MAX_BYTES + 1);
        let damaged = pem::encode("CERTIFICATE REQUEST", b"0");
        for (text, message) in [
            ("", "there is no CERTIFICATE REQUEST block"),
            ("hello", "there is no CERTIFICATE REQUEST block"),
            (
                root.cert_pem(),
                "this is a CERTIFICATE block: send a CERTIFICATE REQUEST",
            ),
            (
                root.key_pem(),
                "this is a private key, which must stay on the device",
            ),
            (&damaged, "the certificate request is damaged"),
            (
                &too_long,
                "a certificate request of 65537 bytes is too long",
            ),
            (
                "-----BEGIN CERTIFICATE REQUEST-----\n???\n-----END CERTIFICATE REQUEST-----",
                "the CERTIFICATE REQUEST block is not valid base64",
            ),
        ] {
            let error = sign(&root, text).expect_err(text).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    /// A request made in process.
    struct Sample {
        der: Vec<u8>,
    }

    impl Sample {
        fn make() -> Self {
            let key = rcgen::KeyPair::generate().expect("random numbers");
            let params = rcgen::CertificateParams::new(["cam.local".to_owned()]).expect("a name");
            let der = params
                .serialize_request(&key)
                .expect("a request")
                .der()
                .to_vec();
            Self { der }
        }

        fn get() -> &'static Self {
            static SAMPLE: OnceLock<Sample> = OnceLock::new();
            SAMPLE.get_or_init(Self::make)
        }
    }

    fn pem_of(signed: &[u8], signature: &[u8]) -> String {
        const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let signature = der::write_bit_string(signature);
        let der = der::write(der::SEQUENCE, &[signed, ECDSA_WITH_SHA256, &signature]);
        pem::encode("CERTIFICATE REQUEST", &der)
    }

    #[test]
    fn no_bit_of_what_is_signed_can_be_changed() {
        let parts = split(&Sample::get().der).expect("a request");
        let (signed, signature) = (parts.signed, parts.signature);
        public_key(&pem_of(signed, signature)).expect("unchanged");
        for index in 0..signed.len() {
            let mut changed = signed.to_vec();
            changed[index] ^= 1;
            assert!(public_key(&pem_of(&changed, signature)).is_err(), "{index}");
        }
        for index in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[index] ^= 1;
            assert!(public_key(&pem_of(signed, &changed)).is_err(), "{index}");
        }
    }

    proptest! {
        #[test]
        fn mutated_requests_never_panic_and_never_give_another_key(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let original = &Sample::get().der;
            let key = public_key(&pem::encode("CERTIFICATE REQUEST", original)).unwrap();
            let mut der = original.clone();
            for (index, byte) in changes {
                let index = index.index(der.len());
                der[index] = byte;
            }
            if let Some(cut) = cut {
                der.truncate(cut.index(der.len()));
            }
            if let Ok(found) = public_key(&pem::encode("CERTIFICATE REQUEST", &der)) {
                prop_assert_eq!(found, key);
            }
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            prop_assert!(public_key(&pem::encode("CERTIFICATE REQUEST", &bytes)).is_err());
        }
    }
}
