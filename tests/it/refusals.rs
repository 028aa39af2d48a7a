//! Who is turned away is told why, and so is whoever runs the server: `/api/v1/refusals`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::TLS12;
use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{DEADLINE, Ending, Http, Identity, Server, eventually, tls, tool};
use crate::mtls::Leaf;

/// Every cause, and the test that produces it.
const PRODUCED: &[(&str, fn())] = &[
    (
        "plain-http",
        clients_that_share_nothing_with_us_are_explained,
    ),
    ("silent", slow_and_surplus_clients_are_explained),
    ("handshake-timeout", slow_and_surplus_clients_are_explained),
    ("connection-limit", slow_and_surplus_clients_are_explained),
    ("certificate-expired", unfit_certificates_are_explained),
    (
        "certificate-not-yet-valid",
        unfit_certificates_are_explained,
    ),
    (
        "certificate-unknown-issuer",
        unfit_certificates_are_explained,
    ),
    (
        "certificate-of-server-root",
        unfit_certificates_are_explained,
    ),
    (
        "certificate-of-old-root",
        crate::roots::devices_of_the_old_root_and_the_new_one_are_taken,
    ),
    ("certificate-self-signed", unfit_certificates_are_explained),
    (
        "certificate-not-for-clients",
        unfit_certificates_are_explained,
    ),
    ("certificate-of-authority", unfit_certificates_are_explained),
    ("certificate-bad", certificates_nobody_can_use_are_explained),
    (
        "certificate-revoked",
        certificates_that_are_not_taken_any_more_are_explained,
    ),
    (
        "certificate-superseded",
        certificates_that_are_not_taken_any_more_are_explained,
    ),
    ("certificate-without-key", unfit_certificates_are_explained),
    (
        "no-shared-version",
        clients_that_share_nothing_with_us_are_explained,
    ),
    (
        "no-shared-cipher",
        clients_that_share_nothing_with_us_are_explained,
    ),
    (
        "no-shared-protocol",
        clients_that_share_nothing_with_us_are_explained,
    ),
    ("not-tls", clients_that_share_nothing_with_us_are_explained),
    (
        "handshake-failed",
        clients_that_give_up_in_the_middle_are_explained,
    ),
    (
        "client-distrusts-root",
        clients_that_reject_us_are_explained,
    ),
    (
        "client-expects-other-name",
        clients_that_reject_us_are_explained,
    ),
    ("client-clock", clients_that_reject_us_are_explained),
    (
        "client-rejects-certificate",
        clients_that_reject_us_are_explained,
    ),
    (
        "client-alert",
        clients_that_give_up_in_the_middle_are_explained,
    ),
    (
        "client-left",
        clients_that_give_up_in_the_middle_are_explained,
    ),
    ("io", slow_and_surplus_clients_are_explained),
    (
        "request-unidentified",
        refused_requests_are_listed_and_survive_a_restart,
    ),
    (
        "request-forbidden",
        refused_requests_are_listed_and_survive_a_restart,
    ),
];

