//! Roots: `/api/v1/ca`.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::extract::{Caller, Json};
use super::state::AppState;
use crate::access::Action;
use crate::config::Span;
use crate::workdir::Hierarchy;
use crate::{Error, Kind, Result};

/// How long an old root stays trusted where nobody says.
const OVERLAP: &str = "30d";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    hierarchy: String,
    #[serde(default)]
    overlap: Option<String>,
    #[serde(default)]
    switch_after: Option<String>,
}

/// `GET /api/v1/ca`: what a client has to trust, for everybody.
pub(super) async fn bundle(State(state): State<AppState>) -> Response {
    let roots = state.identity.server_roots();
    let fields = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        // It changes when a root does, and who asks wants to know of that.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, roots).into_response()
}

/// `POST /api/v1/ca/rotate`
pub(super) async fn rotate(
    State(state): State<AppState>,
    caller: Caller,
    Json(wanted): Json<Wanted>,
) -> Result<Response> {
    let granted = caller.may(&state, Action::RotateRoot, None).await?;
    let hierarchy = match wanted.hierarchy.as_str() {
        "server" => Hierarchy::Server,
        "device" => Hierarchy::Device,
        other => {
            return Err(Error::new(
                Kind::Invalid,
                format!("\"hierarchy\" is \"server\" or \"device\", not {other:?}"),
            ));
        }
    };
    let overlap = span("overlap", wanted.overlap.as_deref().unwrap_or(OVERLAP))?;
    let switch_after = match wanted.switch_after.as_deref() {
        // No time at all is a wish here.
        Some("0s" | "0") => Some(Duration::ZERO),
        Some(text) => Some(span("switch_after", text)?),
        None => None,
    };
    // It is done whole also where the client goes away.
    let identity = state.identity.clone();
    let rotating = async move {
        identity
            .rotate(granted, hierarchy, overlap, switch_after)
            .await
    };
    let rotation = tokio::spawn(rotating)
        .await
        .map_err(|e| Error::internal("the rotation panicked", e))??;
    Ok(axum::Json(rotation).into_response())
}

fn span(name: &str, text: &str) -> Result<Duration> {
    let Span(length) = text
        .parse()
        .map_err(|e| Error::new(Kind::Invalid, format!("{name:?}: {e}")))?;
    Ok(length)
}
