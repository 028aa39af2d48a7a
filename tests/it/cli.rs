//! The command: flags, environment, configuration file, exit codes, signals.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::harness::{DEADLINE, Ending, Server, has_ipv6, pavs, run_to_end, skipped};

fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let (status, out, error) = run_to_end(command);
    for text in [&out, &error] {
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", ".rs:"] {
            assert!(!text.contains(word), "{word:?} in {text}");
        }
    }
    (status, out, error)
}

/// Runs `pavs serve`, which is to fail with this exit code and one line on stderr.
#[track_caller]
fn fails(command: &mut Command, code: i32) -> String {
    let (status, _, error) = run(command);
    assert_eq!(status.code(), Some(code), "{command:?}: {error}");
    let lines: Vec<_> = error
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = (*lines.last().unwrap_or(&"")).to_owned();
    if code == 2 {
        assert_eq!(lines.len(), 1, "one clear line: {error}");
    }
    assert!(!last.is_empty(), "{command:?} says nothing");
    last
}

fn serve(arguments: &[&str]) -> Command {
    let mut command = pavs();
    command.arg("serve").args(arguments);
    command
}

#[test]
fn help_and_version() {
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let (status, out, error) = run(pavs().args(arguments));
        assert_eq!(status.code(), Some(0), "{error}");
        assert!(out.contains("serve") && error.is_empty(), "{out}{error}");
    }
    let (_, help, _) = run(pavs().args(["serve", "--help"]));
    for flag in [
        "--host",
        "--port",
        "--working-directory",
        "--strict-mode",
        "--dns",
        "--server-ip",
        "--access",
        "--log-format",
        "--config",
        "PAVS_PORT",
        "1234",
    ] {
        assert!(help.contains(flag), "{flag} is missing in\n{help}");
    }
    let (status, out, _) = run(pavs().arg("--version"));
    assert_eq!(status.code(), Some(0));
    assert!(out.contains(env!("CARGO_PKG_VERSION")), "{out}");
}

#[tokio::test]
async fn a_closed_standard_error_does_not_end_it() {
    let mut server = Server::with().deaf().start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    server.end(Ending::Polite).await;
}

#[test]
fn a_closed_standard_output_is_no_fault() {
    let mut child = pavs()
        .args(["serve", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && error.is_empty(), "{error}");
}

#[test]
fn wrong_values_are_one_line_and_exit_code_2() {
    for arguments in [
        &["--port", "abc"][..],
        &["--port", "99999"],
        &["--port", "-1"],
        &["--access", "maybe"],
        &["--server-ip", "nonsense"],
        &["--dns", "a b"],
        &["--log-format", "xml"],
        &["--body-timeout", "soon"],
        &["--max-object-size", "much"],
        &["--no-such-flag"],
        &["stray"],
        &["--host", ""],
    ] {
        let line = fails(&mut serve(arguments), 2);
        let value = arguments.last().expect("a value");
        assert!(
            line.contains(value) || line.contains(arguments[0]),
            "{arguments:?}: {line}"
        );
    }
    fails(&mut pavs(), 2);
    fails(pavs().arg("fly"), 2);
    for (name, value) in [("PAVS_PORT", "abc"), ("PAVS_ACCESS", "maybe")] {
        let line = fails(serve(&[]).env(name, value), 2);
        assert!(line.contains(value), "{line}");
    }
}

#[test]
fn a_configuration_file_is_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pavs.toml");
    let path = file.to_str().expect("utf-8");
    for (text, line, word) in [
        ("port = 0\n\nprot = 3\n", "3", "prot"),
        ("port = 0\nport-number = 1\n", "2", "port-number"),
        ("# a comment\nport = \"abc\"\n", "2", "abc"),
        ("port = = 3\n", "1", ""),
        ("port = 0\naccess = \"maybe\"\n", "2", "maybe"),
    ] {
        std::fs::write(&file, text).expect("written");
        let error = fails(&mut serve(&["--config", path]), 2);
        assert!(error.contains(&format!("line {line}")), "{text:?}: {error}");
        assert!(error.contains(word), "{text:?}: {error}");
    }
    let missing = dir.path().join("none.toml");
    let (status, _, error) = run(&mut serve(&["--config", missing.to_str().expect("utf-8")]));
    assert!(
        [Some(1), Some(2)].contains(&status.code()) && error.contains("none.toml"),
        "{error}"
    );
}

