use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, Revocations, Standing, WatchState};
use admission::token::Anchors;
use testkit::clock::FixedClock;

use super::{RevocationConfig, RevocationState};
use crate::revocation::anchor::{Kind, PerKind};
use crate::revocation::snapshot::Snapshot;

const SESSION: Anchors<'static> = Anchors {
    sid: Some("record"),
    root_sid: Some("root"),
    agent_session_id: Some("session"),
    delegation_edge_id: Some("edge"),
};

struct Bench {
    clock: FixedClock,
    state: RevocationState,
}

impl Bench {
    fn new(config: RevocationConfig) -> Self {
        let clock = FixedClock::default();
        let state = RevocationState::new(config, Arc::new(clock.clone()));
        Self { clock, state }
    }

    /// The streams are followed and a snapshot is loaded.
    async fn fresh(config: RevocationConfig) -> Self {
        let bench = Self::new(config);
        bench.state.inner.touch();
        bench.state.inner.complete_from_here();
        bench.snapshot(Snapshot::default()).await;
        bench
    }

    async fn snapshot(&self, snapshot: Snapshot) {
        let inner = &self.state.inner;
        let (ticket, began) = (inner.ticket(), self.clock.now());
        let asked = inner.asked(began);
        let total = inner.take_over(snapshot, &asked, began).await;
        inner.answer(ticket, Ok(total));
    }

    fn standing(&self) -> &'static str {
        match self.state.standing(&SESSION, self.clock.now()) {
            Standing::Clear => "clear",
            Standing::Revoked => "revoked",
            Standing::Stale(_) => "stale",
        }
    }
}

fn active(id: &str) -> Snapshot {
    Snapshot {
        active: PerKind {
            sessions: [id.to_owned()].into(),
            ..PerKind::default()
        },
        ..Snapshot::default()
    }
}

#[tokio::test]
async fn state_is_stale_until_streams_and_a_later_snapshot_are_there() {
    let bench = Bench::new(RevocationConfig::default());
    assert_eq!(bench.standing(), "stale");
    bench.snapshot(Snapshot::default()).await;
    assert_eq!(bench.standing(), "stale", "no stream was read");
    bench.state.inner.touch();
    assert_eq!(bench.standing(), "stale", "the streams were not caught up with");
    bench.state.inner.complete_from_here();
    assert_eq!(
        bench.standing(),
        "stale",
        "the snapshot began before the streams were followed"
    );
    bench.snapshot(Snapshot::default()).await;
    assert_eq!(bench.standing(), "clear");
    assert!(bench.state.status().stale.is_none());
}

#[tokio::test]
async fn state_turns_stale_with_silent_streams_and_with_an_old_snapshot() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.clock.advance(Duration::from_secs(70));
    assert_eq!(bench.standing(), "clear");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.standing(), "stale");
    bench.state.inner.touch();
    assert_eq!(bench.standing(), "clear");
    bench.clock.advance(Duration::from_secs(230));
    bench.state.inner.touch();
    assert_eq!(bench.standing(), "stale", "the snapshot is 300.001 s old");
    assert_eq!(
        bench.state.status().snapshot_age,
        Some(Duration::from_millis(300_001))
    );
}

#[tokio::test]
async fn state_after_a_gap_needs_a_new_snapshot() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.state.inner.incomplete();
    assert_eq!(bench.standing(), "stale");
    bench.snapshot(Snapshot::default()).await;
    assert_eq!(bench.standing(), "stale", "the gap is still open");
    bench.state.inner.complete_from_here();
    bench.snapshot(Snapshot::default()).await;
    assert_eq!(bench.standing(), "clear");
}

#[tokio::test]
async fn state_wakes_the_watch_of_each_kind() {
    for (kind, id) in [
        (Kind::Record, "record"),
        (Kind::Record, "root"),
        (Kind::Session, "session"),
        (Kind::Edge, "edge"),
    ] {
        let bench = Bench::fresh(RevocationConfig::default()).await;
        let watch = bench.state.watch(&SESSION).unwrap();
        assert_eq!(watch.poll_now(), WatchState::Quiet);
        bench.state.inner.announce(kind, "somebody else");
        assert_eq!(watch.poll_now(), WatchState::Quiet);
        bench.state.inner.announce(kind, id);
        watch.revoked().await;
        assert_eq!(watch.poll_now(), WatchState::Revoked);
        assert_eq!(bench.standing(), "revoked", "{kind:?} {id}");
    }
}

