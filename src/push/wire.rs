//! Requests over connections of our own, HTTP/1.1 or HTTP/2: one at a time each, so that it is known what
//! was sent over which, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::body::Body;
use crate::tls::client::Connector;
use crate::{Error, Kind, Result};

/// Most of an answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    /// What the server prefers.
    Any,
    One,
    Two,
}

/// A server: `https://host:port`, and what comes before the names of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
    /// As it stands in URLs.
    authority: String,
}

impl Server {
    /// Takes `https://host[:port][/path]` apart, into the server and the path without slash at its end.
    ///
    /// # Errors
    /// It is no such URL.
    pub(super) fn parse(url: &str) -> Result<(Self, String)> {
        let wrong =
            |why: &str| Error::new(Kind::Invalid, format!("{url:?} cannot be pushed to: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("it must begin with https://"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names and passwords in URLs are not sent"));
        }
        if uri.query().is_some() {
            return Err(wrong("names are added at its end, so it may have no query"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let server = Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(443),
            authority: authority.as_str().to_owned(),
        };
        Ok((server, uri.path().trim_end_matches('/').to_owned()))
    }

    /// `https://host:port`
    pub(super) fn base(&self) -> String {
        format!("https://{}", self.authority)
    }

    pub(super) fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

/// A request before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// Path on the server, from the slash on.
    pub(super) path: String,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent: no connection, or the handshake was refused.
    Connect(String),
    /// One of the two does not believe the other's certificate, which no other try changes.
    Untrusted(String),
    /// The connection broke.
    Broken(String),
    /// The answer did not come in time.
    Late,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Untrusted(why) => write!(f, "no connection, and no use in trying again: {why}"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Late => f.write_str("no answer in time"),
        }
    }
}

/// How connections are made.
pub(super) struct Line {
    pub(super) server: Server,
    pub(super) connector: Connector,
    pub(super) http: Http,
    /// One connection per request.
    pub(super) once: bool,
    pub(super) connect_timeout: Duration,
}

/// At most one open connection.
pub(super) struct Link {
    line: Arc<Line>,
    open: Option<Open>,
    /// Connections made so far.
    pub(super) connections: u64,
}

enum Open {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Link {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self {
            line,
            open: None,
            connections: 0,
        }
    }

    /// Sends a request and reads its answer, within `limit`. A kept connection that turns out to be closed
    /// is made anew, once: its server may close it at any time.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn send(
        &mut self,
        head: &Head,
        body: impl Fn() -> Body,
        limit: Duration,
    ) -> std::result::Result<Answer, Failure> {
        loop {
            let was_open = self.open.is_some();
            let sent = match tokio::time::timeout(limit, self.try_send(head, body())).await {
                Ok(sent) => sent,
                Err(_) => Err(Failure::Late),
            };
            if self.line.once || sent.is_err() {
                self.open = None;
            }
            match sent {
                Err(Failure::Broken(_)) if was_open => {}
                other => return other,
            }
        }
    }

    async fn try_send(&mut self, head: &Head, body: Body) -> std::result::Result<Answer, Failure> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let broken = |e: hyper::Error| Failure::Broken(causes(&e));
        let response = match &mut open {
            Open::One(sender) => {
                sender.ready().await.map_err(broken)?;
                let mut request = request(head, &head.path, body)?;
                let host = HeaderValue::from_str(&self.line.server.authority);
                if let Ok(host) = host {
                    request.headers_mut().insert(HOST, host);
                }
                sender.send_request(request).await.map_err(broken)?
            }
            Open::Two(sender) => {
                sender.ready().await.map_err(broken)?;
                let url = format!("{}{}", self.line.server.base(), head.path);
                sender
                    .send_request(request(head, &url, body)?)
                    .await
                    .map_err(broken)?
            }
        };
        let answer = read(response).await?;
        self.open = Some(open);
        Ok(answer)
    }

    async fn connect(&mut self) -> std::result::Result<Open, Failure> {
        let limit = self.line.connect_timeout;
        let connected = tokio::time::timeout(limit, self.connect_unlimited()).await;
        let open =
            connected.unwrap_or_else(|_| Err(Failure::Connect(format!("not within {limit:?}"))))?;
        self.connections += 1;
        Ok(open)
    }

    async fn connect_unlimited(&self) -> std::result::Result<Open, Failure> {
        let Line {
            server,
            connector,
            http,
            ..
        } = self.line.as_ref();
        let failed = |e: std::io::Error| Failure::Connect(e.to_string());
        let tcp = TcpStream::connect((server.host.as_str(), server.port))
            .await
            .map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let (stream, is_h2) =
            connector
                .connect(&server.host, tcp)
                .await
                .map_err(|e| match e.kind() {
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                        Failure::Untrusted(e.to_string())
                    }
                    _ => Failure::Connect(e.to_string()),
                })?;
        if *http == Http::Two && !is_h2 {
            return Err(Failure::Connect(
                "the server does not speak HTTP/2".to_owned(),
            ));
        }
        let io = TokioIo::new(stream);
        let failed = |e: hyper::Error| Failure::Broken(causes(&e));
        if is_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(failed)?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(Open::Two(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(Open::One(sender))
        }
    }
}

fn request(head: &Head, target: &str, body: Body) -> std::result::Result<Request<Body>, Failure> {
    let mut request = Request::builder().method(head.method.clone()).uri(target);
    for (name, value) in &head.fields {
        request = request.header(name, value);
    }
    request
        .body(body)
        .map_err(|e| Failure::Connect(format!("{target:?} cannot be asked for: {e}")))
}

async fn read(response: Response<Incoming>) -> std::result::Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let seconds = head
        .headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(body, LONGEST_ANSWER).collect().await;
    Ok(Answer {
        status: head.status,
        retry_after: seconds.map(Duration::from_secs),
        // An answer whose status is here is an answer.
        body: body.map(|body| body.to_bytes()).unwrap_or_default(),
    })
}

/// An error of hyper's with what is behind it, which it does not say itself.
fn causes(e: &hyper::Error) -> String {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let (server, path) = Server::parse("https://[::1]:1234/streams/7/").unwrap();
        assert_eq!(
            (server.host.as_str(), server.port, path.as_str()),
            ("::1", 1234, "/streams/7")
        );
        assert_eq!(server.base(), "https://[::1]:1234");
        assert!(server.is_loopback());
        let (server, path) = Server::parse("https://ingest.example/").unwrap();
        assert_eq!((server.port, path.as_str()), (443, ""));
        for wrong in [
            "http://a/",
            "a",
            "https://",
            "https://u:p@a/",
            "https://a/?x=1",
        ] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }
}
