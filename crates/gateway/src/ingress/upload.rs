//! The caller's body: how far it came, and what becomes of the rest of it.
//!
//! No part of a request outlives its answer. Over HTTP/1.1 an unread body lies in front of the
//! next request: a short one that is there, or about to be, is read and dropped, and the
//! connection lives; any other ends the connection (RFC 9112 §9.3, §9.6).

mod body;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use admission::Denial;
use bytes::Bytes;
use http::header::EXPECT;
use http::request::Parts;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::clock;
pub use body::{BodyTime, UploadBody};

/// Most bytes of a body that are read for nothing.
const MOST_FOR_NOTHING: u64 = 64 * 1024;
/// How long an answer waits for them.
const WAIT_FOR_NOTHING: Duration = Duration::from_millis(500);

/// The caller's body, shared by who reads it and who waits for the upstream's answer.
pub struct Upload {
    start: Instant,
    source: Mutex<Source>,
    /// Reading would ask the caller for a body that nobody may want (RFC 9110 §10.1.1).
    is_held_back: bool,
    state: AtomicU8,
    /// Nanoseconds since `start` of the last step that was the gateway's or the upstream's turn;
    /// [`CALLERS_TURN`] while the caller is waited for.
    turn_since: AtomicU64,
}

const CALLERS_TURN: u64 = u64::MAX;
/// Nobody reads it yet.
const UNREAD: u8 = 0;
/// It is being sent upstream.
const UNDER_WAY: u8 = 1;
/// It was read to its end. Above this lie the faults.
const WHOLE: u8 = 2;

struct Source {
    /// What is left; taken when nobody is to read on.
    body: Option<Incoming>,
    /// Who waits for the caller.
    waiting: Option<Waker>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller has more to send.
    Caller,
    /// The upstream is expected to read or to answer, since then.
    Upstream(Instant),
}

impl Upload {
    /// The body of the request with this head.
    #[must_use]
    pub fn new(head: &Parts, body: Incoming) -> Arc<Self> {
        let state = if body.is_end_stream() { WHOLE } else { UNREAD };
        Arc::new(Self {
            start: clock::instant(),
            source: Mutex::new(Source {
                body: Some(body),
                waiting: None,
            }),
            is_held_back: head.headers.contains_key(EXPECT),
            state: AtomicU8::new(state),
            turn_since: AtomicU64::new(0),
        })
    }

    /// Why the body broke off, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let state = self.state.load(Ordering::Acquire);
        Fault::ALL.into_iter().find(|fault| fault.state() == state)
    }

    /// Whether the body was read to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state.load(Ordering::Acquire) == WHOLE
    }

    /// The answer is over. What the caller has not sent by now is not wanted any more, and the
    /// upstream, which answered without it, gets no more of it (RFC 9112 §7.5, RFC 9113 §8.1).
    pub fn answer_is_over(&self) {
        if self.is_whole() {
            return;
        }
        let (body, waiting) = {
            let mut source = self.source();
            (source.body.take(), source.waiting.take())
        };
        drop(body);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// The answer is decided, and whatever is left of the body was not needed for it. Whether it
    /// is read to its end, so that the connection can carry another request.
    pub async fn settle(&self) -> bool {
        if self.state.load(Ordering::Acquire) == UNREAD && !self.is_held_back {
            let _late = tokio::time::timeout(WAIT_FOR_NOTHING, self.drain()).await;
        }
        self.answer_is_over();
        self.is_whole()
    }

    async fn drain(&self) {
        let mut left = MOST_FOR_NOTHING;
        let expected = self.source().body.as_ref().map(|body| body.size_hint().lower());
        if expected.is_none_or(|expected| expected > left) {
            return;
        }
        while let Some(Ok(frame)) = poll_fn(|cx| self.poll_source(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(length) {
                Some(less) if !self.is_whole() => left = less,
                _ => return,
            }
        }
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut source = self.source();
        let Some(body) = &mut source.body else {
            return Poll::Ready(Some(Err(Fault::Answered)));
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Pending => source.waiting = Some(cx.waker().clone()),
            Poll::Ready(Some(Err(_))) => {}
            Poll::Ready(None) => self.state.store(WHOLE, Ordering::Release),
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() || body.is_end_stream() {
                    self.state.store(WHOLE, Ordering::Release);
                }
            }
        }
        polled.map_err(|_| Fault::Broken)
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// The answer was over first.
    Answered,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::TooLarge,
        Self::TooSlow,
        Self::Revoked,
        Self::Broken,
        Self::Answered,
    ];

    fn state(self) -> u8 {
        self as u8 + 1 + WHOLE
    }

    /// The refusal that the caller sees, if it is still there to see one.
    #[must_use]
    pub fn denial(self) -> Denial {
        match self {
            Self::TooLarge => Denial::BodyTooLarge,
            Self::TooSlow | Self::Broken | Self::Answered => Denial::RequestTimeout,
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
            Self::Answered => "the answer was over before the request body",
        })
    }
}

impl std::error::Error for Fault {}