#[tokio::test]
async fn flags_win_over_environment_over_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pavs.toml");
    std::fs::write(
        &file,
        "access = \"open\"\nstrict-mode = true\nlog-format = \"json\"\n",
    )
    .expect("written");
    let file = file.to_str().expect("utf-8");
    let status = async |server: &Server| {
        server
            .anonymous()
            .get("/certs")
            .header("Via", "1.1 x")
            .await
            .status
    };

    let server = Server::with().args(["--config", file]).start().await;
    assert_eq!(status(&server).await, 200, "open, from the file");
    let id = server.stream(&server.anonymous(), "dash").await;
    assert_eq!(server.anonymous().stream(id).await["strict_mode"], true);
    let server = Server::with()
        .env("PAVS_CONFIG", file)
        .env("PAVS_ACCESS", "closed")
        .start()
        .await;
    assert_eq!(status(&server).await, 401, "closed, from the environment");
    assert_eq!(server.anonymous().get("/certs").await.status, 401);
    let server = Server::with()
        .args(["--config", file, "--access", "local"])
        .env("PAVS_ACCESS", "closed")
        .start()
        .await;
    assert_eq!(status(&server).await, 401);
    assert_eq!(
        server.anonymous().get("/certs").await.status,
        200,
        "local, from the flag"
    );
    let server = Server::with().env("PAVS_STRICT_MODE", "true").start().await;
    let id = server.stream(&server.anonymous(), "dash").await;
    assert_eq!(server.anonymous().stream(id).await["strict_mode"], true);
}

