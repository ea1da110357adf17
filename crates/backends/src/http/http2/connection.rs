//! A connection that requests share, and the place of one of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::ports::Clock;
use bytes::Bytes;
use h2::client::SendRequest;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::pool::Endpoint;

/// The most streams of one connection; its peer may allow fewer (RFC 9113 §5.1.2).
pub(super) const MAX_STREAMS: usize = 100;

/// A connection. When nobody holds it any more, it closes.
pub(in super::super) struct Connection {
    sender: SendRequest<Bytes>,
    endpoint: Endpoint,
    /// Connections have numbers in the order in which they were made.
    number: u64,
    clock: Arc<dyn Clock>,
    state: Arc<State>,
    /// Tells the connection's task that it is dropped.
    _wanted: DropGuard,
}

/// What a connection and its task tell each other.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The connection has ended.
    pub(super) is_over: AtomicBool,
    /// It ended because its peer gave no sign of life.
    pub(super) has_vanished: AtomicBool,
    /// How many places are taken.
    pub(super) streams: AtomicUsize,
    /// Something of a response came since the task looked for it.
    pub(super) heard: AtomicBool,
    /// When the last head of a response came, or the connection was made: monotonic time in nanoseconds.
    heard_at: AtomicU64,
    /// When its last place became free, likewise.
    idle_since: AtomicU64,
    has_answered: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        sender: SendRequest<Bytes>,
        endpoint: Endpoint,
        number: u64,
        clock: Arc<dyn Clock>,
        state: Arc<State>,
        wanted: DropGuard,
    ) -> Self {
        let connection = Self {
            sender,
            endpoint,
            number,
            clock,
            state,
            _wanted: wanted,
        };
        connection.now(&connection.state.heard_at);
        connection.now(&connection.state.idle_since);
        connection
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.endpoint.peer
    }

    /// Whether it would be made in the same way now.
    pub(super) fn is_current(&self) -> bool {
        self.endpoint.is_current()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it takes further requests: it has not ended, and its peer has not said GOAWAY.
    pub(super) fn is_open(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // Its own copy has no stream that waits, so it never does.
        let takes = self.sender.clone().poll_ready(&mut context);
        !self.state.is_over.load(Ordering::Acquire) && matches!(takes, Poll::Ready(Ok(())))
    }

    /// Whether nobody used it for this long.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        let since = Duration::from_nanos(self.state.idle_since.load(Ordering::Acquire));
        self.is_idle() && self.clock.now().monotonic.saturating_sub(since) >= time
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.streams.load(Ordering::Acquire) == 0
    }

    /// When a head of a response came last.
    pub(super) fn heard_at(&self) -> Duration {
        Duration::from_nanos(self.state.heard_at.load(Ordering::Acquire))
    }

    /// A place on it, where there is one.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        let limit = self.sender.current_max_send_streams().min(MAX_STREAMS);
        let taken = self
            .state
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |streams| {
                (streams < limit).then_some(streams + 1)
            });
        taken.ok().map(|_| Slot(Arc::clone(self)))
    }

    fn now(&self, time: &AtomicU64) {
        let now = self.clock.now().monotonic.as_nanos();
        time.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Release);
    }
}

/// The place of one request. Dropped, it is free.
pub(in super::super) struct Slot(Arc<Connection>);

impl Slot {
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.0.sender.clone()
    }

    /// Whether the connection takes a request.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Whether the connection answered a request before.
    pub(in super::super) fn has_answered(&self) -> bool {
        self.0.state.has_answered.load(Ordering::Acquire)
    }

    /// Whether the connection ended because its peer gave no sign of life.
    pub(super) fn has_vanished(&self) -> bool {
        self.0.state.has_vanished.load(Ordering::Acquire)
    }

    /// The head of an answer came.
    pub(super) fn answered(&self) {
        self.0.state.has_answered.store(true, Ordering::Release);
        self.heard();
        self.0.now(&self.0.state.heard_at);
    }

    /// Something of an answer came.
    pub(super) fn heard(&self) {
        self.0.state.heard.store(true, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the place is free, so that nobody sees it free for longer than it is.
        self.0.now(&self.0.state.idle_since);
        self.0.state.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the answer of a request holds as long as it is wanted.
pub(super) struct Held {
    pub(super) slot: Arc<Slot>,
    _answer: DropGuard,
}

impl Held {
    /// The token tells the request's body that its answer is over.
    pub(super) fn new(slot: Slot) -> (Self, CancellationToken) {
        let answer_is_over = CancellationToken::new();
        let held = Self {
            slot: Arc::new(slot),
            _answer: answer_is_over.clone().drop_guard(),
        };
        (held, answer_is_over)
    }
}
