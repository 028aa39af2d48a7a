//! The edge: every address the server has, and what all answers have in common.

mod certs;
mod extract;
mod file;
mod health;
mod media_type;
mod objects;
mod probe;
mod problem;
mod state;
mod streams;
mod uploads;

use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tracing::Instrument;

pub(crate) use self::state::{AppState, Policy, Shared};
use crate::tls::{self, Connection};
use crate::{Error, Kind, Result};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All routes.
pub(crate) fn router(state: AppState) -> Router {
    let object = put(objects::upload)
        .post(objects::upload)
        .get(objects::download)
        .delete(objects::delete);
    let endpoint = put(objects::upload)
        .post(objects::upload)
        .get(streams::show);
    Router::new()
        .route("/certs", get(certs::list))
        .route("/certs/{name}/keypair", post(certs::make_keypair))
        .route("/certs/{name}/sign", post(certs::sign))
        .route("/certs/{hierarchy}/{name}", get(certs::show))
        .route("/streams", get(streams::list).post(streams::create))
        .route("/streams/{id}/trackName", post(streams::set_track_name))
        .route("/streams/probe/{id}/{*path}", get(probe::probe))
        .route("/probe/{id}/{*path}", get(probe::probe))
        .route("/streams/{id}", endpoint.clone())
        .route("/streams/{id}/", endpoint)
        .route("/streams/{id}/{*path}", object)
        .route(
            "/api/v1/streams/{id}",
            get(streams::show)
                .patch(streams::change)
                .delete(streams::delete),
        )
        .route("/api/v1/streams/{id}/uploads", get(uploads::list))
        .route("/api/v1/streams/{id}/uploads/{n}", get(uploads::show))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .layer(CsrfLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(around))
        .with_state(state)
}

/// What every request gets: an id, a span, a limit on its header, and a body for its errors.
async fn around(request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let is_head = request.method() == Method::HEAD;
    let began = Instant::now();
    let connection = request.extensions().get::<Connection>();
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        path = %request.uri().path(),
        peer = connection.map(|c| tracing::field::display(c.remote)),
    );
    let answer = async {
        let response =
            if tls::header_bytes(request.uri(), request.headers()) > tls::MAX_HEADER_BYTES {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()
            } else if let Err(e) = check_host(&request) {
                e.into_response()
            } else {
                next.run(request).await
            };
        let response = problem::render(response, &id);
        let (status, latency) = (response.status().as_u16(), began.elapsed());
        // A refusal is found in the log by the id that its sender was told.
        if response.status().is_client_error() {
            tracing::info!(status, ?latency, "answered");
        } else {
            tracing::debug!(status, ?latency, "answered");
        }
        response
    };
    let mut response = answer.instrument(span).await;
    if is_head {
        *response.body_mut() = axum::body::Body::empty();
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// RFC 9112 section 3.2: with more than one `Host`, or none in HTTP/1.1, nobody knows who was asked.
fn check_host(request: &Request) -> Result<()> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let missing = hosts == 0 && request.version() == Version::HTTP_11;
    if missing || hosts > 1 {
        return Err(Error::new(
            Kind::Invalid,
            format!("the request has {hosts} Host fields: send one"),
        ));
    }
    Ok(())
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .to_owned();
    Error::new(Kind::Internal, format!("a handler panicked: {text}")).into_response()
}