#[tokio::test]
async fn the_log_can_be_json() {
    let server = Server::with().args(["--log-format", "json"]).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    server
        .log_line("the upload", |line| line.contains("Upload successful"))
        .await;
    for line in server.log().lines() {
        // The ready line is for tools that wait for its words, whatever the format.
        let json = serde_json::from_str::<serde_json::Value>(line);
        assert!(
            json.is_ok() || line.starts_with("Running on https://"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn names_cannot_turn_log_lines_around() {
    for format in ["text", "json"] {
        let server = Server::with().args(["--log-format", format]).start().await;
        let client = server.anonymous();
        let id = server.stream(&client, "dash").await;
        let path = format!("/streams/{id}/a%e2%80%aeb%c3%bc.m4s");
        client.put(&path, "x").await.expect(202);
        client.get(&path).await.expect(200).is(b"x");
        let line = server
            .log_line("the upload", |line| line.contains("Upload successful"))
            .await;
        assert!(line.contains("a\\u202ebü.m4s"), "{line}");
    }
}

#[tokio::test]
async fn rust_log_sets_the_level() {
    let server = Server::with().env("RUST_LOG", "error").start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    client
        .put(&format!("/streams/{id}/a.m4s"), "x")
        .await
        .expect(202);
    assert!(
        !server.log().contains("Upload successful"),
        "{}",
        server.log()
    );
    assert!(
        server.log().contains("Running on https://"),
        "the ready line is no log line"
    );
}

#[tokio::test]
async fn a_busy_port_is_one_line_and_exit_code_1() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let line = fails(
        serve(&[
            "--port",
            &server.port.to_string(),
            "--host",
            "127.0.0.1",
            "--working-directory",
        ])
        .arg(dir.path()),
        1,
    );
    assert!(line.contains(&server.port.to_string()), "{line}");
}

#[test]
fn an_unknown_host_is_one_line_and_exit_code_1() {
    let dir = tempfile::tempdir().expect("a directory");
    for host in ["no.such.host.invalid", "203.0.113.200"] {
        let line = fails(
            serve(&["--port", "0", "--host", host, "--working-directory"]).arg(dir.path()),
            1,
        );
        assert!(line.contains(host), "{line}");
    }
}

#[test]
fn an_unusable_directory_is_one_line_and_exit_code_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    for path in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/no/such"),
    ] {
        let line = fails(serve(&["--port", "0", "--working-directory"]).arg(&path), 1);
        assert!(line.contains(&*path.to_string_lossy()), "{line}");
    }
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let server = Server::start().await;
    let line = fails(
        serve(&["--port", "0", "--working-directory"]).arg(&server.dir),
        1,
    );
    assert!(
        line.contains("in use") || line.contains("another"),
        "{line}"
    );
    assert!(line.contains(&*server.dir.to_string_lossy()), "{line}");
    server.anonymous().get("/certs").await.expect(200);
}

#[tokio::test]
async fn a_directory_is_made_with_its_parents() {
    let dir = tempfile::tempdir().expect("a directory");
    let deep = dir.path().join("a/b/c");
    let server = Server::with().directory(&deep).start().await;
    assert!(deep.join("certs/server/root.pem").exists());
    drop(server);
    assert!(
        deep.join("certs/server/root.pem").exists(),
        "a given directory is kept"
    );
}

/// The temporary directory the server made, below `parent`.
fn only_entry(parent: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(parent).expect("a directory");
    entries.next().map(|entry| entry.expect("an entry").path())
}

#[tokio::test]
async fn d31_a_temporary_directory_is_removed_at_the_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let parent = tempfile::tempdir().expect("a directory");
        let text = parent.path().to_string_lossy().into_owned();
        let mut server = Server::with()
            .without_directory()
            .env("TMPDIR", text)
            .start()
            .await;
        let made = only_entry(parent.path()).expect("a temporary directory");
        assert!(
            made.join("certs/server/root.pem").exists(),
            "{}",
            made.display()
        );
        server.signal(signal);
        assert_eq!(server.exit(DEADLINE).await.code(), Some(0), "{signal:?}");
        assert_eq!(only_entry(parent.path()), None, "{signal:?}");
    }
}

#[tokio::test]
async fn signals_end_it_with_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start().await;
        // Accepted before the next one, and never heard of.
        let mut silent = tokio::net::TcpStream::connect(server.address())
            .await
            .expect("a connection");
        let mut idle = server.h1(None).await;
        idle.request("GET", "/healthz", &[], b"").await.expect(200);
        let client = server.anonymous();
        client.get("/healthz").await.expect(200);
        server.signal(signal);
        assert_eq!(
            server.exit(Duration::from_secs(3)).await.code(),
            Some(0),
            "{signal:?}, at once when idle"
        );
        assert!(silent.read_u8().await.is_err(), "it is closed");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let parent = tempfile::tempdir().expect("a directory");
        let mut server = Server::with()
            .args(["--shutdown-timeout", "10m"])
            .without_directory()
            .env("TMPDIR", parent.path().to_string_lossy())
            .start()
            .await;
        server.dir = only_entry(parent.path()).expect("a temporary directory");
        let client = server.anonymous();
        let id = server.stream(&client, "dash").await;
        let mut raw = server.h1(None).await;
        raw.head(
            "PUT",
            &format!("/streams/{id}/a.m4s"),
            &[("Content-Length", "10"), ("Expect", "100-continue")],
        )
        .await;
        assert_eq!(raw.answer_head().await.expect("an answer").status, 100);
        server.signal(signal);
        crate::harness::eventually("it has heard the first signal", async || {
            std::net::TcpStream::connect(server.address())
                .is_err()
                .then_some(())
        })
        .await;
        assert_eq!(
            client_is_alive(&mut server),
            None,
            "the upload is waited for"
        );
        server.signal(signal);
        let ended = server.exit(Duration::from_secs(3)).await;
        assert_eq!(ended.code(), Some(code), "{signal:?}");
        assert_eq!(only_entry(parent.path()), None, "no key is left behind");
    }
}

