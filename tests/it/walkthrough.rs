//! The README's walk-through, run as written.
//!
//! Its ```` ```sh ```` blocks under the heading "Walk-through" are run in order by one shell, in a
//! home directory of their own. Two things are changed: the line that starts the server runs the
//! binary under test, in the background, and the port 1234 becomes a free one. `curl` is told to
//! fail on a status that is no success, so that every step has to be one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clients;
use crate::harness::{Server, eventually, find, tool};

/// The text of the walk-through's shell blocks.
fn blocks(readme: &str) -> Vec<String> {
    let section = readme
        .split("\n## Walk-through")
        .nth(1)
        .expect("README.md has a section \"Walk-through\"");
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in section.lines() {
        match (line.trim(), &mut block) {
            ("```sh", None) => block = Some(String::new()),
            ("```", Some(_)) => blocks.extend(block.take()),
            (_, Some(text)) => {
                text.push_str(line);
                text.push('\n');
            }
            (_, None) => {}
        }
    }
    assert!(!blocks.is_empty(), "the walk-through has ```sh blocks");
    blocks
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The script that the test runs for these blocks.
fn script(blocks: &[String], port: u16, strict: bool) -> String {
    const START: &str = "cargo run --release -- serve";
    let mut script = String::from("set -o pipefail\n");
    let mut text = blocks.join("\n");
    if !text.contains(START) {
        // The quick start above the section has started it.
        text.insert_str(
            0,
            &format!("{START} --working-directory ~/.pavstest --strict-mode\n"),
        );
    }
    for line in text.lines() {
        if let Some(arguments) = line.trim().strip_prefix(START) {
            let arguments = arguments.trim().trim_end_matches('&');
            let arguments = if strict {
                arguments.to_owned()
            } else {
                arguments.replace("--strict-mode", "")
            };
            script += &format!(
                "\"$PAVS\" serve {arguments} --port {port} 2>\"$HOME/pavs.log\" &\n\
                 SERVER=$!; trap 'status=$?; kill $SERVER; wait $SERVER || true; exit $status' EXIT\n\
                 until grep -q 'Running on https://' \"$HOME/pavs.log\"; do kill -0 $SERVER; sleep 0.1; done\n"
            );
        } else {
            script += &line.replace("1234", &port.to_string());
            script.push('\n');
        }
    }
    script
}

/// A `curl` that fails where the server does not answer with success.
fn strict_curl(bin: &Path) {
    let real = tool("sh", "the package dash", &["-c", "command -v curl"]);
    let real = String::from_utf8_lossy(&real.stdout).trim().to_owned();
    assert!(
        !real.is_empty(),
        "curl cannot be run; install the package curl"
    );
    std::fs::create_dir_all(bin).expect("a directory");
    let file = bin.join("curl");
    std::fs::write(
        &file,
        format!("#!/bin/sh\nexec {real} --fail-with-body \"$@\"\n"),
    )
    .expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(file, mode).expect("executable");
}

fn walk(strict: bool) {
    if clients::skip() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md is there");
    let home = tempfile::tempdir().expect("a home directory");
    let bin = home.path().join("bin");
    strict_curl(&bin);
    for (program, version) in [
        ("openssl", "version"),
        ("ffmpeg", "-version"),
        ("jq", "--version"),
    ] {
        tool(program, &format!("the package {program}"), &[version]);
    }
    let script = script(&blocks(&readme), free_port(), strict);
    let file = home.path().join("walk-through.sh");
    std::fs::write(&file, &script).expect("written");
    let path = std::env::var("PATH").unwrap_or_default();
    let child = Command::new("timeout")
        .args(["--kill-after=5", "180", "bash", "-eu"])
        .arg(&file)
        .current_dir(root)
        .env("HOME", home.path())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("PAVS", env!("CARGO_BIN_EXE_pavs"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let log = std::fs::read_to_string(home.path().join("pavs.log")).unwrap_or_default();
    assert!(
        child.status.success(),
        "the walk-through failed ({}):\n{script}\n--- stdout ---\n{}\n--- stderr ---\n{}\n--- the server's log ---\n{log}",
        child.status,
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    assert!(
        log.contains("Upload successful"),
        "something was pushed:\n{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn the_walk_through_works_in_strict_mode() {
    walk(true);
}

#[test]
fn the_walk_through_works_without_strict_mode() {
    walk(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d30_the_content_script_pushes_tracks_that_strict_mode_takes() {
    if clients::skip() {
        return;
    }
    tool("ffmpeg", "the package ffmpeg", &["-version"]);
    let home = tempfile::tempdir().expect("a home directory");
    let server = Server::with()
        .arg("--strict-mode")
        .directory(&home.path().join(".pavstest"))
        .start()
        .await;
    let client = server.device("dev").await;
    let id = server.stream(&client, "cmaf-ingest").await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/generate_cmaf_content.sh");
    let mut child = Command::new("bash")
        .arg(script)
        .env("HOME", home.path())
        .env(
            "PUBLISHING_ENDPOINT",
            format!("https://localhost:{}/streams/{id}", server.port),
        )
        .current_dir(home.path())
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("bash runs");
    let tracks = eventually("video and audio are readable while they run", async || {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            panic!("the script ended with {status}");
        }
        let stream = client.get(&format!("/streams/{id}/cmaf/example/video-720p.cmfv"));
        let video = stream.header("Range", "bytes=0-").await;
        find(&video.body, b"moof")?;
        let dir = std::fs::read_dir(server.path(&format!("streams/{id}/cmaf/example"))).ok()?;
        let names: Vec<_> = dir
            .flatten()
            .map(|entry| entry.file_name().into_string())
            .collect();
        (names.len() >= 2).then_some(names)
    })
    .await;
    let group =
        Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("a process id");
    kill_process_group(group, Signal::INT).expect("it runs");
    tokio::task::spawn_blocking(move || child.wait())
        .await
        .expect("no panic")
        .expect("it ends");
    for name in tracks {
        let path = format!("cmaf/example/{}", name.expect("utf-8"));
        let record = eventually("the upload has ended", async || {
            client
                .uploads_to(id, &path)
                .await
                .pop()
                .filter(|record| !record["status"].is_null())
        })
        .await;
        assert!(
            ["accepted", "incomplete"]
                .iter()
                .any(|status| record["status"] == *status),
            "{record}"
        );
        client
            .get(&format!("/streams/{id}/{path}"))
            .await
            .expect(200);
    }
}
