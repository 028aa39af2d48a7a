//! The routes as data: `GET /openapi.json`.
//!
//! [`ROUTES`] stands beside the router, and a test holds one against the other. What the answers look
//! like is told in `docs/api.md`, which each operation points to.

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Methods, and what each does.
type Methods = &'static [(&'static str, &'static str)];

/// Every address of the API; the page's own are not among them.
const ROUTES: &[(&str, Methods)] = &[
    (
        "/streams",
        &[("get", "All streams"), ("post", "Open a stream")],
    ),
    (
        "/streams/{id}",
        &[
            ("get", "A stream"),
            ("put", "Ask whether uploads are welcome"),
            ("post", "Ask whether uploads are welcome"),
        ],
    ),
    (
        "/streams/{id}/{path}",
        &[
            ("get", "Read an object"),
            ("put", "Upload"),
            ("post", "Upload"),
            ("delete", "Remove an object"),
        ],
    ),
    ("/streams/{id}/trackName", &[("post", "Set the track name")]),
    (
        "/streams/probe/{id}/{path}",
        &[("get", "What is in an object")],
    ),
    ("/probe/{id}/{path}", &[("get", "What is in an object")]),
    ("/certs", &[("get", "Names of certificates")]),
    (
        "/certs/{hierarchy}/{name}",
        &[("get", "A certificate"), ("delete", "Revoke a device")],
    ),
    (
        "/certs/{name}/keypair",
        &[("post", "Make a key and a certificate")],
    ),
    ("/certs/{name}/sign", &[("post", "Sign a request")]),
    ("/api/v1/streams", &[("get", "Streams at a glance")]),
    (
        "/api/v1/streams/{id}",
        &[
            ("get", "A stream"),
            ("patch", "Change its settings"),
            ("delete", "Delete it with all that belongs to it"),
        ],
    ),
    (
        "/api/v1/streams/{id}/timeline",
        &[("get", "Its newest media in time")],
    ),
    (
        "/api/v1/streams/{id}/report",
        &[("get", "What is in it, and what is wrong with it")],
    ),
    (
        "/api/v1/streams/{id}/boxes/{path}",
        &[("get", "The boxes of an object")],
    ),
    (
        "/api/v1/streams/{id}/uploads",
        &[("get", "Records of uploads")],
    ),
    (
        "/api/v1/streams/{id}/uploads/{n}",
        &[("get", "A record of an upload")],
    ),
    (
        "/api/v1/streams/{id}/uploads/{n}/content",
        &[("get", "The bytes of an upload")],
    ),
    (
        "/api/v1/events",
        &[("get", "What happens, as it happens (server-sent events)")],
    ),
    ("/api/v1/status", &[("get", "How the server is doing")]),
    ("/api/v1/devices", &[("get", "Devices")]),
    ("/api/v1/devices/{name}", &[("get", "A device")]),
    (
        "/api/v1/enrolments",
        &[
            ("get", "Enrolments"),
            ("post", "Make a one-use token for a device"),
        ],
    ),
    (
        "/api/v1/enrolments/{id}",
        &[("delete", "Withdraw an enrolment")],
    ),
    (
        "/api/v1/certificates/{serial}",
        &[("delete", "Revoke one certificate")],
    ),
    ("/api/v1/crl.pem", &[("get", "The revocation list")]),
    ("/api/v1/crl.der", &[("get", "The revocation list")]),
    (
        "/api/v1/ca",
        &[("get", "The roots to trust this server by")],
    ),
    ("/api/v1/ca/rotate", &[("post", "Change a root")]),
    (
        "/api/v1/tokens",
        &[("get", "Tokens"), ("post", "Make a token")],
    ),
    ("/api/v1/tokens/{id}", &[("delete", "Withdraw a token")]),
    (
        "/api/v1/tokens/rotate",
        &[("post", "Change the admin's token")],
    ),
    ("/api/v1/audit", &[("get", "Who changed what")]),
    (
        "/api/v1/refusals",
        &[("get", "Who was turned away, and why")],
    ),
    ("/healthz", &[("get", "Is it alive")]),
    ("/metrics", &[("get", "Figures (OpenMetrics)")]),
    ("/openapi.json", &[("get", "This description")]),
];

/// `GET /openapi.json`
pub(super) async fn show() -> Response {
    axum::Json(description()).into_response()
}

fn description() -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|(path, methods)| ((*path).to_owned(), item(path, methods)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pavs",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTPS ingest server that cameras push CMAF media to. docs/api.md has the bodies.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "request_id"],
                "properties": {
                    "type": { "type": "string" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "detail": { "type": "string" },
                    "errors": { "type": "array", "items": { "type": "string" } },
                    "request_id": { "type": "string" },
                },
            } },
        },
        "security": [{ "token": [] }, { "certificate": [] }, {}],
    })
}

fn item(path: &str, methods: Methods) -> Value {
    let parameters: Vec<Value> = path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut item = Map::new();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for (method, summary) in methods {
        let operation = json!({
            "summary": summary,
            "responses": {
                "2XX": { "description": "As docs/api.md says" },
                "default": {
                    "description": "What is wrong, and what to change",
                    "content": { "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" },
                    } },
                },
            },
        });
        item.insert((*method).to_owned(), operation);
    }
    item.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described() {
        let router = include_str!("mod.rs");
        let of_the_page = |path: &str| path == "/" || path.starts_with("/ui");
        let routed: BTreeSet<String> = router
            .split(".route(")
            .skip(1)
            .filter_map(|call| call.split('"').nth(1))
            .map(|path| path.replace("{*", "{"))
            .filter(|path| !of_the_page(path))
            .map(|path| path.trim_end_matches('/').to_owned())
            .collect();
        let described: BTreeSet<String> =
            ROUTES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(routed, described);
    }
}
