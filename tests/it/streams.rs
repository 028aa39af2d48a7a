//! Streams: opening, listing, naming, changing and deleting them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Client, Http, Server};

#[tokio::test]
async fn a_new_stream_has_the_fields_clients_know() {
    let server = Server::start().await;
    let client = server.anonymous();
    let answer = client.post("/streams?interface=dash").await.expect(201);
    let stream = answer.json();
    assert!(stream["id"].is_u64(), "{stream}");
    assert_eq!(stream["strict_mode"], false);
    assert_eq!(stream["interface"], "dash");
    assert_eq!(stream["track_name"], Value::Null);
    for list in ["sessions", "error_uploads", "valid_uploads"] {
        assert_eq!(stream[list], json!([]), "{list} of {stream}");
    }
    // As earlier harnesses call them.
    assert_eq!(stream["stream_id"], stream["id"]);
    for list in ["valid_files", "invalid_files"] {
        assert_eq!(stream[list], json!([]), "{list} of {stream}");
    }
}

#[tokio::test]
async fn d28_a_new_stream_says_where_it_is() {
    let server = Server::start().await;
    let client = server.anonymous();
    let answer = client.post("/streams").await.expect(201);
    let location = answer.header("location").to_owned();
    let path = location.strip_prefix(&server.base()).unwrap_or(&location);
    assert_eq!(
        client.get(path).await.expect(200).json()["id"],
        answer.json()["id"]
    );
}

#[tokio::test]
async fn every_interface_can_be_asked_for() {
    let server = Server::start().await;
    let client = server.anonymous();
    for (query, interface) in [
        ("", "cmaf-ingest"),
        ("?interface=cmaf-ingest", "cmaf-ingest"),
        ("?interface=dash", "dash"),
        ("?interface=hls", "hls"),
    ] {
        let stream = client
            .post(&format!("/streams{query}"))
            .await
            .expect(201)
            .json();
        assert_eq!(stream["interface"], interface);
    }
    for query in ["rtmp", "", "DASH", "SupportedIngestInterface.dash"] {
        let answer = client
            .post(&format!("/streams?interface={query}"))
            .await
            .expect(422);
        let accepted = "interface must be \"cmaf-ingest\", \"dash\" or \"hls\"";
        assert_eq!(answer.json()["errors"], json!([accepted]));
        let detail = answer.problem(422);
        assert!(detail.contains(accepted), "{detail}");
    }
}

#[tokio::test]
async fn a_json_body_is_taken_and_not_needed() {
    let server = Server::start().await;
    let client = server.anonymous();
    client.post_json("/streams", &json!({})).await.expect(201);
    client.post("/streams").await.expect(201);
}

#[tokio::test]
async fn strict_mode_is_the_default_the_server_was_given() {
    let server = Server::with().arg("--strict-mode").start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    assert_eq!(client.stream(id).await["strict_mode"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d05_forty_parallel_posts_give_forty_ids() {
    let server = Server::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let http = if n % 2 == 0 { Http::One } else { Http::Two };
        let client = server.client(http, None);
        calls.spawn(async move { client.post("/streams").await.expect(201).json()["id"].as_u64() });
    }
    let ids: BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 40);
    assert!(!ids.contains(&None));
    assert_eq!(ids_of(&server.anonymous(), "").await.len(), 40);
}

async fn ids_of(client: &Client, query: &str) -> Vec<u64> {
    let list = client
        .get(&format!("/streams{query}"))
        .await
        .expect(200)
        .json();
    let streams = list["streams"].as_array().expect("a list of streams");
    streams
        .iter()
        .map(|stream| stream["id"].as_u64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn streams_are_listed_in_the_order_they_were_opened() {
    let server = Server::start().await;
    let client = server.anonymous();
    assert_eq!(ids_of(&client, "").await, [0u64; 0]);
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(server.stream(&client, "cmaf-ingest").await);
    }
    assert_eq!(ids_of(&client, "").await, opened);
}

#[tokio::test]
async fn the_list_of_streams_has_pages() {
    let server = Server::start().await;
    let client = server.anonymous();
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(server.stream(&client, "cmaf-ingest").await);
    }
    assert_eq!(ids_of(&client, "?limit=2").await, opened[..2]);
    assert_eq!(
        ids_of(&client, &format!("?limit=2&after={}", opened[1])).await,
        opened[2..4]
    );
    assert_eq!(
        ids_of(&client, &format!("?limit=2&after={}", opened[3])).await,
        opened[4..]
    );
    assert_eq!(
        ids_of(&client, &format!("?after={}", opened[2])).await,
        opened[3..]
    );
    assert_eq!(
        ids_of(&client, &format!("?limit=2&after={}", opened[4])).await,
        [0u64; 0]
    );
    for query in ["?limit=x", "?after=x", "?limit=-1"] {
        let status = client.get(&format!("/streams{query}")).await.status;
        assert!([400, 422].contains(&status), "{query}: {status}");
    }
}

#[tokio::test]
async fn both_spellings_of_the_track_name_are_taken() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    for (field, name) in [
        ("track_name", "video"),
        ("trackName", "media"),
        ("track_name", "audio"),
    ] {
        let answer = client
            .post_json(&format!("/streams/{id}/trackName"), &json!({ field: name }))
            .await;
        assert_eq!(answer.expect(202).json(), Value::Null);
        assert_eq!(client.stream(id).await["track_name"], name);
    }
}

