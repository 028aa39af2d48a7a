//! Starts the real `pavs` binary on a free port and a temporary working directory, and speaks to it.
//!
//! Nothing here knows the server's code: the tests see its command line, its port, its log and its
//! working directory. Every answer that passes through here is checked for what must always hold
//! ([`Answer::check`]).

mod client;
mod raw;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hyper::header::HeaderMap;
use rustix::process::{Pid, Signal};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use client::{Answer, Client, same};
pub(crate) use raw::{H1, H2};

/// How long anything may take that should be quick. Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What the server writes to its standard error, as it comes.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// How a server is to be started.
pub(crate) struct Starter {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    dir: Option<PathBuf>,
    keep: Option<Arc<TempDir>>,
    own_directory: bool,
    deaf: bool,
}

impl Starter {
    pub(crate) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Uses this working directory, which the caller keeps.
    pub(crate) fn directory(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives no `--working-directory`, so that the server makes its own.
    pub(crate) fn without_directory(mut self) -> Self {
        self.own_directory = true;
        self
    }

    /// Closes the pipe of the server's standard error as soon as its ready line has come.
    pub(crate) fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    fn command(&mut self) -> Command {
        let mut command = pavs();
        command.arg("serve").args(["--port", "0"]);
        if !self.own_directory {
            let dir = self.dir.get_or_insert_with(|| {
                let dir =
                    Arc::new(TempDir::with_prefix("pavs-it-").expect("a temporary directory"));
                let path = dir.path().join("wd");
                self.keep = Some(dir);
                path
            });
            command.arg("--working-directory").arg(dir);
        }
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    /// Starts the server and waits for its ready line.
    pub(crate) async fn start(mut self) -> Server {
        let mut command = self.command();
        tokio::task::spawn_blocking(move || Server::spawn(&mut command, self))
            .await
            .expect("the server starts")
    }
}

/// The binary under test, with no settings from the environment of the test run.
pub(crate) fn pavs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pavs"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("PAVS_") || name == "RUST_LOG" || name == "RUST_BACKTRACE" {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs `pavs` to its end, within [`DEADLINE`].
pub(crate) fn run_to_end(command: &mut Command) -> (ExitStatus, String, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        let mut pipe = pipe.expect("piped");
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|p| Box::new(p) as _));
    let err = read(child.stderr.take().map(|p| Box::new(p) as _));
    let Some(status) = wait_for_exit(&mut child, DEADLINE) else {
        let _ = child.kill();
        panic!(
            "{command:?} did not end; stderr: {}",
            err.join().unwrap_or_default()
        )
    };
    (
        status,
        out.join().expect("stdout"),
        err.join().expect("stderr"),
    )
}

fn wait_for_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running server. Dropping it ends it and fails the test if it panicked.
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    /// Host as printed in the ready line.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The working directory.
    pub(crate) dir: PathBuf,
    _keep: Option<Arc<TempDir>>,
}

impl Server {
    /// With the default settings.
    pub(crate) async fn start() -> Self {
        Self::with().start().await
    }

    pub(crate) fn with() -> Starter {
        Starter {
            arguments: Vec::new(),
            environment: Vec::new(),
            dir: None,
            keep: None,
            own_directory: false,
            deaf: false,
        }
    }

