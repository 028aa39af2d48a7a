//! Clients: rustls with HTTP written by hand, curl and openssl.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certs::{Authority, Cert, Issued};
use super::{PATIENCE, Served};

/// How a client presents itself.
pub(super) struct Hello<'a> {
    pub(super) cert: Option<&'a Issued>,
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
    pub(super) alpn: &'a [&'a str],
    pub(super) trusts: Option<&'a Authority>,
}

impl Default for Hello<'_> {
    fn default() -> Self {
        Self {
            cert: None,
            versions: rustls::ALL_VERSIONS,
            alpn: &["http/1.1"],
            trusts: None,
        }
    }
}

impl Served {
    pub(super) fn device(&self, name: &str) -> Issued {
        self.device_root.issue(&Cert::device(name))
    }

    pub(super) fn client_config(&self, hello: &Hello<'_>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let trusts = hello.trusts.unwrap_or(&self.server_root);
        roots.add(trusts.der()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(hello.versions)
            .expect("known versions")
            .with_root_certificates(roots);
        let mut config = match hello.cert {
            Some(cert) => builder
                .with_client_auth_cert(vec![cert.der.clone()], cert.key_der())
                .expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = hello.alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        config
    }

    pub(super) async fn connect(&self, hello: &Hello<'_>) -> io::Result<Client> {
        self.connect_with(self.client_config(hello)).await
    }

    pub(super) async fn connect_with(&self, config: ClientConfig) -> io::Result<Client> {
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = within(connector.connect(name, tcp)).await?;
        Ok(Client { stream })
    }

    /// An HTTP/1.1 connection without a certificate.
    pub(super) async fn h1(&self) -> Client {
        self.connect(&Hello::default()).await.expect("connects")
    }

    /// An HTTP/2 connection without a certificate, its preface sent.
    pub(super) async fn h2(&self) -> H2 {
        let hello = Hello {
            alpn: &["h2"],
            ..Hello::default()
        };
        let mut stream = self.connect(&hello).await.expect("connects").stream;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .expect("writes");
        let mut h2 = H2 { stream };
        h2.send(SETTINGS, 0, 0, b"").await;
        h2
    }

    /// Runs curl, which trusts the server, with these arguments and the URL of `path`; or `None` when
    /// tests with outside programs are not wanted.
    pub(super) async fn curl(&self, path: &str, args: &[&str], input: &[u8]) -> Option<Output> {
        let root = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(root.path(), self.server_root.pem()).expect("written");
        let port = self.addr.port();
        let mut all = vec![
            "--silent".to_owned(),
            "--show-error".to_owned(),
            "--max-time".to_owned(),
            "8".to_owned(),
            "--cacert".to_owned(),
            root.path().to_str().expect("UTF-8").to_owned(),
            "--resolve".to_owned(),
            format!("localhost:{port}:127.0.0.1"),
        ];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all.push(format!("https://localhost:{port}{path}"));
        run("curl", "curl", &all, input).await
    }
}

/// Runs an outside program. Absent ones fail the test, unless PAVS_SKIP_CLIENTS says to skip it.
pub(super) async fn run(
    program: &str,
    package: &str,
    args: &[String],
    input: &[u8],
) -> Option<Output> {
    if std::env::var_os("PAVS_SKIP_CLIENTS").is_some() {
        eprintln!("skipped: {program} (PAVS_SKIP_CLIENTS is set)");
        return None;
    }
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; install the package {package}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    tokio::task::spawn_blocking(move || drop(stdin.write_all(&input)));
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    Some(within(output).await.expect("no panic").expect("runs"))
}

pub(super) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("done in time")
}

/// A TLS connection.
pub(super) struct Client {
    pub(super) stream: TlsStream<TcpStream>,
}

impl Client {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("writes");
        self.stream.flush().await.expect("flushes");
    }

    pub(super) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// The head of the next answer and its body, if its length is given.
    pub(super) async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = within(self.stream.read_u8()).await;
            answer.push(byte.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&answer))
            }));
        }
        let head = String::from_utf8(answer).expect("ASCII");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a number"));
        let mut body = vec![0; length];
        within(self.stream.read_exact(&mut body))
            .await
            .expect("a body");
        head + &String::from_utf8_lossy(&body)
    }

    /// Everything up to the end of the connection, however it ends.
    pub(super) async fn rest(&mut self) -> (String, io::Result<()>) {
        let mut rest = Vec::new();
        let end = within(self.stream.read_to_end(&mut rest)).await;
        (String::from_utf8_lossy(&rest).into_owned(), end.map(drop))
    }
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

/// An HTTP/2 connection, frame by frame (RFC 9113 §4.1).
pub(super) struct H2 {
    pub(super) stream: TlsStream<TcpStream>,
}

/// A frame that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl H2 {
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a small frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.expect("writes");
        self.stream.flush().await.expect("flushes");
    }

    /// Begins a request. Literal fields only (RFC 7541 §6.2.2 and appendix A).
    pub(super) async fn request(&mut self, stream: u32, method: &str, path: &str, flags: u8) {
        let mut block = vec![0x87];
        for (name, value) in [(2, method), (4, path), (1, "localhost")] {
            block.push(name);
            block.push(u8::try_from(value.len()).expect("a short value"));
            block.extend(value.as_bytes());
        }
        self.send(HEADERS, flags | END_HEADERS, stream, &block)
            .await;
    }

    /// The next frame, or `None` at the end of the connection. Settings and pings are acknowledged.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        loop {
            let mut head = [0; 9];
            within(self.stream.read_exact(&mut head)).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            within(self.stream.read_exact(&mut payload)).await.ok()?;
            let frame = Arrived {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, b"").await,
                PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload).await,
                SETTINGS => {}
                8 => {} // WINDOW_UPDATE
                _ => return Some(frame),
            }
        }
    }

    /// The next frame of that stream.
    pub(super) async fn next_of(&mut self, stream: u32) -> Arrived {
        loop {
            let frame = self.next().await.expect("the connection is open");
            if frame.stream == stream {
                return frame;
            }
        }
    }
}
