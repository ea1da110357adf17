//! An upstream's body on its way to the caller.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use admission::ports::{BoxFuture, Watch, WatchState};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use super::body::Cut;
use crate::account::{Account, End};
use crate::authority::Authority;
use crate::clock;
use crate::ingress::alarm::Alarm;
use crate::ingress::upload::{Fault, Upload};
use crate::upstream::UpstreamBody;

const REVOKED: HeaderName = HeaderName::from_static("x-caracal-revoked");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// gRPC's UNAUTHENTICATED.
const UNAUTHENTICATED: HeaderValue = HeaderValue::from_static("16");

/// How long a response may take.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// A fixed-length response must be through by then.
    pub deadline: Option<Instant>,
    /// The longest silence of the upstream; `None` for no bound.
    pub silence: Option<Duration>,
    /// When the process ends, an event stream is ended cleanly at this token: its client knows
    /// how to come back. Other bodies are cut with their connection.
    pub closing: Option<CancellationToken>,
}

/// Streams an upstream's body to the caller, watches the authority it rests on, and completes
/// the account and the evidence when it ends, however it ends.
pub struct Relayed {
    inner: UpstreamBody,
    upload: Arc<Upload>,
    watch: Arc<dyn Watch>,
    revoked: Option<BoxFuture<'static, ()>>,
    closed: Option<BoxFuture<'static, ()>>,
    limits: RelayLimits,
    silent_since: Option<Instant>,
    alarm: Alarm,
    /// How a revoked response ends: with a trailer where the framing and the caller take one.
    revoked_trailers: Option<HeaderMap>,
    account: Account,
    /// Set once the end is accounted for.
    over: bool,
}

impl Relayed {
    /// Takes over a response whose head was just rewritten.
    pub fn new(
        inner: UpstreamBody,
        upload: Arc<Upload>,
        watch: Arc<dyn Watch>,
        limits: RelayLimits,
        carries_trailers: bool,
        is_grpc: bool,
        account: Account,
    ) -> Self {
        let revoked_trailers = carries_trailers.then(|| {
            let mut trailers = HeaderMap::new();
            trailers.insert(REVOKED, HeaderValue::from_static("true"));
            if is_grpc {
                trailers.insert(GRPC_STATUS, UNAUTHENTICATED);
            }
            trailers
        });
        let mut relayed = Self {
            inner,
            upload,
            watch,
            revoked: None,
            closed: None,
            limits,
            silent_since: None,
            alarm: Alarm::default(),
            revoked_trailers,
            account,
            over: false,
        };
        if relayed.inner.is_end_stream() {
            // The server does not ask an empty body for its end.
            relayed.end(End::Complete);
        }
        relayed
    }

    /// What it rests on.
    pub(super) fn authority(&self) -> Authority {
        Authority::new(Arc::clone(&self.watch))
    }

    /// The caller's body, which ends with it.
    pub(super) fn upload(&self) -> &Upload {
        &self.upload
    }

    pub(super) fn has_fixed_length(&self) -> bool {
        self.limits.deadline.is_some()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.watch.poll_now() == WatchState::Revoked {
            return self.cut_revoked();
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => self.poll_waiting(cx),
            Poll::Ready(None) => {
                self.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => self.cut(Cut::Upstream, self.why_it_broke()),
            Poll::Ready(Some(Ok(frame))) => {
                self.silent_since = None;
                Poll::Ready(Some(Ok(self.pass(frame))))
            }
        }
    }

    /// An upload that breaks off takes the upstream's connection with it.
    fn why_it_broke(&self) -> End {
        match self.upload.fault() {
            Some(Fault::TooLarge) => End::RequestTooLarge,
            Some(Fault::TooSlow) => End::RequestTooSlow,
            Some(Fault::Revoked) => End::Revoked,
            Some(Fault::Malformed | Fault::Broken | Fault::Answered) => End::CallerLeft,
            None => End::UpstreamBroke,
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) => {
                self.account.relayed(data.len() as u64);
                if self.inner.is_end_stream() {
                    self.end(End::Complete);
                }
                Frame::data(data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                forwarding::response_trailers(&mut trailers);
                self.end(End::Complete);
                Frame::trailers(trailers)
            }
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let watch = &self.watch;
        if self
            .revoked
            .get_or_insert_with(|| watch.revoked())
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            return self.cut_revoked();
        }
        if let Some(deadline) = self.limits.deadline {
            return match self.alarm.poll(cx, deadline) {
                Poll::Ready(()) => self.cut(Cut::TooSlow, End::TooSlow),
                Poll::Pending => Poll::Pending,
            };
        }
        if let Some(closing) = &self.limits.closing {
            let closed = self
                .closed
                .get_or_insert_with(|| Box::pin(closing.clone().cancelled_owned()));
            if closed.as_mut().poll(cx).is_ready() {
                self.end(End::GatewayStopped);
                return Poll::Ready(None);
            }
        }
        if let Some(limit) = self.limits.silence {
            let since = *self.silent_since.get_or_insert_with(clock::instant);
            if self.alarm.poll(cx, since + limit).is_ready() {
                return self.cut(Cut::Silent, End::UpstreamSilent);
            }
        }
        Poll::Pending
    }

    /// A clean end would make a truncated body look whole, so only a trailer may make it clean.
    fn cut_revoked(&mut self) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.revoked_trailers.take() {
            Some(trailers) => {
                self.end(End::Revoked);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            None => self.cut(Cut::Revoked, End::Revoked),
        }
    }

    fn cut(&mut self, cut: Cut, end: End) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.end(end);
        Poll::Ready(Some(Err(cut)))
    }

    fn end(&mut self, end: End) {
        self.over = true;
        self.account.end(end);
        drop(self.upload.answer_is_over());
    }
}

impl Drop for Relayed {
    /// The caller left, or did not take what it was given until its authority was revoked.
    fn drop(&mut self) {
        if !self.over {
            self.end(match self.watch.poll_now() {
                WatchState::Revoked => End::Revoked,
                WatchState::Quiet => End::CallerLeft,
            });
        }
    }
}
