//! Streams: `/streams` and `/api/v1/streams`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, InStream, Json, Query};
use super::state::AppState;
use crate::access::{Action, Principal};
use crate::catalog::{NewStream, Object, Stream, StreamChange, StreamCounts, Tables};
use crate::clock::Timestamp;
use crate::config::Access;
use crate::names::{self, Interface, StreamId};
use crate::{Error, Kind, Result};

/// Entries of each list within a stream.
const LISTED: usize = 500;
/// Most streams of one page.
const MAX_PAGE: usize = 1000;

/// A stream as clients see it: the field names of the Matter project's test server, and ours.
#[derive(Serialize)]
pub(super) struct StreamView {
    id: StreamId,
    strict_mode: bool,
    interface: Interface,
    track_name: Option<String>,
    sessions: Vec<()>,
    error_uploads: Vec<ErrorUpload>,
    valid_uploads: Vec<ValidUpload>,
    owner: Option<String>,
    created: Timestamp,
    last_upload: Option<Timestamp>,
    counts: Counts,
    /// Some list is longer than what is shown of it.
    truncated: bool,
}

#[derive(Serialize)]
struct ErrorUpload {
    session_id: Option<i64>,
    file_path: String,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct ValidUpload {
    session_id: Option<i64>,
    file_path: String,
    size: u64,
}

#[derive(Serialize)]
struct Counts {
    uploads: i64,
    bytes: i64,
    manifests: i64,
    segments: i64,
    errors: i64,
}

#[derive(Deserialize)]
pub(super) struct Creation {
    #[serde(default)]
    interface: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    after: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct TrackName {
    #[serde(alias = "trackName")]
    track_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, with = "double_option")]
    track_name: Option<Option<String>>,
    #[serde(default)]
    strict_mode: Option<bool>,
}

/// Tells a field that is absent from one that is `null`.
mod double_option {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(d).map(Some)
    }
}

#[derive(Serialize)]
struct Listing {
    streams: Vec<StreamView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<StreamId>,
}

