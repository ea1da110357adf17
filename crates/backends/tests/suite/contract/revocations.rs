//! The contract of [`Revocations`].

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Mandate, Moment, Revocations, Standing, WatchState};
use admission::token::Anchors;
use testkit::wait::PATIENCE;
use tokio::time::timeout;

/// What a revocation names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Record,
    Session,
    Edge,
}

/// One implementation with the means to revoke.
pub(crate) trait Bench {
    fn revocations(&self) -> Arc<dyn Revocations>;
    fn now(&self) -> Moment;
    /// Announces a revocation; it may take effect later.
    async fn revoke(&self, anchor: Anchor, id: &str);
}

/// Anchors that share nothing with those of another name.
pub(crate) fn anchors(name: &str) -> [String; 4] {
    ["sid", "root", "session", "edge"].map(|part| format!("{part}-{name}"))
}

/// The same as a mandate carries them.
pub(crate) fn of(ids: &[String; 4]) -> Anchors<'_> {
    let [sid, root, session, edge] = ids;
    Anchors {
        sid: Some(sid),
        root_sid: Some(root),
        agent_session_id: Some(session),
        delegation_edge_id: Some(edge),
    }
}

/// A mandate of `zone-1` that was issued now.
pub(crate) fn mandate(anchors: Anchors<'_>, now: Moment) -> Mandate<'_> {
    let issued = i64::try_from(now.unix.as_secs()).unwrap();
    Mandate {
        zone: "zone-1",
        anchors,
        issued_at: Some(issued),
        expires_at: issued + 900,
    }
}

/// The standing, in a word.
pub(crate) fn standing(revocations: &dyn Revocations, ids: &[String; 4], now: Moment) -> &'static str {
    word(&revocations.standing(&mandate(of(ids), now), now))
}

pub(crate) fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Clear => "clear",
        Standing::Revoked => "revoked",
        Standing::Stale(_) => "stale",
    }
}

/// `bench` is fresh: nothing is revoked and the state is not stale.
pub(crate) async fn revocations_contract(bench: &impl Bench) {
    let port = bench.revocations();
    for (number, anchor) in [Anchor::Record, Anchor::Record, Anchor::Session, Anchor::Edge]
        .into_iter()
        .enumerate()
    {
        let (mine, other) = (
            anchors(&format!("mine-{number}")),
            anchors(&format!("other-{number}")),
        );
        let watch = port.watch(&of(&mine)).unwrap();
        let second = port.watch(&of(&mine)).unwrap();
        let unrelated = port.watch(&of(&other)).unwrap();
        assert_eq!(standing(&*port, &mine, bench.now()), "clear");
        assert_eq!(watch.poll_now(), WatchState::Quiet);

        bench.revoke(anchor, &mine[number]).await;
        for waiter in [watch.revoked(), watch.revoked(), second.revoked()] {
            timeout(PATIENCE, waiter).await.expect("the watch wakes");
        }
        assert_eq!(watch.poll_now(), WatchState::Revoked);
        assert_eq!(standing(&*port, &mine, bench.now()), "revoked", "{anchor:?}");
        assert_eq!(unrelated.poll_now(), WatchState::Quiet);
        assert_eq!(standing(&*port, &other, bench.now()), "clear");
        let pending = timeout(Duration::from_millis(1), unrelated.revoked()).await;
        assert!(pending.is_err(), "an unrelated watch never wakes");
    }
    a_waiter_outlives_its_watch(bench).await;
    a_mandate_without_anchors_is_clear(bench);
}

async fn a_waiter_outlives_its_watch(bench: &impl Bench) {
    let port = bench.revocations();
    let ids = anchors("outlived");
    let watch = port.watch(&of(&ids)).unwrap();
    let waiter = watch.revoked();
    drop(watch);
    bench.revoke(Anchor::Edge, &ids[3]).await;
    let again = port.watch(&of(&ids)).unwrap();
    if standing(&*port, &ids, bench.now()) == "clear" {
        timeout(PATIENCE, again.revoked())
            .await
            .expect("the new watch wakes");
    }
    let pending = timeout(Duration::from_millis(1), waiter).await;
    assert!(pending.is_err(), "the interest ended with the watch");
}

fn a_mandate_without_anchors_is_clear(bench: &impl Bench) {
    let port = bench.revocations();
    let none = Anchors::default();
    assert_eq!(port.watch(&none).unwrap().poll_now(), WatchState::Quiet);
    let standing = port.standing(&mandate(none, bench.now()), bench.now());
    assert!(matches!(standing, Standing::Clear));
}
