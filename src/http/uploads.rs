//! Records of uploads: `/api/v1/streams/{id}/uploads`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::extract::{Caller, InStream, Query};
use super::file;
use super::state::AppState;
use crate::access::Action;
use crate::catalog::{Content, PartRanges, Stream, Upload};
use crate::names::ObjectPath;
use crate::workdir::{self, ObjectFile};
use crate::{Error, Kind, Result};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Attempts to open the bytes of an upload while others change where they lie.
const OPENINGS: usize = 3;

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<i64>,
    /// The newest first, and of those only such with smaller numbers.
    before: Option<i64>,
    /// Only those to this path, the newest first.
    path: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listing {
    uploads: Vec<Upload>,
    /// Value of `after`, or of `before`, for the next page; `null` at the end.
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
    if page.after.is_some() && (page.before.is_some() || page.path.is_some()) {
        return Err(Error::new(
            Kind::Shape,
            "after goes neither with before nor with path, which list the newest first",
        ));
    }
    let mut uploads = state
        .catalog
        .read(move |tables| match (&page.path, page.before) {
            (None, None) => tables.uploads(id, after, limit + 1),
            (path, before) => {
                let before = before.unwrap_or(i64::MAX);
                tables.uploads_before(id, path.as_deref(), before, limit + 1)
            }
        })
        .await?;
    let more = uploads.len() > limit;
    uploads.truncate(limit);
    let profile = stream.interface.profile();
    let uploads: Vec<_> = uploads
        .into_iter()
        .map(|upload| upload.in_profile(profile))
        .collect();
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
    Ok(axum::Json(find(&state, &stream, &number).await?).into_response())
}

/// `GET` and `HEAD /api/v1/streams/{id}/uploads/{n}/content`
pub(super) async fn content(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Path((_, number)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    let upload = find(&state, &stream, &number).await?;
    let path = ObjectPath::parse(&upload.path)?;
    // Another upload may take its place between the look and the opening; its bytes lie elsewhere then.
    for _ in 0..OPENINGS {
        if let Some(response) =
            open_content(&state, &stream, &upload, &path, &method, &headers).await?
        {
            return Ok(response);
        }
    }
    Err(Error::new(
        Kind::NotFound,
        format!(
            "the bytes of upload {} of stream {} are not held",
            upload.id, stream.id
        ),
    ))
}

async fn open_content(
    state: &AppState,
    stream: &Stream,
    upload: &Upload,
    path: &ObjectPath,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Response>> {
    let (id, number) = (stream.id, upload.id);
    let look = move || state.catalog.read(move |tables| tables.content(id, number));
    let Some(content) = look().await? else {
        return Ok(None);
    };
    let (workdir, name, place) = (state.workdir.clone(), path.clone(), content.clone());
    let opened = workdir::blocking(move || {
        Ok(match place {
            Content::Kept => workdir.open_kept(id, number)?.map(Opened::Whole),
            Content::Object => workdir.open_object(id, &name)?.map(Opened::Whole),
            Content::Aside { object, len } => workdir
                .open_part(id, object)?
                .map(|part| Opened::Whole(part.cut(len))),
            Content::Parts(parts) => {
                let open = |part: PartRanges| {
                    let file = if part.current {
                        workdir.open_object(id, &name)
                    } else {
                        workdir.open_part(id, part.object)
                    };
                    Ok(file?.map(|file| (file.file, part.ranges)))
                };
                let files: Result<Option<Vec<_>>> = parts.into_iter().map(open).collect();
                files?.map(Opened::Ranges)
            }
        })
    })
    .await?;
    // What was opened by its path is what was meant if it still is.
    if look().await?.as_ref() != Some(&content) {
        return Ok(None);
    }
    match opened {
        Some(Opened::Whole(object)) => file::serve(method, headers, path, object).await.map(Some),
        Some(Opened::Ranges(files)) => Ok(Some(file::ranges(path, files))),
        None => Ok(None),
    }
}

/// The bytes of an upload.
enum Opened {
    Whole(ObjectFile),
    Ranges(Vec<file::Ranges>),
}

async fn find(state: &AppState, stream: &Stream, number: &str) -> Result<Upload> {
    let missing = || {
        Error::new(
            Kind::NotFound,
            format!("stream {} has no upload {number:?}", stream.id),
        )
    };
    let (id, number) = (stream.id, number.parse::<i64>().map_err(|_| missing())?);
    let upload = state
        .catalog
        .read(move |tables| tables.upload(id, number))
        .await?;
    let profile = stream.interface.profile();
    upload
        .map(|upload| upload.in_profile(profile))
        .ok_or_else(missing)
}
