//! The pace of one connection: how long the client may take, and for what.
//!
//! The server library's header timer also counts the idle time of a kept-alive connection, so
//! the connection is timed here: `IDLE_TIMEOUT` between requests, `READ_HEADER_TIMEOUT` from the
//! first byte of a head to its end, and while a response is written `WRITE_TIMEOUT`, for a
//! write that makes no progress and for a fixed-length response as a whole. Alarms are armed
//! lazily: a connection that keeps the pace sets no timer per request.

mod alarm;
mod paced;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use admission::ports::{BoxFuture, Watch};

use super::streams;
use crate::clock;
pub use alarm::Alarm;
pub use paced::Paced;

/// The limits, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimits {
    /// `READ_HEADER_TIMEOUT`.
    pub head: Duration,
    /// `IDLE_TIMEOUT`.
    pub idle: Duration,
    /// `WRITE_TIMEOUT`.
    pub write: Duration,
}

/// What the client is expected to do.
const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// The state of a connection's pace, shared by its stream and its requests.
pub struct Pace {
    limits: PaceLimits,
    start: Instant,
    phase: AtomicU8,
    /// When the phase began, in nanoseconds since `start`.
    since: AtomicU64,
    requests: AtomicUsize,
    /// When a fixed-length response must have been written, in nanoseconds since `start`; 0 for none.
    write_by: AtomicU64,
    /// A multiplexed connection reads bytes at any time: they do not begin a head.
    multiplexed: AtomicBool,
    /// The responses under way on a multiplexed connection.
    deliveries: Mutex<Vec<Arc<Delivery>>>,
    /// What the response on any other connection rests on.
    authority: Mutex<Option<Arc<dyn Watch>>>,
    /// A request is left that nobody reads to its end.
    unread: AtomicBool,
}

/// How far a response on a multiplexed connection is taken. A stream whose window is closed
/// stalls without the connection's writes stalling, and without its body being polled.
#[derive(Debug, Default)]
struct Delivery {
    /// How many pieces were handed over and are not taken.
    pieces: AtomicUsize,
    /// When this last changed, in nanoseconds since the start.
    moved: AtomicU64,
    /// When a fixed-length response must have been taken; 0 for none.
    take_by: AtomicU64,
}

impl Pace {
    /// The pace of a connection that was just accepted.
    #[must_use]
    pub fn new(limits: PaceLimits, multiplexed: bool) -> Arc<Self> {
        Arc::new(Self {
            limits,
            start: clock::instant(),
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            write_by: AtomicU64::new(0),
            multiplexed: AtomicBool::new(multiplexed),
            deliveries: Mutex::default(),
            authority: Mutex::default(),
            unread: AtomicBool::new(false),
        })
    }

    /// A head is complete: its request is in flight until the guard is dropped.
    #[must_use]
    pub fn request(self: &Arc<Self>, version: http::Version) -> InFlight {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.unread.store(false, Ordering::Release);
        let head = match self.phase.swap(BUSY, Ordering::AcqRel) {
            HEAD => self
                .elapsed()
                .saturating_sub(Duration::from_nanos(self.since.load(Ordering::Acquire))),
            _ => Duration::ZERO,
        };
        let delivery = (version == http::Version::HTTP_2).then(|| {
            self.multiplexed.store(true, Ordering::Release);
            let delivery = Arc::new(Delivery::default());
            self.deliveries().push(Arc::clone(&delivery));
            delivery
        });
        InFlight {
            pace: Arc::clone(self),
            head,
            delivery,
        }
    }

    /// Whether a client leaves a response of a multiplexed connection untaken for too long.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let now = nanos(self.elapsed());
        let limit = nanos(self.limits.write);
        self.deliveries().iter().any(|delivery| {
            let waits = delivery.pieces.load(Ordering::Acquire) > 0;
            let moved = delivery.moved.load(Ordering::Acquire);
            let take_by = delivery.take_by.load(Ordering::Acquire);
            (waits && now.saturating_sub(moved) > limit) || (take_by != 0 && now > take_by)
        })
    }

    /// Completes when the authority of the response under way is revoked.
    fn revoked(&self) -> Option<BoxFuture<'static, ()>> {
        self.authority().as_ref().map(|watch| watch.revoked())
    }

    fn authority(&self) -> MutexGuard<'_, Option<Arc<dyn Watch>>> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliveries(&self) -> MutexGuard<'_, Vec<Arc<Delivery>>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        clock::instant().duration_since(self.start)
    }

    fn mark(&self, phase: u8) {
        self.since.store(nanos(self.elapsed()), Ordering::Release);
        self.phase.store(phase, Ordering::Release);
    }

    fn at(&self, since_start: u64, limit: Duration) -> Instant {
        self.start + Duration::from_nanos(since_start) + limit
    }

    fn read_deadline(&self) -> Option<Instant> {
        let limit = match self.phase.load(Ordering::Acquire) {
            // On a multiplexed connection one request may begin while the last other one ends, and
            // the phase then says less than the count.
            IDLE if self.requests.load(Ordering::Acquire) == 0 => self.limits.idle,
            HEAD => self.limits.head,
            _ => return None,
        };
        Some(self.at(self.since.load(Ordering::Acquire), limit))
    }

    fn bytes_arrived(&self) {
        if !self.multiplexed.load(Ordering::Acquire) && self.phase.load(Ordering::Acquire) == IDLE {
            self.mark(HEAD);
        }
    }
}

/// One request in flight on a connection.
pub struct InFlight {
    pace: Arc<Pace>,
    head: Duration,
    delivery: Option<Arc<Delivery>>,
}

impl InFlight {
    /// How long the client took for the head, from its first byte.
    #[must_use]
    pub fn head_took(&self) -> Duration {
        self.head
    }

    /// The response has a fixed length: it must be written within `WRITE_TIMEOUT` from now.
    pub fn fixed_length_response(&self) {
        let by = nanos(self.pace.elapsed() + self.pace.limits.write);
        match &self.delivery {
            Some(delivery) => delivery.take_by.store(by, Ordering::Release),
            None => self.pace.write_by.store(by, Ordering::Release),
        }
    }

    /// Whether the connection carries other requests at the same time.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        self.delivery.is_some()
    }

    /// A piece of the response is handed over; it is the client's turn to take it.
    pub fn handed_over(&self) {
        if let Some(delivery) = &self.delivery {
            delivery
                .moved
                .store(nanos(self.pace.elapsed()), Ordering::Release);
            delivery.pieces.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The client took a piece, or will never be given it.
    pub fn taken(&self) {
        if let Some(delivery) = &self.delivery {
            delivery
                .moved
                .store(nanos(self.pace.elapsed()), Ordering::Release);
            delivery.pieces.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The response rests on this: a client that does not take it keeps its body from being
    /// polled, and so from learning of a revocation.
    pub fn rests_on(&self, watch: &Arc<dyn Watch>) {
        if self.is_multiplexed() {
            streams::rests_on(watch);
        } else {
            *self.pace.authority() = Some(Arc::clone(watch));
        }
    }

    /// The response ends before its request was read to the end.
    pub fn leaves_unread(&self) {
        if !self.is_multiplexed() {
            self.pace.unread.store(true, Ordering::Release);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        match &self.delivery {
            Some(delivery) => self
                .pace
                .deliveries()
                .retain(|other| !Arc::ptr_eq(other, delivery)),
            None => {
                self.pace.write_by.store(0, Ordering::Release);
                *self.pace.authority() = None;
            }
        }
        if self.pace.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pace.mark(IDLE);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
