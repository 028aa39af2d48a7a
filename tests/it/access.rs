//! Who may do what: principals, access modes, loopback, browsers.

use serde_json::json;

use crate::harness::{Answer, Client, Http, Server, outside_address, skipped};

/// How a request is to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// Neither 401 nor 403.
    Yes,
    /// 401: a token is missing.
    Token,
    /// 403: the wrong peer.
    No,
    /// 401 or 403.
    Refused,
}
use Verdict::{No, Refused, Token, Yes};

#[track_caller]
fn judge(what: &str, answer: &Answer, verdict: Verdict) {
    let fits = match verdict {
        Yes => (200..300).contains(&answer.status),
        Token => answer.status == 401,
        No => answer.status == 403,
        Refused => [401, 403].contains(&answer.status),
    };
    assert!(fits, "{what} should be {verdict:?}: {answer:?}");
}

/// A server with a stream of the device `own` and one that was opened without a certificate.
struct Stage {
    server: Server,
    own: Client,
    other: Client,
    /// The stream of `own`.
    a: u64,
    /// The stream of nobody.
    b: u64,
}

impl Stage {
    async fn set(mode: &str) -> Self {
        let server = Server::with().args(["--access", mode]).start().await;
        let own = server.device("own").await;
        let other = server.device("other").await;
        let a = server.stream(&own, "cmaf-ingest").await;
        let b = server.stream(&server.admin(), "cmaf-ingest").await;
        for id in [a, b] {
            own.put(&format!("/streams/{id}/held.m4s"), "held")
                .await
                .expect(202);
        }
        Self {
            server,
            own,
            other,
            a,
            b,
        }
    }

    /// A client that is on loopback but comes through a proxy, so that it is anyone.
    fn foreign(&self) -> Client {
        self.server.anonymous().with("Forwarded", "for=203.0.113.7")
    }

    /// Asks for everything and compares with the verdicts: (for all, general, upload, in A, upload to B, in B).
    async fn check(&self, who: &str, client: &Client, expected: &Expected) {
        let (a, b) = (self.a, self.b);
        let get = |path: String| ("GET", path);
        let groups: [(Verdict, Vec<(&str, String)>); 7] = [
            (
                Yes,
                vec![get("/healthz".into()), get("/certs/server/root.pem".into())],
            ),
            (
                expected.general,
                vec![
                    get("/certs".into()),
                    get("/certs/device/own.pem".into()),
                    get("/certs/device/own.key".into()),
                    get("/metrics".into()),
                    ("POST", "/certs/new/keypair".into()),
                ],
            ),
            (
                expected.streams,
                vec![
                    get("/streams".into()),
                    ("POST", "/streams?interface=dash".into()),
                ],
            ),
            (
                expected.in_a,
                vec![
                    get(format!("/api/v1/streams/{a}")),
                    get(format!("/api/v1/streams/{a}/uploads")),
                    get(format!("/streams/{a}/held.m4s")),
                    get(format!("/streams/{a}/held.m4s.crt")),
                    get(format!("/streams/{a}/stream.json")),
                    ("HEAD", format!("/streams/{a}/held.m4s")),
                    ("DELETE", format!("/streams/{a}/gone.m4s")),
                    ("trackName", format!("/streams/{a}/trackName")),
                    ("PATCH", format!("/api/v1/streams/{a}")),
                ],
            ),
            (
                expected.upload_a,
                vec![
                    ("PUT", format!("/streams/{a}/n.m4s")),
                    ("POST", format!("/streams/{a}/n.m4s")),
                ],
            ),
            (
                expected.read_b,
                vec![
                    get(format!("/api/v1/streams/{b}")),
                    get(format!("/streams/{b}/held.m4s")),
                ],
            ),
            (
                expected.change_b,
                vec![
                    ("trackName", format!("/streams/{b}/trackName")),
                    ("PATCH", format!("/api/v1/streams/{b}")),
                ],
            ),
        ];
        for (verdict, requests) in groups {
            for (method, path) in requests {
                let answer = match method {
                    "trackName" => client.post_json(&path, &json!({"track_name": "v"})).await,
                    "PATCH" => client.patch_json(&path, &json!({"track_name": "v"})).await,
                    "PUT" => client.put(&path, "new").await,
                    "POST" if path.ends_with(".m4s") => client.post(&path).body("new").await,
                    _ => client.call(method, &path).await,
                };
                judge(&format!("{who}: {method} {path}"), &answer, verdict);
            }
        }
        // A private key goes to the admin and to loopback, even where everything else is open.
        let answer = client.post("/certs/new/keypair?include_key=true").await;
        judge(&format!("{who}: a new private key"), &answer, expected.key);
        let answer = client.put(&format!("/streams/{b}/n.m4s"), "new").await;
        judge(
            &format!("{who}: upload to nobody's stream"),
            &answer,
            expected.upload_b,
        );
        let probe = client.get(&format!("/probe/{a}/held.m4s")).await;
        let refused = [401, 403].contains(&probe.status);
        assert_eq!(refused, expected.in_a != Yes, "{who}: probe: {probe:?}");
    }
}

