//! Slots of a cluster that move: whoever takes them cannot vouch for the marks of before.

use std::time::Duration;

use testkit::clock::{FixedClock, START};
use testkit::redis::Cluster;

use crate::support::cluster::{Gateway, PAST_THE_MARGIN, in_slot, slot};
use crate::support::store::issued;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_that_moves_is_a_loss_where_it_goes_whether_or_not_its_keys_come_along() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = Gateway::two(&cluster, &clock).await;
    clock.advance(PAST_THE_MARGIN);
    let moved = slot(&cluster, 0);
    let (kept, gone) = (in_slot("kept", moved), in_slot("gone", moved));
    for jti in [&kept, &gone] {
        assert_eq!(gateways[0].outcome(jti, START + 3).await, "set");
    }
    // The shard loses one of its marks, and nobody notices.
    let () = cluster.ask(0, &["DEL", &format!("seen:jti:{gone}")]).await;
    for (to, name) in [(1, "there"), (0, "back")] {
        clock.advance(Duration::from_secs(10));
        cluster.move_slot(moved, to).await;
        for gateway in &gateways {
            for jti in [&kept, &gone] {
                assert_eq!(gateway.outcome(jti, START + 3).await, "seen", "{name}");
            }
        }
        let fresh = gateways[1].next_that_passes(name, moved).await;
        for gateway in &gateways {
            assert_eq!(
                gateway.outcome(&fresh, clock.unix_seconds()).await,
                "seen",
                "{name}"
            );
        }
        let elsewhere = in_slot(name, slot(&cluster, 2));
        assert_eq!(
            gateways[0].outcome(&elsewhere, START).await,
            "set",
            "it has taken over nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_on_its_way_takes_no_marks_and_holds_up_no_others() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateway = Gateway::start(&cluster, &clock);
    gateway.well().await;
    clock.advance(PAST_THE_MARGIN);
    let moved = slot(&cluster, 0);
    let used = in_slot("used", moved);
    assert_eq!(gateway.outcome(&used, START + 3).await, "set");
    cluster.begin_move(moved, 1).await;
    assert_eq!(
        gateway.set(&issued(&in_slot("new", moved), START + 3)).await,
        "unavailable"
    );
    assert_eq!(
        gateway.set(&issued(&used, START + 3)).await,
        "seen",
        "its mark is still here"
    );
    assert_eq!(
        gateway
            .set(&issued(&in_slot("beside", moved + 1), START + 3))
            .await,
        "set"
    );
    gateway.well().await;
    cluster.end_move(moved, 1).await;
    assert_eq!(gateway.outcome(&used, START + 3).await, "seen");
    gateway.next_that_passes("new", moved).await;
    assert_eq!(
        gateway.outcome(&in_slot("still", moved + 1), START + 3).await,
        "set",
        "it lost nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_whose_keys_move_to_another_is_judged_anew_on_both() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = Gateway::two(&cluster, &clock).await;
    clock.advance(PAST_THE_MARGIN);
    let left = slot(&cluster, 1);
    let used = in_slot("used", left);
    assert_eq!(gateways[0].outcome(&used, START + 3).await, "set");
    clock.advance(Duration::from_secs(10));
    // The last of the fixed slots of the second shard, where its epoch lies.
    let last = cluster.share(1).end() / 256 * 256;
    cluster.move_slot(last, 0).await;
    for gateway in &gateways {
        assert_eq!(gateway.outcome(&used, START + 3).await, "seen");
        for slot in [left, last, slot(&cluster, 0)] {
            gateway.next_that_passes("fresh", slot).await;
        }
        gateway.well().await;
    }
    let keys: Vec<String> = cluster.ask(1, &["KEYS", "caracal:gateway:replay-epoch:*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_slot_of_a_new_shard_takes_marks_there_and_holds_up_no_other() {
    let cluster = Cluster::start_with_room().await;
    let clock = FixedClock::default();
    let before = Gateway::start(&cluster, &clock);
    before.well().await;
    clock.advance(PAST_THE_MARGIN);
    // As `redis-cli --cluster rebalance --cluster-use-empty-masters` begins.
    let moved = *cluster.share(1).start();
    let (used, left) = (in_slot("used", moved), slot(&cluster, 1));
    assert_eq!(before.outcome(&used, START + 3).await, "set");
    cluster.move_slot(moved, 3).await;
    let after = Gateway::start(&cluster, &clock);
    for (gateway, name) in [(&before, "before"), (&after, "after")] {
        assert_eq!(gateway.outcome(&used, START + 3).await, "seen", "{name}");
        let fresh = gateway.next_that_passes(name, moved).await;
        let now = clock.unix_seconds();
        assert_eq!(before.outcome(&fresh, now).await, "seen", "{name}");
        gateway.well().await;
    }
    assert_eq!(
        before.outcome(&in_slot("left", left), START + 3).await,
        "set",
        "it lost nothing"
    );
    assert!(before.marks.fault().is_none());
}
