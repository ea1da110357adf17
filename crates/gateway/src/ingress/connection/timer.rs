//! The state of one connection, shared by its bytes and its requests, and the time limits that
//! follow from it.
//!
//! The server library's header timer also counts the idle time of a kept-alive connection, so the
//! connection is timed here: `IDLE_TIMEOUT` between requests, `READ_HEADER_TIMEOUT` from the first
//! byte of a head to its end, and while a response is written `WRITE_TIMEOUT`, for a write that
//! makes no progress and for a fixed-length response as a whole. Timers are armed lazily: a
//! connection that keeps its limits sets none per request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Version};
use http_body::Body;
use parking_lot::Mutex;

use super::in_flight::InFlight;
use super::state::{BodyLeft, ConnectionState, Ending, Event, Exchange};
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
    state: Mutex<ConnectionState>,
    /// What the response on an HTTP/1 connection rests on.
    authority: Mutex<Option<Authority>>,
    /// The HTTP/2 request that was read last, until the task of its stream takes it.
    opened: Mutex<Option<InFlight>>,
}

impl ConnectionTimer {
    /// The state of a connection that was just accepted.
    #[must_use]
    pub(super) fn new(limits: TimeLimits) -> Arc<Self> {
        let since = clock::instant();
        Arc::new(Self {
            limits,
            state: Mutex::new(ConnectionState::Idle { since }),
            authority: Mutex::default(),
            opened: Mutex::default(),
        })
    }

    /// A head is complete: its request is in flight until the last clone of this is dropped.
    #[must_use]
    pub(super) fn request<B: Body>(self: &Arc<Self>, request: &Request<B>) -> InFlight {
        let now = clock::instant();
        let exchange = Exchange {
            body: match request.body().size_hint().exact() {
                Some(length) => BodyLeft::Length(length),
                None => BodyLeft::Chunks { at_end: false },
            },
            write_by: None,
            is_unread: false,
            needs_reset: request.version() <= Version::HTTP_10,
        };
        let head_took = match self.after(Event::Request(exchange, now)) {
            ConnectionState::Head { since } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        let is_multiplexed = request.version() == Version::HTTP_2;
        let in_flight = InFlight::new(Arc::clone(self), head_took, is_multiplexed);
        if is_multiplexed {
            *self.opened.lock() = Some(in_flight.clone());
        }
        in_flight
    }

    /// The HTTP/2 request that was read last, for the task of its stream.
    pub(super) fn take_opened(&self) -> Option<InFlight> {
        self.opened.lock().take()
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

    pub(super) fn read_deadline(&self) -> Option<Instant> {
        self.state().read_deadline(&self.limits)
    }

    pub(super) fn authority(&self) -> Option<Authority> {
        self.authority.lock().clone()
    }

    pub(super) fn rest_on(&self, authority: Option<Authority>) {
        *self.authority.lock() = authority;
    }
}
