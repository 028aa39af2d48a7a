//! Connections whose bytes and frames the test chooses.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderValue};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::client::{Answer, field_name};
use super::{DEADLINE, find};

/// A connection whose bytes the test chooses.
pub(crate) struct H1 {
    pub(super) io: TlsStream<TcpStream>,
    pub(super) held: BytesMut,
    pub(super) host: String,
    pub(super) secret: Arc<str>,
}

impl H1 {
    /// Sends a request's head. `Host` is added where it is not given.
    pub(crate) async fn head(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) {
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
    pub(crate) async fn begin(&mut self, method: &str, target: &str) {
        self.head(method, target, &[("Transfer-Encoding", "chunked")])
            .await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the server reads");
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let send = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        tokio::time::timeout(DEADLINE, send)
            .await
            .expect("the server reads in time")
    }

    /// Sends one chunk of a chunked body.
    pub(crate) async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk).await;
    }

    /// Ends a chunked body.
    pub(crate) async fn last_chunk(&mut self) {
        self.send(b"0\r\n\r\n").await;
    }

    /// A whole request with `Content-Length`.
    pub(crate) async fn request(
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
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let answer = self.unchecked_answer(method).await;
        answer.check(&self.secret);
        answer
    }

    /// Reads an answer that hyper itself may have made.
    pub(crate) async fn unchecked_answer(&mut self, method: &str) -> Answer {
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
    pub(crate) async fn answer_head(&mut self) -> Option<Answer> {
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
    pub(crate) async fn read_chunk(&mut self) -> Option<Bytes> {
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
    pub(crate) async fn closed(&mut self) -> bool {
        tokio::time::timeout(DEADLINE, self.io.read_buf(&mut self.held))
            .await
            .is_ok_and(|read| read.unwrap_or(0) == 0)
    }

    /// Ends the connection cleanly.
    pub(crate) async fn close(mut self) {
        let _ = self.io.shutdown().await;
    }

    /// Ends the connection without a word of TLS, as when a camera loses its power.
    pub(crate) fn cut(self) {
        let (tcp, _) = self.io.into_inner();
        let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
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

/// A connection whose frames the test chooses.
pub(crate) struct H2 {
    pub(super) send: h2::client::SendRequest<Bytes>,
    /// `https://` and the `:authority` of its requests.
    pub(crate) base: String,
    pub(super) secret: Arc<str>,
}

/// A request on an [`H2`] connection whose body is still open.
pub(crate) struct H2Call {
    method: Method,
    answer: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
    secret: Arc<str>,
}

impl H2 {
    /// Begins a request whose body follows.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> H2Call {
        self.open(method, path, fields, false).await
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
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
}

impl H2Call {
    pub(crate) fn data(&mut self, bytes: impl Into<Bytes>) {
        self.body
            .send_data(bytes.into(), false)
            .expect("the stream is open");
    }

    /// Sends a piece of the body when the server has room for it; an error when it resets the stream.
    pub(crate) async fn paced(&mut self, mut bytes: Bytes) -> Result<(), h2::Error> {
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

    pub(crate) fn finish(&mut self) {
        self.body
            .send_data(Bytes::new(), true)
            .expect("the stream is open");
    }

    pub(crate) fn reset(&mut self) {
        self.body.send_reset(h2::Reason::CANCEL);
    }

    pub(crate) async fn answer(self) -> Answer {
        let what = format!("{} over a raw HTTP/2 connection", self.method);
        let (answer, _) = self.parts().await.unwrap_or_else(|e| panic!("{what}: {e}"));
        answer
    }

    /// The answer and the stream's sending half; an error when the stream was reset first.
    pub(crate) async fn parts(self) -> Result<(Answer, h2::SendStream<Bytes>), h2::Error> {
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