#[tokio::test]
async fn a_track_name_of_the_wrong_shape_is_422() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let path = format!("/streams/{id}/trackName");
    for body in [
        json!({}),
        json!([]),
        json!({"track_name": 7}),
        json!({"name": "video"}),
        json!("video"),
    ] {
        client.post_json(&path, &body).await.problem(422);
    }
    for body in ["", "{", "track_name=video"] {
        let call = client
            .post(&path)
            .header("Content-Type", "application/json")
            .body(body);
        let status = call.await.status;
        assert!([400, 422].contains(&status), "{body:?}: {status}");
    }
    assert_eq!(client.stream(id).await["track_name"], Value::Null);
}

#[tokio::test]
async fn a_stream_can_be_changed() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let path = format!("/api/v1/streams/{id}");
    client
        .patch_json(&path, &json!({"track_name": "video"}))
        .await
        .ok();
    client
        .patch_json(&path, &json!({"strict_mode": true}))
        .await
        .ok();
    let stream = client.stream(id).await;
    assert_eq!(stream["track_name"], "video");
    assert_eq!(stream["strict_mode"], true);
    assert_eq!(stream["interface"], "dash");
    for body in [
        json!({"strict_mode": "perhaps"}),
        json!({"track_name": 3}),
        json!([]),
    ] {
        client.patch_json(&path, &body).await.problem(422);
    }
    assert_eq!(client.stream(id).await["strict_mode"], true);
}

#[tokio::test]
async fn a_deleted_stream_is_gone_with_its_objects() {
    let server = Server::start().await;
    let client = server.anonymous();
    let (first, second) = (
        server.stream(&client, "dash").await,
        server.stream(&client, "dash").await,
    );
    client
        .put(&format!("/streams/{first}/a/b.m4s"), "first")
        .await
        .expect(202);
    client
        .put(&format!("/streams/{second}/a/b.m4s"), "second")
        .await
        .expect(202);
    client
        .delete(&format!("/api/v1/streams/{first}"))
        .await
        .ok();
    client
        .get(&format!("/api/v1/streams/{first}"))
        .await
        .problem(404);
    client
        .get(&format!("/streams/{first}/a/b.m4s"))
        .await
        .problem(404);
    client
        .put(&format!("/streams/{first}/c.m4s"), "late")
        .await
        .problem(404);
    client
        .delete(&format!("/api/v1/streams/{first}"))
        .await
        .problem(404);
    assert_eq!(ids_of(&client, "").await, [second]);
    client
        .get(&format!("/streams/{second}/a/b.m4s"))
        .await
        .expect(200)
        .is(b"second");
    assert!(!server.path(&format!("streams/{first}/a/b.m4s")).exists());
    assert_ne!(
        server.stream(&client, "dash").await,
        first,
        "a number is not used again"
    );
}

