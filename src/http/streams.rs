//! Streams: `/streams` and `/api/v1/streams`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, InStream, Json, Query};
use super::sessions::{self, SessionView};
use super::state::AppState;
use crate::access::{Action, Principal};
use crate::catalog::{ListedObject, NewStream, Stream, StreamChange, StreamCounts, Tables};
use crate::clock::Timestamp;
use crate::config::Access;
use crate::names::{self, Interface, StreamId, StreamName};
use crate::{Error, Kind, Result};

/// Entries of each list within a stream.
const LISTED: usize = 500;
/// Most streams of one page.
const MAX_PAGE: usize = 1000;

/// A stream as clients see it: the field names of the Matter project's test server, and ours.
#[derive(Serialize)]
pub(super) struct StreamView {
    id: StreamId,
    name: Option<StreamName>,
    tags: Vec<String>,
    strict_mode: bool,
    strict_media: bool,
    interface: Interface,
    track_name: Option<String>,
    pub(super) sessions: Vec<SessionView>,
    error_uploads: Vec<ErrorUpload>,
    valid_uploads: Vec<ValidUpload>,
    #[serde(flatten)]
    former: FormerNames,
    owner: Option<String>,
    created: Timestamp,
    last_upload: Option<Timestamp>,
    counts: Counts,
    /// Some list is longer than what is shown of it.
    truncated: bool,
}

