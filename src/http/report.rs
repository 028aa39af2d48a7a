//! The report on a stream: `/api/v1/streams/{id}/report`.

use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::extract::{Caller, InStream, Query};
use super::state::AppState;
use super::{objects, probe};
use crate::access::Action;
use crate::catalog::Object;
use crate::cmaf::TrackHeader;
use crate::finding::Profile;
use crate::layout::{self, Content};
use crate::manifest::MAX_SIZE;
use crate::names::{ObjectPath, StreamId};
use crate::report::manifests::{self, Judged};
use crate::report::{Builder, Fragment, Report};
use crate::{Result, workdir};

/// Objects that are looked at.
const MAX_OBJECTS: usize = 50_000;
/// Uploads whose findings are told, of those that count and of those in the past.
const MAX_UPLOADS: usize = 100_000;
/// Manifests that are read.
const MAX_MANIFESTS: usize = 1_000;
/// Headers that are read.
const MAX_HEADERS: usize = 1_000;
/// Largest header that is read.
const MAX_HEADER: u64 = 4 << 20;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    format: Format,
    /// All of them, if none is named.
    profile: Option<Profile>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Junit,
    Text,
}

/// `GET /api/v1/streams/{id}/report`
pub(super) async fn report(
    State(state): State<AppState>,
    stream: InStream,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let stream = caller.may_in(&state, Action::Read, stream).await?;
    let report = make(&state, stream.id).await?;
    let one = asked.profile.map(|profile| [profile]);
    let profiles = one.as_ref().map_or(&Profile::ALL[..], |one| &one[..]);
    let (media_type, text) = match asked.format {
        Format::Json => ("application/json", report.json()),
        Format::Junit => ("application/xml", report.junit(profiles)),
        Format::Text => ("text/plain; charset=utf-8", report.text(profiles)),
    };
    Ok(([(CONTENT_TYPE, media_type)], text).into_response())
}

/// What objects say of themselves that the catalogue does not.
struct Read {
    headers: HashMap<usize, TrackHeader>,
    manifests: HashMap<usize, Judged>,
    truncated: bool,
}

async fn make(state: &AppState, id: StreamId) -> Result<Report> {
    let mut held = state
        .catalog
        .read(move |tables| tables.objects_below(id, "", MAX_OBJECTS + 1))
        .await?;
    let more = held.len() > MAX_OBJECTS;
    held.truncate(MAX_OBJECTS);
    let shared = state.clone();
    let (held, read) = workdir::blocking(move || {
        let read = read(&shared, id, &held, more)?;
        Ok((held, read))
    })
    .await?;
    state
        .catalog
        .read(move |tables| {
            let mut builder = Builder::default();
            if read.truncated {
                builder.truncated();
            }
            let objects: Vec<_> = held
                .iter()
                .map(|held| (held.path.as_str(), probe::content(held)))
                .collect();
            for session in layout::layout(&objects) {
                let built = builder.session(&session.name);
                for judged in session
                    .manifests
                    .iter()
                    .filter_map(|at| read.manifests.get(at))
                {
                    built.manifest(judged);
                }
                for track in session.tracks {
                    let of_track = built.track(&track.name);
                    if let Some(at) = track.header
                        && let Some(header) = read.headers.get(&at)
                    {
                        let object = held.get(at).map(|held| held.path.as_str());
                        of_track.header(object, header);
                    }
                    for held in track
                        .header
                        .iter()
                        .chain(&track.media)
                        .filter_map(|at| held.get(*at))
                    {
                        of_track.object(held.size);
                        tables.each_fragment(held.id, |row| {
                            of_track.fragment(
                                &held.path,
                                &Fragment {
                                    track_id: None,
                                    decode_time: row.decode_time,
                                    duration: row.duration,
                                    bytes: row.size,
                                    sync: row.sync,
                                    samples: None,
                                    wall_clock: row.wall_clock.map(|at| at.as_micros()),
                                },
                            );
                        })?;
                    }
                }
            }
            let more = tables.each_finding(id, MAX_UPLOADS, |path, findings| {
                builder
                    .session(layout::session_of(path))
                    .findings(path, findings);
            })?;
            let more_past =
                tables.each_past_finding(id, MAX_UPLOADS, |path, status, findings| {
                    builder
                        .session(layout::session_of(path))
                        .past(path, status.as_str(), findings);
                })?;
            if more || more_past {
                builder.truncated();
            }
            Ok(builder.finish(&format!("stream {id}")))
        })
        .await
}

fn read(state: &AppState, id: StreamId, held: &[Object], more: bool) -> Result<Read> {
    let names: HashSet<_> = held.iter().map(|held| held.path.as_str()).collect();
    let exists = |name: &str| (!more).then(|| names.contains(name));
    let mut read = Read {
        headers: HashMap::new(),
        manifests: HashMap::new(),
        truncated: more,
    };
    for (place, held) in held.iter().enumerate() {
        let (is_manifest, most) = match probe::content(held) {
            Content::Manifest => (true, MAX_SIZE as u64 + 1),
            Content::Header | Content::Track => (false, held.header_size.min(MAX_HEADER)),
            Content::Segment | Content::Other => continue,
        };
        let (count, limit) = match is_manifest {
            true => (read.manifests.len(), MAX_MANIFESTS),
            false => (read.headers.len(), MAX_HEADERS),
        };
        if count == limit {
            read.truncated = true;
            continue;
        }
        // It may be gone since it was listed.
        let Some(object) = objects::open_now(state, id, &ObjectPath::parse(&held.path)?)? else {
            continue;
        };
        let len = usize::try_from(object.size.min(most)).unwrap_or(0);
        let bytes = workdir::read_range(&object.file, 0, len)?;
        if is_manifest {
            read.manifests
                .insert(place, manifests::judge(&held.path, &bytes, exists));
        } else if let Ok(header) = TrackHeader::parse(&bytes) {
            read.headers.insert(place, header);
        }
    }
    Ok(read)
}
