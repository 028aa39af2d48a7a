//! Distinguished names as text.

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::{der, hex};

const COMMON_NAME: &str = "2.5.4.3";

/// RFC 4514: the last part first, known types by their short name, others by number.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// OpenSSL's long attribute names, in certificate order: the shape Python's `ssl` gives a name.
pub(super) fn long_form(name: &X509Name<'_>) -> Vec<Vec<(String, String)>> {
    name.iter_rdn()
        .map(|rdn| {
            rdn.iter()
                .map(|attribute| {
                    let oid = attribute.attr_type().to_id_string();
                    let value = text(attribute).unwrap_or_else(|| hex_value(attribute));
                    (long_name(&oid).map_or(oid, str::to_owned), value)
                })
                .collect()
        })
        .collect()
}

/// The last common name, which is the most specific one.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == COMMON_NAME)
        .last()
        .and_then(text)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short_name(&oid), text(attribute)) {
        (Some(name), Some(value)) => format!("{name}={}", escape(&value)),
        (Some(name), None) => format!("{name}={}", hex_value(attribute)),
        // RFC 4514, section 2.4: a type written as numbers has its value in hexadecimal.
        (None, _) => format!("{oid}={}", hex_value(attribute)),
    }
}

fn short_name(oid: &str) -> Option<&'static str> {
    // RFC 4514, section 3.
    Some(match oid {
        COMMON_NAME => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    })
}

fn long_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        COMMON_NAME => "commonName",
        "2.5.4.4" => "surname",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "countryName",
        "2.5.4.7" => "localityName",
        "2.5.4.8" => "stateOrProvinceName",
        "2.5.4.9" => "streetAddress",
        "2.5.4.10" => "organizationName",
        "2.5.4.11" => "organizationalUnitName",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "givenName",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "0.9.2342.19200300.100.1.1" => "userId",
        "0.9.2342.19200300.100.1.25" => "domainComponent",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// The value as text, from any of the string types X.520 allows.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    match value.tag().0 {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString
        12 | 18 | 19 | 22 | 26 => String::from_utf8(bytes.to_vec()).ok(),
        // TeletexString, which everybody fills with Latin-1
        20 => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        // BMPString
        30 if bytes.len() % 2 == 0 => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

fn hex_value(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let tag = (value.tag().0 & 0x1f) as u8 | (u8::from(value.header.is_constructed()) << 5);
    format!("#{}", hex(&der::write(tag, &[value.data])))
}

/// RFC 4514, section 2.4. Control characters are written in hexadecimal besides, so that a name
/// cannot break a line of a log.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, char) in value.chars().enumerate() {
        let at_the_edge = index == 0 || index == last;
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', char]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if at_the_edge => out.push_str("\\ "),
            char if char.is_control() => {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("\\{byte:02x}"));
                }
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    /// A name of one-attribute parts.
    fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = attributes
            .iter()
            .map(|(oid, tag, value)| {
                let pair = [der::write(der::OID, &[oid]), der::write(*tag, &[value])].concat();
                der::write(0x31, &[&der::write(der::SEQUENCE, &[&pair])])
            })
            .collect();
        der::write(der::SEQUENCE, &[&parts.concat()])
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    /// emailAddress has no short name in RFC 4514.
    const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

    #[test]
    fn the_last_part_comes_first_and_specials_are_escaped() {
        let der = name(&[(O, 12, b"A, B"), (CN, 12, b" #\"x\n\\ ")]);
        let (_, name) = X509Name::from_der(&der).unwrap();
        assert_eq!(rfc4514(&name), "CN=\\ #\\\"x\\0a\\\\\\ ,O=A\\, B");
    }

    #[test]
    fn string_types_are_decoded_and_the_rest_is_hexadecimal() {
        let der = name(&[
            (CN, 30, &[0x53, 0x17]),
            (CN, 20, &[0xe9]),
            (CN, 12, &[0xff]),
            (EMAIL, 22, b"a@b"),
        ]);
        let (_, name) = X509Name::from_der(&der).unwrap();
        assert_eq!(
            rfc4514(&name),
            "1.2.840.113549.1.9.1=#1603614062,CN=#0c01ff,CN=é,CN=北"
        );
        assert_eq!(
            long_form(&name)[3],
            [("emailAddress".to_owned(), "a@b".to_owned())]
        );
    }
}
