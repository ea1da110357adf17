//! The caller's body: how far it came, and what becomes of the rest of it.
//!
//! No part of a request outlives its answer. Over HTTP/1.1 an unread body lies in front of the next
//! request: a short one that is there already is read and dropped, and the connection lives; any
//! other ends the connection (RFC 9112 §9.3, §9.6).

mod body;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use admission::Denial;
use bytes::Bytes;
use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::clock;
pub use body::{BodyTime, UploadBody};

/// The most bytes of an unwanted body that are read for nothing.
const MAX_DROPPED: u64 = 64 * 1024;
/// The connection reads and answers in turns: what of a body has arrived is here after so many.
const TURNS: u8 = 2;

/// The caller's body, shared by who reads it and who waits for the upstream's answer.
pub struct Upload {
    state: Mutex<State>,
    /// Reading would ask the caller for a body that nobody may want (RFC 9110 §10.1.1).
    is_held_back: bool,
    is_multiplexed: bool,
}

/// How far the body came.
enum State {
    /// Nobody reads it yet.
    Unread(Incoming),
    /// It is being sent upstream.
    UnderWay {
        body: Incoming,
        turn: Turn,
        /// Who waits for the caller.
        waiting: Option<Waker>,
    },
    /// It was read to its end, at this time.
    Whole(Instant),
    /// It broke off.
    Failed {
        fault: Fault,
        since: Instant,
        /// What is left of it, until the answer is over.
        rest: Option<Incoming>,
    },
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller has more to send.
    Caller,
    /// The upstream is expected to read or to answer, since then.
    Upstream(Instant),
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than `MAX_REQUEST_BYTES`.
    #[error("request body larger than MAX_REQUEST_BYTES")]
    TooLarge,
    /// The caller took longer than it may.
    #[error("request body slower than READ_TIMEOUT")]
    TooSlow,
    /// An anchor was revoked.
    #[error("authority revoked during the upload")]
    Revoked,
    /// The chunks are none (RFC 9112 §7.1).
    #[error("malformed request body")]
    Malformed,
    /// The caller's connection failed.
    #[error("caller broke off its request body")]
    Broken,
    /// The answer was over first.
    #[error("the answer was over before the request body")]
    Answered,
}

impl Fault {
    /// The refusal that the caller sees, if it is still there to see one.
    #[must_use]
    pub fn denial(self) -> Denial {
        match self {
            Self::TooLarge => Denial::BodyTooLarge,
            Self::TooSlow | Self::Broken | Self::Answered => Denial::RequestTimeout,
            Self::Malformed => Denial::MalformedBody,
            Self::Revoked => Denial::Revoked,
        }
    }

    /// The HTTP library reports what it cannot parse as the input's fault, and a broken connection
    /// as that.
    fn of(error: &hyper::Error) -> Self {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        match source.map(io::Error::kind) {
            Some(ErrorKind::InvalidInput | ErrorKind::InvalidData) => Self::Malformed,
            _ => Self::Broken,
        }
    }
}

