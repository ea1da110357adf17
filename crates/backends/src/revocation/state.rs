//! What the gates see of the revocation state, and how fresh it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::{Cause, Clock, Mandate, Moment, Revocations, Standing, Watch};
use admission::token::Anchors;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::anchor::{AnchorId, Kind};
use super::counters::RevocationCounters;
use super::followed::Followed;
use super::message::Stream;
use super::registry::Registry;
use super::table::Mark;
use super::zones::{Bounds, Full, Zone, Zones};
use crate::last_seen::LastSeen;

/// The longest silence of the streams with which the state still counts as fresh.
pub(super) const CONTACT_MAX_AGE: Duration = Duration::from_secs(70);
/// The longest that [`RevocationState::reload`] waits.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// So many zones are told apart at least, however few anchors may be held. Those beyond share one, which stands for all.
const MIN_ZONES: usize = 100_000;

/// Bounds of the revocation state.
#[derive(Clone, Copy, Debug)]
pub struct RevocationConfig {
    /// `REVOCATION_SNAPSHOT_MAX_AGE`: with an older snapshot nothing passes.
    pub max_snapshot_age: Duration,
    /// Time between two snapshots, spread a little.
    pub snapshot_every: Duration,
    /// The least time between two snapshots, however often one is asked for.
    pub snapshot_pause: Duration,
    /// `REVOCATION_MAX_ANCHORS`: how many revoked anchors are held in all. Above it the zone with most of them is refused;
    /// the announcements that name no zone count as one, which stands for all.
    pub max_anchors: usize,
    /// `REVOCATION_MAX_ZONE_ANCHORS`: how many of one zone. Above it that zone is refused.
    pub max_zone_anchors: usize,
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
            max_zone_anchors: 500_000,
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
    /// Time since all of the streams had answered.
    pub contact_age: Option<Duration>,
    /// Time since the last complete snapshot began.
    pub snapshot_age: Option<Duration>,
    /// Why the last snapshot failed; none when it did not.
    pub snapshot_error: Option<Cause>,
    /// Revoked anchors.
    pub anchors: usize,
    /// Zones some or all of whose requests are refused because their revoked anchors do not fit.
    pub zones_over: usize,
    /// Watched requests.
    pub watches: usize,
}

