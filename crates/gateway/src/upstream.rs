//! The way to an upstream. It sends a dispatch, and nothing else; ahead of one it makes a connection to judged addresses, and
//! says nothing over it.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::binding::JudgedUpstream;
use admission::ports::Cause;
use admission::{Denial, Refused};
use backends::http::{Client, PooledBody, Preconnect, SendFailure, Sending};
use forwarding::{Dispatch, ResponseRules};
use http::Response;

use crate::authority::{Authority, Revoked};
use crate::clock;
use crate::ingress::upload::{Turn, Upload, UploadBody};
use crate::record::{Intended, Record};

/// The body of an upstream's answer.
pub type UpstreamBody = PooledBody<UploadBody>;

/// An upstream's answer, with what its dispatch held for it.
pub struct Answer {
    /// The answer, its body still streaming.
    pub response: Response<UpstreamBody>,
    /// The request's record.
    pub record: Record<Intended>,
    /// What the crossing rests on.
    pub authority: Authority,
    /// What the answer has to respect.
    pub rules: ResponseRules,
}

/// The client of all upstreams.
pub struct Upstream {
    client: Client<UploadBody>,
    /// `UPSTREAM_TIMEOUT`.
    timeout: Duration,
}

/// The upstream was silent for `UPSTREAM_TIMEOUT`.
struct TimedOut;

impl Upstream {
    /// An upstream client that waits this long for a response head.
    #[must_use]
    pub fn new(client: Client<UploadBody>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Makes a connection ahead of a request that may come soon: see [`Client::preconnect`].
    pub fn preconnect(&self, upstream: &JudgedUpstream) -> Preconnect {
        self.client.preconnect(upstream)
    }

    /// Spends the dispatch: sends the request once and waits for the response head.
    ///
    /// The wait ends when the upstream answers, when the authority is revoked, when the upload
    /// breaks off, or when the upstream, being the one whose turn it is, stays silent for
    /// `UPSTREAM_TIMEOUT`. Time in which the caller has more to send does not count.
    ///
    /// # Errors
    /// [`Denial::UpstreamTimeout`], [`Denial::UpstreamUnreachable`], [`Denial::UpstreamResponseInvalid`], [`Denial::Revoked`],
    /// [`Denial::Overloaded`] where this process could not dial, [`Denial::EvidenceUnavailable`] where the departure could
    /// not be recorded, and the refusals of a broken
    /// upload, with the record.
    pub async fn send(
        &self,
        dispatch: Dispatch<Record<Intended>>,
        body: UploadBody,
        upload: &Upload,
    ) -> Result<Answer, (Record<Intended>, Refused)> {
        let Sending {
            intent: record,
            watch,
            rules,
            origin,
            began,
            reused,
            response,
        } = self.client.send(dispatch, body);
        // Pinned here, because each future that it were handed to would hold its place once more.
        let response = pin!(response);
        let mut authority = Authority::new(watch);
        let (denial, cause) = match authority.bind(self.in_time(response, upload)).await {
            Ok(Ok(Ok(response))) => {
                return Ok(Answer {
                    response,
                    record,
                    authority,
                    rules,
                });
            }
            Ok(Ok(Err(SendFailure::Local(cause)))) => (Denial::Overloaded, cause),
            Ok(Ok(Err(SendFailure::Barred(cause)))) => (Denial::EvidenceUnavailable, cause),
            Ok(Ok(Err(SendFailure::Invalid(cause)))) => (Denial::UpstreamResponseInvalid, cause),
            Ok(Ok(Err(failure))) => (Denial::UpstreamUnreachable, failure.cause().clone()),
            Ok(Err(TimedOut)) => {
                if reused.load(Ordering::Relaxed) {
                    self.client.distrust(&origin, began);
                }
                let cause = Cause::new("no response head within UPSTREAM_TIMEOUT");
                (Denial::UpstreamTimeout, cause)
            }
            Err(Revoked) => {
                let cause = Cause::new("authority revoked before the response head");
                (Denial::Revoked, cause)
            }
        };
        let refused = match upload.fault() {
            Some(fault) => Refused::because(fault.denial(), Cause::new(fault.to_string())),
            None => Refused::because(denial, cause),
        };
        Err((record, refused))
    }

    async fn in_time<F: Future>(&self, response: F, upload: &Upload) -> Result<F::Output, TimedOut> {
        let mut response = pin!(response);
        let mut timer = pin!(tokio::time::sleep(self.timeout));
        loop {
            tokio::select! {
                biased;
                response = &mut response => return Ok(response),
                () = &mut timer => {
                    let now = clock::instant();
                    let deadline = match upload.turn() {
                        Turn::Caller => now + self.timeout,
                        Turn::Upstream(since) => since + self.timeout,
                    };
                    if deadline <= now {
                        return Err(TimedOut);
                    }
                    timer.as_mut().reset(tokio::time::Instant::from_std(deadline));
                }
            }
        }
    }
}
