//! The boxes of an object: `GET /api/v1/streams/{id}/boxes/{path}`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::extract::{Caller, InObject, Query};
use super::objects;
use super::state::AppState;
use crate::access::Action;
use crate::catalog::Stream;
use crate::names::ObjectPath;
use crate::view::boxes::{self, Boxes};
use crate::{Error, Kind, Result, workdir};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// Which of them are asked for.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Asked {
    /// Byte at which the first one begins.
    pub(super) from: Option<u64>,
    /// Top-level boxes.
    pub(super) limit: Option<usize>,
}

/// `GET /api/v1/streams/{id}/boxes/{path}`
pub(super) async fn show(
    State(state): State<AppState>,
    target: InObject,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let path = target.object_path();
    let stream = caller.may_in(&state, Action::Read, target.stream).await?;
    Ok(axum::Json(read(&state, &stream, path?, asked).await?).into_response())
}

/// The body of that.
pub(super) async fn read(
    state: &AppState,
    stream: &Stream,
    path: ObjectPath,
    asked: Asked,
) -> Result<Boxes> {
    let limit = match asked.limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => limit,
        _ => {
            return Err(Error::new(
                Kind::Shape,
                "limit must be a number from 1 to 1000",
            ));
        }
    };
    let object = objects::open(state, stream, path).await?;
    let from = asked.from.unwrap_or(0);
    workdir::blocking(move || {
        let size = object.size;
        boxes::read(&mut object.reader(), size, from, limit)
            .map_err(|e| Error::internal("the object cannot be read", e))
    })
    .await
}
