use std::fmt;

use rcgen::{
    CertificateParams, CrlDistributionPoint, Issuer, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;

use super::cert::{parse, public_key, subject_key_id, validity};
use super::crl::ListContent;
use super::der::{self, Reader};
use super::key::{PrivateKey, PublicKey};
use super::{CertName, Error, Result, ServerNames, Validity, csr, hex, pem, profile, sha256};

/// A root certificate with its key: it issues the leaves of one hierarchy.
pub struct Authority {
    cert_pem: String,
    key_pem: String,
    key: KeyPair,
    public: PublicKey,
    /// The subject byte for byte: leaves must carry exactly this as their issuer.
    subject: Vec<u8>,
    key_id: Vec<u8>,
    validity: Validity,
    /// Where device certificates say that revocations are listed.
    list_url: Option<String>,
}

impl Authority {
    /// Makes a root with a new P-256 key, valid for 20 years and a day before `now`. `label` (`server`,
    /// `device`) becomes part of its common name, with 16 random characters.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] without random numbers.
    pub fn generate(label: &str, now: OffsetDateTime) -> Result<Self> {
        let (key, public) = new_key()?;
        let cert = profile::root(label, now, &public)?
            .self_signed(&key)
            .map_err(|error| Error::Internal(format!("cannot make a root: {error}")))?;
        let key_pem = pem::encode("PRIVATE KEY", key.serialized_der());
        Self::assemble(cert.der(), key_pem, key, public)
    }

    /// Takes up an existing root, its own or anybody's: RSA (2048 to 4096 bits), P-256 or P-384, the key
    /// in PKCS #8, PKCS #1 or SEC 1 form. Of several certificates the first counts.
    ///
    /// # Errors
    ///
    /// [`Error::BadPem`], [`Error::BadCert`] if it may not issue certificates, [`Error::BadKey`],
    /// [`Error::Unsupported`], [`Error::WeakKey`], [`Error::NotAPair`].
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self> {
        let cert = pem::cert_der(cert_pem.as_bytes())?;
        let public = public_key(&parse(&cert)?)?;
        public.check_size()?;
        let key = PrivateKey::from_pem(key_pem)?.into_signer(&public)?;
        let authority = Self::assemble(&cert, key_pem.to_owned(), key, public)?;
        authority.try_out()?;
        Ok(authority)
    }

    /// Makes the root that takes this one's place: the same name, byte for byte, and a new P-256 key.
    ///
    /// As the names are the same, a certificate for the new key that the old one signs
    /// ([`Self::vouch_for`]) is self-issued, and path lengths do not count it (RFC 5280, section 4.2.1.9):
    /// a root with path length 0 may have such a one below it.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn successor(&self, now: OffsetDateTime) -> Result<Self> {
        let (key, public) = new_key()?;
        let params = profile::root("", now, &public)?;
        let cert = sign(
            params,
            &public,
            &key,
            &self.subject,
            &[],
            Some(&self.subject),
        )?;
        let key_pem = pem::encode("PRIVATE KEY", key.serialized_der());
        let successor = Self::assemble(&cert, key_pem, key, public)?;
        successor.try_out()?;
        Ok(successor)
    }

    /// Signs the key of a [`Self::successor`], for those who only know this root: PEM. It goes between the
    /// successor's leaves and this root, until `until`.
    ///
    /// # Errors
    ///
    /// [`Error::Validity`], [`Error::Internal`].
    pub fn vouch_for(
        &self,
        successor: &Self,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<String> {
        let mut params = profile::root("", now, &successor.public)?;
        let validity = self.clip(Validity {
            not_before: params.not_before,
            not_after: until,
        })?;
        params.not_after = validity.not_after;
        params.use_authority_key_identifier_extension = true;
        let cert = sign(
            params,
            &successor.public,
            &self.key,
            &self.subject,
            &self.key_id,
            Some(&successor.subject),
        )?;
        if !self.has_issued(&cert) {
            return Err(Error::Internal(
                "the certificate between the two roots does not verify".to_owned(),
            ));
        }
        Ok(pem::encode("CERTIFICATE", &cert))
    }

    fn assemble(cert: &[u8], key_pem: String, key: KeyPair, public: PublicKey) -> Result<Self> {
        let parsed = parse(cert)?;
        check_may_issue(&parsed)?;
        Ok(Self {
            cert_pem: pem::encode("CERTIFICATE", cert),
            key_pem,
            key,
            subject: parsed.subject().as_raw().to_vec(),
            key_id: subject_key_id(&parsed).unwrap_or_else(|| public.key_id()),
            validity: validity(&parsed),
            public,
            list_url: None,
        })
    }

    /// Names the address of its revocation list in the device certificates that it issues from now on.
    #[must_use]
    pub fn with_list_url(mut self, url: Option<String>) -> Self {
        self.list_url = url;
        self
    }

    /// Issues a leaf to nobody and checks it, so that a root that cannot work fails at start-up.
    fn try_out(&self) -> Result<()> {
        let name = CertName::parse("trial").expect("a plain word is a name");
        let leaf = profile::device(&name, self.validity, &self.public)?;
        if self.has_issued(&self.sign(leaf, &self.public)?) {
            return Ok(());
        }
        Err(Error::BadCert(
            "certificates issued by this root do not verify: use another root".to_owned(),
        ))
    }

    /// The root certificate, one PEM block.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The root's private key in PEM, as it was made (PKCS #8) or loaded.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// From when until when the root itself is valid. Leaves end with it at the latest.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Makes a P-256 key and a server certificate for it.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`] for a host name that is none, [`Error::Validity`], [`Error::Internal`].
    pub fn issue_server(&self, names: &ServerNames, validity: Validity) -> Result<Issued> {
        let (key, public) = new_key()?;
        let params = profile::server(names, self.clip(validity)?, &public)?;
        self.issue(params, &public, &key)
    }

    /// Makes a P-256 key and a device certificate for it.
    ///
    /// # Errors
    ///
    /// [`Error::Validity`], [`Error::Internal`].
    pub fn issue_device(&self, name: &CertName, validity: Validity) -> Result<Issued> {
        let (key, public) = new_key()?;
        let params = self.device(name, validity, &public)?;
        self.issue(params, &public, &key)
    }

    /// Makes a device certificate for the key of a request (PKCS #10, PEM, at most 64 KiB).
    ///
    /// The subject is `name`; of the request only the public key is taken, its subject and whatever
    /// extensions it asks for are ignored. Keys: RSA from 2048 to 8192 bits, P-256, P-384. Signatures:
    /// RSA PKCS #1 v1.5 with SHA-1, 256, 384 or 512; ECDSA with SHA-256 or SHA-384.
    ///
    /// # Errors
    ///
    /// [`Error::BadPem`], [`Error::BadCsr`], [`Error::BadKey`], [`Error::Unsupported`],
    /// [`Error::WeakKey`], [`Error::Signature`]: the client's. [`Error::Validity`], [`Error::Internal`]:
    /// ours.
    pub fn sign_csr(
        &self,
        name: &CertName,
        csr_pem: &str,
        validity: Validity,
    ) -> Result<IssuedCert> {
        let public = csr::public_key(csr_pem)?;
        let params = self.device(name, validity, &public)?;
        self.issue_cert(params, &public)
    }

    fn device(
        &self,
        name: &CertName,
        validity: Validity,
        public: &PublicKey,
    ) -> Result<CertificateParams> {
        let mut params = profile::device(name, self.clip(validity)?, public)?;
        params.crl_distribution_points = self
            .list_url
            .iter()
            .map(|url| CrlDistributionPoint {
                uris: vec![url.clone()],
            })
            .collect();
        Ok(params)
    }

    /// Signs a revocation list; DER.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`], also for a serial number that is none.
    pub fn sign_list(&self, content: &ListContent<'_>) -> Result<Vec<u8>> {
        let mut layout = CertificateParams::default();
        layout.key_identifier_method = KeyIdMethod::PreSpecified(self.key_id.clone());
        let unsigned = content
            .params(&self.key_id)?
            .signed_by(&Issuer::new(layout, Unsigned(&self.key)))
            .map_err(|error| Error::Internal(format!("cannot lay out a list: {error}")))?;
        let (tbs, algorithm) = list_with_issuer(unsigned.der(), &self.subject)
            .ok_or_else(|| Error::Internal("rcgen gave no list".to_owned()))?;
        let signature = self
            .key
            .sign(&tbs)
            .map_err(|error| Error::Internal(format!("cannot sign a list: {error}")))?;
        Ok(der::write(
            der::SEQUENCE,
            &[&tbs, algorithm, &der::write_bit_string(&signature)],
        ))
    }

    /// Whether `cert` (DER) names this root as its issuer and carries a signature of its key. Says
    /// nothing about its dates or its use.
    pub fn has_issued(&self, cert: &[u8]) -> bool {
        let Ok(parsed) = parse(cert) else {
            return false;
        };
        parsed.issuer().as_raw() == self.subject && self.has_signed(cert)
    }

    fn has_signed(&self, cert: &[u8]) -> bool {
        let parts = || {
            let mut cert = Reader::new(cert).read(der::SEQUENCE)?.values();
            let signed = cert.read(der::SEQUENCE)?.raw;
            let algorithm = cert.read(der::SEQUENCE)?.values();
            let signature = cert.read(der::BIT_STRING)?.bit_string()?;
            Some((signed, algorithm, signature))
        };
        parts().is_some_and(|(signed, algorithm, signature)| {
            self.public.verify(algorithm, signed, signature).is_ok()
        })
    }

    /// A leaf that outlives its root would only look valid.
    fn clip(&self, validity: Validity) -> Result<Validity> {
        if validity.not_before >= self.validity.not_after {
            return Err(Error::Validity(format!(
                "the root certificate ended at {}: remove it and its key to have a new one made",
                self.validity.not_after
            )));
        }
        Ok(Validity {
            not_before: validity.not_before,
            not_after: validity.not_after.min(self.validity.not_after),
        })
    }

    fn issue(
        &self,
        params: CertificateParams,
        public: &PublicKey,
        key: &KeyPair,
    ) -> Result<Issued> {
        Ok(Issued {
            cert: self.issue_cert(params, public)?,
            key_pem: pem::encode("PRIVATE KEY", key.serialized_der()),
        })
    }

    fn issue_cert(&self, params: CertificateParams, public: &PublicKey) -> Result<IssuedCert> {
        let der = self.sign(params, public)?;
        let parsed = parse(&der)?;
        let Validity {
            not_before,
            not_after,
        } = validity(&parsed);
        let serial = hex(parsed.raw_serial());
        let cert_pem = pem::encode("CERTIFICATE", &der);
        Ok(IssuedCert {
            chain_pem: format!("{cert_pem}\n{}", self.cert_pem),
            cert_pem,
            serial,
            fingerprint: hex(&sha256(&der)),
            not_before,
            not_after,
        })
    }

    fn sign(&self, params: CertificateParams, public: &PublicKey) -> Result<Vec<u8>> {
        sign(params, public, &self.key, &self.subject, &self.key_id, None)
    }
}

/// Has rcgen lay the certificate out, puts the names in byte for byte, and signs the result.
///
/// rcgen would write the name of a root that it did not make in its own way (other string types, one
/// attribute per type), and clients, which compare names as bytes, would find no issuer.
fn sign(
    params: CertificateParams,
    public: &PublicKey,
    key: &KeyPair,
    issuer: &[u8],
    key_id: &[u8],
    subject: Option<&[u8]>,
) -> Result<Vec<u8>> {
    let mut layout = CertificateParams::default();
    layout.key_identifier_method = KeyIdMethod::PreSpecified(key_id.to_vec());
    let unsigned = params
        .signed_by(public, &Issuer::new(layout, Unsigned(key)))
        .map_err(|error| Error::Internal(format!("cannot lay out a certificate: {error}")))?;
    let (tbs, algorithm) = with_names(unsigned.der(), issuer, subject)
        .ok_or_else(|| Error::Internal("rcgen gave no certificate".to_owned()))?;
    let signature = key
        .sign(&tbs)
        .map_err(|error| Error::Internal(format!("cannot sign a certificate: {error}")))?;
    Ok(der::write(
        der::SEQUENCE,
        &[&tbs, algorithm, &der::write_bit_string(&signature)],
    ))
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("key", &self.public.kind)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// A certificate that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCert {
    /// The leaf, one PEM block.
    pub cert_pem: String,
    /// What the `.pem` file of a leaf holds: the leaf, a blank line, the root.
    pub chain_pem: String,
    /// Serial number: 32 lower-case hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the DER: 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// First moment of validity, as written in the certificate.
    pub not_before: OffsetDateTime,
    /// Last moment of validity, as written in the certificate: never after the root's.
    pub not_after: OffsetDateTime,
}

/// A certificate that was just made together with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub cert: IssuedCert,
    /// Its private key, PKCS #8.
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("cert", &self.cert)
            .finish_non_exhaustive()
    }
}

