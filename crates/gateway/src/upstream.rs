//! The way to an upstream. It takes a permit that holds a recorded intent, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, Watch};
use admission::{Denial, Permit, PermitParts, Refused};
use backends::http::{Client, PooledBody, SendFailure};
use http::{Request, Response};

use crate::account::Account;
use crate::clock;
use crate::ingress::upload::{Turn, Upload, UploadBody};

/// The body of an upstream's answer.
pub type UpstreamBody = PooledBody<UploadBody>;

/// An upstream's answer, and what watches over it.
pub struct Answer {
    /// The answer, its body still streaming.
    pub response: Response<UpstreamBody>,
    /// Ends it when an anchor is revoked.
    pub watch: Arc<dyn Watch>,
}

/// The client of all upstreams.
pub struct Upstream {
    client: Client<UploadBody>,
    /// `UPSTREAM_TIMEOUT`.
    timeout: Duration,
}

impl Upstream {
    /// An upstream client that waits this long for a response head.
    #[must_use]
    pub fn new(client: Client<UploadBody>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Spends the permit: sends the request once and waits for the response head.
    ///
    /// The wait ends when the upstream answers, when the authority is revoked, when the upload
    /// breaks off, or when the upstream, being the one whose turn it is, stays silent for
    /// `UPSTREAM_TIMEOUT`. Time in which the caller has more to send does not count.
    ///
    /// # Errors
    /// [`Denial::UpstreamTimeout`], [`Denial::UpstreamUnreachable`], [`Denial::Revoked`],
    /// [`Denial::Overloaded`] where this process could not dial, and the refusals of a broken upload.
    pub async fn send(
        &self,
        permit: Permit<evidence::Crossing>,
        request: Request<UploadBody>,
        upload: &Upload,
        account: &mut Account,
    ) -> Result<Answer, Refused> {
        let PermitParts {
            upstream,
            watch,
            room: crossing,
            subject,
            ..
        } = permit.into_parts();
        account.dispatched(crossing);
        let refuse = |denial: Denial, cause: Cause| Refused {
            denial: upload.fault().map_or(denial, |fault| fault.denial()),
            cause: Some(
                upload
                    .fault()
                    .map_or(cause, |fault| Cause::new(fault.to_string())),
            ),
            subject: Some(Box::new(subject)),
            sts: None,
        };
        let mut sending = std::pin::pin!(self.client.send(&upstream, request));
        let mut revoked = watch.revoked();
        let mut alarm = std::pin::pin!(tokio::time::sleep(self.timeout));
        loop {
            tokio::select! {
                biased;
                // First, because the first poll of `sending` may put the request on a pooled
                // connection: what was revoked since the gates looked is not dispatched.
                () = &mut revoked => {
                    return Err(refuse(Denial::Revoked, Cause::new("authority revoked before the response head")));
                }
                sent = &mut sending => return match sent {
                    Ok(response) => Ok(Answer { response, watch }),
                    Err(failure @ SendFailure::Local(_)) => Err(refuse(Denial::Overloaded, failure.cause().clone())),
                    Err(failure) => Err(refuse(Denial::UpstreamUnreachable, failure.cause().clone())),
                },
                () = &mut alarm => {
                    let now = clock::instant();
                    let deadline = match upload.turn() {
                        Turn::Caller => now + self.timeout,
                        Turn::Upstream(since) => since + self.timeout,
                    };
                    if deadline <= now {
                        return Err(refuse(Denial::UpstreamTimeout, Cause::new("no response head within UPSTREAM_TIMEOUT")));
                    }
                    alarm.as_mut().reset(tokio::time::Instant::from_std(deadline));
                }
            }
        }
    }
}
