//! How the server is doing: `GET /api/v1/status`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::events::MOST_LISTENERS;
use super::extract::Caller;
use super::state::AppState;
use crate::Result;
use crate::access::Action;
use crate::view::status::{Disk, Status};

/// Uploads that went wrong, of those the newest.
const WARNINGS: usize = 20;

/// `GET /api/v1/status`
pub(super) async fn show(State(state): State<AppState>, caller: Caller) -> Result<Response> {
    Ok(axum::Json(read(&state, &caller).await?).into_response())
}

/// The body of that, for those who may see it.
pub(super) async fn read(state: &AppState, caller: &Caller) -> Result<Status> {
    caller.may(state, Action::ReadMetrics, None).await?;
    let (catalogue_bytes, last_event, warnings) = state
        .catalog
        .read(|tables| {
            Ok((
                tables.catalogue_bytes()?,
                tables.last_event()?,
                tables.newest_troubles(WARNINGS)?,
            ))
        })
        .await?;
    let policy = state.policy.load();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        started: state.started,
        uptime_seconds: state.started.elapsed().as_secs(),
        access: policy.access.as_str(),
        strict_mode: policy.strict_mode,
        streams: state.catalog.stream_count(),
        uploads_running: state.ingest.running(),
        connections: state.metrics.connections(),
        listeners: MOST_LISTENERS.saturating_sub(state.listeners.available_permits()),
        disk: state.workdir.disk_space().ok().map(|(free, size)| Disk {
            free,
            size,
            kept_free: state.kept_free,
        }),
        catalogue_bytes,
        last_event,
        warnings,
    })
}
