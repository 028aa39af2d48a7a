//! Certificates: making, signing, listing and showing them, and what lies on disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::{Client, Ending, Http, Identity, Server, tool};

fn openssl(arguments: &[&str]) -> String {
    let output = tool("openssl", "the package openssl", arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Makes a key and a CSR with `openssl req` and returns the CSR.
fn csr(dir: &Path, key: &[&str], request: &[&str]) -> String {
    let key_file = dir.join("csr.key");
    let key_file = key_file.to_str().expect("utf-8");
    openssl(&[&["genpkey", "-out", key_file], key].concat());
    openssl(&[&["req", "-new", "-key", key_file], request].concat())
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA2048: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const RSA3072: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"];
const RSA1024: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
const CN: &[&str] = &["-subj", "/CN=somebody"];

async fn sign(client: &Client, name: &str, csr: &str) -> crate::harness::Answer {
    client
        .post_json(&format!("/certs/{name}/sign"), &json!({ "csr": csr }))
        .await
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn days_left(cert: &Value) -> i64 {
    let text = cert["not_valid_after"].as_str().expect("a time");
    let end = OffsetDateTime::parse(text, &Rfc3339).expect("RFC 3339");
    (end - OffsetDateTime::now_utc()).whole_days()
}

#[tokio::test]
async fn d28_a_key_pair_is_made_once_unless_overridden() {
    let server = Server::start().await;
    let client = server.anonymous();
    let (pem, key) = (
        server.path("certs/device/cam.pem"),
        server.path("certs/device/cam.key"),
    );

    let made = client.post("/certs/cam/keypair").await.expect(200).json();
    assert_eq!(made["created"], true, "made, not reused: {made}");
    assert!(
        made["cert"]
            .as_str()
            .is_some_and(|path| path.ends_with("certs/device/cam.pem")),
        "{made}"
    );
    assert!(
        made["key"]
            .as_str()
            .is_some_and(|path| path.ends_with("certs/device/cam.key")),
        "{made}"
    );
    assert!(
        !made.to_string().contains("PRIVATE KEY"),
        "the key was not asked for"
    );
    let first = (read(&pem), read(&key));
    assert!(first.1.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");

    let again = client
        .post("/certs/cam/keypair?override=false")
        .await
        .expect(200)
        .json();
    assert_eq!(again["created"], false, "{again}");
    assert_eq!(first, (read(&pem), read(&key)), "nothing was made");

    let new = client
        .post("/certs/cam/keypair?override=true")
        .await
        .expect(200)
        .json();
    assert_eq!(new["created"], true);
    let second = (read(&pem), read(&key));
    assert!(first.0 != second.0 && first.1 != second.1);
    server.client(
        Http::Any,
        Some(&Identity {
            cert_pem: second.0,
            key_pem: second.1,
        }),
    );
}

#[tokio::test]
async fn d02_an_existing_name_is_no_server_error() {
    let server = Server::start().await;
    let client = server.anonymous();
    for _ in 0..2 {
        client
            .post("/certs/cam/keypair?override=false")
            .await
            .expect(200);
    }
    client
        .post("/certs/cam/keypair?override=perhaps")
        .await
        .problem(422);
}

#[tokio::test]
async fn a_new_key_is_shown_once_when_asked_for() {
    let server = Server::start().await;
    let client = server.anonymous();
    let made = client
        .post("/certs/cam/keypair?include_key=true")
        .await
        .expect(200)
        .json();
    let key = read(&server.path("certs/device/cam.key"));
    let shown = strings(&made)
        .into_iter()
        .any(|text| text.trim() == key.trim());
    assert!(shown, "the key is in the answer: {made}");
    let again = client
        .post("/certs/cam/keypair?include_key=true&override=false")
        .await;
    assert!(
        !again.text().contains("PRIVATE KEY"),
        "an old key stays here"
    );
    let admin = server
        .admin()
        .post("/certs/two/keypair?include_key=true")
        .await
        .expect(200);
    assert!(admin.text().contains("PRIVATE KEY"));
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn d10_names_are_checked() {
    let server = Server::start().await;
    let client = server.anonymous();
    let long = "n".repeat(64);
    for name in ["cam-1", "a.b", "A%20B", "%C3%BC", "x@y", &long] {
        client
            .post(&format!("/certs/{name}/keypair"))
            .await
            .expect(200);
    }
    assert!(server.path("certs/device/A B.pem").exists());
    let csr = json!({ "csr": csr(&server.dir, P256, CN) }).to_string();
    let too_long = "n".repeat(65);
    for name in [
        "root",
        "%2e%2e",
        "%2E",
        "a%2Fb",
        "..%2Fserver%2Froot",
        "%00",
        "a%0Ab",
        "a%7F",
        "",
        &too_long,
    ] {
        for (what, body) in [("keypair", ""), ("sign", &csr)] {
            let status = raw_post(&server, &format!("/certs/{name}/{what}"), body).await;
            assert!([400, 404].contains(&status), "{what} {name}: {status}");
        }
    }
}

/// A POST whose path no client library has tidied up.
async fn raw_post(server: &Server, path: &str, body: &str) -> u16 {
    let json = [("Content-Type", "application/json")];
    server
        .h1(None)
        .await
        .request("POST", path, &json, body.as_bytes())
        .await
        .status
}

#[tokio::test]
async fn d07_the_name_of_the_root_is_refused() {
    let server = Server::start().await;
    let client = server.anonymous();
    let root = read(&server.path("certs/device/root.pem"));
    let key = read(&server.path("certs/device/root.key"));
    client.post("/certs/root/keypair").await.problem(400);
    let csr = csr(&server.dir, P256, CN);
    sign(&client, "root", &csr).await.problem(400);
    assert_eq!(root, read(&server.path("certs/device/root.pem")));
    assert_eq!(key, read(&server.path("certs/device/root.key")));
    let server = server.restart(Ending::Polite).await;
    let device = server.device("cam").await;
    let id = server.stream(&device, "dash").await;
    device
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
}

#[tokio::test]
async fn every_csr_of_openssl_is_signed() {
    let server = Server::start().await;
    let client = server.anonymous();
    let root = read(&server.path("certs/server/root.pem"));
    let requests: &[(&str, &[&str], &[&str])] = &[
        ("p256", P256, &["-sha256"]),
        ("p256-sha384", P256, &["-sha384"]),
        ("p384", P384, &["-sha384"]),
        ("p384-sha256", P384, &["-sha256"]),
        ("rsa", RSA2048, &["-sha256"]),
        ("rsa-sha384", RSA2048, &["-sha384"]),
        ("rsa-sha512", RSA3072, &["-sha512"]),
        (
            "san",
            P256,
            &[
                "-addext",
                "subjectAltName=DNS:cam.local,IP:10.0.0.1,URI:urn:x",
            ],
        ),
        (
            "eku",
            P256,
            &[
                "-addext",
                "extendedKeyUsage=serverAuth,clientAuth,codeSigning",
            ],
        ),
        (
            "ca",
            P256,
            &["-addext", "basicConstraints=critical,CA:TRUE"],
        ),
        (
            "ku",
            RSA2048,
            &["-addext", "keyUsage=critical,keyCertSign,digitalSignature"],
        ),
        ("policy", P256, &["-addext", "certificatePolicies=1.2.3.4"]),
        ("oid", P256, &["-addext", "1.2.3.4.5=ASN1:UTF8String:hello"]),
        (
            "tls-feature",
            P256,
            &["-addext", "tlsfeature=status_request"],
        ),
        ("hash", P256, &["-addext", "subjectKeyIdentifier=hash"]),
    ];
    for (name, key, options) in requests {
        let csr = csr(&server.dir, key, &[CN, options].concat());
        let reply = sign(&client, name, &csr).await.expect(200).json();
        assert_eq!(reply["created"], true, "{name}");
        assert_eq!(reply["key"], Value::Null, "{name}");
        let cert = reply["certificate"]
            .as_str()
            .expect("the certificate")
            .to_owned();
        assert_eq!(
            reply["ca"].as_str().expect("the CA").trim(),
            root.trim(),
            "{name}: what the device needs to know the server"
        );
        let file = server.path(&format!("certs/device/{name}.pem"));
        assert!(
            read(&file).contains(cert.trim().trim_end_matches("-----END CERTIFICATE-----")),
            "{name}"
        );
        check_leaf(&server, name);
        let theirs = openssl(&[
            "pkey",
            "-in",
            &server.path("csr.key").to_string_lossy(),
            "-pubout",
        ]);
        let ours = openssl(&["x509", "-in", &file.to_string_lossy(), "-noout", "-pubkey"]);
        assert_eq!(ours, theirs, "{name}: the key of the CSR");
        let identity = Identity {
            cert_pem: cert,
            key_pem: read(&server.path("csr.key")),
        };
        upload_as(&server, &identity).await;
    }
    for subject in [
        "/",
        "/O=Ü\\/ber/CN=Größe",
        "/C=DE/ST=x/L=y/O=z/OU=a/emailAddress=a@b.c",
    ] {
        let csr = csr(&server.dir, P256, &["-utf8", "-subj", subject]);
        sign(&client, "subject", &csr).await.expect(200);
        let cert = server.path("certs/device/subject.pem");
        let text = openssl(&["x509", "-in", &cert.to_string_lossy(), "-noout", "-subject"]);
        assert!(
            text.contains("subject"),
            "the name in the URL counts: {text}"
        );
    }
}

/// A device leaf has the profile of the contract.
fn check_leaf(server: &Server, name: &str) {
    let root = server.path("certs/device/root.pem");
    let cert = server.path(&format!("certs/device/{name}.pem"));
    let (root, cert) = (root.to_string_lossy(), cert.to_string_lossy());
    openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        &root,
        &cert,
    ]);
    let text = openssl(&["x509", "-in", &cert, "-noout", "-text"]);
    for part in [
        &format!("CN = {name}"),
        "TLS Web Client Authentication",
        "Digital Signature",
        "Subject Key Identifier",
        "Authority Key Identifier",
    ] {
        assert!(
            text.contains(part),
            "{name}: {part:?} is missing in\n{text}"
        );
    }
    for part in [
        "CA:TRUE",
        "TLS Web Server",
        "not.a.valid.website",
        "Certificate Sign",
        "1.2.3.4",
    ] {
        assert!(!text.contains(part), "{name}: {part:?} in\n{text}");
    }
}

/// Uploads something with this identity.
async fn upload_as(server: &Server, identity: &Identity) {
    let client = server.client(Http::Any, Some(identity));
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
}

#[tokio::test]
async fn d08_bad_requests_are_not_signed() {
    let server = Server::start().await;
    let client = server.anonymous();
    let good = csr(&server.dir, P256, CN);
    let weak = csr(&server.dir, RSA1024, CN);
    let detail = sign(&client, "weak", &weak).await.problem(400);
    assert!(
        detail.contains("2048") || detail.contains("1024"),
        "says what is wrong: {detail}"
    );

    // Another signature of the same length: the last bytes of the DER are those of the signature.
    let other = csr(&server.dir, P256, &["-subj", "/CN=somebodx"]);
    let (mut der, other) = (pem_bytes(&good), pem_bytes(&other));
    let last = der.len() - 8;
    der.truncate(last);
    der.extend_from_slice(&other[other.len() - 8..]);
    let forged = pem("CERTIFICATE REQUEST", &der);
    sign(&client, "forged", &forged).await.problem(400);

    let root = read(&server.path("certs/device/root.pem"));
    let half = &good[..good.len() / 2];
    let empty = pem("CERTIFICATE REQUEST", b"");
    for (what, text) in [
        ("certificate", root.as_str()),
        ("half", half),
        ("empty", ""),
        ("words", "hello"),
        ("no DER", &empty),
    ] {
        let detail = sign(&client, "bad", text).await.problem(400);
        assert!(!detail.contains("0x"), "{what}: plain words: {detail}");
    }
    for name in ["weak", "forged", "bad"] {
        assert!(!server.path(&format!("certs/device/{name}.pem")).exists());
    }
}

fn pem_bytes(text: &str) -> Vec<u8> {
    ::pem::parse(text).expect("PEM").into_contents()
}

fn pem(tag: &str, bytes: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new(tag, bytes.to_vec()))
}

#[tokio::test]
async fn unpromised_keys_are_signed_or_refused_but_no_server_error() {
    let server = Server::start().await;
    let client = server.anonymous();
    for key in [
        &["-algorithm", "ED25519"][..],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    ] {
        let status = sign(&client, "odd", &csr(&server.dir, key, CN))
            .await
            .status;
        assert!([200, 400].contains(&status), "{key:?}: {status}");
    }
}

#[tokio::test]
async fn a_signing_request_of_the_wrong_shape_is_422() {
    let server = Server::start().await;
    let client = server.anonymous();
    for body in [
        json!({}),
        json!({"csr": null}),
        json!({"csr": 7}),
        json!([]),
        json!("csr"),
    ] {
        client
            .post_json("/certs/cam/sign", &body)
            .await
            .problem(422);
    }
    let call = client
        .post("/certs/cam/sign")
        .header("Content-Type", "application/json")
        .body("{");
    let status = call.await.status;
    assert!([400, 422].contains(&status), "{status}");
    let csr = csr(&server.dir, P256, CN);
    let extra = json!({"csr": csr, "more": true});
    client
        .post_json("/certs/cam/sign", &extra)
        .await
        .expect(200);
}

#[tokio::test]
async fn d08_signing_over_a_key_pair_leaves_no_stale_key() {
    let server = Server::start().await;
    let client = server.anonymous();
    client.post("/certs/cam/keypair").await.expect(200);
    let csr = csr(&server.dir, P256, CN);
    let kept = client
        .post_json("/certs/cam/sign?override=false", &json!({ "csr": csr }))
        .await
        .expect(200);
    assert_eq!(kept.json()["created"], false, "nothing was signed");
    assert_eq!(kept.json()["key"], Value::Null, "the device has its own");
    assert!(server.path("certs/device/cam.key").exists());
    sign(&client, "cam", &csr).await.expect(200);
    assert!(
        !server.path("certs/device/cam.key").exists(),
        "no key beside another key's certificate"
    );
    client.get("/certs/device/cam.key").await.problem(404);
    let again = client
        .post_json("/certs/cam/sign?override=false", &json!({ "csr": csr }))
        .await
        .expect(200);
    assert_eq!(again.json()["created"], false);
    client.post("/certs/cam/keypair").await.expect(200);
    let identity = Identity::read(
        &server.path("certs/device/cam.pem"),
        &server.path("certs/device/cam.key"),
    );
    upload_as(&server, &identity).await;
}

#[tokio::test]
async fn a_key_pair_does_not_replace_a_signed_certificate_unless_overridden() {
    let server = Server::start().await;
    let client = server.anonymous();
    let csr = csr(&server.dir, P256, CN);
    let signed = sign(&client, "cam", &csr).await.expect(200).json();
    let file = read(&server.path("certs/device/cam.pem"));
    let held = client
        .post("/certs/cam/keypair?override=false&include_key=true")
        .await
        .expect(200)
        .json();
    assert_eq!(held["created"], false, "{held}");
    assert_eq!(held["key"], Value::Null, "{held}");
    assert_eq!(held["certificate"], signed["certificate"]);
    assert_eq!(read(&server.path("certs/device/cam.pem")), file);
    assert!(!server.path("certs/device/cam.key").exists());
    let made = client.post("/certs/cam/keypair").await.expect(200).json();
    assert_eq!(made["created"], true, "{made}");
}

#[tokio::test]
async fn certificates_are_listed() {
    let server = Server::start().await;
    let client = server.anonymous();
    let list = client.get("/certs").await.expect(200).json();
    let has = |list: &Value, hierarchy: &str, name: &str| {
        list[hierarchy]
            .as_array()
            .expect("a list")
            .iter()
            .any(|file| file == name)
    };
    for hierarchy in ["server", "device"] {
        assert!(
            has(&list, hierarchy, "root.pem") && has(&list, hierarchy, "root.key"),
            "{list}"
        );
    }
    assert_eq!(
        list["server"].as_array().map(Vec::len),
        Some(4),
        "root and leaf: {list}"
    );
    client.post("/certs/cam/keypair").await.expect(200);
    let list = client.get("/certs").await.expect(200).json();
    assert!(
        has(&list, "device", "cam.pem") && has(&list, "device", "cam.key"),
        "{list}"
    );
}

#[tokio::test]
async fn a_certificate_is_described_and_downloaded() {
    let server = Server::start().await;
    let client = server.anonymous();
    client.post("/certs/cam/keypair").await.expect(200);
    let shown = client.get("/certs/device/cam.pem").await.expect(200).json();
    assert_eq!(shown["type"], "cert");
    assert_eq!(shown["key"], Value::Null);
    let cert = &shown["cert"];
    let file = read(&server.path("certs/device/cam.pem"));
    assert!(
        cert["public_cert"]
            .as_str()
            .is_some_and(|pem| file.starts_with(pem.trim())),
        "{cert}"
    );
    let subject = cert["subject"].as_str().expect("a subject");
    assert!(subject.contains("CN=cam"), "{subject}");
    assert!(
        cert["serial_number"]
            .as_str()
            .is_some_and(|serial| serial.starts_with("0x")),
        "{cert}"
    );
    assert!(
        cert["issuer"].is_string() && cert["extensions"].is_array(),
        "{cert}"
    );
    let days = days_left(cert);
    assert!(
        (363..=366).contains(&days),
        "one year by default: {days} days"
    );

    let pem = client
        .get("/certs/device/cam.pem?format=pem")
        .await
        .expect(200);
    assert!(pem.text().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(
        pem_bytes(&pem.text()),
        pem_bytes(&file),
        "the leaf comes first"
    );
    let der = client
        .get("/certs/device/cam.pem?format=der")
        .await
        .expect(200);
    der.is(&pem_bytes(&file));
    let status = client.get("/certs/device/cam.pem?format=jpeg").await.status;
    assert!([400, 422].contains(&status), "{status}");
    client.get("/certs/server/root.pem").await.expect(200);
}

#[tokio::test]
async fn d10_missing_certificates_are_404() {
    let server = Server::start().await;
    let client = server.anonymous();
    for path in [
        "/certs/device/missing.pem",
        "/certs/device/missing.key",
        "/certs/other/root.pem",
        "/certs/device/cam",
    ] {
        client.get(path).await.problem(404);
    }
    for path in [
        "/certs/device/..%2Fserver%2Froot.key",
        "/certs/device/%2e%2e",
        "/certs/%2e%2e/admin.token",
        "/certs/device/%00",
        "/certs/..%2F..%2F/etc",
    ] {
        let status = server
            .h1(None)
            .await
            .request("GET", path, &[], b"")
            .await
            .status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[tokio::test]
async fn d06_no_private_key_leaves_by_get() {
    for access in ["local", "open", "closed"] {
        let server = Server::with().args(["--access", access]).start().await;
        let client = server.admin();
        client.post("/certs/cam/keypair").await.expect(200);
        let list = client.get("/certs").await.expect(200).json();
        let mut keys = 0;
        for hierarchy in ["server", "device"] {
            for name in list[hierarchy].as_array().expect("a list") {
                let name = name.as_str().expect("a name");
                for query in ["", "?format=pem", "?format=der", "?include_key=true"] {
                    let answer = client
                        .get(&format!("/certs/{hierarchy}/{name}{query}"))
                        .await;
                    assert!(!answer.text().contains("PRIVATE"), "{answer:?}");
                    if name.ends_with(".key") {
                        let file = read(&server.path(&format!("certs/{hierarchy}/{name}")));
                        let secret = pem_bytes(&file);
                        assert!(
                            crate::harness::find(&answer.body, &secret[40..60]).is_none(),
                            "{answer:?}"
                        );
                        if query.is_empty() {
                            let key = answer.expect(200).json();
                            assert_eq!(key["type"], "key");
                            assert_eq!(key["cert"], Value::Null);
                            assert_eq!(key["key"]["key_size"], 256);
                            let public = key["key"]["public_key"].as_str().expect("the public key");
                            assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"), "{public}");
                            assert!(key["key"].get("private_key").is_none_or(Value::is_null));
                            keys += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(keys, 4);
    }
}

#[tokio::test]
async fn d06_files_are_for_their_owner_alone() {
    let server = Server::start().await;
    server.identity("cam").await;
    for dir in ["certs", "certs/server", "certs/device"] {
        assert_eq!(mode(&server.path(dir)), 0o700, "{dir}");
    }
    for hierarchy in ["server", "device"] {
        for entry in std::fs::read_dir(server.path("certs").join(hierarchy)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ext| ext == "key") {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert_eq!(mode(&server.path("admin.token")), 0o600);
    let token = server.token();
    assert!(token.len() >= 43, "256 bit in any text form");
    assert!(!server.log().contains(&token), "the token is not logged");
    let path = server.path("admin.token");
    assert_eq!(
        server.log().matches(&*path.to_string_lossy()).count(),
        1,
        "its path is told once"
    );
}

#[tokio::test]
async fn d06_what_others_could_read_is_closed_at_the_start() {
    let mut server = Server::start().await;
    server.identity("cam").await;
    server.end(Ending::Polite).await;
    assert!(!server.log().contains("could read"), "{}", server.log());
    let open = |path: &str, mode| {
        std::fs::set_permissions(server.path(path), std::fs::Permissions::from_mode(mode))
            .expect("it is there");
    };
    for dir in ["", "certs", "certs/server", "certs/device", "streams"] {
        open(dir, 0o755);
    }
    for file in [
        "certs/server/root.key",
        "certs/device/cam.key",
        "admin.token",
        "catalog.sqlite3",
    ] {
        open(file, 0o644);
    }
    let server = server.restart(Ending::Polite).await;
    for dir in [
        "certs",
        "certs/server",
        "certs/device",
        "streams",
        "parts",
        "incoming",
    ] {
        assert_eq!(mode(&server.path(dir)), 0o700, "{dir}");
    }
    for file in [
        "certs/server/root.key",
        "certs/server/localhost.key",
        "certs/device/cam.key",
        "admin.token",
        "catalog.sqlite3",
        "catalog.sqlite3-wal",
        "catalog.sqlite3-shm",
    ] {
        assert_eq!(mode(&server.path(file)), 0o600, "{file}");
    }
    assert_eq!(
        mode(&server.dir),
        0o755,
        "the directory is its owner's matter"
    );
    let log = server.log();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("could read"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for name in [
        "certs/server/root.key",
        "certs/device/cam.key",
        "admin.token",
    ] {
        assert!(warnings[0].contains(name), "{}", warnings[0]);
    }
}

#[tokio::test]
async fn d03_the_server_certificate_has_its_names() {
    let server = Server::with()
        .args([
            "--server-ip",
            "192.0.2.77",
            "--server-ip",
            "2001:db8::7",
            "--dns",
            "camera.example",
        ])
        .start()
        .await;
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "192.0.2.77",
        "2001:db8::7",
        "camera.example",
    ] {
        handshake(&server, name)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(handshake(&server, "other.example").await.is_err());
    let leaf = server_leaf(&server);
    let days = days_left(&leaf);
    assert!((728..=731).contains(&days), "two years: {days} days");
    assert!(!leaf.to_string().contains("not.a.valid"));
}

async fn handshake(server: &Server, name: &str) -> std::io::Result<()> {
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(server.tls(Http::Any, None)));
    let tcp = tokio::net::TcpStream::connect(server.address()).await?;
    tls.connect(ServerName::try_from(name.to_owned()).expect("a name"), tcp)
        .await
        .map(drop)
}

/// The description of the one leaf in `certs/server`, from its file.
fn server_leaf(server: &Server) -> Value {
    let path = server_leaf_file(server);
    let end = openssl(&[
        "x509", "-in", &path, "-noout", "-enddate", "-dateopt", "iso_8601",
    ]);
    let end = end
        .trim()
        .trim_start_matches("notAfter=")
        .replacen(' ', "T", 1);
    json!({ "not_valid_after": end, "text": openssl(&["x509", "-in", &path, "-noout", "-text"]) })
}

fn server_leaf_file(server: &Server) -> String {
    std::fs::read_dir(server.path("certs/server"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension().is_some_and(|e| e == "pem")
                && path.file_stem().is_some_and(|s| s != "root")
        })
        .expect("a leaf")
        .to_string_lossy()
        .into_owned()
}

#[tokio::test]
async fn d03_an_old_server_certificate_is_made_anew() {
    let mut server = Server::start().await;
    let path = server_leaf_file(&server);
    let fresh = read(Path::new(&path));
    server.end(Ending::Polite).await;
    let key = path.replace(".pem", ".key");
    let leaf = crate::mtls::Leaf {
        days: (-600, 300),
        ..crate::mtls::Leaf::server("localhost")
    };
    let old = leaf.issue(&server.path("certs/server"));
    std::fs::write(&path, &old.cert_pem).expect("written");
    std::fs::write(&key, &old.key_pem).expect("written");
    let server = server.restart(Ending::Polite).await;
    let days = days_left(&server_leaf(&server));
    assert!(days > 700, "made anew: {days} days");
    assert_ne!(read(Path::new(&path)), old.cert_pem);
    assert_ne!(read(Path::new(&path)), fresh);
    handshake(&server, "localhost")
        .await
        .expect("the new one is served");
}

#[tokio::test]
async fn a_young_server_certificate_is_kept() {
    let server = Server::start().await;
    let before = read(Path::new(&server_leaf_file(&server)));
    let server = server.restart(Ending::Polite).await;
    assert_eq!(before, read(Path::new(&server_leaf_file(&server))));
}

#[tokio::test]
async fn a_new_name_makes_a_new_server_certificate() {
    let mut server = Server::start().await;
    server.end(Ending::Polite).await;
    let again = Server::with()
        .directory(&server.dir)
        .args(["--dns", "new.example"])
        .start()
        .await;
    handshake(&again, "new.example")
        .await
        .expect("the name is in the certificate");
}

#[tokio::test]
async fn rsa_roots_are_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    for hierarchy in ["server", "device"] {
        let here = dir.path().join("certs").join(hierarchy);
        std::fs::create_dir_all(&here).expect("a directory");
        let (key, cert) = (here.join("root.key"), here.join("root.pem"));
        let key = key.to_str().expect("utf-8");
        openssl(&["genrsa", "-traditional", "-out", key, "2048"]);
        openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            key,
            "-sha256",
            "-days",
            "3650",
            "-subj",
            &format!("/O=CSA/CN=TC_PAVS root {hierarchy}"),
            "-addext",
            "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
            "-out",
            cert.to_str().expect("utf-8"),
        ]);
    }
    let device_root = read(&dir.path().join("certs/device/root.pem"));
    let server = Server::with().directory(dir.path()).start().await;
    assert_eq!(device_root, read(&server.path("certs/device/root.pem")));
    upload_as(&server, &server.identity("cam").await).await;
    check_leaf(&server, "cam");
    let shown = server
        .anonymous()
        .get("/certs/device/root.key")
        .await
        .expect(200)
        .json();
    assert_eq!(shown["key"]["key_size"], 2048);
}

#[tokio::test]
async fn d04_device_certificates_live_as_long_as_told() {
    let server = Server::with()
        .args(["--device-validity", "30d"])
        .start()
        .await;
    let client = server.anonymous();
    client.post("/certs/cam/keypair").await.expect(200);
    let shown = client.get("/certs/device/cam.pem").await.expect(200).json();
    let days = days_left(&shown["cert"]);
    assert!((29..=30).contains(&days), "{days}");
}

#[tokio::test]
async fn the_roots_live_long_and_are_roots() {
    let server = Server::start().await;
    for hierarchy in ["server", "device"] {
        let path = server.path(&format!("certs/{hierarchy}/root.pem"));
        let path = path.to_string_lossy();
        let text = openssl(&["x509", "-in", &path, "-noout", "-text"]);
        for part in [
            "CA:TRUE",
            "Certificate Sign",
            "prime256v1",
            "Subject Key Identifier",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        openssl(&[
            "x509",
            "-in",
            &path,
            "-noout",
            "-checkend",
            &(19 * 365 * 86_400).to_string(),
        ]);
    }
    assert_ne!(
        read(&server.path("certs/server/root.pem")),
        read(&server.path("certs/device/root.pem")),
        "two hierarchies"
    );
}

#[tokio::test]
async fn what_is_remembered_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("set");
    let server = Server::with().directory(dir.path()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    for entry in std::fs::read_dir(dir.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        assert_eq!(
            mode(&path) & 0o077,
            0,
            "{} is {:o}",
            path.display(),
            mode(&path)
        );
    }
}
