//! What the page is drawn from: streams at a glance, timelines, boxes, the server's status; and the pages
//! themselves as a client without a browser sees them.

use serde_json::{Value, json};

use crate::harness::{Ending, Server};
use crate::media::Track;

/// A header and three seconds.
fn track() -> Vec<u8> {
    let track = Track::video(320, 180);
    let seconds = (0..3).map(|second| track.second(second, 7));
    std::iter::once(track.header())
        .chain(seconds)
        .flatten()
        .collect()
}

#[tokio::test]
async fn a_name_stands_for_the_id_everywhere() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let (id, other) = (
        server.stream(&client, "dash").await,
        server.stream(&client, "dash").await,
    );
    let settings = format!("/api/v1/streams/{id}");
    let named = json!({"name": "front-door", "tags": ["lab", "lab", " outdoor "]});
    let stream = client.patch_json(&settings, &named).await.expect(200);
    assert_eq!(stream.json()["name"], "front-door");
    assert_eq!(stream.json()["tags"], json!(["lab", "outdoor"]));
    client
        .put("/streams/front-door/a.bin", "x")
        .await
        .expect(202);
    let server = server.restart(Ending::Kill).await;
    let client = server.anonymous();
    for path in [
        "/streams/front-door",
        "/streams/front-door/stream.json",
        "/api/v1/streams/front-door",
    ] {
        assert_eq!(
            client.get(path).await.expect(200).json()["id"],
            id,
            "{path}"
        );
    }
    client.get("/streams/front-door/a.bin").await.expect(200);
    client
        .get("/api/v1/streams/front-door/uploads")
        .await
        .expect(200);
    let taken = format!("/api/v1/streams/{other}");
    client
        .patch_json(&taken, &json!({"name": "front-door"}))
        .await
        .expect(409);
    for bad in ["12", "a b", "", "../x", "probe"] {
        let answer = client.patch_json(&taken, &json!({ "name": bad }));
        answer.await.expect(422);
    }
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let answer = client.patch_json(&taken, &json!({ "tags": many }));
    answer.await.expect(422);
    // Given back, it is free.
    client
        .patch_json(&settings, &json!({"name": null}))
        .await
        .expect(200);
    client.get("/streams/front-door").await.expect(422);
    client
        .patch_json(&taken, &json!({"name": "front-door"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn streams_at_a_glance_are_searched_and_paged() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let first = server.stream(&client, "cmaf-ingest").await;
    let track = track();
    let target = format!("/streams/{first}/video.cmfv");
    client.put(&target, track).await.expect(202);
    let others = server.anonymous();
    for _ in 0..3 {
        server.stream(&others, "hls").await;
    }
    let page = others.get("/api/v1/streams?limit=3").await.expect(200);
    let page = page.json();
    let ids = |page: &Value| -> Vec<u64> {
        let streams = page["streams"].as_array().expect("a list");
        streams.iter().filter_map(|s| s["id"].as_u64()).collect()
    };
    assert_eq!(page["found"], 4);
    assert_eq!(ids(&page), [first + 3, first + 2, first + 1]);
    let rest = format!("/api/v1/streams?before={}", page["next"]);
    let rest = others.get(&rest).await.expect(200).json();
    assert_eq!((ids(&rest), &rest["next"]), (vec![first], &Value::Null));
    let stream = &rest["streams"][0];
    assert_eq!(stream["state"], "live");
    assert_eq!(stream["owner"], "cam-1");
    assert!(
        stream["codecs"][0]
            .as_str()
            .is_some_and(|codec| codec.starts_with("avc1.")),
        "{stream}"
    );
    let sum: u64 = stream["activity"]["uploads"]
        .as_array()
        .expect("slots")
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(sum, 1, "{stream}");
    let found = others.get("/api/v1/streams?q=CAM-1%20cmaf").await;
    assert_eq!(ids(&found.expect(200).json()), [first]);
    // A device sees its own.
    let own = client.get("/api/v1/streams").await.expect(200).json();
    assert_eq!(ids(&own), [first]);
    others.get("/api/v1/streams?limit=0").await.expect(422);
    others.get("/api/v1/streams?limit=201").await.expect(422);
}

#[tokio::test]
async fn a_timeline_has_the_fragments_of_each_track() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let id = server.stream(&client, "cmaf-ingest").await;
    let target = format!("/streams/{id}/video.cmfv");
    let track = track();
    let size = track.len() as u64;
    client.put(&target, track).await.expect(202);
    let timeline = client.get(&format!("/api/v1/streams/{id}/timeline"));
    let timeline = timeline.await.expect(200).json();
    let track = &timeline["tracks"][0];
    assert_eq!(track["name"], "video.cmfv");
    assert_eq!(track["header"]["kind"], "video");
    assert_eq!(
        (track["gaps"].clone(), track["cut"].clone()),
        (json!([]), json!(false))
    );
    let bars = track["bars"].as_array().expect("bars");
    assert!(!bars.is_empty() && bars[0]["sync"] == true, "{track}");
    let end = bars
        .last()
        .map(|bar| bar["offset"].as_u64().unwrap_or(0) + bar["size"].as_u64().unwrap_or(0));
    assert!(end.is_some_and(|end| end <= size), "{track}");
    assert!(
        bars.iter().all(|bar| bar["status"] == "accepted"),
        "{track}"
    );
}

#[tokio::test]
async fn boxes_come_with_their_fields_in_pages() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let id = server.stream(&client, "cmaf-ingest").await;
    let track = track();
    let size = track.len();
    client
        .put(&format!("/streams/{id}/a/b c.cmfv"), track)
        .await
        .expect(202);
    let target = format!("/api/v1/streams/{id}/boxes/a/b%20c.cmfv");
    let boxes = client.get(&format!("{target}?limit=2"));
    let boxes = boxes.await.expect(200).json();
    assert_eq!(boxes["size"], size);
    assert_eq!(boxes["boxes"][0]["kind"], "ftyp");
    assert_eq!(boxes["boxes"][0]["fields"][0][0], "major_brand");
    let next = format!("{target}?from={}", boxes["next"]);
    let rest = client.get(&next).await.expect(200).json();
    assert_eq!(rest["boxes"][0]["offset"], boxes["next"]);
    assert_eq!(rest["next"], Value::Null);
    client.get(&format!("{target}?limit=0")).await.expect(422);
    let missing = format!("/api/v1/streams/{id}/boxes/none");
    client.get(&missing).await.expect(404);
    server.device("cam-2").await.get(&target).await.expect(403);
}

