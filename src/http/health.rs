//! For those who watch the server: `/healthz` and `/metrics`.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::extract::Caller;
use super::state::AppState;
use crate::access::Action;
use crate::workdir::Hierarchy;
use crate::{Error, Result};

/// `GET /healthz`: the server answers and its catalogue can be read.
pub(super) async fn healthz(State(state): State<AppState>) -> Result<Response> {
    state
        .catalog
        .read(|tables| tables.counts(crate::names::StreamId(0)).map(|_| ()))
        .await?;
    Ok(
        axum::Json(serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
            .into_response(),
    )
}

/// `GET /metrics`
pub(super) async fn metrics(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    caller.may(&state, Action::ReadMetrics, None).await?;
    let expiring = state.identity.expiring().await?;
    for hierarchy in [Hierarchy::Server.as_str(), Hierarchy::Device.as_str()] {
        let of_it = expiring.iter().filter(|cert| cert.hierarchy == hierarchy);
        state
            .metrics
            .certificates_expiring(hierarchy, of_it.count());
    }
    let disk = state.workdir.disk_space().ok();
    let text = state
        .metrics
        .encode(state.ingest.running(), disk)
        .map_err(|e| Error::internal("the metrics could not be written", e))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok((
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response())
}
