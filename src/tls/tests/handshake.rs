use std::net::{Ipv6Addr, TcpListener};
use std::time::Duration;

use axum::http::HeaderMap;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Served;
use super::certs::{Authority, Cert, Issued};
use super::clients::{Hello, within};
use crate::tls::{Error, Gate, Limits, MAX_HEADER_BYTES, Peer, RefusalKind, header_bytes};

#[tokio::test]
async fn both_versions_carry_the_peer() {
    let served = Served::start();
    let device = served.device("cam-1");
    for (version, name, cipher) in [
        (&TLS12, "TLSv1.2", "TLS_ECDHE"),
        (&TLS13, "TLSv1.3", "TLS13_"),
    ] {
        let hello = Hello {
            cert: Some(&device),
            versions: &[version],
            ..Hello::default()
        };
        let mut client = served.connect(&hello).await.expect("connects");
        assert!(client.get("/who").await.ends_with(" cam-1 HTTP/1.1"));
        let connection = served.seen.opened.lock().unwrap().last().unwrap().clone();
        assert_eq!(connection.tls_version, name);
        assert!(
            connection.cipher.starts_with(cipher),
            "{}",
            connection.cipher
        );
        assert_eq!(connection.sni.as_deref(), Some("localhost"));
        assert_eq!(connection.local, served.addr);
        assert_eq!(
            connection.remote,
            client.stream.get_ref().0.local_addr().unwrap()
        );
        let Peer::Verified(cert) = connection.peer else {
            panic!("anonymous");
        };
        assert_eq!(cert.name, "cam-1");
        assert_eq!(cert.serial, "5a01");
        assert_eq!(cert.der, device.der.as_ref());
        assert_eq!(cert.fingerprint.len(), 64);
    }
}

#[tokio::test]
async fn no_certificate_is_anonymous() {
    let served = Served::start();
    assert!(
        served
            .h1()
            .await
            .get("/who")
            .await
            .ends_with("1 - HTTP/1.1")
    );
}

#[tokio::test]
async fn no_alpn_means_http1_and_h2_is_preferred() {
    let served = Served::start();
    for (alpn, chosen) in [
        (&[][..], None),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
    ] {
        let hello = Hello {
            alpn,
            ..Hello::default()
        };
        let mut client = served.connect(&hello).await.expect("connects");
        let protocol = client.stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, chosen.map(str::as_bytes));
        if chosen != Some("h2") {
            assert!(client.get("/who").await.ends_with("HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn curl_speaks_h1_and_h2_in_both_versions() {
    let served = Served::start();
    for (args, version) in [
        (&["--tls-max", "1.2", "--no-alpn"][..], "HTTP/1.1"),
        (&["--tls-max", "1.2", "--http2"], "HTTP/2.0"),
        (&["--tlsv1.3", "--http1.1"], "HTTP/1.1"),
        (&["--tlsv1.3", "--http2"], "HTTP/2.0"),
    ] {
        let Some(output) = served.curl("/who", args, b"").await else {
            return;
        };
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.ends_with(version), "{args:?}: {output:?}");
    }
}

/// What is refused below the `http` layer, which does the rest with `header_bytes`.
#[tokio::test]
async fn headers_beyond_all_measure_are_431() {
    let served = Served::start();
    let mut client = served.h1().await;
    let fields = "x: y\r\n".repeat(101);
    client
        .send(format!("GET /who HTTP/1.1\r\n{fields}\r\n"))
        .await;
    assert!(client.answer().await.starts_with("HTTP/1.1 431 "));
    for (length, status) in [
        (MAX_HEADER_BYTES - 1000, b"200"),
        (MAX_HEADER_BYTES, b"431"),
    ] {
        let field = format!("x: {}", "y".repeat(length));
        let args = [
            "--http2",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            &field,
        ];
        let Some(output) = served.curl("/who", &args, b"").await else {
            return;
        };
        assert_eq!(output.stdout, status, "{output:?}");
    }
}

#[test]
fn header_bytes_count_what_http1_would_send() {
    let mut fields = HeaderMap::new();
    fields.append("host", "x".parse().unwrap());
    fields.append("accept", "*/*".parse().unwrap());
    let target = "/a?b".parse().unwrap();
    let sent = "/a?b".len() + "host: x\r\n".len() + "accept: */*\r\n".len();
    assert_eq!(header_bytes(&target, &fields), sent);
}

#[tokio::test]
async fn openssl_resumes_nothing() {
    let served = Served::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let target = served.addr.to_string();
        let args = ["s_client", "-reconnect", version, "-connect", &target].map(str::to_owned);
        let Some(output) = super::clients::run("openssl", "openssl", &args, b"Q\n").await else {
            return;
        };
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("New, TLSv1."), "{told}");
        assert!(!told.contains("Reused, "), "{told}");
    }
}

