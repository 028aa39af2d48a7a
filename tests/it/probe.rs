//! Probing: what is in an object, in the shape ffprobe gives.

use serde_json::Value;

use crate::harness::{Client, Server, eventually};
use crate::media::Track;

async fn stage() -> (Server, Client, u64) {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

async fn probe(client: &Client, id: u64, path: &str) -> Value {
    let one = client
        .get(&format!("/probe/{id}/{path}"))
        .await
        .expect(200)
        .json();
    let two = client
        .get(&format!("/streams/probe/{id}/{path}"))
        .await
        .expect(200)
        .json();
    assert_eq!(one, two, "both addresses give the same");
    assert!(one["format"].is_object(), "{one}");
    one
}

#[track_caller]
fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{text:?} is no number")),
        value => value
            .as_f64()
            .unwrap_or_else(|| panic!("{value} is no number")),
    }
}

/// The frames of a stream, under any of the names ffprobe has for them.
fn frames(stream: &Value) -> f64 {
    let named = ["nb_frames", "nb_read_frames", "nb_read_packets"];
    number(
        named
            .iter()
            .map(|name| &stream[*name])
            .find(|value| !value.is_null())
            .expect("a frame count"),
    )
}

fn check_video(stream: &Value) {
    assert_eq!(stream["codec_type"], "video", "{stream}");
    assert_eq!(stream["codec_name"], "h264");
    assert_eq!(stream["profile"], "High");
    assert_eq!(number(&stream["level"]), 30.0);
    assert_eq!(
        (number(&stream["width"]), number(&stream["height"])),
        (320.0, 180.0)
    );
    assert_eq!(stream["time_base"], "1/12800");
}

#[tokio::test]
async fn d29_a_header_is_probed() {
    let (_server, client, id) = stage().await;
    for name in ["video/video.init", "a.cmfv", "b.mp4", "Streams(c.cmfv)"] {
        client
            .put(
                &format!("/streams/{id}/{name}"),
                Track::video(320, 180).header(),
            )
            .await
            .expect(202);
        let report = probe(&client, id, name).await;
        assert_eq!(
            report["streams"].as_array().map(Vec::len),
            Some(1),
            "{report}"
        );
        check_video(&report["streams"][0]);
    }
}

#[tokio::test]
async fn audio_is_probed() {
    let (_server, client, id) = stage().await;
    let track = Track::audio();
    let body = [track.header(), track.second(0, 1), track.second(1, 1)].concat();
    client
        .put(&format!("/streams/{id}/a.cmfa"), body)
        .await
        .expect(202);
    let stream = &probe(&client, id, "a.cmfa").await["streams"][0];
    assert_eq!(stream["codec_type"], "audio", "{stream}");
    assert_eq!(stream["codec_name"], "aac");
    assert_eq!(stream["profile"], "LC");
    assert_eq!(number(&stream["sample_rate"]), 48_000.0);
    assert_eq!(number(&stream["channels"]), 2.0);
    assert_eq!(number(&stream["duration"]).round(), 2.0);
}

#[tokio::test]
async fn a_whole_file_is_probed() {
    let (_server, client, id) = stage().await;
    let track = Track::video(320, 180);
    let body = [
        track.header(),
        track.fragment(1, 0, 12_800, 25, &[7; 2500]),
        track.fragment(2, 12_800, 12_800, 25, &[7; 2500]),
        track.fragment(3, 25_600, 12_800, 25, &[7; 2500]),
    ]
    .concat();
    client
        .put(&format!("/streams/{id}/a.mp4"), body.clone())
        .await
        .expect(202);
    let report = probe(&client, id, "a.mp4").await;
    let stream = &report["streams"][0];
    check_video(stream);
    assert!(
        (number(&stream["duration"]) - 3.0).abs() < 0.001,
        "{stream}"
    );
    assert!(
        (number(&report["format"]["duration"]) - 3.0).abs() < 0.001,
        "{report}"
    );
    assert_eq!(frames(stream), 75.0);
    assert_eq!(number(&report["format"]["size"]), body.len() as f64);
}

#[tokio::test]
async fn d29_a_media_segment_is_probed_with_its_header() {
    let (_server, client, id) = stage().await;
    let track = Track::video(320, 180);
    let segment = track.fragment(1, 128_000, 25_600, 50, &[7; 5000]);
    client
        .put(
            &format!("/streams/{id}/session_1/video/video.init"),
            track.header(),
        )
        .await
        .expect(202);
    let name = "session_1/video/segment_1001.m4s";
    client
        .put(&format!("/streams/{id}/{name}"), segment)
        .await
        .expect(202);
    let stream = &probe(&client, id, name).await["streams"][0];
    check_video(stream);
    assert!(
        (number(&stream["duration"]) - 2.0).abs() < 0.001,
        "{stream}"
    );
    assert_eq!(frames(stream), 50.0);
}

#[tokio::test]
async fn a_growing_object_is_probed() {
    let (server, client, id) = stage().await;
    let track = Track::video(320, 180);
    for name in ["live.mp4", "Streams(live.cmfv)"] {
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &format!("/streams/{id}/{name}")).await;
        raw.chunk(&[track.header(), track.second(0, 1)].concat())
            .await;
        for seconds in 1..4u32 {
            let report = eventually(&format!("{name} has {seconds} s"), async || {
                let answer = client.get(&format!("/probe/{id}/{name}")).await;
                (answer.status == 200)
                    .then(|| answer.json())
                    .filter(|report| {
                        (number(&report["streams"][0]["duration"]) - f64::from(seconds)).abs()
                            < 0.001
                    })
            })
            .await;
            check_video(&report["streams"][0]);
            raw.chunk(&track.second(u64::from(seconds), 1)).await;
        }
        raw.cut();
    }
}

#[tokio::test]
async fn d29_what_cannot_be_probed_is_said() {
    let (_server, client, id) = stage().await;
    let track = Track::video(320, 180);
    for (name, body) in [
        ("text.m4s", b"hello, this is no media".to_vec()),
        ("zeros.mp4", vec![0; 4096]),
        ("lone.m4s", track.second(0, 1)),
        ("half.mp4", track.header()[..200].to_vec()),
        ("a.mpd", b"<MPD/>".to_vec()),
    ] {
        client
            .put(&format!("/streams/{id}/{name}"), body)
            .await
            .expect(202);
        for path in [
            format!("/probe/{id}/{name}"),
            format!("/streams/probe/{id}/{name}"),
        ] {
            let answer = client.get(&path).await;
            assert!(answer.status < 500, "{answer:?}");
        }
    }
    let text = client.get(&format!("/probe/{id}/text.m4s")).await;
    assert!((400..500).contains(&text.status), "{text:?}");
    client
        .get(&format!("/probe/{id}/none.m4s"))
        .await
        .problem(404);
    client
        .get(&format!("/probe/{}/none.m4s", id + 1))
        .await
        .problem(404);
}

#[tokio::test]
async fn claims_of_huge_boxes_do_no_harm() {
    let (_server, client, id) = stage().await;
    let header = Track::video(320, 180).header();
    for at in 0..header.len().min(700) / 4 {
        let mut evil = header.clone();
        evil[at * 4..at * 4 + 4].copy_from_slice(&[0xff; 4]);
        let target = format!("/streams/{id}/evil.mp4");
        client.put(&target, evil).await.expect(202);
        let answer = client.get(&format!("/probe/{id}/evil.mp4")).await;
        assert!(answer.status < 500, "{answer:?}");
    }
}
