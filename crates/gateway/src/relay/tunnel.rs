//! A connection whose protocol was switched: bytes both ways, bound to the authority that they rest on.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use admission::ports::BoxFuture;
use backends::http::Upgraded;
use forwarding::Switched as Protocol;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::lane::{Broken, Lane};
use super::websocket::{Frames, close_frame};
use crate::authority::Authority;
use crate::clock;
use crate::ids;
use crate::ingress::alarm::Alarm;
use crate::ingress::connection::{Closing, Duplex, InFlight, Switched};
use crate::record::{Answered, End, Record};

/// How long the last words of the gateway may wait behind what either end is taking.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(20);
/// So often a caller that nobody reads is asked whether it is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Statuses of close frames (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// What bounds a switched connection.
#[derive(Clone, Debug)]
pub struct TunnelLimits {
    /// `STREAM_IDLE_TIMEOUT`: the longest time in which nothing goes either way; `None` for no bound.
    pub silence: Option<Duration>,
    /// `WRITE_TIMEOUT`: how long the caller may take nothing of what it is given.
    pub write: Duration,
    /// When the process ends, WebSocket connections are closed between two frames.
    pub closing: CancellationToken,
}

/// A switched connection between a caller and an upstream. It holds its request's place as long as it lives.
pub struct Tunnel {
    // Dropped in this order: the record has ended, and the place is free, before either side sees the end.
    record: Record<Answered>,
    in_flight: Option<InFlight>,
    upstream: Upgraded,
    /// The upstream takes nothing any more; what it said before is still to be passed on.
    has_lost_upstream: bool,
    to_caller: Lane,
    to_upstream: Lane,
    limits: TunnelLimits,
    authority: Authority,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Since when nothing has gone either way.
    silent_since: Option<Instant>,
    alarm: Alarm,
}

/// Why a tunnel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Both sides have ended.
    Whole,
    Revoked,
    Stopping,
    Silent,
    CallerStalled,
    CallerBroke,
    UpstreamBroke,
}

impl Tunnel {
    /// Takes over a connection to an upstream that has switched to this protocol.
    pub fn new(
        mut upstream: Upgraded,
        protocol: Protocol,
        limits: TunnelLimits,
        authority: Authority,
        record: Record<Answered>,
    ) -> Self {
        let lane = || {
            Lane::new(match protocol {
                Protocol::WebSocket => Some(Frames::default()),
                Protocol::Opaque => None,
            })
        };
        upstream.breaks_off(true);
        Self {
            upstream,
            has_lost_upstream: false,
            to_caller: lane(),
            to_upstream: lane(),
            closed: Box::pin(limits.closing.clone().cancelled_owned()),
            limits,
            authority,
            silent_since: None,
            alarm: Alarm::default(),
            record,
            in_flight: None,
        }
    }

