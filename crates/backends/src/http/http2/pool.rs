//! The connections that requests share, and what is known of each origin.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::binding::Origin;
use parking_lot::Mutex;

use super::connection::{Connection, MAX_STREAMS, Slot};
use super::gate::Gate;
use crate::http::address::Dialable;
use crate::http::pool::PoolLimits;

/// The most origins of which something is remembered that have no connection.
const MAX_REMEMBERED: usize = 1024;
/// How long an origin gets one request at a time over each connection after it broke the protocol, which ends all that
/// share one.
const CAUTION: Duration = Duration::from_mins(5);

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    Http1,
    Http2,
}

/// The shared connections of a client.
pub(in super::super) struct SharedPool {
    limits: PoolLimits,
    /// The number of the newest connection.
    last: AtomicU64,
    origins: Mutex<HashMap<Arc<Origin>, Known>>,
}

/// What is known of an origin.
#[derive(Default)]
struct Known {
    /// What it spoke last.
    speaks: Option<Protocol>,
    gate: Arc<Gate>,
    /// When it was found last that it broke the protocol: monotonic time.
    broke: Option<Duration>,
    connections: Vec<Arc<Connection>>,
}

impl SharedPool {
    pub(in super::super) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            last: AtomicU64::new(0),
            origins: Mutex::default(),
        }
    }

    /// A place on a connection whose number is higher than this, and whose peer is among the addresses. What does not
    /// lead to one of them takes no request any more.
    pub(in super::super) fn take<A: Dialable>(
        &self,
        origin: &Origin,
        addresses: &[A],
        after: u64,
    ) -> Option<Slot> {
        let mut origins = self.origins.lock();
        let known = origins.get_mut(origin)?;
        let dropped = drop_where(known, |connection| !self.is_usable(connection, addresses));
        let streams = |connection: &Connection| known.streams(connection.time());
        let mut newer = known
            .connections
            .iter()
            .filter(|connection| connection.number() > after);
        let slot = newer.find_map(|connection| connection.reserve(streams(connection)));
        drop(origins);
        // Closing wakes the connection's task, which need not happen under the lock.
        drop(dropped);
        slot
    }

    /// Whether there is one that [`take`](Self::take) would give a place on.
    pub(in super::super) fn has_room<A: Dialable>(&self, origin: &Origin, addresses: &[A]) -> bool {
        let origins = self.origins.lock();
        let known = origins.get(origin);
        known.is_some_and(|known| {
            known.connections.iter().any(|connection| {
                self.is_usable(connection, addresses) && connection.has_room(known.streams(connection.time()))
            })
        })
    }

    fn is_usable<A: Dialable>(&self, connection: &Connection, addresses: &[A]) -> bool {
        connection.is_kept(self.limits.idle) && connection.endpoint().leads_to(addresses)
    }

    /// Shares a connection, and gives its first place. So many others are idle.
    pub(in super::super) fn share(
        &self,
        origin: &Origin,
        connection: Connection,
        others: usize,
    ) -> Option<Slot> {
        let connection = Arc::new(connection);
        let slot = connection.reserve(MAX_STREAMS);
        self.with(origin, |known| known.connections.push(connection));
        let dropped = self.drop_surplus(&mut self.origins.lock(), others);
        drop(dropped);
        slot
    }

    /// The number of a connection that is about to be made.
    pub(in super::super) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the newest connection.
    pub(in super::super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// What the origin spoke last, and the turn to dial it.
    pub(in super::super) fn known(&self, origin: &Origin) -> (Option<Protocol>, Arc<Gate>) {
        self.with(origin, |known| (known.speaks, Arc::clone(&known.gate)))
    }

    /// The origin speaks this.
    pub(in super::super) fn learn(&self, origin: &Origin, protocol: Protocol) {
        self.with(origin, |known| known.speaks = Some(protocol));
    }

    /// Drops what is closed or was idle for too long, and of what is idle all that is more than the limit of an origin, or
    /// than that of all together with so many others.
    pub(in super::super) fn sweep(&self, others: usize) {
        let mut dropped = Vec::new();
        let mut origins = self.origins.lock();
        for known in origins.values_mut() {
            let mut idle = 0;
            dropped.extend(drop_where(known, |connection| {
                idle += usize::from(connection.is_idle());
                !connection.is_kept(self.limits.idle) || connection.is_idle() && idle > self.limits.per_origin
            }));
        }
        dropped.extend(self.drop_surplus(&mut origins, others));
        drop(origins);
    }

    /// Takes out those that are idle for the longest time, where more are than the limit of all lets together with so many
    /// others. There is room for a quarter of that limit whatever the others are: one of these carries many requests.
    fn drop_surplus(&self, origins: &mut HashMap<Arc<Origin>, Known>, others: usize) -> Vec<Arc<Connection>> {
        let connections = origins.values().flat_map(|known| &known.connections);
        let idle = connections.filter(|connection| connection.is_idle());
        let mut idle: Vec<_> = idle
            .map(|connection| (connection.idle_since(), connection.number()))
            .collect();
        let total = self.limits.total;
        let room = total.saturating_sub(others).max(total.div_ceil(4));
        let surplus = idle.len().saturating_sub(room);
        if surplus == 0 {
            return Vec::new();
        }
        idle.sort_unstable();
        let oldest: HashSet<_> = idle.iter().take(surplus).map(|(_, number)| *number).collect();
        let unwanted = |connection: &Connection| oldest.contains(&connection.number());
        origins
            .values_mut()
            .flat_map(|known| drop_where(known, unwanted))
            .collect()
    }

    /// Drops what leads to this origin and was last heard of then or before, or never answered.
    pub(in super::super) fn distrust(&self, origin: &Origin, then: Duration) {
        let mut origins = self.origins.lock();
        let dropped = origins.get_mut(origin).map(|known| {
            drop_where(known, |connection| {
                !connection.has_answered() || connection.heard_at() <= then
            })
        });
        drop(origins);
        drop(dropped);
    }

    /// How many connections are idle.
    pub(in super::super) fn idle(&self) -> usize {
        let origins = self.origins.lock();
        let connections = origins.values().flat_map(|known| &known.connections);
        connections.filter(|connection| connection.is_idle()).count()
    }

    fn with<T>(&self, origin: &Origin, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut origins = self.origins.lock();
        if let Some(known) = origins.get_mut(origin) {
            return act(known);
        }
        if origins.len() >= MAX_REMEMBERED {
            // Who waits at a gate holds it.
            origins.retain(|_, known| !known.connections.is_empty() || Arc::strong_count(&known.gate) > 1);
        }
        act(origins.entry(Arc::new(origin.clone())).or_default())
    }
}

impl Known {
    /// The most requests that share one of its connections now.
    fn streams(&self, now: Duration) -> usize {
        let is_broken = self.broke.is_some_and(|at| now.saturating_sub(at) < CAUTION);
        if is_broken { 1 } else { MAX_STREAMS }
    }
}

/// Takes connections out. The requests on them go on, and with the last of them they close.
fn drop_where(known: &mut Known, mut unwanted: impl FnMut(&Connection) -> bool) -> Vec<Arc<Connection>> {
    let dropped: Vec<_> = known
        .connections
        .extract_if(.., |connection| unwanted(connection))
        .collect();
    if let Some(broken) = dropped.iter().find(|connection| connection.is_broken()) {
        known.broke = Some(broken.time());
    }
    dropped
}
