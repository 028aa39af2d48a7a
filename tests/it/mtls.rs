//! TLS: versions, protocols, who is a peer, what a refused client is told, time limits.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{DEADLINE, Http, Identity, Server, eventually, has_ipv6, skipped, tls, tool};

/// A leaf certificate as the test wants it, issued by a root on disk.
pub(crate) struct Leaf {
    pub(crate) name: String,
    pub(crate) usage: Vec<ExtendedKeyUsagePurpose>,
    /// Validity: days from now, from and to.
    pub(crate) days: (i64, i64),
}

impl Leaf {
    pub(crate) fn device(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            usage: vec![ExtendedKeyUsagePurpose::ClientAuth],
            days: (-1, 30),
        }
    }

    pub(crate) fn server(name: &str) -> Self {
        Self {
            usage: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Self::device(name)
        }
    }

    /// Issued by `root.pem` and `root.key` of this directory.
    pub(crate) fn issue(&self, directory: &Path) -> Identity {
        let read = |name| std::fs::read_to_string(directory.join(name)).expect("a root");
        let root_key = KeyPair::from_pem(&read("root.key")).expect("the root's key");
        let issuer = Issuer::from_ca_cert_pem(&read("root.pem"), root_key).expect("the root");
        let key = KeyPair::generate().expect("a key");
        let cert = self
            .params()
            .signed_by(&key, &issuer)
            .expect("a certificate");
        Identity {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    pub(crate) fn self_signed(&self) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = self.params().self_signed(&key).expect("a certificate");
        Identity {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    fn params(&self) -> CertificateParams {
        let sans = if self.usage.contains(&ExtendedKeyUsagePurpose::ServerAuth) {
            vec![self.name.clone(), "127.0.0.1".to_owned()]
        } else {
            Vec::new()
        };
        let mut params = CertificateParams::new(sans).expect("names");
        params
            .distinguished_name
            .push(DnType::CommonName, self.name.clone());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usage.clone();
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now + time::Duration::days(self.days.0);
        params.not_after = now + time::Duration::days(self.days.1);
        params
    }
}

#[tokio::test]
async fn every_version_and_protocol_carries_an_upload() {
    let server = Server::start().await;
    let identity = server.identity("cam").await;
    let id = server
        .stream(&server.client(Http::Any, Some(&identity)), "dash")
        .await;
    let mut n = 0;
    for version in [&TLS12, &TLS13] {
        for http in [Http::One, Http::Two] {
            n += 1;
            let settings = tls(
                &server.path("certs/server/root.pem"),
                &[version],
                http,
                Some(&identity),
            );
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(settings)
                .no_proxy();
            let builder = if http == Http::One {
                builder.http1_only()
            } else {
                builder.http2_prior_knowledge()
            };
            let client = builder.build().expect("a client");
            let url = format!("{}/streams/{id}/{n}.m4s", server.base());
            let status = client
                .put(url)
                .body("x")
                .send()
                .await
                .expect("an answer")
                .status();
            assert_eq!(status, 202, "{version:?} {http:?}");
            let records = server.anonymous().uploads_to(id, &format!("{n}.m4s")).await;
            let text = records[0].to_string();
            let digits = if version.version == rustls::ProtocolVersion::TLSv1_2 {
                "1.2"
            } else {
                "1.3"
            };
            assert!(
                text.contains(&format!("TLSv{digits}")),
                "the record tells the TLS version: {text}"
            );
            let spoken = if http == Http::One {
                "HTTP/1.1"
            } else {
                "HTTP/2"
            };
            assert!(
                text.contains(spoken),
                "the record tells the HTTP version: {text}"
            );
            assert!(text.contains("cam"), "the record tells the peer: {text}");
        }
    }
}

#[tokio::test]
async fn a_client_without_alpn_speaks_http_1() {
    let server = Server::start().await;
    let mut settings = server.tls(Http::One, None);
    settings.alpn_protocols.clear();
    let mut io = server.connect(settings).await.expect("a connection");
    io.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut text = Vec::new();
    let _ = io.read_to_end(&mut text).await;
    assert!(
        text.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&text)
    );
    let io = server
        .connect(server.tls(Http::Any, None))
        .await
        .expect("a connection");
    assert_eq!(
        io.get_ref().1.alpn_protocol(),
        Some(&b"h2"[..]),
        "h2 is preferred"
    );
}

/// What a client with this certificate is told in the handshake; `None` when it gets in.
async fn refusal(
    server: &Server,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Option<rustls::Error> {
    let settings = tls(
        &server.path("certs/server/root.pem"),
        &[version],
        Http::One,
        Some(identity),
    );
    let error = match server.connect(settings).await {
        Err(e) => e,
        Ok(mut io) => {
            let _ = io
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await;
            let mut text = Vec::new();
            match io.read_to_end(&mut text).await {
                Ok(_) if text.starts_with(b"HTTP/1.1 200") => return None,
                Ok(_) => panic!("neither let in nor told why"),
                Err(e) => e,
            }
        }
    };
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    Some(
        inner
            .unwrap_or_else(|| panic!("no TLS alert: {error}"))
            .clone(),
    )
}

#[tokio::test]
async fn d04_a_refused_certificate_gets_an_alert_and_a_log_line() {
    let server = Server::start().await;
    let device = server.path("certs/device");
    let other = Server::start().await;
    let cases = [
        (
            "expired",
            Leaf {
                days: (-30, -1),
                ..Leaf::device("cam")
            }
            .issue(&device),
        ),
        (
            "not yet valid",
            Leaf {
                days: (1, 30),
                ..Leaf::device("cam")
            }
            .issue(&device),
        ),
        (
            "of another server",
            Leaf::device("cam").issue(&other.path("certs/device")),
        ),
        (
            "of the server root",
            Leaf::device("cam").issue(&server.path("certs/server")),
        ),
        ("self-signed", Leaf::device("cam").self_signed()),
    ];
    let told = |log: &str| {
        log.lines()
            .filter(|line| line.contains("certificate"))
            .count()
    };
    for (what, identity) in &cases {
        for version in [&TLS12, &TLS13] {
            let before = told(&server.log());
            let error = refusal(&server, identity, version)
                .await
                .unwrap_or_else(|| panic!("{what}: let in"));
            assert!(
                matches!(error, rustls::Error::AlertReceived(_)),
                "{what}, {version:?}: {error:?}"
            );
            eventually(
                &format!("the log tells of a certificate {what}"),
                async || (told(&server.log()) > before).then_some(()),
            )
            .await;
            assert_eq!(
                told(&server.log()),
                before + 1,
                "{what}: one line\n{}",
                server.log()
            );
        }
    }
    let good = Leaf::device("cam").issue(&device);
    assert!(refusal(&server, &good, &TLS13).await.is_none());
}

#[tokio::test]
async fn the_root_and_server_certificates_are_no_peers() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let device = server.path("certs/device");
    let id = server.stream(&server.admin(), "dash").await;
    for (what, identity) in [
        (
            "the root itself",
            Identity::read(&device.join("root.pem"), &device.join("root.key")),
        ),
        ("serverAuth only", Leaf::server("cam").issue(&device)),
        (
            "no usage",
            Leaf {
                usage: vec![ExtendedKeyUsagePurpose::CodeSigning],
                ..Leaf::device("cam")
            }
            .issue(&device),
        ),
    ] {
        for version in [&TLS12, &TLS13] {
            if let Some(error) = refusal(&server, &identity, version).await {
                assert!(
                    matches!(error, rustls::Error::AlertReceived(_)),
                    "{what}, {version:?}: {error:?}"
                );
            } else {
                let client = server.client(Http::One, Some(&identity));
                client
                    .put(&format!("/streams/{id}/a.m4s"), "x")
                    .await
                    .problem(403);
            }
        }
    }
    server
        .device("cam")
        .await
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let server = Server::start().await;
    let address = server.address();
    let text = tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(address).expect("connected");
        tcp.set_read_timeout(Some(DEADLINE)).expect("set");
        tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("sent");
        let mut text = Vec::new();
        let _ = tcp.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
    .await
    .expect("no panic");
    assert!(text.starts_with("HTTP/1."), "{text:?}");
    assert!(text.contains("https"), "{text:?}");
}

#[tokio::test]
async fn no_session_tickets_are_sent() {
    let server = Server::start().await;
    let address = server.address().to_string();
    let root = server
        .path("certs/server/root.pem")
        .to_string_lossy()
        .into_owned();
    let output = tokio::task::spawn_blocking(move || {
        use std::process::{Command, Stdio};
        tool("openssl", "the package openssl", &["version"]);
        let mut child = Command::new("openssl")
            .args([
                "s_client", "-connect", &address, "-CAfile", &root, "-tls1_3", "-ign_eof",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let mut input = child.stdin.take().expect("piped");
        input
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let output = child.wait_with_output().expect("output");
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
    .await
    .expect("no panic");
    assert!(output.contains("HTTP/1.1 200"), "{output}");
    assert!(!output.contains("New Session Ticket arrived"), "{output}");
}

#[tokio::test]
async fn a_silent_client_is_dropped() {
    let server = Server::with()
        .args([
            "--handshake-timeout",
            "300ms",
            "--header-timeout",
            "300ms",
            "--keep-alive-timeout",
            "300ms",
        ])
        .start()
        .await;
    let begun = Instant::now();
    // No handshake.
    let mut tcp = tokio::net::TcpStream::connect(server.address())
        .await
        .expect("connected");
    let mut buffer = [0; 64];
    let ended = tokio::time::timeout(DEADLINE, tcp.read(&mut buffer))
        .await
        .expect("closed in time");
    assert!(ended.is_err() || ended.is_ok_and(|n| n < 64));
    // No request after the handshake, half a header, no second request.
    let mut idle = server.h1(None).await;
    assert!(idle.closed().await);
    let mut half = server.h1(None).await;
    half.send(b"GET /healthz HTTP/1.1\r\nHost: local").await;
    if let Some(answer) = half.answer_head().await {
        assert_eq!(answer.status, 408);
    }
    let mut kept = server.h1(None).await;
    kept.request("GET", "/healthz", &[], b"").await.expect(200);
    assert!(kept.closed().await);
    assert!(begun.elapsed() < DEADLINE);
    server.anonymous().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn d26_an_idle_connection_is_kept() {
    let server = Server::start().await;
    let mut one = server.h1(None).await;
    let mut two = server.h2(None).await;
    one.request("GET", "/healthz", &[], b"").await.expect(200);
    two.get("/healthz").await.expect(200);
    // The server that pavs replaces closes after 5 s; cameras with longer segments pay a handshake each.
    tokio::time::sleep(Duration::from_secs(6)).await;
    one.request("GET", "/healthz", &[], b"").await.expect(200);
    two.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn d26_a_connection_takes_more_than_a_thousand_requests() {
    let server = Server::start().await;
    let mut one = server.h1(None).await;
    for _ in 0..1100 {
        one.request("GET", "/healthz", &[], b"").await.expect(200);
    }
    let mut two = server.h2(None).await;
    for _ in 0..1100 {
        two.get("/healthz").await.expect(200);
    }
}

#[tokio::test]
async fn connections_are_limited() {
    let server = Server::with()
        .args(["--max-connections", "3"])
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = server.h1(None).await;
        connection
            .request("GET", "/healthz", &[], b"")
            .await
            .expect(200);
        held.push(connection);
    }
    let fourth = tokio::time::timeout(Duration::from_millis(300), async {
        let mut io = server.connect(server.tls(Http::One, None)).await?;
        io.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut first = [0; 12];
        io.read_exact(&mut first).await.map(|_| first)
    })
    .await;
    assert!(
        !matches!(fourth, Ok(Ok(answer)) if &answer == b"HTTP/1.1 200"),
        "a fourth one waits or is refused"
    );
    held.clear();
    eventually("there is room again", async || {
        let mut io = server.connect(server.tls(Http::One, None)).await.ok()?;
        io.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .ok()?;
        let mut first = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(2), io.read_exact(&mut first)).await;
        (read.is_ok_and(|r| r.is_ok()) && &first == b"HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn ipv6_is_served_where_there_is_one() {
    if !has_ipv6() {
        return skipped("no IPv6 on this machine");
    }
    let server = Server::start().await;
    let base = format!("https://[::1]:{}", server.port);
    server.anonymous().at(&base).get("/certs").await.expect(200);
    let identity = server.identity("cam").await;
    let device = server.client(Http::Any, Some(&identity)).at(&base);
    let id = server.stream(&device, "dash").await;
    device
        .put(&format!("/streams/{id}/a.m4s"), "six")
        .await
        .expect(202);
    device
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(b"six");
}

#[tokio::test]
async fn d24_no_other_protocol_is_advertised() {
    let server = Server::start().await;
    let answer = server.anonymous().get("/healthz").await.expect(200);
    assert!(answer.headers.get("alt-svc").is_none());
}

#[tokio::test]
async fn renewal_keeps_the_rights_of_a_name() {
    let server = Server::start().await;
    let old = server.device("cam").await;
    let id = server.stream(&old, "dash").await;
    let new = server.device("cam").await;
    for (n, client) in [&old, &new].into_iter().enumerate() {
        client
            .put(&format!("/streams/{id}/{n}.m4s"), "x")
            .await
            .expect(202);
    }
    assert_eq!(
        new.get("/streams").await.expect(200).json()["streams"][0]["id"],
        id
    );
}
