//! One snapshot, taken over row by row while it is read.
//!
//! What it finds revoked is in force at once; what it does not find any more goes when it is complete. So the state
//! never needs room for two snapshots, and one that fails half-way has done no harm.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use admission::limits::Limits;
use admission::ports::Moment;

use super::anchor::{AnchorId, Kind};
use super::state::Inner;
use super::table::{Mark, Revoked};
use super::zones::{SKEW, Zone};

/// How far back revoked rows matter at most.
pub(super) const MAX_WINDOW: Duration = Limits::MAX_MANDATE_LIFE.saturating_add(SKEW);

/// A snapshot that is being read.
pub(super) struct Pass {
    state: Arc<Inner>,
    number: u32,
    began: Moment,
    /// The last announcement from before it began.
    announced: u32,
    /// The zones of which mandates were seen, and how far back their rows matter.
    windows: Vec<(Arc<Zone>, Duration)>,
    /// The zones whose rows are counted, and not held.
    over: Vec<Arc<Zone>>,
    /// The zone of the last row: the next one often has the same.
    zone: Arc<Zone>,
}

impl Pass {
    /// Begins before the database is asked.
    pub(super) fn begin(state: &Arc<Inner>) -> Self {
        let zones = state.zones.all();
        let over: Vec<_> = zones.iter().filter(|zone| zone.is_over()).cloned().collect();
        for zone in &over {
            zone.begin_count();
        }
        let windows = zones.into_iter().filter(|zone| zone.was_seen()).map(|zone| {
            let window = zone.window();
            (zone, window)
        });
        Self {
            number: state.next_pass(),
            began: state.clock.now(),
            announced: state.registry.announced(),
            windows: windows.collect(),
            over,
            zone: state.zones.named(""),
            state: Arc::clone(state),
        }
    }

    /// How far back the rows of zones matter, in seconds: a JSON object. Those of others matter for [`MAX_WINDOW`].
    pub(super) fn windows(&self) -> String {
        let windows = self.windows.iter();
        let seconds = |(zone, window): &(Arc<Zone>, Duration)| {
            (zone.name().to_owned(), (*window + SKEW).as_secs().into())
        };
        serde_json::Value::Object(windows.map(seconds).collect()).to_string()
    }

    /// A row that says that something is revoked.
    pub(super) async fn row(&mut self, kind: Kind, id: &str, zone: &str) {
        if self.zone.name() != zone {
            self.zone = self.state.zones.named(zone);
        }
        let (id, mark) = (id.into(), self.mark());
        self.state.record(kind, &id, &self.zone, mark).await;
    }

    /// The announced anchors of one shard of which it matters whether they are active: a session is admitted again,
    /// mandates that rest on a record or an edge are still being issued. None past the last shard.
    pub(super) fn asked(&self, kind: Kind, shard: usize) -> Option<Vec<(AnchorId, NonZeroU32)>> {
        let (mark, now) = (self.mark(), self.began.monotonic);
        let matters = |revoked: &Revoked| {
            revoked.is_announced_alone(self.announced, mark)
                && (kind == Kind::Session
                    || revoked.is_unrecorded() && revoked.announced_longer_ago(MAX_WINDOW, now))
        };
        self.state.registry.tables.of(kind).announced(shard, matters)
    }

    /// An anchor that was asked about is active.
    pub(super) fn active(&self, kind: Kind, id: &AnchorId, number: NonZeroU32) {
        let table = self.state.registry.tables.of(kind);
        match kind {
            Kind::Session => table.withdraw(id, number),
            Kind::Record | Kind::Edge => table.renew(id, number, self.began.monotonic),
        }
    }

    /// Everything was read. Returns how many anchors are revoked now.
    pub(super) async fn finish(self) -> usize {
        for (zone, window) in &self.windows {
            zone.rows_since(self.began, *window);
        }
        let holds = |revoked: &Revoked| {
            // What the database has recorded it can tell again.
            let life = match revoked.is_unrecorded() {
                true => MAX_WINDOW,
                false => revoked.zone().window() + SKEW,
            };
            !revoked.announced_longer_ago(life, self.began.monotonic)
        };
        for kind in Kind::ALL {
            self.state
                .registry
                .tables
                .of(kind)
                .sweep(self.mark(), holds)
                .await;
        }
        self.state.complete(self.number, self.began, &self.over)
    }

    fn mark(&self) -> Mark {
        Mark::of(self.number)
    }
}
