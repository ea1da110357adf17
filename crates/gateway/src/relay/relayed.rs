//! An upstream's body on its way to the caller.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forwarding::{EarlyEnd, Inbound};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::cut::Cut;
use super::event_stream::EventStream;
use crate::authority::Authority;
use crate::clock;
use crate::ingress::alarm::Alarm;
use crate::ingress::upload::{Fault, Upload};
use crate::record::{Answered, End, Record};
use crate::upstream::UpstreamBody;

/// What bounds a response.
#[derive(Clone, Debug)]
pub struct ResponseLimits {
    /// `WRITE_TIMEOUT`: how long a fixed-length response may take.
    pub write: Duration,
    /// `STREAM_IDLE_TIMEOUT`: the longest silence of the upstream; `None` for no bound.
    pub silence: Option<Duration>,
    /// `SSE_KEEPALIVE`: after how long a silence of the upstream an event stream gets a comment; `None` for none.
    pub keepalive: Option<Duration>,
    /// When the process ends, streams that have an end of their own end at this token: their
    /// clients know how to come back. Other bodies are cut with their connection.
    pub closing: CancellationToken,
}

/// What kind of response it is, which decides what bounds it and how it can end early.
enum Kind {
    /// Its length is known: it must be through by then.
    Fixed(Instant),
    /// Server-sent events: it ends cleanly at an event's boundary.
    Events(EventStream),
    /// Anything else. It ends early with these trailers, where they arrive.
    Stream(Option<EarlyEnd>),
}

/// Streams an upstream's body to the caller, watches the authority it rests on, and completes
/// the record when it ends, however it ends.
pub struct Relayed {
    inner: UpstreamBody,
    kind: Kind,
    limits: ResponseLimits,
    /// With which trailers a response whose authority is revoked ends.
    early_end: Option<EarlyEnd>,
    upload: Arc<Upload>,
    authority: Authority,
    closed: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    silent_since: Option<Instant>,
    alarm: Alarm,
    /// Until the response is over.
    record: Option<Record<Answered>>,
    /// The upstream gave all of it; whether the caller took all of it shows when this is dropped.
    is_complete: bool,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Cut>>>;

impl Relayed {
    /// Takes over a response whose head was just rewritten.
    pub fn new(
        inner: UpstreamBody,
        inbound: &Inbound,
        limits: ResponseLimits,
        upload: Arc<Upload>,
        authority: Authority,
        record: Record<Answered>,
    ) -> Self {
        let is_fixed = inner.size_hint().exact().is_some();
        let kind = match EventStream::of(&inbound.head, limits.keepalive) {
            Some(_) if is_fixed => Kind::Stream(None),
            Some(events) => Kind::Events(events),
            None if is_fixed => Kind::Fixed(clock::instant() + limits.write),
            None => Kind::Stream(inbound.early_end),
        };
        let mut relayed = Self {
            inner,
            kind,
            limits,
            early_end: inbound.early_end,
            upload,
            authority,
            closed: None,
            silent_since: None,
            alarm: Alarm::default(),
            record: Some(record),
            is_complete: false,
        };
        if relayed.inner.is_end_stream() {
            // The server does not ask an empty body for its end.
            relayed.complete();
        }
        relayed
    }

    /// What it rests on.
    pub(super) fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// The caller's body, which ends with it.
    pub(super) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Server-sent events whose end nobody knows.
    pub(super) fn is_event_stream(&self) -> bool {
        matches!(self.kind, Kind::Events(_)) && !self.is_end_stream()
    }

    pub(super) fn has_fixed_length(&self) -> bool {
        matches!(self.kind, Kind::Fixed(_))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.is_over() || self.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.is_over() {
            return Poll::Ready(None);
        }
        if self.authority.is_revoked() {
            return self.cut_revoked();
        }
        if self.limits.closing.is_cancelled()
            && let Some(polled) = self.end_early("gateway stopping", End::GatewayStopped)
        {
            return polled;
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => self.poll_waiting(cx),
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => self.cut_broken(),
            Poll::Ready(Some(Ok(frame))) => {
                self.silent_since = None;
                Poll::Ready(Some(Ok(self.pass(frame))))
            }
        }
    }