#[tokio::test]
async fn state_forgets_a_dropped_watch() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    let watches: Vec<_> = (0..10).map(|_| bench.state.watch(&SESSION).unwrap()).collect();
    assert_eq!(bench.state.status().watches, 10);
    drop(watches);
    assert_eq!(bench.state.status().watches, 0);
    for kind in [Kind::Record, Kind::Session, Kind::Edge] {
        assert_eq!(bench.state.inner.registry.tables.of(kind).watched(), 0);
    }
}

#[tokio::test]
async fn state_refuses_more_watches_than_its_bound() {
    let bench = Bench::fresh(RevocationConfig {
        max_watches: 1,
        ..RevocationConfig::default()
    })
    .await;
    let first = bench.state.watch(&SESSION).unwrap();
    assert!(bench.state.watch(&SESSION).is_err());
    drop(first);
    assert!(bench.state.watch(&SESSION).is_ok());
}

#[tokio::test]
async fn state_that_cannot_hold_a_revocation_lets_nothing_pass() {
    let bench = Bench::fresh(RevocationConfig {
        max_anchors: 1,
        ..RevocationConfig::default()
    })
    .await;
    bench.state.inner.announce(Kind::Edge, "one");
    assert_eq!(bench.standing(), "clear");
    bench.state.inner.announce(Kind::Edge, "two");
    assert_eq!(bench.standing(), "stale");
}

#[tokio::test]
async fn announced_record_and_edge_outlast_snapshots_until_mandates_have_expired() {
    for kind in [Kind::Record, Kind::Edge] {
        let bench = Bench::fresh(RevocationConfig::default()).await;
        let id = if kind == Kind::Edge { "edge" } else { "record" };
        bench.state.inner.announce(kind, id);
        bench.snapshot(active(id)).await;
        assert_eq!(bench.standing(), "revoked", "{kind:?}");
        bench.clock.advance(Duration::from_secs(24 * 3600 + 299));
        bench.state.inner.touch();
        bench.snapshot(Snapshot::default()).await;
        assert_eq!(bench.standing(), "revoked", "{kind:?}");
        bench.clock.advance(Duration::from_secs(2));
        bench.state.inner.touch();
        bench.snapshot(Snapshot::default()).await;
        assert_eq!(bench.standing(), "clear", "{kind:?}");
    }
}

#[tokio::test]
async fn announced_session_is_admitted_again_only_when_the_database_shows_it_active() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.state.inner.announce(Kind::Session, "session");
    bench.snapshot(Snapshot::default()).await;
    assert_eq!(bench.standing(), "revoked", "the database does not know it");
    bench.snapshot(active("another")).await;
    assert_eq!(bench.standing(), "revoked");
    bench.snapshot(active("session")).await;
    assert_eq!(bench.standing(), "clear");
}

#[tokio::test]
async fn session_announced_while_a_snapshot_is_read_stays_revoked() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    let inner = &bench.state.inner;
    inner.announce(Kind::Session, "session");
    let began = bench.clock.now();
    let asked = inner.asked(began);
    inner.announce(Kind::Session, "session");
    inner.take_over(active("session"), &asked, began).await;
    assert_eq!(bench.standing(), "revoked");
}

#[tokio::test]
async fn recorded_anchor_stands_while_the_row_says_so() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    let watch = bench.state.watch(&SESSION).unwrap();
    let suspended = Snapshot {
        revoked: PerKind {
            sessions: vec!["session".to_owned()],
            ..PerKind::default()
        },
        ..Snapshot::default()
    };
    bench.snapshot(suspended).await;
    watch.revoked().await;
    assert_eq!((bench.standing(), bench.state.status().anchors), ("revoked", 1));
    bench.snapshot(Snapshot::default()).await;
    assert_eq!((bench.standing(), bench.state.status().anchors), ("clear", 0));
}
