//! The report on a stream, and manifests probed.

use serde_json::Value;

use crate::harness::{Client, Server};
use crate::media::{Muxed, Track};

const MPD: &str = r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="TYPE"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="video" codecs="avc1.640015" width="320" height="180">
<SegmentTemplate initialization="video/video.init" media="video/segment_$Number$.m4s" startNumber="1001"
 timescale="12800"><SegmentTimeline><S t="0" d="12800" r="2"/></SegmentTimeline></SegmentTemplate>
</Representation></AdaptationSet>
<AdaptationSet mimeType="audio/mp4"><Representation id="audio" codecs="mp4a.40.2" bandwidth="64000">
<SegmentTemplate initialization="audio/audio.init" media="audio/segment_$Number$.m4s"/>
</Representation></AdaptationSet></Period></MPD>"#;

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n\
    #EXT-X-MAP:URI=\"video.init\"\n#EXTINF:1,\nsegment_1001.m4s\n#EXTINF:1,\nsegment_1002.m4s\n";

/// A session with a gap of a second before its third segment.
async fn session(client: &Client, id: u64) {
    let put = async |name: &str, body: Vec<u8>| {
        let path = format!("/streams/{id}/session_1/{name}");
        client.put(&path, body).await.expect(202);
    };
    let track = Track::video(320, 180);
    put("index.mpd", MPD.replace("TYPE", "dynamic").into()).await;
    put("video/video.init", track.header()).await;
    put("video/segment_1001.m4s", track.second(0, 1)).await;
    put("video/segment_1002.m4s", track.second(1, 1)).await;
    put("video/segment_1003.m4s", track.second(3, 1)).await;
    put("index.mpd", MPD.replace("TYPE", "static").into()).await;
}

