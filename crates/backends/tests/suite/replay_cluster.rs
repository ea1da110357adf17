//! Replay marks in a cluster: each shard vouches for itself, and for the slots that it has served all the time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use admission::ports::{Mark, ReplayMarks};
use backends::component::Component;
use backends::redis::{RedisConfig, RedisConnector, RedisServers, slot_of};
use backends::replay::{RedisReplay, ReplayConfig};
use testkit::clock::{FixedClock, START};
use testkit::redis::Cluster;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::contract::replay::{replay_contract, set};
use crate::support::store::issued;
use crate::support::{Background, redis_config};

/// Where an answer is expected, on a busy machine too, and where none is.
const UNHURRIED: Duration = Duration::from_secs(15);
const HASTY: Duration = Duration::from_millis(500);
/// The margin of a birth, and a second more.
const PAST_THE_MARGIN: Duration = Duration::from_secs(3);

struct Gateway {
    marks: Arc<RedisReplay>,
    clock: FixedClock,
    _background: Background,
}

impl Gateway {
    fn start(cluster: &Cluster, clock: &FixedClock) -> Self {
        Self::with(cluster, clock, UNHURRIED, 0, None)
    }

    fn with(
        cluster: &Cluster,
        clock: &FixedClock,
        timeout: Duration,
        min_replicas: u32,
        memory: Option<PathBuf>,
    ) -> Self {
        let mut component = Component::new(());
        let redis = component.add(RedisConnector::component(&config(cluster)).unwrap());
        let replay = ReplayConfig {
            timeout,
            memory,
            min_replicas,
        };
        let marks = component.add(RedisReplay::component(redis, replay, Arc::new(clock.clone())));
        let mut background = Background::default();
        for task in component.tasks {
            background.run((task.run)(CancellationToken::new()));
        }
        Self {
            marks,
            clock: clock.clone(),
            _background: background,
        }
    }

    async fn well(&self) {
        until("marks to be possible", async || {
            self.marks.fault().is_none().then_some(())
        })
        .await;
    }

    async fn set(&self, mark: &Mark) -> &'static str {
        set(&*self.marks, mark).await
    }

    /// How a mandate ends that was issued at this second, once the store answers.
    async fn outcome(&self, jti: &str, issued_at: u64) -> &'static str {
        until("the store to answer", async || {
            let outcome = self.set(&issued(jti, issued_at)).await;
            (outcome != "unavailable").then_some(outcome)
        })
        .await
    }

    /// Presents mandates of this slot that are issued now, seconds apart, until one passes. Its id.
    async fn next_that_passes(&self, name: &str, slot: u16) -> String {
        let mut number = 0;
        until("a mandate to pass", async || {
            number += 1;
            self.clock.advance(Duration::from_secs(5));
            let jti = in_slot(&format!("{name}-{number}"), slot);
            let now = self.clock.unix_seconds();
            (self.set(&issued(&jti, now)).await == "set").then_some(jti)
        })
        .await
    }
}

fn config(cluster: &Cluster) -> RedisConfig {
    let login = RedisConnectionInfo::default().set_password(cluster.nodes[0].password());
    let seed = |port| {
        let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), port);
        let address = address.into_connection_info().unwrap();
        address.set_redis_settings(login.clone())
    };
    RedisConfig {
        servers: RedisServers::Cluster {
            seeds: cluster.nodes.iter().map(|node| seed(node.port())).collect(),
        },
        ..redis_config("redis://unused")
    }
}

/// The id of a mandate whose mark lies in this slot.
fn in_slot(name: &str, slot: u16) -> String {
    let mut tags = (0..u32::MAX).map(|tag| tag.to_string());
    let tag = tags.find(|tag| slot_of(tag.as_bytes()) == slot).unwrap();
    format!("{name}{{{tag}}}")
}

/// A slot of the shard that this node serves at the beginning, which holds no other keys.
fn slot(cluster: &Cluster, node: usize) -> u16 {
    cluster.share(node).start() + 77
}

async fn flush(cluster: &Cluster, node: usize) {
    let () = cluster.ask(node, &["FLUSHALL"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_keeps_the_contract_for_all_gateways_together() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = [Gateway::start(&cluster, &clock), Gateway::start(&cluster, &clock)];
    gateways[0].well().await;
    gateways[1].well().await;
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
    let gateways = [Gateway::start(&cluster, &clock), Gateway::start(&cluster, &clock)];
    let id = |name: &str, node| in_slot(name, slot(&cluster, node));
    gateways[0].well().await;
    gateways[1].well().await;
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
    let gateways = [Gateway::start(&cluster, &clock), Gateway::start(&cluster, &clock)];
    gateways[0].well().await;
    gateways[1].well().await;
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
async fn slot_that_moves_is_a_loss_where_it_goes_whether_or_not_its_keys_come_along() {
    let cluster = Cluster::start_sized(3, 0).await;
    let clock = FixedClock::default();
    let gateways = [Gateway::start(&cluster, &clock), Gateway::start(&cluster, &clock)];
    gateways[0].well().await;
    gateways[1].well().await;
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
    assert!(gateway.marks.fault().is_none());
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
    let gateways = [Gateway::start(&cluster, &clock), Gateway::start(&cluster, &clock)];
    gateways[0].well().await;
    gateways[1].well().await;
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
    let fault = until("the missing replica to show", async || hasty.marks.fault())
        .await
        .to_string();
    assert!(
        fault.contains("REPLAY_MIN_REPLICAS") && fault.contains("(the shard of slot "),
        "{fault}"
    );
    let unconfirmed = in_slot("unconfirmed", slot(&cluster, 0));
    assert_eq!(hasty.set(&issued(&unconfirmed, START + 3)).await, "unavailable");
    let elsewhere = in_slot("elsewhere", slot(&cluster, 1));
    assert_eq!(gateway.outcome(&elsewhere, START + 3).await, "set");
    cluster.nodes[3].restart().await;
    gateway.next_that_passes("back", slot(&cluster, 0)).await;
}