    /// What it rests on.
    pub(super) fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// Keeps the request in flight.
    pub(super) fn hold(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    fn poll(&mut self, caller: &mut dyn Duplex, cx: &mut Context<'_>) -> Poll<Over> {
        if self.authority.poll_revoked(cx).is_ready() {
            return Poll::Ready(Over::Revoked);
        }
        let is_closing = self.limits.closing.is_cancelled() || self.closed.as_mut().poll(cx).is_ready();
        if is_closing && self.to_caller.may_close() {
            return Poll::Ready(Over::Stopping);
        }
        let down = self.to_caller.poll(&mut self.upstream, caller, cx);
        let up = match self.has_lost_upstream {
            true => Poll::Pending,
            false => self.to_upstream.poll(caller, &mut self.upstream, cx),
        };
        let (given, sent) = (self.to_caller.take_taken(), self.to_upstream.take_taken());
        self.record.relayed(given);
        self.record.sent(sent);
        if given + sent > 0 {
            self.silent_since = None;
        }
        match (down, up) {
            (Poll::Ready(Err(broken)), _) => return Poll::Ready(self.broken(broken, true)),
            (Poll::Ready(Ok(())), _) if self.has_lost_upstream => {
                return Poll::Ready(self.broken(Broken::Sink, false));
            }
            (Poll::Pending, Poll::Ready(Err(Broken::Sink))) if !self.has_closed() => {
                self.has_lost_upstream = true;
            }
            (_, Poll::Ready(Err(broken))) => return Poll::Ready(self.broken(broken, false)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Over::Whole),
            // Who has closed in the protocol's way has no more to say.
            (Poll::Ready(Ok(())), _) | (_, Poll::Ready(Ok(()))) if self.has_closed() => {
                return Poll::Ready(Over::Whole);
            }
            _ => {}
        }
        if is_closing && self.to_caller.may_close() {
            return Poll::Ready(Over::Stopping);
        }
        if caller.poll_gone(cx).is_ready() {
            return Poll::Ready(self.broken(Broken::Source, false));
        }
        self.poll_late(cx)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let now = clock::instant();
        let stalled = self
            .to_caller
            .stalled_since()
            .map(|since| since + self.limits.write);
        let since = *self.silent_since.get_or_insert(now);
        let silent = self.limits.silence.map(|limit| since + limit);
        let is_read = self.to_upstream.reads() && !self.has_lost_upstream;
        let look = (!is_read).then(|| now + LOOK_EVERY);
        let Some(first) = stalled.into_iter().chain(silent).chain(look).min() else {
            return Poll::Pending;
        };
        match self.alarm.poll(cx, first) {
            Poll::Ready(()) if Some(first) == stalled => Poll::Ready(Over::CallerStalled),
            Poll::Ready(()) if Some(first) == silent => Poll::Ready(Over::Silent),
            // Woken for the look, it lies ahead again.
            _ => Poll::Pending,
        }
    }

    /// Whether both sides have closed the connection in its protocol's way.
    fn has_closed(&self) -> bool {
        self.to_caller.has_closed() && self.to_upstream.has_closed()
    }

    /// One end broke. Behind the closing of the protocol's own that is how connections end.
    fn broken(&self, broken: Broken, towards_caller: bool) -> Over {
        let is_upstream = (broken == Broken::Source) == towards_caller;
        match is_upstream {
            _ if self.has_closed() => Over::Whole,
            // The connection looks for it too, and may have been first.
            _ if self.authority.is_revoked() => Over::Revoked,
            true => Over::UpstreamBroke,
            false => Over::CallerBroke,
        }
    }

    /// Tells both ends of the end, where their protocol has words for it and a frame may come next. Whether the caller was told,
    /// and the upstream.
    async fn say(&mut self, caller: &mut dyn Duplex, status: u16, reason: &str) -> (bool, bool) {
        let mask = ids::mask();
        let to_caller = (self.to_caller.may_close()).then(|| close_frame(status, reason, None));
        let to_upstream = (self.to_upstream.may_close()).then(|| close_frame(status, reason, Some(mask)));
        tokio::join!(write(caller, to_caller), write(&mut self.upstream, to_upstream))
    }

    /// Ends the record, and says how the caller's side is to be closed.
    async fn finish(mut self, over: Over, caller: &mut dyn Duplex) -> Closing {
        let (end, words) = match over {
            Over::Whole => (Some(End::Complete), None),
            Over::Revoked => (Some(End::Revoked), Some((POLICY_VIOLATION, "session revoked"))),
            Over::Stopping => (Some(End::GatewayStopped), Some((GOING_AWAY, "gateway stopping"))),
            Over::Silent => (Some(End::SwitchedSilent), Some((GOING_AWAY, "connection silent"))),
            Over::CallerStalled => (Some(End::WriteTimeout), None),
            Over::UpstreamBroke => (Some(End::UpstreamBroke), None),
            // What ended its connection knows why.
            Over::CallerBroke => (None, None),
        };
        let (told, upstream_told) = match words {
            Some((status, reason)) => self.say(caller, status, reason).await,
            None => (false, false),
        };
        // A reset could cost an end the close frame that it was given.
        let is_orderly = over == Over::Whole || upstream_told || self.to_upstream.has_closed();
        self.upstream.breaks_off(!is_orderly);
        let may_be_told = words.is_some() || over == Over::UpstreamBroke;
        let told = told || may_be_told && self.to_caller.has_closed();
        match end {
            Some(end) => self.record.end(end),
            None => drop(self.record),
        }
        // Given up before either side sees the end, so that its place is free by then.
        if let Some(in_flight) = self.in_flight.take()
            && told
        {
            // What the caller still sends is read for nothing: a reset could cost it the last words.
            in_flight.leaves_unread();
        }
        match over {
            Over::Whole => Closing::Whole,
            _ if told => Closing::LastWords,
            _ => Closing::Cut,
        }
    }
}

impl Switched for Tunnel {
    fn run<'a>(self: Box<Self>, caller: &'a mut dyn Duplex) -> BoxFuture<'a, Closing> {
        let mut tunnel = self;
        Box::pin(async move {
            let over = poll_fn(|cx| tunnel.poll(caller, cx)).await;
            tunnel.finish(over, caller).await
        })
    }
}

/// Writes the last words to one end. Whether it took them.
async fn write<W: AsyncWrite + Unpin + ?Sized>(end: &mut W, words: Option<Vec<u8>>) -> bool {
    let Some(words) = words else { return false };
    let written = timeout(LAST_WORDS_TIMEOUT, async {
        end.write_all(&words).await?;
        end.flush().await
    });
    matches!(written.await, Ok(Ok(())))
}