struct Expected {
    general: Verdict,
    streams: Verdict,
    in_a: Verdict,
    upload_a: Verdict,
    /// Reading nobody's stream.
    read_b: Verdict,
    /// Changing nobody's stream.
    change_b: Verdict,
    upload_b: Verdict,
    /// A private key in the answer.
    key: Verdict,
}

const EVERYTHING: Expected = Expected {
    general: Yes,
    streams: Yes,
    in_a: Yes,
    upload_a: Yes,
    read_b: Yes,
    change_b: Yes,
    upload_b: Yes,
    key: Yes,
};
const NOTHING: Expected = Expected {
    general: Token,
    streams: Token,
    in_a: Refused,
    upload_a: No,
    read_b: Refused,
    change_b: Refused,
    upload_b: No,
    key: Token,
};
const OWNER: Expected = Expected {
    general: No,
    streams: Yes,
    in_a: Yes,
    upload_a: Yes,
    // It has uploaded there.
    read_b: Yes,
    change_b: No,
    upload_b: Yes,
    key: No,
};
const STRANGER: Expected = Expected {
    general: No,
    streams: Yes,
    in_a: No,
    upload_a: No,
    read_b: No,
    change_b: No,
    upload_b: Yes,
    key: No,
};

#[tokio::test]
async fn d06_local_access() {
    let stage = Stage::set("local").await;
    stage
        .check("admin", &stage.server.admin(), &EVERYTHING)
        .await;
    stage
        .check("loopback", &stage.server.anonymous(), &EVERYTHING)
        .await;
    stage.check("anyone", &stage.foreign(), &NOTHING).await;
    stage.check("the owner", &stage.own, &OWNER).await;
    stage.check("another device", &stage.other, &STRANGER).await;
}

#[tokio::test]
async fn d06_closed_access() {
    let stage = Stage::set("closed").await;
    stage
        .check("admin", &stage.server.admin(), &EVERYTHING)
        .await;
    stage
        .check("loopback", &stage.server.anonymous(), &NOTHING)
        .await;
    stage.check("anyone", &stage.foreign(), &NOTHING).await;
    stage.check("the owner", &stage.own, &OWNER).await;
    stage.check("another device", &stage.other, &STRANGER).await;
}

