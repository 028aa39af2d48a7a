//! The edge: every address the server has, and what all answers have in common.

mod audit;
mod boxes;
mod ca;
mod certs;
mod devices;
mod enrolments;
mod events;
mod extract;
mod file;
mod health;
mod login;
mod media_type;
mod objects;
mod openapi;
mod overview;
mod page;
mod probe;
mod problem;
mod refusals;
mod report;
mod seen;
mod sessions;
mod state;
mod status;
mod streams;
mod throttle;
mod tokens;
mod ui;
mod uploads;

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tracing::Instrument;

pub(crate) use self::events::MOST_LISTENERS;
pub(crate) use self::login::Logins;
pub(crate) use self::seen::LastSeen;
pub(crate) use self::state::{AppState, Policy, Shared};
pub(crate) use self::throttle::Throttle;
use crate::refusals::RefusedRequest;
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
    // Clients that end a collection's address with a slash were redirected by the Matter project's test
    // server; they find the same here.
    let streams = get(streams::list).post(streams::create);
    Router::new()
        .route("/certs", get(certs::list))
        .route("/certs/", get(certs::list))
        .route("/certs/{name}/keypair", post(certs::make_keypair))
        .route("/certs/{name}/sign", post(certs::sign))
        .route("/streams", streams.clone())
        .route("/streams/", streams)
        .route(
            "/certs/{hierarchy}/{name}",
            get(certs::show).delete(certs::revoke),
        )
        .route("/streams/{id}/trackName", post(streams::set_track_name))
        .route("/streams/probe/{id}/{*path}", get(probe::probe))
        .route("/probe/{id}/{*path}", get(probe::probe))
        .route("/streams/{id}", endpoint.clone())
        .route("/streams/{id}/", endpoint)
        .route("/streams/{id}/{*path}", object)
        .route("/api/v1/events", get(events::follow))
        .route("/api/v1/status", get(status::show))
        .route("/api/v1/streams", get(overview::list))
        .route("/api/v1/streams/{id}/timeline", get(overview::timeline))
        .route("/api/v1/streams/{id}/boxes/{*path}", get(boxes::show))
        .route(
            "/api/v1/streams/{id}",
            get(streams::show)
                .patch(streams::change)
                .delete(streams::delete),
        )
        .route("/api/v1/streams/{id}/report", get(report::report))
        .route("/api/v1/streams/{id}/uploads", get(uploads::list))
        .route("/api/v1/streams/{id}/uploads/{n}", get(uploads::show))
        .route(
            "/api/v1/streams/{id}/uploads/{n}/content",
            get(uploads::content),
        )
        .route("/api/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/api/v1/tokens/rotate", post(tokens::rotate))
        .route("/api/v1/tokens/{id}", delete(tokens::remove))
        .route(
            "/api/v1/enrolments",
            get(enrolments::list).post(enrolments::make),
        )
        .route("/api/v1/enrolments/{id}", delete(enrolments::withdraw))
        .route("/api/v1/certificates/{serial}", delete(certs::revoke_one))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{name}", get(devices::show))
        .route("/api/v1/crl.pem", get(certs::list_pem))
        .route("/api/v1/crl.der", get(certs::list_der))
        .route("/api/v1/audit", get(audit::list))
        .route("/", get(ui::front))
        .route("/ui", get(ui::front))
        .route("/ui/", get(ui::front))
        .route("/ui/assets/{*file}", get(ui::asset))
        .route("/ui/login", get(ui::login_form).post(ui::log_in))
        .route("/ui/logout", post(ui::log_out))
        .route("/ui/streams", get(ui::stream_list))
        .route("/ui/streams/{id}", get(ui::stream))
        .route("/ui/streams/{id}/{*path}", get(ui::object))
        .route("/ui/status", get(ui::status))
        .route("/ui/certificates", get(ui::certificates))
        .route("/api/v1/ca", get(ca::bundle))
        .route("/api/v1/ca/rotate", post(ca::rotate))
        .route("/api/v1/refusals", get(refusals::list))
        .route("/openapi.json", get(openapi::show))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .layer(CsrfLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), around))
        .with_state(state)
}

/// What every request gets: an id, a span, a limit on its header, and a body for its errors.
async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let is_head = request.method() == Method::HEAD;
    let began = Instant::now();
    let connection = request.extensions().get::<Connection>().cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        path = %request.uri().path(),
        peer = connection.as_ref().map(|c| tracing::field::display(c.remote)),
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
        let status = response.status();
        if let Some(connection) = &connection
            && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            state.refusals.request(RefusedRequest {
                connection,
                method: method.as_str(),
                path: &path,
                status: status.as_u16(),
                request_id: &id,
                reason: problem::reason(&response),
            });
        }
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