    fn spawn(command: &mut Command, starter: Starter) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let log = Arc::new(Log::default());
        let pipe = child.stderr.take().expect("stderr is piped");
        let writer = Arc::clone(&log);
        let deaf = starter.deaf;
        std::thread::spawn(move || {
            let mut pipe = Some(BufReader::new(pipe));
            let mut line = Vec::new();
            while let Some(lines) = &mut pipe
                && lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0)
            {
                let text = without_colours(&String::from_utf8_lossy(&line));
                line.clear();
                if deaf && text.starts_with("Running on https://") {
                    // Whoever sees the line finds the pipe closed.
                    pipe.take();
                }
                writer
                    .text
                    .lock()
                    .expect("no panic while held")
                    .push_str(&text);
                writer.grown.notify_all();
            }
        });
        let mut server = Self {
            child,
            log,
            host: String::new(),
            port: 0,
            dir: starter.dir.unwrap_or_default(),
            _keep: starter.keep,
        };
        let end = Instant::now() + DEADLINE;
        let ready = loop {
            if let Some(url) = between(&server.log(), "Running on https://", " (CTRL + C to quit)")
            {
                break url;
            }
            let ended = server
                .child
                .try_wait()
                .expect("the child can be waited for");
            assert!(
                ended.is_none() && Instant::now() < end,
                "{command:?} did not become ready ({ended:?}):\n{}",
                server.log()
            );
            server.wait_for_growth(Duration::from_millis(50));
        };
        let (host, port) = ready.rsplit_once(':').expect("host:port in the ready line");
        server.host = host.to_owned();
        server.port = port.parse().expect("a port in the ready line");
        server
    }

    fn wait_for_growth(&self, limit: Duration) {
        let text = self.log.text.lock().expect("no panic while held");
        drop(self.log.grown.wait_timeout(text, limit));
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().expect("no panic while held").clone()
    }

    /// Waits for a line of the log that fits, and returns it.
    pub(crate) async fn log_line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| fits(line)) {
                return line.to_owned();
            }
            assert!(Instant::now() < end, "no log line: {what}; the log:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "the server did not end in {limit:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) async fn kill(&mut self) {
        let _ = self.child.kill();
        self.exit(DEADLINE).await;
    }

    /// Ends the server (politely or by `kill -9`) and starts it again on the same directory.
    pub(crate) async fn restart(mut self, how: Ending) -> Self {
        self.end(how).await;
        let keep = self._keep.take();
        let dir = self.dir.clone();
        drop(self);
        let mut again = Self::with().directory(&dir);
        again.keep = keep;
        again.start().await
    }

    pub(crate) async fn end(&mut self, how: Ending) {
        if self
            .child
            .try_wait()
            .expect("the child can be waited for")
            .is_some()
        {
            return;
        }
        match how {
            Ending::Polite => {
                self.signal(Signal::TERM);
                let status = self.exit(DEADLINE).await;
                assert_eq!(
                    status.code(),
                    Some(0),
                    "SIGTERM ends with 0:\n{}",
                    self.log()
                );
            }
            Ending::Kill => self.kill().await,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let v6 = self.host.contains("::");
        let ip: std::net::IpAddr = if v6 {
            "::1".parse()
        } else {
            "127.0.0.1".parse()
        }
        .expect("an address");
        SocketAddr::new(ip, self.port)
    }

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> String {
        format!("https://{}", self.address())
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    pub(crate) fn token(&self) -> String {
        let token =
            std::fs::read_to_string(self.path("admin.token")).expect("admin.token is there");
        token.trim().to_owned()
    }

    /// Makes a device key and certificate through the API, as the admin.
    pub(crate) async fn identity(&self, name: &str) -> Identity {
        self.admin()
            .post(&format!("/certs/{name}/keypair"))
            .await
            .expect(200);
        Identity::read(
            &self.path(&format!("certs/device/{name}.pem")),
            &self.path(&format!("certs/device/{name}.key")),
        )
    }

    /// A client without certificate and without token.
    pub(crate) fn anonymous(&self) -> Client {
        self.client(Http::Any, None)
    }

    /// A client with the admin token.
    pub(crate) fn admin(&self) -> Client {
        self.client(Http::Any, None)
            .with("Authorization", &format!("Bearer {}", self.token()))
    }

    /// A client with a device certificate of this name.
    pub(crate) async fn device(&self, name: &str) -> Client {
        let identity = self.identity(name).await;
        self.client(Http::Any, Some(&identity))
    }

    pub(crate) fn client(&self, http: Http, identity: Option<&Identity>) -> Client {
        let tls = self.tls(http, identity);
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(120));
        let builder = match http {
            Http::One => builder.http1_only(),
            Http::Two => builder.http2_prior_knowledge(),
            Http::Any => builder,
        };
        Client {
            http: builder.build().expect("a client"),
            base: self.base(),
            fields: HeaderMap::new(),
            secret: self.secret(),
        }
    }

    /// What no answer may contain: the place of the working directory.
    fn secret(&self) -> Arc<str> {
        self.dir.to_string_lossy().into()
    }

    /// TLS settings of a client that trusts this server.
    pub(crate) fn tls(&self, http: Http, identity: Option<&Identity>) -> ClientConfig {
        tls(
            &self.path("certs/server/root.pem"),
            rustls::ALL_VERSIONS,
            http,
            identity,
        )
    }

    /// A bare TLS connection with the given settings.
    pub(crate) async fn connect(&self, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let address = self.address();
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(tls))
            .connect(ServerName::IpAddress(address.ip().into()), tcp)
            .await
    }

    /// A raw HTTP/1.1 connection.
    pub(crate) async fn h1(&self, identity: Option<&Identity>) -> H1 {
        let io = self
            .connect(self.tls(Http::One, identity))
            .await
            .expect("a TLS connection");
        H1 {
            io,
            held: BytesMut::new(),
            host: self.address().to_string(),
            secret: self.secret(),
        }
    }

    /// A raw HTTP/2 connection.
    pub(crate) async fn h2(&self, identity: Option<&Identity>) -> H2 {
        let io = self
            .connect(self.tls(Http::Two, identity))
            .await
            .expect("a TLS connection");
        let (send, connection) = h2::client::handshake(io)
            .await
            .expect("an HTTP/2 connection");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        H2 {
            send,
            base: self.base(),
            secret: self.secret(),
        }
    }

    /// Opens a stream as `client` and returns its number.
    pub(crate) async fn stream(&self, client: &Client, interface: &str) -> u64 {
        let stream = client
            .post(&format!("/streams?interface={interface}"))
            .await
            .expect(201)
            .json();
        stream["id"].as_u64().expect("a stream has a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = rustix::process::kill_process(self.pid(), Signal::TERM);
            if wait_for_exit(&mut self.child, Duration::from_millis(500)).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{log}------------------------");
        } else {
            assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
        }
    }
}

