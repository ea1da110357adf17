//! Over which connection a request goes: one of its own (HTTP/1.1), or a shared one (HTTP/2).

use std::sync::Arc;
use std::time::Duration;

use admission::Scheme;
use admission::binding::Origin;
use admission::ports::{Cause, Clock};
use bytes::Buf;
use http::{Request, Response};
use hyper::body::Body;
use tokio_util::task::TaskTracker;

use super::BoxError;
use super::address::{Dialable, in_order};
use super::attempt::attempt;
use super::body::PooledBody;
use super::dialler::{Dialler, Reached};
use super::driver::Driver;
use super::failure::{SendFailure, in_words};
use super::http2::{self, Gate, Http2Config, Pings, Protocol, SharedPool, Slot};
use super::leaving::{Leaving, keep};
use super::pool::{Connection, Pool, PoolLimits};
use super::preconnect::{Claim, Preconnect, Preconnects};
use super::unsent::Unsent;
use crate::tls::TlsClient;

/// A connection for one request.
pub(super) struct Checkout<B> {
    kind: Kind<B>,
    pub(super) source: Source,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It was there.
    AtHand,
    /// It was made ahead, and waited.
    Ahead,
    /// It was made for this request, or while that waited for it.
    Fresh,
}

enum Kind<B> {
    Own(Connection<B>),
    Shared(Slot),
}

impl<B> Checkout<B> {
    /// Whether a request was answered over it before, or it waited for one: its peer may have hung up meanwhile.
    pub(super) fn is_used(&self) -> bool {
        match &self.kind {
            Kind::Own(connection) => connection.reused,
            Kind::Shared(slot) => slot.is_used(),
        }
    }
}

impl<B> Kind<B> {
    /// It was made before its request came.
    fn has_waited(&mut self) {
        match self {
            Self::Own(connection) => {
                connection.reused = true;
                connection.endpoint.probe.ask();
            }
            Self::Shared(slot) => slot.has_waited(),
        }
    }
}

/// Where a request goes.
pub(crate) struct Target<'a, A> {
    pub(crate) origin: &'a Origin,
    pub(crate) addresses: &'a [A],
}

/// The connections of a client.
pub(super) struct Connections<B> {
    dialler: Arc<Dialler>,
    pings: Pings,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    /// Those that carry one request at a time.
    own: Arc<Pool<B>>,
    /// Those that many share.
    shared: Arc<SharedPool>,
    /// Those that are made ahead of a request.
    preconnects: Preconnects,
}

impl<B> Connections<B> {
    /// No connections. The task of each runs on the tracker.
    pub(super) fn new(
        tls: TlsClient,
        http2: Http2Config,
        limits: PoolLimits,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            dialler: Arc::new(Dialler::new(tls, http2.cleartext_hosts)),
            pings: http2.pings,
            own: Arc::new(Pool::new(limits, Arc::clone(&clock))),
            clock,
            tracker,
            shared: Arc::new(SharedPool::new(limits)),
            preconnects: Preconnects::default(),
        }
    }

    /// Closes what is closed or was idle for too long.
    pub(super) fn sweep(&self) {
        self.own.sweep();
        self.shared.sweep(self.own.idle());
        self.preconnects.sweep(self.now());
    }

    /// Gives no further request to what leads to this origin and was last heard of then or before.
    pub(super) fn distrust(&self, origin: &Origin, then: Duration) {
        self.own.distrust(origin, then);
        self.shared.distrust(origin, then);
    }

    /// How many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.own.idle() + self.shared.idle()
    }

    /// How many were made.
    pub(super) fn dialled(&self) -> u64 {
        self.dialler.dialled()
    }

    /// The number of the newest shared one.
    pub(super) fn newest(&self) -> u64 {
        self.shared.last()
    }

    /// The monotonic time.
    pub(super) fn now(&self) -> Duration {
        self.clock.now().monotonic
    }
}

