//! One request, one try; the exception is in [`unsent`](super::unsent).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use admission::binding::{JudgedUpstream, Origin};
use admission::ports::{Cause, Clock, Watch};
use bytes::Buf;
use forwarding::{Dispatch, DispatchParts, ResponseRules};
use http::{Request, Response};
use hyper::body::Body;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::BoxError;
use super::address::Dialable;
use super::body::PooledBody;
use super::connections::{Connections, Source, Target};
use super::failure::SendFailure;
use super::http2::Http2Config;
use super::leaving::{Departing, Departs, Leaving};
use super::pool::PoolLimits;
use super::preconnect::Preconnect;
use super::unsent::{Unsent, repeatable};
use crate::tls::TlsClient;

/// How often idle connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// For `https` origins, with the ALPN of HTTP/1.1, or of HTTP/2 too; see [`crate::tls::http_client_config`] and
    /// [`crate::tls::upstream_client_config`].
    pub tls: TlsClient,
    /// For origins that speak HTTP/2.
    pub http2: Http2Config,
    /// Bounds of the idle connections.
    pub limits: PoolLimits,
}

/// What a client did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are idle now.
    pub idle: usize,
    /// Connections made.
    pub dialled: u64,
    /// Requests sent on a connection that had been used before.
    pub reused: u64,
    /// Pooled connections that turned out dead before a byte was written.
    pub found_dead: u64,
}

/// Sends requests with bodies of type `B`. Clones share the pool.
///
/// A request must carry a `Host` header and a target in origin form (RFC 9112 §3.2.1); both go
/// out as they are, over HTTP/2 the host as `:authority`. Deadlines for the response are the caller's: dropping the
/// future or the response body closes the connection, or resets the stream.
pub struct Client<B>(Arc<Shared<B>>);

struct Shared<B> {
    connections: Connections<B>,
    reused: AtomicU64,
    found_dead: AtomicU64,
}

/// A dispatch that is being sent.
#[must_use = "nothing is sent before the response is waited for"]
pub struct Sending<I, F> {
    /// The intent that was recorded for it.
    pub intent: I,
    /// Ends it when an anchor is revoked.
    pub watch: Arc<dyn Watch>,
    /// What the answer has to respect.
    pub rules: ResponseRules,
    /// Where it goes, and the monotonic time: what [`Client::distrust`] wants where no answer comes.
    pub origin: Arc<Origin>,
    /// See `origin`.
    pub began: Duration,
    /// Whether it leaves over a connection that answered before, or that waited for it; else nothing is known of those that are
    /// idle.
    pub reused: Arc<AtomicBool>,
    /// Sends the request when it is first polled, and waits for the response head. Dropped, it closes
    /// the connection, or resets the stream.
    pub response: F,
}