pub(super) struct Inner {
    pub(super) config: RevocationConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Mutex<RevocationCounters>,
    pub(super) registry: Arc<Registry>,
    pub(super) zones: Zones,
    passes: AtomicU32,
    followed: Followed,
    /// The beginning of the last complete snapshot.
    snapshot: LastSeen,
    /// Snapshots are numbered by what they answer: one that begins after ticket n was handed out and
    /// completes answers every ticket up to n.
    wanted: AtomicU64,
    wake: Notify,
    answered: AtomicU64,
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
        let bounds = Bounds {
            all: config.max_anchors,
            zone: config.max_zone_anchors,
            names: config.max_anchors.max(MIN_ZONES),
        };
        let inner = Inner {
            config,
            clock,
            counters: Mutex::default(),
            registry: Arc::default(),
            zones: Zones::new(bounds),
            passes: AtomicU32::new(0),
            followed: Followed::not_yet(),
            snapshot: LastSeen::never(),
            wanted: AtomicU64::new(0),
            wake: Notify::new(),
            answered: AtomicU64::new(0),
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
            contact_age: inner.followed.silence(now.monotonic),
            snapshot_age: inner.snapshot.age(now.monotonic),
            snapshot_error: inner.outcome.borrow().result.clone().err(),
            anchors: inner.zones.held(),
            zones_over: inner.zones.all().iter().filter(|zone| zone.is_short()).count(),
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

    fn standing(&self, mandate: &Mandate<'_>, now: Moment) -> Standing {
        let inner = &self.inner;
        if inner.zones.learn(mandate) {
            inner.want_snapshot();
        }
        // First of all, because what lets anchors go says so before: then one of the next two tells.
        let is_revoked = inner.registry.is_revoked(&mandate.anchors);
        if let Err(cause) = inner.fresh(now) {
            return Standing::Stale(cause);
        }
        if is_revoked {
            return Standing::Revoked;
        }
        match inner.zones.decides(mandate, now) {
            Ok(()) => Standing::Clear,
            Err(undecided) => {
                if undecided.until_next_snapshot {
                    inner.want_snapshot();
                }
                Standing::Stale(undecided.cause)
            }
        }
    }
}

impl Inner {
    /// Whether what is known is recent and complete enough to let anything pass.
    fn fresh(&self, now: Moment) -> Result<(), Cause> {
        match self.followed.silence(now.monotonic) {
            None => return Err(Cause::new("revocation streams: not read yet")),
            Some(age) if age > CONTACT_MAX_AGE => {
                return Err(Cause::new(format!("revocation streams: silent for {age:?}")));
            }
            Some(_) => {}
        }
        if self.answered.load(Ordering::Acquire) < self.followed.required() {
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

    /// Whether requests pass, as far as freshness is concerned.
    pub(super) fn passes(&self) -> bool {
        self.fresh(self.clock.now()).is_ok()
    }

    /// These streams answered, and everything that they held is applied.
    pub(super) fn touch(&self, streams: impl IntoIterator<Item = Stream>) {
        let now = self.clock.now().monotonic;
        self.followed.touch(streams, now);
        // While the machine was suspended, the pause until the next snapshot stood still.
        let age = self.snapshot.age(now);
        if age.is_some_and(|age| age > self.config.max_snapshot_age) {
            self.want_snapshot();
        }
    }

    /// A stream announced a revocation in this zone; the name is empty where it did not say.
    pub(super) async fn announce(&self, kind: Kind, id: &str, zone: &str) {
        let now = self.clock.now();
        let (id, zone, number) = (id.into(), self.zones.named(zone), self.registry.announcement());
        let table = self.registry.tables.of(kind);
        while let Err(full) = table.announce(&id, &zone, number, now.monotonic) {
            if !self.make_room(full, &zone).await {
                return zone.lose(now);
            }
        }
    }

    /// A snapshot found that something is revoked.
    pub(super) async fn record(&self, kind: Kind, id: &AnchorId, zone: &Arc<Zone>, mark: Mark) {
        let table = self.registry.tables.of(kind);
        while !zone.is_over()
            && let Err(full) = table.record(id, zone, mark)
        {
            if !self.make_room(full, zone).await {
                self.shut_out(zone).await;
            }
        }
        if zone.is_over() {
            zone.count();
            table.end_watches(id);
        }
    }

    /// Refuses the zone that keeps the room for others, and lets its anchors go. Returns whether there is such a zone.
    async fn make_room(&self, full: Full, zone: &Arc<Zone>) -> bool {
        let culprit = match full {
            Full::Zone => (!zone.is_over()).then(|| Arc::clone(zone)),
            Full::All => self.zones.largest(),
        };
        if let Some(zone) = &culprit {
            self.shut_out(zone).await;
        }
        culprit.is_some()
    }

    /// Refuses a zone whose anchors do not fit, and lets them go.
    async fn shut_out(&self, zone: &Arc<Zone>) {
        zone.overflow();
        let now = self.clock.now();
        for kind in Kind::ALL {
            self.registry.tables.of(kind).purge(zone, now).await;
        }
    }

    /// The number of the snapshot that begins.
    pub(super) fn next_pass(&self) -> u32 {
        self.passes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The snapshot of this number, which began then and only counted the rows of `over`, is in force. Returns how many
    /// anchors are revoked.
    pub(super) fn complete(&self, number: u32, began: Moment, over: &[Arc<Zone>]) -> usize {
        for zone in self.zones.all() {
            zone.complete(number);
        }
        let mut granted = 0;
        for zone in over {
            if let Some(rows) = zone.readmit(number + 1, granted) {
                granted += rows;
                self.want_snapshot();
            }
        }
        self.zones.tidy(began);
        self.snapshot.set(began.monotonic);
        self.zones.held()
    }

    /// Messages of these streams may have been lost: until [`Inner::complete_from_here`] nothing passes.
    pub(super) fn incomplete(&self, streams: impl IntoIterator<Item = Stream>) {
        self.followed.incomplete(streams);
    }

    /// These streams are followed without a gap from now on: a snapshot that begins now completes them.
    pub(super) fn complete_from_here(&self, streams: impl IntoIterator<Item = Stream>) {
        self.followed.complete_from(streams, self.want_snapshot());
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

    /// A snapshot with this ticket is over.
    pub(super) fn answer(&self, ticket: u64, result: Result<usize, Cause>) {
        match &result {
            Ok(_) => {
                self.counters.lock().reloads += 1;
                self.answered.store(ticket, Ordering::Release);
            }
            Err(_) => self.counters.lock().reload_errors += 1,
        }
        self.outcome.send_replace(Outcome { ticket, result });
    }
}

#[cfg(test)]
mod tests;
