//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::config::Access;
use crate::identity::{Identity, Names};
use crate::ingest::Ingest;
use crate::live::Hub;
use crate::metrics::Metrics;
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
    /// What may change while the server runs.
    pub(crate) policy: arc_swap::ArcSwap<Policy>,
    /// The names under which the server may be reached.
    pub(crate) names: Names,
    /// Longest wait for the next byte of a small request body.
    pub(crate) body_timeout: Duration,
}

/// Settings that requests are judged by.
pub(crate) struct Policy {
    pub(crate) access: Access,
    /// Strict mode of new streams.
    pub(crate) strict_mode: bool,
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
