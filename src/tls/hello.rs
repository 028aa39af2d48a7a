//! What a client offers in the first message of a handshake.
//!
//! rustls reads the ClientHello too, but keeps what it does not use to itself, and tells nothing of one
//! that it cannot answer. This reader is for people: it takes what it understands and leaves the rest.
//!
//! ```text
//! record     type 22, version, length | handshake message, over one or more records
//! handshake  type 1, length (24 bits) | legacy version, random, session id, cipher suites, compression,
//!                                       extensions
//! ```

/// Bytes of a hello that are looked at: one record. Hellos of today have 200 to 2,000.
pub(crate) const MAX_HELLO: usize = 16 << 10;
/// The most entries of one list; more is no client that wants to be understood.
const MAX_ENTRIES: usize = 100;
/// The most characters of a name.
const MAX_NAME: usize = 255;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a client offers. Numbers are those of the IANA registries, in the client's order, without the
/// values that are reserved to keep servers tolerant (GREASE, RFC 8701).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// The server name it asks for, as sent but for characters that are not for a terminal.
    pub(crate) server_name: Option<String>,
    /// Protocol versions, `0x0304` for TLS 1.3. Of a client that only names its highest, that one.
    pub(crate) versions: Vec<u16>,
    /// Cipher suites.
    pub(crate) ciphers: Vec<u16>,
    /// Key exchange groups.
    pub(crate) groups: Vec<u16>,
    /// Signature schemes.
    pub(crate) signatures: Vec<u16>,
    /// Application protocols.
    pub(crate) protocols: Vec<String>,
}

impl ClientHello {
    /// Reads what came first over a connection. `None` when that is no ClientHello, or one that ends
    /// before its cipher suites.
    pub(crate) fn read(received: &[u8]) -> Option<Self> {
        let message = handshake_bytes(received.get(..MAX_HELLO).unwrap_or(received));
        let mut message = Reader(&message);
        if message.u8()? != CLIENT_HELLO {
            return None;
        }
        let length = message.u24()?;
        // A hello that is cut tells what it can.
        let mut hello = Reader(message.0.get(..length).unwrap_or(message.0));
        let highest = hello.u16()?;
        hello.bytes(32)?;
        hello.short_list()?;
        let mut offered = Self {
            versions: vec![highest],
            ciphers: numbers(hello.list()?),
            ..Self::default()
        };
        hello.short_list();
        let mut extensions = match hello.u16() {
            Some(length) => Reader(hello.0.get(..usize::from(length)).unwrap_or(hello.0)),
            None => Reader(&[]),
        };
        while let (Some(kind), Some(body)) = (extensions.u16(), extensions.list()) {
            offered.take(kind, Reader(body));
        }
        Some(offered)
    }

