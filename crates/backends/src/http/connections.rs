//! Over which connection a request goes: one of its own (HTTP/1.1), or a shared one (HTTP/2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use super::connect::connect;
use super::driver::Driver;
use super::failure::{SendFailure, in_words};
use super::http2::{self, Gate, Http2Config, Protocol, SharedPool, Slot};
use super::leaving::{Leaving, keep};
use super::pool::{Connection, Endpoint, Pool, PoolLimits};
use super::socket::{Probe, Wire};
use super::unsent::Unsent;
use crate::tls::{MadeWith, TlsClient};

/// A connection for one request.
pub(super) struct Checkout<B> {
    kind: Kind<B>,
    /// It was made for this request.
    pub(super) is_fresh: bool,
}

enum Kind<B> {
    Own(Connection<B>),
    Shared(Slot),
}

impl<B> Checkout<B> {
    /// Whether a request was answered over it before.
    pub(super) fn is_used(&self) -> bool {
        match &self.kind {
            Kind::Own(connection) => connection.reused,
            Kind::Shared(slot) => slot.has_answered(),
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
    tls: TlsClient,
    /// Whether that offers HTTP/2 (ALPN). A renewed one offers the same.
    tls_offers_http2: bool,
    http2: Http2Config,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    /// Those that carry one request at a time.
    own: Arc<Pool<B>>,
    /// Those that many share.
    shared: SharedPool,
    dialled: AtomicU64,
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
            tls_offers_http2: tls.current().alpn_protocols.iter().any(|name| name == b"h2"),
            tls,
            http2,
            own: Arc::new(Pool::new(limits, Arc::clone(&clock))),
            clock,
            tracker,
            shared: SharedPool::new(limits),
            dialled: AtomicU64::new(0),
        }
    }

    /// Closes what is closed or was idle for too long.
    pub(super) fn sweep(&self) {
        self.own.sweep();
        self.shared.sweep();
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
        self.dialled.load(Ordering::Relaxed)
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

    /// A new connection, or one that somebody else made meanwhile and that can be shared.
    async fn make<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        after: Option<u64>,
    ) -> Result<Checkout<B>, Cause> {
        let Some(gate) = self.gate(target.origin) else {
            return self.dial(target).await;
        };
        let addresses: Vec<_> = target.addresses.iter().map(|address| address.socket()).collect();
        let turn = gate.enter(&addresses).await?;
        if let Some(checkout) = self.at_hand(target, after) {
            return Ok(checkout);
        }
        if self.gate(target.origin).is_none() {
            // It was found out meanwhile.
            drop(turn);
            return self.dial(target).await;
        }
        let made = self.dial(target).await;
        made.inspect_err(|cause| gate.fail(cause, addresses))
    }

    /// The turn to dial the origin; none where its connections are not shared, because HTTP/2 is not tried or it speaks HTTP/1.1.
    fn gate(&self, origin: &Origin) -> Option<Arc<Gate>> {
        if !self.may_share(origin) {
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
        let kind = self.may_share(target.origin).then(shared).flatten();
        let kind = kind.or_else(|| after.is_none().then(own).flatten())?;
        Some(Checkout {
            kind,
            is_fresh: false,
        })
    }

    /// Whether the origin may speak HTTP/2.
    fn may_share(&self, origin: &Origin) -> bool {
        match origin.scheme {
            Scheme::Http => self.http2.cleartext_hosts.contains(&origin.host),
            Scheme::Https => self.tls_offers_http2,
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
            let (wire, endpoint, _) = self.connect(target, true).await?;
            let mut connection = self.drive(wire, endpoint).await?;
            connection.may_switch = true;
            self.dialled.fetch_add(1, Ordering::Relaxed);
            Ok(Checkout {
                kind: Kind::Own(connection),
                is_fresh: true,
            })
        };
        dialled.await.map_err(SendFailure::to_connect)
    }

    async fn connect<A: Dialable>(
        &self,
        target: &Target<'_, A>,
        only_http1: bool,
    ) -> Result<(Wire, Endpoint, Option<Protocol>), Cause> {
        let (origin, probe) = (target.origin, Probe::default());
        let addresses = in_order(target.addresses);
        let tls = MadeWith::now(&self.tls);
        let mut config = Arc::clone(tls.config());
        if only_http1 {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let connected = connect(origin, addresses, &config, probe.clone()).await?;
        let endpoint = Endpoint {
            origin: Arc::new(origin.clone()),
            peer: connected.peer,
            probe,
            tls: (origin.scheme == Scheme::Https).then_some(tls),
        };
        Ok((connected.wire, endpoint, connected.chosen))
    }

    /// An HTTP/1.1 connection over this socket.
    async fn drive(&self, wire: Wire, endpoint: Endpoint) -> Result<Connection<B>, Cause> {
        let (connection, driver) = Driver::new(wire, endpoint)
            .await
            .map_err(|error| in_words("connect", &error))?;
        self.tracker.spawn(driver.run(Arc::downgrade(&self.own)));
        Ok(connection)
    }

    async fn dial<A: Dialable>(&self, target: &Target<'_, A>) -> Result<Checkout<B>, Cause> {
        let origin = target.origin;
        let (wire, endpoint, chosen) = self.connect(target, false).await?;
        let may_share = self.may_share(origin);
        let speaks = match origin.scheme {
            Scheme::Http if may_share => Protocol::Http2,
            Scheme::Http => Protocol::Http1,
            Scheme::Https => chosen.unwrap_or(Protocol::Http1),
        };
        if may_share {
            self.shared.learn(origin, speaks);
        }
        let kind = match speaks {
            Protocol::Http1 => Kind::Own(self.drive(wire, endpoint).await?),
            Protocol::Http2 => {
                let number = self.shared.number();
                let clock = Arc::clone(&self.clock);
                let (connection, driver) =
                    http2::open(wire, &endpoint, number, clock, self.http2.pings).await?;
                self.tracker.spawn(driver.run());
                let slot = self.shared.share(origin, connection);
                Kind::Shared(slot.ok_or_else(|| Cause::new("HTTP/2: the server allows no request"))?)
            }
        };
        self.dialled.fetch_add(1, Ordering::Relaxed);
        Ok(Checkout { kind, is_fresh: true })
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