#[tokio::test]
async fn d06_open_access() {
    let stage = Stage::set("open").await;
    stage
        .check("admin", &stage.server.admin(), &EVERYTHING)
        .await;
    stage
        .check("loopback", &stage.server.anonymous(), &EVERYTHING)
        .await;
    let but_keys = Expected {
        key: Token,
        ..EVERYTHING
    };
    stage.check("anyone", &stage.foreign(), &but_keys).await;
    let (a, own, other) = (stage.a, &stage.own, &stage.other);
    own.put(&format!("/streams/{a}/n.m4s"), "x")
        .await
        .expect(202);
    own.get(&format!("/streams/{a}/n.m4s")).await.expect(200);
    other
        .put(&format!("/streams/{a}/n.m4s"), "x")
        .await
        .problem(403);
    other
        .put(&format!("/streams/{}/n.m4s", stage.b), "x")
        .await
        .expect(202);
    stage
        .server
        .log_line("a warning about open access", |line| {
            line.contains("WARN") && line.contains("open")
        })
        .await;
}

#[tokio::test]
async fn a_device_sees_only_its_own_streams() {
    let stage = Stage::set("local").await;
    let ids = async |client: &Client| {
        let list = client.get("/streams").await.expect(200).json();
        list["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|s| s["id"].as_u64())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&stage.own).await, [Some(stage.a)]);
    assert_eq!(ids(&stage.other).await, []);
    assert_eq!(
        ids(&stage.server.anonymous()).await,
        [Some(stage.a), Some(stage.b)]
    );
}

#[tokio::test]
async fn guests_read_after_an_upload_and_delete_their_own() {
    let stage = Stage::set("local").await;
    let (b, own, other) = (stage.b, &stage.own, &stage.other);
    let path = |name: &str| format!("/streams/{b}/{name}.m4s");
    // An empty upload asks whether one is welcome; it opens nothing.
    other.put(&path("empty"), "").await.ok();
    judge("after an empty upload", &other.get(&path("held")).await, No);
    judge("before any upload", &other.delete(&path("held")).await, No);
    other.put(&path("mine"), "mine").await.expect(202);
    other.get(&path("held")).await.expect(200).is(b"held");
    judge("another's object", &other.delete(&path("held")).await, No);
    own.get(&path("held")).await.expect(200).is(b"held");
    // Whoever has stored last may remove it.
    other.put(&path("held"), "newer").await.expect(202);
    judge("not any more", &own.delete(&path("held")).await, No);
    for _ in 0..2 {
        other.delete(&path("held")).await.expect(200);
        other.delete(&path("mine")).await.expect(200);
    }
    stage
        .server
        .admin()
        .put(&path("admin"), "x")
        .await
        .expect(202);
    judge(
        "the admin's object",
        &other.delete(&path("admin")).await,
        No,
    );
    stage
        .server
        .anonymous()
        .delete(&path("admin"))
        .await
        .expect(200);
}

#[tokio::test]
async fn guests_delete_what_everybody_may_in_open_access() {
    let stage = Stage::set("open").await;
    let path = format!("/streams/{}/held.m4s", stage.b);
    stage.other.delete(&path).await.expect(200);
}

#[tokio::test]
async fn strangers_do_not_learn_which_streams_there_are() {
    let stage = Stage::set("closed").await;
    let stranger = stage.server.anonymous();
    for (method, below) in [
        ("GET", "/held.m4s"),
        ("HEAD", "/held.m4s"),
        ("PUT", "/n.m4s"),
        ("DELETE", "/held.m4s"),
        ("GET", "/stream.json"),
    ] {
        let there = stranger
            .call(method, &format!("/streams/{}{below}", stage.a))
            .await;
        for (id, known_as) in [("999", 404), ("x", 422)] {
            let missing = format!("/streams/{id}{below}");
            let answer = stranger.call(method, &missing).await;
            assert_eq!(answer.status, there.status, "{method} {missing}");
            for known in [&stage.own, &stage.server.admin()] {
                known.call(method, &missing).await.expect(known_as);
            }
        }
    }
    for path in ["", "/uploads", "/uploads/1"] {
        let missing = format!("/api/v1/streams/999{path}");
        judge(&missing, &stranger.get(&missing).await, Token);
        stage.own.get(&missing).await.problem(404);
    }
    judge("probe", &stranger.get("/probe/999/a.m4s").await, Token);
}

#[tokio::test]
async fn a_refused_upload_changes_nothing() {
    let stage = Stage::set("closed").await;
    let path = format!("/streams/{}/held.m4s", stage.a);
    for client in [&stage.other, &stage.server.anonymous()] {
        client.put(&path, "changed").await.problem(403);
        assert!([401, 403].contains(&client.delete(&path).await.status));
    }
    stage.own.get(&path).await.expect(200).is(b"held");
}

#[tokio::test]
async fn loopback_is_told_from_what_only_looks_like_it() {
    let server = Server::with()
        .args(["--dns", "camera.example"])
        .start()
        .await;
    let port = server.port;
    for host in [
        "localhost",
        "LocalHost",
        "127.0.0.1",
        "[::1]",
        "192.0.2.9",
        "camera.example",
    ] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = server
                .h1(None)
                .await
                .request("GET", "/certs", &[("Host", &host)], b"")
                .await;
            judge(&format!("Host: {host}"), &answer, Yes);
        }
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:1234",
        "localhost@evil.example",
    ] {
        let answer = server
            .h1(None)
            .await
            .request("GET", "/certs", &[("Host", host)], b"")
            .await;
        assert!(
            [400, 401].contains(&answer.status),
            "Host: {host}: {answer:?}"
        );
        let upload = server
            .h1(None)
            .await
            .request("POST", "/streams", &[("Host", host)], b"")
            .await;
        assert!(
            [400, 401].contains(&upload.status),
            "Host: {host}: {upload:?}"
        );
    }
    for (name, value) in [
        ("Forwarded", "for=192.0.2.60;proto=https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "on"),
        ("X-Forwarded-User", "bob"),
        ("X-Forwarded-By", "proxy"),
        ("X-Forwarded", "for=192.0.2.60"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
    ] {
        let answer = server.anonymous().get("/certs").header(name, value).await;
        judge(name, &answer, Token);
        server
            .admin()
            .get("/certs")
            .header(name, value)
            .await
            .expect(200);
    }
    let mut h2 = server.h2(None).await;
    h2.get("/certs").await.expect(200);
    h2.base = "https://evil.example".to_owned();
    judge(":authority", &h2.get("/certs").await, Token);
}

#[tokio::test]
async fn other_addresses_are_closed_by_default() {
    let mut starter = Server::with().args(["--host", "0.0.0.0"]);
    let outside = outside_address();
    if let Some(ip) = outside {
        starter = starter.args(["--server-ip", &ip.to_string()]);
    }
    let server = starter.start().await;
    assert_eq!(server.host, "0.0.0.0", "printed as given");
    judge("loopback", &server.anonymous().get("/certs").await, Token);
    let Some(ip) = outside else {
        return skipped("the machine has only loopback addresses");
    };
    let base = format!("https://{ip}:{}", server.port);
    let anyone = server.anonymous().at(&base);
    anyone.get("/healthz").await.expect(200);
    anyone.get("/certs/server/root.pem").await.expect(200);
    judge("outside", &anyone.get("/certs").await, Token);
    server.admin().at(&base).get("/certs").await.expect(200);
    let device = server.device("cam").await.at(&base);
    let id = server.stream(&device, "dash").await;
    device
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
}

#[tokio::test]
async fn local_access_is_for_loopback_peers_only() {
    let Some(ip) = outside_address() else {
        return skipped("the machine has only loopback addresses");
    };
    let ip = ip.to_string();
    let server = Server::with()
        .args(["--host", "0.0.0.0", "--access", "local", "--server-ip", &ip])
        .start()
        .await;
    server.anonymous().get("/certs").await.expect(200);
    let outside = server
        .anonymous()
        .at(&format!("https://{ip}:{}", server.port));
    judge("outside", &outside.get("/certs").await, Token);
    judge("outside", &outside.post("/streams").await, Token);
}

#[tokio::test]
async fn the_token_is_compared_whole() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let token = server.token();
    let anyone = server.client(Http::One, None);
    let short = &token[..token.len() - 1];
    for value in [
        format!("Bearer {short}"),
        format!("Bearer {token}x"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {token}"),
        token.clone(),
    ] {
        judge(
            &value,
            &anyone.get("/certs").header("Authorization", &value).await,
            Token,
        );
    }
    anyone
        .get("/certs")
        .header("Authorization", &format!("Bearer {token}"))
        .await
        .expect(200);
    anyone
        .get("/certs")
        .header("Authorization", &format!("bearer {token}"))
        .await
        .expect(200);
    judge(
        "in the URL",
        &anyone
            .get(&format!("/certs?token={token}&access_token={token}"))
            .await,
        Token,
    );
    let server = server.restart(crate::harness::Ending::Polite).await;
    assert_eq!(server.token(), token, "made at the first start");
}

#[tokio::test]
async fn a_foreign_page_changes_nothing() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let own = server.base();
    for (name, value, verdict) in [
        ("Origin", "https://evil.example", No),
        ("Origin", "null", No),
        ("Origin", "http://127.0.0.1", No),
        ("Sec-Fetch-Site", "cross-site", No),
        ("Origin", own.as_str(), Yes),
        ("Sec-Fetch-Site", "same-origin", Yes),
        ("Sec-Fetch-Site", "none", Yes),
    ] {
        for call in [
            client.post("/streams"),
            client.put(&format!("/streams/{id}/a.m4s"), "x"),
            client.delete(&format!("/streams/{id}/a.m4s")),
            client.post("/certs/cam/keypair"),
            client.post_json(
                &format!("/streams/{id}/trackName"),
                &json!({"track_name": "v"}),
            ),
            client.patch_json(
                &format!("/api/v1/streams/{id}"),
                &json!({"track_name": "v"}),
            ),
        ] {
            judge(
                &format!("{name}: {value}"),
                &call.header(name, value).await,
                verdict,
            );
        }
        client.get("/streams").header(name, value).await.expect(200);
    }
    let preflight = client
        .call("OPTIONS", "/streams")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST")
        .await;
    assert!(
        !preflight
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control"))
    );
}

#[tokio::test]
async fn json_routes_take_json() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let body = r#"{"track_name":"video"}"#;
    let routes = [
        ("POST", format!("/streams/{id}/trackName")),
        ("PATCH", format!("/api/v1/streams/{id}")),
    ];
    for (method, path) in &routes {
        for good in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON",
        ] {
            client
                .call(method, path)
                .header("Content-Type", good)
                .body(body)
                .await
                .ok();
        }
        client.call(method, path).body(body).await.ok();
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let call = client
                .call(method, path)
                .header("Content-Type", bad)
                .body(body);
            call.await.problem(415);
        }
    }
    client
        .post("/certs/cam/sign")
        .header("Content-Type", "text/plain")
        .body("{}")
        .await
        .problem(415);
}

#[tokio::test]
async fn a_device_cannot_switch_off_what_it_is_tested_with() {
    let server = Server::with().arg("--strict-mode").start().await;
    let device = server.device("cam").await;
    let id = server.stream(&device, "dash").await;
    let path = format!("/api/v1/streams/{id}");
    device
        .patch_json(&path, &json!({"track_name": "video"}))
        .await
        .ok();
    device
        .patch_json(&path, &json!({"strict_mode": false}))
        .await
        .problem(403);
    let stream = server.anonymous().stream(id).await;
    assert_eq!(
        (&stream["strict_mode"], &stream["track_name"]),
        (&json!(true), &json!("video"))
    );
    server
        .admin()
        .patch_json(&path, &json!({"strict_mode": false}))
        .await
        .ok();
}
