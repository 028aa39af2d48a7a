//! Errors as clients see them: `application/problem+json` (RFC 9457).
//!
//! A handler's [`Error`] becomes a response that carries the error in its extensions; [`render`], on
//! the way out, writes the body, because only there the request's id is known. Answers that axum or a
//! file service make by themselves (404, 405, 416, …) get their body there too.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::{Error, Kind};

/// The error of a response whose body is still to be written.
#[derive(Clone)]
struct Failed(Arc<Error>);

#[derive(Serialize)]
struct Problem<'p> {
    r#type: String,
    title: &'p str,
    status: u16,
    detail: &'p str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'p [String],
    request_id: &'p str,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind().http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        match self.kind() {
            Kind::Unidentified => {
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"pavs\""),
                );
            }
            Kind::Throttled => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::Busy => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Kind::StorageFull => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            _ => {}
        }
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}

/// What a refused client is told, before [`render`] writes it.
pub(super) fn reason(response: &Response) -> String {
    match response.extensions().get::<Failed>() {
        Some(Failed(error)) => error.message().to_owned(),
        None => by_status(response.status()).1.to_owned(),
    }
}

/// Gives a 4xx or 5xx response without a body the one that explains it.
pub(super) fn render(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if is_page(&response) {
        return response;
    }
    let failed = response.extensions_mut().remove::<Failed>();
    if failed.is_none() && has_problem(&response) {
        return response;
    }
    let error = failed.map(|failed| failed.0);
    let title = status.canonical_reason().unwrap_or("Error");
    // Clients of the Matter project's test server look for a list where a value is of the wrong shape.
    let mut said = Vec::new();
    let problem = match &error {
        Some(error) if error.kind() == Kind::Internal => {
            tracing::error!(error = %error.chain(), "request failed");
            Problem {
                r#type: problem_type("internal"),
                title,
                status: status.as_u16(),
                detail: "the server failed; its log has the reason under this request_id",
                errors: &[],
                request_id,
            }
        }
        Some(error) => {
            tracing::debug!(error = %error.chain(), "request refused");
            if error.kind() == Kind::Shape && error.reasons().is_empty() {
                said.push(error.message().to_owned());
            }
            Problem {
                r#type: problem_type(error.kind().as_str()),
                title,
                status: status.as_u16(),
                detail: error.message(),
                errors: if said.is_empty() {
                    error.reasons()
                } else {
                    &said
                },
                request_id,
            }
        }
        None => {
            let (kind, detail) = by_status(status);
            Problem {
                r#type: kind.map_or_else(|| "about:blank".to_owned(), problem_type),
                title,
                status: status.as_u16(),
                detail,
                errors: &[],
                request_id,
            }
        }
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    *response.body_mut() = Body::from(body);
    response
}

fn problem_type(kind: &str) -> String {
    format!("urn:pavs:problem:{kind}")
}

/// The page tells its readers of errors by itself.
fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn has_problem(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind == "application/problem+json") && !response.body().is_end_stream()
}

/// What is said of an answer that no handler gave, and the kind that it stands for, if there is one.
fn by_status(status: StatusCode) -> (Option<&'static str>, &'static str) {
    let of = |kind: Kind, detail| (Some(kind.as_str()), detail);
    match status {
        StatusCode::NOT_FOUND => of(Kind::NotFound, "there is nothing at this address"),
        StatusCode::FORBIDDEN => of(
            Kind::Forbidden,
            "the request comes from another site's page",
        ),
        StatusCode::BAD_REQUEST => of(Kind::Invalid, "the request cannot be understood"),
        StatusCode::PAYLOAD_TOO_LARGE => {
            of(Kind::TooLarge, "the body is too large for this address")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            of(Kind::TooLarge, "the request's header is larger than 32 KiB")
        }
        StatusCode::INTERNAL_SERVER_ERROR => of(
            Kind::Internal,
            "the server failed; its log has the reason under this request_id",
        ),
        StatusCode::METHOD_NOT_ALLOWED => (
            None,
            "this address does not take that method; the Allow header lists those it takes",
        ),
        StatusCode::PRECONDITION_FAILED => (
            None,
            "the object is not the one that the request's conditions name",
        ),
        StatusCode::RANGE_NOT_SATISFIABLE => (None, "the object has no bytes in that range"),
        _ => (None, "the request cannot be answered"),
    }
}
