//! What happens, as it happens: `GET /api/v1/events`, server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response, sse};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::extract::{Caller, Query};
use super::state::AppState;
use crate::access::Action;
use crate::catalog::{Event, EventFilter, MOST_WANTED};
use crate::{Error, Kind, Result};

/// Listeners at a time: each of them asks the catalogue after every commit.
pub(crate) const MOST_LISTENERS: usize = 64;
/// How often it is asked anew whether a listener may listen: a token that is withdrawn ends it.
const ASKED_ANEW: Duration = Duration::from_secs(5);
/// After this time a listener has to come back.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Events that are read at a time.
const BATCH: usize = 200;
/// Commits within this time are asked for together.
const GATHER: Duration = Duration::from_millis(100);
/// How often a line is sent when nothing happens, so that nobody in between gives the connection up.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How soon a browser comes back.
const RETRY: Duration = Duration::from_secs(2);
/// The kind that only those who may see devices and tokens are told of.
const AUDIT: &str = "audit";

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Ids or names of streams, separated by commas.
    stream: Option<String>,
    /// Kinds of events, separated by commas.
    kind: Option<String>,
    /// Number of the last event that is known.
    after: Option<i64>,
}

/// `GET /api/v1/events`
pub(super) async fn follow(
    State(state): State<AppState>,
    caller: Caller,
    parts: Parts,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let filter = filter(&state, &caller, &wanted).await?;
    let sees_audit = caller.may(&state, Action::ReadIdentity, None).await.is_ok();
    let last_known = match parts.headers.get("last-event-id") {
        Some(id) => Some(
            id.to_str()
                .ok()
                .and_then(|id| id.trim().parse().ok())
                .ok_or_else(|| {
                    Error::new(
                        Kind::Shape,
                        "Last-Event-ID must be the number of an event: leave it out to begin now",
                    )
                })?,
        ),
        None => wanted.after,
    };
    let permit = Arc::clone(&state.listeners)
        .try_acquire_owned()
        .map_err(|_| {
            Error::new(
                Kind::Busy,
                format!("{MOST_LISTENERS} connections listen to the events already"),
            )
        })?;
    let newest = state.catalog.read(|tables| tables.last_event()).await?;
    // A number from the future is one of another working directory: begin now.
    let seq = last_known.map_or(newest, |known| known.clamp(0, newest));
    let follower = Follower {
        filter,
        sees_audit,
        seq,
        greeted: false,
        pending: VecDeque::new(),
        commits: state.catalog.commits(),
        stopping: state.stopping.subscribe(),
        ends: Instant::now() + LIFETIME,
        asked: Instant::now(),
        parts,
        state,
        _permit: permit,
    };
    let events = futures_util::stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

/// What the caller wants to hear of, and may.
async fn filter(state: &AppState, caller: &Caller, wanted: &Wanted) -> Result<EventFilter> {
    let listed = |list: &Option<String>| -> Result<Vec<String>> {
        let list = list.as_deref().unwrap_or_default();
        let parts = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        if parts.len() > MOST_WANTED {
            return Err(Error::new(
                Kind::Shape,
                format!("a filter may name at most {MOST_WANTED} streams or kinds"),
            ));
        }
        Ok(parts)
    };
    let mut streams = Vec::new();
    for name in listed(&wanted.stream)? {
        let stream = super::extract::InStream(state.catalog.stream_called(&name));
        streams.push(caller.may_in(state, Action::Read, stream).await?.id);
    }
    if streams.is_empty() {
        caller.may(state, Action::ReadMetrics, None).await?;
    }
    Ok(EventFilter {
        streams,
        kinds: listed(&wanted.kind)?,
    })
}

/// A listener.
struct Follower {
    state: AppState,
    filter: EventFilter,
    sees_audit: bool,
    /// Number of the last event that was looked at.
    seq: i64,
    greeted: bool,
    pending: VecDeque<Event>,
    commits: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    ends: Instant,
    /// When it was last asked whether this listener may listen.
    asked: Instant,
    /// What it came with, to ask anew.
    parts: Parts,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; `None` when the listener has to go.
    async fn next(&mut self) -> Option<sse::Event> {
        if !self.greeted {
            // Says where it begins, so that whoever is cut off before the first event misses none.
            self.greeted = true;
            return Some(sse::Event::default().id(self.seq.to_string()).retry(RETRY));
        }
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.seq = event.seq;
                return sse::Event::default()
                    .id(event.seq.to_string())
                    .event(&event.kind)
                    .json_data(&event)
                    .ok();
            }
            if self.asked.elapsed() >= ASKED_ANEW && !self.may_still_listen().await {
                return None;
            }
            if self.read().await? {
                continue;
            }
            tokio::select! {
                changed = self.commits.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                () = tokio::time::sleep_until(self.ends) => return None,
                () = tokio::time::sleep_until(self.asked + ASKED_ANEW) => continue,
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Whether the request that this began with would be answered now.
    async fn may_still_listen(&mut self) -> bool {
        self.asked = Instant::now();
        let Ok(caller) = Caller::from_request_parts(&mut self.parts, &self.state).await else {
            return false;
        };
        let identity = caller.may(&self.state, Action::ReadIdentity, None).await;
        self.sees_audit = identity.is_ok();
        for id in &self.filter.streams {
            // That one was deleted is still to be told.
            if let Ok(stream) = self.state.catalog.stream(*id)
                && caller
                    .may(&self.state, Action::Read, Some(&stream))
                    .await
                    .is_err()
            {
                return false;
            }
        }
        let metrics = caller.may(&self.state, Action::ReadMetrics, None).await;
        !self.filter.streams.is_empty() || metrics.is_ok()
    }

    /// Reads what has happened since; whether there was something. `None` when that cannot be done.
    async fn read(&mut self) -> Option<bool> {
        self.commits.mark_unchanged();
        let (after, filter) = (self.seq, self.filter.clone());
        let read = self.state.catalog.read(move |tables| {
            let until = tables.last_event()?;
            Ok((tables.events(after, until, &filter, BATCH)?, until))
        });
        let (events, until) = read
            .await
            .inspect_err(|e| tracing::error!(error = %e.chain(), "the events cannot be read"))
            .ok()?;
        let all = events.len() < BATCH;
        let last = events.last().map_or(until, |event| event.seq);
        let wanted = events
            .into_iter()
            .filter(|event| self.sees_audit || event.kind != AUDIT);
        self.pending.extend(wanted);
        if self.pending.is_empty() {
            // Nothing for this listener up to here.
            self.seq = if all { until } else { last };
        }
        Some(!self.pending.is_empty() || !all)
    }
}
