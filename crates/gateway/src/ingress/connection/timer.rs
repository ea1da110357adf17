//! The state of one connection, shared by its bytes and its requests, and the time limits that
//! follow from it.
//!
//! The server library's header timer also counts the idle time of a kept-alive connection, so the
//! connection is timed here: `IDLE_TIMEOUT` between requests, `READ_HEADER_TIMEOUT` from the first
//! byte of a head to its end, and while a response is written `WRITE_TIMEOUT`, for a write that
//! makes no progress and for a fixed-length response as a whole. Timers are armed lazily: a
//! connection that keeps its limits sets none per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use admission::OwnPlace;
use parking_lot::Mutex;

use super::early_hints::HintQueue;
use super::state::{ConnectionState, Ending, Event};
use crate::authority::Authority;
use crate::clock;

/// The limits, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// `READ_HEADER_TIMEOUT`.
    pub head: Duration,
    /// `IDLE_TIMEOUT`.
    pub idle: Duration,
    /// `WRITE_TIMEOUT`.
    pub write: Duration,
}

/// The state of one connection.
pub(super) struct ConnectionTimer {
    /// Its limits.
    pub(super) limits: TimeLimits,
    /// Its own place to wait for keys.
    pub(super) own_place: OwnPlace,
    state: Mutex<ConnectionState>,
    /// What the response on an HTTP/1 connection rests on.
    authority: Mutex<Option<Authority>>,
    /// Nothing was written since the last flush that came through.
    is_flushed: AtomicBool,
    /// What the target of the head that is read holds and may not, until its request takes it; 0 for nothing.
    found_in_target: AtomicU8,
    /// Interim answers that wait to be written.
    pub(super) hints: Arc<HintQueue>,
}

impl ConnectionTimer {
    /// The state of a connection that was just accepted.
    #[must_use]
    pub(super) fn new(limits: TimeLimits) -> Arc<Self> {
        let since = clock::instant();
        Arc::new(Self {
            limits,
            own_place: OwnPlace::default(),
            state: Mutex::new(ConnectionState::Idle { since }),
            authority: Mutex::default(),
            is_flushed: AtomicBool::new(true),
            found_in_target: AtomicU8::new(0),
            hints: Arc::default(),
        })
    }

    /// Ends the connection. The first reason stands.
    pub(super) fn end(&self, why: Ending) {
        self.after(Event::End(why));
    }

    /// Why the connection was ended, if it was.
    #[must_use]
    pub(super) fn ended_by(&self) -> Option<Ending> {
        match self.state() {
            ConnectionState::Ended { why, .. } => Some(why),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> ConnectionState {
        *self.state.lock()
    }

    /// Goes on after this event; gives the state before it.
    pub(super) fn after(&self, event: Event) -> ConnectionState {
        let mut state = self.state.lock();
        let next = state.after(event);
        std::mem::replace(&mut state, next)
    }

    /// Whether the connection has been idle for so long that it needs no library until the next request begins.
    pub(super) fn rests(&self) -> bool {
        let from = self.state().rests_from();
        from.is_some_and(|from| from <= clock::instant())
    }

    pub(super) fn authority(&self) -> Option<Authority> {
        self.authority.lock().clone()
    }

    /// Something is written.
    pub(super) fn writes(&self) {
        self.is_flushed.store(false, Ordering::Relaxed);
    }

    /// Whoever writes has handed over everything, and it was flushed.
    pub(super) fn flushed(&self) {
        self.is_flushed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.is_flushed.load(Ordering::Relaxed)
    }

    /// The target of the head that is read holds this, which no target may. The first one stands.
    pub(super) fn found_in_target(&self, byte: u8) {
        let order = Ordering::Relaxed;
        let _kept = self.found_in_target.compare_exchange(0, byte, order, order);
    }

    /// What was found in the target of the head that was read.
    pub(super) fn take_found_in_target(&self) -> Option<u8> {
        Some(self.found_in_target.swap(0, Ordering::Relaxed)).filter(|&found| found != 0)
    }

    pub(super) fn rest_on(&self, authority: Option<Authority>) {
        *self.authority.lock() = authority;
    }
}
