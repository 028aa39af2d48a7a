//! Sessions within a stream, as clients see them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use crate::catalog::{ListedObject, ListedSession};
use crate::clock::Timestamp;
use crate::matter::{self, TrackState};
use crate::names::{Interface, ObjectPath};

/// A run of a session: the field names of the Matter project's test server, and ours.
#[derive(Serialize)]
pub(super) struct SessionView {
    /// Its number, as paths have it.
    pub(super) id: u64,
    /// Objects and where their evidence is.
    pub(super) uploaded_segments: Vec<[String; 2]>,
    pub(super) uploaded_manifests: Vec<[String; 2]>,
    pub(super) complete: bool,
    pub(super) tracks: BTreeMap<String, TrackView>,
    pub(super) hls_expected_track_count: Option<u64>,
    pub(super) hls_completed_tracks: u64,
    pub(super) run: i64,
    pub(super) state: State,
    /// The same for people, with what it waits for.
    pub(super) state_text: String,
    pub(super) opened: Timestamp,
    pub(super) last_upload: Timestamp,
}

#[derive(Serialize)]
pub(super) struct TrackView {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) segment_count: u64,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Open,
    /// Nothing has come for a while.
    Silent,
    Complete,
    /// A newer run has begun before this one was complete.
    Replaced,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Silent => "silent",
            Self::Complete => "complete",
            Self::Replaced => "replaced",
        }
    }
}

/// The sessions of a stream, with those of its listed objects that belong to them.
pub(super) fn views(
    interface: Interface,
    listed: Vec<ListedSession>,
    objects: &[ListedObject],
    timeout: Duration,
) -> Vec<SessionView> {
    let mut of_run: HashMap<(u64, i64), Vec<&ListedObject>> = HashMap::new();
    for object in objects {
        if let Some(run) = object.session {
            of_run.entry(run).or_default().push(object);
        }
    }
    listed
        .into_iter()
        .map(|run| {
            let objects = of_run.remove(&(run.number, run.session.run));
            view(interface, run, &objects.unwrap_or_default(), timeout)
        })
        .collect()
}

fn view(
    interface: Interface,
    run: ListedSession,
    objects: &[&ListedObject],
    timeout: Duration,
) -> SessionView {
    let (state, state_text) = state(interface, &run, timeout);
    let session = run.session;
    let (manifests, segments) = objects
        .iter()
        .partition::<Vec<&ListedObject>, _>(|object| is_manifest(object));
    let named = |objects: Vec<&ListedObject>| {
        let pair = |object: &ListedObject| [object.path.clone(), format!("{}.crt", object.path)];
        objects.into_iter().map(pair).collect()
    };
    SessionView {
        id: run.number,
        uploaded_segments: named(segments),
        uploaded_manifests: named(manifests),
        complete: session.complete,
        tracks: run
            .tracks
            .into_iter()
            .map(|(name, track)| {
                let state = if session.complete {
                    TrackState::Completed // the static MPD completes them all
                } else {
                    track.state
                };
                let view = TrackView {
                    name: name.clone(),
                    state: state.as_str(),
                    segment_count: track.segments,
                };
                (name, view)
            })
            .collect(),
        hls_expected_track_count: session.expected_tracks,
        hls_completed_tracks: session.completed_tracks,
        run: session.run,
        state,
        state_text,
        opened: session.opened,
        last_upload: session.last,
    }
}

fn is_manifest(object: &ListedObject) -> bool {
    ObjectPath::parse(&object.path).is_ok_and(|path| path.is_manifest())
}

fn state(interface: Interface, run: &ListedSession, timeout: Duration) -> (State, String) {
    let session = &run.session;
    if session.complete {
        return (State::Complete, "complete".to_owned());
    }
    let tracks = run
        .tracks
        .iter()
        .map(|(name, track)| (name.as_str(), track.state));
    let waits_for = matter::waits_for(interface, session, tracks);
    if run.replaced {
        let text = format!("replaced by a newer run, while it waited for {waits_for}");
        return (State::Replaced, text);
    }
    let silent = Timestamp::now().as_micros() - session.last.as_micros();
    if u128::try_from(silent).is_ok_and(|silent| silent >= timeout.as_micros()) {
        let since = session.last.to_rfc3339();
        let text = format!("silent since {since}, waiting for {waits_for}");
        return (State::Silent, text);
    }
    (State::Open, format!("open, waiting for {waits_for}"))
}
