//! The body of every answer that the gateway gives.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Relayed;
use crate::ingress::capacity::RequestPlace;
use crate::ingress::pace::InFlight;

/// A body of the gateway's own, or one that is relayed from an upstream.
pub struct Body {
    kind: Kind,
    held: Option<Arc<Held>>,
}

/// The request, held in flight until its answer is written.
struct Held {
    in_flight: InFlight,
    _place: Option<RequestPlace>,
}

/// A piece of an answer on a multiplexed connection. It lies in the library's hands until the
/// stream's window lets it through, and keeps the request in flight as long.
struct Piece {
    bytes: Bytes,
    held: Arc<Held>,
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
        if self.has_fixed_length() {
            in_flight.fixed_length_response();
        }
        if let Kind::Relayed(relayed) = &self.kind {
            in_flight.rests_on(relayed.watch());
        }
        self.held = Some(Arc::new(Held {
            in_flight,
            _place: place,
        }));
        self
    }

    /// Whether no more of the request can have a part in it.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        matches!(self.kind, Kind::Own(_)) || http_body::Body::is_end_stream(self)
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
        let polled = match &mut this.kind {
            Kind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relayed(relayed) => relayed.poll_frame(cx),
        };
        match &this.held {
            Some(held) if held.in_flight.is_multiplexed() => {
                polled.map_ok(|frame| frame.map_data(|bytes| Piece::hand_over(bytes, held)))
            }
            _ => polled,
        }
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

impl Drop for Body {
    fn drop(&mut self) {
        if let (Kind::Relayed(relayed), Some(held)) = (&self.kind, &self.held)
            && !relayed.upload().is_whole()
        {
            held.in_flight.leaves_unread();
        }
    }
}

impl Piece {
    fn hand_over(bytes: Bytes, held: &Arc<Held>) -> Bytes {
        held.in_flight.handed_over();
        Bytes::from_owner(Self {
            bytes,
            held: Arc::clone(held),
        })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.in_flight.taken();
    }
}
