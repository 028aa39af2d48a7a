//! What is in an object: `/probe/{id}/{path}` and `/streams/probe/{id}/{path}`.

use std::io;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::extract::{Caller, InObject};
use super::objects;
use super::state::AppState;
use crate::access::Action;
use crate::catalog::{Object, Stream};
use crate::layout::{self, Content};
use crate::manifest::MAX_SIZE;
use crate::names::ObjectPath;
use crate::probe::{self, ProbeError, Report, Source};
use crate::workdir::{self, ObjectFile};
use crate::{Error, Kind, Result};

/// Headers that are looked at to find the one of a segment's track.
const MAX_CANDIDATES: usize = 500;
/// Objects among which the tracks of a manifest are looked for.
const MAX_OBJECTS: usize = 50_000;
/// Largest header that is read.
const MAX_HEADER: u64 = 4 << 20;

/// `GET /probe/{id}/{path}`
pub(super) async fn probe(
    State(state): State<AppState>,
    target: InObject,
    caller: Caller,
) -> Result<Response> {
    let path = target.object_path();
    let stream = caller.may_in(&state, Action::Read, target.stream).await?;
    Ok(axum::Json(report(&state, &stream, path?).await?).into_response())
}

/// The body of that.
pub(super) async fn report(state: &AppState, stream: &Stream, path: ObjectPath) -> Result<Report> {
    let object = objects::open(state, stream, path.clone()).await?;
    if path.is_manifest() {
        return answer(manifest(state, stream, object, &path).await?, &path);
    }
    let report = match run(object.clone(), None, &path).await? {
        Err(ProbeError::HeaderMissing) => {
            let header = find_header(state, stream, &path).await?;
            run(object, header, &path).await?
        }
        done => done,
    };
    answer(report, &path)
}

fn answer(report: std::result::Result<Report, ProbeError>, path: &ObjectPath) -> Result<Report> {
    match report {
        Ok(report) => Ok(report),
        Err(ProbeError::Read(e)) => Err(Error::internal("the object cannot be read", e)),
        Err(e @ ProbeError::NotMedia) => Err(Error::new(
            Kind::Unsupported,
            format!("cannot probe \"{path}\": {e}"),
        )),
        Err(e) => Err(Error::new(
            Kind::Shape,
            format!("cannot probe \"{path}\": {e}"),
        )),
    }
}

/// What is in the tracks that the manifest names.
async fn manifest(
    state: &AppState,
    stream: &Stream,
    object: ObjectFile,
    path: &ObjectPath,
) -> Result<std::result::Result<Report, ProbeError>> {
    let (id, state, path) = (stream.id, state.clone(), path.clone());
    let directory = layout::directory(path.as_str()).to_owned();
    let held = state
        .catalog
        .read(move |tables| tables.objects_below(id, &directory, MAX_OBJECTS))
        .await?;
    workdir::blocking(move || {
        let len = usize::try_from(object.size).unwrap_or(usize::MAX);
        let bytes = workdir::read_range(&object.file, 0, len.min(MAX_SIZE + 1))?;
        let objects: Vec<_> = held
            .iter()
            .map(|held| (held.path.as_str(), content(held)))
            .collect();
        Ok(probe::manifest(
            &bytes,
            path.as_str(),
            &objects,
            &mut |place| {
                let gone = || io::Error::from(io::ErrorKind::NotFound);
                let held = held.get(place).ok_or_else(gone)?;
                let path = ObjectPath::parse(&held.path).map_err(io::Error::other)?;
                let object = objects::open_now(&state, id, &path).map_err(io::Error::other)?;
                let object = object.ok_or_else(gone)?;
                let size = object.size;
                Ok((Box::new(object.reader()) as Box<dyn Source>, size))
            },
        ))
    })
    .await
}

/// What an object is, as far as it is recorded.
pub(super) fn content(held: &Object) -> Content {
    let has_media = held.media_end > held.header_size;
    if held.path.ends_with(".mpd") || held.path.ends_with(".m3u8") {
        return Content::Manifest;
    }
    match (held.header_size > 0, has_media) {
        (true, true) => Content::Track,
        (true, false) => Content::Header,
        (false, true) => Content::Segment,
        (false, false) => Content::Other,
    }
}

async fn run(
    object: ObjectFile,
    header: Option<Vec<u8>>,
    path: &ObjectPath,
) -> Result<std::result::Result<Report, ProbeError>> {
    let name = path.as_str().to_owned();
    workdir::blocking(move || {
        let size = object.size;
        Ok(probe::probe(
            &mut object.reader(),
            size,
            header.as_deref(),
            &name,
        ))
    })
    .await
}

/// The header of a lone segment's track: of the headers in its directory, or in the nearest directory
/// above that has any, the one with the most similar name.
async fn find_header(
    state: &AppState,
    stream: &Stream,
    path: &ObjectPath,
) -> Result<Option<Vec<u8>>> {
    let (id, name) = (stream.id, path.as_str().to_owned());
    let found = state
        .catalog
        .read(move |tables| {
            tables.nearest_header(id, &name, MAX_CANDIDATES, |held| {
                held.header_size <= MAX_HEADER
            })
        })
        .await?;
    let Some((held, _)) = found else {
        return Ok(None);
    };
    let object = objects::open(state, stream, ObjectPath::parse(&held.path)?).await?;
    let len = usize::try_from(held.header_size.min(object.size)).unwrap_or(0);
    workdir::blocking(move || workdir::read_range(&object.file, 0, len))
        .await
        .map(Some)
}
