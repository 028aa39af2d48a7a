//! Streams at a glance: `GET /api/v1/streams`, and the newest media of one:
//! `GET /api/v1/streams/{id}/timeline`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, InStream, Query};
use super::state::AppState;
use crate::access::{Action, Principal};
use crate::catalog::Stream;
use crate::config::Access;
use crate::names::StreamId;
use crate::view::overview::{self, Overview};
use crate::view::timeline::{self, Timeline};
use crate::{Error, Kind, Result};

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 200;

/// Which streams are asked for.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    /// Words that must all be in the name, the tags, the device or the interface.
    pub(super) q: Option<String>,
    /// Id of the last stream that was seen.
    pub(super) before: Option<i64>,
    pub(super) limit: Option<usize>,
}

/// A page of streams, the newest first.
#[derive(Serialize)]
pub(super) struct Page {
    pub(super) streams: Vec<Overview>,
    /// Value of `before` for the next page; `null` at the end.
    pub(super) next: Option<StreamId>,
    /// How many the search has found, on all pages.
    pub(super) found: usize,
}

/// `GET /api/v1/streams`
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    Ok(axum::Json(page(&state, &caller, &asked).await?).into_response())
}

/// `GET /api/v1/streams/{id}/timeline`
pub(super) async fn timeline(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    Ok(axum::Json(read_timeline(&state, &stream).await?).into_response())
}

pub(super) async fn read_timeline(state: &AppState, stream: &Stream) -> Result<Timeline> {
    timeline::read(&state.catalog, &state.workdir, stream).await
}

/// The streams that the caller may see and asks for.
pub(super) async fn page(state: &AppState, caller: &Caller, asked: &Asked) -> Result<Page> {
    caller.may(state, Action::ListStreams, None).await?;
    let limit = match asked.limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => limit,
        _ => {
            return Err(Error::new(
                Kind::Shape,
                format!("limit must be a number from 1 to {MAX_PAGE}"),
            ));
        }
    };
    let words = overview::words(asked.q.as_deref().unwrap_or_default());
    let all = visible(state, caller, |stream| overview::is_meant(stream, &words));
    let before = asked.before.unwrap_or(i64::MAX);
    let mut wanted: Vec<Arc<Stream>> = all
        .iter()
        .rev()
        .filter(|stream| stream.id.0 < before)
        .take(limit + 1)
        .cloned()
        .collect();
    let more = wanted.len() > limit;
    wanted.truncate(limit);
    Ok(Page {
        next: wanted.last().filter(|_| more).map(|stream| stream.id),
        found: all.len(),
        streams: overviews(state, wanted).await?,
    })
}

/// These streams at a glance.
pub(super) async fn overviews(
    state: &AppState,
    streams: Vec<Arc<Stream>>,
) -> Result<Vec<Overview>> {
    overview::read(&state.catalog, &state.workdir, &state.live, streams).await
}

/// The streams that are listed for the caller: a device sees its own.
fn visible(
    state: &AppState,
    caller: &Caller,
    wanted: impl Fn(&Stream) -> bool,
) -> Vec<Arc<Stream>> {
    let open = state.policy.load().access == Access::Open;
    let is_visible = |stream: &Stream| match &caller.principal {
        Principal::Device(name) if open => stream.owner.as_ref().is_none_or(|owner| owner == name),
        Principal::Device(name) => stream.owner.as_ref() == Some(name),
        _ => true,
    };
    state.catalog.streams(None, usize::MAX, |stream| {
        is_visible(stream) && wanted(stream)
    })
}