#[derive(Serialize)]
struct ErrorUpload {
    session_id: Option<u64>,
    file_path: String,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct ValidUpload {
    session_id: Option<u64>,
    file_path: String,
    size: u64,
}

/// What earlier versions of the Matter project's test server called the same things, and a player in the
/// field still asks for.
#[derive(Serialize)]
struct FormerNames {
    stream_id: StreamId,
    valid_files: Vec<String>,
    invalid_files: Vec<InvalidFile>,
}

#[derive(Serialize)]
struct InvalidFile {
    file_path: String,
    validation_error_reason: String,
}

impl FormerNames {
    fn of(stream_id: StreamId, valid: &[ValidUpload], errors: &[ErrorUpload]) -> Self {
        let invalid = errors.iter().map(|upload| InvalidFile {
            file_path: upload.file_path.clone(),
            validation_error_reason: upload.reasons.join("; "),
        });
        Self {
            stream_id,
            valid_files: valid
                .iter()
                .map(|upload| upload.file_path.clone())
                .collect(),
            invalid_files: invalid.collect(),
        }
    }
}

#[derive(Serialize)]
struct Counts {
    uploads: i64,
    bytes: i64,
    manifests: i64,
    segments: i64,
    errors: i64,
    /// Uploads with errors in their media.
    media_errors: i64,
    /// Warnings about media.
    warnings: i64,
}

#[derive(Deserialize)]
pub(super) struct Creation {
    #[serde(default)]
    interface: Option<String>,
    /// The device that the stream is to belong to, which may be enrolled later.
    #[serde(default)]
    device: Option<String>,
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
    #[serde(default)]
    strict_media: Option<bool>,
    #[serde(default, with = "double_option")]
    name: Option<Option<String>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default, with = "double_option")]
    device: Option<Option<String>>,
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
    let own = match &caller.principal {
        Principal::Device(name) => Some(name.clone()),
        _ => None,
    };
    let owner = match creation.device {
        Some(device) if own.as_ref() != Some(&device) => {
            caller.may(&state, Action::BindStream, None).await?;
            Some(names::device(&device)?)
        }
        _ => own,
    };
    let policy = state.policy.load();
    let (strict_mode, strict_media) = (policy.strict_mode, policy.strict_media);
    drop(policy);
    let stream = state
        .catalog
        .create_stream(NewStream {
            interface,
            strict_mode,
            strict_media,
            owner,
            by: caller.by(),
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
        by: Some(caller.by()),
        ..StreamChange::default()
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
    if given.strict_mode.is_some() || given.strict_media.is_some() {
        // A device must not choose the rules that it is tested by.
        caller
            .may(&state, Action::ChangeRules, Some(&stream))
            .await?;
    }
    if given.device.is_some() {
        caller
            .may(&state, Action::BindStream, Some(&stream))
            .await?;
    }
    let owner = given
        .device
        .map(|name| {
            name.as_deref()
                .map_or(Ok(None), |name| names::device(name).map(Some))
        })
        .transpose()?;
    let track_name = given
        .track_name
        .map(|name| name.as_deref().map_or(Ok(None), names::track_name))
        .transpose()?;
    let name = given
        .name
        .map(|name| name.as_deref().map(StreamName::parse).transpose())
        .transpose()?;
    let change = StreamChange {
        track_name,
        strict_mode: given.strict_mode,
        name,
        tags: given.tags.map(names::tags).transpose()?,
        owner,
        by: Some(caller.by()),
        strict_media: given.strict_media,
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
    let before = serde_json::json!({"interface": stream.interface, "owner": stream.owner});
    state.ingest.delete_stream(id).await?;
    caller
        .note(&state, "stream-deleted", id.to_string(), before)
        .await?;
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
    let timeout = state.session_timeout;
    state
        .catalog
        .read(move |tables| {
            streams
                .iter()
                .map(|stream| read_view(tables, stream, timeout))
                .collect()
        })
        .await
}

fn read_view(
    tables: &Tables<'_>,
    stream: &Stream,
    timeout: Duration,
) -> rusqlite::Result<StreamView> {
    let id = stream.id;
    let counts = tables.counts(id)?;
    let problems = tables.problems(id, LISTED)?;
    let objects = in_order(
        tables.objects(id, true, LISTED)?,
        tables.objects(id, false, LISTED)?,
    );
    let mut listed = match stream.interface {
        Interface::CmafIngest => Vec::new(), // has no sessions
        Interface::Dash | Interface::Hls => tables.sessions(id, LISTED + 1)?,
    };
    let more_sessions = listed.len() > LISTED;
    if more_sessions {
        listed.remove(0);
    }
    let sessions = sessions::views(stream.interface, listed, &objects, timeout);
    let error_uploads: Vec<ErrorUpload> = problems
        .into_iter()
        .rev()
        .map(|problem| ErrorUpload {
            session_id: problem.session,
            file_path: problem.path,
            reasons: problem.errors,
        })
        .collect();
    let valid_uploads: Vec<ValidUpload> = objects
        .into_iter()
        .map(|object| ValidUpload {
            session_id: object.session.map(|(number, _)| number),
            file_path: object.path,
            size: object.size,
        })
        .collect();
    Ok(StreamView {
        id,
        name: stream.name.clone(),
        tags: stream.tags.clone(),
        strict_mode: stream.strict_mode,
        strict_media: stream.strict_media,
        interface: stream.interface,
        track_name: stream.track_name.clone(),
        truncated: is_truncated(&counts) || more_sessions,
        sessions,
        former: FormerNames::of(id, &valid_uploads, &error_uploads),
        error_uploads,
        valid_uploads,
        owner: stream.owner.clone(),
        created: stream.created,
        last_upload: counts.last_upload,
        counts: Counts {
            uploads: counts.uploads,
            bytes: counts.bytes,
            manifests: counts.manifests,
            segments: counts.objects,
            errors: counts.problems,
            media_errors: counts.media_errors,
            warnings: counts.warnings,
        },
    })
}

fn is_truncated(counts: &StreamCounts) -> bool {
    [counts.manifests, counts.objects, counts.problems]
        .into_iter()
        .any(|count| usize::try_from(count).is_ok_and(|count| count > LISTED))
}

/// Both kinds of objects in the order of their last uploads, oldest first.
fn in_order(manifests: Vec<ListedObject>, segments: Vec<ListedObject>) -> Vec<ListedObject> {
    let mut objects: Vec<ListedObject> = manifests.into_iter().chain(segments).collect();
    objects.sort_unstable_by_key(|object| object.upload);
    objects
}
