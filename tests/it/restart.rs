//! What survives the end of the process, polite or by `kill -9`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Ending, Http, Server, eventually, same};
use crate::media::payload;
use crate::track::{video, whole};

#[tokio::test]
async fn d02_restart_on_existing_directory() {
    let mut server = Server::start().await;
    let identity = server.identity("cam").await;
    let id = server
        .stream(&server.client(Http::Any, Some(&identity)), "dash")
        .await;
    let other = server.stream(&server.anonymous(), "hls").await;
    let client = server.anonymous();
    client
        .post_json(
            &format!("/streams/{id}/trackName"),
            &json!({"track_name": "video"}),
        )
        .await
        .expect(202);
    client
        .patch_json(
            &format!("/api/v1/streams/{other}"),
            &json!({"strict_mode": true}),
        )
        .await
        .ok();
    let device = server.client(Http::Any, Some(&identity));
    let body = payload(50_000, 1);
    device
        .put(&format!("/streams/{id}/v/a.m4s"), "old")
        .await
        .expect(202);
    let stored = device
        .put(&format!("/streams/{id}/v/a.m4s"), body.clone())
        .await
        .expect(202);
    device
        .put(&format!("/streams/{id}/v/b.m4s"), "gone")
        .await
        .expect(202);
    device
        .delete(&format!("/streams/{id}/v/b.m4s"))
        .await
        .expect(200);
    let state = async |server: &Server| {
        let client = server.anonymous();
        let mut certs = client.get("/certs").await.expect(200).json();
        for list in ["server", "device"] {
            let names = certs[list].as_array_mut().expect("a list");
            names.sort_by_key(Value::to_string);
        }
        (
            client.get("/streams").await.expect(200).json(),
            client.uploads(id).await,
            client
                .get(&format!("/streams/{id}/v/a.m4s.crt"))
                .await
                .expect(200)
                .json(),
            certs,
            server.token(),
        )
    };
    let before = state(&server).await;
    for how in [Ending::Polite, Ending::Kill, Ending::Polite] {
        server = server.restart(how).await;
        assert_eq!(before, state(&server).await, "after {how:?}");
        let device = server.client(Http::Any, Some(&identity));
        let object = device
            .get(&format!("/streams/{id}/v/a.m4s"))
            .await
            .expect(200);
        object.is(&body);
        assert_eq!(object.header("etag"), stored.header("etag"));
        device
            .get(&format!("/streams/{id}/v/b.m4s"))
            .await
            .problem(404);
    }
    let new = server.stream(&server.anonymous(), "dash").await;
    assert!(new > other, "numbers go on: {new}");
    server
        .client(Http::Any, Some(&identity))
        .put(&format!("/streams/{id}/c.m4s"), "x")
        .await
        .expect(202);
}

#[tokio::test]
async fn a_deleted_stream_stays_deleted() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    client.delete(&format!("/api/v1/streams/{id}")).await.ok();
    let server = server.restart(Ending::Kill).await;
    server
        .anonymous()
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .problem(404);
    assert_ne!(server.stream(&server.anonymous(), "dash").await, id);
}

#[tokio::test]
async fn d15_rubbish_in_a_streams_directory_does_not_stop_the_start() {
    let mut server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    server.end(Ending::Polite).await;
    for (path, text) in [
        (format!("streams/{id}/stream.json"), "{\"id\": 1, \"interf"),
        ("streams/77/stream.json".to_owned(), ""),
        ("streams/words/stream.json".to_owned(), "null"),
        ("streams/file".to_owned(), "x"),
    ] {
        let path = server.path(&path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("written");
    }
    let server = server.restart(Ending::Polite).await;
    server
        .anonymous()
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(b"x");
}

#[tokio::test]
async fn a_missing_half_of_a_root_is_said() {
    let mut server = Server::start().await;
    server.end(Ending::Polite).await;
    std::fs::remove_file(server.path("certs/device/root.key")).expect("removed");
    let mut command = crate::harness::pavs();
    command
        .args(["serve", "--port", "0", "--working-directory"])
        .arg(&server.dir);
    let (status, _, error) = crate::harness::run_to_end(&mut command);
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.contains("root"), "{error}");
    assert!(
        server.path("certs/device/root.pem").exists(),
        "it is left as it is"
    );
}