#[tokio::test]
async fn a_second_handshake_is_a_whole_one() {
    let served = Served::start();
    let device = served.device("cam-1");
    for version in [&TLS12, &TLS13] {
        let config = served.client_config(&Hello {
            cert: Some(&device),
            versions: &[version],
            ..Hello::default()
        });
        for _ in 0..2 {
            let mut client = served.connect_with(config.clone()).await.expect("connects");
            assert!(client.get("/who").await.contains("cam-1"));
            let session = client.stream.get_ref().1;
            assert_ne!(session.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
}

#[tokio::test]
async fn an_unfit_certificate_is_refused_with_an_alert_and_a_reason() {
    let home = Served::start();
    let namesake = Authority::new("test device root");
    let stranger = Authority::new("another root");
    let device = || Cert::device("cam-1");
    let made = |cert| home.device_root.issue(&cert);
    let cases: [(Issued, &str, &str); 9] = [
        (
            made(Cert {
                from_hours: -3,
                to_hours: -2,
                ..device()
            }),
            "has expired",
            "CertificateExpired",
        ),
        (
            made(Cert {
                from_hours: 2,
                to_hours: 3,
                ..device()
            }),
            "not valid yet",
            "CertificateExpired",
        ),
        (
            stranger.issue(&device()),
            "does not lead to a device root",
            "UnknownCA",
        ),
        (namesake.issue(&device()), "made anew", "DecryptError"),
        (
            made(Cert::server("cam-1")),
            "not name clientAuth",
            "UnsupportedCertificate",
        ),
        (
            made(Cert {
                purposes: vec![],
                ..device()
            }),
            "not name clientAuth",
            "UnsupportedCertificate",
        ),
        (
            made(Cert {
                purposes: vec![ExtendedKeyUsagePurpose::Any],
                ..device()
            }),
            "not name clientAuth",
            "UnsupportedCertificate",
        ),
        (
            made(Cert {
                authority: true,
                ..device()
            }),
            "certificate of an authority",
            "UnsupportedCertificate",
        ),
        (
            home.device_root.as_leaf(),
            "the device root itself",
            "UnsupportedCertificate",
        ),
    ];
    for (cert, reason, alert) in &cases {
        for version in [&TLS12, &TLS13] {
            home.seen.refused.lock().unwrap().clear();
            let hello = Hello {
                cert: Some(cert),
                versions: &[version],
                ..Hello::default()
            };
            // In TLS 1.3 the client is done before the server has seen its certificate.
            let error = match home.connect(&hello).await {
                Err(error) => error,
                Ok(mut client) => client.rest().await.1.expect_err("an alert"),
            };
            assert!(error.to_string().contains(alert), "{reason}: {error}");
            let refusal = home.seen.wait_refusal().await;
            assert_eq!(refusal.cause.kind(), RefusalKind::Certificate);
            assert!(
                refusal.reason.contains(reason),
                "{reason}: {}",
                refusal.reason
            );
            assert!(
                refusal.reason.contains("issuer \"CN="),
                "{}",
                refusal.reason
            );
        }
    }
    assert!(home.seen.opened.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_alert_survives_an_upload_already_sent() {
    let served = Served::start();
    let stranger = Authority::new("another root").issue(&Cert::device("cam-1"));
    let hello = Hello {
        cert: Some(&stranger),
        versions: &[&TLS13],
        ..Hello::default()
    };
    let mut client = served
        .connect(&hello)
        .await
        .expect("the client is done first");
    client
        .send("PUT /store HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 400_000]).await;
    let error = client.rest().await.1.expect_err("an alert");
    assert!(error.to_string().contains("UnknownCA"), "{error}");
}

#[tokio::test]
async fn a_certificate_without_common_name_goes_by_its_fingerprint() {
    let served = Served::start();
    let device = served.device_root.issue(&Cert {
        name: None,
        dns: vec!["cam-1.local".to_owned()],
        ..Cert::device("")
    });
    let hello = Hello {
        cert: Some(&device),
        ..Hello::default()
    };
    let mut client = served.connect(&hello).await.expect("connects");
    assert!(client.get("/who").await.contains(" sha256:"));
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let served = Served::start();
    let mut tcp = TcpStream::connect(served.addr).await.unwrap();
    tcp.write_all(b"PUT /streams/1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
        .await
        .unwrap();
    tcp.write_all(&[b'x'; 100_000]).await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{answer}"
    );
    assert!(body.contains("use https://"), "{answer}");
    assert_eq!(
        served.seen.wait_refusal().await.cause.kind(),
        RefusalKind::PlainHttp
    );
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let served = Served::with(|limits| limits.handshake = Duration::from_millis(60));
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        served.seen.refused.lock().unwrap().clear();
        let mut tcp = TcpStream::connect(served.addr).await.unwrap();
        tcp.write_all(said).await.unwrap();
        let _ = within(tcp.read_to_end(&mut vec![])).await;
        let refusal = served.seen.wait_refusal().await;
        assert_eq!(refusal.cause.kind(), RefusalKind::Timeout);
        assert!(refusal.reason.contains("60ms"), "{}", refusal.reason);
    }
}

#[tokio::test]
async fn what_is_not_tls_is_named_so() {
    let served = Served::start();
    let mut tcp = TcpStream::connect(served.addr).await.unwrap();
    tcp.write_all(b"\0\0 no TLS, no HTTP either").await.unwrap();
    within(tcp.read_to_end(&mut vec![])).await.unwrap();
    let refusal = served.seen.wait_refusal().await;
    assert_eq!(refusal.cause.kind(), RefusalKind::Protocol);
    assert!(refusal.reason.contains("not TLS"), "{}", refusal.reason);
}

#[tokio::test]
async fn a_port_scan_is_an_io_refusal() {
    let served = Served::start();
    drop(TcpStream::connect(served.addr).await.unwrap());
    assert_eq!(
        served.seen.wait_refusal().await.cause.kind(),
        RefusalKind::Io
    );
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_told_what_to_do() {
    let served = Served::start();
    let stranger = Authority::new("another root");
    let hello = Hello {
        trusts: Some(&stranger),
        ..Hello::default()
    };
    served.connect(&hello).await.err().expect("no trust");
    let refusal = served.seen.wait_refusal().await;
    assert_eq!(refusal.cause.kind(), RefusalKind::ClientAlert);
    assert!(
        refusal.reason.contains("server's root"),
        "{}",
        refusal.reason
    );
}

#[tokio::test]
async fn one_connection_too_many_is_refused_until_one_goes() {
    let served = Served::with(|limits| limits.max_connections = 2);
    let mut first = served.h1().await;
    let second = served.h1().await;
    served.connect(&Hello::default()).await.err().expect("full");
    let refusal = served.seen.wait_refusal().await;
    assert_eq!(refusal.cause.kind(), RefusalKind::Limit);
    assert!(
        refusal.reason.contains("all 2 connections"),
        "{}",
        refusal.reason
    );
    drop(second);
    served.seen.wait_closed(1).await;
    served.h1().await.get("/who").await;
    first.get("/who").await;
}

#[tokio::test]
async fn swapping_changes_new_connections_only() {
    let served = Served::start();
    let old_device = served.device("old");
    let with_old = Hello {
        cert: Some(&old_device),
        ..Hello::default()
    };
    // One of a device would be cut: its root is not trusted any more.
    let mut open = served.connect(&Hello::default()).await.expect("connects");
    let (new_server_root, new_device_root) = (Authority::new("new"), Authority::new("newer"));
    let server = new_server_root.issue(&Cert::server("localhost"));
    served
        .gate
        .swap(server.pems(&new_device_root).identity())
        .expect("sound");
    assert!(!open.get("/who").await.is_empty());
    let new_device = new_device_root.issue(&Cert::device("new"));
    let with_new = Hello {
        cert: Some(&new_device),
        trusts: Some(&new_server_root),
        ..Hello::default()
    };
    let mut client = served.connect(&with_new).await.expect("connects");
    assert!(client.get("/who").await.contains(" new "));
    served.connect(&with_old).await.err().expect("unknown root");

    let unsound = server.pems(&new_device_root);
    let mut unsound = unsound.identity();
    unsound.key_pem = b"";
    assert!(matches!(served.gate.swap(unsound), Err(Error::Key(_))));
    served.connect(&with_new).await.expect("still the last one");
}

#[tokio::test]
async fn unsound_identities_say_what_is_wrong() {
    let served = Served::start();
    let pems = served.device("cam-1").pems(&served.device_root);
    let sound = pems.identity();
    let other = served.device("cam-2").key_pem();
    let refused = |identity| {
        Gate::new(
            identity,
            Limits::default(),
            served.seen.clone() as _,
            std::sync::Arc::new(|_| None),
        )
        .err()
        .expect("refused")
    };
    let mut identity = sound;
    identity.chain_pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(refused(identity), Error::Chain(_)));
    identity = sound;
    identity.chain_pem = b"";
    assert!(matches!(refused(identity), Error::Chain(_)));
    identity = sound;
    identity.key_pem = other.as_bytes();
    assert!(matches!(refused(identity), Error::NotAPair));
    identity = sound;
    identity.device_roots_pem = b"";
    assert!(matches!(refused(identity), Error::DeviceRoots(_)));
}

#[tokio::test]
async fn ipv6_is_served_where_there_is_any() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("skipped: this machine has no ::1");
        return;
    };
    let served = Served::on(listener, |_| ());
    served.h1().await.get("/who").await;
    assert!(served.seen.opened.lock().unwrap()[0].local.is_ipv6());
}
