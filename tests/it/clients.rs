//! Real clients, as people run them: ffmpeg, shaka-packager, curl, and socat in front of an ffmpeg
//! that cannot hold a client certificate.
//!
//! They need the Debian packages ffmpeg, socat and curl and the npm package shaka-packager (its
//! program as `packager` on the path, or named by `PACKAGER`). `PAVS_SKIP_CLIENTS=1` leaves them out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Client, Http, Server, eventually, skipped, tool};

/// Whether real clients are to be left out.
pub(crate) fn skip() -> bool {
    let skip = std::env::var_os("PAVS_SKIP_CLIENTS").is_some_and(|value| value == "1");
    if skip {
        skipped("real clients (PAVS_SKIP_CLIENTS=1)");
    }
    skip
}

/// How long one client may run.
const LIMIT: Duration = Duration::from_secs(120);

/// A program that is ended with the test.
struct Program(Option<Child>);

impl Program {
    fn start(program: &str, package: &str, arguments: &[String]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be run ({e}); install {package}"));
        Self(Some(child))
    }

    fn kill(mut self) {
        let mut child = self.0.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a program to its end; it has to succeed.
async fn run(program: &str, package: &str, arguments: Vec<String>) -> Output {
    let (program, package) = (program.to_owned(), package.to_owned());
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let limit = LIMIT.as_secs().to_string();
        let all: Vec<&str> = ["-k", "5", &limit, &program]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .collect();
        tool(&program, &package, &["-version"]);
        let output = tool("timeout", "the package coreutils", &all);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {} after {:?}: {errors}",
            output.status,
            begun.elapsed()
        );
        output
    })
    .await
    .expect("the client runs")
}

async fn ffmpeg(arguments: Vec<String>) -> Output {
    run("ffmpeg", "the package ffmpeg", arguments).await
}

/// Splits a command line at spaces; enough for options without spaces in them.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A server with a stream of a device, and what clients need to push to it.
struct Stage {
    server: Server,
    client: Client,
    id: u64,
    work: tempfile::TempDir,
}

impl Stage {
    async fn set(interface: &str) -> Self {
        let server = Server::start().await;
        let identity = server.identity("cam").await;
        let client = server.client(Http::Any, Some(&identity));
        let id = server.stream(&client, interface).await;
        Self {
            server,
            client,
            id,
            work: tempfile::tempdir().expect("a directory"),
        }
    }

    /// `https://localhost:PORT/streams/ID`.
    fn endpoint(&self) -> String {
        format!("https://localhost:{}/streams/{}", self.server.port, self.id)
    }

    fn file(&self, relative: &str) -> String {
        self.server.path(relative).to_string_lossy().into_owned()
    }

    /// Options of ffmpeg's https protocol.
    fn tls(&self) -> String {
        format!(
            "-ca_file {} -cert_file {} -key_file {} -tls_verify 1",
            self.file("certs/server/root.pem"),
            self.file("certs/device/cam.pem"),
            self.file("certs/device/cam.key"),
        )
    }

    /// The same as one value, for muxers that open their URLs themselves.
    fn http_opts(&self) -> String {
        self.tls()
            .replace(" -", ":")
            .trim_start_matches('-')
            .replace(' ', "=")
    }

    fn target(&self, path: &str) -> String {
        format!("/streams/{}/{path}", self.id)
    }

    async fn read(&self, path: &str) -> Vec<u8> {
        self.client
            .get(&self.target(path))
            .await
            .expect(200)
            .body
            .to_vec()
    }

    async fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path).await).expect("text")
    }

    /// The paths that have been uploaded, in sorted order; none may have failed.
    async fn paths(&self) -> BTreeSet<String> {
        // ffmpeg does not wait for answers: its last uploads may still be under way when it has ended.
        let onlooker = self.server.anonymous();
        eventually("no upload is under way", async || {
            let metrics = onlooker.get("/metrics").await.expect(200);
            let text = String::from_utf8_lossy(&metrics.body).into_owned();
            text.lines()
                .any(|line| line == "pavs_uploads_running 0")
                .then_some(())
        })
        .await;
        let records = self.client.uploads(self.id).await;
        for record in &records {
            let fine = ["accepted", "superseded"]
                .iter()
                .any(|status| record["status"] == *status);
            assert!(fine, "{record}");
        }
        records
            .iter()
            .map(|record| record["path"].as_str().expect("a path").to_owned())
            .collect()
    }

    /// Downloads these objects one after the other into one file.
    async fn joined(&self, paths: &[&str]) -> PathBuf {
        let mut bytes = Vec::new();
        for path in paths {
            bytes.extend(self.read(path).await);
        }
        let file = self.work.path().join("joined.mp4");
        std::fs::write(&file, bytes).expect("written");
        file
    }
}

