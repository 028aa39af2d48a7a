//! What uploads are told about their media.

use serde_json::{Value, json};

use crate::harness::{Client, Ending, Server};
use crate::media::Track;

/// A file of `tests/data/media`.
fn media(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

/// What the newest upload to a path was told: rule, severity, box, byte.
async fn told(client: &Client, stream: u64, path: &str) -> Vec<(String, String, String, i64)> {
    let uploads = client.uploads_to(stream, path).await;
    let findings = uploads.last().unwrap()["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .map(|found| {
            assert!(found["count"].as_u64().unwrap() > 0, "{found}");
            assert!(!text(&found["message"]).is_empty(), "{found}");
            (
                text(&found["rule"]),
                text(&found["severity"]),
                text(&found["box"]),
                found["offset"].as_i64().unwrap_or(-1),
            )
        })
        .collect()
}

fn row(rule: &str, severity: &str, path: &str, at: i64) -> (String, String, String, i64) {
    (rule.to_owned(), severity.to_owned(), path.to_owned(), at)
}

#[tokio::test]
async fn findings_are_in_the_record_with_the_severity_of_the_stream() {
    let server = Server::start().await;
    let camera = server.device("camera").await;
    let muxed = media("tracks/muxed-h264-aac.mp4");
    for (interface, expected) in [
        (
            "cmaf-ingest",
            vec![
                row("one-track", "warning", "moov", 28),
                row("one-traf", "warning", "moof", 1304),
            ],
        ),
        (
            "dash",
            vec![
                row("one-track", "warning", "moov", 28),
                row("one-traf", "warning", "moof", 1304),
            ],
        ),
    ] {
        let stream = server.stream(&camera, interface).await;
        camera
            .put(&format!("/streams/{stream}/a/muxed.mp4"), muxed.clone())
            .await
            .expect(202);
        let told = told(&camera, stream, "a/muxed.mp4").await;
        for line in expected {
            assert!(told.contains(&line), "{interface}: {told:?}");
        }
        assert!(
            told.iter().all(|(_, severity, ..)| severity != "error"),
            "{told:?}"
        );
        let counts = camera.stream(stream).await["counts"].clone();
        let warnings = told
            .iter()
            .filter(|(_, severity, ..)| severity == "warning")
            .count();
        assert_eq!(counts["warnings"], json!(warnings));
        assert_eq!(counts["media_errors"], json!(0));
        let record = camera.uploads_to(stream, "a/muxed.mp4").await.remove(0);
        let of_track = record["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["rule"] == "one-track");
        assert_eq!(of_track.unwrap()["clause"], "ISO/IEC 23000-19:2020 7.3.2.1");
    }
    let figures = server.anonymous().get("/metrics").await.ok().text();
    let count = figures
        .lines()
        .find(|line| line.starts_with("pavs_findings_total{severity=\"warning\"}"));
    let count: u64 = count.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count >= 4, "{figures}");
}

#[tokio::test]
async fn a_segment_is_held_against_its_header_and_the_one_before() {
    let server = Server::start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "dash").await;
    let track = Track::video(640, 360);
    let put = async |camera: &Client, name: &str, body: Vec<u8>| {
        camera
            .put(&format!("/streams/{stream}/v/{name}"), body)
            .await
            .expect(202);
    };
    put(&camera, "1.m4s", track.second(0, 1)).await;
    assert_eq!(
        told(&camera, stream, "v/1.m4s")
            .await
            .first()
            .map(|told| told.0.clone()),
        Some("header-known".to_owned()),
        "no header came before it"
    );
    put(&camera, "init.mp4", track.header()).await;
    put(&camera, "1.m4s", track.second(0, 1)).await;
    put(&camera, "2.m4s", track.second(1, 2)).await;
    let rules = async |camera: &Client, name: &str| -> Vec<String> {
        let told = told(camera, stream, name).await;
        told.into_iter().map(|(rule, ..)| rule).collect()
    };
    let first = rules(&camera, "v/1.m4s").await;
    assert_eq!(rules(&camera, "v/2.m4s").await, first);
    assert!(
        !first
            .iter()
            .any(|rule| rule.starts_with("decode-time") || rule == "header-known"),
        "{first:?}"
    );

    let server = server.restart(Ending::Kill).await;
    let camera = server.device("camera").await;
    put(&camera, "3.m4s", track.second(4, 7)).await;
    let third = rules(&camera, "v/3.m4s").await;
    for rule in ["decode-time-gap", "sequence-gap"] {
        assert!(third.iter().any(|found| found == rule), "{rule}: {third:?}");
    }
}

