//! `pavs push` against the server, and against another one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::skip;
use crate::harness::{Client, Ending, Server, eventually, pavs, run_to_end, skipped, tool};

/// What a run of `pavs push` came to.
struct Pushed {
    code: Option<i32>,
    /// One per object, and one per summary.
    lines: Vec<Value>,
    err: String,
}

impl Pushed {
    fn summary(&self) -> &Value {
        self.lines
            .iter()
            .rfind(|line| line["summary"] == "all")
            .unwrap_or_else(|| panic!("no summary: {}", self.err))
    }

    /// The objects that ended so.
    fn ended(&self, ending: &str) -> Vec<&str> {
        let of = self.lines.iter().filter(|line| line["ending"] == ending);
        of.filter_map(|line| line["path"].as_str()).collect()
    }

    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{:#?}", self.err, self.lines);
        self
    }
}

async fn run(arguments: Vec<String>, stdin: Option<PathBuf>) -> Pushed {
    tokio::task::spawn_blocking(move || {
        let mut command = pavs();
        command.args(["push", "--json"]).args(arguments);
        let (status, out, err) = match stdin {
            None => run_to_end(&mut command),
            Some(file) => {
                let file = std::fs::File::open(file).expect("the file is there");
                let output = command.stdin(file).output().expect("the binary can be run");
                (
                    output.status,
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                    String::from_utf8_lossy(&output.stderr).into_owned(),
                )
            }
        };
        let lines = out
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        Pushed {
            code: status.code(),
            lines,
            err,
        }
    })
    .await
    .expect("the push runs")
}

/// Pushes as a camera that the server takes in.
async fn push(server: &Server, more: &[&str]) -> Pushed {
    push_from(server, more, None).await
}

