//! What an upload may not do: refusals a client can read, time limits, sizes, the disk.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::harness::{Client, DEADLINE, Server};

/// A server and a stream to which this machine may upload.
async fn stage(arguments: &[&str]) -> (Server, Client, u64) {
    let server = Server::with().args(arguments.iter().copied()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

#[tokio::test]
async fn paths_have_limits() {
    let (server, client, id) = stage(&[]).await;
    let segment = "s".repeat(200);
    let longest = format!(
        "{segment}/{segment}/{segment}/{segment}/{segment}/{}",
        "n".repeat(15) + ".m4s"
    );
    assert_eq!(longest.len(), 1024);
    let deepest = ["d"; 16].join("/");
    for path in [&longest, &deepest] {
        client
            .put(&format!("/streams/{id}/{path}"), "x")
            .await
            .expect(202);
        client
            .get(&format!("/streams/{id}/{path}"))
            .await
            .expect(200)
            .is(b"x");
    }
    let too_long = format!(
        "{segment}/{segment}/{segment}/{segment}/{segment}/{}",
        "n".repeat(16) + ".m4s"
    );
    let too_deep = ["d"; 17].join("/");
    let long_name = "n".repeat(300);
    for path in [&too_long, &too_deep, &long_name] {
        let answer = client.put(&format!("/streams/{id}/{path}"), "x").await;
        assert!([400, 413, 414].contains(&answer.status), "{answer:?}");
        assert!(!server.path(&format!("streams/{id}/{path}")).exists());
    }
}

#[tokio::test]
async fn expect_100_is_answered_after_the_checks() {
    let (server, client, id) = stage(&["--max-object-size", "10KiB"]).await;
    let expect = ("Expect", "100-continue");
    let mut raw = server.h1(None).await;
    raw.head(
        "PUT",
        &format!("/streams/{id}/a.m4s"),
        &[expect, ("Content-Length", "4")],
    )
    .await;
    assert_eq!(raw.answer_head().await.expect("an answer").status, 100);
    raw.send(b"body").await;
    raw.answer("PUT").await.expect(202);
    client
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(b"body");

    raw.head(
        "PUT",
        &format!("/streams/{id}/b.m4s"),
        &[expect, ("Transfer-Encoding", "chunked")],
    )
    .await;
    assert_eq!(raw.answer_head().await.expect("an answer").status, 100);
    raw.chunk(b"body").await;
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);

    for (target, length, status) in [
        (format!("/streams/{}/a.m4s", id + 1), "4", 404),
        (format!("/streams/{id}/a/../b.m4s"), "4", 400),
        (format!("/streams/{id}/big.m4s"), "10241", 413),
    ] {
        let mut raw = server.h1(None).await;
        raw.head("PUT", &target, &[expect, ("Content-Length", length)])
            .await;
        raw.answer("PUT").await.expect(status);
    }
}

#[tokio::test]
async fn ranges_and_encodings_of_a_body_are_refused() {
    let (_server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    client
        .put(&path, "x")
        .header("Content-Range", "bytes 0-0/*")
        .await
        .problem(400);
    for coding in ["gzip", "br", "deflate", "gzip, identity"] {
        client
            .put(&path, "x")
            .header("Content-Encoding", coding)
            .await
            .problem(415);
    }
    client.get(&path).await.problem(404);
    client
        .put(&path, "x")
        .header("Content-Encoding", "identity")
        .await
        .expect(202);
}

#[tokio::test]
async fn an_early_refusal_can_be_read_on_h1() {
    let (server, _, id) = stage(&[]).await;
    // A client that sends all of its body before it reads.
    let body = vec![b'x'; 2 << 20];
    let unknown = format!("/streams/{}/a.m4s", id + 1);
    let mut raw = server.h1(None).await;
    raw.request("PUT", &unknown, &[], &body).await.problem(404);
    // A client that looks while it sends without end.
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &unknown).await;
    raw.chunk(&body[..1000]).await;
    raw.answer("PUT").await.problem(404);
    // ffmpeg does not look at all: it goes on and must not be stuck.
    let begun = Instant::now();
    for _ in 0..200 {
        if raw
            .try_send(format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000)).as_bytes())
            .await
            .is_err()
        {
            break;
        }
    }
    assert!(begun.elapsed() < DEADLINE);
}

#[tokio::test]
async fn d25_an_early_refusal_can_be_read_on_h2() {
    let (server, client, id) = stage(&[]).await;
    let mut h2 = server.h2(None).await;
    let mut going = h2
        .begin("PUT", &format!("/streams/{id}/good.m4s"), &[])
        .await;
    going.data("first half, ");
    for _ in 0..3 {
        let mut refused = h2
            .begin("PUT", &format!("/streams/{}/a.m4s", id + 1), &[])
            .await;
        // The data that is on its way when the refusal comes must not harm the connection.
        for _ in 0..20 {
            if refused
                .paced(Bytes::from(vec![b'x'; 50_000]))
                .await
                .is_err()
            {
                break;
            }
        }
        refused.answer().await.problem(404);
    }
    going.data("second half");
    going.finish();
    going.answer().await.expect(202);
    client
        .get(&format!("/streams/{id}/good.m4s"))
        .await
        .expect(200)
        .is(b"first half, second half");
}

