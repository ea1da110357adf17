//! The caller's body on its way to the upstream.
//!
//! It is bounded in size by `MAX_REQUEST_BYTES` and in the caller's own time by `READ_TIMEOUT`:
//! only time spent waiting for the caller counts, not what the STS or a slow upstream takes.
//! It breaks off the moment the authority is revoked.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use admission::ports::{BoxFuture, Watch, WatchState};
use bytes::Bytes;
use forwarding::RequestTrailers;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{CALLERS_TURN, Fault, UNDER_WAY, UNREAD, Upload};
use crate::clock;
use crate::ingress::pace::Alarm;

/// How long a caller may take for its body.
#[derive(Clone, Copy, Debug)]
pub enum BodyTime {
    /// This much of its own time in all (`READ_TIMEOUT`, less what the head took).
    Total(Duration),
    /// A stream in both directions (gRPC): this long without a byte; `None` for no bound.
    Silence(Option<Duration>),
}

/// The body that goes upstream.
pub enum UploadBody {
    /// There is none.
    Empty,
    /// It streams.
    Streaming(Box<Streaming>),
}

/// A streaming upload.
pub struct Streaming {
    upload: Arc<Upload>,
    /// Whether anybody asked for a piece of it.
    begun: bool,
    remaining: u64,
    time: BodyTime,
    waiting_since: Option<Instant>,
    alarm: Alarm,
    watch: Arc<dyn Watch>,
    revoked: Option<BoxFuture<'static, ()>>,
    trailers: RequestTrailers,
}

impl UploadBody {
    /// Sends the caller's body upstream. It is the upstream's turn from now on.
    #[must_use]
    pub fn new(
        upload: Arc<Upload>,
        max_bytes: u64,
        time: BodyTime,
        watch: Arc<dyn Watch>,
        trailers: RequestTrailers,
    ) -> Self {
        upload.upstreams_turn();
        if upload.is_whole() {
            return Self::Empty;
        }
        upload.state.store(UNDER_WAY, Ordering::Release);
        Self::Streaming(Box::new(Streaming {
            upload,
            begun: false,
            remaining: max_bytes,
            time,
            waiting_since: None,
            alarm: Alarm::default(),
            watch,
            revoked: None,
            trailers,
        }))
    }
}

impl Streaming {
    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.upload.state.store(fault.state(), Ordering::Release);
        self.upload.upstreams_turn();
        Poll::Ready(Some(Err(fault)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.begun = true;
        if self.watch.poll_now() == WatchState::Revoked {
            return self.fail(Fault::Revoked);
        }
        match self.upload.poll_source(cx) {
            Poll::Pending => self.poll_waiting(cx),
            Poll::Ready(frame) => {
                self.account();
                self.upload.upstreams_turn();
                match frame {
                    None => Poll::Ready(None),
                    Some(Err(fault)) => self.fail(fault),
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

impl Drop for Streaming {
    /// Where no upstream could be reached, the body is as unread as it was.
    fn drop(&mut self) {
        if !self.begun {
            self.upload.state.store(UNREAD, Ordering::Release);
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
            Self::Streaming(streaming) => streaming.upload.is_whole(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => {
                let source = streaming.upload.source();
                source.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
            }
        }
    }
}