/// How a server is ended before it is started again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Polite,
    Kill,
}

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Http {
    One,
    Two,
    Any,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
}

impl Identity {
    pub(crate) fn read(cert: &Path, key: &Path) -> Self {
        Self {
            cert_pem: std::fs::read_to_string(cert).expect("a certificate file"),
            key_pem: std::fs::read_to_string(key).expect("a key file"),
        }
    }
}

/// Client TLS settings. The server is always verified, by its root certificate.
pub(crate) fn tls(
    root: &Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
    http: Http,
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(root).expect("the server's root certificate") {
        roots
            .add(cert.expect("a certificate"))
            .expect("a root certificate");
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("TLS versions")
            .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
                .collect::<Result<_, _>>()
                .expect("a certificate chain");
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
            builder
                .with_client_auth_cert(chain, key)
                .expect("a key that fits the certificate")
        }
    };
    config.alpn_protocols = match http {
        Http::One => vec![b"http/1.1".to_vec()],
        Http::Two => vec![b"h2".to_vec()],
        Http::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    config
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says that a test passes without having looked, and why.
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether the machine has IPv6 on its loopback.
pub(crate) fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// An address of this machine that is not a loopback one.
pub(crate) fn outside_address() -> Option<std::net::Ipv4Addr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

/// Runs a program the tests need; its absence names the package that holds it.
pub(crate) fn tool(program: &str, package: &str, arguments: &[&str]) -> std::process::Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| {
            panic!("{program} cannot be run ({e}); install {package}");
        })
}

pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(text[start..end].to_owned())
}

/// Takes the escape sequences out that a terminal would show as colours.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        rest = rest[at..].find('m').map_or("", |end| &rest[at + end + 1..]);
    }
    plain + rest
}