#[tokio::test]
async fn d02_a_first_start_that_was_killed_is_begun_anew() {
    // The files of a hierarchy in the order in which they are written, and those that are there.
    for (hierarchy, left) in [
        ("server", &["root.key"][..]),
        ("server", &["root.key", "root.pem"]),
        ("server", &["root.key", "root.pem", "localhost.key"]),
        ("device", &["root.key"]),
        ("device", &["root.key.new"]),
    ] {
        let mut server = Server::start().await;
        server.end(Ending::Kill).await;
        let dir = server.path("certs").join(hierarchy);
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if !left.contains(&&*name) {
                std::fs::remove_file(&path).expect("removed");
            }
        }
        if let Some(half) = left.iter().find(|name| name.ends_with(".new")) {
            std::fs::write(dir.join(half), "-----BEGIN").expect("written");
        }
        let server = server.restart(Ending::Kill).await;
        let device = server.device("cam").await;
        server.stream(&device, "dash").await;
    }
}

#[tokio::test]
async fn a_lost_root_is_not_replaced_where_it_has_issued() {
    let mut server = Server::start().await;
    server.identity("cam").await;
    server.end(Ending::Polite).await;
    std::fs::remove_file(server.path("certs/device/root.pem")).expect("removed");
    let mut command = crate::harness::pavs();
    command
        .args(["serve", "--port", "0", "--working-directory"])
        .arg(&server.dir);
    let (status, _, error) = crate::harness::run_to_end(&mut command);
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.contains("root.pem is missing"), "{error}");
    assert!(
        server.path("certs/device/root.key").exists(),
        "it is left as it is"
    );
}

#[tokio::test]
async fn a_track_goes_on_after_a_restart() {
    let mut server = Server::start().await;
    let track = video();
    let id = server.stream(&server.anonymous(), "cmaf-ingest").await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    server
        .anonymous()
        .put(&target, whole(&track, 1, 1))
        .await
        .expect(202);
    for (n, how) in [(1, Ending::Polite), (2, Ending::Kill), (3, Ending::Polite)] {
        server = server.restart(how).await;
        let client = server.anonymous();
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, n, 1));
        // The source may send its header and the last segment again.
        client.put(&target, track.header()).await.ok();
        client.post(&target).body(track.second(n - 1, 1)).await.ok();
        client.post(&target).body(track.second(n, 1)).await.ok();
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, n + 1, 1));
    }
    let probe = server
        .anonymous()
        .get(&format!("/probe/{id}/Streams(video.cmfv)"))
        .await
        .expect(200);
    assert_eq!(probe.json()["streams"][0]["codec_name"], "h264");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d15_kill_during_uploads_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    let track = video();
    let live = ["live.mp4", "Streams(live.cmfv)"];
    let mut pushes = Vec::new();
    for name in live {
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &format!("/streams/{id}/{name}")).await;
        raw.chunk(&whole(&track, 3, 1)).await;
        pushes.push(raw);
    }
    let mut half = server.h1(None).await;
    half.head(
        "PUT",
        &format!("/streams/{id}/half.m4s"),
        &[("Content-Length", "100000")],
    )
    .await;
    half.send(&payload(50_000, 1)).await;
    for name in live {
        eventually(&format!("{name} is readable"), async || {
            let answer = client
                .get(&format!("/streams/{id}/{name}"))
                .header("Range", "bytes=0-")
                .await;
            (answer.body == whole(&track, 3, 1)).then_some(())
        })
        .await;
    }
    let seen = Instant::now();

    // Whole uploads, as fast as they go, until the server is gone.
    let mut calls = tokio::task::JoinSet::new();
    let base = server.base();
    for lane in 0..4u32 {
        let settings = server.tls(Http::One, None);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(settings)
            .no_proxy()
            .http1_only();
        let http = http.build().expect("a client");
        let base = base.clone();
        calls.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..100_000u32 {
                let path = format!("/streams/{id}/k/{lane}-{n}.m4s");
                let body = payload(1000 + n as usize, u8::try_from(n % 251).expect("small"));
                match http.put(format!("{base}{path}")).body(body).send().await {
                    Ok(answer) if answer.status() == 202 => acknowledged.push((path, n)),
                    _ => break,
                }
            }
            acknowledged
        });
    }
    // What is promised is that no fragment older than 2 s is lost.
    tokio::time::sleep(Duration::from_millis(2100).saturating_sub(seen.elapsed())).await;
    for raw in &mut pushes {
        raw.chunk(&track.second(3, 1)[..600]).await;
    }
    server.kill().await;
    let acknowledged: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());

    let server = server.restart(Ending::Kill).await;
    let client = server.anonymous();
    for (path, n) in &acknowledged {
        let body = client.get(path).await.expect(200).body;
        same(
            path,
            &body,
            &payload(1000 + *n as usize, u8::try_from(n % 251).expect("small")),
        );
    }
    for name in live {
        client
            .get(&format!("/streams/{id}/{name}"))
            .await
            .expect(200)
            .is(&whole(&track, 3, 1));
        client.settled(id, name, "incomplete").await;
    }
    client
        .get(&format!("/streams/{id}/half.m4s"))
        .await
        .problem(404);
    client
        .put(&format!("/streams/{id}/half.m4s"), "now whole")
        .await
        .expect(202);
    let running = client
        .uploads(id)
        .await
        .iter()
        .filter(|r| r["status"].is_null())
        .count();
    assert_eq!(running, 0, "no upload is left without a status");
    // The camera comes back and goes on.
    client
        .post(&format!("/streams/{id}/Streams(live.cmfv)"))
        .body(track.second(3, 1))
        .await
        .ok();
    client
        .get(&format!("/streams/{id}/Streams(live.cmfv)"))
        .await
        .expect(200)
        .is(&whole(&track, 4, 1));
}