#[tokio::test]
async fn a_silent_body_is_408_and_closed_on_h1() {
    let (server, client, id) =
        stage(&["--body-timeout", "400ms", "--chunked-body-timeout", "400ms"]).await;
    for (path, framing) in [
        ("length.m4s", ("Content-Length", "1000")),
        ("chunked.m4s", ("Transfer-Encoding", "chunked")),
    ] {
        let mut raw = server.h1(None).await;
        raw.head("PUT", &format!("/streams/{id}/{path}"), &[framing])
            .await;
        raw.send(b"4\r\nhalf\r\n").await;
        raw.answer("PUT").await.problem(408);
        assert!(raw.closed().await, "the connection is closed");
        client.settled(id, path, "aborted").await;
        client
            .get(&format!("/streams/{id}/{path}"))
            .await
            .problem(404);
    }
    assert_eq!(client.uploads(id).await.len(), 2);
}

#[tokio::test]
async fn a_slow_body_is_not_a_silent_one() {
    let (server, client, id) =
        stage(&["--body-timeout", "1s", "--chunked-body-timeout", "1s"]).await;
    let path = format!("/streams/{id}/a.m4s");
    let mut raw = server.h1(None).await;
    raw.head("PUT", &path, &[("Content-Length", "8")]).await;
    for byte in b"patience" {
        tokio::time::sleep(Duration::from_millis(200)).await;
        raw.send(&[*byte]).await;
    }
    raw.answer("PUT").await.expect(202);
    client.get(&path).await.expect(200).is(b"patience");
}

#[tokio::test]
async fn a_silent_body_resets_its_stream_on_h2() {
    let (server, client, id) =
        stage(&["--body-timeout", "400ms", "--chunked-body-timeout", "400ms"]).await;
    let mut h2 = server.h2(None).await;
    let length = [("content-length", "1000")];
    for (path, fields) in [("length.m4s", &length[..]), ("endless.m4s", &[])] {
        let mut silent = h2
            .begin("PUT", &format!("/streams/{id}/{path}"), fields)
            .await;
        silent.data("half");
        match silent.parts().await {
            Ok((answer, mut sending)) => {
                answer.problem(408);
                let reset = std::future::poll_fn(|cx| sending.poll_reset(cx));
                tokio::time::timeout(DEADLINE, reset)
                    .await
                    .expect("reset in time")
                    .expect("a reset");
            }
            Err(error) => assert!(error.is_reset(), "{error}"),
        }
        client.settled(id, path, "aborted").await;
        h2.get("/healthz").await.expect(200);
    }
    let mut good = h2
        .begin("PUT", &format!("/streams/{id}/good.m4s"), &[])
        .await;
    good.data("good");
    good.finish();
    good.answer().await.expect(202);
}

#[tokio::test]
async fn objects_have_a_largest_size() {
    let (server, client, id) = stage(&[
        "--max-object-size",
        "100KiB",
        "--max-manifest-size",
        "10KiB",
    ])
    .await;
    for (path, limit) in [("a.m4s", 102_400), ("a.mpd", 10_240), ("a.m3u8", 10_240)] {
        let target = format!("/streams/{id}/{path}");
        client.put(&target, vec![b'x'; limit]).await.expect(202);
        client
            .put(&target, vec![b'y'; limit + 1])
            .await
            .problem(413);
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &target).await;
        raw.chunk(&vec![b'z'; limit]).await;
        raw.chunk(b"and more").await;
        raw.answer("PUT").await.problem(413);
        let mut h2 = server.h2(None).await;
        let mut call = h2.begin("PUT", &target, &[]).await;
        let _ = call.paced(Bytes::from(vec![b'z'; limit + 1])).await;
        call.answer().await.problem(413);
        client.get(&target).await.expect(200).is(&vec![b'x'; limit]);
    }
}

#[tokio::test]
async fn a_full_disk_is_507_before_anything_is_written() {
    let (server, client, id) = stage(&["--min-free-disk", "1000TiB"]).await;
    let path = format!("/streams/{id}/a.m4s");
    client.put(&path, "x").await.problem(507);
    let mut raw = server.h1(None).await;
    raw.head(
        "PUT",
        &path,
        &[("Expect", "100-continue"), ("Content-Length", "4")],
    )
    .await;
    raw.answer("PUT").await.problem(507);
    client.get(&path).await.problem(404);
    client.delete(&path).await.expect(200);
}

#[tokio::test]
async fn a_huge_request_header_is_refused() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    client
        .put(&path, "x")
        .header("X-Large", &"a".repeat(20_000))
        .await
        .expect(202);
    let mut raw = server.h1(None).await;
    let large = "a".repeat(40_000);
    raw.head(
        "PUT",
        &path,
        &[("X-Large", &large), ("Content-Length", "0")],
    )
    .await;
    let answer = raw.unchecked_answer("PUT").await;
    assert!([400, 431].contains(&answer.status), "{answer:?}");
    client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn transfer_codings_besides_chunked_are_refused() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let path = format!("/streams/{id}/a.m4s");
    for fields in [
        &[("Transfer-Encoding", "gzip, chunked")][..],
        &[
            ("Transfer-Encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
        ],
    ] {
        let mut raw = server.h1(None).await;
        raw.head("PUT", &path, fields).await;
        raw.chunk(b"x").await;
        raw.last_chunk().await;
        raw.answer("PUT").await.problem(415);
    }
    client.get(&path).await.problem(404);
    let mut raw = server.h1(None).await;
    raw.head("PUT", &path, &[("Transfer-Encoding", "Chunked")])
        .await;
    raw.chunk(b"x").await;
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);
    client.get(&path).await.expect(200).is(b"x");
}
