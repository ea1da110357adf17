//! The pace of one connection: how long the client may take, and for what.
//!
//! The server library's header timer also counts the idle time of a kept-alive connection, so
//! the connection is timed here: `IDLE_TIMEOUT` between requests, `READ_HEADER_TIMEOUT` from the
//! first byte of a head to its end, and while a response is written `WRITE_TIMEOUT`, for a
//! write that makes no progress and for a fixed-length response as a whole. Alarms are armed
//! lazily: a connection that keeps the pace sets no timer per request.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::clock;

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
#[derive(Debug)]
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
}

/// How far a response on a multiplexed connection is taken. A stream whose window is closed
/// stalls without the connection's writes stalling, and without its body being polled.
#[derive(Debug, Default)]
struct Delivery {
    /// When the last piece was handed over, in nanoseconds since the start; 0 while the next
    /// one is waited for.
    handed_over: AtomicU64,
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
        })
    }

    /// A head is complete: its request is in flight until the guard is dropped.
    #[must_use]
    pub fn request(self: &Arc<Self>, version: http::Version) -> InFlight {
        self.requests.fetch_add(1, Ordering::AcqRel);
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
            let handed_over = delivery.handed_over.load(Ordering::Acquire);
            let take_by = delivery.take_by.load(Ordering::Acquire);
            (handed_over != 0 && now.saturating_sub(handed_over) > limit) || (take_by != 0 && now > take_by)
        })
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
#[derive(Debug)]
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

    /// A piece of the response is handed over; it is the client's turn to take it.
    pub fn handed_over(&self) {
        if let Some(delivery) = &self.delivery {
            delivery
                .handed_over
                .store(nanos(self.pace.elapsed()).max(1), Ordering::Release);
        }
    }

    /// The next piece is asked for: the client took what it was given.
    pub fn taken(&self) {
        if let Some(delivery) = &self.delivery {
            delivery.handed_over.store(0, Ordering::Release);
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
            None => self.pace.write_by.store(0, Ordering::Release),
        }
        if self.pace.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pace.mark(IDLE);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An alarm whose timer is armed when somebody has to wait, and moved only when it must ring earlier.
#[derive(Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Completes once `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// A stream that ends when its client does not keep the pace.
pub struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    read: Alarm,
    write: Alarm,
    /// Since when a write has made no progress.
    stalled: Option<Instant>,
}

impl<S> Paced<S> {
    /// Watches over a stream.
    pub fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self {
            stream,
            pace,
            read: Alarm::default(),
            write: Alarm::default(),
            stalled: None,
        }
    }

    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let since = *self.stalled.get_or_insert_with(clock::instant);
        let mut deadline = since + self.pace.limits.write;
        let write_by = self.pace.write_by.load(Ordering::Acquire);
        if write_by != 0 {
            deadline = deadline.min(self.pace.start + Duration::from_nanos(write_by));
        }
        ready!(self.write.poll(cx, deadline));
        Poll::Ready(Err(timed_out(
            "client did not take the response within WRITE_TIMEOUT",
        )))
    }

    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(result) => {
                self.stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.pace.bytes_arrived();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let Some(deadline) = this.pace.read_deadline() else {
                    return Poll::Pending;
                };
                ready!(this.read.poll(cx, deadline));
                Poll::Ready(Err(timed_out(
                    "client kept the connection longer than READ_HEADER_TIMEOUT or IDLE_TIMEOUT",
                )))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.wrote(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.wrote(cx, result)
    }
}

#[cfg(test)]
mod tests;
