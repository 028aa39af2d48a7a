//! Starts the real `pavs` binary on a free port and a temporary working directory, and speaks to it.
//!
//! Nothing here knows the server's code: the tests see its command line, its port, its log and its
//! working directory. Every answer that passes through here is checked for what must always hold
//! ([`Answer::check`]).

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Method;
use rustix::process::{Pid, Signal};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything may take that should be quick. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Every header field an answer may carry. A new one is a decision, so it has to be added here.
const KNOWN_FIELDS: &[&str] = &[
    "accept-ranges",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];

// ---------------------------------------------------------------------------------------------
// The process

/// What the server writes to its standard error, as it comes.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// How a server is to be started.
pub struct Starter {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    dir: Option<PathBuf>,
    keep: Option<Arc<TempDir>>,
    own_directory: bool,
}

impl Starter {
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Uses this working directory, which the caller keeps.
    pub fn directory(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives no `--working-directory`, so that the server makes its own.
    pub fn without_directory(mut self) -> Self {
        self.own_directory = true;
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
    pub async fn start(mut self) -> Server {
        let mut command = self.command();
        tokio::task::spawn_blocking(move || Server::spawn(&mut command, self))
            .await
            .expect("the server starts")
    }
}

/// The binary under test, with no settings from the environment of the test run.
pub fn pavs() -> Command {
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
pub fn run_to_end(command: &mut Command) -> (ExitStatus, String, String) {
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
pub struct Server {
    child: Child,
    log: Arc<Log>,
    /// Host as printed in the ready line.
    pub host: String,
    pub port: u16,
    /// The working directory.
    pub dir: PathBuf,
    _keep: Option<Arc<TempDir>>,
}

impl Server {
    /// With the default settings.
    pub async fn start() -> Self {
        Self::with().start().await
    }

    pub fn with() -> Starter {
        Starter {
            arguments: Vec::new(),
            environment: Vec::new(),
            dir: None,
            keep: None,
            own_directory: false,
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
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = without_colours(&String::from_utf8_lossy(&line));
                writer
                    .text
                    .lock()
                    .expect("no panic while held")
                    .push_str(&text);
                writer.grown.notify_all();
                line.clear();
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

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Everything written to standard error so far.
    pub fn log(&self) -> String {
        self.log.text.lock().expect("no panic while held").clone()
    }

    /// Waits for a line of the log that fits, and returns it.
    pub async fn log_line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
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

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Waits for the process to end by itself.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
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
    pub async fn kill(&mut self) {
        let _ = self.child.kill();
        self.exit(DEADLINE).await;
    }

    /// Ends the server (politely or by `kill -9`) and starts it again on the same directory.
    pub async fn restart(mut self, how: Ending) -> Self {
        self.end(how).await;
        let keep = self._keep.take();
        let dir = self.dir.clone();
        drop(self);
        let mut again = Self::with().directory(&dir);
        again.keep = keep;
        again.start().await
    }

    pub async fn end(&mut self, how: Ending) {
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

    pub fn address(&self) -> SocketAddr {
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
    pub fn base(&self) -> String {
        format!("https://{}", self.address())
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    pub fn token(&self) -> String {
        let token =
            std::fs::read_to_string(self.path("admin.token")).expect("admin.token is there");
        token.trim().to_owned()
    }

    /// Makes a device key and certificate through the API, as the admin.
    pub async fn identity(&self, name: &str) -> Identity {
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
    pub fn anonymous(&self) -> Client {
        self.client(Http::Any, None)
    }

    /// A client with the admin token.
    pub fn admin(&self) -> Client {
        self.client(Http::Any, None)
            .with("Authorization", &format!("Bearer {}", self.token()))
    }

    /// A client with a device certificate of this name.
    pub async fn device(&self, name: &str) -> Client {
        let identity = self.identity(name).await;
        self.client(Http::Any, Some(&identity))
    }

    pub fn client(&self, http: Http, identity: Option<&Identity>) -> Client {
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
    pub fn tls(&self, http: Http, identity: Option<&Identity>) -> ClientConfig {
        tls(
            &self.path("certs/server/root.pem"),
            rustls::ALL_VERSIONS,
            http,
            identity,
        )
    }

    /// A bare TLS connection with the given settings.
    pub async fn connect(&self, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let address = self.address();
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(tls))
            .connect(ServerName::IpAddress(address.ip().into()), tcp)
            .await
    }

    /// A raw HTTP/1.1 connection.
    pub async fn h1(&self, identity: Option<&Identity>) -> H1 {
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
    pub async fn h2(&self, identity: Option<&Identity>) -> H2 {
        let io = self
            .connect(self.tls(Http::Two, identity))
            .await
            .expect("a TLS connection");
        let (send, connection) = h2::client::handshake(io)
            .await
            .expect("an HTTP/2 connection");
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        H2 {
            send,
            base: self.base(),
            secret: self.secret(),
            driver,
        }
    }

    /// Opens a stream as `client` and returns its number.
    pub async fn stream(&self, client: &Client, interface: &str) -> u64 {
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
pub enum Ending {
    Polite,
    Kill,
}

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Http {
    One,
    Two,
    Any,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Identity {
    pub fn read(cert: &Path, key: &Path) -> Self {
        Self {
            cert_pem: std::fs::read_to_string(cert).expect("a certificate file"),
            key_pem: std::fs::read_to_string(key).expect("a key file"),
        }
    }
}

/// Client TLS settings. The server is always verified, by its root certificate.
pub fn tls(
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

// ---------------------------------------------------------------------------------------------
// A client for whole requests

/// Sends whole requests; keeps connections open between them.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    fields: HeaderMap,
    secret: Arc<str>,
}

impl Client {
    /// The same client with a header field in every request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(
            field_name(name),
            HeaderValue::from_str(value).expect("a header value"),
        );
        self
    }

    /// The same client speaking to another address of the server.
    pub fn at(mut self, base: &str) -> Self {
        self.base = base.to_owned();
        self
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .headers(self.fields.clone());
        Call {
            request,
            method,
            path: path.to_owned(),
            secret: Arc::clone(&self.secret),
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn head(&self, path: &str) -> Call {
        self.call("HEAD", path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Call {
        self.call("PUT", path).body(body)
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).json(body)
    }

    pub fn patch_json(&self, path: &str, body: &Value) -> Call {
        self.call("PATCH", path).json(body)
    }

    /// The stream object.
    pub async fn stream(&self, id: u64) -> Value {
        self.get(&format!("/api/v1/streams/{id}"))
            .await
            .expect(200)
            .json()
    }

    /// All upload records of a stream, through all pages.
    pub async fn uploads(&self, id: u64) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .get(&format!("/api/v1/streams/{id}/uploads?limit=1000{after}"))
                .await
                .expect(200)
                .json();
            all.extend(
                page["uploads"]
                    .as_array()
                    .expect("a list of uploads")
                    .iter()
                    .cloned(),
            );
            match page["next"].as_u64() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// The records of one path, oldest first.
    pub async fn uploads_to(&self, id: u64, path: &str) -> Vec<Value> {
        let mut all = self.uploads(id).await;
        all.retain(|upload| upload["path"] == path);
        all.sort_by_key(|upload| upload["id"].as_u64());
        all
    }

    /// Waits until the newest record of the path has this status.
    pub async fn settled(&self, id: u64, path: &str, status: &str) -> Value {
        eventually(&format!("the upload of {path} is {status}"), async || {
            let uploads = self.uploads_to(id, path).await;
            uploads
                .last()
                .filter(|upload| upload["status"] == status)
                .cloned()
        })
        .await
    }
}

/// A request to be sent by awaiting it.
#[must_use]
pub struct Call {
    request: reqwest::RequestBuilder,
    method: Method,
    path: String,
    secret: Arc<str>,
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// The answer's header; the body is left to be read.
    pub async fn response(self) -> reqwest::Response {
        let Self {
            request,
            method,
            path,
            ..
        } = self;
        request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    pub async fn answer(self) -> Answer {
        let Self {
            request,
            method,
            path,
            secret,
        } = self;
        let what = format!("{method} {path}");
        let response = request
            .send()
            .await
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response
            .bytes()
            .await
            .unwrap_or_else(|e| panic!("{what}: body: {e:?}"));
        let answer = Answer {
            what,
            method,
            status,
            headers,
            body,
        };
        answer.check(&secret);
        answer
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer())
    }
}

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    what: String,
    method: Method,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        write!(
            f,
            "{} -> {} {:?} {body}",
            self.what, self.status, self.headers
        )
    }
}

impl Answer {
    /// What holds for every answer, whatever was asked.
    fn check(&self, secret: &str) {
        for name in self.headers.keys() {
            assert!(
                KNOWN_FIELDS.contains(&name.as_str()),
                "unknown header field {name} in {self:?}"
            );
        }
        let id = self.header("x-request-id");
        assert!(!id.is_empty(), "no request id in {self:?}");
        if self.status < 400 || self.method == Method::HEAD {
            return;
        }
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        let kind = problem["type"].as_str().unwrap_or_default();
        assert!(
            kind.starts_with("urn:pavs:problem:"),
            "type of the problem in {self:?}"
        );
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(
            problem["title"].as_str().is_some_and(|t| !t.is_empty()),
            "no title in {self:?}"
        );
        assert!(
            problem["detail"].as_str().is_some_and(|t| !t.is_empty()),
            "no detail in {self:?}"
        );
        assert_eq!(problem["request_id"], id, "{self:?}");
        let text = self.text();
        let leaks = |needle: &str| !needle.is_empty() && text.contains(needle);
        assert!(!leaks(secret), "the working directory is told in {self:?}");
        for needle in ["panicked", "src/", ".rs:", "os error"] {
            assert!(!leaks(needle), "{needle:?} in {self:?}");
        }
        if self.status == 401 {
            assert_eq!(self.header("www-authenticate"), "Bearer", "{self:?}");
        }
        if self.status == 405 {
            assert!(
                !self.header("allow").is_empty(),
                "405 without Allow: {self:?}"
            );
        }
    }

    /// The value of a header field; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("?"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Any status of success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }

    /// The detail of an error with this status.
    #[track_caller]
    pub fn problem(self, status: u16) -> String {
        let answer = self.expect(status);
        answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: no JSON in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, compared without flooding the output.
    #[track_caller]
    pub fn is(&self, expected: &[u8]) {
        same(&self.what, &self.body, expected);
    }
}

/// Compares two bodies and says where they part.
#[track_caller]
pub fn same(what: &str, got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!(
            "{what}: {} bytes, expected {}; they part at byte {at}",
            got.len(),
            expected.len()
        );
    }
}

// ---------------------------------------------------------------------------------------------
// Raw HTTP/1.1

/// A connection whose bytes the test chooses.
pub struct H1 {
    io: TlsStream<TcpStream>,
    held: BytesMut,
    host: String,
    secret: Arc<str>,
}

impl H1 {
    /// Sends a request's head. `Host` is added where it is not given.
    pub async fn head(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        self.send((head + "\r\n").as_bytes()).await;
    }

    /// Begins a chunked upload.
    pub async fn begin(&mut self, method: &str, target: &str) {
        self.head(method, target, &[("Transfer-Encoding", "chunked")])
            .await;
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the server reads");
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let send = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        tokio::time::timeout(DEADLINE, send)
            .await
            .expect("the server reads in time")
    }

    /// Sends one chunk of a chunked body.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk).await;
    }

    /// Ends a chunked body.
    pub async fn last_chunk(&mut self) {
        self.send(b"0\r\n\r\n").await;
    }

    /// A whole request with `Content-Length`.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let length = body.len().to_string();
        let mut all = vec![("Content-Length", length.as_str())];
        all.extend_from_slice(fields);
        self.head(method, target, &all).await;
        self.send(body).await;
        self.answer(method).await
    }

    /// Reads one answer, with its body, and checks it.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let answer = self.unchecked_answer(method).await;
        answer.check(&self.secret);
        answer
    }

    /// Reads an answer that hyper itself may have made.
    pub async fn unchecked_answer(&mut self, method: &str) -> Answer {
        let mut answer = self.answer_head().await.expect("an answer");
        answer.method = Method::from_bytes(method.as_bytes()).expect("a method");
        answer.what = format!("{method} over a raw connection");
        if method != "HEAD" && answer.status >= 200 && answer.status != 204 && answer.status != 304
        {
            answer.body = self.answer_body(&answer.headers).await;
        }
        answer
    }

    /// Reads an answer's head; `None` when the connection ends before it.
    pub async fn answer_head(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = find(&self.held, b"\r\n\r\n") {
                let head = self.held.split_to(end + 4);
                return Some(parse_head(&String::from_utf8_lossy(&head)));
            }
            if self.more().await == 0 {
                assert!(self.held.is_empty(), "half an answer: {:?}", self.held);
                return None;
            }
        }
    }

    async fn answer_body(&mut self, headers: &HeaderMap) -> Bytes {
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.to_str().expect("ascii").parse().expect("a length");
            while self.held.len() < length {
                assert!(self.more().await > 0, "the body ends short");
            }
            return self.held.split_to(length).freeze();
        }
        let mut body = BytesMut::new();
        if headers
            .get("transfer-encoding")
            .is_some_and(|v| v == "chunked")
        {
            while let Some(chunk) = self.read_chunk().await {
                body.extend_from_slice(&chunk);
            }
            return body.freeze();
        }
        while self.more().await > 0 {}
        self.held.split().freeze()
    }

    /// The next chunk of a chunked answer; `None` at its end.
    pub async fn read_chunk(&mut self) -> Option<Bytes> {
        let line = loop {
            if let Some(end) = find(&self.held, b"\r\n") {
                break self.held.split_to(end + 2);
            }
            assert!(
                self.more().await > 0,
                "the connection ends within a chunked body"
            );
        };
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk size");
        while self.held.len() < size + 2 {
            assert!(self.more().await > 0, "the connection ends within a chunk");
        }
        let chunk = self.held.split_to(size).freeze();
        let _ = self.held.split_to(2);
        (size > 0).then_some(chunk)
    }

    /// Reads what is there; 0 at the end of the connection, however it ends.
    async fn more(&mut self) -> usize {
        tokio::time::timeout(DEADLINE, self.io.read_buf(&mut self.held))
            .await
            .expect("the server answers in time")
            .unwrap_or(0)
    }

    /// Whether the server closes the connection within the deadline, having sent nothing more.
    pub async fn closed(&mut self) -> bool {
        tokio::time::timeout(DEADLINE, self.io.read_buf(&mut self.held))
            .await
            .is_ok_and(|read| read.unwrap_or(0) == 0)
    }

    /// Ends the connection without a word of TLS, as when a camera loses its power.
    pub fn cut(self) {
        let (tcp, _) = self.io.into_inner();
        let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
    }

    pub fn protocol(&self) -> Option<rustls::ProtocolVersion> {
        self.io.get_ref().1.protocol_version()
    }
}

fn parse_head(text: &str) -> Answer {
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let status = lines.next().expect("a status line");
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header field");
        headers.append(
            field_name(name),
            HeaderValue::from_str(value.trim()).expect("a header value"),
        );
    }
    Answer {
        what: status.to_owned(),
        method: Method::GET,
        status: code.unwrap_or_else(|| panic!("no status in {status:?}")),
        headers,
        body: Bytes::new(),
    }
}

// ---------------------------------------------------------------------------------------------
// Raw HTTP/2

/// A connection whose frames the test chooses.
pub struct H2 {
    send: h2::client::SendRequest<Bytes>,
    /// `https://` and the `:authority` of its requests.
    pub base: String,
    secret: Arc<str>,
    driver: tokio::task::JoinHandle<()>,
}

/// A request on an [`H2`] connection whose body is still open.
pub struct H2Call {
    method: Method,
    answer: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
    secret: Arc<str>,
}

impl H2 {
    /// Begins a request whose body follows.
    pub async fn begin(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> H2Call {
        self.open(method, path, fields, false).await
    }

    /// Sends a request without a body.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.open("GET", path, &[], true).await.answer().await
    }

    async fn open(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        end: bool,
    ) -> H2Call {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let method = request.method().clone();
        let mut send = self
            .send
            .clone()
            .ready()
            .await
            .expect("the connection lives");
        let (answer, body) = send
            .send_request(request, end)
            .expect("the connection lives");
        H2Call {
            method,
            answer,
            body,
            secret: Arc::clone(&self.secret),
        }
    }

    /// Ends the connection without a word, as when a camera loses its power.
    pub fn cut(&self) {
        self.driver.abort();
    }
}

impl H2Call {
    pub fn data(&mut self, bytes: impl Into<Bytes>) {
        self.body
            .send_data(bytes.into(), false)
            .expect("the stream is open");
    }

    /// Sends a piece of the body when the server has room for it; an error when it resets the stream.
    pub async fn paced(&mut self, mut bytes: Bytes) -> Result<(), h2::Error> {
        while !bytes.is_empty() {
            self.body.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|cx| self.body.poll_capacity(cx)).await;
            let Some(room) = room.transpose()? else {
                return Err(h2::Reason::STREAM_CLOSED.into());
            };
            let piece = bytes.split_to(room.min(bytes.len()));
            self.body.send_data(piece, false)?;
        }
        Ok(())
    }

    pub fn finish(&mut self) {
        self.body
            .send_data(Bytes::new(), true)
            .expect("the stream is open");
    }

    pub fn reset(&mut self) {
        self.body.send_reset(h2::Reason::CANCEL);
    }

    pub async fn answer(self) -> Answer {
        let what = format!("{} over a raw HTTP/2 connection", self.method);
        let (answer, _) = self.parts().await.unwrap_or_else(|e| panic!("{what}: {e}"));
        answer
    }

    /// The answer and the stream's sending half; an error when the stream was reset first.
    pub async fn parts(self) -> Result<(Answer, h2::SendStream<Bytes>), h2::Error> {
        let Self {
            method,
            answer,
            body: sending,
            secret,
        } = self;
        let whole = async {
            let (head, mut receiving) = answer.await?.into_parts();
            let mut body = BytesMut::new();
            while let Some(piece) = receiving.data().await {
                let piece = piece?;
                let _ = receiving.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            Ok::<_, h2::Error>((head, body.freeze()))
        };
        let (head, body) = tokio::time::timeout(DEADLINE, whole)
            .await
            .expect("the server answers in time")?;
        let answer = Answer {
            what: format!("{method} over a raw HTTP/2 connection"),
            method,
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        };
        answer.check(&secret);
        Ok((answer, sending))
    }
}

// ---------------------------------------------------------------------------------------------
// Small things

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
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
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether the machine has IPv6 on its loopback.
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// An address of this machine that is not a loopback one.
pub fn outside_address() -> Option<std::net::Ipv4Addr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

/// Runs a program the tests need; its absence names the package that holds it.
pub fn tool(program: &str, package: &str, arguments: &[&str]) -> std::process::Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| {
            panic!("{program} cannot be run ({e}); install {package}");
        })
}

pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(text[start..end].to_owned())
}

fn field_name(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a header name")
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
