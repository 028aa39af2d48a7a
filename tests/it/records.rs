//! What is remembered and logged of an upload.

use serde_json::Value;

use crate::harness::{Client, Http, Server};
use crate::media::Track;

/// A server and a stream to which this machine may upload.
async fn stage(arguments: &[&str]) -> (Server, Client, u64) {
    let server = Server::with().args(arguments.iter().copied()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

#[tokio::test]
async fn d23_an_aborted_upload_leaves_a_record() {
    let (server, client, id) = stage(&[]).await;
    let mut one = server.h1(None).await;
    one.head(
        "PUT",
        &format!("/streams/{id}/one.m4s"),
        &[("Content-Length", "1000")],
    )
    .await;
    one.send(b"half").await;
    one.cut();
    let mut two = server.h2(None).await;
    let mut call = two
        .begin(
            "PUT",
            &format!("/streams/{id}/two.m4s"),
            &[("content-length", "1000")],
        )
        .await;
    call.data("half");
    // An answer on the same connection shows that the upload before it has begun.
    two.get("/healthz").await.expect(200);
    call.reset();
    let mut three = server.h1(None).await;
    three
        .begin("PUT", &format!("/streams/{id}/three.m4s"))
        .await;
    three.chunk(b"no media").await;
    three.cut();
    let mut four = server.h1(None).await;
    four.head(
        "PUT",
        &format!("/streams/{id}/four.m4s"),
        &[("Content-Length", "1000")],
    )
    .await;
    four.send(b"half").await;
    four.close().await;
    let mut five = server.h2(None).await;
    let mut call = five
        .begin("PUT", &format!("/streams/{id}/five.m4s"), &[])
        .await;
    call.data("half");
    five.get("/healthz").await.expect(200);
    drop((call, five));
    for path in ["one.m4s", "two.m4s", "three.m4s", "four.m4s", "five.m4s"] {
        let record = client.settled(id, path, "aborted").await;
        assert_ne!(
            record["errors"],
            Value::Array(Vec::new()),
            "says why: {record}"
        );
        client
            .get(&format!("/streams/{id}/{path}"))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn a_record_tells_how_the_upload_came() {
    let server = Server::start().await;
    let identity = server.identity("cam-7").await;
    let client = server.client(Http::One, Some(&identity));
    let id = server.stream(&client, "cmaf-ingest").await;
    let mut raw = server.h1(Some(&identity)).await;
    let fields = [
        ("X-First", "one"),
        ("DASH-IF-Ingest", "1.1"),
        ("Authorization", "Basic c2VjcmV0OnNlY3JldA=="),
        ("Cookie", "session=verysecret"),
        ("X-Last", "two"),
    ];
    raw.request(
        "POST",
        &format!("/streams/{id}/v/a.m4s?x=1"),
        &fields,
        b"12345",
    )
    .await
    .expect(202);
    let records = client.uploads(id).await;
    assert_eq!(records.len(), 1);
    let upload = records[0]["id"].as_u64().expect("a number");
    let record = client
        .get(&format!("/api/v1/streams/{id}/uploads/{upload}"))
        .await
        .expect(200)
        .json();
    assert_eq!(record["id"], upload);
    assert_eq!(record["path"], "v/a.m4s");
    assert_eq!(record["status"], "accepted");
    let text = record.to_string();
    for part in [
        "POST",
        "HTTP/1.1",
        "TLSv1.3",
        "cam-7",
        "127.0.0.1",
        "DASH-IF-Ingest",
        "1.1",
        "?x=1",
    ] {
        assert!(
            text.to_lowercase().contains(&part.to_lowercase()),
            "{part:?} is missing in {text}"
        );
    }
    let lower = text.to_lowercase();
    let order: Vec<_> = ["x-first", "dash-if-ingest", "x-last"]
        .iter()
        .map(|name| lower.find(name))
        .collect();
    assert!(
        order.is_sorted() && order[0].is_some(),
        "the fields in their order: {text}"
    );
    for secret in ["c2VjcmV0OnNlY3JldA", "verysecret"] {
        assert!(!text.contains(secret), "{text}");
        assert!(!server.log().contains(secret));
    }
    let status = client
        .get(&format!("/api/v1/streams/{id}/uploads/999999"))
        .await
        .status;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn refused_uploads_are_recorded() {
    let server = Server::start().await;
    let (own, other) = (server.device("own").await, server.device("other").await);
    let id = server.stream(&own, "cmaf-ingest").await;
    other
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .problem(403);
    own.put(&format!("/streams/{id}/b.m4s"), "x")
        .header("Content-Encoding", "gzip")
        .await
        .problem(415);
    for path in ["a.m4s", "b.m4s"] {
        let record = own.settled(id, path, "refused").await;
        assert_ne!(record["errors"], Value::Array(Vec::new()), "{record}");
    }
}

#[tokio::test]
async fn records_come_in_pages() {
    let (_server, client, id) = stage(&[]).await;
    for n in 0..7 {
        client
            .put(&format!("/streams/{id}/{n}.m4s"), "x")
            .await
            .expect(202);
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    for _ in 0..10 {
        let page = client
            .get(&format!("/api/v1/streams/{id}/uploads?limit=3{after}"))
            .await
            .expect(200)
            .json();
        let uploads = page["uploads"].as_array().expect("a list");
        assert!(uploads.len() <= 3);
        seen.extend(uploads.iter().map(|u| u["id"].as_u64().expect("a number")));
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(
        seen.is_sorted() || seen.iter().rev().is_sorted(),
        "{seen:?}"
    );
    for query in ["limit=x", "limit=-1", "after=x"] {
        let status = client
            .get(&format!("/api/v1/streams/{id}/uploads?{query}"))
            .await
            .status;
        assert!([400, 422].contains(&status), "{query}: {status}");
    }
    let status = client
        .get(&format!("/api/v1/streams/{id}/uploads?limit=100000"))
        .await
        .status;
    assert!(
        [200, 400, 422].contains(&status),
        "capped or refused: {status}"
    );
}

#[tokio::test]
async fn an_upload_is_logged_in_one_line() {
    let server = Server::start().await;
    let client = server.device("cam").await;
    let id = server.stream(&client, "cmaf-ingest").await;
    let track = Track::video(64, 64);
    let body = [track.header(), track.second(0, 1)].concat();
    client
        .put(&format!("/streams/{id}/v/a.cmfv"), body)
        .await
        .expect(202);
    let expected = format!("Upload successful: stream={id}, file=v/a.cmfv, errors=[]");
    let line = server
        .log_line("the upload", |line| line.contains(&expected))
        .await;
    assert!(line.contains("INFO"), "{line}");
}

#[tokio::test]
async fn evil_names_stay_on_one_log_line() {
    let (server, client, id) = stage(&[]).await;
    client
        .put(&format!("/streams/{id}/%E2%80%A8fake%C2%85line.m4s"), "x")
        .await;
    client
        .put(&format!("/streams/{id}/<b>x</b>.m4s"), "x")
        .await
        .expect(202);
    server
        .log_line("the upload", |line| {
            line.contains("<b>") || line.contains("%3Cb")
        })
        .await;
}

#[tokio::test]
async fn header_fields_of_any_size_and_bytes_are_remembered_within_bounds() {
    let (server, client, id) = stage(&[]).await;
    let mut raw = server.h1(None).await;
    raw.send(
        format!("PUT /streams/{id}/a.m4s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n")
            .as_bytes(),
    )
    .await;
    raw.send(b"X-Odd: \xff\xfe\x80 \\ \" end\r\n").await;
    raw.send(format!("X-Large: {}\r\n\r\nx", "a".repeat(24_000)).as_bytes())
        .await;
    raw.answer("PUT").await.expect(202);
    let records = client.uploads_to(id, "a.m4s").await;
    let upload = &records[0]["id"];
    let record = client
        .get(&format!("/api/v1/streams/{id}/uploads/{upload}"))
        .await
        .expect(200);
    let lower = record.text().to_lowercase();
    assert!(lower.contains("x-odd"), "{lower:.2000}");
    assert!(
        lower.len() < 24_000,
        "at most 16 KiB of header fields: {} bytes",
        lower.len()
    );
}
