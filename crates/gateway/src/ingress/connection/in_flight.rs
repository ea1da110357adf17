//! One request in flight on a connection, as its handler, its response and its stream see it.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use admission::OwnPlace;
use http::{Request, Version};
use http_body::Body;
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::early_hints::EarlyHints;
use super::state::{BodyLeft, ConnectionState, Delivery, Ending, Event, Exchange};
use super::timer::ConnectionTimer;
use crate::authority::Authority;
use crate::clock;
use crate::ingress::capacity::RequestPlace;

/// One request in flight, until the last clone is dropped.
#[derive(Clone)]
pub struct InFlight(Arc<Shared>);

struct Shared {
    timer: Arc<ConnectionTimer>,
    head_took: Duration,
    found_in_target: Option<u8>,
    /// Its caller knows interim answers, and they can be written (RFC 9110 §15.2).
    takes_interim: bool,
    place: OnceLock<RequestPlace>,
    /// Only on a multiplexed connection.
    stream: Option<Mutex<Stream>>,
}

/// What the task of an HTTP/2 stream shares with its request.
struct Stream {
    delivery: Delivery,
    /// When a fixed-length response must have been taken.
    write_by: Option<Instant>,
    authority: Option<Authority>,
    /// Who waits for everything to be taken.
    waiting: Option<Waker>,
    /// What is left of a request body that nobody wants.
    rest: Option<Incoming>,
}

impl InFlight {
    /// A head is complete: its request is in flight until the last clone of this is dropped.
    #[must_use]
    pub(super) fn begin<B: Body>(timer: &Arc<ConnectionTimer>, request: &Request<B>) -> Self {
        let now = clock::instant();
        let exchange = Exchange {
            body: match request.body().size_hint().exact() {
                Some(length) => BodyLeft::Length(length),
                None => BodyLeft::Chunks { at_end: false },
            },
            write_by: None,
            is_unread: false,
            needs_reset: request.version() <= Version::HTTP_10,
        };
        let head_took = match timer.after(Event::Request(exchange, now)) {
            ConnectionState::Head { since } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        let stream = (request.version() == Version::HTTP_2).then(|| {
            Mutex::new(Stream {
                delivery: Delivery::Taken,
                write_by: None,
                authority: None,
                waiting: None,
                rest: None,
            })
        });
        Self(Arc::new(Shared {
            timer: Arc::clone(timer),
            head_took,
            takes_interim: request.version() == Version::HTTP_11,
            found_in_target: timer.take_found_in_target(),
            place: OnceLock::new(),
            stream,
        }))
    }

    /// How long the caller took for the head, from its first byte. Zero over HTTP/2.
    #[must_use]
    pub fn head_took(&self) -> Duration {
        self.0.head_took
    }

    /// What the target holds and may not, where it was hidden from the library. `None` over HTTP/2, whose library shows
    /// nobody what it resets or cuts off.
    #[must_use]
    pub fn found_in_target(&self) -> Option<u8> {
        self.0.found_in_target
    }

    /// Where interim answers to it go, until its answer begins; `None` where there is no way to send any.
    #[must_use]
    pub fn early_hints(&self) -> Option<EarlyHints> {
        self.0
            .takes_interim
            .then(|| EarlyHints::open(&self.0.timer.hints))
    }

    /// The place to wait that its connection has for itself.
    #[must_use]
    pub fn own_place(&self) -> OwnPlace {
        self.0.timer.own_place.clone()
    }

    /// Whether the connection carries other requests at the same time.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        self.0.stream.is_some()
    }

    /// Why the gateway ended the request's stream or connection before the response was over, or
    /// how it learned that the caller left. `None` while nothing ended it, and where the caller
    /// reset its stream.
    #[must_use]
    pub fn ended_by(&self) -> Option<Ending> {
        let of_stream = self
            .0
            .stream
            .as_ref()
            .and_then(|stream| match stream.lock().delivery {
                Delivery::Ended(why) => Some(why),
                Delivery::Taken | Delivery::Offered { .. } => None,
            });
        of_stream.or_else(|| self.0.timer.ended_by())
    }

    /// Holds the place of the request as long as it is in flight.
    pub fn keep(&self, place: RequestPlace) {
        let _second = self.0.place.set(place);
    }

