//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::login::Logins;
use super::seen::LastSeen;
use super::throttle::Throttle;
use crate::catalog::Catalog;
use crate::clock::Timestamp;
use crate::config::Access;
use crate::fault::Faults;
use crate::identity::{Identity, Names};
use crate::ingest::Ingest;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::workdir::Workdir;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

/// The fields of [`AppState`].
pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) workdir: Workdir,
    pub(crate) identity: Identity,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) live: Hub,
    pub(crate) metrics: Arc<Metrics>,
    /// Takes what is turned away.
    pub(crate) refusals: Refusals,
    /// What may change while the server runs.
    pub(crate) policy: arc_swap::ArcSwap<Policy>,
    /// Addresses that lately sent wrong tokens.
    pub(crate) throttle: Throttle,
    /// Browsers that are logged in.
    pub(crate) logins: Logins,
    /// When the server began.
    pub(crate) started: Timestamp,
    /// Room for those who listen to the events.
    pub(crate) listeners: Arc<Semaphore>,
    /// Turns true when the server stops: whoever listens to the events has to go then.
    pub(crate) stopping: watch::Sender<bool>,
    /// Uploads are refused while less than this is free on the disk.
    pub(crate) kept_free: u64,
    /// When devices were last here.
    pub(crate) seen: LastSeen,
    /// Faults that uploads meet on purpose.
    pub(crate) faults: Faults,
    /// The names under which the server may be reached.
    pub(crate) names: Names,
    /// Longest wait for the next byte of a small request body.
    pub(crate) body_timeout: Duration,
    /// Time without an upload after which a session counts as silent.
    pub(crate) session_timeout: Duration,
}

/// Settings that requests are judged by.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) access: Access,
    /// Strict mode of new streams.
    pub(crate) strict_mode: bool,
    /// Whether new streams refuse errors in media.
    pub(crate) strict_media: bool,
    /// The admin's bearer token.
    pub(crate) admin_token: String,
}

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
