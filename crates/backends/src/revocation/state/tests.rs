use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, Mandate, Revocations, Standing, WatchState};
use admission::token::Anchors;
use testkit::clock::FixedClock;

use super::{RevocationConfig, RevocationState, Stream};
use crate::revocation::anchor::Kind;
use crate::revocation::pass::Pass;

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
        bench.state.inner.touch(Stream::ALL);
        bench.state.inner.complete_from_here(Stream::ALL);
        bench.snapshot().await;
        bench
    }

    /// A snapshot that finds these anchors revoked, in these zones, and these active.
    async fn snapshot_of(&self, revoked: &[(Kind, &str, &str)], active: &[(Kind, &str)]) -> usize {
        let ticket = self.state.inner.ticket();
        let pass = Pass::begin(&self.state.inner);
        self.finish(pass, ticket, revoked, active).await
    }

    async fn finish(
        &self,
        mut pass: Pass,
        ticket: u64,
        revoked: &[(Kind, &str, &str)],
        active: &[(Kind, &str)],
    ) -> usize {
        for (kind, id, zone) in revoked {
            pass.row(*kind, id, zone).await;
        }
        for kind in Kind::ALL {
            for (id, number) in (0..).map_while(|shard| pass.asked(kind, shard)).flatten() {
                if active.contains(&(kind, id.to_string().as_str())) {
                    pass.active(kind, &id, number);
                }
            }
        }
        let total = pass.finish().await;
        self.state.inner.answer(ticket, Ok(total));
        total
    }

    async fn snapshot(&self) {
        self.snapshot_of(&[], &[]).await;
    }

    async fn announce(&self, kind: Kind, id: &str) {
        self.announce_in("zone-1", kind, id).await;
    }

    async fn announce_in(&self, zone: &str, kind: Kind, id: &str) {
        self.state.inner.announce(kind, id, zone).await;
    }

    fn standing(&self) -> &'static str {
        self.standing_of("zone-1", SESSION, 0)
    }

    /// Of a mandate of this zone, with these anchors, of this age in seconds.
    fn standing_of(&self, zone: &str, anchors: Anchors<'_>, age: i64) -> &'static str {
        let now = self.clock.now();
        let issued = i64::try_from(now.unix.as_secs()).unwrap() - age;
        let mandate = Mandate {
            zone,
            anchors,
            issued_at: Some(issued),
            expires_at: issued + age + 900,
        };
        match self.state.standing(&mandate, now) {
            Standing::Clear => "clear",
            Standing::Revoked => "revoked",
            Standing::Stale(_) => "stale",
        }
    }
}

#[tokio::test]
async fn state_is_stale_until_streams_and_a_later_snapshot_are_there() {
    let bench = Bench::new(RevocationConfig::default());
    assert_eq!(bench.standing(), "stale");
    bench.snapshot().await;
    assert_eq!(bench.standing(), "stale", "no stream was read");
    bench.state.inner.touch(Stream::ALL);
    assert_eq!(bench.standing(), "stale", "the streams were not caught up with");
    bench.state.inner.complete_from_here(Stream::ALL);
    assert_eq!(
        bench.standing(),
        "stale",
        "the snapshot began before the streams were followed"
    );
    bench.snapshot().await;
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
    bench.state.inner.touch(Stream::ALL);
    assert_eq!(bench.standing(), "clear");
    bench.clock.advance(Duration::from_secs(230));
    bench.state.inner.touch(Stream::ALL);
    assert_eq!(bench.standing(), "stale", "the snapshot is 300.001 s old");
    assert_eq!(
        bench.state.status().snapshot_age,
        Some(Duration::from_millis(300_001))
    );
}

#[tokio::test]
async fn state_after_a_gap_needs_a_new_snapshot() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.state.inner.incomplete(Stream::ALL);
    assert_eq!(bench.standing(), "stale");
    bench.snapshot().await;
    assert_eq!(bench.standing(), "stale", "the gap is still open");
    bench.state.inner.complete_from_here(Stream::ALL);
    bench.snapshot().await;
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
        bench.announce(kind, "somebody else").await;
        assert_eq!(watch.poll_now(), WatchState::Quiet);
        bench.announce(kind, id).await;
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
async fn announced_record_and_edge_outlast_snapshots_until_mandates_have_expired() {
    for kind in [Kind::Record, Kind::Edge] {
        let bench = Bench::fresh(RevocationConfig::default()).await;
        let id = if kind == Kind::Edge { "edge" } else { "record" };
        bench.announce(kind, id).await;
        bench.snapshot_of(&[], &[(kind, id)]).await;
        assert_eq!(bench.standing(), "revoked", "{kind:?}");
        bench.clock.advance(Duration::from_secs(24 * 3600 + 300));
        bench.state.inner.touch(Stream::ALL);
        bench.snapshot().await;
        assert_eq!(bench.standing(), "revoked", "{kind:?}");
        bench.clock.advance(Duration::from_secs(60));
        bench.state.inner.touch(Stream::ALL);
        bench.snapshot().await;
        assert_eq!(bench.standing(), "clear", "{kind:?}");
    }
}

#[tokio::test]
async fn announced_session_is_admitted_again_only_when_the_database_shows_it_active() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.announce(Kind::Session, "session").await;
    bench.snapshot().await;
    assert_eq!(bench.standing(), "revoked", "the database does not know it");
    bench.snapshot_of(&[], &[(Kind::Session, "another")]).await;
    assert_eq!(bench.standing(), "revoked");
    bench.snapshot_of(&[], &[(Kind::Session, "session")]).await;
    assert_eq!(bench.standing(), "clear");
}

#[tokio::test]
async fn session_announced_while_a_snapshot_is_read_stays_revoked() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.announce(Kind::Session, "session").await;
    let ticket = bench.state.inner.ticket();
    let pass = Pass::begin(&bench.state.inner);
    bench.announce(Kind::Session, "session").await;
    bench
        .finish(pass, ticket, &[], &[(Kind::Session, "session")])
        .await;
    assert_eq!(bench.standing(), "revoked");
}

#[tokio::test]
async fn announcement_made_a_minute_into_a_snapshot_outlasts_it() {
    for (kind, id) in [
        (Kind::Record, "record"),
        (Kind::Session, "session"),
        (Kind::Edge, "edge"),
    ] {
        let bench = Bench::fresh(RevocationConfig::default()).await;
        let ticket = bench.state.inner.ticket();
        let pass = Pass::begin(&bench.state.inner);
        bench.clock.advance(Duration::from_secs(60));
        bench.announce(kind, id).await;
        bench.finish(pass, ticket, &[], &[]).await;
        assert_eq!(bench.standing(), "revoked", "{kind:?}");
    }
}

#[tokio::test]
async fn recorded_anchor_stands_while_the_row_says_so() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    let watch = bench.state.watch(&SESSION).unwrap();
    bench
        .snapshot_of(&[(Kind::Session, "session", "zone-1")], &[])
        .await;
    watch.revoked().await;
    assert_eq!((bench.standing(), bench.state.status().anchors), ("revoked", 1));
    bench.snapshot().await;
    assert_eq!((bench.standing(), bench.state.status().anchors), ("clear", 0));
}

mod bounds;
