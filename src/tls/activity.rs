//! What a connection is doing: shared by its socket, its clocks and its requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Counts of one connection. Cheap: the lock is held for a few instructions and never across a wait.
#[derive(Debug)]
pub(super) struct Activity {
    http2: AtomicBool,
    barred: AtomicBool,
    moves: Mutex<Moves>,
}

/// A look at an [`Activity`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Moves {
    /// Requests begun since the connection opened.
    pub(super) begun: u64,
    /// Requests of which anything is left: the handler, a body being read or drained, the response.
    pub(super) in_flight: usize,
    /// Responses whose last piece hyper has not yet come back from: the client has to take it first.
    pub(super) untaken: usize,
    /// When one of the above last changed.
    pub(super) changed: Instant,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            http2: AtomicBool::new(false),
            barred: AtomicBool::new(false),
            moves: Mutex::new(Moves {
                begun: 0,
                in_flight: 0,
                untaken: 0,
                changed: Instant::now(),
            }),
        })
    }

    pub(super) fn now(&self) -> Moves {
        *self.lock()
    }

    /// The connection speaks HTTP/2: bytes between requests are frames, not the start of a header.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// The connection is cut since its certificate is not good any more.
    pub(super) fn bar(&self) {
        self.barred.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Relaxed)
    }

    /// The handshake is over: idle time counts from here.
    pub(super) fn opened(&self) {
        self.lock().changed = Instant::now();
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        let mut moves = self.lock();
        moves.begun += 1;
        moves.in_flight += 1;
        moves.changed = Instant::now();
        drop(moves);
        InFlight(Arc::clone(self))
    }

    /// A piece of a response was handed to hyper, which asks for the next when it got rid of this one.
    pub(super) fn hand_out(self: &Arc<Self>) -> Untaken {
        let mut moves = self.lock();
        moves.untaken += 1;
        moves.changed = Instant::now();
        drop(moves);
        Untaken(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of which something is left.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut moves = self.0.lock();
        moves.in_flight -= 1;
        moves.changed = Instant::now();
    }
}

/// A piece of a response that waits for the client.
#[derive(Debug)]
pub(super) struct Untaken(Arc<Activity>);

impl Drop for Untaken {
    fn drop(&mut self) {
        let mut moves = self.0.lock();
        moves.untaken -= 1;
        moves.changed = Instant::now();
    }
}
