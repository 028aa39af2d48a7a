//! A device's life: enrolled, bound to a stream, renewed, revoked; and the tokens and commands of
//! those who see to it.

use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Client, Ending, H1, Http, Identity, Server, eventually, pavs, run_to_end, tool,
};
use crate::media::Track;

/// A key, and a signing request for it.
struct Key {
    dir: tempfile::TempDir,
}

impl Key {
    fn make() -> Self {
        let key = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=whatever",
            "-keyout",
            &key.file("key.pem"),
            "-out",
            &key.file("csr.pem"),
        ]);
        key
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn csr(&self) -> String {
        read(self.file("csr.pem"))
    }

    /// The key with the certificate that an answer holds.
    fn with(&self, answer: &Value) -> Identity {
        Identity {
            cert_pem: answer["certificate"]
                .as_str()
                .expect("a certificate")
                .to_owned(),
            key_pem: read(self.file("key.pem")),
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref())
        .unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn openssl(arguments: &[&str]) -> Output {
    let output = tool("openssl", "the package openssl", arguments);
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs curl; what it printed, whatever came of it.
async fn curl(server: &Server, arguments: &[&str]) -> (bool, String) {
    let root = server.path("certs/server/root.pem");
    let arguments: Vec<String> = ["-sS", "--max-time", "30", "--cacert"]
        .into_iter()
        .map(ToOwned::to_owned)
        .chain([root.to_string_lossy().into_owned()])
        .chain(arguments.iter().map(|&argument| argument.to_owned()))
        .collect();
    tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = tool("curl", "the package curl", &arguments);
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    })
    .await
    .expect("no panic")
}

async fn enrol(admin: &Client, name: &str) -> Value {
    admin
        .post_json("/api/v1/enrolments", &json!({"name": name, "ttl": "10m"}))
        .await
        .expect(201)
        .json()
}

/// A client that shows a bearer token and nothing else.
fn bearer(server: &Server, made: &Value) -> Client {
    let token = made["token"].as_str().expect("a token");
    server
        .client(Http::Any, None)
        .with("Authorization", &format!("Bearer {token}"))
}

async fn sign(client: &Client, name: &str, key: &Key) -> Answer {
    client
        .post_json(&format!("/certs/{name}/sign"), &json!({ "csr": key.csr() }))
        .await
}

async fn device(admin: &Client, name: &str) -> Value {
    admin
        .get(&format!("/api/v1/devices/{name}"))
        .await
        .expect(200)
        .json()
}

/// States of a device's certificates, newest first.
async fn states(admin: &Client, name: &str) -> Vec<String> {
    let device = device(admin, name).await;
    device["certificates"]
        .as_array()
        .expect("certificates")
        .iter()
        .map(|held| held["state"].as_str().expect("a state").to_owned())
        .collect()
}

/// Waits until no connection can be made with this certificate.
async fn is_refused(server: &Server, identity: &Identity) {
    eventually("the handshake is refused", async || {
        let client = server.client(Http::One, Some(identity));
        let answer = client.try_get("/healthz").await;
        answer.is_err().then_some(())
    })
    .await;
}

fn command(server: &Server, arguments: &[&str]) -> std::process::Command {
    let mut command = pavs();
    command
        .args(arguments)
        .arg("--working-directory")
        .arg(&server.dir);
    command
}

async fn run(server: &Server, arguments: &[&str]) -> (bool, String, String) {
    let mut command = command(server, arguments);
    tokio::task::spawn_blocking(move || {
        let (status, out, error) = run_to_end(&mut command);
        assert!(!error.contains("panicked"), "{error}");
        (status.success(), out, error)
    })
    .await
    .expect("no panic")
}

#[tokio::test]
async fn a_device_enrols_with_curl_and_openssl() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let made = enrol(&admin, "cam-1").await;
    let key = Key::make();
    let url = format!("{}/certs/cam-1/sign", server.base());
    let (ok, text) = curl(
        &server,
        &[
            "-H",
            &format!(
                "Authorization: Bearer {}",
                made["token"].as_str().expect("a token")
            ),
            "-H",
            "Content-Type: application/x-pem-file",
            "--data-binary",
            &format!("@{}", key.file("csr.pem")),
            &url,
        ],
    )
    .await;
    assert!(ok, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(answer["created"], true, "{answer}");
    let identity = key.with(&answer);
    let camera = server.client(Http::Any, Some(&identity));
    let stream = server.stream(&camera, "dash").await;
    assert_eq!(admin.stream(stream).await["owner"], "cam-1");
    let listed = admin.get("/api/v1/enrolments").await.expect(200).json();
    let listed = &listed["enrolments"][0];
    assert_eq!(listed["state"], "used", "{listed}");
    assert_eq!(listed["used_from"], "127.0.0.1", "{listed}");
    assert!(listed.get("token").is_none() && listed.get("hash").is_none());
}