    fn take(&mut self, kind: u16, mut body: Reader<'_>) {
        match kind {
            SERVER_NAME => {
                let mut names = Reader(body.list().unwrap_or_default());
                while let (Some(kind), Some(name)) = (names.u8(), names.list()) {
                    if kind == 0 && self.server_name.is_none() {
                        self.server_name = Some(printable(name));
                    }
                }
            }
            SUPPORTED_VERSIONS => {
                let versions = numbers(body.short_list().unwrap_or_default());
                if !versions.is_empty() {
                    self.versions = versions;
                }
            }
            SUPPORTED_GROUPS => self.groups = numbers(body.list().unwrap_or_default()),
            SIGNATURE_ALGORITHMS => self.signatures = numbers(body.list().unwrap_or_default()),
            ALPN => {
                let mut protocols = Reader(body.list().unwrap_or_default());
                while let Some(name) = protocols.short_list() {
                    if self.protocols.len() < MAX_ENTRIES {
                        self.protocols.push(printable(name));
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether what came so far is a whole hello, or will never be one: nothing more is needed then.
    pub(crate) fn is_all_there(received: &[u8]) -> bool {
        if received.len() >= MAX_HELLO || received.first().is_some_and(|&kind| kind != HANDSHAKE) {
            return true;
        }
        let message = handshake_bytes(received);
        let mut reader = Reader(&message);
        match (reader.u8(), reader.u24()) {
            (Some(CLIENT_HELLO), Some(length)) => reader.0.len() >= length,
            (Some(CLIENT_HELLO) | None, _) => false,
            (Some(_), _) => true,
        }
    }
}

/// A protocol version as people write it.
pub(crate) fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSLv3".to_owned(),
        0x0301 => "TLSv1.0".to_owned(),
        0x0302 => "TLSv1.1".to_owned(),
        0x0303 => "TLSv1.2".to_owned(),
        0x0304 => "TLSv1.3".to_owned(),
        other => format!("0x{other:04x}"),
    }
}

/// The handshake bytes in the records, as far as they came.
fn handshake_bytes(received: &[u8]) -> Vec<u8> {
    let mut records = Reader(received);
    let mut message = Vec::new();
    while let (Some(HANDSHAKE), Some(_version), Some(length)) =
        (records.u8(), records.u16(), records.u16())
    {
        let length = usize::from(length);
        let fragment = records.0.get(..length).unwrap_or(records.0);
        message.extend_from_slice(fragment);
        records.0 = records.0.get(length..).unwrap_or_default();
    }
    message
}

fn numbers(list: &[u8]) -> Vec<u16> {
    let (pairs, _) = list.as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
        .filter(|&number| !is_grease(number))
        .take(MAX_ENTRIES)
        .collect()
}

/// RFC 8701: `0x0a0a`, `0x1a1a`, … `0xfafa`.
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MAX_NAME)
        .collect()
}

/// Takes values from the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (front, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*front))
    }

    fn u24(&mut self) -> Option<usize> {
        let (&[a, b, c], rest) = self.0.split_first_chunk::<3>()?;
        self.0 = rest;
        usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
    }

    /// Bytes behind a length of 16 bits.
    fn list(&mut self) -> Option<&'b [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// Bytes behind a length of 8 bits.
    fn short_list(&mut self) -> Option<&'b [u8]> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), list(body)].concat()
    }

    /// A hello for `cam.test` that offers TLS 1.1 and 1.0, with a reserved value in each list.
    fn message() -> Vec<u8> {
        let name = [&[0][..], &list(b"cam.test")].concat();
        let extensions = [
            extension(SERVER_NAME, &list(&name)),
            extension(SUPPORTED_VERSIONS, &[6, 0x1a, 0x1a, 3, 2, 3, 1]),
            extension(SUPPORTED_GROUPS, &list(&[0x2a, 0x2a, 0, 23])),
            extension(SIGNATURE_ALGORITHMS, &list(&[2, 1])),
            extension(ALPN, &list(&[2, b'h', b'2', 1, b'\n'])),
            extension(0xffff, b"unknown"),
        ]
        .concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[1, 9],
            &list(&[0x0a, 0x0a, 0, 5]),
            &[1, 0],
            &list(&extensions),
        ]
        .concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &length[1..], &body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|piece| [&[HANDSHAKE, 3, 1][..], &list(piece)].concat())
            .collect()
    }

    #[test]
    fn what_is_offered_is_read_from_one_record_or_many() {
        for size in [1, 7, 1000] {
            let received = records(&message(), size);
            let hello = ClientHello::read(&received).expect("a hello");
            assert_eq!(hello.server_name.as_deref(), Some("cam.test"));
            assert_eq!(hello.versions, [0x0302, 0x0301]);
            assert_eq!(hello.ciphers, [5]);
            assert_eq!(hello.groups, [23]);
            assert_eq!(hello.signatures, [0x0201]);
            assert_eq!(hello.protocols, ["h2", "\u{fffd}"]);
            assert!(ClientHello::is_all_there(&received));
        }
    }

    #[test]
    fn a_cut_hello_tells_what_it_can() {
        let received = records(&message(), 1000);
        let mut best = 0;
        for end in 0..received.len() {
            let cut = &received[..end];
            assert!(!ClientHello::is_all_there(cut), "{end}");
            match ClientHello::read(cut) {
                Some(hello) => {
                    assert_eq!(hello.ciphers, [5]);
                    best = best.max(hello.protocols.len() + hello.signatures.len());
                }
                None => assert!(end < 60, "{end}"),
            }
        }
        assert!(best > 0);
    }

    #[test]
    fn other_bytes_are_no_hello() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0x80, 46, 1, 3, 1],
            &[21, 3, 1, 0, 2, 2, 40],
        ] {
            assert_eq!(ClientHello::read(other), None);
            assert!(ClientHello::is_all_there(other));
        }
        assert!(!ClientHello::is_all_there(&[]));
    }
}