#[tokio::test]
async fn uploads_are_listed_newest_first_and_by_path() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let id = server.stream(&client, "dash").await;
    for path in ["a", "b", "a", "c"] {
        let target = format!("/streams/{id}/{path}");
        client.put(&target, "x").await.expect(202);
    }
    let paths = async |query: &str| {
        let page = client.get(&format!("/api/v1/streams/{id}/uploads?{query}"));
        let page = page.await.expect(200).json();
        let uploads = page["uploads"].as_array().expect("a list").clone();
        let paths: Vec<String> = uploads
            .iter()
            .filter_map(|upload| upload["path"].as_str().map(str::to_owned))
            .collect();
        (paths.join(""), page["next"].clone())
    };
    assert_eq!(paths("").await.0, "abac");
    let (newest, next) = paths("before=9999999&limit=3").await;
    assert_eq!(newest, "cab");
    assert_eq!(paths(&format!("before={next}")).await.0, "a");
    assert_eq!(paths("path=a").await.0, "aa");
    let both = format!("/api/v1/streams/{id}/uploads?after=1&before=2");
    client.get(&both).await.expect(422);
}

#[tokio::test]
async fn status_is_for_those_who_see_metrics() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    server.anonymous().get("/api/v1/status").await.expect(401);
    server
        .device("cam-1")
        .await
        .get("/api/v1/status")
        .await
        .expect(403);
    let status = server
        .admin()
        .get("/api/v1/status")
        .await
        .expect(200)
        .json();
    assert_eq!(status["access"], "closed");
    assert!(status["disk"]["free"].as_u64() > Some(0), "{status}");
    assert!(status["catalogue_bytes"].as_u64() > Some(0), "{status}");
    assert_eq!(status["warnings"], json!([]));
}

#[tokio::test]
async fn pages_are_html_that_runs_nothing_of_its_own() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a%3Cb%3E.m4s"), "x")
        .await
        .expect(202);
    for path in [
        "/ui/streams".to_owned(),
        "/ui/streams?q=%3Cscript%3E".to_owned(),
        format!("/ui/streams/{id}"),
        format!("/ui/streams/{id}/a%3Cb%3E.m4s"),
        "/ui/certificates".to_owned(),
        "/ui/status".to_owned(),
        "/ui/login".to_owned(),
    ] {
        let answer = client.get(&path).await.expect(200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let text = answer.text();
        assert!(
            !text.contains("<b>") && !text.contains("<script>"),
            "{path}"
        );
        assert!(
            !text.contains("src=\"/") && !text.contains("href=\"/"),
            "{path}"
        );
        assert!(
            !text.contains("http://") && !text.contains(" style="),
            "{path}"
        );
    }
    for file in [
        "style.css",
        "page.js",
        "player.js",
        "shaka-player.js",
        "icon.svg",
    ] {
        let answer = client.get(&format!("/ui/assets/{file}")).await.expect(200);
        let etag = answer.header("etag").to_owned();
        let again = client.get(&format!("/ui/assets/{file}"));
        again.header("if-none-match", &etag).await.expect(304);
    }
    client.get("/ui/assets/none").await.expect(404);
}

#[tokio::test]
async fn the_description_names_routes_that_are_there() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let description = client.get("/openapi.json").await.expect(200).json();
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.len() > 30, "{description}");
    for (path, item) in paths {
        let methods = item.as_object().expect("an item").keys();
        for method in methods.filter(|key| *key != "parameters") {
            if path == "/api/v1/events" {
                continue; // never ends; has its own tests
            }
            let target = path.replace("{id}", &id.to_string());
            let target: String = target
                .split(['{', '}'])
                .enumerate()
                .map(|(place, part)| if place % 2 == 0 { part } else { "x" })
                .collect();
            let answer = client.call(&method.to_uppercase(), &target).await;
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(answer.status < 500, "{answer:?}");
            if answer.status == 404 {
                let nothing = "there is nothing at this address";
                assert_ne!(answer.json()["detail"], nothing, "{method} {path}");
            }
        }
    }
}