impl<B> Client<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    /// A client without connections. Each connection it makes is driven by one task of the
    /// tracker, which ends when the connection is closed or dropped.
    #[must_use]
    pub fn new(config: ClientConfig, clock: Arc<dyn Clock>, tracker: TaskTracker) -> Self {
        let ClientConfig { tls, http2, limits } = config;
        Self(Arc::new(Shared {
            connections: Connections::new(tls, http2, limits, clock, tracker),
            reused: AtomicU64::new(0),
            found_dead: AtomicU64::new(0),
        }))
    }

    /// Makes a connection to an upstream ahead of a request that may come soon, unless there is one at hand or under way: TCP
    /// and TLS, to a judged address, and no byte of HTTP. A request that finds it under way waits for it, and its failure is
    /// that request's then, if it only just began; else it is nobody's. No request but one that waits for its permit gets it:
    /// it is never an idle one, and closes when the last [`Preconnect`] is dropped. Where none took the last one, the next is
    /// not made within 10 s.
    pub fn preconnect(&self, upstream: &JudgedUpstream) -> Preconnect {
        self.preconnect_to(&Target {
            origin: upstream.url().origin(),
            addresses: upstream.addresses(),
        })
    }

    /// The same for any target of this crate.
    pub(super) fn preconnect_to<A: Dialable>(&self, target: &Target<'_, A>) -> Preconnect {
        self.0.connections.preconnect(target)
    }

    /// Spends a dispatch: the only way to say anything to an upstream. A pooled connection is used only if its peer
    /// is among the judged addresses.
    ///
    /// Whoever has no dispatch can send nothing:
    ///
    /// ```compile_fail,E0308
    /// fn dial(client: &backends::http::Client<String>, upstream: admission::binding::JudgedUpstream) {
    ///     let _ = client.send(upstream, String::new()); // nobody recorded an intent
    /// }
    /// ```
    ///
    /// ```
    /// fn dial<I: backends::http::Departs>(client: &backends::http::Client<String>, dispatch: forwarding::Dispatch<I>) {
    ///     let _ = client.send(dispatch, String::new());
    /// }
    /// ```
    ///
    /// and nobody can send one twice:
    ///
    /// ```compile_fail,E0382
    /// fn twice<I: backends::http::Departs>(client: &backends::http::Client<String>, dispatch: forwarding::Dispatch<I>) {
    ///     let _ = client.send(dispatch, String::new());
    ///     let _ = client.send(dispatch, String::new()); // moved
    /// }
    /// ```
    pub fn send<I: Departs>(
        &self,
        dispatch: Dispatch<I>,
        body: B,
    ) -> Sending<I, impl Future<Output = Result<Response<PooledBody<B>>, SendFailure>> + Send + use<I, B>>
    {
        let DispatchParts {
            head,
            upstream,
            watch,
            rules,
            intent,
        } = dispatch.into_parts();
        let client = self.clone();
        let may_switch = rules.may_switch();
        let origin = Arc::clone(upstream.url().origin());
        let reused = Arc::new(AtomicBool::new(false));
        let departing = Departing {
            guard: intent.departure(),
            reused: Arc::clone(&reused),
        };
        let response = async move {
            let target = Target {
                origin: upstream.url().origin(),
                addresses: upstream.addresses(),
            };
            let request = Request::from_parts(head, body);
            if may_switch {
                // Boxed, because few requests need it and all would hold its place.
                return Box::pin(client.send_to_switch(&target, request, &departing)).await;
            }
            client.send_to(&target, request, &departing).await
        };
        Sending {
            intent,
            watch,
            rules,
            origin,
            began: self.0.connections.now(),
            reused,
            response,
        }
    }

    /// The same for a request that asks for a switch of protocols: over a connection of its own, and once.
    pub(super) async fn send_to_switch<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        request: Request<B>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, SendFailure> {
        let connections = &self.0.connections;
        let fresh = connections.dial_to_switch(target, leaving).await?;
        let sent = connections.send(fresh, target.origin.scheme, request, leaving);
        sent.await.map_err(Unsent::into_failure)
    }

    /// The same for any target of this crate.
    pub(crate) async fn send_to<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        request: Request<B>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, SendFailure> {
        let scheme = target.origin.scheme;
        let connections = &self.0.connections;
        let checkout = connections.check_out(target, None, leaving).await?;
        let (source, is_used) = (checkout.source, checkout.is_used());
        let again = is_used.then(|| repeatable(&request, leaving)).flatten();
        let (request, unanswered) = match connections.send(checkout, scheme, request, leaving).await {
            Ok(response) => {
                let used = u64::from(is_used && source == Source::AtHand);
                self.0.reused.fetch_add(used, Ordering::Relaxed);
                return Ok(response);
            }
            Err(Unsent::Whole(_, cause)) if source == Source::Fresh => {
                return Err(SendFailure::NotSent(cause));
            }
            Err(Unsent::Whole(unsent, _)) => {
                self.0.found_dead.fetch_add(1, Ordering::Relaxed);
                (*unsent, None)
            }
            Err(Unsent::Unanswered(body, cause)) => match again {
                Some(head) => (Request::from_parts(head, body), Some(cause)),
                None => return Err(SendFailure::MaybeSent(cause)),
            },
            Err(Unsent::Gone(failure)) => return Err(failure),
        };
        // Boxed, because few requests need it and all would hold its place.
        Box::pin(self.once_more(target, request, unanswered, leaving)).await
    }

    /// Sends a request that did not leave, or, with the reason, that got no answer, over a fresh connection.
    async fn once_more<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        request: Request<B>,
        unanswered: Option<Cause>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, SendFailure> {
        let again = async {
            let connections = &self.0.connections;
            let newest = connections.newest();
            let fresh = connections.check_out(target, Some(newest), leaving).await?;
            match connections
                .send(fresh, target.origin.scheme, request, leaving)
                .await
            {
                Ok(response) => Ok(response),
                Err(unsent) => Err(unsent.into_failure()),
            }
        };
        match (again.await, unanswered) {
            // The first try may have been received.
            (Err(failure), Some(cause)) if !failure.may_be_sent() => Err(SendFailure::MaybeSent(cause)),
            (answer, _) => answer,
        }
    }

    /// Looks through the idle connections now and then, until shutdown, and closes those that were
    /// idle for too long.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            self.sweep();
        }
    }

    pub(super) fn sweep(&self) {
        self.0.connections.sweep();
    }

    /// A request that began at this monotonic time has no answer, and its server may be gone: closes the idle connections
    /// to the origin that were last heard of before, and gives no further request to shared ones.
    pub fn distrust(&self, origin: &Origin, began: Duration) {
        self.0.connections.distrust(origin, began);
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared {
            connections,
            reused,
            found_dead,
        } = &*self.0;
        Stats {
            idle: connections.idle(),
            dialled: connections.dialled(),
            reused: reused.load(Ordering::Relaxed),
            found_dead: found_dead.load(Ordering::Relaxed),
        }
    }
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
