//! What the gates see of the revocation state, and how fresh it is.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use admission::limits::Limits;
use admission::ports::{Cause, Clock, Moment, Revocations, Standing, Watch};
use admission::token::Anchors;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::anchor::Kind;
use super::counters::RevocationCounters;
use super::registry::Registry;
use super::snapshot::{Announced, Asked, Snapshot};
use super::table::Announcement;
use crate::last_seen::LastSeen;

/// The longest silence of the streams with which the state still counts as fresh.
pub(super) const CONTACT_MAX_AGE: Duration = Duration::from_secs(70);
/// How long an announcement holds: as long as a single-use mandate from before it can be valid, and a
/// margin. That of an authority record or an edge holds longer where the database still shows the anchor
/// active, because then mandates that rest on it are still being issued.
const ANNOUNCEMENT_LIFE: Duration = Limits::MAX_MANDATE_LIFE.saturating_add(Duration::from_secs(300));
/// The longest that [`RevocationState::reload`] waits.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A ticket that no snapshot answers.
const NEVER: u64 = u64::MAX;

/// Bounds of the revocation state.
#[derive(Clone, Copy, Debug)]
pub struct RevocationConfig {
    /// `REVOCATION_SNAPSHOT_MAX_AGE`: with an older snapshot nothing passes.
    pub max_snapshot_age: Duration,
    /// Time between two snapshots, spread a little.
    pub snapshot_every: Duration,
    /// The least time between two snapshots, however often one is asked for.
    pub snapshot_pause: Duration,
    /// How many anchors may be revoked at the same time. Above it nothing passes.
    pub max_anchors: usize,
    /// How many requests may be watched at the same time.
    pub max_watches: usize,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            max_snapshot_age: Duration::from_secs(300),
            snapshot_every: Duration::from_secs(30),
            snapshot_pause: Duration::from_secs(1),
            max_anchors: 1_000_000,
            max_watches: 100_000,
        }
    }
}

/// The revocation state. Clones share it.
#[derive(Clone)]
pub struct RevocationState {
    pub(super) inner: Arc<Inner>,
}

/// How the revocation state stands, for readiness and metrics.
#[derive(Clone, Debug, Default)]
pub struct RevocationStatus {
    /// Why nothing passes; none while the state is fresh.
    pub stale: Option<Cause>,
    /// Time since the streams last answered.
    pub contact_age: Option<Duration>,
    /// Time since the last complete snapshot began.
    pub snapshot_age: Option<Duration>,
    /// Why the last snapshot failed; none when it did not.
    pub snapshot_error: Option<Cause>,
    /// Revoked anchors.
    pub anchors: usize,
    /// Watched requests.
    pub watches: usize,
}

pub(super) struct Inner {
    pub(super) config: RevocationConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Mutex<RevocationCounters>,
    registry: Arc<Registry>,
    anchors: AtomicUsize,
    overflowed: AtomicBool,
    /// The last answer of the streams.
    contact: LastSeen,
    /// The beginning of the last complete snapshot.
    snapshot: LastSeen,
    /// Snapshots are numbered by what they answer: one that begins after ticket n was handed out and
    /// completes answers every ticket up to n.
    wanted: AtomicU64,
    wake: Notify,
    answered: AtomicU64,
    /// The ticket from which on snapshots and streams together have seen everything.
    required: AtomicU64,
    outcome: watch::Sender<Outcome>,
}

#[derive(Clone)]
struct Outcome {
    ticket: u64,
    result: Result<usize, Cause>,
}

