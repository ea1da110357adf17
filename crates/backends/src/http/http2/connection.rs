//! A connection that requests share, and the place of one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::ports::Clock;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::client::SendRequest;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::pool::Endpoint;

/// The most streams of one connection; its peer may allow fewer (RFC 9113 §5.1.2).
pub(super) const MAX_STREAMS: usize = 100;
/// The most streams of one connection that end before their time; the library ends all of them beyond what it remembers.
pub(super) const MAX_CUT: usize = 200;

/// A connection. When nobody holds it any more, it closes.
pub(in super::super) struct Connection {
    sender: SendRequest<Bytes>,
    endpoint: Endpoint,
    /// Connections have numbers in the order in which they were made.
    number: u64,
    clock: Arc<dyn Clock>,
    state: Arc<State>,
    /// The number of the last look that its task was asked for and had.
    looked: watch::Receiver<u64>,
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
    /// How many places were ever taken.
    reserved: AtomicU64,
    /// How many streams ended before their time.
    cut: AtomicUsize,
    /// Its peer refused a stream.
    has_refused: AtomicBool,
    /// How many looks the task was asked for.
    pub(super) asked: AtomicU64,
    /// The task.
    pub(super) task: AtomicWaker,
}

impl Connection {
    pub(super) fn new(
        sender: SendRequest<Bytes>,
        endpoint: Endpoint,
        number: u64,
        clock: Arc<dyn Clock>,
        state: Arc<State>,
        looked: watch::Receiver<u64>,
        wanted: DropGuard,
    ) -> Self {
        let connection = Self {
            sender,
            endpoint,
            number,
            clock,
            state,
            looked,
            _wanted: wanted,
        };
        connection.now(&connection.state.heard_at);
        connection.now(&connection.state.idle_since);
        connection
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is kept: it takes further requests, would be made in the same way now, and was used within this time.
    pub(super) fn is_kept(&self, idle: Duration) -> bool {
        self.is_open() && self.endpoint.is_current() && !self.is_idle_for(idle)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it takes further requests: it has not ended, its peer has not said GOAWAY, and not many of its streams
    /// were cut.
    pub(super) fn is_open(&self) -> bool {
        !self.state.is_over.load(Ordering::Acquire)
            && self.state.cut.load(Ordering::Relaxed) < MAX_CUT
            && matches!(self.takes(), Poll::Ready(Ok(())))
    }

    /// Whether it ended because its peer broke the protocol.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.takes(), Poll::Ready(Err(error)) if error.is_library())
    }

    fn takes(&self) -> Poll<Result<(), h2::Error>> {
        // Its own copy has no stream that waits, so it never does.
        self.sender
            .clone()
            .poll_ready(&mut Context::from_waker(Waker::noop()))
    }

    /// Whether nobody used it for this long.
    fn is_idle_for(&self, time: Duration) -> bool {
        self.is_idle() && self.time().saturating_sub(self.idle_since()) >= time
    }

    /// When its last place became free.
    pub(super) fn idle_since(&self) -> Duration {
        Duration::from_nanos(self.state.idle_since.load(Ordering::Acquire))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.streams.load(Ordering::Acquire) == 0
    }

    /// When a head of a response came last.
    pub(super) fn heard_at(&self) -> Duration {
        Duration::from_nanos(self.state.heard_at.load(Ordering::Acquire))
    }

    /// Whether it answered a request.
    pub(super) fn has_answered(&self) -> bool {
        self.state.has_answered.load(Ordering::Acquire)
    }

    /// Whether there is a place on it, of so many.
    pub(super) fn has_room(&self, at_most: usize) -> bool {
        self.state.streams.load(Ordering::Acquire) < self.limit(at_most)
    }

    fn limit(&self, at_most: usize) -> usize {
        self.sender.current_max_send_streams().min(at_most)
    }

    /// A place on it, where there is one of so many. One at a time asks for one.
    pub(super) fn reserve(self: &Arc<Self>, at_most: usize) -> Option<Slot> {
        let limit = self.limit(at_most);
        let taken = self
            .state
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |streams| {
                (streams < limit).then_some(streams + 1)
            });
        taken.ok().map(|others| {
            let number = self.state.reserved.fetch_add(1, Ordering::AcqRel) + 1;
            Slot {
                connection: Arc::clone(self),
                alone: (others == 0).then_some(number),
                has_waited: false,
            }
        })
    }

