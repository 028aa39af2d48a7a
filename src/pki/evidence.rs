//! The evidence of who uploaded an object: the uploader's certificate in the shape in which Python's
//! `ssl` describes a peer, which tools that read the reference's `.crt` files expect.

use serde::Serialize;
use time::{Month, OffsetDateTime};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::cert::{parse, validity};
use super::describe::crl_uris;
use super::{Result, dn};

/// A certificate as `getpeercert()` of Python's `ssl` gives it, fields in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Parts, each a list of (type, value): `[[["commonName","dev"]]]`.
    pub subject: Vec<Vec<(String, String)>>,
    /// The same for the issuer.
    pub issuer: Vec<Vec<(String, String)>>,
    /// 3 for everything of today.
    pub version: u32,
    /// Upper-case hexadecimal, two digits per byte.
    pub serial_number: String,
    /// `Nov 21 07:51:42 2026 GMT`.
    pub not_before: String,
    /// The same for the end.
    pub not_after: String,
    /// (kind, value): `["DNS","cam.local"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_name: Vec<(&'static str, AltName)>,
    /// Where OCSP is answered.
    #[serde(rename = "OCSP", skip_serializing_if = "Vec::is_empty")]
    pub ocsp: Vec<String>,
    /// Where the issuer's certificate lies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_issuers: Vec<String>,
    /// Where revocation lists lie.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl_distribution_points: Vec<String>,
}

/// An alternative name: text, but for directory names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AltName {
    /// A host name, address, URI …
    Text(String),
    /// A distinguished name, in the shape of [`Evidence::subject`].
    Name(Vec<Vec<(String, String)>>),
}

/// Describes a peer's certificate (DER) as evidence.
///
/// # Errors
///
/// [`Error::BadCert`](super::Error::BadCert).
pub fn evidence(der: &[u8]) -> Result<Evidence> {
    let cert = parse(der)?;
    let validity = validity(&cert);
    let mut evidence = Evidence {
        subject: dn::long_form(cert.subject()),
        issuer: dn::long_form(cert.issuer()),
        version: cert.version().0.saturating_add(1),
        serial_number: serial_number(cert.raw_serial()),
        not_before: openssl_time(validity.not_before),
        not_after: openssl_time(validity.not_after),
        subject_alt_name: Vec::new(),
        ocsp: Vec::new(),
        ca_issuers: Vec::new(),
        crl_distribution_points: Vec::new(),
    };
    for extension in cert.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                evidence.subject_alt_name = names.general_names.iter().map(alt_name).collect();
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for entry in access.iter() {
                    let GeneralName::URI(uri) = entry.access_location else {
                        continue;
                    };
                    match entry.access_method.to_id_string().as_str() {
                        "1.3.6.1.5.5.7.48.1" => evidence.ocsp.push(uri.to_owned()),
                        "1.3.6.1.5.5.7.48.2" => evidence.ca_issuers.push(uri.to_owned()),
                        _ => {}
                    }
                }
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                evidence.crl_distribution_points = crl_uris(points);
            }
            _ => {}
        }
    }
    Ok(evidence)
}

