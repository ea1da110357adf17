//! The body of every answer that the gateway gives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Relayed;
use crate::ingress::capacity::RequestPlace;
use crate::ingress::pace::InFlight;

/// A body of the gateway's own, or one that is relayed from an upstream.
pub struct Body {
    kind: Kind,
    /// Held until the answer is written.
    held: Option<(InFlight, Option<RequestPlace>)>,
}

enum Kind {
    Own(Option<Bytes>),
    Relayed(Box<Relayed>),
}

/// Why a relayed body was cut. Nothing can be said to the caller any more: the connection is
/// closed without a last chunk, or the stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// An anchor was revoked.
    Revoked,
    /// The upstream broke off.
    Upstream,
    /// The upstream was silent for longer than `STREAM_IDLE_TIMEOUT`.
    Silent,
    /// A fixed-length response took longer than `WRITE_TIMEOUT`.
    TooSlow,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoked => "authority revoked",
            Self::Upstream => "upstream broke off its response",
            Self::Silent => "upstream silent for longer than STREAM_IDLE_TIMEOUT",
            Self::TooSlow => "response took longer than WRITE_TIMEOUT",
        })
    }
}

impl std::error::Error for Cut {}

impl Body {
    /// A body that is known in full.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Own(Some(bytes).filter(|bytes| !bytes.is_empty())),
            held: None,
        }
    }

    /// A body that is relayed.
    #[must_use]
    pub fn relayed(relayed: Relayed) -> Self {
        Self {
            kind: Kind::Relayed(Box::new(relayed)),
            held: None,
        }
    }

    /// Keeps the request in flight until this body is written or dropped.
    #[must_use]
    pub fn holding(mut self, in_flight: InFlight, place: Option<RequestPlace>) -> Self {
        if matches!(self.kind, Kind::Own(_)) || self.has_fixed_length() {
            in_flight.fixed_length_response();
        }
        self.held = Some((in_flight, place));
        self
    }

    fn has_fixed_length(&self) -> bool {
        match &self.kind {
            Kind::Own(_) => true,
            Kind::Relayed(relayed) => relayed.has_fixed_length(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if let Some((in_flight, _)) = &this.held {
            in_flight.taken();
        }
        let polled = match &mut this.kind {
            Kind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relayed(relayed) => relayed.poll_frame(cx),
        };
        if let (Poll::Ready(Some(Ok(_))), Some((in_flight, _))) = (&polled, &this.held) {
            in_flight.handed_over();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Relayed(relayed) => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Relayed(relayed) => relayed.size_hint(),
        }
    }
}