impl<B> Connections<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    /// A connection that is there, or else a new one, before which the intent is kept. After a try without an answer, one that
    /// was made since; `after` is the number of the newest one at that time.
    pub(super) async fn check_out<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        after: Option<u64>,
        leaving: &impl Leaving,
    ) -> Result<Checkout<B>, SendFailure> {
        if let Some(checkout) = self.at_hand(target, after) {
            return Ok(checkout);
        }
        keep(leaving)?;
        // Boxed, because few requests need it and all would hold its place.
        let made = Box::pin(self.make(target, after)).await;
        made.map_err(SendFailure::to_connect)
    }

    /// Makes a connection ahead of a request, unless there is one at hand, or one is being made.
    pub(super) fn preconnect<A: Dialable>(&self, target: &Target<'_, A>) -> Preconnect {
        let Target { origin, addresses } = target;
        if self.dialler.may_share(origin) && self.shared.has_room(origin, addresses)
            || self.own.holds(origin, addresses)
        {
            return Preconnect::new(None);
        }
        let tls = || self.dialler.tls_for(origin);
        let Some((dial, unwanted)) = self.preconnects.begin(origin, addresses, tls, self.now()) else {
            return Preconnect::new(None);
        };
        if let Some(unwanted) = unwanted {
            let (made_for, origin) = (Arc::downgrade(&dial), (*origin).clone());
            let (dialler, clock) = (Arc::clone(&self.dialler), Arc::clone(&self.clock));
            let addresses = dial.addresses().to_vec();
            self.tracker.spawn(async move {
                let reach = dialler.reach(&origin, addresses);
                let made = unwanted.run_until_cancelled(reach).await;
                if let Some((made, dial)) = made.zip(made_for.upgrade()) {
                    dial.settle(made, clock.now().monotonic);
                }
            });
        }
        Preconnect::new(Some(dial))
    }

    /// A new connection, or one that somebody else made meanwhile and that can be shared.
    async fn make<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        after: Option<u64>,
    ) -> Result<Checkout<B>, Cause> {
        let Some(gate) = self.gate(target.origin) else {
            return self.dial(target, after).await;
        };
        let addresses: Vec<_> = target.addresses.iter().map(|address| address.socket()).collect();
        let turn = gate.enter(&addresses).await?;
        if let Some(checkout) = self.at_hand(target, after) {
            return Ok(checkout);
        }
        if self.gate(target.origin).is_none() {
            // It was found out meanwhile.
            drop(turn);
            return self.dial(target, after).await;
        }
        let made = self.dial(target, after).await;
        made.inspect_err(|cause| gate.fail(cause, addresses))
    }

    /// The turn to dial the origin; none where its connections are not shared, because HTTP/2 is not tried or it speaks HTTP/1.1.
    fn gate(&self, origin: &Origin) -> Option<Arc<Gate>> {
        if !self.dialler.may_share(origin) {
            return None;
        }
        let (speaks, gate) = self.shared.known(origin);
        (speaks != Some(Protocol::Http1)).then_some(gate)
    }

    /// A connection that is there and takes a request now.
    fn at_hand<A: Dialable>(&self, target: &Target<'_, A>, after: Option<u64>) -> Option<Checkout<B>> {
        let shared = || {
            let slot = self
                .shared
                .take(target.origin, target.addresses, after.unwrap_or_default());
            slot.map(Kind::Shared)
        };
        let own = || {
            let pooled = self.own.take(target.origin, target.addresses)?;
            pooled.endpoint.probe.ask();
            Some(Kind::Own(pooled))
        };
        let kind = self.dialler.may_share(target.origin).then(shared).flatten();
        let kind = kind.or_else(|| after.is_none().then(own).flatten())?;
        let source = Source::AtHand;
        Some(Checkout { kind, source })
    }

    /// A connection that was or is made ahead, or else a new one.
    async fn dial<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        after: Option<u64>,
    ) -> Result<Checkout<B>, Cause> {
        if after.is_none()
            && let Some(claim) = self
                .preconnects
                .claim(target.origin, target.addresses, self.now())
        {
            let taken = self.take_over(claim).await?;
            // Where it came to nothing, time has passed.
            if let Some(checkout) = taken.or_else(|| self.at_hand(target, None)) {
                return Ok(checkout);
            }
        }
        let reached = self
            .dialler
            .reach(target.origin, in_order(target.addresses))
            .await?;
        let (kind, source) = (self.open(reached).await?, Source::Fresh);
        Ok(Checkout { kind, source })
    }

    /// What is made ahead, once it is made; none if it is of no use any more, or its failure is not the request's.
    async fn take_over(&self, claim: Claim) -> Result<Option<Checkout<B>>, Cause> {
        let open = async |reached: Reached| match reached.endpoint.is_current() {
            true => self.open(reached).await.map(Some),
            false => Ok(None),
        };
        match claim {
            Claim::UnderWay { made, dial } => {
                let claimed = self.now();
                let opened = match made.await {
                    Ok(Ok(reached)) => open(reached).await,
                    Ok(Err(cause)) => Err(cause),
                    Err(_) => Ok(None),
                };
                let source = Source::Fresh;
                match opened {
                    Ok(kind) => Ok(kind.map(|kind| Checkout { kind, source })),
                    Err(cause) if dial.decides(&cause, claimed) => Err(cause),
                    Err(_) => Ok(None),
                }
            }
            Claim::Ready(reached) => {
                // Its peer may not have waited so long.
                let opened = open(*reached).await.ok().flatten();
                Ok(opened.map(|mut kind| {
                    kind.has_waited();
                    let source = Source::Ahead;
                    Checkout { kind, source }
                }))
            }
        }
    }

    /// A new connection for a request that asks for a switch of protocols, which only HTTP/1.1 knows (RFC 9110 §7.8, RFC 9113
    /// §8.6), whatever the origin speaks otherwise. It is for this request alone.
    pub(super) async fn dial_to_switch<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        leaving: &impl Leaving,
    ) -> Result<Checkout<B>, SendFailure> {
        keep(leaving)?;
        let dialled = async {
            let addresses = in_order(target.addresses);
            let reached = self.dialler.reach_to_switch(target.origin, addresses).await?;
            let mut connection = open_own(reached, &self.own, &self.tracker).await?;
            connection.may_switch = true;
            Ok(Checkout {
                kind: Kind::Own(connection),
                source: Source::Fresh,
            })
        };
        dialled.await.map_err(SendFailure::to_connect)
    }

    /// Begins to speak HTTP over a connection.
    async fn open(&self, reached: Reached) -> Result<Kind<B>, Cause> {
        let origin = Arc::clone(&reached.endpoint.origin);
        if self.dialler.may_share(&origin) {
            self.shared.learn(&origin, reached.speaks);
        }
        match reached.speaks {
            Protocol::Http1 => Ok(Kind::Own(open_own(reached, &self.own, &self.tracker).await?)),
            Protocol::Http2 => {
                let number = self.shared.number();
                let clock = Arc::clone(&self.clock);
                let (connection, driver) =
                    http2::open(reached.wire, &reached.endpoint, number, clock, self.pings).await?;
                self.tracker.spawn(driver.run());
                let slot = self.shared.share(&origin, connection, self.own.idle());
                Ok(Kind::Shared(slot.ok_or_else(|| {
                    Cause::new("HTTP/2: the server allows no request")
                })?))
            }
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        checkout: Checkout<B>,
        scheme: Scheme,
        request: Request<B>,
        leaving: &impl Leaving,
    ) -> Result<Response<PooledBody<B>>, Unsent<B>> {
        match checkout.kind {
            Kind::Own(connection) => attempt(connection, request, leaving, &self.own).await,
            Kind::Shared(slot) => {
                let response = http2::attempt(slot, request, scheme, leaving, &self.tracker).await?;
                Ok(response.map(PooledBody::shared))
            }
        }
    }
}

/// Begins to speak HTTP/1.1 over a connection, over which that is nothing yet.
async fn open_own<B>(
    reached: Reached,
    pool: &Arc<Pool<B>>,
    tracker: &TaskTracker,
) -> Result<Connection<B>, Cause>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    let (connection, driver) = Driver::new(reached.wire, reached.endpoint)
        .await
        .map_err(|error| in_words("connect", &error))?;
    tracker.spawn(driver.run(Arc::downgrade(pool)));
    Ok(connection)
}