fn serial_number(bytes: &[u8]) -> String {
    let significant = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    significant
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// The month in letters, the day filled with a space.
fn openssl_time(time: OffsetDateTime) -> String {
    let month = match time.month() {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    };
    format!(
        "{month} {:2} {:02}:{:02}:{:02} {} GMT",
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.year()
    )
}

fn alt_name(name: &GeneralName<'_>) -> (&'static str, AltName) {
    let (kind, text) = match name {
        GeneralName::DNSName(text) => ("DNS", (*text).to_owned()),
        GeneralName::RFC822Name(text) => ("email", (*text).to_owned()),
        GeneralName::URI(text) => ("URI", (*text).to_owned()),
        GeneralName::IPAddress(bytes) => ("IP Address", address(bytes)),
        GeneralName::RegisteredID(oid) => ("Registered ID", oid.to_id_string()),
        GeneralName::DirectoryName(name) => return ("DirName", AltName::Name(dn::long_form(name))),
        _ => ("othername", "<unsupported>".to_owned()),
    };
    (kind, AltName::Text(text))
}

/// Version 6 addresses are written in full, in upper case, as OpenSSL does.
fn address(bytes: &[u8]) -> String {
    match bytes {
        [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
        bytes if bytes.len() == 16 => bytes
            .chunks_exact(2)
            .map(|pair| format!("{:X}", u16::from_be_bytes([pair[0], pair[1]])))
            .collect::<Vec<_>>()
            .join(":"),
        _ => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::Duration;

    use super::super::testing::{Openssl, device_root};
    use super::super::{CertName, Validity, cert_der, describe_cert};
    use super::*;

    /// 2 March 2027, 04:05:06.
    fn a_moment() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_803_960_306).expect("in range")
    }

    #[test]
    fn a_device_leaf_gives_the_reference_shape() {
        let root = device_root();
        let validity = Validity::from_now(a_moment(), Duration::days(10));
        let name = CertName::parse("dev").unwrap();
        let cert = root.issue_device(&name, validity).unwrap().cert;
        let der = cert_der(cert.cert_pem.as_bytes()).unwrap();
        let root_name = describe_cert(root.cert_pem().as_bytes())
            .unwrap()
            .common_name;
        assert_eq!(
            serde_json::to_value(evidence(&der).unwrap()).unwrap(),
            json!({
                "subject": [[["organizationName", "pavs"]], [["organizationalUnitName", "device"]], [["commonName", "dev"]]],
                "issuer": [[["organizationName", "pavs"]], [["commonName", root_name]]],
                "version": 3,
                "serialNumber": cert.serial.to_uppercase(),
                "notBefore": "Mar  1 04:05:06 2027 GMT",
                "notAfter": "Mar 12 04:05:06 2027 GMT",
            })
        );
    }

    const MANY_NAMES: &str = "\
[req]
distinguished_name = dn
x509_extensions = ext
prompt = no
[dn]
CN = cam
+UID = 7
[ext]
subjectAltName = DNS:cam.local,IP:10.0.0.1,IP:2001:db8::1,URI:urn:x,email:a@b.c,RID:1.2.3,otherName:1.2.3;UTF8:x,dirName:where
authorityInfoAccess = OCSP;URI:http://ocsp,caIssuers;URI:http://ca
crlDistributionPoints = URI:http://crl/one,URI:http://crl/two
[where]
CN = x
";

    #[test]
    fn names_and_places_are_listed() {
        let Some(openssl) = Openssl::find() else {
            return;
        };
        openssl.write("names.cnf", MANY_NAMES);
        openssl.make_key("key", "P-256");
        let pem = openssl.run("req -new -x509 -config names.cnf -key key -set_serial 0x80");
        let found = evidence(&cert_der(pem.as_bytes()).unwrap()).unwrap();
        let json = serde_json::to_value(found).unwrap();
        assert_eq!(
            json["subject"],
            json!([[["commonName", "cam"], ["userId", "7"]]])
        );
        assert_eq!(json["serialNumber"], "80");
        assert_eq!(
            json["subjectAltName"],
            json!([
                ["DNS", "cam.local"],
                ["IP Address", "10.0.0.1"],
                ["IP Address", "2001:DB8:0:0:0:0:0:1"],
                ["URI", "urn:x"],
                ["email", "a@b.c"],
                ["Registered ID", "1.2.3"],
                ["othername", "<unsupported>"],
                ["DirName", [[["commonName", "x"]]]],
            ])
        );
        assert_eq!(json["OCSP"], json!(["http://ocsp"]));
        assert_eq!(json["caIssuers"], json!(["http://ca"]));
        assert_eq!(
            json["crlDistributionPoints"],
            json!(["http://crl/one", "http://crl/two"])
        );
    }
}