async fn report(client: &Client, id: u64) -> Value {
    let answer = client.get(&format!("/api/v1/streams/{id}/report")).await;
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[tokio::test]
async fn a_session_is_told_with_its_tracks_and_gaps() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    assert_eq!(report(&client, id).await["sessions"], serde_json::json!([]));
    session(&client, id).await;
    let report = report(&client, id).await;
    let session = &report["sessions"][0];
    assert_eq!(session["name"], "session_1", "{report}");
    let manifest = &session["manifests"][0];
    assert_eq!(
        (&manifest["kind"], &manifest["type"]),
        (&"mpd".into(), &"static".into())
    );
    let track = &session["tracks"][0];
    assert_eq!(track["name"], "video", "{report}");
    assert_eq!(
        (&track["kind"], &track["width"]),
        (&"video".into(), &320.into())
    );
    assert_eq!(
        (&track["objects"], &track["fragments"]),
        (&4.into(), &3.into())
    );
    assert_eq!(track["duration"], 3.0);
    let spans = track["timeline"].as_array().unwrap();
    let [first, second] = &spans[..] else {
        panic!("{report}")
    };
    assert_eq!(
        (&first["start"], &first["end"], &first["gap"]),
        (&0.0.into(), &2.0.into(), &Value::Null)
    );
    assert_eq!(
        (&second["start"], &second["gap"]),
        (&3.0.into(), &1.0.into())
    );
    assert_eq!(second["object"], "session_1/video/segment_1003.m4s");
    let rules: Vec<_> = session["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["rule"].as_str().unwrap())
        .collect();
    assert!(rules.contains(&"decode-time-gap"), "{report}");
    assert!(rules.contains(&"manifest-object"), "no audio: {report}");
    let profiles: Vec<_> = session["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|verdict| verdict["profile"].as_str().unwrap())
        .collect();
    assert_eq!(profiles, ["cmaf", "dash-if-ingest", "matter"]);
}

#[tokio::test]
async fn a_broken_upload_fails_its_profile_until_it_is_corrected() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    session(&client, id).await;
    let passed = async || report(&client, id).await["verdicts"][0]["passed"].clone();
    let track = Track::video(320, 180);
    let path = format!("/streams/{id}/session_1/video/segment_1002.m4s");
    let good = passed().await;
    let mut broken = track.second(1, 1);
    broken.truncate(broken.len() - 10);
    client.put(&path, broken).await.expect(202);
    assert_eq!(passed().await, false);
    client.put(&path, track.second(1, 1)).await.expect(202);
    assert_eq!(passed().await, good, "what was superseded does not count");
    // But it is told, and told apart.
    let report = report(&client, id).await;
    let session = &report["sessions"][0];
    let cut = |groups: &Value| {
        let groups = groups.as_array().unwrap();
        groups
            .iter()
            .find(|group| group["rule"] == "body-cut")
            .cloned()
    };
    assert_eq!(cut(&session["findings"]), None, "{report}");
    let past = cut(&session["past"]).expect("what the camera did wrong");
    assert_eq!(
        (&past["status"], &past["count"]),
        (&"superseded".into(), &1.into())
    );
    assert_eq!(past["first"]["object"], "session_1/video/segment_1002.m4s");
    let text = client.get(&format!("/api/v1/streams/{id}/report?format=text"));
    let text = text.await.expect(200).text();
    assert!(
        text.contains("body-cut (superseded): in session_1/"),
        "{text}"
    );
    let junit = client.get(&format!("/api/v1/streams/{id}/report?format=junit"));
    let junit = junit.await.expect(200).text();
    assert!(junit.contains("superseded: in session_1/"), "{junit}");
}

#[tokio::test]
async fn no_timeline_is_drawn_of_what_is_muxed() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let muxed = Muxed::new();
    let body = [muxed.header(), muxed.second(0, 1), muxed.second(1, 1)].concat();
    let path = format!("/streams/{id}/session_1/muxed.mp4");
    client.put(&path, body).await.expect(202);
    let report = report(&client, id).await;
    let track = &report["sessions"][0]["tracks"][0];
    assert_eq!(track["muxed"], true, "{report}");
    assert_eq!(track["fragments"], 2, "{report}");
    assert_eq!(
        (&track["timeline"], &track["duration"]),
        (&serde_json::json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn the_report_has_three_formats() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    session(&client, id).await;
    let get = async |query: &str| {
        client
            .get(&format!("/api/v1/streams/{id}/report?{query}"))
            .await
    };
    let text = get("format=text&profile=matter").await.expect(200);
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert!(
        text.text()
            .contains("gap of 1.000 s before session_1/video/segment_1003.m4s")
    );
    assert!(text.text().contains("\nmatter: ") && !text.text().contains("\ncmaf: "));
    let junit = get("format=junit").await.expect(200);
    assert_eq!(junit.header("content-type"), "application/xml");
    for suite in [
        "session_1.cmaf",
        "session_1.dash-if-ingest",
        "session_1.matter",
    ] {
        assert!(
            junit
                .text()
                .contains(&format!("<testsuite name=\"{suite}\"")),
            "{suite}"
        );
    }
    for query in ["format=pdf", "profile=mp3"] {
        assert!((400..500).contains(&get(query).await.status), "{query}");
    }
    client
        .get(&format!("/api/v1/streams/{}/report", id + 1))
        .await
        .problem(404);
}

#[tokio::test]
async fn the_report_is_read_by_who_may_read_the_stream() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let owner = server.device("cam-1").await;
    let id = server.stream(&owner, "dash").await;
    let path = format!("/api/v1/streams/{id}/report");
    owner.get(&path).await.expect(200);
    let other = server.device("cam-2").await;
    other.get(&path).await.problem(403);
    server.admin().get(&path).await.expect(200);
}

#[tokio::test]
async fn a_manifest_is_probed_as_its_tracks() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    session(&client, id).await;
    let playlist = format!("/streams/{id}/session_1/video/index.m3u8");
    client.put(&playlist, PLAYLIST).await.expect(202);
    let probe = async |name: &str| {
        let path = format!("/probe/{id}/session_1/{name}");
        client.get(&path).await.expect(200).json()
    };
    let dash = probe("index.mpd").await;
    assert_eq!(dash["format"]["format_name"], "dash", "{dash}");
    assert_eq!(dash["format"]["nb_streams"], 2);
    assert_eq!(dash["format"]["duration"], "3.000000");
    let video = &dash["streams"][0];
    assert_eq!(
        (&video["codec_name"], &video["nb_frames"]),
        (&"h264".into(), &"3".into())
    );
    // Its objects never came: what the manifest says.
    let audio = &dash["streams"][1];
    assert_eq!(
        (&audio["index"], &audio["codec_type"]),
        (&1.into(), &"audio".into())
    );
    assert_eq!(
        (&audio["codecs"], &audio["bit_rate"]),
        (&"mp4a.40.2".into(), &"64000".into())
    );
    let hls = probe("video/index.m3u8").await;
    assert_eq!(hls["format"]["format_name"], "hls", "{hls}");
    assert_eq!(hls["streams"][0]["nb_frames"], "2", "{hls}");
    let broken = format!("/streams/{id}/broken.mpd");
    client.put(&broken, "<MPD>\n<Period>").await.expect(202);
    let problem = client
        .get(&format!("/probe/{id}/broken.mpd"))
        .await
        .problem(422);
    assert!(problem.contains("line 2"), "{problem}");
}
