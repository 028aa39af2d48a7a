//! In the place of the Matter project's test server: started by `scripts/server.py` with the flags that
//! harnesses give, called as harnesses call, pushed to as their camera does.
//!
//! The one test that is a harness listens on 0.0.0.0:1234, because the port is written down in those.
//! They need the Debian packages python3, python3-requests, openssl and curl;
//! `PAVS_SKIP_CLIENTS=1` leaves them out.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clients;
use crate::harness::{DEADLINE, outside_address, pavs, run_to_end, tool};
use crate::media::Track;

/// What a harness waits for.
const READY: &str = "Running on https://0.0.0.0:1234";

fn source(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// A directory in which `scripts/server.py` finds the binary under test.
fn target(dir: &Path) {
    let release = dir.join("release");
    std::fs::create_dir_all(&release).expect("a directory");
    let binary = env!("CARGO_BIN_EXE_pavs");
    std::os::unix::fs::symlink(binary, release.join("pavs")).expect("a link");
}

/// `python3 FILE`, with no settings from the environment of the test run.
fn python(file: &Path) -> Command {
    let clean = pavs();
    let mut command = Command::new("python3");
    command.arg(file);
    for (name, value) in clean.get_envs() {
        assert!(value.is_none());
        command.env_remove(name);
    }
    command
}

/// A server that was started by another program, under whose process id it runs.
pub(crate) struct Replaced {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Replaced {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{command:?} cannot be run ({e}); is its package installed?")
            });
        let (told, lines) = mpsc::channel();
        let out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().expect("piped"));
        let err: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().expect("piped"));
        for pipe in [out, err] {
            let told = told.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = told.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            log: Vec::new(),
        }
    }

    /// Waits for a line, on either stream, that contains `text`.
    pub(crate) fn line(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?}:\n{}", self.log.join("\n"));
            };
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited for") {
                return status;
            }
            assert!(Instant::now() < end, "SIGTERM does not end it");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.log.extend(self.lines.try_iter());
            eprintln!("--- the server's log ---\n{}", self.log.join("\n"));
        }
    }
}

/// Runs one of the Python programs beside this file, and reads the JSON that it prints.
fn script(name: &str, arguments: &[&str]) -> Value {
    let file = source(&format!("tests/it/dropin/{name}"));
    let mut command = python(&file);
    let (status, out, err) = run_to_end(command.args(arguments));
    assert!(
        status.success(),
        "{name}: {err} (is the package python3-requests installed?)"
    );
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{name}: {e}: {out}"))
}

/// The camera's own key, and its signing request.
fn signing_request(dir: &Path) -> (PathBuf, PathBuf) {
    let (key, csr) = (dir.join("DUT.key"), dir.join("DUT.csr"));
    let made = tool(
        "openssl",
        "the package openssl",
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=camera",
            "-keyout",
            &key.to_string_lossy(),
            "-out",
            &csr.to_string_lossy(),
        ],
    );
    assert!(made.status.success(), "{made:?}");
    (key, csr)
}

/// A camera application: libcurl, HTTP/2, the server's name verified, a new connection for each file.
struct Camera {
    dir: PathBuf,
    endpoint: String,
}

impl Camera {
    /// Returns the status of the answer.
    fn send(&self, path: &str, media_type: &str, headers: &[&str], body: &[u8]) -> String {
        let file = self.dir.join("body");
        std::fs::write(&file, body).expect("written");
        let at = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
        let mut arguments: Vec<String> = [
            "--silent",
            "--show-error",
            "--http2",
            "--max-time",
            "20",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}",
        ]
        .map(str::to_owned)
        .to_vec();
        for (flag, value) in [
            ("--cacert", at("root.pem")),
            ("--cert", at("DUT.pem")),
            ("--key", at("DUT.key")),
            ("--header", format!("Content-Type: {media_type}")),
            ("--upload-file", at("body")),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        for header in headers {
            arguments.extend(["--header".to_owned(), (*header).to_owned()]);
        }
        arguments.push(format!("{}{path}", self.endpoint));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let sent = tool("curl", "the package curl", &arguments);
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        let status = said.strip_prefix("2 ").unwrap_or_else(|| {
            let errors = String::from_utf8_lossy(&sent.stderr);
            panic!("{path}: no answer over HTTP/2: {said:?} {errors}")
        });
        status.to_owned()
    }
}

fn mpd(kind: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"{kind}\" minBufferTime=\"PT2S\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\">\n<Period>\n\
         <AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\">\n\
         <SegmentTemplate timescale=\"1\" duration=\"1\" startNumber=\"1001\" \
         initialization=\"media/media.init\" media=\"media/segment_$Number%04d$.m4s\"/>\n\
         <Representation id=\"media\" bandwidth=\"100000\" codecs=\"avc1.640028\" width=\"640\" height=\"360\"/>\n\
         </AdaptationSet>\n</Period>\n</MPD>\n"
    )
    .into_bytes()
}

