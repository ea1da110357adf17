//! The bindings (gates 8 and 11), from PostgreSQL into memory.
//!
//! Lookups read a snapshot that is swapped as a whole. One loop, [`BindingsReader::run`], owns every
//! read of the database: at intervals, when the database notifies, and for the few lookups that must
//! see the database itself.

mod component;
mod config;
mod load;
mod lookup;
mod reader;
mod snapshot;

pub use config::BindingsConfig;
pub use reader::BindingsReader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::binding::Binding;
use admission::ports::{Bindings, BoxFuture, Cause, Clock, NotBound, ZoneStanding};
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc};

use crate::last_seen::LastSeen;
use lookup::{Asked, Lookups};
pub(crate) use snapshot::Snapshot;

/// The bindings in memory.
pub struct PostgresBindings {
    shared: Arc<Shared>,
    lookups: Lookups,
}

/// How the bindings stand, for readiness and metrics.
#[derive(Clone, Debug, Default)]
pub struct BindingsStatus {
    /// Time since the snapshot was last known to be current; none before the first.
    pub age: Option<Duration>,
    /// Why the last read failed; none when it did not. The snapshot of before is still served.
    pub error: Option<Cause>,
    /// How many bindings are loaded.
    pub loaded: usize,
    /// Whether the database tells of changes at once.
    pub notified: bool,
    /// Full reads that succeeded.
    pub reloads: u64,
    /// Reads that failed.
    pub reload_errors: u64,
}

struct Shared {
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    /// The last proof that the snapshot is current.
    confirmed: LastSeen,
    error: ArcSwapOption<Cause>,
    /// The number of the connection that listens for changes; 0 is none.
    listening: AtomicU64,
    /// The number of the one since whose beginning everything was read, from tables with triggers.
    heard: AtomicU64,
    reloads: AtomicU64,
    reload_errors: AtomicU64,
    /// Everything should be read again: the database tells of a change, or the operator asks.
    changed: Notify,
}

impl PostgresBindings {
    /// The bindings, and the loop that keeps them. Until its first read no zone is known.
    #[must_use]
    pub fn new(
        config: BindingsConfig,
        database: crate::postgres::Connector,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, BindingsReader) {
        let (sender, receiver) = mpsc::channel(config.max_lookups_waiting);
        let shared = Arc::new(Shared {
            clock,
            snapshot: ArcSwap::default(),
            confirmed: LastSeen::never(),
            error: ArcSwapOption::empty(),
            listening: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reload_errors: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let bindings = Self {
            lookups: Lookups::new(sender, &config, Arc::clone(&shared.clock)),
            shared: Arc::clone(&shared),
        };
        (
            Arc::new(bindings),
            BindingsReader::new(config, database, shared, receiver),
        )
    }

    /// Has everything read again soon, as after a change that the database tells of.
    pub fn reload(&self) {
        self.shared.changed.notify_one();
    }

    /// How the bindings stand, from memory.
    #[must_use]
    pub fn status(&self) -> BindingsStatus {
        let shared = &self.shared;
        BindingsStatus {
            age: shared.confirmed.age(shared.clock.now().monotonic),
            error: shared.error.load().as_deref().cloned(),
            loaded: shared.snapshot.load().len(),
            notified: shared.notified(),
            reloads: shared.reloads.load(Ordering::Relaxed),
            reload_errors: shared.reload_errors.load(Ordering::Relaxed),
        }
    }
}

impl Bindings for PostgresBindings {
    fn zone(&self, zone: &str) -> ZoneStanding {
        if self.shared.snapshot.load().has_zone(zone) {
            ZoneStanding::Known
        } else {
            ZoneStanding::Unknown
        }
    }

    fn find<'a>(&'a self, zone: &'a str, resource: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        let found = self.shared.snapshot.load().find(zone, resource);
        if let Some(binding) = found {
            return Box::pin(std::future::ready(Ok(binding)));
        }
        if self.shared.notified() {
            let missing = NotBound(Cause::new("no such binding"));
            return Box::pin(std::future::ready(Err(missing)));
        }
        Box::pin(self.lookups.ask(zone, resource, Asked::AfterMiss))
    }

    fn reread<'a>(
        &'a self,
        zone: &'a str,
        resource: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        Box::pin(self.lookups.ask(zone, resource, Asked::Afresh))
    }
}

impl Shared {
    /// Whether the database tells of every change, so that a miss is a miss.
    fn notified(&self) -> bool {
        let listening = self.listening.load(Ordering::Acquire);
        listening != 0 && listening == self.heard.load(Ordering::Acquire)
    }

    /// The snapshot is current as of `began`.
    fn confirm(&self, began: Duration) {
        self.confirmed.set(began);
        self.error.store(None);
    }

    fn fail(&self, cause: Cause) {
        self.reload_errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%cause, "bindings not read: the last snapshot stays");
        self.error.store(Some(Arc::new(cause)));
    }
}
