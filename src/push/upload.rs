//! One object after the other to a server, each as often as the source's duties of DASH-IF Live Media
//! Ingest 5.3 and 7.1.3 ask for.
//!
//! | what happened | what is done |
//! |---|---|
//! | no connection, a broken one, no answer in time, 408, 429, 5xx | again on a new connection, for one segment duration (manifests, headers: three) |
//! | 412 to media | its header again, then the segment, once |
//! | other 4xx | not again: nothing would change |
//!
//! Media that was not taken in its time is kept, at most [`LATE`] segments, and sent after a later one was
//! taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::body::{self, Content};
use super::report::{Ending, Line, Report};
use super::wire::{self, Failure, Head, Link};

/// Segments that are kept to be sent late.
const LATE: usize = 3;
/// First wait between two tries; each is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Shortest time that a server has for its answer.
const SHORTEST_LIMIT: Duration = Duration::from_secs(5);
/// For how long a body that stalls on purpose is held.
pub(super) const STALL: Duration = Duration::from_secs(120);
/// Longest text of a server that is told.
const LONGEST_DETAIL: usize = 400;

/// What there is to be sent.
#[derive(Clone)]
pub(super) struct Object {
    /// Behind the endpoint's path, without slash at the front.
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
    pub(super) role: Role,
    /// How the body is broken, if it is.
    pub(super) broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Manifest,
    Header,
    /// Was whole, by the camera's clock, at this time, if it has one.
    Media(Option<Instant>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Truncated,
    Stalled,
}

/// Who sends.
pub(super) struct Camera {
    /// Its place in the report.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) line: Arc<wire::Line>,
    /// Path of the endpoint.
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) segment: Duration,
    pub(super) token: Option<HeaderValue>,
    pub(super) report: Arc<Report>,
}

/// Sends the objects of one track, or the manifests, over a connection of its own.
pub(super) struct Uploader {
    camera: Arc<Camera>,
    link: Link,
    late: VecDeque<Object>,
    /// Is sent again when the server has forgotten it.
    header: Option<Object>,
}

/// How one object ended.
struct Ended {
    ending: Ending,
    status: Option<u16>,
    detail: Option<String>,
    retries: u32,
    /// From when the body was whole to the answer.
    took: Duration,
    /// How long the server asks to wait.
    retry_after: Option<Duration>,
    /// No other try would end otherwise.
    is_final: bool,
}

impl Uploader {
    pub(super) fn new(camera: Arc<Camera>) -> Self {
        let link = Link::new(Arc::clone(&camera.line));
        Self {
            camera,
            link,
            late: VecDeque::new(),
            header: None,
        }
    }

    /// Sends an object, and then those that are late, if this one was taken.
    pub(super) async fn put(&mut self, object: Object) {
        if object.role == Role::Header {
            self.header = Some(object.clone());
        }
        let ended = self.send(&object).await;
        if ended.ending == Ending::Failed
            && !ended.is_final
            && matches!(object.role, Role::Media(_))
        {
            if self.late.len() == LATE
                && let Some(given_up) = self.late.pop_front()
            {
                self.tell(&given_up, &ended);
            }
            self.camera.report.say(&format!(
                "{}: {} is kept to be sent late: {}",
                self.camera.name,
                object.path,
                ended.detail.as_deref().unwrap_or("no answer")
            ));
            self.late.push_back(object);
            return;
        }
        self.tell(&object, &ended);
        if ended.ending == Ending::Accepted {
            self.catch_up().await;
        }
    }

    /// Sends what is late, until something fails.
    async fn catch_up(&mut self) {
        while let Some(object) = self.late.pop_front() {
            let mut ended = self.once(&object).await;
            if ended.ending == Ending::Failed {
                self.late.push_front(object);
                return;
            }
            ended.retries += 1;
            self.tell(&object, &ended);
        }
    }

    /// The last try for what is late; what is not taken now has failed. Gives the connection back.
    pub(super) async fn finish(mut self) {
        while let Some(object) = self.late.pop_front() {
            let mut ended = self.send(&object).await;
            ended.retries += 1;
            self.tell(&object, &ended);
        }
        self.camera
            .report
            .connections(self.camera.index, self.link.connections);
    }

    fn tell(&self, object: &Object, ended: &Ended) {
        let late = match object.role {
            Role::Media(Some(made)) => made.elapsed() > self.camera.segment,
            _ => false,
        };
        self.camera.report.object(
            self.camera.index,
            &Line {
                camera: &self.camera.name,
                path: &object.path,
                ending: ended.ending,
                bytes: object.content.len(),
                status: ended.status,
                latency: ended.took,
                retries: ended.retries,
                late,
                detail: ended.detail.as_deref(),
            },
        );
    }