    /// The response has a fixed length: it must be written within `WRITE_TIMEOUT` from now.
    pub fn fixed_length_response(&self) {
        let by = clock::instant() + self.0.timer.limits.write;
        match &self.0.stream {
            Some(stream) => stream.lock().write_by = Some(by),
            None => {
                self.0.timer.after(Event::FixedLength(by));
            }
        }
    }

    /// The response rests on this: a caller that does not take it keeps its body from being polled,
    /// and so from learning of a revocation.
    pub fn rests_on(&self, authority: Authority) {
        match &self.0.stream {
            Some(stream) => stream.lock().authority = Some(authority),
            None => self.0.timer.rest_on(Some(authority)),
        }
    }

    /// The response ends before its HTTP/1 request was read to the end.
    pub fn leaves_unread(&self) {
        self.0.timer.after(Event::Unread);
    }

    /// The response breaks off, and an HTTP/1 connection with it.
    pub fn breaks_off(&self) {
        if !self.is_multiplexed() {
            self.0.timer.end(Ending::Broken);
        }
    }

    /// Leaves what is left of a request body to the task of its stream, which reads a little of it
    /// for nothing: reset at once, the caller might lose the response (RFC 9113 §8.1).
    pub fn discard(&self, rest: Incoming) {
        if let Some(stream) = &self.0.stream {
            stream.lock().rest = Some(rest);
        }
    }

    /// A piece of the response is handed over; it is the caller's turn to take it.
    pub fn handed_over(&self) {
        if let Some(stream) = &self.0.stream {
            let mut stream = stream.lock();
            stream.delivery = stream.delivery.hand_over(clock::instant());
        }
    }

    /// The caller took a piece, or will never be given it.
    pub fn taken(&self) {
        let Some(stream) = &self.0.stream else { return };
        let waiting = {
            let mut stream = stream.lock();
            stream.delivery = stream.delivery.take(clock::instant());
            match stream.delivery {
                Delivery::Offered { .. } => None,
                Delivery::Taken | Delivery::Ended(_) => stream.waiting.take(),
            }
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Whether nothing that was handed over waits: for the window of its stream, or on an HTTP/1 connection for the
    /// socket.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        match &self.0.stream {
            Some(stream) => matches!(stream.lock().delivery, Delivery::Taken),
            None => self.0.timer.is_flushed(),
        }
    }

    /// Completes when everything that was handed over is taken.
    pub fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        let Some(stream) = &self.0.stream else {
            return Poll::Ready(());
        };
        let mut stream = stream.lock();
        match stream.delivery {
            Delivery::Offered { .. } => {
                stream.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            Delivery::Taken | Delivery::Ended(_) => Poll::Ready(()),
        }
    }

    /// Whether the end of the response is known, and only what lies before it is to be taken.
    pub(super) fn is_ending(&self) -> bool {
        self.0
            .stream
            .as_ref()
            .is_some_and(|stream| stream.lock().waiting.is_some())
    }

    /// Ends the stream. The first reason stands.
    pub(super) fn end_stream(&self, why: Ending) {
        if let Some(stream) = &self.0.stream {
            let mut stream = stream.lock();
            stream.delivery = stream.delivery.end(why);
        }
    }

    /// Until when the caller must take more of the response on its stream.
    pub(super) fn take_by(&self) -> Option<Instant> {
        let stream = self.0.stream.as_ref()?.lock();
        let piece = stream.delivery.deadline(self.0.timer.limits.write);
        piece.into_iter().chain(stream.write_by).min()
    }

    /// What the response on the stream rests on, once there is one.
    pub(super) fn authority(&self) -> Option<Authority> {
        self.0.stream.as_ref()?.lock().authority.clone()
    }

    /// How long a write to the caller may make no progress.
    pub(super) fn write_timeout(&self) -> Duration {
        self.0.timer.limits.write
    }

    /// The state of its connection, which does not keep it in flight.
    pub(super) fn timer(&self) -> Arc<ConnectionTimer> {
        Arc::clone(&self.0.timer)
    }

    /// The rest of the request body that is to be read for nothing.
    pub(super) fn take_rest(&self) -> Option<Incoming> {
        self.0.stream.as_ref()?.lock().rest.take()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.stream.is_none() {
            self.timer.rest_on(None);
        }
        self.timer.after(Event::Over(clock::instant()));
    }
}
