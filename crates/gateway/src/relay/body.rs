//! The body of every answer that the gateway gives.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::cut::Cut;
use super::relayed::Relayed;
use super::tunnel::Tunnel;
use crate::ingress::connection::{InFlight, LiveBody, Switched};

/// A body of the gateway's own, or one that is relayed from an upstream.
pub struct Body {
    kind: Kind,
    /// The request, in flight until its answer is written.
    in_flight: Option<InFlight>,
    next: Next,
}

enum Kind {
    Own(Option<Bytes>),
    Relayed(Box<Relayed>),
    /// None: the protocol is switched behind the head.
    Switched(Option<Box<Tunnel>>),
}

/// What comes next of a body on a multiplexed connection. Once the library has the end of a stream,
/// nothing can reset it any more, so the end is kept back until the caller's window lets through
/// what lies before it.
#[derive(Default)]
enum Next {
    /// Whatever the body gives.
    #[default]
    Frame,
    /// The last byte, alone, so that the library asks again before the response is over.
    LastByte(Bytes),
    /// The end, with trailers or without, once everything is taken.
    End(Option<HeaderMap>),
}

/// A piece of an answer on a multiplexed connection. It lies in the library's hands until the
/// stream's window lets it through, and keeps the request in flight as long.
struct Piece {
    bytes: Bytes,
    in_flight: InFlight,
}

impl Body {
    /// A body that is known in full.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Own(Some(bytes).filter(|bytes| !bytes.is_empty())),
            in_flight: None,
            next: Next::Frame,
        }
    }

    /// A body that is relayed.
    #[must_use]
    pub fn relayed(relayed: Relayed) -> Self {
        Self {
            kind: Kind::Relayed(Box::new(relayed)),
            in_flight: None,
            next: Next::Frame,
        }
    }

    /// No body, but a connection whose protocol is switched.
    #[must_use]
    pub fn switched(tunnel: Tunnel) -> Self {
        Self {
            kind: Kind::Switched(Some(Box::new(tunnel))),
            in_flight: None,
            next: Next::Frame,
        }
    }

    /// Keeps the request in flight until this body is written or dropped.
    #[must_use]
    pub fn holding(mut self, in_flight: InFlight) -> Self {
        if self.has_fixed_length() {
            in_flight.fixed_length_response();
        }
        match &mut self.kind {
            Kind::Own(_) | Kind::Switched(None) => {}
            Kind::Relayed(relayed) => in_flight.rests_on(relayed.authority()),
            Kind::Switched(Some(tunnel)) => {
                in_flight.rests_on(tunnel.authority());
                tunnel.hold(in_flight.clone());
            }
        }
        self.in_flight = Some(in_flight);
        self
    }

    /// Whether no more of the request can have a part in it.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        match self.kind {
            Kind::Own(_) => true,
            Kind::Relayed(_) => http_body::Body::is_end_stream(self),
            Kind::Switched(_) => false,
        }
    }

    fn has_fixed_length(&self) -> bool {
        match &self.kind {
            Kind::Own(_) => true,
            Kind::Relayed(relayed) => relayed.has_fixed_length(),
            Kind::Switched(_) => false,
        }
    }
}

impl Kind {
    fn poll_frame(
        &mut self,
        in_flight: Option<&InFlight>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self {
            Self::Switched(_) => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => match relayed.poll_frame(cx) {
                Poll::Pending => relayed
                    .poll_comment(cx, || in_flight.is_none_or(InFlight::is_taken))
                    .map(|comment| Some(Ok(Frame::data(comment)))),
                polled => polled,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.is_end_stream(),
            Self::Switched(_) => true,
        }
    }
}

impl Next {
    fn poll_frame(
        &mut self,
        kind: &mut Kind,
        in_flight: &InFlight,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            match mem::take(self) {
                Next::LastByte(byte) => return Poll::Ready(Some(Ok(Frame::data(byte)))),
                Next::End(trailers) => {
                    if in_flight.poll_taken(cx).is_pending() {
                        *self = Next::End(trailers);
                        return Poll::Pending;
                    }
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Next::Frame => match ready!(kind.poll_frame(Some(in_flight), cx))
                    .transpose()?
                    .map(Frame::into_data)
                {
                    None => *self = Next::End(None),
                    Some(Err(frame)) => *self = Next::End(frame.into_trailers().ok()),
                    Some(Ok(bytes)) => {
                        let mut piece = Piece::hand_over(bytes, in_flight);
                        if kind.is_end_stream() && piece.len() > 1 {
                            *self = Next::LastByte(piece.split_off(piece.len() - 1));
                        }
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                },
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        match &this.in_flight {
            Some(in_flight) if in_flight.is_multiplexed() => {
                this.next.poll_frame(&mut this.kind, in_flight, cx)
            }
            in_flight => {
                let polled = this.kind.poll_frame(in_flight.as_ref(), cx);
                if let (Poll::Ready(Some(Err(_))), Some(in_flight)) = (&polled, in_flight) {
                    in_flight.breaks_off();
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Next::Frame) && self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Relayed(relayed) => relayed.size_hint(),
            Kind::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

impl LiveBody for Body {
    fn is_live(&self) -> bool {
        match &self.kind {
            Kind::Own(_) | Kind::Switched(_) => false,
            Kind::Relayed(relayed) => relayed.is_event_stream() && relayed.upload().is_whole(),
        }
    }

    fn take_switched(&mut self) -> Option<Box<dyn Switched>> {
        match &mut self.kind {
            Kind::Own(_) | Kind::Relayed(_) => None,
            Kind::Switched(tunnel) => {
                self.in_flight = None;
                tunnel.take().map(|tunnel| tunnel as Box<dyn Switched>)
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let (Kind::Relayed(relayed), Some(in_flight)) = (&mut self.kind, &self.in_flight) {
            if !relayed.upload().is_whole() {
                in_flight.leaves_unread();
            }
            if !matches!(self.next, Next::Frame) {
                relayed.was_not_taken();
            }
        }
    }
}

impl Piece {
    fn hand_over(bytes: Bytes, in_flight: &InFlight) -> Bytes {
        in_flight.handed_over();
        Bytes::from_owner(Self {
            bytes,
            in_flight: in_flight.clone(),
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
        self.in_flight.taken();
    }
}
