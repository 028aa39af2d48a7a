//! How the server is doing.

use serde::Serialize;

use crate::catalog::Event;
use crate::clock::Timestamp;

/// How the server is doing.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) started: Timestamp,
    pub(crate) uptime_seconds: u64,
    /// `local`, `closed` or `open`.
    pub(crate) access: &'static str,
    /// Strict mode of new streams.
    pub(crate) strict_mode: bool,
    pub(crate) streams: usize,
    pub(crate) uploads_running: usize,
    pub(crate) connections: i64,
    /// Connections that listen to the events.
    pub(crate) listeners: usize,
    pub(crate) disk: Option<Disk>,
    pub(crate) catalogue_bytes: u64,
    /// Number of the newest event.
    pub(crate) last_event: i64,
    /// Uploads that went wrong, newest first.
    pub(crate) warnings: Vec<Event>,
}

/// The file system of the working directory.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    pub(crate) free: u64,
    pub(crate) size: u64,
    /// Uploads are refused while less than this is free.
    pub(crate) kept_free: u64,
}
