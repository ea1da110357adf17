//! The bindings (gates 8 and 11), from PostgreSQL into memory.
//!
//! Lookups read a snapshot that is swapped as a whole. One loop, [`BindingsReader::run`], owns every
//! read of the database: at intervals, when the database notifies, and for the few lookups that must
//! see the database itself.

mod changes;
mod component;
mod config;
mod listener;
mod load;
mod lookup;
mod reader;
mod shards;
mod snapshot;

pub use config::BindingsConfig;
pub use reader::BindingsReader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::binding::Binding;
use admission::ports::{Bindings, BoxFuture, Cause, Clock, NotBound, ZoneStanding};
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::mpsc;

use crate::last_seen::LastSeen;
use crate::log_limit::LogLimit;
use changes::Changes;
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
    /// Whether the database tells of changes at once, and is heard.
    pub notified: bool,
    /// Bindings read one by one because the database told that they changed.
    pub announced: u64,
    /// How often the connection that listens for changes was lost, or did not hear.
    pub unheard: u64,
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
    error_log: LogLimit,
    /// The number of the connection that listens for changes; 0 is none.
    listening: AtomicU64,
    /// The number of the one since whose beginning everything was read, from tables with triggers.
    heard: AtomicU64,
    /// The number of the one on which the gateway heard itself.
    proven: AtomicU64,
    announced: AtomicU64,
    unheard: AtomicU64,
    unheard_log: LogLimit,
    reloads: AtomicU64,
    reload_errors: AtomicU64,
    /// What the database tells of, or the operator asks for.
    changes: Changes,
}

impl PostgresBindings {
    /// The bindings, and the loop that keeps them. Until its first read no zone is known.
    #[must_use]
    pub fn new(
        config: BindingsConfig,
        database: crate::postgres::PostgresConnector,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, BindingsReader) {
        let (sender, receiver) = mpsc::channel(config.max_lookups_waiting);
        let shared = Arc::new(Shared {
            clock,
            snapshot: ArcSwap::default(),
            confirmed: LastSeen::never(),
            error: ArcSwapOption::empty(),
            error_log: LogLimit::default(),
            listening: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            unheard_log: LogLimit::default(),
            reloads: AtomicU64::new(0),
            reload_errors: AtomicU64::new(0),
            changes: Changes::default(),
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
        self.shared.changes.everything();
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
            announced: shared.announced.load(Ordering::Relaxed),
            unheard: shared.unheard.load(Ordering::Relaxed),
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
        let found = self.shared.snapshot.load().find(zone, resource).cloned();
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
        let is = |number: &AtomicU64| number.load(Ordering::Acquire) == listening;
        listening != 0 && is(&self.heard) && is(&self.proven)
    }

    /// The connection that listened does not any more: misses are misses no longer, and the revision is looked at.
    fn unheard(&self, cause: &Cause) {
        self.listening.store(0, Ordering::Release);
        self.unheard.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.unheard_log.happened(self.clock.now().monotonic) {
            tracing::warn!(%cause, times, "changes of bindings are not heard: they are looked for");
        }
        self.changes.look();
    }

    /// The snapshot is current as of `began`.
    fn confirm(&self, began: Duration) {
        self.confirmed.set(began);
        self.error.store(None);
    }

    fn fail(&self, cause: Cause) {
        self.reload_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.error_log.happened(self.clock.now().monotonic) {
            tracing::warn!(%cause, times, "bindings not read: the last snapshot stays");
        }
        self.error.store(Some(Arc::new(cause)));
    }
}