#[tokio::test]
async fn an_enrolment_token_is_good_for_one_thing_once() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let made = enrol(&admin, "cam-1").await;
    let (first, second) = (Key::make(), Key::make());
    let enrolee = bearer(&server, &made);
    for (method, path) in [
        ("GET", "/certs"),
        ("GET", "/streams"),
        ("POST", "/streams"),
        ("POST", "/certs/cam-1/keypair"),
        ("POST", "/api/v1/enrolments"),
        ("GET", "/api/v1/devices"),
        ("DELETE", "/certs/device/cam-1"),
    ] {
        let answer = enrolee
            .call(method, path)
            .json(&json!({"name": "x"}))
            .await
            .problem(403);
        assert!(answer.contains("enrolment"), "{method} {path}: {answer}");
    }
    sign(&enrolee, "cam-2", &first).await.problem(403);
    // A request that cannot be signed does not use it up.
    enrolee
        .post_json("/certs/cam-1/sign", &json!({"csr": "no"}))
        .await
        .problem(400);
    let signed = sign(&enrolee, "cam-1", &first).await.expect(200).json();
    assert_eq!(signed["created"], true);
    // A device that lost the answer asks again, also after a restart; nobody else can.
    let server = server.restart(Ending::Kill).await;
    let enrolee = bearer(&server, &made);
    let again = sign(&enrolee, "cam-1", &first).await.expect(200).json();
    assert_eq!(again["created"], false);
    assert_eq!(again["certificate"], signed["certificate"]);
    let used = sign(&enrolee, "cam-1", &second).await.problem(401);
    assert!(used.contains("used"), "{used}");
}

#[tokio::test]
async fn a_race_for_one_token_signs_once() {
    let server = Server::start().await;
    let made = enrol(&server.admin(), "cam-1").await;
    let racers = (0..6).map(|_| {
        let (client, key) = (bearer(&server, &made), Key::make());
        tokio::spawn(async move {
            let answer = client
                .post_json("/certs/cam-1/sign", &json!({ "csr": key.csr() }))
                .await;
            answer.status
        })
    });
    let mut statuses = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        statuses.push(racer.await.expect("no panic"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401, 401, 401]);
    assert_eq!(states(&server.admin(), "cam-1").await, ["valid"]);
}

#[tokio::test]
async fn an_enrolment_pushes_no_device_out_unless_told_to() {
    let server = Server::start().await;
    let admin = server.admin();
    let held = server.identity("cam-1").await;
    let made = enrol(&admin, "cam-1").await;
    let key = Key::make();
    let enrolee = bearer(&server, &made);
    let refused = sign(&enrolee, "cam-1", &key).await.problem(409);
    assert!(refused.contains("override=true"), "{refused}");
    enrolee
        .post_json(
            "/certs/cam-1/sign?override=true",
            &json!({ "csr": key.csr() }),
        )
        .await
        .expect(200);
    assert_eq!(states(&admin, "cam-1").await, ["valid", "superseded"]);
    // There is time to change over.
    let camera = server.client(Http::Any, Some(&held));
    camera.get("/streams").await.expect(200);
    // A name whose certificate is revoked is free.
    admin.delete("/certs/device/cam-1").await.expect(200);
    let made = enrol(&admin, "cam-1").await;
    sign(&bearer(&server, &made), "cam-1", &Key::make())
        .await
        .expect(200);
    assert_eq!(
        states(&admin, "cam-1").await,
        ["valid", "revoked", "revoked"]
    );
}