#[tokio::test]
async fn an_unknown_stream_is_404_everywhere() {
    let server = Server::start().await;
    let client = server.anonymous();
    for id in ["999", "999999999999999"] {
        for (method, path) in [
            ("GET", format!("/api/v1/streams/{id}")),
            ("DELETE", format!("/api/v1/streams/{id}")),
            ("GET", format!("/api/v1/streams/{id}/uploads")),
            ("GET", format!("/api/v1/streams/{id}/uploads/1")),
            ("GET", format!("/streams/{id}/a.m4s")),
            ("PUT", format!("/streams/{id}/a.m4s")),
            ("POST", format!("/streams/{id}/a.m4s")),
            ("DELETE", format!("/streams/{id}/a.m4s")),
            ("GET", format!("/probe/{id}/a.m4s")),
            ("GET", format!("/streams/probe/{id}/a.m4s")),
        ] {
            client.call(method, &path).await.problem(404);
        }
        let name = json!({"track_name": "video"});
        client
            .post_json(&format!("/streams/{id}/trackName"), &name)
            .await
            .problem(404);
        client
            .patch_json(&format!("/api/v1/streams/{id}"), &name)
            .await
            .problem(404);
    }
    for id in ["abc", "-1", "1.5", "%20", "99999999999999999999999"] {
        let status = client
            .put(&format!("/streams/{id}/a.m4s"), "x")
            .await
            .status;
        assert!([400, 404, 422].contains(&status), "{id:?}: {status}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_told_what_is_right() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    for (method, path, allowed) in [
        ("DELETE", "/streams".to_owned(), &["GET", "POST"][..]),
        (
            "PUT",
            format!("/api/v1/streams/{id}"),
            &["GET", "PATCH", "DELETE"],
        ),
        ("POST", format!("/api/v1/streams/{id}/uploads"), &["GET"]),
        ("DELETE", "/certs".to_owned(), &["GET"]),
        ("DELETE", "/certs/cam/keypair".to_owned(), &[]),
        ("POST", "/healthz".to_owned(), &["GET"]),
        ("POST", "/metrics".to_owned(), &["GET"]),
        (
            "PATCH",
            format!("/streams/{id}/a.m4s"),
            &["GET", "PUT", "POST", "DELETE"],
        ),
    ] {
        let answer = client.call(method, &path).await.expect(405);
        let allow = answer.header("allow").to_owned();
        for method in allowed {
            assert!(
                allow.contains(method),
                "{path}: {method} is not in Allow: {allow}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d32_a_long_history_does_not_swell_the_list() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    crowd(&client, id, 0..520).await;
    let stream = client.stream(id).await;
    let valid = stream["valid_uploads"].as_array().expect("a list");
    assert_eq!(valid.len(), 500, "the newest 500");
    assert_eq!(stream["truncated"], true, "{stream:.300}");
    let listed = client.get("/streams").await.expect(200).json();
    assert_eq!(
        listed["streams"][0]["valid_uploads"]
            .as_array()
            .map(Vec::len),
        Some(500)
    );
    assert_eq!(
        client.uploads(id).await.len(),
        520,
        "the records are all there"
    );
}

/// Uploads `v/NNNN.cmfv` for every number, several at a time.
async fn crowd(client: &Client, id: u64, numbers: std::ops::Range<u32>) {
    let mut calls = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let (client, numbers) = (client.clone(), numbers.clone());
        calls.spawn(async move {
            for number in numbers.filter(|n| n % 8 == lane) {
                let path = format!("/streams/{id}/v/{number:05}.m4s");
                client.put(&path, vec![b'x'; 200]).await.expect(202);
            }
        });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn d33_uploads_without_a_session_are_listed() {
    let server = Server::start().await;
    let device = server.device("cam").await;
    let id = server.stream(&device, "cmaf-ingest").await;
    for path in ["a/video.cmfv", "b.txt"] {
        let path = format!("/streams/{id}/{path}");
        device.put(&path, "x").await.expect(202);
    }
    let listed = device.get("/streams").await.expect(200).json();
    let stream = &listed["streams"][0];
    assert_eq!(stream["sessions"], json!([]), "{stream}");
    for (number, path) in ["a/video.cmfv", "b.txt"].into_iter().enumerate() {
        let upload = &stream["valid_uploads"][number];
        assert_eq!(upload["file_path"], path, "{stream}");
        assert_eq!(upload["session_id"], Value::Null, "{stream}");
    }
    assert_eq!(stream["error_uploads"][0]["file_path"], "b.txt", "{stream}");
}

#[tokio::test]
async fn d14_no_file_is_written_again_for_each_upload() {
    let server = Server::start().await;
    let client = server.client(Http::Two, None);
    let id = server.stream(&client, "cmaf-ingest").await;
    crowd(&client, id, 0..600).await;
    let counts = &client.stream(id).await["counts"];
    assert_eq!(counts["uploads"], 600);
    assert_eq!(counts["segments"], 600);
    // What is remembered of them lies in the catalogue alone, beside the objects themselves.
    let names = |dir: &str| -> Vec<String> {
        std::fs::read_dir(server.path(dir))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.into_string().expect("a name"))
            .collect()
    };
    assert_eq!(names("streams"), [id.to_string()]);
    assert!(names("incoming").is_empty());
    let files = names(&format!("streams/{id}"));
    let other = |name: &&String| name.ends_with(".json") || name.ends_with(".crt");
    assert_eq!(files.iter().find(other), None);
}

#[tokio::test]
async fn health_and_metrics_are_there() {
    let server = Server::start().await;
    let client = server.anonymous();
    client.get("/healthz").await.expect(200);
    let id = server.stream(&client, "cmaf-ingest").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), vec![7; 1000])
        .await
        .expect(202);
    let metrics = client.get("/metrics").await.expect(200);
    assert!(
        metrics.header("content-type").contains("text"),
        "{metrics:?}"
    );
    let text = metrics.text();
    for word in ["upload", "bytes", "connection", "refus", "disk"] {
        assert!(text.contains(word), "no metric about {word}:\n{text}");
    }
    assert!(
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .all(|line| {
                line.rsplit(' ')
                    .next()
                    .is_some_and(|value| value.parse::<f64>().is_ok())
            })
    );
}
