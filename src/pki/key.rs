//! Public and private keys: RSA, P-256 and P-384, in every form they are stored in.
//!
//! `rcgen` with `ring` only takes PKCS #8, so the older forms (PKCS #1 "RSA PRIVATE KEY", SEC 1
//! "EC PRIVATE KEY") are taken apart and put together again as PKCS #8.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::der_parser::oid::Oid;

use super::der::{self, Reader, Value};
use super::{Error, Result, pem};

/// Smallest RSA modulus that is accepted.
const RSA_MIN_BITS: u32 = 2048;
/// Largest RSA modulus `ring` checks signatures with.
const RSA_MAX_BITS: u32 = 8192;

// Object identifiers, DER content only.
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// pkcs-1 without its last number, which says which of its algorithms.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// ecdsa-with-SHA2 without its last number, which says which hash.
const ECDSA_WITH_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

const WHAT_TO_USE: &str = "use a P-256, a P-384 or an RSA key of at least 2048 bits";

/// An elliptic curve we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            P256 => Some(Self::P256),
            P384 => Some(Self::P384),
            _ => None,
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => P256,
            Self::P384 => P384,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
        }
    }

    /// Length of a coordinate and of a private key.
    fn bytes(self) -> usize {
        self.bits() as usize / 8
    }
}

/// What sort of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa { bits: u32 },
    Ec(Curve),
}

/// A public key of a kind we know.
///
/// `bits` is what the BIT STRING of a SubjectPublicKeyInfo holds: the uncompressed point, or the
/// PKCS #1 RSAPublicKey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self> {
        let damaged = || Error::BadKey("the public key is damaged".to_owned());
        let mut values = Reader::new(spki);
        let mut fields = values.read(der::SEQUENCE).ok_or_else(damaged)?.values();
        let algorithm = fields.read(der::SEQUENCE).ok_or_else(damaged)?;
        let bits = fields
            .read(der::BIT_STRING)
            .and_then(|value| value.bit_string())
            .ok_or_else(damaged)?;
        if !values.rest().is_empty() || !fields.rest().is_empty() {
            return Err(damaged());
        }
        match Algorithm::read(algorithm.values())? {
            Algorithm::Rsa => Self::rsa(bits),
            Algorithm::Ec(curve) => Self::ec(curve, bits),
        }
    }

    fn rsa(bits: &[u8]) -> Result<Self> {
        let modulus = Reader::new(bits)
            .read(der::SEQUENCE)
            .and_then(|key| key.values().read(der::INTEGER)?.unsigned())
            .and_then(|modulus| Some((modulus.first()?.leading_zeros(), modulus.len())));
        let Some((leading_zeros, bytes)) = modulus else {
            return Err(Error::BadKey("the RSA public key is damaged".to_owned()));
        };
        let size = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| bytes.checked_mul(8))
            .unwrap_or(u32::MAX);
        Ok(Self {
            kind: KeyKind::Rsa {
                bits: size - leading_zeros,
            },
            bits: bits.to_vec(),
        })
    }

    fn ec(curve: Curve, bits: &[u8]) -> Result<Self> {
        match bits {
            [4, point @ ..] if point.len() == 2 * curve.bytes() => Ok(Self {
                kind: KeyKind::Ec(curve),
                bits: bits.to_vec(),
            }),
            [2 | 3, ..] => Err(Error::Unsupported(
                "the public key is a compressed point: use the uncompressed form (openssl ec -conv_form uncompressed)".to_owned(),
            )),
            _ => Err(Error::BadKey(format!(
                "the public key is no point of {}",
                curve.name()
            ))),
        }
    }

    /// Refuses RSA keys that are too weak to trust or too large to check.
    pub(super) fn check_size(&self) -> Result<()> {
        match self.kind {
            KeyKind::Rsa { bits } if bits < RSA_MIN_BITS => Err(Error::WeakKey { bits }),
            KeyKind::Rsa { bits } if bits > RSA_MAX_BITS => Err(Error::Unsupported(format!(
                "an RSA key of {bits} bits is too large: use at most {RSA_MAX_BITS} bits"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks `signature` over `message`; `algorithm` is the content of an AlgorithmIdentifier.
    pub(super) fn verify(
        &self,
        algorithm: Reader<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let scheme = signature_scheme(self.kind, algorithm)?;
        UnparsedPublicKey::new(scheme, &self.bits)
            .verify(message, signature)
            .map_err(|_| Error::Signature)
    }

    pub(super) fn spki_der(&self) -> Vec<u8> {
        let algorithm = Algorithm::of(self.kind).write();
        der::write(
            der::SEQUENCE,
            &[&algorithm, &der::write_bit_string(&self.bits)],
        )
    }

    /// Key identifier for SKI and AKI: the leftmost 160 bits of SHA-256 over the key (RFC 7093, method 1).
    pub(super) fn key_id(&self) -> Vec<u8> {
        super::sha256(&self.bits)[..20].to_vec()
    }
}

/// Makes `rcgen` write the key as it is, instead of choosing a curve by the signature's hash.
impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::Rsa { .. } => &PKCS_RSA_SHA256,
            KeyKind::Ec(Curve::P256) => &PKCS_ECDSA_P256_SHA256,
            KeyKind::Ec(Curve::P384) => &PKCS_ECDSA_P384_SHA384,
        }
    }
}

/// The AlgorithmIdentifier of a key.
#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Rsa,
    Ec(Curve),
}

