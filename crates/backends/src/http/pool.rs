//! Idle connections: last in, first out, bounded, and never handed to a request whose judged
//! addresses do not hold the peer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use admission::binding::upstream_url::Origin;
use hyper::client::conn::http1::SendRequest;
use tokio_util::sync::DropGuard;

use super::address::Dialable;
use super::socket::Probe;

/// Bounds of the idle connections.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Most idle connections to one origin.
    pub per_origin: usize,
    /// Most idle connections in all.
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

/// A connection and where it leads. Dropping it closes the connection.
pub(super) struct Connection<B> {
    pub(super) sender: SendRequest<B>,
    /// Tells the connection's task that it is dropped.
    pub(super) _wanted: DropGuard,
    pub(super) probe: Probe,
    pub(super) origin: Arc<Origin>,
    pub(super) peer: SocketAddr,
}

struct Idle<B> {
    connection: Connection<B>,
    since: Duration,
}

/// The idle connections. Those of one origin lie in the order of their return, newest last.
pub(super) struct Pool<B> {
    limits: PoolLimits,
    idle: Mutex<Shelves<B>>,
}

struct Shelves<B> {
    by_origin: HashMap<Arc<Origin>, Vec<Idle<B>>>,
    count: usize,
}

impl<B> Pool<B> {
    pub(super) fn new(limits: PoolLimits) -> Self {
        let idle = Mutex::new(Shelves {
            by_origin: HashMap::new(),
            count: 0,
        });
        Self { limits, idle }
    }

    /// The newest idle connection to the origin whose peer is among the addresses and that can
    /// take a request now.
    ///
    /// A returned connection needs a moment, or as long as its peer takes to read the rest of a
    /// request that it answered early; such a one is left where it is.
    pub(super) fn take<A: Dialable>(
        &self,
        origin: &Origin,
        addresses: &[A],
        now: Duration,
    ) -> Option<Connection<B>> {
        let mut shelves = self.lock();
        let shelf = shelves.by_origin.get_mut(origin)?;
        let usable = |idle: &Idle<B>| {
            now.saturating_sub(idle.since) < self.limits.idle
                && idle.connection.sender.is_ready()
                && addresses
                    .iter()
                    .any(|address| address.socket() == idle.connection.peer)
        };
        let at = shelf.iter().rposition(usable)?;
        let taken = shelf.remove(at);
        shelves.count -= 1;
        Some(taken.connection)
    }

    /// Keeps a connection, in the place of the oldest one where there is no room.
    pub(super) fn put(&self, connection: Connection<B>, now: Duration) {
        if connection.sender.is_closed() || self.limits.per_origin == 0 || self.limits.total == 0 {
            return;
        }
        let mut shelves = self.lock();
        let full = shelves
            .by_origin
            .get(&connection.origin)
            .is_some_and(|shelf| shelf.len() >= self.limits.per_origin);
        let evicted = if full {
            let origin = Arc::clone(&connection.origin);
            shelves.evict(&origin)
        } else if shelves.count >= self.limits.total {
            shelves.oldest().and_then(|origin| shelves.evict(&origin))
        } else {
            None
        };
        shelves.count += 1;
        let shelf = shelves
            .by_origin
            .entry(Arc::clone(&connection.origin))
            .or_default();
        shelf.push(Idle {
            connection,
            since: now,
        });
        drop(shelves);
        // Closing wakes the connection's task, which need not happen under the lock.
        drop(evicted);
    }

    /// Drops what is closed or was idle for too long.
    pub(super) fn sweep(&self, now: Duration) {
        let mut dropped = Vec::new();
        let mut shelves = self.lock();
        for shelf in shelves.by_origin.values_mut() {
            dropped.extend(shelf.extract_if(.., |idle| {
                idle.connection.sender.is_closed() || now.saturating_sub(idle.since) >= self.limits.idle
            }));
        }
        shelves.by_origin.retain(|_, shelf| !shelf.is_empty());
        shelves.count -= dropped.len();
        drop(shelves);
    }

    /// How many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Shelves<B>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Shelves<B> {
    fn oldest(&self) -> Option<Arc<Origin>> {
        let fronts = self.by_origin.iter();
        fronts
            .filter_map(|(origin, shelf)| Some((shelf.first()?.since, origin)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, origin)| Arc::clone(origin))
    }

    fn evict(&mut self, origin: &Origin) -> Option<Idle<B>> {
        let shelf = self.by_origin.get_mut(origin)?;
        let evicted = (!shelf.is_empty()).then(|| shelf.remove(0));
        self.count -= usize::from(evicted.is_some());
        if shelf.is_empty() {
            self.by_origin.remove(origin);
        }
        evicted
    }
}
