//! What a connection adds to each of its requests, and what it watches of them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tower::Service;

use super::activity::{Activity, InFlight, Untaken};
use super::drain::{Budget, Drain, DrainOnDrop};
use super::watched::not_good_any_more;
use super::{Connection, Observer, Refusal};

/// For how long ffmpeg's answers are held back.
///
/// ffmpeg (5.1 to 9.0) reads no answers. It closes its socket behind the last byte of its last object,
/// and if an answer lies unread there at this moment, the kernel resets the connection and throws away
/// what Nagle's algorithm has not sent yet: the end of the manifest that says the stream is over. The
/// answer to the object before is what gets there in time to do that. Quick ACKs alone win this race
/// about every second time on a loopback; an answer that comes after the close loses nothing.
const ANSWER_HOLD: Duration = Duration::from_millis(100);

/// Bytes of a request's header section as HTTP/1.1 would send it: target, names, values, separators.
/// To be compared with [`MAX_HEADER_BYTES`](super::MAX_HEADER_BYTES).
#[must_use]
pub(crate) fn header_bytes(target: &axum::http::Uri, fields: &HeaderMap) -> usize {
    let target = target.path_and_query().map_or(0, |it| it.as_str().len())
        + target.authority().map_or(0, |it| it.as_str().len());
    let fields = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    target + fields.sum::<usize>()
}

/// An open connection. Held by its socket and by whatever is left of its requests; when the last of
/// them goes, the observer hears that it is closed and its place is free again.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) activity: Arc<Activity>,
    pub(super) budget: Budget,
    observer: Arc<dyn Observer>,
    /// What it means if no request comes.
    unasked: Option<Refusal>,
    _place: OwnedSemaphorePermit,
}

impl Line {
    pub(super) fn open(
        connection: Connection,
        activity: Arc<Activity>,
        budget: Budget,
        observer: Arc<dyn Observer>,
        unasked: Option<Refusal>,
        place: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        activity.opened();
        observer.opened(&connection);
        Arc::new(Self {
            connection,
            activity,
            budget,
            observer,
            unasked,
            _place: place,
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(refusal) = &self.unasked
            && self.activity.now().begun == 0
        {
            self.observer.refused(refusal);
        }
        self.observer.closed(&self.connection);
    }
}

/// The service of one connection: the router, with the connection in each request's extensions.
#[derive(Clone)]
pub(super) struct Requests {
    line: Arc<Line>,
    router: Router,
}

impl Requests {
    pub(super) fn new(line: Arc<Line>, router: Router) -> Self {
        Self { line, router }
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        if version == Version::HTTP_2 {
            self.line.activity.speaks_http2();
        }
        let hold = never_waits(&request);
        let running = Arc::new(Running::begin(&self.line));
        let drain = Drain::default();
        let mut request = received(request, &running, drain.clone());
        let extensions = request.extensions_mut();
        extensions.insert(self.line.connection.clone());
        extensions.insert(drain.clone());
        let answer = self.router.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if hold {
                tokio::time::sleep(ANSWER_HOLD).await;
            }
            if response.status() == StatusCode::REQUEST_TIMEOUT {
                drain.off();
                if version < Version::HTTP_2 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
            }
            Ok(response.map(|body| Outgoing {
                untaken: None,
                body,
                request: running,
            }))
        })
    }
}

/// An upload by ffmpeg over HTTP/1.1; see [`ANSWER_HOLD`].
fn never_waits(request: &Request<Incoming>) -> bool {
    let agent = request.headers().get(header::USER_AGENT);
    request.version() < Version::HTTP_2
        && !request.body().is_end_stream()
        && agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Lavf/"))
}

/// The request with its body kept in flight, and drained.
fn received(request: Request<Incoming>, running: &Arc<Running>, drain: Drain) -> Request<Body> {
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    let (parts, body) = request.into_parts();
    let body = Received {
        body,
        request: Arc::clone(running),
    };
    let body = Body::new(DrainOnDrop::new(&parts, body, drain, running.line.budget));
    Request::from_parts(parts, body)
}

/// A request of which something is left. Fields drop in order: the count before the line.
struct Running {
    _in_flight: InFlight,
    line: Arc<Line>,
}

impl Running {
    fn begin(line: &Arc<Line>) -> Self {
        Self {
            _in_flight: line.activity.begin(),
            line: Arc::clone(line),
        }
    }
}

/// A request body, which keeps its request in flight until it is gone, and says why it broke off where
/// that was our doing.
struct Received {
    body: Incoming,
    request: Arc<Running>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        // hyper has an error of its own for every protocol.
        polled.map_err(|error| match this.request.line.activity.is_barred() {
            true => not_good_any_more().into(),
            false => error.into(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that notes when a piece of it waits for the client.
pub(super) struct Outgoing {
    untaken: Option<Untaken>,
    body: Body,
    request: Arc<Running>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.untaken = None;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            this.untaken = Some(this.request.line.activity.hand_out());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