#[tokio::test]
async fn strict_media_refuses_errors_and_keeps_their_bytes() {
    let server = Server::with().arg("--strict-media").start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "dash").await;
    assert_eq!(camera.stream(stream).await["strict_media"], json!(true));
    let base = format!("/streams/{stream}/session_1/video");
    camera
        .put(
            &format!("{base}/video.init"),
            media("segments/h264/init.mp4"),
        )
        .await
        .expect(202);
    let path = format!("{base}/segment_1002.m4s");
    // It begins in the middle of a group of pictures.
    let bad = media("segments/h264/0002.m4s");
    let problem = camera.put(&path, bad.clone()).await.expect(400).json();
    let errors: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_str().unwrap())
        .collect();
    assert_eq!(
        errors.last().unwrap(),
        &"moof > traf at byte 56: expected a sync sample first, found sample flags 0x01010000 (fragment-sync)"
    );
    camera.get(&path).await.expect(404);
    let record = camera
        .uploads_to(stream, "session_1/video/segment_1002.m4s")
        .await
        .remove(0);
    assert_eq!(
        (&record["status"], &record["content"]),
        (&json!("rejected"), &json!(true))
    );
    let content = format!("/api/v1/streams/{stream}/uploads/{}/content", record["id"]);
    camera.get(&content).await.ok().is(&bad);
    assert_eq!(
        camera.stream(stream).await["counts"]["media_errors"],
        json!(1)
    );

    let good = media("segments/h264/0003.m4s");
    camera
        .put(&format!("{base}/segment_1003.m4s"), good)
        .await
        .expect(202);

    // Who sets the rules may take them back.
    let change = json!({"strict_media": false});
    let url = format!("/api/v1/streams/{stream}");
    camera.patch_json(&url, &change).await.expect(403);
    server.admin().patch_json(&url, &change).await.ok();
    camera.put(&path, bad).await.expect(202);
    assert_eq!(
        camera.stream(stream).await["counts"]["media_errors"],
        json!(2)
    );
}

#[tokio::test]
async fn strict_media_holds_for_tracks() {
    let server = Server::with().arg("--strict-media").start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "cmaf-ingest").await;
    let track = Track::video(640, 360);
    let path = format!("/streams/{stream}/video.cmfv");
    let good = [track.header(), track.second(0, 1)].concat();
    camera.put(&path, good.clone()).await.expect(202);
    // Without its tfdt.
    let mut bad = track.second(1, 2);
    let tfdt = bad.windows(4).position(|four| four == b"tfdt").unwrap();
    bad[tfdt..tfdt + 4].copy_from_slice(b"free");
    let problem = camera.put(&path, bad.clone()).await.expect(400).json();
    assert!(
        problem["errors"][0]
            .as_str()
            .unwrap()
            .ends_with("(tfdt-missing)"),
        "{problem}"
    );
    camera.get(&path).await.ok().is(&good);
    // An endless body is cut where it goes wrong; what came before stays.
    let second = track.second(1, 2);
    let parts = [Ok::<_, std::io::Error>(second.clone()), Ok(bad)];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    camera.put(&path, body).await.expect(400);
    camera.get(&path).await.ok().is(&[good, second].concat());
}

#[tokio::test]
async fn ciphertext_is_not_judged() {
    let server = Server::start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "hls").await;
    let put = async |path: &str, body: &[u8]| {
        camera
            .put(&format!("/streams/{stream}/{path}"), body.to_vec())
            .await
            .expect(202);
    };
    let playlist = |key: &str| {
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{key}#EXTINF:2,\nsegment_1.m4s\n").into_bytes()
    };
    let noise = [0x93u8; 500];
    // A playlist that says so may still come.
    put("early/segment_1.m4s", &noise).await;
    assert_eq!(told(&camera, stream, "early/segment_1.m4s").await, []);
    put(
        "hidden/index.m3u8",
        &playlist("#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n"),
    )
    .await;
    put("hidden/segment_1.m4s", &noise).await;
    assert_eq!(told(&camera, stream, "hidden/segment_1.m4s").await, []);
    put("clear/index.m3u8", &playlist("")).await;
    put("clear/segment_1.m4s", &noise).await;
    assert_eq!(
        told(&camera, stream, "clear/segment_1.m4s").await,
        [row("body-start", "error", "", 0)]
    );
}

#[tokio::test]
async fn an_mpd_says_which_header_a_segment_has_and_how_long_it_lasts() {
    let server = Server::start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "dash").await;
    let put = async |path: &str, body: Vec<u8>| {
        camera
            .put(&format!("/streams/{stream}/{path}"), body)
            .await
            .expect(202);
    };
    let mpd = "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"dynamic\"><Period><AdaptationSet>\
               <SegmentTemplate timescale=\"10\" duration=\"5\" media=\"m/$Number$.m4s\" \
               initialization=\"h/two.mp4\"/><Representation id=\"v\"/></AdaptationSet></Period></MPD>";
    let track = Track::video(640, 360);
    put("index.mpd", mpd.into()).await;
    // By their names these two are as similar to the segment as each other.
    put("h/one.mp4", Track::audio().header()).await;
    put("h/two.mp4", track.header()).await;
    put("m/1.m4s", track.second(0, 1)).await;
    let told = told(&camera, stream, "m/1.m4s").await;
    let rules: Vec<_> = told.iter().map(|told| told.0.as_str()).collect();
    assert!(
        rules.contains(&"segment-duration"),
        "one second, not half of one: {rules:?}"
    );
}

#[tokio::test]
async fn a_segment_lasts_as_long_as_its_request_says() {
    let server = Server::start().await;
    let camera = server.device("camera").await;
    let stream = server.stream(&camera, "hls").await;
    let track = Track::video(640, 360);
    camera
        .put(&format!("/streams/{stream}/v/init.mp4"), track.header())
        .await
        .expect(202);
    for (name, length, wrong) in [("1.m4s", "1.0", false), ("2.m4s", "1.5", true)] {
        let body = track.second(u64::from(wrong), 1);
        let call = camera.put(&format!("/streams/{stream}/v/{name}"), body);
        call.header("X-EXTINF-duration", length).await.expect(202);
        let told = told(&camera, stream, &format!("v/{name}")).await;
        let found = told.iter().any(|(rule, ..)| rule == "segment-duration");
        assert_eq!(found, wrong, "{told:?}");
    }
}