    /// Tries until it is decided or the time is over.
    async fn send(&mut self, object: &Object) -> Ended {
        let times = if matches!(object.role, Role::Media(_)) {
            1
        } else {
            3
        };
        let until = Instant::now() + (self.camera.segment * times).max(Duration::from_secs(1));
        let mut pause = FIRST_PAUSE;
        let mut retries = 0;
        let mut sent_header = false;
        loop {
            let mut ended = self.once(object).await;
            ended.retries = retries;
            let wants_header = ended.status == Some(412) && matches!(object.role, Role::Media(_));
            if wants_header
                && !sent_header
                && let Some(header) = self.header.clone()
            {
                sent_header = true;
                retries += 1;
                let again = self.once(&header).await;
                self.tell(&header, &again);
                continue;
            }
            let wait = ended.retry_after.unwrap_or(pause).max(pause);
            if ended.ending != Ending::Failed || ended.is_final || Instant::now() + wait >= until {
                return ended;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            retries += 1;
        }
    }

    async fn once(&mut self, object: &Object) -> Ended {
        let head = self.head(object);
        if let (Some(broken), Content::Whole(whole)) = (object.broken, &object.content) {
            return self.send_broken(&head, whole, broken).await;
        }
        // A body that grows takes as long as a segment does.
        let limit = self.camera.segment * 2 + SHORTEST_LIMIT;
        let began = Instant::now();
        let sent = self.link.send(&head, || object.content.body(), limit).await;
        let took = object
            .content
            .whole_since()
            .unwrap_or(began)
            .max(began)
            .elapsed();
        match sent {
            Ok(answer) => {
                let ending = match answer.status {
                    status if status.is_success() => Ending::Accepted,
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Ending::Failed,
                    status if status.is_server_error() => Ending::Failed,
                    _ => Ending::Refused,
                };
                let detail =
                    (ending != Ending::Accepted).then(|| detail(answer.status, &answer.body));
                Ended {
                    ending,
                    status: Some(answer.status.as_u16()),
                    detail,
                    retries: 0,
                    took,
                    retry_after: answer.retry_after,
                    is_final: false,
                }
            }
            Err(failure) => Ended {
                ending: Ending::Failed,
                status: None,
                detail: Some(failure.to_string()),
                retries: 0,
                took,
                retry_after: None,
                is_final: matches!(failure, Failure::Untrusted(_)),
            },
        }
    }

    /// Over a connection of its own, and never again.
    async fn send_broken(&mut self, head: &Head, whole: &Bytes, broken: Broken) -> Ended {
        let mut link = Link::new(Arc::clone(&self.camera.line));
        let sent = link
            .send(
                head,
                || match broken {
                    Broken::Truncated => body::truncated(whole),
                    Broken::Stalled => body::stalled(whole, STALL),
                },
                STALL + SHORTEST_LIMIT,
            )
            .await;
        self.link.connections += link.connections;
        let (status, detail) = match sent {
            Ok(answer) => (
                Some(answer.status.as_u16()),
                detail(answer.status, &answer.body),
            ),
            Err(failure) => (None, failure.to_string()),
        };
        Ended {
            ending: Ending::Broken,
            status,
            detail: Some(detail),
            retries: 0,
            took: Duration::ZERO,
            retry_after: None,
            is_final: true,
        }
    }

    fn head(&self, object: &Object) -> Head {
        let mut fields = vec![
            (
                hyper::header::USER_AGENT,
                HeaderValue::from_static(concat!("pavs-push/", env!("CARGO_PKG_VERSION"))),
            ),
            (
                HeaderName::from_static("dash-if-ingest"),
                HeaderValue::from_static("1.2"),
            ),
            (
                hyper::header::CONTENT_TYPE,
                HeaderValue::from_static(object.content_type),
            ),
        ];
        if let Some(length) = object.content.known_length() {
            fields.push((hyper::header::CONTENT_LENGTH, HeaderValue::from(length)));
        }
        fields.extend(
            self.camera
                .token
                .clone()
                .map(|token| (hyper::header::AUTHORIZATION, token)),
        );
        fields.extend(object.fields.iter().cloned());
        Head {
            method: self.camera.method.clone(),
            path: format!("{}/{}", self.camera.path, object.path),
            fields,
        }
    }
}

/// The server's reason: `detail` of a problem, or the first line of what it sent.
pub(super) fn detail(status: StatusCode, body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let told = problem
        .as_ref()
        .and_then(|problem| problem.get("detail")?.as_str());
    let text = String::from_utf8_lossy(body);
    let first = told.or_else(|| text.lines().next()).unwrap_or_default();
    let mut line = format!("{status} {first}").trim_end().to_owned();
    if let Some((end, _)) = line.char_indices().nth(LONGEST_DETAIL) {
        line.truncate(end);
    }
    line
}