/// The port may be another's for a moment: test runs in neighbouring directories share it.
fn wait_for_the_port() {
    let end = Instant::now() + DEADLINE;
    while let Err(e) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 1234)) {
        assert!(
            Instant::now() < end,
            "this test needs port 1234, which harnesses have written down, but: {e}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_harness_finds_what_it_needs() {
    if clients::skip() {
        return;
    }
    let work = tempfile::tempdir().expect("a directory");
    let dir = work.path();
    target(&dir.join("target"));
    let kept = dir.join("pavstest");
    std::fs::create_dir(&kept).expect("the harness makes it");
    let ip = outside_address().unwrap_or(Ipv4Addr::LOCALHOST);
    wait_for_the_port();

    let mut server = Replaced::start(
        python(&source("scripts/server.py"))
            .args(["--host", "0.0.0.0", "--working-directory"])
            .arg(&kept)
            .args(["--strict-mode", "--server-ip", &ip.to_string()])
            .env("CARGO_TARGET_DIR", dir.join("target")),
    );
    server.line(READY);
    let program = PathBuf::from(format!("/proc/{}/exe", server.child.id()));
    if let Ok(program) = std::fs::read_link(program) {
        // The signal that ends the script is the server's.
        assert_eq!(program.file_name(), Some("pavs".as_ref()));
    }

    let (_, csr) = signing_request(dir);
    let address = format!("https://{ip}:1234");
    let (csr, out) = (csr.to_string_lossy(), dir.to_string_lossy());
    let streams = script("harness.py", &[&address, &csr, &out]);

    a_camera_pushes_dash(&mut server, dir, &address, &streams["dash"]);
    a_camera_pushes_tracks(dir, &address, &streams["cmaf-ingest"]);
    a_camera_pushes_hls(dir, &address, &streams["hls"]);

    assert_eq!(server.terminate().code(), Some(0));
    // What the harness leaves behind it removes; here is a last look at it.
    let first = kept.join(format!(
        "streams/{}/session_1/media/media.init",
        streams["dash"]
    ));
    assert_eq!(
        std::fs::read(first).expect("the object"),
        Track::video(640, 360).header()
    );
}

/// As the Matter project's camera application does, to the end and once more.
fn a_camera_pushes_dash(server: &mut Replaced, dir: &Path, address: &str, id: &Value) {
    let camera = Camera {
        dir: dir.to_owned(),
        endpoint: format!("{address}/streams/{id}/"),
    };
    let track = Track::video(640, 360);
    let manifest = "session_1/index.mpd";
    let send = |path: &str, media_type: &str, body: &[u8]| {
        assert_eq!(camera.send(path, media_type, &[], body), "202", "{path}");
    };
    send(manifest, "application/dash+xml", &mpd("dynamic"));
    send("session_1/media/media.init", "video/mp4", &track.header());
    for number in 1001..1004_u32 {
        let segment = track.second(u64::from(number - 1001), 1);
        let path = format!("session_1/media/segment_{number}.m4s");
        send(&path, "video/iso.segment", &segment);
    }
    // Not the name that the harness has set.
    assert_eq!(
        camera.send(
            "session_1/other/other.init",
            "video/mp4",
            &[],
            &track.header()
        ),
        "400"
    );
    send(manifest, "application/dash+xml", &mpd("static"));
    // Cameras send it once more when they are switched off.
    send(manifest, "application/dash+xml", &mpd("static"));
    // Somebody looks for it in the log.
    server.line(&format!(
        "stream={id}, file=session_1/media/segment_1003.m4s"
    ));

    let played = script("player.py", &[&id.to_string()]);
    assert_eq!(played["manifest"], manifest);
    let stream = &played["stream"];
    let valid = stream["valid_uploads"].as_array().expect("a list");
    assert_eq!(valid.len(), 5, "{stream}");
    assert_eq!(
        stream["error_uploads"][0]["file_path"], "session_1/other/other.init",
        "{stream}"
    );
    assert_eq!(
        stream["invalid_files"][0]["validation_error_reason"],
        stream["error_uploads"][0]["reasons"][0]
    );
}

/// DASH-IF Ingest, interface 1: tracks that grow.
fn a_camera_pushes_tracks(dir: &Path, address: &str, id: &Value) {
    let camera = Camera {
        dir: dir.to_owned(),
        endpoint: format!("{address}/streams/{id}/"),
    };
    let track = Track::video(640, 360);
    for body in [track.header(), track.second(0, 1), track.second(1, 1)] {
        assert_eq!(camera.send("video.cmfv", "video/mp4", &[], &body), "202");
    }
    let stream = script("player.py", &[&id.to_string()])["stream"].clone();
    assert_eq!(stream["valid_files"], serde_json::json!(["video.cmfv"]));
    assert_eq!(stream["error_uploads"], serde_json::json!([]));
}

/// The same with playlists: the segments' lengths come in a header field.
fn a_camera_pushes_hls(dir: &Path, address: &str, id: &Value) {
    let camera = Camera {
        dir: dir.to_owned(),
        endpoint: format!("{address}/streams/{id}/"),
    };
    let track = Track::video(640, 360);
    let playlist = "application/vnd.apple.mpegurl";
    let send = |path: &str, media_type: &str, headers: &[&str], body: &[u8]| {
        assert_eq!(
            camera.send(path, media_type, headers, body),
            "202",
            "{path}"
        );
    };
    let variants = "#EXTM3U\n#EXT-X-VERSION:6\n\
         #EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS=\"avc1.640028\",RESOLUTION=640x360\nmedia/index.m3u8\n";
    let head =
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"media.init\"\n";
    send("session_1/index.m3u8", playlist, &[], variants.as_bytes());
    send("session_1/media/index.m3u8", playlist, &[], head.as_bytes());
    send(
        "session_1/media/media.init",
        "video/mp4",
        &[],
        &track.header(),
    );
    let mut last = head.replace("#EXT-X-MAP", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP");
    for number in 1001..1004_u32 {
        let segment = track.second(u64::from(number - 1001), 1);
        let path = format!("session_1/media/segment_{number}.m4s");
        let length = ["X-EXTINF-duration: 1.000"];
        send(&path, "video/iso.segment", &length, &segment);
        last += &format!("#EXTINF:1.000,\nsegment_{number}.m4s\n");
    }
    last += "#EXT-X-ENDLIST\n";
    send("session_1/media/index.m3u8", playlist, &[], last.as_bytes());

    let played = script("player.py", &[&id.to_string()]);
    let stream = &played["stream"];
    assert!(
        played["manifest"]
            .as_str()
            .is_some_and(|name| name.ends_with("index.m3u8")),
        "{played}"
    );
    assert_eq!(stream["error_uploads"], serde_json::json!([]));
    assert_eq!(
        stream["valid_files"].as_array().map(Vec::len),
        Some(6),
        "{stream}"
    );
}

/// As it is copied into a container: without the project around it, the binary on the path.
#[test]
fn the_replacement_script_finds_its_program() {
    if clients::skip() {
        return;
    }
    let work = tempfile::tempdir().expect("a directory");
    let copy = work.path().join("src/server.py");
    std::fs::create_dir(work.path().join("src")).expect("a directory");
    std::fs::copy(source("scripts/server.py"), &copy).expect("copied");
    let none = work.path().join("nothing");
    target(&work.path().join("target"));
    let paths = std::env::var("PATH").expect("a path");
    let with = format!("{}:{paths}", work.path().join("target/release").display());
    for (built, path, found) in [
        (work.path().join("target"), paths.clone(), true),
        (none.clone(), with, true),
        (none, "/usr/bin:/bin".to_owned(), false),
    ] {
        let mut command = python(&copy);
        command
            .arg("--help")
            .env("CARGO_TARGET_DIR", &built)
            .env("PATH", path);
        let (status, out, err) = run_to_end(&mut command);
        assert_eq!(status.success(), found, "{built:?}: {out}{err}");
        if found {
            assert!(out.contains("--strict-mode"), "{out}");
        } else {
            assert!(err.contains("cargo build"), "says what to do: {err}");
        }
    }
}

#[test]
fn the_replacement_script_leaves_access_to_who_says_it() {
    if clients::skip() {
        return;
    }
    let work = tempfile::tempdir().expect("a directory");
    target(&work.path().join("target"));
    let settings = work.path().join("pavs.toml");
    std::fs::write(&settings, "access = \"closed\"\n").expect("written");
    let cases: [(&[&str], Option<&str>, &str); 4] = [
        (&[], None, "--access open"),
        (&["--access", "local"], None, "access: local"),
        (&[], Some("closed"), "access: closed"),
        (
            &["--config", &settings.to_string_lossy()],
            None,
            "access: closed",
        ),
    ];
    for (number, (arguments, environment, said)) in cases.into_iter().enumerate() {
        let mut command = python(&source("scripts/server.py"));
        command
            .args(["--port", "0", "--working-directory"])
            .arg(work.path().join(number.to_string()))
            .args(arguments)
            .env("CARGO_TARGET_DIR", work.path().join("target"));
        if let Some(access) = environment {
            command.env("PAVS_ACCESS", access);
        }
        let mut server = Replaced::start(&mut command);
        server.line(said);
        server.line("Running on https://127.0.0.1:");
        assert_eq!(server.terminate().code(), Some(0));
    }
}
