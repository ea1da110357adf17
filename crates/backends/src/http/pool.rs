//! Idle connections: last in, first out, bounded, and never handed to a request whose judged
//! addresses do not hold the peer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::binding::Origin;
use admission::ports::Clock;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio_util::sync::DropGuard;

use super::address::Dialable;
use super::handover::{Handover, RequestBody};
use super::socket::Probe;
use crate::tls::MadeWith;

/// Bounds of the idle connections.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Most idle connections to one origin.
    pub per_origin: usize,
    /// Most idle connections in all. Those of HTTP/2 have room for a quarter of it whatever those of HTTP/1.1 take.
    pub total: usize,
    /// How long a connection may be idle.
    pub idle: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            per_origin: 100,
            total: 1000,
            idle: Duration::from_secs(90),
        }
    }
}

/// Where a connection leads.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) origin: Arc<Origin>,
    pub(super) peer: SocketAddr,
    pub(super) probe: Probe,
    /// None without TLS.
    pub(super) tls: Option<MadeWith>,
}

impl Endpoint {
    /// Whether it leads to one of these addresses.
    pub(super) fn leads_to<A: Dialable>(&self, addresses: &[A]) -> bool {
        addresses.iter().any(|address| address.socket() == self.peer)
    }

    /// Whether a connection would be made in the same way now.
    pub(super) fn is_current(&self) -> bool {
        self.tls.as_ref().is_none_or(MadeWith::is_current)
    }
}

/// A connection and where it leads. Dropping it closes the connection.
pub(super) struct Connection<B> {
    pub(super) sender: SendRequest<RequestBody<B>>,
    /// Tells the connection's task that it is dropped.
    pub(super) _wanted: DropGuard,
    pub(super) handover: Handover,
    pub(super) endpoint: Endpoint,
    /// It answered a request before, or was made before its request came: its peer may have hung up meanwhile.
    pub(super) reused: bool,
    /// It was made for a request that asks for a switch of protocols, and is for no other.
    pub(super) may_switch: bool,
}

struct Idle<B> {
    connection: Connection<B>,
    since: Duration,
}

/// The idle connections. Those of one origin lie in the order of their return, newest last.
pub(super) struct Pool<B> {
    limits: PoolLimits,
    clock: Arc<dyn Clock>,
    idle: Mutex<IdleConnections<B>>,
}

struct IdleConnections<B> {
    by_origin: HashMap<Arc<Origin>, Vec<Idle<B>>>,
    count: usize,
}

impl<B> Pool<B> {
    pub(super) fn new(limits: PoolLimits, clock: Arc<dyn Clock>) -> Self {
        let idle = Mutex::new(IdleConnections {
            by_origin: HashMap::new(),
            count: 0,
        });
        Self { limits, clock, idle }
    }

    /// The newest idle connection to the origin whose peer is among the addresses and that can
    /// take a request now.
    ///
    /// A returned connection needs a moment, or as long as its peer takes to read the rest of a
    /// request that it answered early; such a one is left where it is.
    pub(super) fn take<A: Dialable>(&self, origin: &Origin, addresses: &[A]) -> Option<Connection<B>> {
        let now = self.now();
        let mut all = self.idle.lock();
        let idle = all.by_origin.get_mut(origin)?;
        let at = idle
            .iter()
            .rposition(|idle| self.is_usable(idle, addresses, now))?;
        let taken = idle.remove(at).connection;
        all.count -= 1;
        Some(taken)
    }

    /// Whether there is one that [`take`](Self::take) would give.
    pub(super) fn holds<A: Dialable>(&self, origin: &Origin, addresses: &[A]) -> bool {
        let (now, all) = (self.now(), self.idle.lock());
        let mut idle = all.by_origin.get(origin).into_iter().flatten();
        idle.any(|idle| self.is_usable(idle, addresses, now))
    }

    fn is_usable<A: Dialable>(&self, idle: &Idle<B>, addresses: &[A], now: Duration) -> bool {
        now.saturating_sub(idle.since) < self.limits.idle
            && idle.connection.sender.is_ready()
            && idle.connection.endpoint.is_current()
            && idle.connection.endpoint.leads_to(addresses)
    }

    /// Keeps a connection that answered a request, in the place of the oldest one where there is no room.
    pub(super) fn put(&self, mut connection: Connection<B>) {
        let keeps_none = self.limits.per_origin == 0 || self.limits.total == 0;
        if connection.sender.is_closed() || connection.may_switch || keeps_none {
            return;
        }
        connection.reused = true;
        let since = self.now();
        let mut all = self.idle.lock();
        let full = all
            .by_origin
            .get(&connection.endpoint.origin)
            .is_some_and(|idle| idle.len() >= self.limits.per_origin);
        let evicted = if full {
            let origin = Arc::clone(&connection.endpoint.origin);
            all.evict(&origin)
        } else if all.count >= self.limits.total {
            all.oldest().and_then(|origin| all.evict(&origin))
        } else {
            None
        };
        all.count += 1;
        all.by_origin
            .entry(Arc::clone(&connection.endpoint.origin))
            .or_default()
            .push(Idle { connection, since });
        drop(all);
        // Closing wakes the connection's task, which need not happen under the lock.
        drop(evicted);
    }

    /// Drops what is closed, was idle for too long, or was made before TLS was renewed.
    pub(super) fn sweep(&self) {
        let now = self.now();
        let mut dropped = Vec::new();
        let mut all = self.idle.lock();
        for idle in all.by_origin.values_mut() {
            dropped.extend(idle.extract_if(.., |idle| {
                idle.connection.sender.is_closed()
                    || !idle.connection.endpoint.is_current()
                    || now.saturating_sub(idle.since) >= self.limits.idle
            }));
        }
        all.by_origin.retain(|_, idle| !idle.is_empty());
        all.count -= dropped.len();
        drop(all);
    }

    /// Drops what leads to this origin and was last heard of then or before.
    pub(super) fn distrust(&self, origin: &Origin, then: Duration) {
        let mut all = self.idle.lock();
        let Some(idle) = all.by_origin.get_mut(origin) else {
            return;
        };
        let dropped: Vec<_> = idle.extract_if(.., |idle| idle.since <= then).collect();
        all.count -= dropped.len();
        drop(all);
    }

    /// How many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.idle.lock().count
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now().monotonic
    }
}

impl<B> IdleConnections<B> {
    fn oldest(&self) -> Option<Arc<Origin>> {
        let fronts = self.by_origin.iter();
        fronts
            .filter_map(|(origin, idle)| Some((idle.first()?.since, origin)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, origin)| Arc::clone(origin))
    }

    fn evict(&mut self, origin: &Origin) -> Option<Idle<B>> {
        let idle = self.by_origin.get_mut(origin)?;
        let evicted = (!idle.is_empty()).then(|| idle.remove(0));
        self.count -= usize::from(evicted.is_some());
        if idle.is_empty() {
            self.by_origin.remove(origin);
        }
        evicted
    }
}
