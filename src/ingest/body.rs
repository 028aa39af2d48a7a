//! Reads a request body with a limit on every wait and on the whole.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::sync::watch;

use crate::live::Meter;
use crate::{Error, Kind, Result};

/// A request body being read.
pub(super) struct BodyReader {
    body: Body,
    /// Longest silence.
    idle: Duration,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
    /// Turns true when the server no longer waits for running uploads.
    cut: watch::Receiver<bool>,
    /// Counts what comes.
    meter: Meter,
}

impl BodyReader {
    pub(super) fn new(
        body: Body,
        idle: Duration,
        limit: u64,
        cut: watch::Receiver<bool>,
        meter: Meter,
    ) -> Self {
        Self {
            body,
            idle,
            left: limit,
            limit,
            cut,
            meter,
        }
    }

    /// The next bytes; `None` at the end of a body that ended as its framing says.
    ///
    /// # Errors
    /// [`Kind::TimedOut`] when the client is silent for too long, [`Kind::Disconnected`] when it went
    /// away or the server ends, [`Kind::TooLarge`] past the limit.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::select! {
                biased;
                // First: a sender that never pauses must be cut too.
                _ = self.cut.wait_for(|cut| *cut) => {
                    return Err(Error::new(Kind::Disconnected, "the server ended during the upload"));
                }
                frame = tokio::time::timeout(self.idle, self.body.frame()) => frame,
            };
            let Ok(frame) = frame else {
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("no byte of the body came for {} s", self.idle.as_secs_f32()),
                ));
            };
            let frame = match frame {
                None => return Ok(None),
                Some(Ok(frame)) => frame,
                Some(Err(e)) => {
                    return Err(Error::new(Kind::Disconnected, why(&e)).because(e));
                }
            };
            // Trailer fields carry nothing that pavs keeps.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!("the body is larger than {} bytes", self.limit),
                ));
            };
            self.left = left;
            self.meter.bytes(bytes.len() as u64);
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// Why a body broke off, for its record.
fn why(e: &axum::Error) -> &'static str {
    // The connection ends with this kind when its certificate is not good any more, see `tls`.
    let mut cause = Some(e as &(dyn std::error::Error + 'static));
    while let Some(e) = cause {
        if e.downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
        {
            return "the client certificate was revoked or replaced, or has ended, during the upload";
        }
        cause = e.source();
    }
    "the body ended early"
}
