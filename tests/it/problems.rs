//! Errors: their shape, their request id, what they keep to themselves.

use std::collections::BTreeSet;

use crate::harness::{Http, Server};

#[tokio::test]
async fn unknown_addresses_are_problems() {
    let server = Server::start().await;
    for http in [Http::One, Http::Two] {
        let client = server.client(http, None);
        for path in [
            "/nothing",
            "/api",
            "/api/v1",
            "/api/v1/nothing",
            "/certs/a/b/c/d",
            "/stream/1/a.m4s",
            "/favicon.ico",
        ] {
            for method in ["GET", "DELETE"] {
                let answer = client.call(method, path).await;
                assert!(
                    [404, 405].contains(&answer.status),
                    "{method} {path}: {answer:?}"
                );
            }
        }
        assert_eq!(client.head("/nothing").await.status, 404);
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::start().await;
    let port = server.port;
    for hosts in [
        String::new(),
        format!("Host: localhost:{port}\r\nHost: evil.example\r\n"),
        format!("Host: evil.example\r\nHost: localhost:{port}\r\n"),
        format!("Host: localhost:{port}\r\nHost: localhost:{port}\r\n"),
    ] {
        for target in [
            "/certs".to_owned(),
            format!("https://localhost:{port}/certs"),
        ] {
            let mut raw = server.h1(None).await;
            raw.send(format!("GET {target} HTTP/1.1\r\n{hosts}\r\n").as_bytes())
                .await;
            let detail = raw.answer("GET").await.problem(400);
            assert!(detail.contains("Host"), "{detail}");
        }
    }
    let mut raw = server.h1(None).await;
    raw.send(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    raw.answer("GET").await.expect(200);
}

#[tokio::test]
async fn the_type_tells_problems_apart() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let kinds: BTreeSet<String> = [
        client.get("/nothing").await.expect(404),
        client
            .put(&format!("/streams/{id}/a.m4s"), "x")
            .header("Content-Range", "bytes 0-0/1")
            .await
            .expect(400),
        client
            .put(&format!("/streams/{id}/a.m4s"), "x")
            .header("Content-Encoding", "gzip")
            .await
            .expect(415),
        client
            .get("/certs")
            .header("Via", "1.1 proxy")
            .await
            .expect(401),
        client
            .post("/streams")
            .header("Origin", "https://evil.example")
            .await
            .expect(403),
    ]
    .iter()
    .map(|answer| answer.json()["type"].as_str().expect("a type").to_owned())
    .collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[tokio::test]
async fn request_ids_differ_and_are_in_the_log() {
    let server = Server::with().env("RUST_LOG", "debug").start().await;
    let client = server.anonymous();
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        ids.insert(
            client
                .get("/nothing")
                .await
                .expect(404)
                .header("x-request-id")
                .to_owned(),
        );
    }
    assert_eq!(ids.len(), 20);
    for id in ids {
        server
            .log_line("the request", |line| line.contains(&id))
            .await;
    }
}

#[tokio::test]
async fn d10_our_own_failures_tell_nothing_but_their_id() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let directory = server.path(&format!("streams/{id}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::write(&directory, "a file where the stream's directory belongs").expect("written");
    let answer = client.put(&format!("/streams/{id}/a/b.m4s"), "x").await;
    assert!(answer.status >= 400, "{answer:?}");
    if answer.status >= 500 {
        let request = answer.header("x-request-id").to_owned();
        let line = server
            .log_line("the failure", |line| line.contains(&request))
            .await;
        assert!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    }
    client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn garbage_is_refused() {
    let server = Server::start().await;
    for garbage in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
        b"PUT /streams/1/a b.m4s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut raw = server.h1(None).await;
        raw.send(garbage).await;
        if let Some(answer) = raw.answer_head().await {
            assert!((400..600).contains(&answer.status), "{answer:?}");
        }
    }
    server.anonymous().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_broken_chunked_body_is_an_aborted_upload() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &format!("/streams/{id}/a.m4s")).await;
    raw.send(b"5\r\nhello\r\nxyz\r\n").await;
    if let Some(answer) = raw.answer_head().await {
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    client.settled(id, "a.m4s", "aborted").await;
    client
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .problem(404);
}

#[tokio::test]
async fn two_framings_of_one_body_do_not_smuggle_a_request() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let mut raw = server.h1(None).await;
    let hidden = format!("DELETE /api/v1/streams/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let body = format!("0\r\n\r\n{hidden}");
    raw.head(
        "PUT",
        &format!("/streams/{id}/a.m4s"),
        &[
            ("Content-Length", &body.len().to_string()),
            ("Transfer-Encoding", "chunked"),
        ],
    )
    .await;
    raw.send(body.as_bytes()).await;
    let mut statuses = Vec::new();
    while let Some(answer) =
        tokio::time::timeout(std::time::Duration::from_millis(500), raw.answer_head())
            .await
            .unwrap_or(None)
    {
        statuses.push(answer.status);
    }
    // Either refused, or read as chunked and the connection closed behind it (RFC 9112, section 6.1).
    assert!(
        statuses.len() <= 1,
        "the hidden request was answered: {statuses:?}"
    );
    client
        .get(&format!("/api/v1/streams/{id}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn json_bodies_have_limits() {
    let server = Server::with()
        .args(["--body-timeout", "400ms", "--chunked-body-timeout", "400ms"])
        .start()
        .await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let huge = format!("{{\"track_name\":\"{}\"}}", "x".repeat(5_000_000));
    for path in [
        format!("/streams/{id}/trackName"),
        "/certs/cam/sign".to_owned(),
    ] {
        let answer = client
            .post(&path)
            .header("Content-Type", "application/json")
            .body(huge.clone())
            .await;
        assert!([400, 413, 422].contains(&answer.status), "{answer:?}");
        for framing in [("Content-Length", "100"), ("Transfer-Encoding", "chunked")] {
            let mut raw = server.h1(None).await;
            raw.head(
                "POST",
                &path,
                &[("Content-Type", "application/json"), framing],
            )
            .await;
            if let Some(answer) = raw.answer_head().await {
                assert!(
                    [400, 408].contains(&answer.status),
                    "{path}: a body that never comes: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn head_errors_have_no_body() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    for path in [
        "/nothing".to_owned(),
        format!("/streams/{id}/none.m4s"),
        "/streams/99/a.m4s".to_owned(),
    ] {
        let mut one = server.h1(None).await;
        for _ in 0..2 {
            one.head("HEAD", &path, &[]).await;
            assert_eq!(one.answer("HEAD").await.status, 404, "{path}");
        }
        one.request("GET", "/healthz", &[], b"").await.expect(200);
        let two = server.client(Http::Two, None);
        let answer = two.head(&path).await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
    }
}