    /// A comment, where one is due. To be asked while nothing else comes. It is no byte of the upstream's: the silence
    /// goes on, and the record does not count it. Dropped where the caller has not taken what came before.
    pub(super) fn poll_comment(&mut self, cx: &mut Context<'_>, is_taken: impl Fn() -> bool) -> Poll<Bytes> {
        let Kind::Events(events) = &mut self.kind else {
            return Poll::Pending;
        };
        while let Some(due) = events.comment_due(clock::instant()) {
            ready!(self.alarm.poll(cx, due));
            events.put_off(clock::instant());
            if is_taken() {
                return Poll::Ready(events.comment());
            }
        }
        Poll::Pending
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                if let Some(record) = &mut self.record {
                    record.relayed(data.len() as u64);
                }
                if let Kind::Events(events) = &mut self.kind {
                    data = events.pass(data);
                }
                // The server asks for nothing beyond a known length over HTTP/1.1, though an HTTP/2 upstream may say later that
                // this was all.
                let is_all = || !self.upload.is_multiplexed() && self.inner.size_hint().exact() == Some(0);
                if self.inner.is_end_stream() || is_all() {
                    self.complete();
                }
                Frame::data(data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                forwarding::response_trailers(&mut trailers);
                self.complete();
                Frame::trailers(trailers)
            }
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.authority.poll_revoked(cx).is_ready() {
            return self.cut_revoked();
        }
        if let Kind::Fixed(deadline) = self.kind {
            return match self.alarm.poll(cx, deadline) {
                Poll::Ready(()) => self.cut(Cut::TooSlow, End::WriteTimeout),
                Poll::Pending => Poll::Pending,
            };
        }
        if self.is_closing(cx)
            && let Some(polled) = self.end_early("gateway stopping", End::GatewayStopped)
        {
            return polled;
        }
        if let Some(limit) = self.limits.silence {
            let since = *self.silent_since.get_or_insert_with(clock::instant);
            if self.alarm.poll(cx, since + limit).is_ready() {
                return self
                    .end_early("upstream silent", End::UpstreamSilent)
                    .unwrap_or_else(|| self.cut(Cut::Silent, End::UpstreamSilent));
            }
        }
        Poll::Pending
    }

    /// Whether the process ends. Wakes the task of a live stream when that happens.
    fn is_closing(&mut self, cx: &mut Context<'_>) -> bool {
        let closing = &self.limits.closing;
        match self.kind {
            _ if closing.is_cancelled() => true,
            Kind::Events(_) | Kind::Stream(Some(EarlyEnd::Grpc)) => self
                .closed
                .get_or_insert_with(|| Box::pin(closing.clone().cancelled_owned()))
                .as_mut()
                .poll(cx)
                .is_ready(),
            Kind::Fixed(_) | Kind::Stream(_) => false,
        }
    }

    /// Ends the response in its own way, where it has one: an event stream at an event's boundary,
    /// gRPC with a status.
    fn end_early(&mut self, reason: &'static str, end: End) -> Option<Polled> {
        match &self.kind {
            Kind::Events(events) if events.is_at_boundary() => {
                self.end(end);
                Some(Poll::Ready(None))
            }
            Kind::Stream(Some(early)) => {
                let trailers = early.failed(StatusCode::SERVICE_UNAVAILABLE, reason)?;
                Some(self.end_with(trailers, end))
            }
            Kind::Fixed(_) | Kind::Events(_) | Kind::Stream(None) => None,
        }
    }

    /// A clean end would make a truncated body look whole, so only a trailer may make it clean.
    fn cut_revoked(&mut self) -> Polled {
        match self.early_end {
            Some(early) => self.end_with(early.revoked(), End::Revoked),
            None => self.cut(Cut::Revoked, End::Revoked),
        }
    }

    /// The upstream's body broke off. An upload that breaks off takes the upstream's connection with it.
    fn cut_broken(&mut self) -> Polled {
        let fault = self.upload.fault();
        let end = fault.map_or(End::UpstreamBroke, End::from);
        let trailers = self.early_end.and_then(|early| match fault {
            None => early.failed(StatusCode::BAD_GATEWAY, "upstream broke off its response"),
            Some(Fault::Revoked) => Some(early.revoked()),
            // Nobody is there.
            Some(Fault::Broken | Fault::Answered) => None,
            Some(fault) => {
                let row = fault.denial().row();
                early.failed(row.status, row.description)
            }
        });
        match trailers {
            Some(trailers) => self.end_with(trailers, end),
            None => self.cut(Cut::Upstream, end),
        }
    }

    fn end_with(&mut self, trailers: HeaderMap, end: End) -> Polled {
        self.end(end);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn cut(&mut self, cut: Cut, end: End) -> Polled {
        self.end(end);
        Poll::Ready(Some(Err(cut)))
    }

    fn is_over(&self) -> bool {
        self.is_complete || self.record.is_none()
    }

    fn complete(&mut self) {
        self.is_complete = true;
        drop(self.upload.answer_is_over());
    }

    /// The end was kept back for the caller's window, and is dropped there.
    pub(super) fn was_not_taken(&mut self) {
        self.is_complete = false;
    }

    fn end(&mut self, end: End) {
        if let Some(record) = self.record.take() {
            record.end(end);
        }
        drop(self.upload.answer_is_over());
    }
}

impl Drop for Relayed {
    /// The caller left, or did not take what it was given until its authority was revoked.
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            match self.is_complete {
                true => record.complete(),
                false if self.authority.is_revoked() => record.end(End::Revoked),
                // Its own drop asks the connection why.
                false => drop(record),
            }
        }
        drop(self.upload.answer_is_over());
    }
}
