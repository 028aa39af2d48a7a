//! Strict mode: names, order, sessions, and the bytes of what is rejected or replaced.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Ending, Http, Identity, Server, eventually};
use crate::media::{mfra, payload};
use crate::track::{held, video, whole};

const DYNAMIC: &str = r#"<?xml version="1.0"?><MPD type="dynamic"><Period/></MPD>"#;
const STATIC: &str = r#"<?xml version="1.0"?><MPD type="static"><Period/></MPD>"#;
const MPD: &str = "session_1/index.mpd";
const INIT: &str = "session_1/v/v.init";
const SEGMENT: &str = "session_1/v/segment_1001.m4s";
const NONE: [&str; 0] = [];

/// A server in strict mode, a camera with its certificate, and a stream of its own.
struct Camera {
    server: Server,
    identity: Identity,
    device: Client,
    id: u64,
}

impl Camera {
    async fn with(interface: &str, arguments: &[&str]) -> Self {
        let server = Server::with()
            .arg("--strict-mode")
            .args(arguments.iter().copied())
            .start()
            .await;
        let identity = server.identity("cam").await;
        let device = server.client(Http::Any, Some(&identity));
        let id = server.stream(&device, interface).await;
        Self {
            server,
            identity,
            device,
            id,
        }
    }

    async fn on(interface: &str) -> Self {
        Self::with(interface, &[]).await
    }

    fn target(&self, path: &str) -> String {
        format!("/streams/{}/{path}", self.id)
    }

    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.device.put(&self.target(path), body).await
    }

    /// Uploads what fits in.
    async fn ok(&self, path: &str, body: &str) {
        self.put(path, body.to_owned()).await.expect(202);
    }

    /// Uploads what does not; the errors.
    async fn rejected(&self, path: &str, body: &str) -> Vec<String> {
        errors(&self.put(path, body.to_owned()).await)
    }

    async fn stream(&self) -> Value {
        self.device.stream(self.id).await
    }

    async fn session(&self, number: usize) -> Value {
        self.stream().await["sessions"][number].clone()
    }

    async fn content(&self, upload: &Value) -> Answer {
        let (id, upload) = (self.id, &upload["id"]);
        self.device
            .get(&format!("/api/v1/streams/{id}/uploads/{upload}/content"))
            .await
    }

    async fn newest(&self, path: &str) -> Value {
        let all = self.device.uploads_to(self.id, path).await;
        all.last().expect("a record").clone()
    }

    /// The paths of one of the stream's lists.
    async fn listed(&self, list: &str) -> Vec<String> {
        let stream = self.stream().await;
        let entries = stream[list].as_array().expect("a list");
        let path = |entry: &Value| entry["file_path"].as_str().expect("a path").to_owned();
        entries.iter().map(path).collect()
    }

    /// A session up to its first segment.
    async fn begin(&self) {
        self.ok(MPD, DYNAMIC).await;
        self.ok(INIT, "init").await;
        self.ok(SEGMENT, "segment").await;
    }

    async fn restarted(self, how: Ending) -> Self {
        let server = self.server.restart(how).await;
        Self {
            device: server.client(Http::Any, Some(&self.identity)),
            server,
            ..self
        }
    }
}

/// What a rejected upload is told.
#[track_caller]
fn errors(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 400, "{answer:?}");
    let problem = answer.json();
    let errors: Vec<String> =
        serde_json::from_value(problem["errors"].clone()).expect("a list of sentences");
    assert_eq!(problem["detail"], errors.join("; "), "{answer:?}");
    errors
}