impl Algorithm {
    fn of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa { .. } => Self::Rsa,
            KeyKind::Ec(curve) => Self::Ec(curve),
        }
    }

    fn read(mut fields: Reader<'_>) -> Result<Self> {
        let oid = fields.read(der::OID).map_or(&[][..], |oid| oid.content);
        match oid {
            RSA_ENCRYPTION => Ok(Self::Rsa),
            EC_PUBLIC_KEY => {
                let Some(curve) = fields.read(der::OID) else {
                    return Err(Error::Unsupported(
                        "the curve of the EC key is written out instead of named: make the key with a named curve (openssl ecparam -param_enc named_curve)".to_owned(),
                    ));
                };
                Curve::from_oid(curve.content).map(Self::Ec).ok_or_else(|| {
                    Error::Unsupported(format!(
                        "EC keys on curve {} are not supported: {WHAT_TO_USE}",
                        oid_name(curve.content)
                    ))
                })
            }
            _ => Err(Error::Unsupported(format!(
                "{} keys are not supported: {WHAT_TO_USE}",
                oid_name(oid)
            ))),
        }
    }

    fn write(self) -> Vec<u8> {
        match self {
            Self::Rsa => der::write(
                der::SEQUENCE,
                &[
                    &der::write(der::OID, &[RSA_ENCRYPTION]),
                    &der::write(der::NULL, &[]),
                ],
            ),
            Self::Ec(curve) => der::write(
                der::SEQUENCE,
                &[
                    &der::write(der::OID, &[EC_PUBLIC_KEY]),
                    &der::write(der::OID, &[curve.oid()]),
                ],
            ),
        }
    }
}

/// How to check a signature of this algorithm with a key of this kind.
///
/// SHA-1 with RSA is let through: the signature of a request only shows that its sender holds the
/// key, old firmware signs that way, and what we sign ourselves never uses it.
fn signature_scheme(
    kind: KeyKind,
    mut algorithm: Reader<'_>,
) -> Result<&'static dyn VerificationAlgorithm> {
    let oid = algorithm.read(der::OID).map_or(&[][..], |oid| oid.content);
    let (family, last) = match oid.split_last() {
        Some((&last, family)) => (family, last),
        None => (&[][..], 0),
    };
    let scheme: Option<&'static dyn VerificationAlgorithm> = match (kind, family, last) {
        (KeyKind::Rsa { .. }, PKCS1, 5) => {
            Some(&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY)
        }
        (KeyKind::Rsa { .. }, PKCS1, 11) => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        (KeyKind::Rsa { .. }, PKCS1, 12) => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        (KeyKind::Rsa { .. }, PKCS1, 13) => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        (KeyKind::Ec(Curve::P256), ECDSA_WITH_SHA2, 2) => Some(&signature::ECDSA_P256_SHA256_ASN1),
        (KeyKind::Ec(Curve::P256), ECDSA_WITH_SHA2, 3) => Some(&signature::ECDSA_P256_SHA384_ASN1),
        (KeyKind::Ec(Curve::P384), ECDSA_WITH_SHA2, 2) => Some(&signature::ECDSA_P384_SHA256_ASN1),
        (KeyKind::Ec(Curve::P384), ECDSA_WITH_SHA2, 3) => Some(&signature::ECDSA_P384_SHA384_ASN1),
        _ => None,
    };
    scheme.ok_or_else(|| {
        Error::Unsupported(format!(
            "signatures made with {} are not supported for this key: sign with SHA-256 (openssl req -sha256; PKCS #1 padding for RSA)",
            oid_name(oid)
        ))
    })
}