/// Stands in for the key while rcgen lays a certificate out: the real signature comes afterwards.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// The part of a certificate that is signed, with other names, and its signature algorithm. The subject
/// is kept where none is given.
fn with_names<'a>(
    cert: &'a [u8],
    issuer: &[u8],
    subject: Option<&[u8]>,
) -> Option<(Vec<u8>, &'a [u8])> {
    let mut cert = Reader::new(cert).read(der::SEQUENCE)?.values();
    let mut tbs = cert.read(der::SEQUENCE)?.values();
    let version = tbs.read(der::context(0))?.raw;
    let serial = tbs.read(der::INTEGER)?.raw;
    let algorithm = tbs.read(der::SEQUENCE)?.raw;
    tbs.read(der::SEQUENCE)?;
    let validity = tbs.read(der::SEQUENCE)?.raw;
    let held = tbs.read(der::SEQUENCE)?.raw;
    let subject = subject.unwrap_or(held);
    let parts = [
        version,
        serial,
        algorithm,
        issuer,
        validity,
        subject,
        tbs.rest(),
    ];
    Some((der::write(der::SEQUENCE, &parts), algorithm))
}

/// The part of a revocation list that is signed, with another issuer, and its signature algorithm.
fn list_with_issuer<'a>(list: &'a [u8], issuer: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut list = Reader::new(list).read(der::SEQUENCE)?.values();
    let mut tbs = list.read(der::SEQUENCE)?.values();
    let version = tbs.read(der::INTEGER)?.raw;
    let algorithm = tbs.read(der::SEQUENCE)?.raw;
    tbs.read(der::SEQUENCE)?;
    let tbs = der::write(der::SEQUENCE, &[version, algorithm, issuer, tbs.rest()]);
    Some((tbs, algorithm))
}

