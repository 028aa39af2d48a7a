//! Who changed what: `/api/v1/audit`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::extract::{Caller, Query};
use super::page::{Page, paged};
use super::state::AppState;
use crate::Result;
use crate::access::Action;
use crate::catalog::Audited;

#[derive(Serialize)]
struct Listing {
    changes: Vec<Audited>,
    /// Value of `after` for the next page, which is of older changes; `null` at the end.
    next: Option<i64>,
}

/// `GET /api/v1/audit`, newest first
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page<i64>>,
) -> Result<Response> {
    caller.may(&state, Action::ReadIdentity, None).await?;
    let (after, limit) = (page.after, page.limit()?);
    let changes = state
        .catalog
        .read(move |tables| tables.audits(after, limit + 1))
        .await?;
    let (changes, next) = paged(changes, limit, |change| change.seq);
    Ok(axum::Json(Listing { changes, next }).into_response())
}