/// The usual name of an algorithm or curve, or its numbers.
pub(super) fn oid_name(oid: &[u8]) -> String {
    let numbers = Oid::new(oid.into()).to_id_string();
    let name = match numbers.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14" => "sha224WithRSAEncryption",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.10045.2.1" => "EC",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.10" => "secp256k1",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "" => "unnamed",
        _ => return numbers,
    };
    name.to_owned()
}

/// A private key, taken apart. It has no `Debug`, so that it cannot reach a log.
pub(super) enum PrivateKey {
    Rsa {
        /// The PKCS #1 RSAPrivateKey.
        pkcs1: Vec<u8>,
        public: PublicKey,
    },
    Ec {
        curve: Curve,
        /// Big-endian, exactly as long as the curve's coordinates.
        scalar: Vec<u8>,
        /// Absent when the file does not carry it (`openssl ec -no_public`).
        public: Option<PublicKey>,
    },
}

impl PrivateKey {
    /// Reads the first private key of a PEM text: PKCS #8, PKCS #1 or SEC 1.
    pub(super) fn from_pem(text: &str) -> Result<Self> {
        let block = pem::blocks(text)
            .find(|block| block.label.ends_with("PRIVATE KEY"))
            .ok_or_else(|| Error::BadPem("there is no PRIVATE KEY block".to_owned()))?;
        if block.is_encrypted() {
            return Err(Error::Unsupported(
                "the private key is encrypted: decrypt it first (openssl pkey -in root.key -out plain.key)".to_owned(),
            ));
        }
        let der = block.decode()?;
        match block.label {
            "PRIVATE KEY" => Self::from_pkcs8(&der),
            "RSA PRIVATE KEY" => Self::from_pkcs1(&der),
            "EC PRIVATE KEY" => Self::from_sec1(&der, None),
            other => Err(Error::Unsupported(format!(
                "{other} blocks are not supported: {WHAT_TO_USE}"
            ))),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let mut fields = sequence(der)?;
        let version = fields.read(der::INTEGER);
        let algorithm = fields.read(der::SEQUENCE).ok_or_else(damaged_key)?;
        let inner = fields.read(der::OCTET_STRING).ok_or_else(damaged_key)?;
        if version.is_none() {
            return Err(damaged_key());
        }
        match Algorithm::read(algorithm.values())? {
            Algorithm::Rsa => Self::from_pkcs1(inner.content),
            Algorithm::Ec(curve) => Self::from_sec1(inner.content, Some(curve)),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self> {
        let mut fields = sequence(der)?;
        let mut integer = || fields.read(der::INTEGER).ok_or_else(damaged_key);
        let (_version, modulus, exponent) = (integer()?, integer()?, integer()?);
        let public = der::write(der::SEQUENCE, &[modulus.raw, exponent.raw]);
        Ok(Self::Rsa {
            pkcs1: der.to_vec(),
            public: PublicKey::rsa(&public)?,
        })
    }

    /// `outer` is the curve a PKCS #8 wrapper names; bare SEC 1 names it itself.
    fn from_sec1(der: &[u8], outer: Option<Curve>) -> Result<Self> {
        let mut fields = sequence(der)?;
        let version = fields.read(der::INTEGER);
        let scalar = fields.read(der::OCTET_STRING).ok_or_else(damaged_key)?;
        let inner = match fields.read(der::context(0)) {
            Some(parameters) => {
                let oid = der::write(der::OID, &[EC_PUBLIC_KEY]);
                let algorithm = [&oid, parameters.content].concat();
                match Algorithm::read(Reader::new(&algorithm))? {
                    Algorithm::Ec(curve) => Some(curve),
                    Algorithm::Rsa => None,
                }
            }
            None => None,
        };
        let curve = match (outer, inner) {
            (Some(outer), Some(inner)) if outer != inner => return Err(damaged_key()),
            (outer, inner) => outer.or(inner).ok_or_else(damaged_key)?,
        };
        let public = fields
            .read(der::context(1))
            .and_then(|value| value.values().read(der::BIT_STRING)?.bit_string())
            .map(|bits| PublicKey::ec(curve, bits))
            .transpose()?;
        let scalar = fixed_length(scalar, curve.bytes()).ok_or_else(damaged_key)?;
        if version.is_none() {
            return Err(damaged_key());
        }
        Ok(Self::Ec {
            curve,
            scalar,
            public,
        })
    }

    /// The public half, if the file carries it.
    pub(super) fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Rsa { public, .. } => Some(public),
            Self::Ec { public, .. } => public.as_ref(),
        }
    }

    /// The key as PKCS #8 in the form `ring` takes. `public` stands in where the file has no public
    /// half; `ring` checks that the two belong together.
    pub(super) fn to_pkcs8(&self, public: &PublicKey) -> Vec<u8> {
        let (algorithm, inner) = match self {
            Self::Rsa { pkcs1, .. } => (Algorithm::Rsa, pkcs1.clone()),
            Self::Ec { curve, scalar, .. } => {
                let point = der::write(der::context(1), &[&der::write_bit_string(&public.bits)]);
                let sec1 = der::write(
                    der::SEQUENCE,
                    &[
                        &der::write(der::INTEGER, &[&[1]]),
                        &der::write(der::OCTET_STRING, &[scalar]),
                        &point,
                    ],
                );
                (Algorithm::Ec(*curve), sec1)
            }
        };
        der::write(
            der::SEQUENCE,
            &[
                &der::write(der::INTEGER, &[&[0]]),
                &algorithm.write(),
                &der::write(der::OCTET_STRING, &[&inner]),
            ],
        )
    }

    /// Loads the key for signing, provided that it is the private half of `public`.
    pub(super) fn into_signer(self, public: &PublicKey) -> Result<rcgen::KeyPair> {
        if self.kind_differs(public) || self.public().is_some_and(|own| own != public) {
            return Err(Error::NotAPair);
        }
        let has_public = self.public().is_some();
        let pkcs8 = self.to_pkcs8(public);
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), public.algorithm())
            .map_err(|error| match has_public {
                true => Error::BadKey(format!("the private key cannot be used: {error}")),
                false => Error::NotAPair,
            })
    }

    fn kind_differs(&self, public: &PublicKey) -> bool {
        match (self, public.kind) {
            (Self::Rsa { .. }, KeyKind::Rsa { .. }) => false,
            (Self::Ec { curve, .. }, KeyKind::Ec(other)) => *curve != other,
            _ => true,
        }
    }
}

fn damaged_key() -> Error {
    Error::BadKey("the private key is damaged".to_owned())
}

fn sequence(der: &[u8]) -> Result<Reader<'_>> {
    let value = Reader::new(der).read(der::SEQUENCE);
    Ok(value.ok_or_else(damaged_key)?.values())
}

/// The content brought to `length` bytes by leading zeros, which some writers leave out or add.
fn fixed_length(value: Value<'_>, length: usize) -> Option<Vec<u8>> {
    let significant = value
        .content
        .iter()
        .position(|&byte| byte != 0)
        .map_or(&[][..], |start| &value.content[start..]);
    let zeros = length.checked_sub(significant.len())?;
    Some([&vec![0; zeros], significant].concat())
}