fn client_is_alive(server: &mut Server) -> Option<()> {
    rustix::process::test_kill_process(server.pid())
        .err()
        .map(drop)
}

#[tokio::test]
async fn the_host_is_printed_as_given() {
    let server = Server::with().args(["--host", "127.0.0.1"]).start().await;
    assert_eq!(server.host, "127.0.0.1");
    server.anonymous().get("/certs").await.expect(200);
    let server = Server::with().args(["--host", "0.0.0.0"]).start().await;
    assert_eq!(server.host, "0.0.0.0");
    server.anonymous().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn localhost_is_both_addresses_on_one_port() {
    let server = Server::start().await;
    server
        .anonymous()
        .at(&format!("https://127.0.0.1:{}", server.port))
        .get("/certs")
        .await
        .expect(200);
    if !has_ipv6() {
        return skipped("no IPv6 on this machine");
    }
    server
        .anonymous()
        .at(&format!("https://[::1]:{}", server.port))
        .get("/certs")
        .await
        .expect(200);
}

#[tokio::test]
async fn hosts_may_be_repeated() {
    if !has_ipv6() {
        return skipped("no IPv6 on this machine");
    }
    let server = Server::with()
        .args(["--host", "127.0.0.1", "--host", "::1"])
        .start()
        .await;
    for host in ["127.0.0.1", "[::1]"] {
        let client = server
            .anonymous()
            .at(&format!("https://{host}:{}", server.port));
        client.get("/certs").await.expect(200);
    }
    let server = Server::with().args(["--host", "::1"]).start().await;
    server
        .anonymous()
        .at(&format!("https://[::1]:{}", server.port))
        .get("/certs")
        .await
        .expect(200);
}

#[tokio::test]
async fn hosts_may_name_the_same_address() {
    for hosts in [
        ["localhost", "127.0.0.1"],
        ["127.0.0.1", "localhost"],
        ["0.0.0.0", "127.0.0.1"],
    ] {
        let server = Server::with()
            .args(hosts.iter().flat_map(|host| ["--host", *host]))
            .start()
            .await;
        server.anonymous().get("/healthz").await.expect(200);
    }
}

#[test]
fn a_missing_command_is_said() {
    let line = fails(&mut pavs(), 2);
    assert!(
        line.contains("subcommand") && line.contains("serve"),
        "{line}"
    );
}

#[tokio::test]
async fn empty_settings_of_the_environment_are_none() {
    let server = Server::with()
        .env("PAVS_PORT", "")
        .env("PAVS_ACCESS", "")
        .env("PAVS_HOST", "")
        .env("PAVS_STRICT_MODE", "1")
        .start()
        .await;
    let client = server.anonymous();
    let id = server.stream(&client, "dash").await;
    assert_eq!(client.stream(id).await["strict_mode"], true);
}

#[tokio::test]
async fn open_files_are_raised_to_their_limit() {
    let server = Server::start().await;
    let pid = server.pid().as_raw_nonzero();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("the server runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a limit");
    let fields: Vec<_> = line.split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "{line}");
}

#[test]
fn a_low_limit_of_open_files_is_warned_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = format!(
        "ulimit -n 128; exec timeout -s TERM 20 {} serve --port 0 --working-directory {}",
        env!("CARGO_BIN_EXE_pavs"),
        dir.path().display()
    );
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut seen = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("piped"));
    while !seen.contains("Running on")
        && std::io::BufRead::read_line(&mut lines, &mut seen).is_ok_and(|n| n > 0)
    {}
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    child.wait().expect("it ends");
    let warnings = seen
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("connections"))
        .count();
    assert_eq!(warnings, 1, "{seen}");
}

#[tokio::test]
async fn one_address_by_two_names_is_one_listener() {
    let server = Server::with()
        .args(["--host", "127.0.0.1", "--host", "localhost"])
        .start()
        .await;
    server.anonymous().get("/certs").await.expect(200);
}