#[tokio::test]
async fn a_camera_records_reboots_and_is_switched_off() {
    let camera = Camera::on("dash").await;
    camera.begin().await;
    let session = camera.session(0).await;
    assert_eq!(session["id"], 1);
    assert_eq!(
        (&session["run"], &session["complete"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(session["state"], "open");
    assert_eq!(
        session["tracks"]["v"],
        json!({"name": "v", "state": "segments_uploading", "segment_count": 1})
    );
    assert_eq!(
        session["uploaded_segments"],
        json!([
            [INIT, format!("{INIT}.crt")],
            [SEGMENT, format!("{SEGMENT}.crt")]
        ])
    );
    assert_eq!(
        session["uploaded_manifests"],
        json!([[MPD, format!("{MPD}.crt")]])
    );
    assert_eq!(session["hls_expected_track_count"], Value::Null);
    assert_eq!(session["hls_completed_tracks"], 0);
    camera.ok(MPD, STATIC).await;
    camera.ok(MPD, STATIC).await; // the camera application sends it once more at its end
    let session = camera.session(0).await;
    assert_eq!(
        (&session["complete"], &session["state"]),
        (&json!(true), &json!("complete"))
    );
    assert_eq!(session["tracks"]["v"]["state"], "completed");

    // It is started again and counts from 1 again.
    camera.ok(MPD, DYNAMIC).await;
    let told = camera.rejected(SEGMENT, "new segment").await;
    assert_eq!(
        told,
        ["Media segment for track 'v' uploaded before init segment"]
    );
    camera.ok(INIT, "new init").await;
    camera.ok(SEGMENT, "new segment").await;
    let stream = camera.stream().await;
    let runs: Vec<_> = stream["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|s| (s["id"].clone(), s["run"].clone(), s["complete"].clone()))
        .collect();
    assert_eq!(
        runs,
        [
            (json!(1), json!(1), json!(true)),
            (json!(1), json!(2), json!(false))
        ]
    );
    let valid = stream["valid_uploads"].as_array().expect("a list");
    assert!(valid.iter().all(|v| v["session_id"] == 1), "{valid:?}");
    assert_eq!(camera.listed("error_uploads").await, NONE);

    // What it replaced is kept.
    let first = &camera.device.uploads_to(camera.id, INIT).await[0];
    assert_eq!(
        (&first["status"], &first["content"]),
        (&json!("superseded"), &json!(true))
    );
    camera.content(first).await.expect(200).is(b"init");
    let second = camera.newest(INIT).await;
    assert_eq!(
        (&second["status"], &second["run"]),
        (&json!("accepted"), &json!(2))
    );
    camera.content(&second).await.expect(200).is(b"new init");
}

#[tokio::test]
async fn d01_d21_a_session_of_hls_can_pass() {
    let camera = Camera::on("hls").await;
    let variants = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv/index.m3u8\n\
                    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"a/index.m3u8\"\n";
    let initial = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"v.init\"\n";
    let ended = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n\
                 #EXT-X-MAP:URI=\"v.init\"\n#EXTINF:4.004,\nsegment_1.m4s\n#EXT-X-ENDLIST\n";
    camera.ok("session_1/index.m3u8", variants).await;
    for (n, track) in ["v", "a"].into_iter().enumerate() {
        let playlist = format!("session_1/{track}/index.m3u8");
        let segment = format!("session_1/{track}/segment_1.m4s");
        camera.ok(&playlist, initial).await;
        camera
            .ok(&format!("session_1/{track}/{track}.init"), "i")
            .await;
        let told = camera.rejected(&segment, "s").await;
        assert_eq!(
            told,
            ["HLS media segments must include X-EXTINF-duration header"]
        );
        assert!(
            camera
                .newest(&segment)
                .await
                .get("extinf_duration")
                .is_none()
        );
        for (value, told) in [
            (
                "abc",
                "must be a valid decimal floating-point value, got: abc",
            ),
            ("0", "must be greater than 0, got: 0"),
        ] {
            let answer = camera
                .device
                .put(&camera.target(&segment), "s")
                .header("X-EXTINF-duration", value)
                .await;
            assert_eq!(
                errors(&answer),
                [format!("X-EXTINF-duration header {told}")]
            );
        }
        for http in [Http::One, Http::Two] {
            let client = camera.server.client(http, Some(&camera.identity));
            let put = client.put(&camera.target(&segment), "s");
            put.header("X-EXTINF-duration", "4.004").await.expect(202);
        }
        let record = camera.newest(&segment).await;
        assert_eq!(record["extinf_duration"], "4.004");
        camera.ok(&playlist, ended).await;
        camera.ok(&playlist, ended).await; // again: it is one track all the same
        let session = camera.session(0).await;
        assert_eq!(session["hls_expected_track_count"], 2);
        assert_eq!(session["hls_completed_tracks"], n + 1);
        assert_eq!(session["complete"], n == 1);
    }
    assert_eq!(camera.listed("error_uploads").await, NONE);
}

#[tokio::test]
async fn d11_a_manifest_that_cannot_be_read_creates_nothing() {
    let camera = Camera::on("dash").await;
    for body in [
        "",
        "<MPD",
        "<MPD type=\"dynamic\">",
        "no xml",
        "<a/>",
        "<MPD>&x;</MPD>",
    ] {
        let told = camera.rejected(MPD, body).await;
        assert_eq!(told.len(), 1, "{body:?}: {told:?}");
        assert!(
            told[0].starts_with("DASH manifest cannot be read: line 1"),
            "{body:?}: {told:?}"
        );
        assert_eq!(
            camera.newest(MPD).await["rules"],
            json!(["matter-mpd-malformed"])
        );
    }
    assert_eq!(camera.stream().await["sessions"], json!([]));
    let told = camera.rejected(INIT, "init").await;
    assert_eq!(
        told,
        ["No active session when uploading session_1/v/v.init, segment uploaded before mpd"]
    );
    let stream = camera.stream().await;
    assert_eq!(stream["error_uploads"][0]["session_id"], Value::Null);
}

#[tokio::test]
async fn d16_a_slow_upload_is_judged_when_it_is_whole() {
    let camera = Camera::on("dash").await;
    camera.begin().await;
    let mut slow = camera.server.h1(Some(&camera.identity)).await;
    let late = camera.target("session_1/v/segment_1002.m4s");
    slow.head(
        "PUT",
        &late,
        &[("Content-Length", "4"), ("Expect", "100-continue")],
    )
    .await;
    assert_eq!(slow.answer_head().await.expect("an answer").status, 100);
    slow.send(b"la").await;
    camera.ok(MPD, STATIC).await;
    slow.send(b"te").await;
    let told = errors(&slow.answer("PUT").await);
    assert_eq!(
        told,
        [
            "No active session when uploading session_1/v/segment_1002.m4s, segment uploaded before mpd"
        ]
    );
    let session = camera.session(0).await;
    assert_eq!(session["tracks"]["v"]["state"], "completed");
    assert_eq!(session["tracks"]["v"]["segment_count"], 1);
}

#[tokio::test]
async fn d17_what_is_rejected_replaces_nothing_and_is_kept() {
    let camera = Camera::on("dash").await;
    camera.begin().await;
    for _ in 0..2 {
        // As wrong the second time as the first.
        let told = camera.rejected("session_1/a/segment_1.m4s", "early").await;
        assert_eq!(
            told,
            ["Media segment for track 'a' uploaded before init segment"]
        );
        let told = camera.rejected(INIT, "another init").await;
        assert_eq!(
            told,
            ["Init segment for track 'v' must be uploaded before any segments"]
        );
    }
    let target = camera.target(INIT);
    camera.device.get(&target).await.expect(200).is(b"init");
    let stored = camera
        .device
        .get(&camera.target("session_1/a/segment_1.m4s"));
    stored.await.problem(404);
    assert_eq!(camera.listed("valid_uploads").await, [MPD, INIT, SEGMENT]);
    assert_eq!(
        camera.listed("error_uploads").await,
        ["session_1/a/segment_1.m4s", INIT]
    );
    assert_eq!(camera.session(0).await["tracks"]["v"]["segment_count"], 1);

    let record = camera.newest(INIT).await;
    assert_eq!(
        (&record["status"], &record["http_status"]),
        (&json!("rejected"), &json!(400))
    );
    assert_eq!(
        (&record["content"], &record["size"]),
        (&json!(true), &json!(12))
    );
    assert_eq!(record["rules"], json!(["matter-init-late"]));
    assert_eq!(record["session_id"], 1);
    let answer = camera.content(&record).await.expect(200);
    answer.is(b"another init");
    assert_eq!(answer.header("content-type"), "video/mp4");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let id = camera.id;
    let content = format!("/api/v1/streams/{id}/uploads/{}/content", record["id"]);
    let part = camera.device.get(&content).header("Range", "bytes=8-");
    part.await.expect(206).is(b"init");
    assert_eq!(
        camera
            .device
            .head(&content)
            .await
            .expect(200)
            .header("content-length"),
        "12"
    );
    camera
        .server
        .device("other")
        .await
        .get(&content)
        .await
        .problem(403);
    for missing in ["9999", "x", "0"] {
        let path = format!("/api/v1/streams/{id}/uploads/{missing}/content");
        camera.device.get(&path).await.problem(404);
    }
}

#[tokio::test]
async fn d18_an_error_is_over_when_it_is_put_right() {
    let camera = Camera::on("dash").await;
    camera.rejected(INIT, "init").await;
    assert_eq!(camera.listed("error_uploads").await, [INIT]);
    camera.begin().await;
    assert_eq!(camera.listed("error_uploads").await, NONE);
    assert_eq!(camera.listed("valid_uploads").await, [MPD, INIT, SEGMENT]);
    let records = camera.device.uploads_to(camera.id, INIT).await;
    let history: Vec<_> = records
        .iter()
        .map(|r| r["status"].as_str().unwrap_or(""))
        .collect();
    assert_eq!(history, ["rejected", "accepted"]);
    // A manifest that is refreshed too late stays what players find.
    let told = camera.rejected(MPD, DYNAMIC).await;
    assert_eq!(
        told,
        ["Dynamic MPD cannot be uploaded after segments have been uploaded"]
    );
    assert_eq!(camera.listed("error_uploads").await, [MPD]);
    assert!(
        camera
            .listed("valid_uploads")
            .await
            .contains(&MPD.to_owned())
    );
    camera.ok(MPD, STATIC).await;
    assert_eq!(camera.listed("error_uploads").await, NONE);
    assert!(
        camera
            .listed("valid_uploads")
            .await
            .contains(&MPD.to_owned())
    );
}

#[tokio::test]
async fn d19_the_number_in_the_path_is_the_session() {
    let camera = Camera::on("dash").await;
    let told = camera.rejected(MPD, STATIC).await;
    assert_eq!(
        told,
        ["Static MPD cannot be uploaded before segments have been uploaded"]
    );
    assert_eq!(camera.stream().await["sessions"], json!([]));
    camera.ok("session_7/index.mpd", DYNAMIC).await;
    let told = camera.rejected(INIT, "init").await;
    assert_eq!(
        told,
        ["No active session when uploading session_1/v/v.init, segment uploaded before mpd"]
    );
    let last = "session_18446744073709551615";
    camera.ok(&format!("{last}/index.mpd"), DYNAMIC).await;
    camera.ok("session_7/v/v.init", "init").await;
    camera.ok(&format!("{last}/v/v.init"), "init").await;
    let stream = camera.stream().await;
    let open: Vec<_> = stream["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|s| s["id"].as_u64())
        .collect();
    assert_eq!(open, [Some(7), Some(u64::MAX)], "both are open");
    let record = camera.newest(&format!("{last}/v/v.init")).await;
    assert_eq!(record["session_id"].as_u64(), Some(u64::MAX));
}

#[tokio::test]
async fn d20_manifests_belong_to_their_interface() {
    for (interface, path) in [
        ("dash", "session_1/index.m3u8"),
        ("dash", "session_1/v/index.m3u8"),
        ("hls", MPD),
        ("cmaf-ingest", MPD),
        ("cmaf-ingest", "session_1/index.m3u8"),
    ] {
        let camera = Camera::on(interface).await;
        let told = camera
            .rejected(path, "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO\n")
            .await;
        assert_eq!(
            told,
            ["Unsupported manifest object extension"],
            "{interface} {path}"
        );
        assert_eq!(camera.stream().await["sessions"], json!([]));
    }
}

#[tokio::test]
async fn d34_names_are_looked_at_whole_after_the_body() {
    let camera = Camera::on("dash").await;
    camera.begin().await;
    let mut raw = camera.server.h1(Some(&camera.identity)).await;
    for (path, sentence) in [
        (
            "session_1/v/segment_%D9%A1.m4s",
            "Path does not adhere to Matter's path format",
        ),
        (
            "session_1/v/x/v.init",
            "Path does not adhere to Matter's path format",
        ),
        (
            "session_1/v/segment_1.M4S",
            "Invalid extension: M4S, valid extensions are mpd, m3u8, m4s, init",
        ),
        (
            "video.cmfv",
            "Invalid extension: cmfv, valid extensions are mpd, m3u8, m4s, init",
        ),
    ] {
        let fields = [("Expect", "100-continue"), ("Content-Length", "5")];
        raw.head("PUT", &camera.target(path), &fields).await;
        let go_on = raw.answer_head().await.expect("an answer");
        assert_eq!(go_on.status, 100, "the camera has no other copy: {path}");
        raw.send(b"bytes").await;
        assert_eq!(errors(&raw.answer("PUT").await), [sentence], "{path}");
        let records = camera.device.uploads(camera.id).await;
        let record = records.last().expect("a record");
        assert_eq!(record["status"], "rejected");
        camera.content(record).await.expect(200).is(b"bytes");
        camera.device.get(&camera.target(path)).await.problem(404);
    }
}

#[tokio::test]
async fn without_strict_mode_the_same_is_said_and_all_is_stored() {
    let camera = Camera::on("dash").await;
    let path = format!(
        "/api/v1/streams/{}",
        camera.server.stream(&camera.device, "dash").await
    );
    let admin = camera.server.admin();
    let lax = admin.patch_json(&path, &json!({"strict_mode": false}));
    let lax = lax.await.expect(200).json()["id"]
        .as_u64()
        .expect("a number");
    let uploads = [
        (SEGMENT, "early"),
        (SEGMENT, "early"),
        (MPD, "<MPD"),
        (MPD, DYNAMIC),
        (SEGMENT, "early"),
        (INIT, "init"),
        (INIT, "again"),
        ("a.mp4", "name"),
        (SEGMENT, "in time"),
        (MPD, DYNAMIC),
        (MPD, STATIC),
        (SEGMENT, "late"),
        (MPD, STATIC),
    ];
    for (path, body) in uploads {
        camera.put(path, body).await;
        let target = format!("/streams/{lax}/{path}");
        camera.device.put(&target, body).await.expect(202);
        camera
            .device
            .get(&target)
            .await
            .expect(200)
            .is(body.as_bytes());
    }
    let said = async |id: u64| {
        let records = camera.device.uploads(id).await;
        let said = records
            .iter()
            .map(|r| (r["path"].clone(), r["errors"].clone(), r["rules"].clone()));
        said.collect::<Vec<_>>()
    };
    let strict = said(camera.id).await;
    assert_eq!(strict.len(), uploads.len());
    assert_eq!(strict, said(lax).await);
    let count = strict
        .iter()
        .filter(|(_, errors, _)| *errors != json!([]))
        .count();
    assert_eq!(count, 8);
    let (strict, lax) = (camera.stream().await, camera.device.stream(lax).await);
    let state = |stream: &Value| {
        let session = &stream["sessions"][0];
        (
            session["tracks"].clone(),
            session["complete"].clone(),
            session["run"].clone(),
        )
    };
    assert_eq!(state(&strict), state(&lax));
    // A path may be in both lists.
    assert!(lax["valid_uploads"].to_string().contains("a.mp4"));
    assert!(lax["error_uploads"].to_string().contains("a.mp4"));
}

#[tokio::test]
async fn a_session_that_fell_silent_says_what_it_waited_for_and_may_begin_anew() {
    let camera = Camera::with("dash", &["--session-timeout", "1s"]).await;
    camera.ok(MPD, DYNAMIC).await;
    camera.ok(INIT, "init").await;
    let session = eventually("the session is silent", async || {
        let session = camera.session(0).await;
        (session["state"] == "silent").then_some(session)
    })
    .await;
    let text = session["state_text"].as_str().expect("a text");
    assert!(
        text.starts_with("silent since 20")
            && text.ends_with("waiting for the first segment of track 'v'"),
        "{text}"
    );
    assert_eq!(session["complete"], false);
    camera.ok(SEGMENT, "segment").await; // it may also go on
    eventually("the next run begins", async || {
        let answer = camera.put(MPD, DYNAMIC).await;
        (answer.status == 202).then_some(())
    })
    .await;
    let (before, now) = (camera.session(0).await, camera.session(1).await);
    assert_eq!(
        (&before["run"], &before["state"]),
        (&json!(1), &json!("replaced"))
    );
    assert_eq!(now["run"], 2);
    assert_eq!(now["tracks"], json!({}));
    camera.ok(INIT, "init").await;
}

#[tokio::test]
async fn interface_1_names_its_own_tracks() {
    let camera = Camera::on("cmaf-ingest").await;
    let track = video();
    for path in [
        "cmaf/example/video-720p.cmfv",
        "Streams(video.cmfv)",
        "Switching(1)/Streams(a)",
        "t.cmfm",
    ] {
        camera.put(path, whole(&track, 1, 1)).await.expect(202);
    }
    camera.ok(SEGMENT, "segment").await;
    camera.ok("session_1/v/v.init", "init").await;
    assert_eq!(camera.rejected("a.CMFV", "x").await.len(), 1);
    assert_eq!(camera.listed("error_uploads").await, ["a.CMFV"]);
    let path = format!("/streams/{}/trackName", camera.id);
    let set = camera
        .device
        .post_json(&path, &json!({"track_name": "media"}));
    set.await.expect(202);
    camera
        .put("Streams(media.cmfv)", whole(&track, 1, 1))
        .await
        .expect(202);
    let told = camera.put("Streams(video.cmfv)", whole(&track, 2, 1)).await;
    assert_eq!(
        errors(&told),
        ["Track name mismatch: video != media, must match TrackName provided in ContainerOptions"]
    );
    // The track is as it was; what was sent for it is kept.
    let target = camera.target("Streams(video.cmfv)");
    camera
        .device
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 1, 1));
    let record = camera.newest("Streams(video.cmfv)").await;
    camera
        .content(&record)
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
}

#[tokio::test]
async fn what_each_request_added_to_a_track_can_be_read() {
    let camera = Camera::on("cmaf-ingest").await;
    let (track, path) = (video(), "Streams(video.cmfv)");
    let mut sent = vec![track.header(), track.second(0, 1), track.second(1, 1)];
    sent.push([track.second(2, 1), track.second(3, 1)].concat());
    for body in &sent {
        camera.put(path, body.clone()).await.expect(202);
    }
    camera.put(path, track.second(3, 1)).await.expect(202);
    // The camera is started again: the next part.
    let again = [whole(&track, 2, 9), mfra()].concat();
    camera.put(path, again.clone()).await.expect(202);
    let records = camera.device.uploads_to(camera.id, path).await;
    for (record, body) in records.iter().zip(&sent) {
        assert_eq!(record["content"], true, "{record}");
        camera.content(record).await.expect(200).is(body);
    }
    let (id, last) = (camera.id, &records[3]["id"]);
    let head = camera
        .device
        .head(&format!("/api/v1/streams/{id}/uploads/{last}/content"))
        .await
        .expect(200);
    assert_eq!(head.header("content-length"), sent[3].len().to_string());
    assert_eq!(records[4]["note"], "retransmission");
    assert_eq!(records[4]["content"], false);
    camera.content(&records[4]).await.problem(404);
    let added = camera.content(&records[5]).await.expect(200);
    assert!(
        added.body.starts_with(&whole(&track, 2, 9)),
        "{}",
        added.body.len()
    );
}

#[tokio::test]
async fn nobody_reads_what_may_yet_be_rejected() {
    let camera = Camera::on("dash").await;
    let track = video();
    let body = whole(&track, 2, 1);
    // Out of order from the start: not to be seen, and kept.
    let early = camera.target("session_1/v/segment_1.m4s");
    let mut raw = camera.server.h1(Some(&camera.identity)).await;
    raw.begin("PUT", &early).await;
    raw.chunk(&body).await;
    camera.ok(MPD, DYNAMIC).await;
    camera.device.get(&early).await.problem(404);
    raw.last_chunk().await;
    errors(&raw.answer("PUT").await);
    camera.device.get(&early).await.problem(404);
    let record = camera.newest("session_1/v/segment_1.m4s").await;
    camera.content(&record).await.expect(200).is(&body);
    // In order as long as it comes, and late when it ends: seen, and withdrawn.
    camera.ok(INIT, "init").await;
    camera.ok(SEGMENT, "segment").await;
    raw.begin("PUT", &early).await;
    raw.chunk(&body).await;
    held(&camera.device, &early, &body).await;
    camera.ok(MPD, STATIC).await;
    raw.last_chunk().await;
    errors(&raw.answer("PUT").await);
    camera.device.get(&early).await.problem(404);
    let record = camera.newest("session_1/v/segment_1.m4s").await;
    assert_eq!(record["status"], "rejected");
    camera.content(&record).await.expect(200).is(&body);
    let parts = camera.server.path(&format!("parts/{}", camera.id));
    assert_eq!(std::fs::read_dir(parts).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn who_may_not_upload_leaves_no_bytes() {
    let camera = Camera::with("dash", &["--access", "closed"]).await;
    let stranger = camera.server.anonymous();
    let target = camera.target(MPD);
    stranger.put(&target, DYNAMIC).await.problem(403);
    let other = camera.server.device("other").await;
    other.put(&target, DYNAMIC).await.problem(403);
    for record in camera.device.uploads(camera.id).await {
        assert_eq!(
            (&record["status"], &record["content"]),
            (&json!("refused"), &json!(false))
        );
        camera.content(&record).await.problem(404);
    }
    assert!(!camera.server.path(&format!("kept/{}", camera.id)).exists());
    assert_eq!(camera.stream().await["sessions"], json!([]));
}

#[tokio::test]
async fn an_upload_without_certificate_is_rejected_where_it_is_allowed() {
    let server = Server::with().arg("--strict-mode").start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    let answer = client.put(&format!("/streams/{id}/{MPD}"), DYNAMIC).await;
    assert_eq!(
        errors(&answer),
        ["File upload did not happen with SSL context"]
    );
    let record = &client.uploads(id).await[0];
    assert_eq!(record["rules"], json!(["matter-certificate"]));
    let content = format!("/api/v1/streams/{id}/uploads/{}/content", record["id"]);
    client
        .get(&content)
        .await
        .expect(200)
        .is(DYNAMIC.as_bytes());
}

#[tokio::test]
async fn a_restart_between_any_two_uploads_changes_no_verdict() {
    let uploads: [(&str, &str, u16); 13] = [
        (INIT, "init", 400),
        (MPD, DYNAMIC, 202),
        (SEGMENT, "early", 400),
        (INIT, "init", 202),
        (INIT, "again", 400),
        (SEGMENT, "segment", 202),
        (MPD, DYNAMIC, 400),
        (MPD, STATIC, 202),
        (MPD, STATIC, 202),
        (SEGMENT, "late", 400),
        (MPD, DYNAMIC, 202),
        (SEGMENT, "early", 400),
        (INIT, "init", 202),
    ];
    let mut restarted = Camera::on("dash").await;
    let steady = Camera::on("dash").await;
    for (n, (path, body, status)) in uploads.into_iter().enumerate() {
        restarted.put(path, body).await.expect(status);
        steady.put(path, body).await.expect(status);
        let how = if n % 2 == 0 {
            Ending::Kill
        } else {
            Ending::Polite
        };
        restarted = restarted.restarted(how).await;
    }
    let outcome = async |camera: &Camera| {
        let stream = camera.stream().await;
        let mut sessions = stream["sessions"].clone();
        for session in sessions.as_array_mut().expect("sessions") {
            let session = session.as_object_mut().expect("an object");
            session.retain(|name, _| name != "opened" && name != "last_upload");
        }
        let records = camera.device.uploads(camera.id).await;
        let verdicts: Vec<_> = records
            .iter()
            .map(|r| {
                let keys = ["status", "errors", "rules", "session_id", "run", "content"];
                keys.map(|key| r[key].clone())
            })
            .collect();
        (sessions, verdicts)
    };
    assert_eq!(outcome(&restarted).await, outcome(&steady).await);
    for record in restarted.device.uploads(restarted.id).await {
        if record["status"] == "rejected" {
            assert_eq!(
                restarted.content(&record).await.expect(200).body.len() as u64,
                record["size"]
            );
        }
    }
}

#[tokio::test]
async fn a_large_rejected_upload_does_not_stay_in_memory_or_vanish() {
    let camera = Camera::on("dash").await;
    let body = payload(20 << 20, 3);
    let answer = camera.put("large.bin", body.clone()).await;
    errors(&answer);
    let record = camera.newest("large.bin").await;
    camera.content(&record).await.expect(200).is(&body);
}

#[tokio::test]
async fn every_rule_is_listed() {
    let (status, out, _) = crate::harness::run_to_end(crate::harness::pavs().arg("rules"));
    assert!(status.success());
    for id in [
        "matter-extension",
        "matter-mpd-malformed",
        "matter-extinf-missing",
        "matter-certificate",
    ] {
        assert!(out.lines().any(|line| line.starts_with(id)), "{id}: {out}");
    }
}
