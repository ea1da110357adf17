//! The caller's body on its way to the upstream.
//!
//! It is bounded in size by `MAX_REQUEST_BYTES` and in the caller's own time by `READ_TIMEOUT`:
//! only time spent waiting for the caller counts, not what the STS or a slow upstream takes.
//! It breaks off the moment the authority is revoked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forwarding::RequestTrailers;
use http_body::{Body, Frame, SizeHint};

use super::{Fault, Upload};
use crate::authority::Authority;
use crate::clock;
use crate::ingress::alarm::Alarm;

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
    authority: Authority,
    trailers: RequestTrailers,
}

impl UploadBody {
    /// Sends the caller's body upstream. It is the upstream's turn from now on.
    #[must_use]
    pub fn new(
        upload: Arc<Upload>,
        max_bytes: u64,
        time: BodyTime,
        authority: Authority,
        trailers: RequestTrailers,
    ) -> Self {
        if !upload.begin() {
            return Self::Empty;
        }
        Self::Streaming(Box::new(Streaming {
            upload,
            begun: false,
            remaining: max_bytes,
            time,
            waiting_since: None,
            alarm: Alarm::default(),
            authority,
            trailers,
        }))
    }
}

impl Streaming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        self.begun = true;
        if self.authority.is_revoked() {
            return Poll::Ready(Err(Fault::Revoked));
        }
        match self.upload.poll_source(cx) {
            Poll::Pending => self.poll_waiting(cx).map(Err),
            Poll::Ready(frame) => {
                if let (Some(since), BodyTime::Total(left)) = (self.waiting_since.take(), &mut self.time) {
                    *left = left.saturating_sub(clock::instant().duration_since(since));
                }
                Poll::Ready(
                    frame
                        .transpose()
                        .and_then(|frame| frame.map(|frame| self.pass(frame)).transpose()),
                )
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Fault> {
        match frame.into_data() {
            Ok(data) => {
                let remaining = self.remaining.checked_sub(data.len() as u64);
                self.remaining = remaining.ok_or(Fault::TooLarge)?;
                Ok(Frame::data(data))
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().map_err(|_| Fault::Broken)?;
                self.trailers.filter(&mut trailers);
                Ok(Frame::trailers(trailers))
            }
        }
    }

    /// It is the caller's turn: its time runs, and a revocation ends the wait.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let since = *self.waiting_since.get_or_insert_with(clock::instant);
        let limit = match self.time {
            BodyTime::Total(left) => Some(left),
            BodyTime::Silence(limit) => limit,
        };
        if let Some(limit) = limit
            && self.alarm.poll(cx, since + limit).is_ready()
        {
            return Poll::Ready(Fault::TooSlow);
        }
        self.authority.poll_revoked(cx).map(|()| Fault::Revoked)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if !self.begun {
            self.upload.give_back();
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Self::Streaming(streaming) = self.get_mut() else {
            return Poll::Ready(None);
        };
        let polled = ready!(streaming.poll(cx));
        if let Err(fault) = polled {
            streaming.upload.fail(fault);
        }
        Poll::Ready(polled.transpose())
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
            Self::Streaming(streaming) => streaming.upload.size_hint(),
        }
    }
}
