//! One request, one try.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use admission::binding::Origin;
use admission::ports::{Cause, Clock, Watch};
use bytes::Buf;
use forwarding::{Dispatch, DispatchParts, ResponseRules};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::BoxError;
use super::address::{Dialable, in_order};
use super::body::PooledBody;
use super::connect::connect;
use super::direct::Framing;
use super::driver::{Driver, Endpoint};
use super::failure::{SendFailure, in_words};
use super::handover::RequestBody;
use super::pool::{Connection, Pool, PoolLimits};
use super::socket::{Guard, Probe};
use crate::tls::TlsClient;

/// How often idle connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// For `https` origins, with the ALPN of HTTP/1.1; see [`crate::tls::http_client_config`].
    pub tls: TlsClient,
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
/// out as they are. Deadlines for the response are the caller's: dropping the future or the
/// response body closes the connection.
pub struct Client<B>(Arc<Shared<B>>);

struct Shared<B> {
    tls: TlsClient,
    tracker: TaskTracker,
    pool: Arc<Pool<B>>,
    dialled: AtomicU64,
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
    /// Whether it leaves over a connection that answered before; else nothing is known of those that are idle.
    pub reused: Arc<AtomicBool>,
    /// Sends the request when it is first polled, and waits for the response head. Dropped, it closes
    /// the connection.
    pub response: F,
}