impl Upload {
    /// The body of the request with this head.
    #[must_use]
    pub fn new(head: &Parts, body: Incoming) -> Arc<Self> {
        let state = match body.is_end_stream() {
            true => State::Whole(clock::instant()),
            false => State::Unread(body),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            is_held_back: head.headers.contains_key(EXPECT),
            is_multiplexed: head.version == Version::HTTP_2,
        })
    }

    /// Why the body broke off, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match *self.state.lock() {
            State::Failed { fault, .. } => Some(fault),
            State::Unread(_) | State::UnderWay { .. } | State::Whole(_) => None,
        }
    }

    /// Whether the body was read to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(*self.state.lock(), State::Whole(_))
    }

    /// Whether the request came over HTTP/2.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        self.is_multiplexed
    }

    /// Whose turn it is. As long as nobody reads the body, nobody waits for the caller.
    #[must_use]
    pub fn turn(&self) -> Turn {
        match *self.state.lock() {
            State::Unread(_) => Turn::Upstream(clock::instant()),
            State::UnderWay { turn, .. } => turn,
            State::Whole(since) | State::Failed { since, .. } => Turn::Upstream(since),
        }
    }

    /// The answer is over. What the caller has not sent by now is not wanted any more, and the
    /// upstream, which answered without it, gets no more of it (RFC 9112 §7.5, RFC 9113 §8.1). What
    /// is left of the body, where something may be.
    pub fn answer_is_over(&self) -> Option<Incoming> {
        if self.is_whole() {
            return None;
        }
        self.fail(Fault::Answered);
        match &mut *self.state.lock() {
            State::Failed { rest, .. } => rest.take(),
            State::Unread(_) | State::UnderWay { .. } | State::Whole(_) => None,
        }
    }

    /// The answer is decided, and whatever is left of an HTTP/1 body was not needed for it. What of
    /// it has arrived is dropped. Whether that was all, so that the connection can carry another
    /// request.
    pub async fn drop_arrived(&self) -> bool {
        let expected = match &*self.state.lock() {
            State::Unread(body) if !self.is_held_back => Some(body.size_hint().lower()),
            _ => None,
        };
        if expected.is_some_and(|expected| expected <= MAX_DROPPED) {
            self.read_arrived().await;
        }
        let _rest = self.answer_is_over();
        self.is_whole()
    }

    async fn read_arrived(&self) {
        let (mut left, mut turns) = (MAX_DROPPED, TURNS);
        poll_fn(|cx| {
            loop {
                match self.poll_source(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                        match left.checked_sub(length) {
                            Some(less) if !self.is_whole() => (left, turns) = (less, TURNS),
                            _ => return Poll::Ready(()),
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => {
                        turns -= 1;
                        if turns == 0 {
                            return Poll::Ready(());
                        }
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        })
        .await;
    }

    /// Reads from the caller, whoever it is for.
    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut state = self.state.lock();
        let body = match &mut *state {
            State::Unread(body) | State::UnderWay { body, .. } => body,
            State::Whole(_) => return Poll::Ready(None),
            State::Failed { fault, .. } => return Poll::Ready(Some(Err(*fault))),
        };
        let polled = match Pin::new(&mut *body).poll_frame(cx) {
            // The library takes a reset without an error for the end, which only a response may do (RFC 9113 §8.1).
            Poll::Ready(None) if self.is_multiplexed && !body.is_end_stream() => {
                Poll::Ready(Some(Err(Fault::Broken)))
            }
            polled => polled.map_err(|error| Fault::of(&error)),
        };
        let is_whole = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_whole {
            *state = State::Whole(clock::instant());
        } else if let State::UnderWay { turn, waiting, .. } = &mut *state {
            match polled {
                Poll::Pending => (*turn, *waiting) = (Turn::Caller, Some(cx.waker().clone())),
                Poll::Ready(_) => *turn = Turn::Upstream(clock::instant()),
            }
        }
        polled
    }

    /// The body is sent upstream from now on. Whether there is one.
    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        let now = clock::instant();
        match std::mem::replace(&mut *state, State::Whole(now)) {
            State::Unread(body) => {
                *state = State::UnderWay {
                    body,
                    turn: Turn::Upstream(now),
                    waiting: None,
                };
                true
            }
            State::Whole(_) => false,
            other => {
                *state = other;
                true
            }
        }
    }

    /// No upstream could be reached, so the body is as unread as it was.
    fn give_back(&self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Whole(clock::instant())) {
            State::UnderWay { body, .. } => *state = State::Unread(body),
            other => *state = other,
        }
    }

    /// The body breaks off. The first reason stands.
    fn fail(&self, fault: Fault) {
        let mut state = self.state.lock();
        let since = clock::instant();
        let (rest, waiting) = match std::mem::replace(&mut *state, State::Whole(since)) {
            State::Unread(body) => (Some(body), None),
            State::UnderWay { body, waiting, .. } => (Some(body), waiting),
            State::Whole(_) => (None, None),
            failed @ State::Failed { .. } => {
                *state = failed;
                return;
            }
        };
        *state = State::Failed { fault, since, rest };
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.state.lock() {
            State::Unread(body) | State::UnderWay { body, .. } => body.size_hint(),
            State::Whole(_) => SizeHint::with_exact(0),
            State::Failed { .. } => SizeHint::default(),
        }
    }
}
