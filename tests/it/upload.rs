//! Uploads: framings, visibility, replacement, deletion, refusals, limits, records.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use crate::harness::{Client, DEADLINE, Http, Server, same};
use crate::media::{Track, payload};

/// A server, a client of one of its devices, and a stream of that device.
async fn stage(arguments: &[&str]) -> (Server, Client, u64) {
    let server = Server::with().args(arguments.iter().copied()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

fn on_disk(server: &Server, id: u64, path: &str) -> Vec<u8> {
    let path = server.path(&format!("streams/{id}/{path}"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[tokio::test]
async fn put_and_post_store_a_body_of_known_length() {
    let (server, _, id) = stage(&[]).await;
    let body = payload(300_000, 1);
    for http in [Http::One, Http::Two] {
        let client = server.client(http, None);
        for method in ["PUT", "POST"] {
            let path = format!("/streams/{id}/{method}-{http:?}/a.m4s");
            let answer = client
                .call(method, &path)
                .body(body.clone())
                .await
                .expect(202);
            assert!(!answer.header("etag").is_empty(), "{answer:?}");
            assert!(answer.body.is_empty(), "{answer:?}");
            client.get(&path).await.expect(200).is(&body);
            let disk = on_disk(&server, id, &format!("{method}-{http:?}/a.m4s"));
            same("on disk", &disk, &body);
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_stored() {
    let (server, client, id) = stage(&[]).await;
    let body = payload(100_000, 2);
    let path = format!("/streams/{id}/a.m4s");
    for method in ["PUT", "POST"] {
        let mut raw = server.h1(None).await;
        raw.begin(method, &path).await;
        for (n, piece) in body.chunks(7_777).enumerate() {
            if n % 3 == 0 {
                // A chunk in pieces, with an extension.
                raw.send(format!("{:x};x=y\r\n", piece.len()).as_bytes())
                    .await;
                raw.send(&piece[..1]).await;
                raw.send(&piece[1..]).await;
                raw.send(b"\r\n").await;
            } else {
                raw.chunk(piece).await;
            }
        }
        raw.last_chunk().await;
        raw.answer(method).await.expect(202);
        client.get(&path).await.expect(200).is(&body);
    }
}

#[tokio::test]
async fn a_body_without_length_is_stored_over_h2() {
    let (server, client, id) = stage(&[]).await;
    let body = payload(1_000_000, 3);
    let mut h2 = server.h2(None).await;
    let mut call = h2.begin("PUT", &format!("/streams/{id}/a.m4s"), &[]).await;
    for piece in body.chunks(33_333) {
        call.paced(Bytes::copy_from_slice(piece))
            .await
            .expect("the stream is open");
    }
    call.finish();
    call.answer().await.expect(202);
    client
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(&body);
}

#[tokio::test]
async fn any_content_type_is_taken() {
    let (server, client, id) = stage(&[]).await;
    for (n, kind) in [
        "video/mp4",
        "",
        "nonsense",
        "application/x-www-form-urlencoded",
        "application/*",
        "multipart/form-data",
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = server.h1(None).await;
        let target = format!("/streams/{id}/{n}.m4s");
        raw.request("PUT", &target, &[("Content-Type", kind)], b"a=b&c=d")
            .await
            .expect(202);
        client.get(&target).await.expect(200).is(b"a=b&c=d");
    }
}

#[tokio::test]
async fn the_host_of_a_camera_may_be_anything() {
    let server = Server::start().await;
    let device = server.device("cam").await;
    let id = server.stream(&device, "cmaf-ingest").await;
    let identity = server.identity("cam").await;
    let mut raw = server.h1(Some(&identity)).await;
    let fields = [("Host", "localhost:8080"), ("Content-Type", "")];
    raw.request("PUT", &format!("/streams/{id}/a.m4s"), &fields, b"x")
        .await
        .expect(202);
}

#[tokio::test]
async fn names_with_odd_characters_are_kept() {
    let (server, client, id) = stage(&[]).await;
    for (path, file) in [
        ("Streams(video.cmfv)", "Streams(video.cmfv)"),
        (
            "Switching(v)/Streams(a.cmfa)",
            "Switching(v)/Streams(a.cmfa)",
        ),
        ("a%20b/c%2Bd.m4s", "a b/c+d.m4s"),
        ("%C3%BCber.m4s", "über.m4s"),
        ("no-extension", "no-extension"),
        ("..a/b..c/...m4s", "..a/b..c/...m4s"),
        ("a~b,c;d=e@f:g!$&'*.m4s", "a~b,c;d=e@f:g!$&'*.m4s"),
        ("q.m4s?x=1&y=2", "q.m4s"),
    ] {
        let mut raw = server.h1(None).await;
        let body = [
            Track::video(64, 64).header(),
            Track::video(64, 64).second(0, 1),
        ]
        .concat();
        let target = format!("/streams/{id}/{path}");
        raw.request("PUT", &target, &[], &body).await.expect(202);
        raw.request("GET", &target, &[], b"")
            .await
            .expect(200)
            .is(&body);
        assert!(
            server.path(&format!("streams/{id}/{file}")).exists(),
            "{file} lies where it is named"
        );
        let records = client.uploads(id).await;
        assert!(
            records.iter().any(|record| record["path"] == file),
            "{file} in {records:?}"
        );
    }
}

#[tokio::test]
async fn d09_paths_cannot_leave_their_stream() {
    let (server, client, id) = stage(&[]).await;
    let long_segments = ["a"; 17].join("/");
    for path in [
        "../x.m4s",
        "a/../b.m4s",
        "a/..",
        "..",
        "./x.m4s",
        "a/./b.m4s",
        "a//b.m4s",
        "/tmp/x.m4s",
        "a/",
        "%2e%2e/x.m4s",
        "%2E%2e/x.m4s",
        ".%2e/x.m4s",
        "a/%2e%2e/b.m4s",
        "a/%2e/b.m4s",
        "..%2fx.m4s",
        "..%2F..%2F..%2Fcerts%2Fdevice%2Fevil.pem",
        "%2Ftmp%2Fx.m4s",
        "a%2F%2Fb.m4s",
        "a%2F",
        "a%2F..%2Fb.m4s",
        "a%00b.m4s",
        "%00",
        "a%0ab.m4s",
        "a%0d%0ab.m4s",
        "a%1fb.m4s",
        "a%7fb.m4s",
        &long_segments,
    ] {
        for method in ["PUT", "POST", "GET", "DELETE"] {
            let mut raw = server.h1(None).await;
            let target = format!("/streams/{id}/{path}");
            let answer = raw
                .request(
                    method,
                    &target,
                    &[],
                    if method.starts_with('P') {
                        b"evil"
                    } else {
                        b""
                    },
                )
                .await;
            let fits = answer.status == 400 || (method == "GET" && answer.status == 404);
            assert!(fits, "{method} {path}: {answer:?}");
        }
        let mut raw = server.h1(None).await;
        let answer = raw
            .request("GET", &format!("/probe/{id}/{path}"), &[], b"")
            .await;
        assert!(
            [400, 404].contains(&answer.status),
            "probe {path}: {answer:?}"
        );
    }
    for (path, file) in [
        ("x.m4s", "streams/x.m4s"),
        ("b.m4s", "b.m4s"),
        ("evil.pem", "certs/device/evil.pem"),
    ] {
        assert!(!server.path(file).exists(), "{path}");
    }
    let left: Vec<_> = std::fs::read_dir(server.path(&format!("streams/{id}")))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "nothing was stored: {left:?}");
    client.get("/healthz").await.expect(200);
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
async fn d10_a_name_that_is_file_and_directory_is_no_server_error() {
    let (_server, client, id) = stage(&[]).await;
    let put = async |path: &str| {
        client
            .put(&format!("/streams/{id}/{path}"), "x")
            .await
            .status
    };
    assert_eq!(put("a.m4s").await, 202);
    let below = put("a.m4s/b.m4s").await;
    assert!((400..500).contains(&below), "{below}");
    assert_eq!(put("dir/b.m4s").await, 202);
    let above = put("dir").await;
    assert!((400..500).contains(&above), "{above}");
    client.get(&format!("/streams/{id}/dir")).await.problem(404);
    client
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(b"x");
}

#[tokio::test]
async fn d12_an_object_is_seen_only_when_whole() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    let (old, new) = (payload(50_000, 1), payload(60_000, 2));
    let mut raw = server.h1(None).await;
    raw.head("PUT", &path, &[("Content-Length", "50000")]).await;
    raw.send(&old[..40_000]).await;
    client.get(&path).await.problem(404);
    raw.send(&old[40_000..]).await;
    let first = raw.answer("PUT").await.expect(202);
    client.get(&path).await.expect(200).is(&old);

    raw.head("PUT", &path, &[("Content-Length", "60000")]).await;
    raw.send(&new[..59_999]).await;
    client.get(&path).await.expect(200).is(&old);
    raw.send(&new[59_999..]).await;
    let second = raw.answer("PUT").await.expect(202);
    client.get(&path).await.expect(200).is(&new);
    assert_ne!(first.header("etag"), second.header("etag"));

    let statuses: Vec<_> = client
        .uploads_to(id, "a.m4s")
        .await
        .iter()
        .map(|record| record["status"].clone())
        .collect();
    assert_eq!(statuses, ["superseded", "accepted"]);
}

#[tokio::test]
async fn d17_a_broken_upload_leaves_the_old_object() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    client.put(&path, "old").await.expect(202);
    let mut raw = server.h1(None).await;
    raw.head("PUT", &path, &[("Content-Length", "1000")]).await;
    raw.send(b"new, but not all of it").await;
    raw.cut();
    client.settled(id, "a.m4s", "aborted").await;
    client.get(&path).await.expect(200).is(b"old");
    same("on disk", &on_disk(&server, id, "a.m4s"), b"old");
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
    for path in ["one.m4s", "two.m4s", "three.m4s"] {
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
async fn an_empty_body_stores_and_replaces_nothing() {
    let (server, client, id) = stage(&[]).await;
    let (new, held) = (
        format!("/streams/{id}/new.cmfv"),
        format!("/streams/{id}/held.cmfv"),
    );
    client.put(&held, "held").await.expect(202);
    for path in [&new, &held] {
        for method in ["PUT", "POST"] {
            client.call(method, path).await.ok();
            let mut raw = server.h1(None).await;
            raw.begin(method, path).await;
            raw.last_chunk().await;
            raw.answer(method).await.ok();
        }
    }
    client.get(&new).await.problem(404);
    client.get(&held).await.expect(200).is(b"held");
    assert_eq!(
        client.uploads_to(id, "new.cmfv").await.len(),
        4,
        "each is recorded"
    );
    // The first request of a source (DASH-IF Ingest, Interface-1) may be empty to try the address.
    client
        .call("POST", &format!("/streams/{}/new.cmfv", id + 1))
        .await
        .problem(404);
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
async fn deleting_is_idempotent() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/dir/a.m4s");
    client.put(&path, "x").await.expect(202);
    client
        .put(&format!("/streams/{id}/dir/b.m4s"), "y")
        .await
        .expect(202);
    for _ in 0..2 {
        client.delete(&path).await.expect(200);
        client.get(&path).await.problem(404);
    }
    client
        .delete(&format!("/streams/{id}/never.m4s"))
        .await
        .expect(200);
    assert!(!server.path(&format!("streams/{id}/dir/a.m4s")).exists());
    client
        .get(&format!("/streams/{id}/dir/b.m4s"))
        .await
        .expect(200)
        .is(b"y");
    client.put(&path, "again").await.expect(202);
    client.get(&path).await.expect(200).is(b"again");
    let listed = client.stream(id).await["valid_uploads"].to_string();
    assert!(listed.contains("dir/a.m4s"), "{listed}");
}

#[tokio::test]
async fn ffmpegs_delete_has_an_empty_chunked_body() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    client.put(&path, "x").await.expect(202);
    let mut raw = server.h1(None).await;
    raw.begin("DELETE", &path).await;
    raw.last_chunk().await;
    raw.answer("DELETE").await.expect(200);
    raw.request("GET", &path, &[], b"").await.problem(404);
}

#[tokio::test]
async fn a_deleted_object_is_not_listed_as_valid() {
    let (_server, client, id) = stage(&[]).await;
    for name in ["a.m4s", "b.m4s"] {
        client
            .put(&format!("/streams/{id}/{name}"), "x")
            .await
            .expect(202);
    }
    client
        .delete(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200);
    let listed = client.stream(id).await["valid_uploads"].to_string();
    assert!(
        !listed.contains("a.m4s") && listed.contains("b.m4s"),
        "{listed}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (server, _, id) = stage(&[]).await;
    let mut raw = server.h1(None).await;
    let mut bytes = Vec::new();
    for n in 0..5 {
        bytes.extend_from_slice(
            format!("PUT /streams/{id}/{n}.m4s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n{n}").as_bytes(),
        );
    }
    bytes.extend_from_slice(
        format!("GET /streams/{id}/3.m4s HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
    );
    raw.send(&bytes).await;
    for _ in 0..5 {
        raw.answer("PUT").await.expect(202);
    }
    raw.answer("GET").await.expect(200).is(b"3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_at_once_do_not_mix() {
    let (server, client, id) = stage(&[]).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..60u8 {
        let client = server.client(if n % 2 == 0 { Http::One } else { Http::Two }, None);
        calls.spawn(async move {
            let path = format!("/streams/{id}/{n}/a.m4s");
            client
                .put(&path, payload(20_000 + usize::from(n), n))
                .await
                .expect(202);
        });
    }
    calls.join_all().await;
    for n in 0..60u8 {
        let answer = client
            .get(&format!("/streams/{id}/{n}/a.m4s"))
            .await
            .expect(200);
        answer.is(&payload(20_000 + usize::from(n), n));
    }
    let mut ids: Vec<_> = client
        .uploads(id)
        .await
        .iter()
        .map(|r| r["id"].as_u64())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_to_one_path_leave_one_whole_object() {
    let (server, client, id) = stage(&[]).await;
    let path = format!("/streams/{id}/a.m4s");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..10u8 {
        let (client, path) = (server.client(Http::One, None), path.clone());
        calls.spawn(async move {
            client.put(&path, payload(100_000, n)).await.expect(202);
        });
    }
    calls.join_all().await;
    let body = client.get(&path).await.expect(200).body;
    assert!(
        (0..10).any(|n| body == payload(100_000, n)),
        "one of them, whole"
    );
    let records = client.uploads_to(id, "a.m4s").await;
    let accepted = records
        .iter()
        .filter(|record| record["status"] == "accepted")
        .count();
    let superseded = records
        .iter()
        .filter(|record| record["status"] == "superseded")
        .count();
    assert_eq!((accepted, superseded), (1, 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d13_a_large_manifest_does_not_hold_others_up() {
    let (server, client, id) = stage(&[]).await;
    let manifest = format!("<MPD>{}</MPD>", "<a>x</a>".repeat(500_000));
    let slow = server.client(Http::One, None);
    let upload = tokio::spawn(async move {
        for _ in 0..5 {
            slow.put(&format!("/streams/{id}/a.mpd"), manifest.clone())
                .await
                .expect(202);
        }
    });
    let mut slowest = Duration::ZERO;
    while !upload.is_finished() {
        let begun = Instant::now();
        client.get("/healthz").await.expect(200);
        slowest = slowest.max(begun.elapsed());
    }
    upload.await.expect("uploaded");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
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
