//! A client for whole requests, and the checks that hold for every answer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Method;
use serde_json::Value;

use super::eventually;

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
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];

/// Sends whole requests; keeps connections open between them.
#[derive(Clone)]
pub(crate) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) base: String,
    pub(super) fields: HeaderMap,
    pub(super) secret: Arc<str>,
}

impl Client {
    /// The same client with a header field in every request.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(
            field_name(name),
            HeaderValue::from_str(value).expect("a header value"),
        );
        self
    }

    /// The same client speaking to another address of the server.
    pub(crate) fn at(mut self, base: &str) -> Self {
        self.base = base.to_owned();
        self
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
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

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// A GET that may fail to reach the server.
    pub(crate) async fn try_get(&self, path: &str) -> Result<u16, reqwest::Error> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok(answer.status().as_u16())
    }

    pub(crate) fn head(&self, path: &str) -> Call {
        self.call("HEAD", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Call {
        self.call("PUT", path).body(body)
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).json(body)
    }

    pub(crate) fn patch_json(&self, path: &str, body: &Value) -> Call {
        self.call("PATCH", path).json(body)
    }

    /// The stream object.
    pub(crate) async fn stream(&self, id: u64) -> Value {
        self.get(&format!("/api/v1/streams/{id}"))
            .await
            .expect(200)
            .json()
    }

    /// All upload records of a stream, through all pages.
    pub(crate) async fn uploads(&self, id: u64) -> Vec<Value> {
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
    pub(crate) async fn uploads_to(&self, id: u64, path: &str) -> Vec<Value> {
        let mut all = self.uploads(id).await;
        all.retain(|upload| upload["path"] == path);
        all.sort_by_key(|upload| upload["id"].as_u64());
        all
    }

    /// Waits until the newest record of the path has this status.
    pub(crate) async fn settled(&self, id: u64, path: &str, status: &str) -> Value {
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
pub(crate) struct Call {
    request: reqwest::RequestBuilder,
    method: Method,
    path: String,
    secret: Arc<str>,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(crate) async fn answer(self) -> Answer {
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
pub(crate) struct Answer {
    pub(super) what: String,
    pub(super) method: Method,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
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
    pub(super) fn check(&self, secret: &str) {
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
        // Where the status says it all, "about:blank" will do (RFC 9457, section 4.2.1).
        let plain = kind == "about:blank" && [405, 412, 416].contains(&self.status);
        assert!(
            plain || kind.starts_with("urn:pavs:problem:"),
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
            assert!(
                self.header("www-authenticate").starts_with("Bearer"),
                "{self:?}"
            );
        }
        if self.status == 405 {
            assert!(
                !self.header("allow").is_empty(),
                "405 without Allow: {self:?}"
            );
        }
    }

    /// The value of a header field; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("?"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Any status of success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }

    /// The detail of an error with this status.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> String {
        let answer = self.expect(status);
        answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: no JSON in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, compared without flooding the output.
    #[track_caller]
    pub(crate) fn is(&self, expected: &[u8]) {
        same(&self.what, &self.body, expected);
    }
}

/// Compares two bodies and says where they part.
#[track_caller]
pub(crate) fn same(what: &str, got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!(
            "{what}: {} bytes, expected {}; they part at byte {at}",
            got.len(),
            expected.len()
        );
    }
}

pub(super) fn field_name(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a header name")
}