impl RevocationState {
    /// An empty state that is stale until the streams are read and a snapshot is loaded.
    #[must_use]
    pub fn new(config: RevocationConfig, clock: Arc<dyn Clock>) -> Self {
        let outcome = Outcome {
            ticket: 0,
            result: Err(Cause::new("no snapshot yet")),
        };
        let inner = Inner {
            config,
            clock,
            counters: Mutex::default(),
            registry: Arc::default(),
            anchors: AtomicUsize::new(0),
            overflowed: AtomicBool::new(false),
            contact: LastSeen::never(),
            snapshot: LastSeen::never(),
            wanted: AtomicU64::new(0),
            wake: Notify::new(),
            answered: AtomicU64::new(0),
            required: AtomicU64::new(NEVER),
            outcome: watch::Sender::new(outcome),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Loads a snapshot that begins after this call, and says how many anchors are revoked then.
    ///
    /// # Errors
    /// The snapshot failed, or took longer than 5 s.
    pub async fn reload(&self) -> Result<usize, Cause> {
        let ticket = self.inner.want_snapshot();
        let mut outcome = self.inner.outcome.subscribe();
        let answered = outcome.wait_for(|outcome| outcome.ticket >= ticket);
        match tokio::time::timeout(RELOAD_TIMEOUT, answered).await {
            Ok(Ok(outcome)) => outcome.result.clone(),
            Ok(Err(_)) => Err(Cause::new("revocation snapshot: nobody takes it")),
            Err(_) => Err(Cause::new(format!(
                "revocation snapshot: not loaded within {RELOAD_TIMEOUT:?}"
            ))),
        }
    }

    /// How the state stands, from memory.
    #[must_use]
    pub fn status(&self) -> RevocationStatus {
        let inner = &self.inner;
        let now = inner.clock.now();
        RevocationStatus {
            stale: inner.fresh(now).err(),
            contact_age: inner.contact.age(now.monotonic),
            snapshot_age: inner.snapshot.age(now.monotonic),
            snapshot_error: inner.outcome.borrow().result.clone().err(),
            anchors: inner.anchors.load(Ordering::Relaxed),
            watches: inner.registry.watches(),
        }
    }

    /// A reading of the counters.
    #[must_use]
    pub fn counters(&self) -> RevocationCounters {
        *self.inner.counters.lock()
    }
}

impl Revocations for RevocationState {
    fn watch(&self, anchors: &Anchors<'_>) -> Result<Arc<dyn Watch>, Cause> {
        let watch = self
            .inner
            .registry
            .watch(anchors, self.inner.config.max_watches)?;
        Ok(Arc::new(watch))
    }

    fn standing(&self, anchors: &Anchors<'_>, now: Moment) -> Standing {
        if let Err(cause) = self.inner.fresh(now) {
            return Standing::Stale(cause);
        }
        if self.inner.registry.is_revoked(anchors) {
            Standing::Revoked
        } else {
            Standing::Clear
        }
    }
}

impl Inner {
    /// Whether what is known is recent and complete enough to let anything pass.
    fn fresh(&self, now: Moment) -> Result<(), Cause> {
        if self.overflowed.load(Ordering::Relaxed) {
            return Err(Cause::new(
                "revocation: more anchors are revoked than fit into memory",
            ));
        }
        match self.contact.age(now.monotonic) {
            None => return Err(Cause::new("revocation streams: not read yet")),
            Some(age) if age > CONTACT_MAX_AGE => {
                return Err(Cause::new(format!("revocation streams: silent for {age:?}")));
            }
            Some(_) => {}
        }
        if self.answered.load(Ordering::Acquire) < self.required.load(Ordering::Acquire) {
            return Err(Cause::new(
                "revocation snapshot: none since the streams are followed",
            ));
        }
        match self.snapshot.age(now.monotonic) {
            None => Err(Cause::new("revocation snapshot: none yet")),
            Some(age) if age > self.config.max_snapshot_age => {
                Err(Cause::new(format!("revocation snapshot: {age:?} old")))
            }
            Some(_) => Ok(()),
        }
    }

    /// The streams answered.
    pub(super) fn touch(&self) {
        self.contact.set(self.clock.now().monotonic);
    }

    /// A stream announced a revocation.
    pub(super) fn announce(&self, kind: Kind, id: &str) {
        let until = self.clock.now().monotonic + ANNOUNCEMENT_LIFE;
        let room = self.anchors.load(Ordering::Relaxed) < self.config.max_anchors;
        let (table, number) = (self.registry.tables.of(kind), self.registry.number());
        match table.announce(id, number, until, room) {
            Announcement::Known => {}
            Announcement::New => {
                self.anchors.fetch_add(1, Ordering::Relaxed);
            }
            Announcement::NoRoom => {
                if !self.overflowed.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        limit = self.config.max_anchors,
                        "more anchors are revoked than fit: nothing passes until a restart with a higher bound"
                    );
                }
            }
        }
    }

    /// Messages may have been lost: until [`Inner::complete_from_here`] nothing passes.
    pub(super) fn incomplete(&self) {
        self.required.store(NEVER, Ordering::Release);
    }

    /// The streams are followed without a gap from now on: a snapshot that begins now completes them.
    pub(super) fn complete_from_here(&self) {
        let ticket = self.want_snapshot();
        self.required.store(ticket, Ordering::Release);
    }

    /// Asks for a snapshot that begins after this call. Many calls may be answered by one.
    pub(super) fn want_snapshot(&self) -> u64 {
        let ticket = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.notify_one();
        ticket
    }

    /// The ticket that a snapshot beginning now will answer.
    pub(super) fn ticket(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    /// Waits until somebody asks for a snapshot.
    pub(super) async fn snapshot_wanted(&self) {
        self.wake.notified().await;
    }

    /// The announced anchors that a snapshot beginning now must look for: active, a session is admitted
    /// again, and a record or an edge is not.
    pub(super) fn asked(&self, now: Moment) -> Asked {
        let tables = &self.registry.tables;
        Asked {
            records: tables.records.announced(now.monotonic),
            sessions: tables.sessions.announced(Duration::MAX),
            edges: tables.edges.announced(now.monotonic),
        }
    }

    /// Takes over a snapshot that began at `began` and looked for what was asked then.
    pub(super) async fn take_over(&self, snapshot: Snapshot, asked: &Asked, began: Moment) -> usize {
        let Snapshot { revoked, active } = snapshot;
        let (now, tables) = (began.monotonic, &self.registry.tables);
        for (id, number) in among(&asked.sessions, &active.sessions) {
            tables.sessions.withdraw(id, *number);
        }
        for kind in [Kind::Record, Kind::Edge] {
            for (id, number) in among(asked.of(kind), active.of(kind)) {
                tables.of(kind).renew(id, *number, now + ANNOUNCEMENT_LIFE);
            }
        }
        let total = tables.records.record(revoked.records, now).await
            + tables.sessions.record(revoked.sessions, now).await
            + tables.edges.record(revoked.edges, now).await;
        self.anchors.store(total, Ordering::Relaxed);
        self.snapshot.set(now);
        total
    }

    /// A snapshot with this ticket is over.
    pub(super) fn answer(&self, ticket: u64, result: Result<usize, Cause>) {
        match &result {
            Ok(_) => {
                self.counters.lock().reloads += 1;
                self.answered.store(ticket, Ordering::Release);
            }
            Err(cause) => {
                self.counters.lock().reload_errors += 1;
                tracing::warn!(%cause, "revocation snapshot failed");
            }
        }
        self.outcome.send_replace(Outcome { ticket, result });
    }
}

fn among<'a>(asked: &'a [Announced], active: &'a HashSet<String>) -> impl Iterator<Item = &'a Announced> {
    asked.iter().filter(|(id, _)| active.contains(&**id))
}

#[cfg(test)]
mod tests;