#[tokio::test]
async fn running_uploads_may_finish_after_sigterm() {
    let mut server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    drop(client);
    let mut raw = server.h1(None).await;
    raw.head(
        "PUT",
        &format!("/streams/{id}/a.m4s"),
        &[("Content-Length", "10")],
    )
    .await;
    raw.send(b"first").await;
    let mut idle = server.h1(None).await;
    idle.request("GET", "/healthz", &[], b"").await.expect(200);
    server.signal(rustix::process::Signal::TERM);
    assert!(idle.closed().await, "an idle connection is closed");
    eventually("no more connections are taken", async || {
        std::net::TcpStream::connect(server.address())
            .is_err()
            .then_some(())
    })
    .await;
    raw.send(b"other").await;
    raw.answer("PUT").await.expect(202);
    assert_eq!(
        server.exit(Duration::from_secs(9)).await.code(),
        Some(0),
        "as soon as it is done"
    );
    let server = server.restart(Ending::Kill).await;
    server
        .anonymous()
        .get(&format!("/streams/{id}/a.m4s"))
        .await
        .expect(200)
        .is(b"firstother");
}

#[tokio::test]
async fn an_endless_upload_does_not_hold_the_end_up() {
    let mut server = Server::with()
        .args(["--shutdown-timeout", "500ms"])
        .start()
        .await;
    let client = server.anonymous();
    let track = video();
    let id = server.stream(&client, "cmaf-ingest").await;
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &format!("/streams/{id}/a.mp4")).await;
    raw.chunk(&whole(&track, 2, 1)).await;
    let mut silent = server.h1(None).await;
    silent
        .head(
            "PUT",
            &format!("/streams/{id}/b.mp4"),
            &[("Content-Length", "1000")],
        )
        .await;
    eventually("it has begun", async || {
        (client.head(&format!("/streams/{id}/a.mp4")).await.status == 200).then_some(())
    })
    .await;
    let mut follower = server.h1(None).await;
    follower
        .head("GET", &format!("/streams/{id}/a.mp4"), &[])
        .await;
    follower.answer_head().await.expect("an answer");
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.exit(Duration::from_secs(5)).await.code(), Some(0));
    let server = server.restart(Ending::Kill).await;
    let client = server.anonymous();
    client
        .get(&format!("/streams/{id}/a.mp4"))
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
    client.settled(id, "a.mp4", "incomplete").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d15_kill_while_a_track_is_appended_leaves_whole_fragments() {
    let mut server = Server::start().await;
    let track = video();
    let id = server.stream(&server.anonymous(), "cmaf-ingest").await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    server
        .anonymous()
        .put(&target, track.header())
        .await
        .expect(202);
    let mut held = 0;
    for round in 0..4u64 {
        let base = server.base();
        let http =
            reqwest::Client::builder().tls_backend_preconfigured(server.tls(Http::One, None));
        let http = http.no_proxy().http1_only().build().expect("a client");
        let (source, path) = (track.clone(), target.clone());
        let push = tokio::spawn(async move {
            let mut acknowledged = held;
            for n in held.. {
                let body = source.second(n, 1);
                match http.post(format!("{base}{path}")).body(body).send().await {
                    Ok(answer) if answer.status().is_success() => acknowledged = n + 1,
                    _ => break,
                }
            }
            acknowledged
        });
        // Another moment each time.
        tokio::time::sleep(Duration::from_millis(150 + 37 * round)).await;
        server.kill().await;
        let acknowledged = push.await.expect("no panic");
        server = server.restart(Ending::Kill).await;
        let body = server.anonymous().get(&target).await.expect(200).body;
        let fragments = (body.len() - track.header().len()) / track.second(0, 1).len();
        held = u64::try_from(fragments).expect("small");
        assert!(
            held >= acknowledged,
            "round {round}: {held} of {acknowledged} fragments"
        );
        same("the track", &body, &whole(&track, held, 1));
    }
    assert!(held > 20, "{held}");
}
