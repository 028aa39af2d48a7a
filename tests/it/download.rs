//! Reading objects back: types, validators, ranges, evidence, what a browser is told.

use serde_json::{Value, json};

use crate::harness::{Client, Http, Server, same};
use crate::media::{Track, payload};

async fn stage() -> (Server, Client, u64) {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    (server, client, id)
}

#[tokio::test]
async fn objects_have_the_type_of_their_extension() {
    let (_server, client, id) = stage().await;
    for (name, kind) in [
        ("a.mpd", "application/dash+xml"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.m4s", "video/iso.segment"),
        ("a.init", "video/mp4"),
        ("a.header", "video/mp4"),
        ("a.cmfv", "video/mp4"),
        ("a.cmfa", "audio/mp4"),
        ("a.cmft", "application/mp4"),
        ("a.cmfm", "application/mp4"),
        ("a.mp4", "video/mp4"),
        ("a.m4v", "video/mp4"),
        ("a.m4a", "audio/mp4"),
        ("Streams(a.cmfv)", "video/mp4"),
        ("Switching(x)/Streams(a.cmfa)", "audio/mp4"),
    ] {
        let target = format!("/streams/{id}/{name}");
        client
            .put(&target, Track::video(64, 64).header())
            .header("Content-Type", "text/html")
            .await
            .expect(202);
        for answer in [
            client.get(&target).await.expect(200),
            client.head(&target).await.expect(200),
        ] {
            assert_eq!(
                answer.header("content-type").to_ascii_lowercase(),
                kind,
                "{name}"
            );
            assert_eq!(
                answer.header("content-disposition"),
                "",
                "{name} is shown, not saved"
            );
        }
    }
}

#[tokio::test]
async fn d27_a_browser_runs_nothing_that_was_uploaded() {
    let (_server, client, id) = stage().await;
    let script = "<script>alert(1)</script>";
    for name in [
        "a.html",
        "a.svg",
        "a.js",
        "a.xml",
        "a.txt",
        "a.xhtml",
        "a.pdf",
        "a.css",
        "a",
        "a.unknown",
        "<b>.html",
        "a\".html",
    ] {
        let target = format!(
            "/streams/{id}/{}",
            name.replace('"', "%22")
                .replace('<', "%3C")
                .replace('>', "%3E")
        );
        client
            .put(&target, script)
            .header("Content-Type", "text/html")
            .await
            .expect(202);
        let answer = client.get(&target).await.expect(200);
        assert_eq!(
            answer.header("content-type"),
            "application/octet-stream",
            "{name}"
        );
        assert!(
            answer
                .header("content-disposition")
                .starts_with("attachment"),
            "{name}: {answer:?}"
        );
    }
    for name in ["a.html", "b.mp4", "c.mpd"] {
        let target = format!("/streams/{id}/{name}");
        client.put(&target, script).await.expect(202);
        let range = client
            .get(&target)
            .header("Range", "bytes=0-3")
            .await
            .expect(206);
        for answer in [
            client.get(&target).await.expect(200),
            client.head(&target).await,
            range,
        ] {
            assert_eq!(
                answer.header("x-content-type-options"),
                "nosniff",
                "{answer:?}"
            );
            assert_eq!(
                answer.header("content-security-policy"),
                "sandbox; default-src 'none'",
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn ranges_are_served() {
    let (_server, client, id) = stage().await;
    let body = payload(10_000, 1);
    let target = format!("/streams/{id}/a.m4s");
    client.put(&target, body.clone()).await.expect(202);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=9990-", 9990, 10_000),
        ("bytes=-10", 9990, 10_000),
        ("bytes=-20000", 0, 10_000),
        ("bytes=5000-99999", 5000, 10_000),
    ] {
        let answer = client.get(&target).header("Range", range).await.expect(206);
        assert_eq!(
            answer.header("content-range"),
            format!("bytes {from}-{}/10000", to - 1)
        );
        answer.is(&body[from..to]);
    }
    for range in ["bytes=10000-", "bytes=20000-30000"] {
        let answer = client.get(&target).header("Range", range).await.expect(416);
        assert_eq!(answer.header("content-range"), "bytes */10000");
    }
    for range in ["bytes=x", "lines=1-2", "bytes=9-1", "nonsense"] {
        let status = client.get(&target).header("Range", range).await.status;
        assert!([200, 400, 416].contains(&status), "{range}: {status}");
    }
    let status = client
        .get(&target)
        .header("Range", "bytes=0-1,5-6")
        .await
        .status;
    assert!(
        [200, 206, 416].contains(&status),
        "several ranges: {status}"
    );
}

#[tokio::test]
async fn validators_hold() {
    let (_server, client, id) = stage().await;
    let target = format!("/streams/{id}/a.mpd");
    let stored = client.put(&target, "one").await.expect(202);
    let first = client.get(&target).await.expect(200);
    let (tag, date) = (
        first.header("etag").to_owned(),
        first.header("last-modified").to_owned(),
    );
    assert!(!tag.is_empty() && !date.is_empty(), "{first:?}");
    assert_eq!(
        stored.header("etag"),
        tag,
        "the tag the upload was answered with"
    );
    assert_eq!(first.header("accept-ranges"), "bytes");
    for (name, value, status) in [
        ("If-None-Match", tag.as_str(), 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", date.as_str(), 304),
        ("If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200),
        ("If-Match", tag.as_str(), 200),
        ("If-Match", "\"other\"", 412),
    ] {
        let answer = client.get(&target).header(name, value).await;
        assert_eq!(answer.status, status, "{name}: {value}: {answer:?}");
        if status == 304 {
            assert!(answer.body.is_empty());
        }
    }
    let call = client.get(&target).header("Range", "bytes=0-0");
    call.header("If-Range", &tag).await.expect(206).is(b"o");
    let call = client.get(&target).header("Range", "bytes=0-0");
    call.header("If-Range", "\"other\"")
        .await
        .expect(200)
        .is(b"one");
    client.put(&target, "two").await.expect(202);
    let second = client
        .get(&target)
        .header("If-None-Match", &tag)
        .await
        .expect(200);
    second.is(b"two");
    assert_ne!(second.header("etag"), tag);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (server, _, id) = stage().await;
    for http in [Http::One, Http::Two] {
        let client = server.client(http, None);
        let target = format!("/streams/{id}/a.m4s");
        client.put(&target, vec![7; 5000]).await.expect(202);
        let (get, head) = (
            client.get(&target).await.expect(200),
            client.head(&target).await.expect(200),
        );
        for name in [
            "content-length",
            "content-type",
            "etag",
            "last-modified",
            "accept-ranges",
        ] {
            assert_eq!(get.header(name), head.header(name), "{name}");
        }
        assert_eq!(head.header("content-length"), "5000");
        assert!(head.body.is_empty());
        assert_eq!(
            client.head(&format!("/streams/{id}/none.m4s")).await.status,
            404
        );
    }
}

#[tokio::test]
async fn d10_a_missing_object_is_404() {
    let (_server, client, id) = stage().await;
    client
        .put(&format!("/streams/{id}/dir/a.m4s"), "x")
        .await
        .expect(202);
    for path in [
        "none.m4s",
        "dir",
        "dir/none.m4s",
        "dir/a.m4s/b",
        "none/none/none.m4s",
        "none.m4s.crt",
    ] {
        client
            .get(&format!("/streams/{id}/{path}"))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn d22_the_evidence_says_who_uploaded() {
    let server = Server::start().await;
    let device = server.device("cam-9").await;
    let id = server.stream(&device, "dash").await;
    device
        .put(&format!("/streams/{id}/v/a.m4s"), "x")
        .await
        .expect(202);
    let evidence = device
        .get(&format!("/streams/{id}/v/a.m4s.crt"))
        .await
        .expect(200)
        .json();
    let subject = evidence["subject"].as_array().expect("a subject");
    assert!(
        subject.contains(&json!([["commonName", "cam-9"]])),
        "{evidence}"
    );
    assert!(evidence["issuer"].is_array(), "{evidence}");
    assert_eq!(evidence["version"], 3);
    let serial = evidence["serialNumber"].as_str().expect("a serial number");
    assert!(
        serial
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)),
        "{serial}"
    );
    for field in ["notBefore", "notAfter"] {
        let text = evidence[field].as_str().expect("a time");
        assert!(
            text.ends_with(" GMT") && text.matches(':').count() == 2,
            "{text}"
        );
    }
}

#[tokio::test]
async fn d22_versions_of_one_second_are_told_apart() {
    let server = Server::start().await;
    let (one, two) = (server.device("one").await, server.device("two").await);
    // Of a stream that nobody owns.
    let admin = server.admin();
    let id = server.stream(&admin, "dash").await;
    let path = format!("/streams/{id}/session_1/index.mpd");
    for (device, version) in [(&one, "first"), (&two, "second"), (&one, "third")] {
        device.put(&path, version).await.expect(202);
    }
    let records = format!("/api/v1/streams/{id}/uploads");
    let uploads = admin.get(&records).await.expect(200).json();
    let uploads = uploads["uploads"].as_array().expect("a list");
    assert_eq!(uploads.len(), 3);
    for (upload, (device, version)) in
        uploads
            .iter()
            .zip([("one", "first"), ("two", "second"), ("one", "third")])
    {
        assert_eq!(upload["device"], device, "{upload}");
        let content = format!("{records}/{}/content", upload["id"]);
        admin.get(&content).await.expect(200).is(version.as_bytes());
    }
}

#[tokio::test]
async fn d22_clients_cannot_forge_evidence_or_state() {
    let server = Server::start().await;
    let device = server.device("cam-9").await;
    let id = server.stream(&device, "dash").await;
    device
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    let evidence = format!("/streams/{id}/a.m4s.crt");
    let state = format!("/streams/{id}/stream.json");
    let before = device.get(&evidence).await.expect(200).json();
    for path in [&evidence, &state] {
        let answer = device.put(path, "{\"forged\":true}").await;
        assert!(answer.status < 500, "{answer:?}");
        device.delete(path).await;
    }
    assert_eq!(device.get(&evidence).await.expect(200).json(), before);
    let stream = device.get(&state).await.expect(200).json();
    assert_eq!(stream["id"], id);
    assert_eq!(stream.get("forged"), None);
}

#[tokio::test]
async fn stream_json_is_the_stream_object() {
    let (_server, client, id) = stage().await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    let json = client
        .get(&format!("/streams/{id}/stream.json"))
        .await
        .expect(200);
    assert!(
        json.header("content-type").starts_with("application/json"),
        "{json:?}"
    );
    let object = json.json();
    for field in [
        "id",
        "strict_mode",
        "interface",
        "track_name",
        "sessions",
        "error_uploads",
        "valid_uploads",
    ] {
        assert!(object.get(field).is_some(), "{field}: {object}");
        assert_eq!(object[field], client.stream(id).await[field]);
    }
    assert_ne!(object["valid_uploads"], Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_comes_back_whole() {
    let (server, _, id) = stage().await;
    let body = payload(20_000_000, 5);
    for http in [Http::One, Http::Two] {
        let client = server.client(http, None);
        let target = format!("/streams/{id}/{http:?}.mp4");
        client.put(&target, body.clone()).await.expect(202);
        client.get(&target).await.expect(200).is(&body);
    }
}

#[tokio::test]
async fn a_running_download_is_not_mixed_with_the_next_object() {
    let (server, client, id) = stage().await;
    let (old, new) = (payload(8_000_000, 1), payload(8_000_000, 2));
    let target = format!("/streams/{id}/a.mp4");
    client.put(&target, old.clone()).await.expect(202);
    let mut reader = server.h1(None).await;
    reader.head("GET", &target, &[]).await;
    // The server's socket buffers are full long before the end; the rest comes after the swap.
    client.put(&target, new.clone()).await.expect(202);
    let answer = reader.answer("GET").await.expect(200);
    assert!(
        answer.body == old || answer.body == new,
        "one of them, whole"
    );
    client.delete(&target).await.expect(200);
    same(
        "what was read",
        &answer.body,
        if answer.body == old { &old } else { &new },
    );
}
