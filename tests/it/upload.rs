//! Uploads: framings, visibility, replacement, deletion, refusals, limits, records.

use crate::harness::{Client, Http, Server, same};
use crate::media::{Track, payload};
use bytes::Bytes;

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
        ("%61%2Fb.cmfv", "a/b.cmfv"),
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
    // Others are answered meanwhile, not after it.
    let mut answered = 0;
    while !upload.is_finished() {
        client.get("/healthz").await.expect(200);
        answered += 1;
    }
    upload.await.expect("uploaded");
    assert!(answered > 5, "{answered} answers during five uploads");
}

#[tokio::test]
async fn trailers_do_no_harm() {
    let (server, client, id) = stage(&[]).await;
    let mut raw = server.h1(None).await;
    raw.head(
        "PUT",
        &format!("/streams/{id}/a.m4s"),
        &[("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")],
    )
    .await;
    raw.send(b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    raw.answer("PUT").await.expect(202);
    raw.request("GET", &format!("/streams/{id}/a.m4s"), &[], b"")
        .await
        .expect(200)
        .is(b"body");
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_upload_does_not_stall_its_connection() {
    let (server, _, id) = stage(&[]).await;
    let mut h2 = server.h2(None).await;
    let mut stalled = Vec::new();
    for n in 0..20 {
        let mut call = h2
            .begin("PUT", &format!("/streams/{id}/stalled-{n}.m4s"), &[])
            .await;
        call.paced(Bytes::from(vec![b'x'; 300_000]))
            .await
            .expect("room");
        stalled.push(call);
    }
    for n in 0..20 {
        let mut call = h2
            .begin("PUT", &format!("/streams/{id}/{n}.m4s"), &[])
            .await;
        call.paced(Bytes::from(vec![b'y'; 300_000]))
            .await
            .expect("room");
        call.finish();
        call.answer().await.expect(202);
    }
    for mut call in stalled {
        call.finish();
        call.answer().await.expect(202);
    }
}
