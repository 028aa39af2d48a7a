//! PEM (RFC 7468), read leniently: any line ends, blank lines, a body in one line, text around blocks.

use super::{Error, Result, der};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// The most certificates that are read from one text.
const MAX_CERTS: usize = 100;

/// A block as found, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    body: &'a str,
}

impl<'a> Block<'a> {
    /// Whether the header lines of the old encrypted key format are there.
    pub(super) fn is_encrypted(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY" || self.body.contains("Proc-Type:")
    }

    /// The bytes inside.
    pub(super) fn decode(&self) -> Result<Vec<u8>> {
        let base64: String = self
            .body
            .lines()
            .filter(|line| !line.contains(':'))
            .flat_map(str::split_whitespace)
            .collect();
        let label = self.label;
        ::pem::parse(format!(
            "{BEGIN}{label}{DASHES}\n{base64}\n{END}{label}{DASHES}\n"
        ))
        .map(::pem::Pem::into_contents)
        .map_err(|_| Error::BadPem(format!("the {label} block is not valid base64")))
    }
}

/// The blocks of a text, in order. Reading ends at a block without its END line.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after_begin) = rest.split_once(BEGIN)?;
        let (label, after_label) = after_begin.split_once(DASHES)?;
        let (body, after_body) = after_label.split_once(END)?;
        let (end_label, after_end) = after_body.split_once(DASHES)?;
        rest = after_end;
        (label == end_label && label.len() <= 64).then_some(Block { label, body })
    })
}

/// One block with lines of 64 characters and LF line ends.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
    ::pem::encode_config(&::pem::Pem::new(label, der), config)
}

/// The DER of the first certificate in `bytes`: PEM with anything around it, or DER.
///
/// It is only unwrapped, not read: [`describe_cert`](super::describe_cert) says whether it is one.
///
/// # Errors
///
/// [`Error::BadPem`] without a `CERTIFICATE` block, or with a damaged one.
pub fn cert_der(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut values = der::Reader::new(bytes);
    if values.read(der::SEQUENCE).is_some() && values.rest().is_empty() {
        return Ok(bytes.to_vec());
    }
    let text = String::from_utf8_lossy(bytes);
    let block = blocks(&text)
        .find(|block| matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE"))
        .ok_or_else(|| Error::BadPem("there is no CERTIFICATE block".to_owned()))?;
    block.decode()
}

/// All certificates in a PEM text, in their order, as DER.
pub(super) fn certs(text: &str) -> Result<Vec<Vec<u8>>> {
    let blocks: Vec<_> = blocks(text)
        .filter(|block| matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE"))
        .take(MAX_CERTS + 1)
        .collect();
    match blocks.len() {
        0 => Err(Error::BadPem("there is no CERTIFICATE block".to_owned())),
        1..=MAX_CERTS => blocks.iter().map(Block::decode).collect(),
        _ => Err(Error::BadPem(format!(
            "there are more than {MAX_CERTS} CERTIFICATE blocks"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DER: [u8; 60] = [0x5a; 60];

    fn first(text: &str) -> Vec<u8> {
        blocks(text)
            .next()
            .expect("a block")
            .decode()
            .expect("base64")
    }

    #[test]
    fn line_ends_and_blank_lines_do_not_matter() {
        let pem = encode("THING", &DER);
        assert!(!pem.contains('\r'));
        for text in [
            pem.clone(),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\n\n"),
            pem.replace('\n', ""),
            pem.replace('\n', "\n   "),
            format!("Subject: CN=x\n- -- ---\n{pem}\nmore text"),
            pem.trim_end().to_owned(),
        ] {
            assert_eq!(first(&text), DER, "{text}");
        }
    }

    #[test]
    fn cut_and_mismatched_blocks_are_no_blocks() {
        let pem = encode("THING", &DER);
        for end in 0..pem.trim_end().len() {
            assert_eq!(blocks(&pem[..end]).count(), 0);
        }
        assert_eq!(blocks(&pem.replace("END THING", "END OTHER")).count(), 0);
    }

    #[test]
    fn damaged_base64_names_the_block() {
        let pem = encode("THING", &DER).replace("Wlpa", "W*pa");
        let error = blocks(&pem).next().unwrap().decode().unwrap_err();
        assert_eq!(
            error,
            Error::BadPem("the THING block is not valid base64".to_owned())
        );
    }

    #[test]
    fn encrypted_keys_are_recognised() {
        let new = encode("ENCRYPTED PRIVATE KEY", &DER);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nWlpa\n-----END RSA PRIVATE KEY-----\n";
        assert!(blocks(&new).next().unwrap().is_encrypted());
        assert!(blocks(old).next().unwrap().is_encrypted());
        assert!(
            !blocks(&encode("PRIVATE KEY", &DER))
                .next()
                .unwrap()
                .is_encrypted()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_searched_without_panic(text in "(-----BEGIN |-----END |-----|A|=|:|\n|é){0,40}") {
            for block in blocks(&text) {
                let _ = block.decode();
            }
        }
    }
}
