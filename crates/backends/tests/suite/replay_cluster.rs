//! Replay marks in a cluster: each shard vouches for itself, and for the slots that it has served all the time.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::ReplayMarks;
use testkit::clock::{FixedClock, START};
use testkit::redis::{Cluster, PrivateRedis};
use testkit::wait::until;

use crate::contract::replay::{replay_contract, set};
use crate::support::Replay;
use crate::support::cluster::{Gateway, HASTY, PAST_THE_MARGIN, UNHURRIED, flush, in_slot, slot};
use crate::support::store::issued;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_keeps_the_contract_for_all_gateways_together() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = Gateway::two(&cluster, &clock).await;
    clock.advance(PAST_THE_MARGIN);
    let number = std::sync::atomic::AtomicUsize::new(0);
    replay_contract(|| {
        let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let marks: Arc<dyn ReplayMarks> = Arc::clone(&gateways[next % 2].marks) as _;
        marks
    })
    .await;
}

#[tokio::test]
async fn first_use_of_a_cluster_is_no_loss_and_each_shard_has_an_epoch() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let one = Gateway::start(&cluster, &clock);
    one.well().await;
    let two = Gateway::start(&cluster, &clock);
    two.well().await;
    for node in 0..3 {
        for (gateway, name) in [(&one, "one"), (&two, "two")] {
            let jti = in_slot(name, slot(&cluster, node));
            assert_eq!(gateway.outcome(&jti, START - 10).await, "set");
        }
        let keys: Vec<String> = cluster
            .ask(node, &["KEYS", "caracal:gateway:replay-epoch:*"])
            .await;
        let [key] = keys.as_slice() else {
            panic!("{keys:?}")
        };
        let value: String = cluster.ask(node, &["GET", key]).await;
        let (first, last) = cluster.share(node).into_inner();
        assert!(value.ends_with(&format!("/{first}-{last}")), "{value}");
    }
    assert_eq!((one.marks.stats().losses, two.marks.stats().losses), (0, 0));
}

#[tokio::test]
async fn flushed_shard_refuses_mandates_from_before_and_the_others_go_on() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = Gateway::two(&cluster, &clock).await;
    let id = |name: &str, node| in_slot(name, slot(&cluster, node));
    clock.advance(Duration::from_secs(10));
    for node in 0..3 {
        assert_eq!(gateways[0].outcome(&id("used", node), START + 10).await, "set");
    }
    clock.advance(Duration::from_secs(10));
    flush(&cluster, 0).await;
    for gateway in &gateways {
        for node in 0..3 {
            assert_eq!(
                gateway.outcome(&id("used", node), START + 10).await,
                "seen",
                "{node}"
            );
        }
        assert_eq!(
            gateway.outcome(&id("unused", 0), START + 10).await,
            "seen",
            "nobody can tell"
        );
    }
    assert_eq!(
        gateways[1].outcome(&id("unused", 1), START + 10).await,
        "set",
        "it lost nothing"
    );
    clock.advance(PAST_THE_MARGIN);
    for (gateway, name) in gateways.iter().zip(["one", "two"]) {
        assert_eq!(gateway.outcome(&id(name, 0), START + 23).await, "set");
        assert_eq!(gateway.outcome(&id(name, 0), START + 23).await, "seen");
    }
}

#[tokio::test]
async fn loss_while_every_gateway_was_down_is_noticed_from_the_file() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let id = |name: &str, node| in_slot(name, slot(&cluster, node));
    let remembering = || Gateway::with(&cluster, &clock, UNHURRIED, 0, memory.clone());
    let before = remembering();
    before.well().await;
    for node in 0..3 {
        assert_eq!(before.outcome(&id("used", node), START).await, "set");
    }
    let lines = std::fs::read_to_string(directory.path().join("replay-epoch")).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    drop(before);
    flush(&cluster, 0).await;
    flush(&cluster, 1).await;
    flush(&cluster, 2).await;
    let after = remembering();
    for node in 0..3 {
        assert_eq!(after.outcome(&id("used", node), START).await, "seen", "{node}");
    }
    clock.advance(PAST_THE_MARGIN);
    for node in 0..3 {
        assert_eq!(after.outcome(&id("new", node), START + 3).await, "set", "{node}");
    }
}