async fn push_from(server: &Server, more: &[&str], stdin: Option<PathBuf>) -> Pushed {
    let root = server.path("certs/server/root.pem");
    let mut arguments = vec!["--enroll".to_owned(), server.base()];
    arguments.extend(["--cacert".to_owned(), root.to_string_lossy().into_owned()]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    run(arguments, stdin).await
}

/// Frames that ffmpeg finds behind a file or manifest, by codec.
fn frames(path: &Path) -> BTreeSet<(String, String)> {
    let path = path.to_string_lossy();
    let wanted = "stream=codec_name,nb_read_frames";
    let mut arguments = vec![
        "-v",
        "error",
        "-count_frames",
        "-show_entries",
        wanted,
        "-of",
        "json",
    ];
    if path.ends_with(".mpd") || path.ends_with(".m3u8") {
        arguments.splice(0..0, ["-allowed_extensions", "ALL"]);
    }
    arguments.extend(["-i", &path]);
    let output = tool("ffprobe", "ffmpeg", &arguments);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON of ffprobe");
    let text = |stream: &Value, key: &str| stream[key].as_str().unwrap_or_default().to_owned();
    let streams = told["streams"].as_array().expect("streams");
    streams
        .iter()
        .map(|stream| (text(stream, "codec_name"), text(stream, "nb_read_frames")))
        .collect()
}

fn expected(video: u32, audio: u32) -> BTreeSet<(String, String)> {
    [("h264", video), ("aac", audio)]
        .map(|(codec, count)| (codec.to_owned(), count.to_string()))
        .into()
}

/// The rules that uploads of a stream broke, by their ids.
async fn rules(client: &Client, stream: u64) -> BTreeSet<String> {
    let uploads = client.uploads(stream).await;
    let rules = uploads
        .iter()
        .flat_map(|upload| upload["rules"].as_array().into_iter().flatten());
    rules
        .filter_map(|rule| rule.as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn what_is_built_in_is_accepted_in_strict_mode_on_every_interface() {
    let server = Server::with().arg("--strict-mode").start().await;
    let admin = server.admin();
    for (stream, (interface, http)) in (1..).zip([
        ("dash", "1.1"),
        ("dash", "2"),
        ("hls", "1.1"),
        ("hls", "2"),
        ("cmaf-ingest", "2"),
    ]) {
        let arguments = [
            "--fast",
            "--duration",
            "9s",
            "--interface",
            interface,
            "--http",
            http,
        ];
        let pushed = push(&server, &arguments).await.expect(0);
        // 2 headers, 3 segments of each track; an MPD twice, or a master and two playlists twice.
        let manifests = match interface {
            "dash" => 2,
            "hls" => 5,
            _ => 0,
        };
        assert_eq!(pushed.summary()["accepted"], 8 + manifests, "{interface}");
        let told = admin.stream(stream).await;
        assert_eq!(told["error_uploads"], serde_json::json!([]), "{interface}");
        assert_eq!(rules(&admin, stream).await, BTreeSet::new(), "{interface}");
        let uploads = admin.uploads(stream).await;
        let version = if http == "2" { "HTTP/2" } else { "HTTP/1.1" };
        assert!(uploads.iter().all(|upload| {
            upload["http_version"]
                .as_str()
                .is_some_and(|v| v.starts_with(version))
        }));
        let manifest = match interface {
            "dash" => "index.mpd",
            "hls" => "index.m3u8",
            _ => continue,
        };
        // 9 s: 225 pictures of 40 ms; 422 frames of 1024 samples begin in them.
        let path = server.path(&format!("streams/{stream}/session_1/{manifest}"));
        assert_eq!(frames(&path), expected(225, 422), "{interface}");
        let report = admin
            .get(&format!("/probe/{stream}/session_1/video/segment_1002.m4s"))
            .await
            .expect(200)
            .json();
        assert_eq!(report["streams"][0]["codec_name"], "h264");
        assert_eq!(report["streams"][0]["nb_frames"], "100");
    }
}

#[tokio::test]
async fn one_address_takes_a_whole_track() {
    let server = Server::with().start().await;
    let arguments = [
        "--fast",
        "--duration",
        "9s",
        "--interface",
        "cmaf-ingest",
        "--naming",
        "streams",
        "--method",
        "post",
    ];
    push(&server, &arguments).await.expect(0);
    let uploads = server.admin().uploads(1).await;
    assert!(uploads.iter().all(|upload| upload["method"] == "POST"));
    let video = server.path("streams/1/Streams(video.cmfv)");
    assert_eq!(
        frames(&video),
        [("h264".to_owned(), "225".to_owned())].into()
    );
    let audio = server.path("streams/1/Streams(audio.cmfa)");
    assert_eq!(
        frames(&audio),
        [("aac".to_owned(), "422".to_owned())].into()
    );
}

#[tokio::test]
async fn chunks_are_sent_as_they_are_made() {
    let server = Server::with().start().await;
    let arguments = [
        "--duration",
        "2s",
        "--segment-duration",
        "1s",
        "--chunk-duration",
        "250ms",
        "--http",
        "1.1",
        "--tracks",
        "video=media",
    ];
    let pushed = push(&server, &arguments).await.expect(0);
    assert_eq!(pushed.summary()["late"], 0);
    let uploads = server.admin().uploads(1).await;
    let segments: Vec<_> = uploads
        .iter()
        .filter(|upload| upload["path"].as_str().is_some_and(|p| p.ends_with(".m4s")))
        .collect();
    assert_eq!(segments.len(), 2);
    for segment in segments {
        assert_eq!(segment["framing"], "chunked");
        assert!(
            segment["path"]
                .as_str()
                .is_some_and(|path| path.starts_with("session_1/media/segment_100"))
        );
        let stored =
            std::fs::read(server.path(&format!("streams/1/{}", segment["path"].as_str().unwrap())))
                .unwrap();
        // 25 pictures of 40 ms, 6 of which fit into 250 ms.
        assert_eq!(
            stored.windows(4).filter(|window| window == b"moof").count(),
            5
        );
    }
    assert_eq!(
        frames(&server.path("streams/1/session_1/index.mpd")),
        [("h264".to_owned(), "50".to_owned())].into()
    );
}

/// A file that ffmpeg makes: five seconds of H.264 with B pictures and an edit list, and of AAC.
fn made(dir: &TempDir, name: &str, more: &[&str]) -> PathBuf {
    let path = dir.path().join(name);
    let target = path.to_string_lossy();
    let mut arguments = vec![
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=30:duration=5",
        "-f",
        "lavfi",
        "-i",
        "sine=duration=5",
        "-c:v",
        "libx264",
        "-bf",
        "3",
        "-g",
        "30",
        "-c:a",
        "aac",
    ];
    arguments.extend(more);
    arguments.push(&target);
    let output = tool("ffmpeg", "ffmpeg", &arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

/// Coded frames of each codec in a file.
fn packets(path: &Path) -> BTreeSet<(String, String)> {
    let path = path.to_string_lossy();
    let wanted = "stream=codec_name,nb_read_packets";
    let arguments = [
        "-v",
        "error",
        "-count_packets",
        "-show_entries",
        wanted,
        "-of",
        "csv=p=0",
        "-i",
        &path,
    ];
    let output = tool("ffprobe", "ffmpeg", &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(','));
    pairs
        .map(|(codec, count)| (codec.to_owned(), count.to_owned()))
        .collect()
}

/// The same of what is stored of a session, each track by itself: ffmpeg ends an MPD with its shortest
/// track.
fn stored(server: &Server, dir: &TempDir, stream: u64) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for track in ["video", "audio"] {
        let from = server.path(&format!("streams/{stream}/session_1/{track}"));
        let mut bytes = std::fs::read(from.join(format!("{track}.init"))).expect("a header");
        for number in 1001.. {
            let Ok(segment) = std::fs::read(from.join(format!("segment_{number}.m4s"))) else {
                break;
            };
            bytes.extend(segment);
        }
        let whole = dir.path().join("stored.mp4");
        std::fs::write(&whole, bytes).expect("writable");
        all.extend(packets(&whole));
    }
    all
}

#[tokio::test]
async fn files_are_cut_without_losing_a_frame() {
    if skip() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let fragmented = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"];
    let delayed = ["-movflags", "+frag_keyframe+delay_moov"];
    let files = [
        made(&dir, "plain.mp4", &[]),
        made(&dir, "front.mp4", &["-movflags", "+faststart"]),
        made(&dir, "fragmented.mp4", &fragmented),
        made(&dir, "delayed.mp4", &delayed),
    ];
    let server = Server::with().arg("--strict-mode").start().await;
    let mut stream = 0;
    for file in &files {
        stream += 1;
        let whole = packets(file);
        assert_eq!(whole.len(), 2);
        push(
            &server,
            &[
                "--fast",
                "--segment-duration",
                "2s",
                &file.to_string_lossy(),
            ],
        )
        .await
        .expect(0);
        assert_eq!(stored(&server, &dir, stream), whole, "{}", file.display());
        assert_eq!(
            rules(&server.admin(), stream).await,
            BTreeSet::new(),
            "{}",
            file.display()
        );
    }
    // The same through a pipe; only fragmented files can go through one.
    for file in &files[2..] {
        stream += 1;
        push_from(
            &server,
            &["--segment-duration", "2s", "-"],
            Some(file.clone()),
        )
        .await
        .expect(0);
        assert_eq!(
            stored(&server, &dir, stream),
            packets(file),
            "{}",
            file.display()
        );
    }
    let pushed = push_from(&server, &["-"], Some(files[1].clone()))
        .await
        .expect(2);
    assert!(pushed.err.contains("standard input"), "{}", pushed.err);
}

#[tokio::test]
async fn pictures_and_sound_stay_together() {
    if skip() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let file = made(&dir, "plain.mp4", &[]);
    let server = Server::with().start().await;
    push(&server, &["--fast", &file.to_string_lossy()])
        .await
        .expect(0);
    // The priming of AAC is told by an edit list, as ffmpeg itself does; the pictures begin at once.
    let times = |track: &str| {
        let header =
            std::fs::read(server.path(&format!("streams/1/session_1/{track}/{track}.init")))
                .unwrap();
        let segment =
            std::fs::read(server.path(&format!("streams/1/session_1/{track}/segment_1001.m4s")))
                .unwrap();
        let whole = dir.path().join(format!("{track}.mp4"));
        std::fs::write(&whole, [header, segment].concat()).unwrap();
        let path = whole.to_string_lossy().into_owned();
        let output = tool(
            "ffprobe",
            "ffmpeg",
            &[
                "-v",
                "error",
                "-show_entries",
                "packet=pts_time",
                "-of",
                "csv=p=0",
                &path,
            ],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let times: Vec<f64> = text
            .lines()
            .filter_map(|line| line.trim_end_matches(',').parse().ok())
            .collect();
        times.into_iter().fold(f64::INFINITY, f64::min)
    };
    let apart = times("video") - times("audio");
    let priming = 1024.0 / 44100.0;
    // ffmpeg shows pictures with negative offsets later by the largest of them, two pictures here.
    assert!(
        (priming - 0.001..priming + 0.07).contains(&apart),
        "{apart}"
    );
}

#[tokio::test]
async fn what_cannot_be_cut_is_refused_before_anything_is_sent() {
    if skip() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let key = "00112233445566778899aabbccddeeff";
    let encrypted = made(
        &dir,
        "encrypted.mp4",
        &[
            "-encryption_scheme",
            "cenc-aes-ctr",
            "-encryption_key",
            key,
            "-encryption_kid",
            key,
        ],
    );
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "this is no MP4 at all, but some bytes of text").unwrap();
    let cut = dir.path().join("cut.mp4");
    let whole = std::fs::read(made(&dir, "whole.mp4", &["-movflags", "+faststart"])).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let missing = dir.path().join("missing.mp4");
    for (file, says) in [
        (&encrypted, "encrypted"),
        (&text, "no MP4"),
        (&cut, "not whole"),
        (&missing, "cannot be read"),
    ] {
        let file = file.to_string_lossy().into_owned();
        let pushed = run(
            vec![
                "--endpoint".into(),
                "https://127.0.0.1:9/x".into(),
                file.clone(),
            ],
            None,
        )
        .await
        .expect(2);
        assert!(
            pushed.err.contains(says) && pushed.err.contains(&file),
            "{}",
            pushed.err
        );
    }
}

/// Ids of the rules that a report tells of.
fn found(report: &Value) -> impl Iterator<Item = String> {
    let sessions = report["sessions"].as_array().into_iter().flatten();
    let findings =
        sessions.flat_map(|session| session["findings"].as_array().into_iter().flatten());
    findings.filter_map(|finding| finding["rule"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn each_misbehaviour_is_found() {
    let server = Server::with()
        .args([
            "--strict-mode",
            "--access",
            "closed",
            "--body-timeout",
            "1s",
        ])
        .start()
        .await;
    let admin = server.admin();
    let token = server.token();
    let mut listed = pavs();
    let (_, list, _) = run_to_end(listed.args(["rules", "--misbehave"]));
    let mut stream = 0;
    let mut seen = 0;
    for line in list.lines() {
        let [name, outcome, rule, does] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        // It gets no connection, so there is nothing to look at; see below.
        if name == "foreign-certificate" {
            continue;
        }
        stream += 1;
        let interface = if does.ends_with("(hls)") {
            "hls"
        } else {
            "dash"
        };
        let arguments = [
            "--fast",
            "--duration",
            "3s",
            "--segment-duration",
            "1s",
            "--tracks",
            "video",
            "--interface",
            interface,
            "--token",
            &token,
            "--misbehave",
            name,
        ];
        let pushed = push(&server, &arguments).await;
        let uploads = admin.uploads(stream).await;
        match outcome {
            "rejected" => {
                assert_eq!(pushed.code, Some(1), "{name}");
                assert!(!pushed.ended("refused").is_empty(), "{name}");
                let rules = rules(&admin, stream).await;
                assert!(rules.contains(rule), "{name}: {rules:?}");
            }
            "finding" if rule == "-" => {
                assert!(
                    uploads.iter().any(|upload| upload["note"] == "empty"),
                    "{name}"
                );
            }
            "finding" => {
                let report = format!("/api/v1/streams/{stream}/report");
                let report = admin.get(&report).await.expect(200).json();
                let found: BTreeSet<_> = found(&report).collect();
                let told = rules(&admin, stream).await;
                assert!(
                    found.contains(rule) || told.contains(rule),
                    "{name}: {found:?}, {told:?}"
                );
            }
            "aborted" => {
                assert_eq!(pushed.ended("broken").len(), 1, "{name}");
                let path = pushed.ended("broken")[0].to_owned();
                admin.settled(stream, &path, "aborted").await;
            }
            "refused" => {
                assert_eq!(pushed.code, Some(1), "{name}");
                assert!(
                    uploads.iter().any(|upload| upload["status"] == "refused"),
                    "{name}: {uploads:?}"
                );
            }
            other => panic!("{name}: {other}"),
        }
        seen += 1;
    }
    assert!(seen > 20, "{list}");
}

#[tokio::test]
async fn a_foreign_certificate_gets_no_connection() {
    let server = Server::with().start().await;
    let arguments = [
        "--fast",
        "--duration",
        "1s",
        "--segment-duration",
        "200ms",
        "--misbehave",
        "foreign-certificate",
    ];
    let pushed = push(&server, &arguments).await.expect(1);
    assert_eq!(pushed.summary()["accepted"], 0);
    assert!(!pushed.ended("failed").is_empty());
    server
        .log_line("the refusal", |line| line.contains("connection refused"))
        .await;
}

#[tokio::test]
async fn what_the_server_refuses_on_purpose_is_sent_again() {
    let server = Server::with()
        .args([
            "--fault",
            "segment_1002.m4s$=status:503@50%",
            "--fault",
            "segment_1003=delay:100ms",
        ])
        .start()
        .await;
    server
        .log_line("the warning", |line| line.contains("FAULTS ARE ON"))
        .await;
    let arguments = ["--fast", "--duration", "4s", "--segment-duration", "1s"];
    let pushed = push(&server, &arguments).await.expect(0);
    // One of the two tracks comes second. It is told to wait for longer than it may, and sends it late.
    assert_eq!(pushed.summary()["retries"], 1, "{:#?}", pushed.lines);
    let uploads = server.admin().uploads(1).await;
    let noted = |note: &str| {
        uploads
            .iter()
            .filter(|upload| upload["note"] == note)
            .collect::<Vec<_>>()
    };
    let refused = noted("injected status");
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["status"], &refused[0]["http_status"]),
        (&"refused".into(), &503.into())
    );
    let delayed = noted("injected delay");
    assert_eq!(delayed.len(), 2);
    assert!(delayed.iter().all(|upload| upload["status"] == "accepted"));
}

#[tokio::test]
async fn a_broken_connection_is_made_again() {
    let server = Server::with()
        .args(["--fault", "segment_1002=reset@50%"])
        .start()
        .await;
    for http in ["1.1", "2"] {
        let arguments = [
            "--fast",
            "--duration",
            "4s",
            "--segment-duration",
            "1s",
            "--tracks",
            "video",
            "--http",
            http,
        ];
        push(&server, &arguments).await.expect(0);
    }
    let resets = [1, 2].map(async |stream| {
        let uploads = server.admin().uploads(stream).await;
        uploads
            .iter()
            .filter(|upload| upload["note"] == "injected reset")
            .count()
    });
    let mut all = 0;
    for count in resets {
        all += count.await;
    }
    assert!(all >= 1, "the second upload that matches is reset");
}

#[tokio::test]
async fn cameras_push_beside_each_other() {
    let server = Server::with().arg("--strict-mode").start().await;
    let arguments = [
        "--cameras",
        "4",
        "--duration",
        "2s",
        "--segment-duration",
        "1s",
        "--name",
        "door",
    ];
    let pushed = push(&server, &arguments).await.expect(0);
    // Each: 2 MPDs, 2 headers, 2 segments of each track.
    assert_eq!(pushed.summary()["accepted"], 32);
    assert_eq!(pushed.summary()["sessions"], 4);
    let admin = server.admin();
    let mut owners = BTreeSet::new();
    for stream in 1..=4 {
        owners.insert(
            admin.stream(stream).await["owner"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    assert_eq!(
        owners,
        ["door-1", "door-2", "door-3", "door-4"]
            .map(str::to_owned)
            .into()
    );
    let each: Vec<_> = pushed
        .lines
        .iter()
        .filter(|line| {
            line["summary"]
                .as_str()
                .is_some_and(|s| s.starts_with("door"))
        })
        .collect();
    assert_eq!(each.len(), 4);
}

#[tokio::test]
async fn an_interrupt_ends_the_session_properly() {
    let server = Server::with().arg("--strict-mode").start().await;
    let root = server.path("certs/server/root.pem");
    let mut command = pavs();
    command
        .args([
            "push",
            "--json",
            "--segment-duration",
            "500ms",
            "--enroll",
            &server.base(),
            "--cacert",
        ])
        .arg(root);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary can be run");
    let admin = server.admin();
    eventually("a segment is stored", async || {
        let there = admin
            .get("/streams/1/session_1/video/segment_1001.m4s")
            .await
            .status
            == 200;
        there.then_some(())
    })
    .await;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let mpd = std::fs::read_to_string(server.path("streams/1/session_1/index.mpd")).unwrap();
    assert!(mpd.contains("type=\"static\""), "{mpd}");
    assert_eq!(
        admin.stream(1).await["error_uploads"],
        serde_json::json!([])
    );
    assert_eq!(
        frames(&server.path("streams/1/session_1/index.mpd")).len(),
        2
    );
}

#[tokio::test]
async fn an_endpoint_with_a_certificate_of_its_own() {
    let server = Server::with().start().await;
    let device = server.device("door").await;
    let stream = server.stream(&device, "dash").await;
    let file = |name: &str| server.path(name).to_string_lossy().into_owned();
    let arguments = |cacert: &str| {
        let mut all = vec![
            "--endpoint".to_owned(),
            format!("{}/streams/{stream}", server.base()),
        ];
        all.extend([
            "--cert".to_owned(),
            file("certs/device/door.pem"),
            "--key".to_owned(),
            file("certs/device/door.key"),
        ]);
        all.extend(["--cacert".to_owned(), file(cacert)]);
        all.extend(
            [
                "--fast",
                "--duration",
                "2s",
                "--sessions",
                "2",
                "--connection-per-object",
            ]
            .map(str::to_owned),
        );
        all
    };
    let pushed = run(arguments("certs/server/root.pem"), None)
        .await
        .expect(0);
    assert_eq!(pushed.summary()["connections"], pushed.summary()["objects"]);
    for session in [1, 2] {
        let path = server.path(&format!("streams/{stream}/session_{session}/index.mpd"));
        assert_eq!(frames(&path).len(), 2);
    }
    // Whoever does not lead to the root is not sent anything.
    let pushed = run(arguments("certs/device/root.pem"), None)
        .await
        .expect(1);
    assert_eq!(pushed.summary()["accepted"], 0);
}

#[tokio::test]
async fn a_token_goes_to_nobody_unverified() {
    let arguments = ["--enroll", "https://192.0.2.1:1234", "--token", "secret"].map(str::to_owned);
    let pushed = run(arguments.into(), None).await.expect(2);
    assert!(pushed.err.contains("--cacert"), "{}", pushed.err);
    let server = Server::with().args(["--access", "closed"]).start().await;
    let pushed = push(&server, &["--fast", "--duration", "1s"])
        .await
        .expect(2);
    assert!(pushed.err.contains("--token"), "{}", pushed.err);
    push(
        &server,
        &["--fast", "--duration", "1s", "--token", &server.token()],
    )
    .await
    .expect(0);
    let base = vec![
        "--enroll".to_owned(),
        server.base(),
        "--token".to_owned(),
        server.token(),
    ];
    let first_use = run(
        [
            base,
            vec!["--fast".into(), "--duration".into(), "1s".into()],
        ]
        .concat(),
        None,
    )
    .await
    .expect(0);
    let told = first_use
        .lines
        .iter()
        .filter_map(|line| line["note"].as_str())
        .any(|note| note.contains("nobody vouches"));
    assert!(told, "{:?}", first_use.lines);
}

#[tokio::test]
async fn what_does_not_go_together_is_said() {
    for (arguments, says) in [
        (vec![], "--endpoint"),
        (vec!["--endpoint", "http://x/"], "https://"),
        (
            vec!["--enroll", "https://127.0.0.1:9/streams/1"],
            "server alone",
        ),
        (
            vec!["--endpoint", "https://127.0.0.1:9/", "--cameras", "2"],
            "{n}",
        ),
        (
            vec!["--endpoint", "https://127.0.0.1:9/", "--sessions", "2"],
            "--duration",
        ),
        (
            vec!["--endpoint", "https://127.0.0.1:9/", "--fast"],
            "--duration",
        ),
        (
            vec![
                "--endpoint",
                "https://127.0.0.1:9/",
                "--misbehave",
                "nicely",
            ],
            "nicely",
        ),
        (
            vec!["--endpoint", "https://127.0.0.1:9/", "--tracks", "smell"],
            "smell",
        ),
        (
            vec![
                "--endpoint",
                "https://127.0.0.1:9/",
                "--segment-duration",
                "1ms",
            ],
            "--segment-duration",
        ),
        (
            vec![
                "--endpoint",
                "https://127.0.0.1:9/",
                "--interface",
                "hls",
                "--chunk-duration",
                "1s",
            ],
            "hls",
        ),
    ] {
        let pushed = run(
            arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            None,
        )
        .await
        .expect(2);
        assert!(pushed.err.contains(says), "{arguments:?}: {}", pushed.err);
    }
}

/// Another server than ours: nginx with its DAV module, which takes PUT and knows nothing of media.
#[tokio::test]
async fn nginx_takes_it_too() {
    if Command::new("nginx").arg("-v").output().is_err() {
        return skipped("nginx is not installed (scripts/setup does it)");
    }
    // Its certificate is one that pavs has made.
    let mut pavs = Server::with().start().await;
    let dir = TempDir::new().unwrap();
    for (from, to) in [
        ("localhost.pem", "cert.pem"),
        ("localhost.key", "key.pem"),
        ("root.pem", "root.pem"),
    ] {
        std::fs::copy(
            pavs.path(&format!("certs/server/{from}")),
            dir.path().join(to),
        )
        .unwrap();
    }
    pavs.end(Ending::Polite).await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let at = dir.path().to_string_lossy().into_owned();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; client_max_body_size 0;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;\n\
         root {at}/www; location / {{ dav_methods PUT; create_full_put_path on; }} }} }}\n"
    );
    std::fs::create_dir(dir.path().join("www")).unwrap();
    std::fs::write(dir.path().join("nginx.conf"), configuration).unwrap();
    let mut nginx = Command::new("nginx")
        .args([
            "-p",
            &at,
            "-e",
            &format!("{at}/error.log"),
            "-c",
            &format!("{at}/nginx.conf"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    eventually("nginx listens", async || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;
    let mut arguments = vec![
        "--endpoint".to_owned(),
        format!("https://127.0.0.1:{port}/camera"),
    ];
    arguments.extend(["--cacert".to_owned(), format!("{at}/root.pem")]);
    arguments.extend(["--fast", "--duration", "9s"].map(str::to_owned));
    let pushed = run(arguments, None).await;
    let _ = nginx.kill();
    let _ = nginx.wait();
    let errors = std::fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
    assert_eq!(pushed.code, Some(0), "{}\n{errors}", pushed.err);
    assert_eq!(
        frames(&dir.path().join("www/camera/session_1/index.mpd")),
        expected(225, 422)
    );
}