    /// The monotonic time.
    pub(super) fn time(&self) -> Duration {
        self.clock.now().monotonic
    }

    fn now(&self, time: &AtomicU64) {
        let now = self.time().as_nanos();
        time.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Release);
    }
}

/// The place of one request. Dropped, it is free.
pub(in super::super) struct Slot {
    connection: Arc<Connection>,
    /// Its number, where no other place was taken before it.
    alone: Option<u64>,
    /// The connection was made before its request came.
    has_waited: bool,
}

impl Slot {
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    /// Whether the connection takes a request.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Has the connection's task read what is there, whether or not the reactor knows of it: a GOAWAY or an end that came
    /// before a request is known before that is sent. Where the task has ended, that is known too.
    pub(super) async fn look(&self) {
        let Connection { endpoint, state, .. } = &*self.connection;
        let mut looked = self.connection.looked.clone();
        endpoint.probe.ask();
        let number = state.asked.fetch_add(1, Ordering::AcqRel) + 1;
        state.task.wake();
        // An error is the task's end.
        let _ = looked.wait_for(|looked| *looked >= number).await;
    }

    /// The connection was made before its request came.
    pub(in super::super) fn has_waited(&mut self) {
        self.has_waited = true;
    }

    /// Whether the connection answered a request before, or waited for this one: its peer may have hung up meanwhile.
    pub(in super::super) fn is_used(&self) -> bool {
        self.has_waited || self.connection.has_answered()
    }

    /// Whether nobody else had a place as long as this one was taken, so that it alone can be what the connection ended by.
    pub(super) fn is_alone(&self) -> bool {
        self.alone == Some(self.connection.state.reserved.load(Ordering::Acquire))
    }

    /// The peer refused a stream. Whether it is the first on the connection: each repeated request costs a connection, and who
    /// refuses many has no room for more of them.
    pub(super) fn refused(&self) -> bool {
        !self.connection.state.has_refused.swap(true, Ordering::Relaxed)
    }

    /// Whether the connection ended because its peer gave no sign of life.
    pub(super) fn has_vanished(&self) -> bool {
        self.connection.state.has_vanished.load(Ordering::Acquire)
    }

    /// The head of an answer came.
    pub(super) fn answered(&self) {
        self.connection.state.has_answered.store(true, Ordering::Release);
        self.heard();
        self.connection.now(&self.connection.state.heard_at);
    }

    /// Something of an answer came.
    pub(super) fn heard(&self) {
        self.connection.state.heard.store(true, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the place is free, so that nobody sees it free for longer than it is.
        self.connection.now(&self.connection.state.idle_since);
        self.connection.state.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the answer of a request holds as long as it is wanted.
pub(super) struct Held {
    pub(super) slot: Arc<Slot>,
    /// The answer came to its end.
    is_whole: bool,
    _answer: DropGuard,
}

impl Held {
    /// The token tells the request's body that its answer is over.
    pub(super) fn new(slot: Slot) -> (Self, CancellationToken) {
        let answer_is_over = CancellationToken::new();
        let held = Self {
            slot: Arc::new(slot),
            is_whole: false,
            _answer: answer_is_over.clone().drop_guard(),
        };
        (held, answer_is_over)
    }

    /// The answer came to its end.
    pub(super) fn whole(&mut self) {
        self.is_whole = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_whole {
            self.slot.connection.state.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}