#[tokio::test]
async fn another_shape_of_redis_has_none_of_the_marks_that_were_made_before() {
    let (cluster, server) = (Cluster::start_sized(3, 0).await, PrivateRedis::start().await);
    let clock = FixedClock::default();
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let used = in_slot("used", slot(&cluster, 0));
    let single = Replay::remembering(&server.url(), memory.clone(), &clock);
    assert_eq!(set(single.port(), &issued(&used, START)).await, "set");
    drop(single);
    let moved = Gateway::with(&cluster, &clock, UNHURRIED, 0, memory.clone());
    assert_eq!(moved.outcome(&used, START).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    let later = in_slot("later", slot(&cluster, 0));
    assert_eq!(moved.outcome(&later, START + 3).await, "set");
    drop(moved);
    clock.advance(PAST_THE_MARGIN);
    let back = Replay::remembering(&server.url(), memory, &clock);
    assert_eq!(set(back.port(), &issued(&later, START + 3)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(back.port(), &issued("new", START + 9)).await, "set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_lets_no_mandate_pass_twice_and_is_recovered_from() {
    let mut cluster = Cluster::start().await;
    let clock = FixedClock::default();
    let gateways = [0, 0].map(|replicas| Gateway::with(&cluster, &clock, HASTY, replicas, None));
    gateways[0].well().await;
    gateways[1].well().await;
    clock.advance(PAST_THE_MARGIN);
    let (lost, other) = (slot(&cluster, 0), slot(&cluster, 1));
    let mut passed = Vec::new();
    for number in 0..50 {
        let jti = in_slot(
            &format!("before-{number}"),
            if number % 2 == 0 { lost } else { other },
        );
        if gateways[number % 2].set(&issued(&jti, START + 3)).await == "set" {
            passed.push(jti);
        }
    }
    assert!(!passed.is_empty());
    cluster.nodes[0].kill().await;
    cluster.promoted(lost, 0).await;
    for gateway in &gateways {
        let again = gateway.next_that_passes("after", lost).await;
        for other in &gateways {
            assert_eq!(other.outcome(&again, clock.unix_seconds()).await, "seen");
        }
        for jti in &passed {
            assert_eq!(gateway.outcome(jti, START + 3).await, "seen", "{jti}");
        }
        gateway.well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_was_demoted_and_is_back_is_a_loss() {
    let cluster = Cluster::start().await;
    let clock = FixedClock::default();
    let gateways = Gateway::two(&cluster, &clock).await;
    clock.advance(PAST_THE_MARGIN);
    let slot = slot(&cluster, 0);
    let used = in_slot("used", slot);
    assert_eq!(gateways[0].outcome(&used, START + 3).await, "set");
    clock.advance(Duration::from_secs(10));
    for (primary, name) in [(3, "there"), (0, "back")] {
        cluster.fail_over_to(primary).await;
        // Whatever the replica had, it cannot vouch for it.
        let () = cluster.ask(primary, &["DEL", &format!("seen:jti:{used}")]).await;
        for gateway in &gateways {
            assert_eq!(gateway.outcome(&used, START + 3).await, "seen", "{name}");
        }
        let fresh = gateways[1].next_that_passes(name, slot).await;
        assert_eq!(gateways[0].outcome(&fresh, clock.unix_seconds()).await, "seen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_confirmed_by_the_replicas_of_their_shard() {
    let mut cluster = Cluster::start().await;
    let clock = FixedClock::default();
    let gateway = Gateway::with(&cluster, &clock, UNHURRIED, 1, None);
    let hasty = Gateway::with(&cluster, &clock, HASTY, 1, None);
    gateway.well().await;
    clock.advance(PAST_THE_MARGIN);
    for node in 0..3 {
        let jti = in_slot("confirmed", slot(&cluster, node));
        assert_eq!(gateway.outcome(&jti, START + 3).await, "set");
    }
    cluster.nodes[3].kill().await;
    until("the missing replica to show", async || {
        let fault = hasty.marks.fault()?.to_string();
        (fault.contains("REPLAY_MIN_REPLICAS") && fault.contains("(the shard of slot ")).then_some(())
    })
    .await;
    let unconfirmed = in_slot("unconfirmed", slot(&cluster, 0));
    assert_eq!(hasty.set(&issued(&unconfirmed, START + 3)).await, "unavailable");
    let elsewhere = in_slot("elsewhere", slot(&cluster, 1));
    assert_eq!(gateway.outcome(&elsewhere, START + 3).await, "set");
    cluster.nodes[3].restart().await;
    gateway.next_that_passes("back", slot(&cluster, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_that_does_not_answer_holds_up_no_releases_of_the_others() {
    let mut cluster = Cluster::start_sized(3, 0).await;
    for node in 0..3 {
        let partly = ["CONFIG", "SET", "cluster-require-full-coverage", "no"];
        let () = cluster.ask(node, &partly).await;
    }
    let clock = FixedClock::default();
    let gateway = Gateway::start(&cluster, &clock);
    gateway.well().await;
    clock.advance(PAST_THE_MARGIN);
    let kept = issued(&in_slot("kept", slot(&cluster, 1)), START + 3);
    assert_eq!(set(&*gateway.marks, &kept).await, "set");
    cluster.nodes[0].pause();
    for number in 0..640 {
        let jti = in_slot(&format!("hung-{number}"), slot(&cluster, 0));
        gateway.marks.release(issued(&jti, START + 3));
    }
    gateway.marks.release(kept.clone());
    until("the other mark to be released", async || {
        (gateway.set(&kept).await == "set").then_some(())
    })
    .await;
    cluster.nodes[0].resume();
}