#[tokio::test]
async fn enrolments_end_and_are_withdrawn() {
    let server = Server::start().await;
    let admin = server.admin();
    let short = admin
        .post_json(
            "/api/v1/enrolments",
            &json!({"name": "cam-1", "ttl": "1ms"}),
        )
        .await
        .expect(201)
        .json();
    let gone = enrol(&admin, "cam-2").await;
    let id = gone["id"].as_i64().expect("a number");
    admin
        .delete(&format!("/api/v1/enrolments/{id}"))
        .await
        .expect(204);
    admin
        .delete(&format!("/api/v1/enrolments/{id}"))
        .await
        .problem(409);
    admin.delete("/api/v1/enrolments/99").await.problem(404);
    for (made, name, word) in [(&short, "cam-1", "expired"), (&gone, "cam-2", "withdrawn")] {
        let refused = sign(&bearer(&server, made), name, &Key::make())
            .await
            .problem(401);
        assert!(refused.contains(word), "{refused}");
    }
    for (body, status) in [
        (json!({"name": "root"}), 400),
        (json!({"name": "a/b"}), 400),
        (json!({"name": "cam", "ttl": "soon"}), 400),
        (json!({"name": "cam", "ttl": "99999d"}), 400),
        (json!({"name": "cam", "stream": 7}), 404),
        (json!({"name": "cam", "colour": "red"}), 422),
        (json!({}), 422),
    ] {
        let answer = admin.post_json("/api/v1/enrolments", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn streams_are_bound_to_devices() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let opened = admin
        .post("/streams?interface=dash&device=cam-1")
        .await
        .expect(201)
        .json();
    assert_eq!(opened["owner"], "cam-1");
    let id = opened["id"].as_u64().expect("a number");
    let (own, other) = (server.device("cam-1").await, server.device("cam-2").await);
    let target = format!("/streams/{id}/session_1/a.m4s");
    own.put(&target, "x").await.expect(202);
    other.put(&target, "x").await.problem(403);
    // Bound to another, then to nobody.
    let path = format!("/api/v1/streams/{id}");
    own.patch_json(&path, &json!({"device": "cam-2"}))
        .await
        .problem(403);
    admin
        .patch_json(&path, &json!({"device": "cam-2"}))
        .await
        .expect(200);
    own.put(&target, "x").await.problem(403);
    other.put(&target, "x").await.expect(202);
    let server = server.restart(Ending::Polite).await;
    let admin = server.admin();
    assert_eq!(admin.stream(id).await["owner"], "cam-2");
    let free = admin
        .patch_json(&path, &json!({"device": null}))
        .await
        .expect(200)
        .json();
    assert_eq!(free["owner"], Value::Null);
    let own = server.device("cam-1").await;
    own.put(&target, "y").await.expect(202);
    admin
        .patch_json(&path, &json!({"device": ""}))
        .await
        .problem(400);
    own.post("/streams?device=cam-2").await.problem(403);
    // With an enrolment; a stream of another device is not taken away by it.
    let bound = json!({"name": "cam-3", "stream": id});
    admin
        .post_json("/api/v1/enrolments", &bound)
        .await
        .expect(201);
    assert_eq!(admin.stream(id).await["owner"], "cam-3");
    let taken = json!({"name": "cam-4", "stream": id});
    admin
        .post_json("/api/v1/enrolments", &taken)
        .await
        .problem(409);
    assert_eq!(device(&admin, "cam-3").await["streams"], json!([id]));
}

#[tokio::test]
async fn a_device_renews_on_a_connection_that_stays_open() {
    let server = Server::with()
        .args(["--access", "closed", "--renewal-overlap", "2s"])
        .start()
        .await;
    let admin = server.admin();
    let old = server.identity("cam-1").await;
    let mut connection = server.h1(Some(&old)).await;
    let key = Key::make();
    let body = json!({ "csr": key.csr() }).to_string();
    let fields = [("Content-Type", "application/json")];
    connection
        .request("POST", "/certs/cam-2/sign", &fields, body.as_bytes())
        .await
        .problem(403);
    let signed = connection
        .request("POST", "/certs/cam-1/sign", &fields, body.as_bytes())
        .await
        .expect(200)
        .json();
    let new = key.with(&signed);
    // Both are good while it changes over; then the old one is not.
    server
        .client(Http::One, Some(&new))
        .get("/streams")
        .await
        .expect(200);
    assert_eq!(states(&admin, "cam-1").await, ["valid", "superseded"]);
    assert!(connection.closed().await, "cut when the overlap is over");
    is_refused(&server, &old).await;
    server
        .log_line("why it is refused", |line| {
            line.contains("a newer certificate has taken its place")
        })
        .await;
    let server = server.restart(Ending::Kill).await;
    is_refused(&server, &old).await;
    let camera = server.client(Http::One, Some(&new));
    camera.get("/streams").await.expect(200);
}

#[tokio::test]
async fn a_revocation_cuts_an_endless_upload_and_keeps_its_fragments() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let identity = server.identity("cam-1").await;
    let other = server.device("cam-2").await;
    let camera = server.client(Http::One, Some(&identity));
    let id = server.stream(&camera, "cmaf-ingest").await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = Track::video(320, 180);
    let mut kept = track.header();
    let mut push: H1 = server.h1(Some(&identity)).await;
    push.begin("POST", &target).await;
    push.chunk(&track.header()).await;
    for second in 0..3 {
        let fragment = track.second(second, 1);
        push.chunk(&fragment).await;
        kept.extend_from_slice(&fragment);
    }
    let half = track.second(3, 1);
    push.chunk(&half[..half.len() / 2]).await;
    eventually("three seconds are there", async || {
        let answer = admin.get(&target).header("Range", "bytes=0-").await;
        (answer.body.len() >= kept.len()).then_some(())
    })
    .await;

    let revoked = admin.delete("/certs/device/cam-1").await.expect(200).json();
    assert_eq!(revoked["revoked"][0]["name"], "cam-1", "{revoked}");
    assert!(push.closed().await, "its connection is cut");
    let record = admin.settled(id, "Streams(video.cmfv)", "incomplete").await;
    assert!(record["errors"].to_string().contains("revoked"), "{record}");
    admin.get(&target).await.expect(200).is(&kept);
    is_refused(&server, &identity).await;
    other.get("/streams").await.expect(200);
    assert!(!server.path("certs/device/cam-1.pem").exists());
    assert!(!server.path("certs/device/cam-1.key").exists());

    let server = server.restart(Ending::Kill).await;
    let admin = server.admin();
    is_refused(&server, &identity).await;
    admin.get(&target).await.expect(200).is(&kept);
    assert_eq!(states(&admin, "cam-1").await, ["revoked"]);
    // Once more is no error; what never was is.
    let again = admin.delete("/certs/device/cam-1").await.expect(200).json();
    assert_eq!(again, json!({"revoked": []}));
    admin.delete("/certs/device/nobody").await.problem(404);
    admin.delete("/certs/server/localhost").await.problem(400);
    admin.delete("/certs/device/root").await.problem(404);
    // The name can be given again, and has its stream then.
    let camera = server.device("cam-1").await;
    camera
        .get(&format!("/api/v1/streams/{id}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_revocation_cuts_an_upload_over_http2_and_one_serial_is_enough() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let identity = server.identity("cam-1").await;
    let camera = server.client(Http::Two, Some(&identity));
    let id = server.stream(&camera, "cmaf-ingest").await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = Track::video(320, 180);
    let kept = [track.header(), track.second(0, 1)].concat();
    let mut connection = server.h2(Some(&identity)).await;
    let mut push = connection.begin("POST", &target, &[]).await;
    push.data(kept.clone());
    push.data(track.second(1, 1)[..100].to_vec());
    eventually("a second is there", async || {
        let answer = admin.get(&target).header("Range", "bytes=0-").await;
        (answer.body.len() >= kept.len()).then_some(())
    })
    .await;
    let fingerprint = device(&admin, "cam-1").await["certificates"][0]["fingerprint"]
        .as_str()
        .expect("a fingerprint")
        .to_owned();
    admin
        .delete(&format!("/api/v1/certificates/{fingerprint}"))
        .await
        .expect(200);
    let ended = tokio::time::timeout(crate::harness::DEADLINE, push.parts()).await;
    assert!(ended.expect("in time").is_err(), "the connection is cut");
    let record = admin.settled(id, "Streams(video.cmfv)", "incomplete").await;
    assert!(record["errors"].to_string().contains("revoked"), "{record}");
    admin.get(&target).await.expect(200).is(&kept);
}

#[tokio::test]
async fn a_revoked_certificate_is_told_so_in_the_handshake() {
    let server = Server::start().await;
    let admin = server.admin();
    let identity = server.identity("cam-1").await;
    let (cert, key) = (server.path("cam.pem"), server.path("cam.key"));
    std::fs::write(&cert, &identity.cert_pem).expect("written");
    std::fs::write(&key, &identity.key_pem).expect("written");
    let serial = device(&admin, "cam-1").await["certificates"][0]["serial"]
        .as_str()
        .expect("a serial number")
        .to_uppercase();
    // As openssl writes it.
    admin
        .delete(&format!("/api/v1/certificates/0x{serial}"))
        .await
        .expect(200);
    for version in ["--tlsv1.3", "--tls-max"] {
        let url = format!("{}/healthz", server.base());
        let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
        let mut arguments = vec!["--cert", &*cert, "--key", &*key, version];
        if version == "--tls-max" {
            arguments.push("1.2");
        }
        arguments.push(&url);
        let (ok, text) = curl(&server, &arguments).await;
        assert!(
            !ok && text.to_lowercase().contains("revoked"),
            "{version}: {text}"
        );
    }
    admin.delete("/api/v1/certificates/00").await.problem(404);
}

#[tokio::test]
async fn openssl_checks_the_revocation_list() {
    let server = Server::with()
        .args(["--public-url", "https://ingest.example.org:8443"])
        .start()
        .await;
    let admin = server.admin();
    let (good, bad) = (server.identity("good").await, server.identity("bad").await);
    let (list, leaf) = (server.path("crl.pem"), server.path("leaf.pem"));
    let root = server.path("certs/device/root.pem");
    let verify = |identity: &Identity| {
        std::fs::write(&leaf, &identity.cert_pem).expect("written");
        let output = tool(
            "openssl",
            "the package openssl",
            &[
                "verify",
                "-x509_strict",
                "-crl_check",
                "-CAfile",
                &root.to_string_lossy(),
                "-CRLfile",
                &list.to_string_lossy(),
                &leaf.to_string_lossy(),
            ],
        );
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let number = |server: &Server| {
        let output = openssl(&[
            "crl",
            "-noout",
            "-crlnumber",
            "-in",
            &server.path("crl.pem").to_string_lossy(),
        ]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let fetch = async |server: &Server| {
        let answer = server.anonymous().get("/api/v1/crl.pem").await.expect(200);
        std::fs::write(server.path("crl.pem"), &answer.body).expect("written");
    };
    fetch(&server).await;
    let first = number(&server);
    for identity in [&good, &bad] {
        let (ok, text) = verify(identity);
        assert!(ok, "{text}");
    }
    fetch(&server).await;
    assert_eq!(number(&server), first, "nothing has changed");

    admin.delete("/certs/device/bad").await.expect(200);
    fetch(&server).await;
    let second = number(&server);
    assert_ne!(second, first);
    let (ok, text) = verify(&bad);
    assert!(!ok && text.contains("revoked"), "{text}");
    let (ok, text) = verify(&good);
    assert!(ok, "{text}");

    // Leaves say where the list is, and the same list is there as DER.
    std::fs::write(&leaf, &good.cert_pem).expect("written");
    let shown = openssl(&["x509", "-noout", "-text", "-in", &leaf.to_string_lossy()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("https://ingest.example.org:8443/api/v1/crl.der"),
        "{shown}"
    );
    let der = server.anonymous().get("/api/v1/crl.der").await.expect(200);
    assert_eq!(der.header("content-type"), "application/pkix-crl");
    std::fs::write(server.path("crl.der"), &der.body).expect("written");
    openssl(&[
        "crl",
        "-inform",
        "DER",
        "-noout",
        "-in",
        &server.path("crl.der").to_string_lossy(),
    ]);
    let server = server.restart(Ending::Kill).await;
    fetch(&server).await;
    assert_ne!(number(&server), second, "numbers rise over restarts");
    let (ok, text) = verify(&bad);
    assert!(!ok, "{text}");
}

#[tokio::test]
async fn tokens_have_a_role_and_an_end() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let make = async |body: Value| {
        admin
            .post_json("/api/v1/tokens", &body)
            .await
            .expect(201)
            .json()
    };
    let viewer = make(json!({"name": "wall", "role": "viewer"})).await;
    let second = make(json!({"name": "ops", "role": "admin", "ttl": "1h"})).await;
    let ended = make(json!({"name": "gone", "role": "admin", "ttl": "1ms"})).await;
    admin
        .post_json("/api/v1/tokens", &json!({"name": "ops", "role": "viewer"}))
        .await
        .problem(409);
    for body in [json!({"name": "x", "role": "king"}), json!({"name": "x"})] {
        admin.post_json("/api/v1/tokens", &body).await.problem(422);
    }
    let wall = bearer(&server, &viewer);
    let id = server.stream(&admin, "dash").await;
    for path in [
        "/streams".to_owned(),
        format!("/api/v1/streams/{id}"),
        format!("/api/v1/streams/{id}/uploads"),
        "/certs".to_owned(),
        "/metrics".to_owned(),
        "/api/v1/devices".to_owned(),
        "/api/v1/tokens".to_owned(),
        "/api/v1/enrolments".to_owned(),
        "/api/v1/audit".to_owned(),
    ] {
        wall.get(&path).await.expect(200);
    }
    for (method, path) in [
        ("POST", "/streams".to_owned()),
        ("PUT", format!("/streams/{id}/a")),
        ("DELETE", format!("/streams/{id}/a")),
        ("DELETE", format!("/api/v1/streams/{id}")),
        ("POST", "/certs/x/keypair?include_key=true".to_owned()),
        ("DELETE", "/certs/device/x".to_owned()),
        ("POST", "/api/v1/tokens/rotate".to_owned()),
    ] {
        let refused = wall.call(method, &path).await.problem(403);
        assert!(refused.contains("viewer"), "{method} {path}: {refused}");
    }
    let refused = bearer(&server, &ended).get("/streams").await.problem(401);
    assert!(refused.contains("ended"), "{refused}");
    // It is known after a restart, and dead from its withdrawal on.
    let server = server.restart(Ending::Kill).await;
    let ops = bearer(&server, &second);
    let listed = ops.get("/api/v1/tokens").await.expect(200).json();
    let text = listed.to_string();
    assert!(text.contains("wall") && !text.contains(viewer["token"].as_str().expect("a token")));
    let wall = bearer(&server, &viewer);
    wall.get("/streams").await.expect(200);
    ops.delete(&format!("/api/v1/tokens/{}", viewer["id"]))
        .await
        .expect(204);
    wall.get("/streams").await.problem(401);
    ops.delete(&format!("/api/v1/tokens/{}", viewer["id"]))
        .await
        .problem(404);
    // No text of a token is on the disk.
    let files = std::fs::read(server.path("catalog.sqlite3")).expect("the catalogue");
    let wal = std::fs::read(server.path("catalog.sqlite3-wal")).unwrap_or_default();
    let secret = second["token"].as_str().expect("a token").as_bytes();
    for bytes in [files, wal] {
        assert!(crate::harness::find(&bytes, secret).is_none());
    }
}

#[tokio::test]
async fn wrong_tokens_are_held_up_and_right_ones_are_not() {
    let server = Server::start().await;
    let guess = |n: u32| {
        server
            .client(Http::Any, None)
            .with("Authorization", &format!("Bearer {n:064}"))
    };
    let mut statuses = Vec::new();
    for n in 0..7 {
        let answer = guess(n).get("/streams").await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    server.admin().get("/streams").await.expect(200);
    server
        .device("cam-1")
        .await
        .get("/streams")
        .await
        .expect(200);
}

#[tokio::test]
async fn changes_are_recorded_with_who_made_them() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let id = server.stream(&admin, "dash").await;
    let made = admin
        .post_json("/api/v1/tokens", &json!({"name": "ops", "role": "admin"}))
        .await
        .expect(201)
        .json();
    let ops = bearer(&server, &made);
    let path = format!("/api/v1/streams/{id}");
    ops.patch_json(&path, &json!({"device": "cam-1", "strict_mode": true}))
        .await
        .expect(200);
    ops.post("/certs/cam-1/keypair").await.expect(200);
    ops.delete("/certs/device/cam-1").await.expect(200);
    ops.delete(&format!("/streams/{id}/a")).await.expect(200);
    ops.delete(&path).await.expect(204);
    let audit = admin.get("/api/v1/audit").await.expect(200).json();
    let changes = audit["changes"].as_array().expect("a list");
    let whats: Vec<_> = changes
        .iter()
        .map(|change| change["what"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        whats,
        [
            "stream-deleted",
            "object-deleted",
            "certificate-revoked",
            "certificate-issued",
            "stream-changed",
            "token-made",
            "stream-opened",
        ]
    );
    let change = &changes[4];
    assert_eq!(change["who"], "admin ops");
    assert_eq!(change["from"], "127.0.0.1");
    assert_eq!(change["subject"], id.to_string());
    assert_eq!(change["before"]["owner"], Value::Null);
    assert_eq!(change["after"]["owner"], "cam-1");
    assert_eq!(change["before"]["strict_mode"], false);
    assert_eq!(change["after"]["strict_mode"], true);
    assert_eq!(changes[5]["who"], "admin");
    let secret = made["token"].as_str().expect("a token");
    assert!(!audit.to_string().contains(secret));
    // In pages, newest first.
    let page = admin.get("/api/v1/audit?limit=3").await.expect(200).json();
    assert_eq!(page["changes"].as_array().map(Vec::len), Some(3));
    let next = page["next"].as_i64().expect("more");
    let rest = admin
        .get(&format!("/api/v1/audit?after={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["changes"].as_array().map(Vec::len), Some(4));
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn devices_are_listed_with_what_is_known_of_them() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let camera = server.device("cam-1").await.with("User-Agent", "cam/1.2");
    let id = server.stream(&camera, "dash").await;
    camera
        .put(&format!("/streams/{id}/session_1/index.mpd"), "<MPD/>")
        .await
        .expect(202);
    camera
        .put(&format!("/streams/{id}/wrong.mpd"), "<MPD/>")
        .await
        .expect(202);
    enrol(&admin, "cam-2").await;
    for name in ["cam-3", "a b"] {
        server.identity(name).await;
    }
    let check = async |server: &Server| {
        let admin = server.admin();
        let cam = device(&admin, "cam-1").await;
        assert_eq!(cam["uploads"], 2, "{cam}");
        assert_eq!(cam["errors"], 1, "{cam}");
        assert_eq!(cam["streams"], json!([id]));
        assert_eq!(cam["last_seen"]["client"], "cam/1.2");
        assert_eq!(cam["last_seen"]["address"], "127.0.0.1");
        assert_eq!(cam["last_seen"]["tls_version"], "TLSv1.3");
        assert_eq!(cam["certificates"][0]["state"], "valid");
    };
    check(&server).await;
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = admin
            .get(&format!("/api/v1/devices?limit=2{after}"))
            .await
            .expect(200)
            .json();
        for device in page["devices"].as_array().expect("a list") {
            names.push(device["name"].as_str().expect("a name").to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace(' ', "%20")),
            None => break,
        }
    }
    assert_eq!(names, ["a b", "cam-1", "cam-2", "cam-3"]);
    let waiting = device(&admin, "cam-2").await;
    assert_eq!(waiting["certificates"], json!([]));
    assert_eq!(waiting["last_seen"], Value::Null);
    admin.get("/api/v1/devices/nobody").await.problem(404);
    admin.get("/api/v1/devices?limit=0").await.problem(422);
    let server = server.restart(Ending::Polite).await;
    check(&server).await;
    let (ok, out, error) = run(&server, &["devices"]).await;
    assert!(ok, "{error}");
    let line = out.lines().find(|line| line.contains("cam-1"));
    assert!(
        line.is_some_and(|line| line.contains("valid") && line.contains("cam/1.2")),
        "{out}"
    );
}

#[tokio::test]
async fn commands_speak_to_the_server_that_runs() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let url = read(server.path("server.url"));
    assert_eq!(url.trim(), server.base());
    life_by_commands(&server).await;
    // And all of it was the server's doing.
    let old = server.token();
    let (ok, out, error) = run(&server, &["token", "rotate"]).await;
    assert!(ok, "{error}");
    let new = server.token();
    assert!(old != new && !out.contains(&new), "{out}");
    let with = |token: &str| {
        server
            .client(Http::Any, None)
            .with("Authorization", &format!("Bearer {token}"))
    };
    with(&old).get("/streams").await.problem(401);
    with(&new).get("/streams").await.expect(200);
}

#[tokio::test]
async fn commands_work_on_a_directory_at_rest() {
    let mut server = Server::with().args(["--access", "closed"]).start().await;
    server.end(Ending::Polite).await;
    assert!(!server.path("server.url").exists(), "gone with the server");
    let old = server.token();
    let (ok, _, error) = run(&server, &["token", "rotate"]).await;
    assert!(ok, "{error}");
    assert_ne!(server.token(), old);
    life_by_commands(&server).await;
    // What was made without a server is good with it.
    let (ok, out, error) = run(&server, &["enrol", "cam-9", "--format", "json"]).await;
    assert!(ok, "{error}");
    let made: Value = serde_json::from_str(&out).expect("JSON");
    let server = server.restart(Ending::Kill).await;
    sign(&bearer(&server, &made), "cam-9", &Key::make())
        .await
        .expect(200);
    server.signal(Signal::TERM);
}

/// The code on the sheet holds what the device needs, and fits on a terminal of 80 columns.
fn is_the_code(sheet: &str) {
    let drawn: Vec<&str> = sheet
        .lines()
        .filter(|line| line.contains(['█', '▀', '▄']))
        .collect();
    // Each character is two modules; what is lit is light.
    let mut rows: Vec<Vec<bool>> = Vec::new();
    for line in &drawn {
        assert!(line.chars().count() <= 80, "too wide:\n{sheet}");
        rows.push(line.chars().map(|it| matches!(it, '█' | '▀')).collect());
        rows.push(line.chars().map(|it| matches!(it, '█' | '▄')).collect());
    }
    let after = |words: &str| {
        let at = sheet.find(words).expect("on the sheet") + words.len();
        sheet[at..at + 64].to_owned()
    };
    let text = json!({
        "url": "https://cam.example/certs/cam-1/sign",
        "token": after("Authorization: Bearer "),
        "ca_sha256": after("SHA-256 of its DER: "),
    })
    .to_string();
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L);
    let code = code.expect("a code");
    let quiet = 4;
    for y in 0..code.width() + 2 * quiet {
        for x in 0..code.width() + 2 * quiet {
            let inside = |at: usize| (quiet..code.width() + quiet).contains(&at);
            let dark =
                inside(x) && inside(y) && code[(x - quiet, y - quiet)] == qrcode::Color::Dark;
            assert_eq!(rows[y][x], !dark, "at {x}, {y}:\n{sheet}");
        }
    }
}

/// What the commands do, with a server or without.
async fn life_by_commands(server: &Server) {
    let (ok, out, error) = run(
        server,
        &[
            "enrol",
            "cam-1",
            "--ttl",
            "2h",
            "--url",
            "https://cam.example",
        ],
    )
    .await;
    assert!(ok, "{error}");
    assert!(
        out.contains("curl --cacert") && out.contains("https://cam.example/certs/cam-1/sign"),
        "{out}"
    );
    is_the_code(&out);
    let (ok, out, _) = run(server, &["devices", "--format", "json"]).await;
    assert!(ok && out.contains("cam-1"), "{out}");
    let (ok, token, error) = run(server, &["token", "add", "wall"]).await;
    assert!(ok && token.trim().len() == 64, "{error}");
    let (ok, out, _) = run(server, &["token", "list"]).await;
    assert!(
        ok && out.contains("viewer") && out.contains("wall"),
        "{out}"
    );
    assert!(!out.contains(token.trim()), "{out}");
    let (ok, _, error) = run(server, &["token", "remove", "1"]).await;
    assert!(ok, "{error}");
    let (ok, out, _) = run(server, &["token", "list"]).await;
    assert!(ok && !out.contains("wall"), "{out}");
    let (ok, _, error) = run(server, &["token", "remove", "1"]).await;
    assert!(!ok && error.contains("no token"), "{error}");
    let (ok, _, error) = run(server, &["revoke", "nobody"]).await;
    assert!(
        !ok && error.contains("no such device certificate"),
        "{error}"
    );
    let (ok, _, error) = run(server, &["enrol", "cam-1", "--ttl", "soon"]).await;
    assert!(!ok && error.contains("ttl"), "{error}");
}

#[tokio::test]
async fn a_command_revokes() {
    let server = Server::start().await;
    let identity = server.identity("cam-1").await;
    let other = server.identity("cam-2").await;
    let serial = device(&server.admin(), "cam-2").await["certificates"][0]["serial"]
        .as_str()
        .expect("a serial number")
        .to_owned();
    let (ok, out, error) = run(&server, &["revoke", "cam-1"]).await;
    assert!(ok && out.contains("cam-1"), "{out}{error}");
    is_refused(&server, &identity).await;
    let (ok, out, error) = run(&server, &["revoke", &serial]).await;
    assert!(ok && out.contains(&serial), "{out}{error}");
    is_refused(&server, &other).await;
    let (ok, out, _) = run(&server, &["revoke", "cam-1"]).await;
    assert!(ok && out.contains("revoked before"), "{out}");
}

#[tokio::test]
async fn a_command_touches_no_directory_that_is_not_of_pavs() {
    let dir = tempfile::tempdir().expect("a directory");
    for path in [dir.path().to_owned(), dir.path().join("none")] {
        let mut command = pavs();
        command.args(["devices", "--working-directory"]).arg(&path);
        let (status, _, error) = run_to_end(&mut command);
        assert_eq!(status.code(), Some(1), "{error}");
        assert!(error.contains("no working directory"), "{error}");
    }
    let left = std::fs::read_dir(dir.path()).expect("listed").count();
    assert_eq!(left, 0, "nothing was made in it");
}
