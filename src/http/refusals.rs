//! Who was turned away, and why: `/api/v1/refusals`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::extract::{Caller, Query};
use super::page::{Page, paged};
use super::state::AppState;
use crate::Result;
use crate::access::Action;
use crate::catalog::Refusal;

#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) refusals: Vec<Refusal>,
    /// Value of `after` for the next page, which is of older ones; `null` at the end.
    next: Option<i64>,
}

/// `GET /api/v1/refusals`, newest first
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page<i64>>,
) -> Result<Response> {
    Ok(axum::Json(read(&state, &caller, page).await?).into_response())
}

/// The body of that.
pub(super) async fn read(state: &AppState, caller: &Caller, page: Page<i64>) -> Result<Listing> {
    caller.may(state, Action::ReadRefusals, None).await?;
    let (after, limit) = (page.after, page.limit()?);
    let refusals = state
        .catalog
        .read(move |tables| tables.refusals(after, limit + 1))
        .await?;
    let (refusals, next) = paged(refusals, limit, |refusal| refusal.id);
    Ok(Listing { refusals, next })
}
