//! What is in an object: `/probe/{id}/{path}` and `/streams/probe/{id}/{path}`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::extract::{Caller, InObject};
use super::objects;
use super::state::AppState;
use crate::access::Action;
use crate::catalog::Stream;
use crate::names::ObjectPath;
use crate::probe::{self, ProbeError, Report};
use crate::workdir::{self, ObjectFile};
use crate::{Error, Kind, Result};

/// Headers that are looked at to find the one of a segment's track.
const MAX_CANDIDATES: usize = 500;
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
    let path = path?;
    let object = objects::open(&state, &stream, path.clone()).await?;
    let report = match run(object.clone(), None, &path).await? {
        Err(ProbeError::HeaderMissing) => {
            let header = find_header(&state, &stream, &path).await?;
            run(object, header, &path).await?
        }
        done => done,
    };
    match report {
        Ok(report) => Ok(axum::Json(report).into_response()),
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
            let mut below = name.as_str();
            loop {
                let directory = below.rfind('/').map_or("", |slash| &below[..=slash]);
                let best = tables
                    .headers(id, directory, MAX_CANDIDATES)?
                    .into_iter()
                    .filter(|held| held.path != name && held.header_size <= MAX_HEADER)
                    // Of equally similar names the first one: those of headers sort before others.
                    .rev()
                    .max_by_key(|held| likeness(&held.path, &name));
                if best.is_some() || directory.is_empty() {
                    return Ok(best);
                }
                below = &directory[..directory.len() - 1];
            }
        })
        .await?;
    let Some(held) = found else { return Ok(None) };
    let object = objects::open(state, stream, ObjectPath::parse(&held.path)?).await?;
    let len = usize::try_from(held.header_size.min(object.size)).unwrap_or(0);
    workdir::blocking(move || workdir::read_range(&object.file, 0, len))
        .await
        .map(Some)
}

/// Length of the longest text that both names contain.
fn likeness(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut best = 0;
    let mut row = vec![0; other.len() + 1];
    for a in one {
        let mut diagonal = 0;
        for (column, b) in other.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if a == b { diagonal + 1 } else { 0 };
            best = best.max(row[column + 1]);
            diagonal = above;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_the_same_representation_is_the_most_similar() {
        let segment = "live/chunk-stream1-00002.m4s";
        assert!(
            likeness("live/init-stream1.m4s", segment) > likeness("live/init-stream0.m4s", segment)
        );
        assert_eq!(likeness("abc", "xbcx"), 2);
        assert_eq!(likeness("", "x"), 0);
    }
}