#[tokio::test]
async fn every_cause_has_a_test_and_is_documented() {
    let server = Server::start().await;
    let metrics = server.admin().get("/metrics").await.expect(200).text();
    // A counter for every cause there is, from the start.
    let mut counted: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("pavs_refusals_total{cause=\""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let mut produced: Vec<&str> = PRODUCED.iter().map(|(cause, _)| *cause).collect();
    counted.sort_unstable();
    produced.sort_unstable();
    assert_eq!(counted, produced);
    let documented = include_str!("../../docs/identity.md");
    for cause in counted {
        assert!(documented.contains(&format!("`{cause}`")), "{cause}");
    }
}

/// Waits until a refusal with this cause is counted.
async fn counted(server: &Server, cause: &str) {
    let line = format!("pavs_refusals_total{{cause=\"{cause}\"}} 1");
    eventually(&format!("a refusal is counted: {cause}"), async || {
        let metrics = server.admin().get("/metrics").await.expect(200).text();
        metrics.lines().any(|it| it == line).then_some(())
    })
    .await;
}

/// The newest refusal with this cause, once it is recorded.
async fn refused(server: &Server, cause: &str) -> Value {
    assert!(PRODUCED.iter().any(|(known, _)| *known == cause), "{cause}");
    let admin = server.admin();
    eventually(&format!("a refusal is recorded: {cause}"), async || {
        let listed = admin.get("/api/v1/refusals").await.expect(200).json();
        let rows = listed["refusals"].as_array().expect("a list").clone();
        rows.into_iter().find(|row| row["cause"] == cause)
    })
    .await
}

/// Runs a client with these words, closed input, to its end.
async fn client(program: &'static str, arguments: Vec<String>) -> String {
    tokio::task::spawn_blocking(move || {
        tool(program, program, &["version"]);
        let output = Command::new(program)
            .args(&arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the client runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    })
    .await
    .expect("no panic")
}

async fn openssl(server: &Server, words: &str) -> String {
    let connect = format!("s_client -connect {} {words}", server.address());
    client("openssl", connect.split(' ').map(str::to_owned).collect()).await
}

/// Sends bytes without TLS and reads what comes.
async fn raw(server: &Server, bytes: &'static [u8]) {
    let address = server.address();
    tokio::task::spawn_blocking(move || {
        let mut tcp = std::net::TcpStream::connect(address).expect("connected");
        tcp.set_read_timeout(Some(DEADLINE)).expect("set");
        tcp.write_all(bytes).expect("sent");
        let _ = tcp.read_to_end(&mut Vec::new());
    })
    .await
    .expect("no panic");
}

/// A handshake with these settings, which is not to succeed.
async fn shake(server: &Server, settings: ClientConfig) {
    if let Ok(mut io) = server.connect(settings).await {
        let _ = io.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut text = Vec::new();
        let ended = io.read_to_end(&mut text).await;
        assert!(ended.is_err(), "let in: {}", String::from_utf8_lossy(&text));
    }
}

async fn shake_with(server: &Server, identity: &Identity) {
    let root = server.path("certs/server/root.pem");
    shake(server, tls(&root, &[&TLS12], Http::One, Some(identity))).await;
}

/// A TLS 1.2 handshake up to the server's answer, then these bytes, or none and the end.
async fn half_a_handshake(server: &Server, then: &'static [u8]) {
    let root = server.path("certs/server/root.pem");
    let settings = Arc::new(tls(&root, &[&TLS12], Http::One, None));
    let address = server.address();
    tokio::task::spawn_blocking(move || {
        let name = ServerName::IpAddress(address.ip().into());
        let mut session = ClientConnection::new(settings, name).expect("settings");
        let mut tcp = std::net::TcpStream::connect(address).expect("connected");
        tcp.set_read_timeout(Some(DEADLINE)).expect("set");
        session.write_tls(&mut tcp).expect("sent");
        let length = tcp.read(&mut [0; 16_384]).expect("an answer");
        assert!(length > 0);
        if !then.is_empty() {
            tcp.write_all(then).expect("sent");
            let _ = tcp.read_to_end(&mut Vec::new());
        }
    })
    .await
    .expect("no panic");
}

/// An authority below the root of this directory, as a peer.
fn authority(directory: &Path) -> Identity {
    let read = |name| std::fs::read_to_string(directory.join(name)).expect("a root");
    let root_key = KeyPair::from_pem(&read("root.key")).expect("the root's key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("root.pem"), root_key).expect("the root");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    Identity {
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    }
}

#[tokio::test]
async fn unfit_certificates_are_explained() {
    let server = Server::start().await;
    let other = Server::start().await;
    let device = server.path("certs/device");
    let days = |from, to| {
        let leaf = Leaf {
            days: (from, to),
            ..Leaf::device("cam-7")
        };
        leaf.issue(&device)
    };
    let usage = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let cases = [
        ("certificate-expired", days(-30, -3), "since"),
        ("certificate-not-yet-valid", days(2, 30), "for another"),
        (
            "certificate-unknown-issuer",
            Leaf::device("cam-7").issue(&other.path("certs/device")),
            "--device-ca",
        ),
        (
            "certificate-of-server-root",
            Leaf::device("cam-7").issue(&server.path("certs/server")),
            "server root",
        ),
        (
            "certificate-self-signed",
            Leaf::device("cam-7").self_signed(),
            "signed it itself",
        ),
        (
            "certificate-not-for-clients",
            Leaf {
                usage,
                ..Leaf::device("cam-7")
            }
            .issue(&device),
            "clientAuth",
        ),
        (
            "certificate-of-authority",
            authority(&device),
            "an authority",
        ),
    ];
    for (cause, identity, word) in &cases {
        shake_with(&server, identity).await;
        let row = refused(&server, cause).await;
        let reason = row["reason"].as_str().expect("a sentence");
        assert!(reason.contains(word), "{cause}: {reason}");
        let shown = &row["certificate"];
        let serial = shown["serial"].as_str().expect("its serial number");
        assert!(serial.bytes().all(|b| b.is_ascii_hexdigit()), "{serial}");
        if *cause != "certificate-of-authority" {
            assert!(
                shown["subject"].as_str().unwrap().contains("cam-7"),
                "{row}"
            );
        }
        assert!(!shown["issuer"].as_str().unwrap().is_empty(), "{row}");
        assert_eq!(row["hello"]["versions"], serde_json::json!(["TLSv1.2"]));
        let suites = row["hello"]["ciphers"].as_array().expect("a list");
        let has = |name: &str| suites.iter().any(|it| it == name);
        assert!(has("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), "{row}");
        assert!(row["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(row["at"].as_str().unwrap().ends_with('Z'));
        assert!(row["request"].is_null());
    }

    let good = server.identity("cam-7").await;
    let mut thief = server.tls(Http::One, None);
    thief.client_auth_cert_resolver =
        Arc::new(Stolen(&good, Leaf::device("x").self_signed()).key());
    shake(&server, thief).await;
    let row = refused(&server, "certificate-without-key").await;
    assert!(
        row["certificate"]["subject"]
            .as_str()
            .unwrap()
            .contains("cam-7")
    );

    let metrics = server.admin().get("/metrics").await.expect(200).text();
    for (cause, _, _) in &cases {
        let line = format!("pavs_refusals_total{{cause=\"{cause}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
}

/// A certificate and another one's key.
struct Stolen<'i>(&'i Identity, Identity);

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Stolen<'_> {
    fn key(&self) -> Shown {
        let chain = CertificateDer::pem_slice_iter(self.0.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(self.1.key_pem.as_bytes()).expect("a key");
        let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
        Shown(Arc::new(CertifiedKey::new(chain, key)))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn certificates_nobody_can_use_are_explained() {
    let server = Server::start().await;
    let posing = Leaf::device("Plant/cam-1").issue(&server.path("certs/device"));
    shake_with(&server, &posing).await;
    let row = refused(&server, "certificate-bad").await;
    let reason = row["reason"].as_str().expect("a sentence");
    assert!(reason.contains("slash"), "{reason}");
    let shown = row["certificate"]["subject"].as_str().expect("a name");
    assert!(shown.contains("Plant/cam-1"), "{shown}");
    let first = row["id"].as_i64().expect("a number");

    // What is no certificate at all.
    let identity = server.identity("cam-7").await;
    let mut key = Stolen(&identity, Leaf::device("x").self_signed()).key();
    let half = CertificateDer::from(key.0.cert[0][..100].to_vec());
    key.0 = Arc::new(CertifiedKey::new(vec![half], Arc::clone(&key.0.key)));
    let mut settings = server.tls(Http::One, None);
    settings.client_auth_cert_resolver = Arc::new(key);
    shake(&server, settings).await;
    let row = eventually("the second one is recorded", async || {
        let row = refused(&server, "certificate-bad").await;
        (row["id"].as_i64().expect("a number") > first).then_some(row)
    })
    .await;
    assert!(row["certificate"].is_null(), "{row}");
}

#[tokio::test]
async fn certificates_that_are_not_taken_any_more_are_explained() {
    let server = Server::with()
        .args(["--renewal-overlap", "1ms"])
        .start()
        .await;
    let serial = |identity: &Identity| {
        let der = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).expect("PEM");
        let (_, leaf) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
        let bytes = leaf.tbs_certificate.raw_serial().iter();
        let digits = bytes.skip_while(|byte| **byte == 0);
        digits.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let old = server.identity("cam-7").await;
    let new = server.identity("cam-7").await;
    eventually("the old one is refused", async || {
        let device = server.client(Http::One, Some(&old));
        device.try_get("/healthz").await.is_err().then_some(())
    })
    .await;
    let row = refused(&server, "certificate-superseded").await;
    assert_eq!(row["certificate"]["serial"], serial(&old), "{row}");
    let reason = row["reason"].as_str().expect("a sentence");
    assert!(reason.contains("use the newer one"), "{reason}");

    let admin = server.admin();
    admin.delete("/certs/device/cam-7").await.expect(200);
    shake_with(&server, &new).await;
    let row = refused(&server, "certificate-revoked").await;
    assert_eq!(row["certificate"]["serial"], serial(&new), "{row}");
    let reason = row["reason"].as_str().expect("a sentence");
    assert!(reason.contains("revoked here"), "{reason}");
}

#[tokio::test]
async fn clients_that_give_up_in_the_middle_are_explained() {
    // Alert records: fatal, internal_error. And data before its time.
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];
    const DATA: &[u8] = &[23, 3, 3, 0, 1, 0];
    let server = Server::start().await;
    for (cause, then, word) in [
        ("client-alert", ALERT, "InternalError"),
        ("handshake-failed", DATA, "ApplicationData"),
        ("client-left", b"", "did not say why"),
    ] {
        half_a_handshake(&server, then).await;
        let row = refused(&server, cause).await;
        let reason = row["reason"].as_str().expect("a sentence");
        assert!(reason.contains(word), "{cause}: {reason}");
        assert_eq!(row["hello"]["versions"], serde_json::json!(["TLSv1.2"]));
        assert!(row["certificate"].is_null(), "{row}");
    }
}

#[tokio::test]
async fn clients_that_share_nothing_with_us_are_explained() {
    let server = Server::start().await;
    raw(&server, b"PUT /streams/1/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let row = refused(&server, "plain-http").await;
    assert!(row["reason"].as_str().unwrap().contains("https://"));
    assert!(row["hello"].is_null());

    raw(&server, b"\0\0\0\0 neither TLS nor HTTP").await;
    refused(&server, "not-tls").await;

    openssl(
        &server,
        "-tls1_1 -cipher ALL@SECLEVEL=0 -servername cam.test",
    )
    .await;
    let row = refused(&server, "no-shared-version").await;
    assert_eq!(row["hello"]["versions"], serde_json::json!(["TLSv1.1"]));
    assert_eq!(row["hello"]["server_name"], "cam.test");
    assert!(row["reason"].as_str().unwrap().contains("TLSv1.1"), "{row}");

    openssl(&server, "-tls1_2 -cipher AES128-SHA").await;
    let row = refused(&server, "no-shared-cipher").await;
    let offered = row["hello"]["ciphers"].as_array().expect("a list");
    assert_eq!(offered[0], "TLS_RSA_WITH_AES_128_CBC_SHA", "{row}");

    openssl(&server, "-alpn mqtt").await;
    let row = refused(&server, "no-shared-protocol").await;
    assert_eq!(row["hello"]["protocols"], serde_json::json!(["mqtt"]));
    assert!(row["reason"].as_str().unwrap().contains("mqtt"), "{row}");
}

#[tokio::test]
async fn clients_that_reject_us_are_explained() {
    let server = Server::start().await;
    let other = Server::start().await;
    let root = server.path("certs/server/root.pem");
    let root = root.to_str().expect("UTF-8");
    let strange = other.path("certs/server/root.pem");

    let verify = "-verify_return_error -no-CApath -no-CAstore";
    openssl(
        &server,
        &format!("{verify} -CAfile {}", strange.to_str().expect("UTF-8")),
    )
    .await;
    let row = refused(&server, "client-distrusts-root").await;
    assert!(
        row["reason"].as_str().unwrap().contains("/api/v1/ca"),
        "{row}"
    );

    // Forty years from now, by the client's clock.
    openssl(
        &server,
        &format!("{verify} -CAfile {root} -attime 3050000000"),
    )
    .await;
    let row = refused(&server, "client-clock").await;
    assert!(row["reason"].as_str().unwrap().contains("clock"), "{row}");

    // A client that takes the server for one of its own kind.
    openssl(
        &server,
        &format!("{verify} -CAfile {root} -purpose sslclient"),
    )
    .await;
    let row = refused(&server, "client-rejects-certificate").await;
    let reason = row["reason"].as_str().expect("a sentence");
    assert!(reason.contains("UnsupportedCertificate"), "{reason}");

    // openssl compares the name within the handshake, curl after it, without a word.
    openssl(
        &server,
        &format!("{verify} -CAfile {root} -servername nvr.test -verify_hostname nvr.test"),
    )
    .await;
    let row = refused(&server, "client-expects-other-name").await;
    assert!(row["reason"].as_str().unwrap().contains("--dns"), "{row}");
    let seen = row["id"].as_i64().expect("a number");

    let resolve = format!("nas.test:{}:127.0.0.1", server.port);
    let url = format!("https://nas.test:{}/healthz", server.port);
    let said = client(
        "curl",
        ["-sS", "--resolve", &resolve, "--cacert", root, &url]
            .map(str::to_owned)
            .to_vec(),
    )
    .await;
    assert!(!said.contains("ok"), "{said}");
    let row = eventually("curl's refusal is recorded", async || {
        let row = refused(&server, "client-expects-other-name").await;
        (row["id"].as_i64().expect("a number") > seen).then_some(row)
    })
    .await;
    assert_eq!(row["hello"]["server_name"], "nas.test", "{row}");
    let reason = row["reason"].as_str().unwrap();
    assert!(
        reason.contains("nas.test") && reason.contains("localhost"),
        "{reason}"
    );

    // A client whose name is ours is none of these, also when it asks nothing.
    drop(
        server
            .connect(server.tls(Http::One, None))
            .await
            .expect("connected"),
    );
    server.admin().get("/healthz").await.expect(200);
    let rows = server
        .admin()
        .get("/api/v1/refusals")
        .await
        .expect(200)
        .json();
    assert_eq!(rows["refusals"][0]["id"], row["id"]);
}

#[tokio::test]
async fn slow_and_surplus_clients_are_explained() {
    let server = Server::with()
        .args(["--handshake-timeout", "500ms", "--max-connections", "2"])
        .start()
        .await;
    raw(&server, b"\x16\x03\x01\x02\x00\x01\x00").await;
    refused(&server, "handshake-timeout").await;
    // Scans and health checks are counted, and not listed.
    raw(&server, b"").await;
    counted(&server, "silent").await;
    // Again and again: while others are just leaving there may be no room for it.
    let admin = server.admin();
    eventually("a client that leaves at once is counted", async || {
        drop(std::net::TcpStream::connect(server.address()).expect("connected"));
        let metrics = admin.get("/metrics").await.expect(200).text();
        let mut counts = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("pavs_refusals_total{cause=\"io\"} "));
        counts.any(|count| count != "0").then_some(())
    })
    .await;
    admin.get("/healthz").await.expect(200);
    let mut held = server.h1(None).await;
    held.request("GET", "/healthz", &[], b"").await.expect(200);
    let _ = server.connect(server.tls(Http::One, None)).await;
    drop(held);
    let listed = eventually("the surplus connection is recorded", async || {
        let listed = admin.get("/api/v1/refusals").await.expect(200).json();
        (listed["refusals"][0]["cause"] == "connection-limit").then_some(listed)
    })
    .await;
    assert_eq!(listed["next"], Value::Null);
}

#[tokio::test]
async fn refused_requests_are_listed_and_survive_a_restart() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let owner = server.device("cam-1").await;
    let id = server.stream(&owner, "dash").await;
    let other = server.device("cam-2").await;
    let target = format!("/streams/{id}/x.m4s");
    let answer = other.put(&format!("{target}?a=b"), "x").await;
    let request = answer.header("x-request-id").to_owned();
    answer.problem(403);
    let row = refused(&server, "request-forbidden").await;
    assert_eq!(row["request"]["path"], target.as_str());
    assert_eq!(row["request"]["method"], "PUT");
    assert_eq!(row["request"]["request_id"], request.as_str());
    assert_eq!(row["request"]["tls_version"], "TLSv1.3");
    assert!(
        row["certificate"]["subject"]
            .as_str()
            .unwrap()
            .contains("cam-2")
    );

    server.anonymous().get("/certs").await.problem(401);
    server
        .anonymous()
        .get("/api/v1/refusals")
        .await
        .problem(401);
    owner.get("/api/v1/refusals").await.problem(403);
    let row = eventually("both are recorded", async || {
        let listed = server
            .admin()
            .get("/api/v1/refusals")
            .await
            .expect(200)
            .json();
        let rows = listed["refusals"].as_array().expect("a list");
        (rows.len() == 4).then(|| listed.clone())
    })
    .await;

    let row_of = |cause: &str| {
        let rows = row["refusals"].as_array().expect("a list");
        rows.iter().any(|row| row["cause"] == cause)
    };
    assert!(row_of("request-unidentified") && row_of("request-forbidden"));

    let viewer = server
        .admin()
        .post_json(
            "/api/v1/tokens",
            &serde_json::json!({"name": "wall", "role": "viewer"}),
        )
        .await
        .expect(201)
        .json();
    let viewer = viewer["token"].as_str().expect("a token").to_owned();
    // What is refused just before an orderly stop is not lost.
    raw(&server, b"GET / HTTP/1.0\r\n\r\n").await;
    let first = row["refusals"][0]["id"].as_i64().expect("a number");
    let server = server.restart(Ending::Polite).await;
    let listed = server
        .anonymous()
        .with("Authorization", &format!("Bearer {viewer}"))
        .get("/api/v1/refusals?limit=3")
        .await
        .expect(200)
        .json();
    assert_eq!(listed["refusals"][0]["cause"], "plain-http");
    assert_eq!(listed["refusals"][0]["id"], first + 1);
    let next = listed["next"].as_i64().expect("there are more");
    let rest = server
        .admin()
        .get(&format!("/api/v1/refusals?after={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["refusals"].as_array().unwrap().len(), 2);
    server
        .admin()
        .get("/api/v1/refusals?limit=0")
        .await
        .problem(422);
}