/// How many packets ffprobe finds in the first stream of this kind.
fn packets(file: &Path, kind: &str) -> usize {
    let file = file.to_string_lossy();
    let arguments = [
        "-v",
        "error",
        "-count_packets",
        "-select_streams",
        kind,
        "-show_entries",
        "stream=nb_read_packets",
        "-of",
        "csv=p=0",
        &file,
    ];
    let output = tool("ffprobe", "the package ffmpeg", &arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let number = text.trim().trim_end_matches(',').parse();
    number.unwrap_or_else(|_| panic!("ffprobe {file}: {text:?} {errors}"))
}

const RATE: usize = 25;
/// AAC packets per second, nearly.
const AUDIO_RATE: usize = 46;

fn sources() -> Vec<String> {
    words(
        "-hide_banner -loglevel warning -re -f lavfi -i testsrc2=size=320x180:rate=25,format=yuv420p -re -f lavfi -i sine=f=1000:r=48000",
    )
}

const VIDEO: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -keyint_min 25 -sc_threshold 0 -b:v 200k";

/// Options that make ffmpeg push one endless CMAF track.
fn long(stage: &Stage, method: &str) -> String {
    format!(
        "-f mp4 -frag_duration 500000 -min_frag_duration 500000 -write_prft wallclock -use_editlist 0 \
         -movflags +cmaf+dash+delay_moov+skip_sidx+skip_trailer+frag_custom -method {method} \
         -multiple_requests 1 -chunked_post 1 -send_expect_100 1 {}",
        stage.tls()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_long_cmaf() {
    if skip() {
        return;
    }
    let stage = Stage::set("cmaf-ingest").await;
    for (method, path) in [
        ("PUT", "cmaf/example/video-720p.cmfv"),
        ("POST", "long.mp4"),
    ] {
        let line = format!(
            "-map 0:v -t 3 {VIDEO} {} {}/{path}",
            long(&stage, method),
            stage.endpoint()
        );
        ffmpeg([sources(), words(&line)].concat()).await;
        stage.client.settled(stage.id, path, "accepted").await;
        assert_eq!(packets(&stage.joined(&[path]).await, "v:0"), 3 * RATE);
        let probe = stage
            .client
            .get(&format!("/probe/{}/{path}", stage.id))
            .await
            .expect(200)
            .json();
        assert_eq!(probe["streams"][0]["codec_name"], "h264", "{probe}");
        assert_eq!(probe["streams"][0]["width"], 320);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_many_tracks() {
    if skip() {
        return;
    }
    let stage = Stage::set("cmaf-ingest").await;
    let (options, end) = (long(&stage, "POST"), stage.endpoint());
    let line = format!(
        "-filter_complex [0:v]split[a][b];[b]scale=160x90[c] \
         -map [a] -t 3 {VIDEO} {options} {end}/Switching(video)/Streams(video-180p.cmfv) \
         -map [c] -t 3 {VIDEO} {options} {end}/Switching(video)/Streams(video-90p.cmfv) \
         -map 1:a -t 3 -c:a aac -b:a 64k {options} {end}/Switching(audio)/Streams(audio-64k.cmfa)"
    );
    ffmpeg([sources(), words(&line)].concat()).await;
    for (path, kind, expected) in [
        ("Switching(video)/Streams(video-180p.cmfv)", "v:0", 3 * RATE),
        ("Switching(video)/Streams(video-90p.cmfv)", "v:0", 3 * RATE),
        (
            "Switching(audio)/Streams(audio-64k.cmfa)",
            "a:0",
            3 * AUDIO_RATE,
        ),
    ] {
        stage.client.settled(stage.id, path, "accepted").await;
        let found = packets(&stage.joined(&[path]).await, kind);
        assert!(found >= expected, "{path}: {found} of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_cut_and_run_again() {
    if skip() {
        return;
    }
    let stage = Stage::set("cmaf-ingest").await;
    for path in ["cam.cmfv", "cam.mp4"] {
        let push = |seconds: u32| {
            let line = format!(
                "-map 0:v -t {seconds} {VIDEO} {} {}/{path}",
                long(&stage, "PUT"),
                stage.endpoint()
            );
            [sources(), words(&line)].concat()
        };
        let first = Program::start("ffmpeg", "the package ffmpeg", &push(60));
        eventually("two fragments are readable", async || {
            let answer = stage
                .client
                .get(&stage.target(path))
                .header("Range", "bytes=0-")
                .await;
            let fragments = answer
                .body
                .windows(4)
                .filter(|letters| letters == b"moof")
                .count();
            (fragments >= 2).then_some(())
        })
        .await;
        first.kill();
        stage.client.settled(stage.id, path, "incomplete").await;
        let left = packets(&stage.joined(&[path]).await, "v:0");
        assert!(left >= RATE / 2, "{left} packets");
        ffmpeg(push(2)).await;
        stage.client.settled(stage.id, path, "accepted").await;
        assert_eq!(
            packets(&stage.joined(&[path]).await, "v:0"),
            2 * RATE,
            "the second run is served"
        );
    }
}

/// Pushes DASH for some seconds, one segment a second; returns the manifest.
async fn dash(stage: &Stage, seconds: usize, options: &str) -> String {
    let line = format!(
        "-t {seconds} -map 0:v -map 1:a {VIDEO} -c:a aac -b:a 64k -f dash -dash_segment_type mp4 -seg_duration 1 \
         -method PUT {options} -http_opts {} {}/manifest.mpd",
        stage.http_opts(),
        stage.endpoint()
    );
    let adaptation = [
        "-adaptation_sets".to_owned(),
        "id=0,streams=v id=1,streams=a".to_owned(),
    ];
    let mut arguments = [sources(), words(&line)].concat();
    let at = arguments
        .iter()
        .position(|word| word == "-method")
        .expect("there");
    arguments.splice(at..at, adaptation);
    ffmpeg(arguments).await;
    // ffmpeg does not wait for the last answer; the server may still be at it.
    eventually("the final manifest is there", async || {
        let answer = stage.client.get(&stage.target("manifest.mpd")).await;
        (answer.status == 200 && answer.text().contains("type=\"static\"")).then(|| answer.text())
    })
    .await
}

/// The segments of one representation that were uploaded.
fn segments<'a>(paths: &'a BTreeSet<String>, representation: &str) -> Vec<&'a str> {
    let prefix = format!("chunk-stream{representation}-");
    paths
        .iter()
        .map(String::as_str)
        .filter(|path| path.starts_with(&prefix))
        .collect()
}

/// Every packet of both representations can be read back.
async fn complete(stage: &Stage, seconds: usize) {
    let paths = stage.paths().await;
    for (representation, kind, expected) in [
        ("0", "v:0", seconds * RATE),
        ("1", "a:0", seconds * AUDIO_RATE),
    ] {
        let init = format!("init-stream{representation}.m4s");
        let all = [vec![init.as_str()], segments(&paths, representation)].concat();
        assert!(all.len() > seconds, "{paths:?}");
        let found = packets(&stage.joined(&all).await, kind);
        assert!(
            found >= expected,
            "representation {representation}: {found} of {expected} packets"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash() {
    if skip() {
        return;
    }
    let stage = Stage::set("dash").await;
    dash(&stage, 4, "-http_persistent 1").await;
    complete(&stage, 4).await;
}

const LOW_LATENCY: &str = "-http_persistent 1 -ldash 1 -streaming 1 -use_template 1 -use_timeline 0 \
    -frag_type duration -frag_duration 0.5 -write_prft 1 -export_side_data prft -target_latency 3 \
    -utc_timing_url http://time.example/?iso";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash_low_latency_first_run() {
    if !skip() {
        low_latency().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash_low_latency_second_run() {
    if !skip() {
        low_latency().await;
    }
}

async fn low_latency() {
    let stage = Stage::set("dash").await;
    dash(&stage, 4, LOW_LATENCY).await;
    complete(&stage, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash_connection_per_object_first_run() {
    if !skip() {
        connection_per_object().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash_connection_per_object_second_run() {
    if !skip() {
        connection_per_object().await;
    }
}

async fn connection_per_object() {
    let stage = Stage::set("dash").await;
    dash(&stage, 4, "-http_persistent 0").await;
    complete(&stage, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_dash_window_deletes() {
    if skip() {
        return;
    }
    let stage = Stage::set("dash").await;
    dash(
        &stage,
        7,
        "-http_persistent 1 -window_size 2 -extra_window_size 1",
    )
    .await;
    let paths = stage.paths().await;
    for representation in ["0", "1"] {
        let all = segments(&paths, representation);
        let (first, last) = (all[0], all[all.len() - 1]);
        eventually("the oldest segment is deleted", async || {
            (stage.client.get(&stage.target(first)).await.status == 404).then_some(())
        })
        .await;
        stage.client.get(&stage.target(last)).await.expect(200);
        stage
            .client
            .get(&stage.target(&format!("init-stream{representation}.m4s")))
            .await
            .expect(200);
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_hls_through_socat() {
    if skip() {
        return;
    }
    let stage = Stage::set("hls").await;
    let hop = free_port();
    // ffmpeg's hls muxer does not hand the certificate options on to the URLs it opens.
    let socat = [
        format!("TCP-LISTEN:{hop},bind=127.0.0.1,fork,reuseaddr,nodelay"),
        format!(
            "OPENSSL:localhost:{},cafile={},cert={},key={},verify=1,commonname=localhost,nodelay",
            stage.server.port,
            stage.file("certs/server/root.pem"),
            stage.file("certs/device/cam.pem"),
            stage.file("certs/device/cam.key"),
        ),
    ];
    let _socat = Program::start("socat", "the package socat", &socat);
    eventually("socat listens", async || {
        std::net::TcpStream::connect(("127.0.0.1", hop)).ok()
    })
    .await;
    let end = format!("http://127.0.0.1:{hop}/streams/{}", stage.id);
    let line = format!(
        "-t 4 -map 0:v -map 1:a {VIDEO} -c:a aac -b:a 64k -f hls -hls_segment_type fmp4 -hls_time 1 \
         -hls_list_size 0 -hls_flags independent_segments -hls_fmp4_init_filename init.mp4 \
         -hls_segment_filename {end}/v%v/segment_%04d.m4s -master_pl_name master.m3u8 -method PUT -http_persistent 1"
    );
    let mut arguments = [sources(), words(&line)].concat();
    arguments.extend([
        "-var_stream_map".to_owned(),
        "v:0,agroup:a a:0,agroup:a".to_owned(),
    ]);
    arguments.push(format!("{end}/v%v/index.m3u8"));
    ffmpeg(arguments).await;
    for (variant, kind, expected) in [("v0", "v:0", 4 * RATE), ("v1", "a:0", 4 * AUDIO_RATE)] {
        let playlist = eventually("the final playlist is there", async || {
            let answer = stage
                .client
                .get(&stage.target(&format!("{variant}/index.m3u8")))
                .await;
            (answer.status == 200 && answer.text().contains("#EXT-X-ENDLIST"))
                .then(|| answer.text())
        })
        .await;
        let map = playlist
            .split("URI=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("an EXT-X-MAP");
        let init = format!("{variant}/{}", map.rsplit('/').next().expect("a name"));
        let media: Vec<_> = playlist
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| format!("{variant}/{}", line.rsplit('/').next().expect("a name")))
            .collect();
        let all: Vec<&str> = std::iter::once(&init)
            .chain(&media)
            .map(String::as_str)
            .collect();
        let found = packets(&stage.joined(&all).await, kind);
        assert!(
            found >= expected,
            "{variant}: {found} of {expected} packets"
        );
    }
    assert!(
        stage
            .paths()
            .await
            .iter()
            .any(|path| path.ends_with("master.m3u8"))
    );
}

/// shaka-packager's program.
fn packager() -> String {
    std::env::var("PACKAGER").unwrap_or_else(|_| "packager".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shaka_packager() {
    if skip() {
        return;
    }
    let stage = Stage::set("dash").await;
    let input = stage
        .work
        .path()
        .join("in.mp4")
        .to_string_lossy()
        .into_owned();
    let mut make = words(&format!("-t 4 -map 0:v -map 1:a {VIDEO} -c:a aac -b:a 64k"));
    make.push(input.clone());
    let fast: Vec<_> = sources().into_iter().filter(|word| word != "-re").collect();
    ffmpeg([fast, make].concat()).await;
    let end = stage.endpoint();
    let mut arguments: Vec<_> = ["video", "audio"]
        .iter()
        .map(|kind| {
            format!(
                "in={input},stream={kind},init_segment={end}/{kind}/init.mp4,\
                 segment_template={end}/{kind}/$Number%05d$.m4s"
            )
        })
        .collect();
    arguments.extend(words(&format!(
        "--segment_duration 1 --fragment_duration 1 --ca_file {} --client_cert_file {} \
         --client_cert_private_key_file {} --mpd_output {end}/stream.mpd --hls_master_playlist_output {end}/master.m3u8",
        stage.file("certs/server/root.pem"),
        stage.file("certs/device/cam.pem"),
        stage.file("certs/device/cam.key"),
    )));
    run(
        &packager(),
        "the npm package shaka-packager and name its program in PACKAGER",
        arguments,
    )
    .await;
    let paths = stage.paths().await;
    for (kind, stream, expected) in [("video", "v:0", 4 * RATE), ("audio", "a:0", 4 * AUDIO_RATE)] {
        let init = format!("{kind}/init.mp4");
        let media = paths
            .iter()
            .filter(|path| path.starts_with(kind) && path.ends_with(".m4s"));
        let all: Vec<&str> = std::iter::once(&init)
            .chain(media)
            .map(String::as_str)
            .collect();
        assert!(all.len() > 4, "{paths:?}");
        let found = packets(&stage.joined(&all).await, stream);
        assert!(found >= expected, "{kind}: {found} of {expected} packets");
    }
    assert!(stage.text("stream.mpd").await.contains("<MPD"));
    assert!(
        stage
            .text("master.m3u8")
            .await
            .contains("#EXT-X-STREAM-INF")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_by_both_protocols() {
    if skip() {
        return;
    }
    let stage = Stage::set("dash").await;
    let file = stage.work.path().join("a.m4s");
    std::fs::write(&file, crate::media::payload(3_000_000, 1)).expect("written");
    for (n, options) in [
        "--http1.1",
        "--http2",
        "--http1.1 -H Expect:",
        "--http1.1 -H Transfer-Encoding:chunked",
        "--tls-max 1.2",
    ]
    .iter()
    .enumerate()
    {
        let line = format!(
            "-sS --fail-with-body {options} --cacert {} --cert {} --key {} -T {} {}/session_1/v/{n}.m4s",
            stage.file("certs/server/root.pem"),
            stage.file("certs/device/cam.pem"),
            stage.file("certs/device/cam.key"),
            file.display(),
            stage.endpoint()
        );
        let arguments = words(&line);
        let output = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            tool("curl", "the package curl", &arguments)
        })
        .await
        .expect("curl runs");
        assert!(
            output.status.success(),
            "{options}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let body = stage.read(&format!("session_1/v/{n}.m4s")).await;
        crate::harness::same(options, &body, &std::fs::read(&file).expect("read"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffprobe_and_probe_agree() {
    if skip() {
        return;
    }
    let stage = Stage::set("dash").await;
    let file = stage
        .work
        .path()
        .join("a.mp4")
        .to_string_lossy()
        .into_owned();
    let mut make = words(&format!(
        "-t 2 -map 0:v -map 1:a {VIDEO} -profile:v baseline -c:a aac -b:a 64k -movflags +frag_keyframe+empty_moov+default_base_moof"
    ));
    make.push(file.clone());
    let fast: Vec<_> = sources().into_iter().filter(|word| word != "-re").collect();
    ffmpeg([fast, make].concat()).await;
    stage
        .client
        .put(&stage.target("a.mp4"), std::fs::read(&file).expect("read"))
        .await
        .expect(202);
    let ours = stage
        .client
        .get(&format!("/probe/{}/a.mp4", stage.id))
        .await
        .expect(200)
        .json();
    let output = tool(
        "ffprobe",
        "the package ffmpeg",
        &[
            "-v",
            "error",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
            &file,
        ],
    );
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        ours["streams"].as_array().map(Vec::len),
        theirs["streams"].as_array().map(Vec::len)
    );
    for n in 0..2 {
        for field in [
            "codec_name",
            "codec_type",
            "profile",
            "level",
            "width",
            "height",
            "sample_rate",
            "channels",
            "time_base",
        ] {
            assert_eq!(
                ours["streams"][n][field], theirs["streams"][n][field],
                "{field} of stream {n}"
            );
        }
        let seconds = |report: &serde_json::Value| -> f64 {
            report["streams"][n]["duration"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a duration")
        };
        assert!(
            (seconds(&ours) - seconds(&theirs)).abs() < 0.1,
            "duration of stream {n}: {ours}"
        );
    }
}
