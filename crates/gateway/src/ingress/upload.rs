//! The caller's body on its way to the upstream.
//!
//! It is bounded in size by `MAX_REQUEST_BYTES` and in the caller's own time by `READ_TIMEOUT`:
//! only time spent waiting for the caller counts, not what the STS or a slow upstream takes.
//! It breaks off the moment the authority is revoked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use admission::Denial;
use admission::ports::{BoxFuture, Watch, WatchState};
use bytes::Bytes;
use forwarding::RequestTrailers;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::Alarm;
use crate::clock;

/// How long a caller may take for its body.
#[derive(Clone, Copy, Debug)]
pub enum BodyTime {
    /// This much of its own time in all (`READ_TIMEOUT`, less what the head took).
    Total(Duration),
    /// A stream in both directions (gRPC): this long without a byte; `None` for no bound.
    Silence(Option<Duration>),
}

/// The state of an upload, seen by whoever waits for the upstream's answer.
#[derive(Debug)]
pub struct Upload {
    start: Instant,
    fault: AtomicU8,
    /// Nanoseconds since `start` of the last step that was the gateway's or the upstream's turn;
    /// [`CALLERS_TURN`] while the caller is waited for.
    turn_since: AtomicU64,
}

const CALLERS_TURN: u64 = u64::MAX;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller has more to send.
    Caller,
    /// The upstream is expected to read or to answer, since then.
    Upstream(Instant),
}

impl Upload {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: clock::instant(),
            fault: AtomicU8::new(0),
            turn_since: AtomicU64::new(0),
        })
    }

    /// Why the body broke off, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Acquire) {
            1 => Some(Fault::TooLarge),
            2 => Some(Fault::TooSlow),
            3 => Some(Fault::Revoked),
            4 => Some(Fault::Broken),
            _ => None,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn turn(&self) -> Turn {
        match self.turn_since.load(Ordering::Acquire) {
            CALLERS_TURN => Turn::Caller,
            nanos => Turn::Upstream(self.start + Duration::from_nanos(nanos)),
        }
    }

    fn upstreams_turn(&self) {
        let since = u64::try_from(clock::instant().duration_since(self.start).as_nanos());
        self.turn_since
            .store(since.unwrap_or(CALLERS_TURN - 1), Ordering::Release);
    }
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Longer than `MAX_REQUEST_BYTES`.
    TooLarge,
    /// The caller took longer than it may.
    TooSlow,
    /// An anchor was revoked.
    Revoked,
    /// The caller's connection failed.
    Broken,
}

impl Fault {
    /// The refusal that the caller sees, if it is still there to see one.
    #[must_use]
    pub fn denial(self) -> Denial {
        match self {
            Self::TooLarge => Denial::BodyTooLarge,
            Self::TooSlow | Self::Broken => Denial::RequestTimeout,
            Self::Revoked => Denial::Revoked,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "request body larger than MAX_REQUEST_BYTES",
            Self::TooSlow => "request body slower than READ_TIMEOUT",
            Self::Revoked => "authority revoked during the upload",
            Self::Broken => "caller broke off its request body",
        })
    }
}

impl std::error::Error for Fault {}

/// The body that goes upstream.
pub enum UploadBody {
    /// There is none.
    Empty,
    /// It streams.
    Streaming(Box<Streaming>),
}

/// A streaming upload.
pub struct Streaming {
    inner: Incoming,
    upload: Arc<Upload>,
    remaining: u64,
    time: BodyTime,
    waiting_since: Option<Instant>,
    alarm: Alarm,
    watch: Arc<dyn Watch>,
    revoked: Option<BoxFuture<'static, ()>>,
    trailers: RequestTrailers,
}

impl UploadBody {
    /// Wraps the caller's body.
    pub fn new(
        inner: Incoming,
        max_bytes: u64,
        time: BodyTime,
        watch: Arc<dyn Watch>,
        trailers: RequestTrailers,
    ) -> (Self, Arc<Upload>) {
        let upload = Upload::new();
        if inner.is_end_stream() {
            return (Self::Empty, upload);
        }
        let streaming = Streaming {
            inner,
            upload: Arc::clone(&upload),
            remaining: max_bytes,
            time,
            waiting_since: None,
            alarm: Alarm::default(),
            watch,
            revoked: None,
            trailers,
        };
        (Self::Streaming(Box::new(streaming)), upload)
    }
}

impl Streaming {
    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.upload.fault.store(fault as u8 + 1, Ordering::Release);
        self.upload.upstreams_turn();
        Poll::Ready(Some(Err(fault)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.watch.poll_now() == WatchState::Revoked {
            return self.fail(Fault::Revoked);
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => self.poll_waiting(cx),
            Poll::Ready(frame) => {
                self.account();
                self.upload.upstreams_turn();
                match frame {
                    None => Poll::Ready(None),
                    Some(Err(_)) => self.fail(Fault::Broken),
                    Some(Ok(frame)) => self.pass(frame),
                }
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match frame.into_data() {
            Ok(data) => match self.remaining.checked_sub(data.len() as u64) {
                None => self.fail(Fault::TooLarge),
                Some(remaining) => {
                    self.remaining = remaining;
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
            },
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.trailers.filter(&mut trailers);
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(_) => self.fail(Fault::Broken),
            },
        }
    }

    /// It is the caller's turn: its time runs, and a revocation ends the wait.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let since = *self.waiting_since.get_or_insert_with(clock::instant);
        self.upload.turn_since.store(CALLERS_TURN, Ordering::Release);
        let limit = match self.time {
            BodyTime::Total(left) => Some(left),
            BodyTime::Silence(limit) => limit,
        };
        if let Some(limit) = limit
            && self.alarm.poll(cx, since + limit).is_ready()
        {
            return self.fail(Fault::TooSlow);
        }
        let watch = &self.watch;
        let revoked = self.revoked.get_or_insert_with(|| watch.revoked());
        match revoked.as_mut().poll(cx) {
            Poll::Ready(()) => self.fail(Fault::Revoked),
            Poll::Pending => Poll::Pending,
        }
    }

    fn account(&mut self) {
        if let Some(since) = self.waiting_since.take()
            && let BodyTime::Total(left) = &mut self.time
        {
            *left = left.saturating_sub(clock::instant().duration_since(since));
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => streaming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.inner.size_hint(),
        }
    }
}