/// `POST /streams`
pub(super) async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Query(creation): Query<Creation>,
) -> Result<Response> {
    let interface = match creation.interface.as_deref() {
        None => Interface::default(),
        Some(text) => text.parse()?,
    };
    caller.may(&state, Action::OpenStream, None).await?;
    let owner = match &caller.principal {
        Principal::Device(name) => Some(name.clone()),
        _ => None,
    };
    let strict_mode = state.policy.load().strict_mode;
    let stream = state
        .catalog
        .create_stream(NewStream {
            interface,
            strict_mode,
            owner,
        })
        .await?;
    tracing::info!(by = %caller.describe(), "Stream opened: stream={}", stream.id);
    let view = view(&state, &stream).await?;
    let mut response = (StatusCode::CREATED, axum::Json(view)).into_response();
    let location = format!("/streams/{}", stream.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /streams`
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Response> {
    caller.may(&state, Action::ListStreams, None).await?;
    if page.limit == Some(0) || page.limit.is_some_and(|limit| limit > MAX_PAGE) {
        return Err(Error::new(
            Kind::Shape,
            "limit must be a number from 1 to 1000",
        ));
    }
    let limit = page.limit.unwrap_or(usize::MAX - 1);
    let open = state.policy.load().access == Access::Open;
    let wanted = |stream: &Stream| match &caller.principal {
        Principal::Device(name) if open => stream.owner.as_ref().is_none_or(|owner| owner == name),
        Principal::Device(name) => stream.owner.as_ref() == Some(name),
        _ => true,
    };
    let mut streams = state
        .catalog
        .streams(page.after.map(StreamId), limit + 1, wanted);
    let more = streams.len() > limit;
    streams.truncate(limit);
    let next = streams.last().filter(|_| more).map(|stream| stream.id);
    let views = views(&state, streams).await?;
    Ok(axum::Json(Listing {
        streams: views,
        next,
    })
    .into_response())
}

/// `POST /streams/{id}/trackName`
pub(super) async fn set_track_name(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Json(given): Json<TrackName>,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Change, stream).await?;
    let name = given.track_name.ok_or_else(|| {
        Error::new(
            Kind::Shape,
            "the body needs \"track_name\" (or \"trackName\") with a text",
        )
    })?;
    let change = StreamChange {
        track_name: Some(names::track_name(&name)?),
        strict_mode: None,
    };
    state.catalog.change_stream(stream.id, change).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(())).into_response())
}

/// `GET /api/v1/streams/{id}` and `GET /streams/{id}`
pub(super) async fn show(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    Ok(axum::Json(view(&state, &stream).await?).into_response())
}

/// `PATCH /api/v1/streams/{id}`
pub(super) async fn change(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Json(given): Json<Change>,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Change, stream).await?;
    if given.strict_mode.is_some() {
        // A device must not choose the rules that it is tested by.
        caller
            .may(&state, Action::ChangeRules, Some(&stream))
            .await?;
    }
    let track_name = given
        .track_name
        .map(|name| name.as_deref().map_or(Ok(None), names::track_name))
        .transpose()?;
    let change = StreamChange {
        track_name,
        strict_mode: given.strict_mode,
    };
    let stream = state.catalog.change_stream(stream.id, change).await?;
    Ok(axum::Json(view(&state, &stream).await?).into_response())
}

/// `DELETE /api/v1/streams/{id}`
pub(super) async fn delete(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::DeleteStream, stream).await?;
    let id = stream.id;
    state.ingest.delete_stream(id).await?;
    tracing::info!(by = %caller.describe(), "Stream deleted: stream={id}");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The stream with the newest entries of its lists.
pub(super) async fn view(state: &AppState, stream: &Arc<Stream>) -> Result<StreamView> {
    let mut views = views(state, vec![Arc::clone(stream)]).await?;
    views
        .pop()
        .ok_or_else(|| Error::new(Kind::Internal, "a stream has no view"))
}

async fn views(state: &AppState, streams: Vec<Arc<Stream>>) -> Result<Vec<StreamView>> {
    state
        .catalog
        .read(move |tables| {
            streams
                .iter()
                .map(|stream| read_view(tables, stream))
                .collect()
        })
        .await
}

fn read_view(tables: &Tables<'_>, stream: &Stream) -> rusqlite::Result<StreamView> {
    let id = stream.id;
    let counts = tables.counts(id)?;
    let problems = tables.problems(id, LISTED)?;
    Ok(StreamView {
        id,
        strict_mode: stream.strict_mode,
        interface: stream.interface,
        track_name: stream.track_name.clone(),
        sessions: Vec::new(),
        truncated: is_truncated(&counts),
        error_uploads: problems
            .into_iter()
            .rev()
            .map(|(file_path, reasons)| ErrorUpload {
                session_id: None,
                file_path,
                reasons,
            })
            .collect(),
        valid_uploads: in_order(
            tables.objects(id, true, LISTED)?,
            tables.objects(id, false, LISTED)?,
        ),
        owner: stream.owner.clone(),
        created: stream.created,
        last_upload: counts.last_upload,
        counts: Counts {
            uploads: counts.uploads,
            bytes: counts.bytes,
            manifests: counts.manifests,
            segments: counts.objects,
            errors: counts.problems,
        },
    })
}

fn is_truncated(counts: &StreamCounts) -> bool {
    [counts.manifests, counts.objects, counts.problems]
        .into_iter()
        .any(|count| usize::try_from(count).is_ok_and(|count| count > LISTED))
}

/// Both kinds of objects in the order of their last uploads, oldest first.
fn in_order(manifests: Vec<Object>, segments: Vec<Object>) -> Vec<ValidUpload> {
    let mut objects: Vec<Object> = manifests.into_iter().chain(segments).collect();
    objects.sort_unstable_by_key(|object| object.upload);
    objects
        .into_iter()
        .map(|object| ValidUpload {
            session_id: None,
            file_path: object.path,
            size: object.size,
        })
        .collect()
}