/// Where a request goes.
pub(crate) struct Target<'a, A> {
    pub(crate) origin: &'a Origin,
    pub(crate) addresses: &'a [A],
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
        Self(Arc::new(Shared {
            tls: config.tls,
            tracker,
            pool: Arc::new(Pool::new(config.limits, clock)),
            dialled: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            found_dead: AtomicU64::new(0),
        }))
    }

    /// Spends a dispatch: the only way to an upstream. A pooled connection is used only if its peer
    /// is among the judged addresses.
    ///
    /// Whoever has no dispatch cannot dial:
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
            client
                .send_to(&target, Request::from_parts(head, body), &departing)
                .await
        };
        Sending {
            intent,
            watch,
            rules,
            origin,
            began: self.0.pool.now(),
            reused,
            response,
        }
    }

    /// The same for any target of this crate.
    pub(crate) async fn send_to<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        request: Request<B>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, SendFailure> {
        let mut request = request;
        if let Some(pooled) = self.0.pool.take(target.origin, target.addresses) {
            pooled.endpoint.probe.ask();
            match self.try_send(pooled, request, leaving).await {
                Err(Unsent::Whole(unsent, _)) => {
                    self.0.found_dead.fetch_add(1, Ordering::Relaxed);
                    request = *unsent;
                }
                Err(Unsent::Gone(failure)) => return Err(failure),
                Ok(response) => {
                    self.0.reused.fetch_add(1, Ordering::Relaxed);
                    return Ok(response);
                }
            }
        }
        let fresh = self.dial(target).await.map_err(SendFailure::to_connect)?;
        match self.try_send(fresh, request, leaving).await {
            Ok(response) => Ok(response),
            Err(Unsent::Whole(_, cause)) => Err(SendFailure::NotSent(cause)),
            Err(Unsent::Gone(failure)) => Err(failure),
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
        self.0.pool.sweep();
    }

    /// A request that began at this monotonic time has no answer, and its server may be gone: closes the idle connections
    /// to the origin that were last heard of before.
    pub fn distrust(&self, origin: &Origin, began: Duration) {
        self.0.pool.distrust(origin, began);
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared {
            pool,
            dialled,
            reused,
            found_dead,
            ..
        } = &*self.0;
        Stats {
            idle: pool.idle(),
            dialled: dialled.load(Ordering::Relaxed),
            reused: reused.load(Ordering::Relaxed),
            found_dead: found_dead.load(Ordering::Relaxed),
        }
    }

    async fn dial<A: Dialable>(&self, target: &Target<'_, A>) -> Result<Connection<B>, Cause> {
        let probe = Probe::default();
        let (wire, peer) = connect(
            target.origin,
            in_order(target.addresses),
            &self.0.tls.current(),
            probe.clone(),
        )
        .await?;
        let endpoint = Endpoint {
            origin: Arc::new(target.origin.clone()),
            peer,
            probe,
        };
        let (connection, driver) = Driver::new(wire, endpoint)
            .await
            .map_err(|error| in_words("connect", &error))?;
        self.0.dialled.fetch_add(1, Ordering::Relaxed);
        self.0.tracker.spawn(driver.run(Arc::downgrade(&self.0.pool)));
        Ok(connection)
    }

    async fn try_send(
        &self,
        mut connection: Connection<B>,
        request: Request<B>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, Unsent<B>> {
        leaving.mark(connection.reused);
        connection.handover.begin();
        let request = request.map(|body| RequestBody::new(body, connection.handover.clone()));
        if let Some(guard) = leaving.guard() {
            connection.endpoint.probe.guard(guard);
        }
        match connection.sender.try_send_request(request).await {
            Ok(response) => self.take_over(connection, response).await,
            Err(mut failed) => {
                let whole = failed.take_message();
                let error = failed.into_error();
                let cause = in_words("request", &error);
                let Some(request) = whole else {
                    return Err(Unsent::Gone(if connection.endpoint.probe.was_barred() {
                        SendFailure::Barred(cause)
                    } else if error.is_parse() {
                        SendFailure::Invalid(cause)
                    } else {
                        SendFailure::MaybeSent(cause)
                    }));
                };
                leaving.take_back();
                Err(Unsent::Whole(
                    Box::new(request.map(RequestBody::into_inner)),
                    cause,
                ))
            }
        }
    }

    /// Lets the library read the body, or the body itself.
    async fn take_over(
        &self,
        connection: Connection<B>,
        response: Response<Incoming>,
    ) -> Result<Response<PooledBody<B>>, Unsent<B>> {
        let framing = Framing::of(&response);
        let Some((lent, framing)) = connection.handover.settle(framing.is_some()).zip(framing) else {
            let pool = Arc::clone(&self.0.pool);
            return Ok(response.map(|incoming| PooledBody::new(incoming, connection, pool)));
        };
        // Without them the library would close the connection.
        let (head, _incoming) = response.into_parts();
        let lent = lent.await.map_err(|_| {
            Unsent::Gone(SendFailure::MaybeSent(Cause::new(
                "request: connection broken behind the response's head",
            )))
        })?;
        Ok(Response::from_parts(head, PooledBody::direct(lent, framing)))
    }
}

/// Told when bytes of a request may leave, which is after a connection was found, a pooled one or a new one, and before
/// the first of them is written, and when it is certain that none did.
pub(crate) trait Leaving: Sync {
    fn mark(&self, reused: bool);
    fn take_back(&self);
    /// Called right before the first byte is written.
    fn guard(&self) -> Option<Guard> {
        None
    }
}

/// Nobody needs to know.
impl Leaving for () {
    fn mark(&self, _reused: bool) {}
    fn take_back(&self) {}
}

/// A recorded intent that wants to know when its request departs.
pub trait Departs {
    /// Called right before the first byte of the request is written to a connection, perhaps more than once; where it
    /// fails nothing is written.
    fn departure(&self) -> Guard;
}

struct Departing {
    guard: Guard,
    /// Whether it leaves over a pooled connection.
    reused: Arc<AtomicBool>,
}

impl Leaving for Departing {
    fn mark(&self, reused: bool) {
        self.reused.store(reused, Ordering::Relaxed);
    }
    fn take_back(&self) {}
    fn guard(&self) -> Option<Guard> {
        Some(Arc::clone(&self.guard))
    }
}

/// A request that got no response.
enum Unsent<B> {
    /// It is back, and no byte of it was written.
    Whole(Box<Request<B>>, Cause),
    /// It was taken apart.
    Gone(SendFailure),
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