pub(super) fn new_key() -> Result<(KeyPair, PublicKey)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| Error::Internal(format!("cannot make a key: {error}")))?;
    let public = PublicKey::from_spki(&key.subject_public_key_info())?;
    Ok((key, public))
}

/// A root must say that it is one: clients check, and would refuse its leaves.
fn check_may_issue(cert: &X509Certificate<'_>) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::BadCert(format!(
            "this is no root certificate: {why}"
        )))
    };
    if cert.subject().iter_rdn().next().is_none() {
        return refused("its subject is empty");
    }
    match cert.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {}
        _ => return refused("basicConstraints does not say CA:TRUE"),
    }
    match cert.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => refused("keyUsage lacks keyCertSign"),
        Err(_) => refused("keyUsage is damaged"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use time::Duration;

    use super::super::testing::{Openssl, a_year, device_root};
    use super::super::{check_pair, describe_cert, describe_key};
    use super::*;

    fn cam() -> CertName {
        CertName::parse("cam-1").expect("a name")
    }

    #[test]
    fn a_root_has_its_profile() {
        let now = OffsetDateTime::now_utc();
        let root = Authority::generate("device", now).unwrap();
        let described = describe_cert(root.cert_pem().as_bytes()).unwrap();
        let number = described.subject.strip_suffix(",O=pavs").unwrap();
        let number = number.strip_prefix("CN=pavs device root ").unwrap();
        assert!(number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(described.issuer, described.subject);
        assert_eq!((described.is_ca, described.path_length), (true, Some(0)));
        assert_eq!(
            described.key_usage,
            ["digitalSignature", "keyCertSign", "cRLSign"]
        );
        assert_eq!(described.extended_key_usage, Vec::<String>::new());
        assert_eq!(described.extensions.len(), 3);
        assert!(described.subject_key_identifier.is_some());
        assert!(
            described
                .extensions
                .contains(&"basicConstraints, critical: CA:TRUE, path length 0".to_owned())
        );
        let years = (root.validity().not_after - now).whole_days() / 365;
        assert_eq!(years, 20);
        assert!(root.key_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(check_pair(root.cert_pem(), root.key_pem()), Ok(()));
    }

    #[test]
    fn a_successor_is_known_to_those_who_know_the_old_root() {
        let now = OffsetDateTime::now_utc();
        let old = Authority::generate("server", now).unwrap();
        let new = old.successor(now).unwrap();
        let between = old.vouch_for(&new, now, now + Duration::days(30)).unwrap();
        let said = describe_cert(between.as_bytes()).unwrap();
        assert_eq!((said.is_ca, said.path_length), (true, Some(0)));
        assert_eq!(said.subject, said.issuer);
        assert!((said.validity.not_after - now - Duration::days(30)).abs() <= Duration::SECOND);
        let names = ServerNames {
            common_name: CertName::parse("localhost").unwrap(),
            dns: vec!["localhost".to_owned()],
            ips: vec![],
        };
        let leaf = new.issue_server(&names, a_year()).unwrap().cert.cert_pem;
        assert!(!old.has_issued(&pem::cert_der(leaf.as_bytes()).unwrap()));
        let Some(openssl) = Openssl::find() else {
            return;
        };
        openssl.write("between.pem", &between);
        for root in [&old, &new] {
            let between = "-untrusted between.pem -purpose sslserver";
            openssl.verify(root.cert_pem(), &leaf, between).unwrap();
        }
        let alone = openssl.verify(old.cert_pem(), &leaf, "");
        assert!(alone.is_err(), "{alone:?}");
        let both = format!("{}{}", old.cert_pem(), new.cert_pem());
        openssl.verify(&both, &leaf, "").unwrap();
    }

    #[test]
    fn a_device_leaf_has_its_profile() {
        let root = device_root();
        let validity = a_year();
        let issued = root.issue_device(&cam(), validity).unwrap();
        let described = describe_cert(issued.cert.chain_pem.as_bytes()).unwrap();
        assert_eq!(described.public_cert, issued.cert.cert_pem);
        assert_eq!(described.subject, "CN=cam-1,OU=device,O=pavs");
        assert_eq!(described.key_usage, ["digitalSignature"]);
        assert_eq!(described.extended_key_usage, ["clientAuth"]);
        assert!(
            described
                .extensions
                .contains(&"basicConstraints: CA:FALSE".to_owned())
        );
        let root_described = describe_cert(root.cert_pem().as_bytes()).unwrap();
        assert_eq!(
            described.authority_key_identifier,
            root_described.subject_key_identifier
        );
        assert_eq!(described.serial_number, format!("0x{}", issued.cert.serial));
        assert_eq!(issued.cert.serial.len(), 32);
        assert_eq!(described.fingerprint_sha256, issued.cert.fingerprint);
        assert_eq!(
            described.validity.not_before.unix_timestamp(),
            validity.not_before.unix_timestamp()
        );
        assert_eq!(issued.cert.not_after, described.validity.not_after);
        assert_eq!(
            describe_key(&issued.key_pem).unwrap().key_curve,
            Some("P-256")
        );
        assert_eq!(check_pair(&issued.cert.chain_pem, &issued.key_pem), Ok(()));
        assert_eq!(
            check_pair(root.cert_pem(), &issued.key_pem),
            Err(Error::NotAPair)
        );
    }

    #[test]
    fn the_chain_is_leaf_blank_line_root() {
        let root = device_root();
        let cert = root.issue_device(&cam(), a_year()).unwrap().cert;
        let (leaf, rest) = cert.chain_pem.split_once("\n\n").unwrap();
        assert_eq!(format!("{leaf}\n"), cert.cert_pem);
        assert_eq!(rest, root.cert_pem());
    }

    #[test]
    fn an_authority_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&device_root());
    }

    #[test]
    fn no_private_key_in_debug_output() {
        let root = device_root();
        let issued = root.issue_device(&cam(), a_year()).unwrap();
        let text = format!("{root:?} {issued:?}");
        assert!(!text.contains("PRIVATE"), "{text}");
    }

    #[test]
    fn a_leaf_ends_with_its_root() {
        let root = device_root();
        let end = root.validity().not_after;
        let validity = Validity::from_now(OffsetDateTime::now_utc(), Duration::MAX);
        let issued = root.issue_device(&cam(), validity).unwrap();
        assert_eq!(issued.cert.not_after, end);

        let after = Validity {
            not_before: end,
            not_after: end + Duration::DAY,
        };
        let error = root.issue_device(&cam(), after).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the root certificate ended at ")
        );
    }

    #[test]
    fn openssl_accepts_both_leaves_for_their_purpose_only() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        let device = root.issue_device(&cam(), a_year()).unwrap();
        let verify = |leaf: &Issued, options: &str| {
            openssl.verify(root.cert_pem(), &leaf.cert.cert_pem, options)
        };
        verify(&device, "-purpose sslclient").expect("clientAuth");
        verify(&device, "-purpose sslserver").expect_err("no serverAuth");

        let names = ServerNames {
            common_name: CertName::parse("localhost").unwrap(),
            dns: ["localhost", "pavs._http._tcp.local.", "localhost"]
                .map(str::to_owned)
                .to_vec(),
            ips: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        };
        let server = root.issue_server(&names, a_year()).unwrap();
        verify(&server, "-purpose sslclient").expect_err("no clientAuth");
        for name in [
            "-verify_hostname localhost",
            "-verify_hostname pavs._http._tcp.local",
            "-verify_ip ::1",
            "-verify_ip 127.0.0.1",
        ] {
            verify(&server, &format!("-purpose sslserver {name}")).expect(name);
        }
        verify(&server, "-purpose sslserver -verify_ip 127.0.0.2").expect_err("another address");
        let described = describe_cert(server.cert.cert_pem.as_bytes()).unwrap();
        assert_eq!(
            described.subject_alt_names,
            [
                "DNS:localhost",
                "DNS:pavs._http._tcp.local",
                "IP:127.0.0.1",
                "IP:::1"
            ]
        );
        assert_eq!(described.subject, "CN=localhost,OU=server,O=pavs");
    }

    #[test]
    fn an_own_root_is_loaded_again() {
        let root = device_root();
        let again = Authority::load(root.cert_pem(), root.key_pem()).unwrap();
        assert_eq!(again.cert_pem(), root.cert_pem());
        let issued = again.issue_device(&cam(), a_year()).unwrap();
        let der = super::super::cert_der(issued.cert.cert_pem.as_bytes()).unwrap();
        assert!(root.has_issued(&der));
        assert!(!device_root().has_issued(&der));
    }

    /// Names that rcgen would not write back the way they were.
    const FOREIGN: &str = "\
[req]
distinguished_name = dn
x509_extensions = ext
string_mask = pkix
prompt = no
utf8 = yes
[dn]
0.DC = org
1.DC = example
O = Härdware, Inc.
0.OU = one
1.OU = two
+UID = 7
emailAddress = a@b.c
CN = a root of 北
[ext]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,digitalSignature,keyCertSign,cRLSign
subjectKeyIdentifier = hash
";

    #[test]
    fn foreign_roots_of_every_kind_and_key_form_are_used() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        openssl.write("foreign.cnf", FOREIGN);
        openssl.make_key("leaf.key", "P-256");
        let csr = openssl.make_csr("leaf.key", "");
        for (kind, forms) in [
            (
                "rsa:2048",
                &["rsa -in root.key -traditional", "pkey -in root.key"][..],
            ),
            ("rsa:4096", &["rsa -in root.key -traditional"]),
            (
                "P-256",
                &[
                    "ec -in root.key",
                    "ec -in root.key -no_public",
                    "pkey -in root.key",
                ],
            ),
            (
                "P-384",
                &[
                    "ec -in root.key",
                    "ec -in root.key -no_public",
                    "pkey -in root.key",
                ],
            ),
        ] {
            openssl.make_key("root.key", kind);
            let cert =
                openssl.run("req -new -x509 -config foreign.cnf -key root.key -days 9 -sha256");
            let text = openssl.run_with(
                "req -new -x509 -config foreign.cnf -key root.key -text -days",
                &["9"],
            );
            for form in forms {
                let key = openssl.run(form);
                for cert in [&cert, &text] {
                    let root = Authority::load(cert, &key)
                        .unwrap_or_else(|error| panic!("{form}: {error}"));
                    assert!(root.cert_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
                    let device = root.issue_device(&cam(), a_year()).unwrap();
                    let signed = root.sign_csr(&cam(), &csr, a_year()).unwrap();
                    for leaf in [&device.cert.cert_pem, &signed.cert_pem] {
                        openssl
                            .verify(cert, leaf, "-purpose sslclient")
                            .unwrap_or_else(|error| panic!("{form}: {error}"));
                    }
                    assert_eq!(check_pair(cert, &key), Ok(()));
                    openssl.write("list.pem", list_of(&root, &[&device.cert.serial]));
                    openssl.write("signed.pem", &signed.cert_pem);
                    openssl.write("device.pem", &device.cert.cert_pem);
                    openssl.write("cert.pem", cert);
                    let judge = |leaf: &str| {
                        openssl.try_run(
                            "verify -x509_strict -crl_check -CAfile cert.pem -CRLfile list.pem",
                            &[leaf],
                        )
                    };
                    judge("signed.pem").unwrap_or_else(|error| panic!("{form}: {error}"));
                    let revoked = judge("device.pem").unwrap_err();
                    assert!(revoked.contains("revoked"), "{form}: {revoked}");
                }
            }
        }
    }

    /// A list of this root that names these serial numbers.
    fn list_of(root: &Authority, serials: &[&str]) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked: Vec<_> = serials
            .iter()
            .map(|serial| super::super::Revoked {
                serial: (*serial).to_owned(),
                since: now,
                superseded: false,
            })
            .collect();
        let list = root.sign_list(&ListContent {
            number: 1,
            this_update: now,
            next_update: now + Duration::DAY,
            revoked: &revoked,
        });
        super::super::list_pem(&list.unwrap())
    }

    #[test]
    fn a_serial_number_that_is_none_makes_no_list() {
        let root = device_root();
        let now = OffsetDateTime::now_utc();
        for serial in ["xyz", "+1", "é"] {
            let revoked = [super::super::Revoked {
                serial: serial.to_owned(),
                since: now,
                superseded: true,
            }];
            let content = ListContent {
                number: 1,
                this_update: now,
                next_update: now + Duration::DAY,
                revoked: &revoked,
            };
            assert!(root.sign_list(&content).is_err(), "{serial}");
        }
    }

    #[test]
    fn roots_that_cannot_work_are_refused() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        let root = device_root();
        let other = device_root();
        let leaf = root.issue_device(&cam(), a_year()).unwrap();
        let refused = |cert: &str, key: &str| Authority::load(cert, key).unwrap_err().to_string();

        assert_eq!(
            Authority::load(root.cert_pem(), other.key_pem()).unwrap_err(),
            Error::NotAPair
        );
        assert_eq!(
            refused(&leaf.cert.cert_pem, &leaf.key_pem),
            "this is no root certificate: basicConstraints does not say CA:TRUE"
        );
        assert_eq!(refused("", root.key_pem()), "there is no CERTIFICATE block");
        assert_eq!(
            refused(root.cert_pem(), ""),
            "there is no PRIVATE KEY block"
        );

        openssl.write("root.key", root.key_pem());
        let encrypted = openssl.run("pkcs8 -topk8 -in root.key -passout pass:secret");
        assert!(refused(root.cert_pem(), &encrypted).starts_with("the private key is encrypted"));
        let encrypted = openssl.run("ec -in root.key -aes256 -passout pass:secret");
        assert!(refused(root.cert_pem(), &encrypted).starts_with("the private key is encrypted"));

        openssl.write("foreign.cnf", FOREIGN);
        for (kind, message) in [
            ("rsa:1024", "an RSA key of 1024 bits is too weak"),
            ("ED25519", "Ed25519 keys are not supported"),
            ("P-521", "EC keys on curve P-521 are not supported"),
        ] {
            openssl.make_key("root.key", kind);
            let cert = openssl.run("req -new -x509 -config foreign.cnf -key root.key");
            let error = refused(&cert, &openssl.read("root.key"));
            assert!(error.starts_with(message), "{error}");
        }

        openssl.make_key("one.key", "P-256");
        openssl.make_key("two.key", "P-256");
        let cert = openssl.run("req -new -x509 -config foreign.cnf -key one.key");
        let bare = openssl.run("ec -in two.key -no_public");
        assert_eq!(Authority::load(&cert, &bare).unwrap_err(), Error::NotAPair);
    }
}
