//! Records of uploads: `/api/v1/streams/{id}/uploads`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, InStream, Query};
use super::state::AppState;
use crate::access::Action;
use crate::catalog::Upload;
use crate::{Error, Kind, Result};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<i64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listing {
    uploads: Vec<Upload>,
    /// Value of `after` for the next page; `null` at the end.
    next: Option<i64>,
}

/// `GET /api/v1/streams/{id}/uploads`
pub(super) async fn list(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    let limit = page.limit.unwrap_or(DEFAULT_PAGE);
    if limit == 0 || limit > MAX_PAGE {
        return Err(Error::new(
            Kind::Shape,
            "limit must be a number from 1 to 1000",
        ));
    }
    let (id, after) = (stream.id, page.after.unwrap_or(0));
    let mut uploads = state
        .catalog
        .read(move |tables| tables.uploads(id, after, limit + 1))
        .await?;
    let more = uploads.len() > limit;
    uploads.truncate(limit);
    let next = uploads.last().filter(|_| more).map(|upload| upload.id);
    Ok(axum::Json(Listing { uploads, next }).into_response())
}

/// `GET /api/v1/streams/{id}/uploads/{n}`
pub(super) async fn show(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Path((_, number)): Path<(String, String)>,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    let missing = || {
        Error::new(
            Kind::NotFound,
            format!("stream {} has no upload {number:?}", stream.id),
        )
    };
    let number: i64 = number.parse().map_err(|_| missing())?;
    let id = stream.id;
    let upload = state
        .catalog
        .read(move |tables| tables.upload(id, number))
        .await?;
    Ok(axum::Json(upload.ok_or_else(missing)?).into_response())
}
