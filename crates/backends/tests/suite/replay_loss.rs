//! A store that forgets its marks cannot vouch for mandates from before.

use std::time::Duration;

use admission::ports::Mark;
use testkit::clock::{FixedClock, START};
use testkit::proxy::FaultProxy;
use testkit::redis::PrivateRedis;

use crate::contract::replay::{mark, set};
use crate::support::Replay;
use crate::support::store::{command, epoch, flush, issued, settled};

/// The margin of a birth, and a second more.
const PAST_THE_MARGIN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn first_use_is_no_loss() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let clock = FixedClock::default();
    let one = Replay::remembering(&server.url(), memory.clone(), &clock);
    let two = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(one.port(), &issued("a", START - 10)).await, "set");
    assert_eq!(set(two.port(), &issued("b", START - 10)).await, "set");
    let third = Replay::remembering(&server.url(), memory, &clock);
    assert_eq!(set(third.port(), &issued("c", START - 10)).await, "set");
    assert_eq!((one.marks.loss(), third.marks.loss()), (None, None));
    assert_eq!((one.marks.stats().losses, third.marks.stats().losses), (0, 0));
}

#[tokio::test]
async fn loss_counts_once_and_not_again_after_a_restart() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let clock = FixedClock::default();
    let before = Replay::remembering(&server.url(), memory.clone(), &clock);
    assert_eq!(set(before.port(), &issued("a", START - 10)).await, "set");
    for jti in ["b", "c"] {
        flush(&server).await;
        assert_eq!(set(before.port(), &issued(jti, START - 10)).await, "seen");
        assert_eq!(set(before.port(), &issued(jti, START - 10)).await, "seen");
    }
    assert_eq!(before.marks.stats().losses, 2);
    let after = Replay::remembering(&server.url(), memory, &clock);
    assert_eq!(set(after.port(), &issued("d", START - 10)).await, "seen");
    assert_eq!(after.marks.stats().losses, 0, "known before");
}

#[tokio::test]
async fn flush_refuses_mandates_from_before_it_on_every_replica() {
    let server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let replicas = [(); 2].map(|()| Replay::remembering(&server.url(), None, &clock));
    for (number, replica) in replicas.iter().enumerate() {
        let mark = issued(&format!("before-{number}"), START);
        assert_eq!(set(replica.port(), &mark).await, "set");
    }
    clock.advance(Duration::from_secs(10));
    flush(&server).await;
    for (number, replica) in replicas.iter().enumerate() {
        let used = issued(&format!("before-{number}"), START);
        assert_eq!(set(replica.port(), &used).await, "seen", "its mark is forgotten");
        let unused = issued(&format!("unused-{number}"), START + 10);
        assert_eq!(set(replica.port(), &unused).await, "seen", "nobody can tell");
        let undated = Mark {
            issued_at: None,
            ..mark(&format!("undated-{number}"), "a")
        };
        assert_eq!(set(replica.port(), &undated).await, "seen");
        let loss = replica.marks.loss().unwrap();
        assert_eq!(
            loss.unix_seconds(),
            START + 12,
            "two seconds for clocks that differ"
        );
    }
    clock.advance(Duration::from_secs(3));
    for (number, replica) in replicas.iter().enumerate() {
        let within = issued(&format!("within-{number}"), START + 12);
        assert_eq!(set(replica.port(), &within).await, "seen");
        let later = issued(&format!("later-{number}"), START + 13);
        assert_eq!(set(replica.port(), &later).await, "set");
    }
    clock.advance(Duration::from_secs(24 * 3600 + 61));
    let expired = issued("long-expired", START);
    assert_eq!(
        set(replicas[0].port(), &expired).await,
        "set",
        "the loss has passed"
    );
}

#[tokio::test]
async fn restarted_server_is_a_loss() {
    let mut server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let replay = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    server.restart().await;
    assert_eq!(settled(&replay, &issued("b", START)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(settled(&replay, &issued("c", START + 3)).await, "set");
}

#[tokio::test]
async fn another_primary_with_a_copy_of_the_epoch_is_a_loss() {
    let (first, second) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let clock = FixedClock::default();
    let replay = Replay::remembering(&first.url(), None, &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    let () = redis::cmd("SET")
        .arg("caracal:gateway:replay-epoch")
        .arg(epoch(&first).await)
        .query_async(&mut second.connection().await)
        .await
        .unwrap();
    let moved = Replay::remembering(&second.url(), None, &clock);
    assert_eq!(set(moved.port(), &issued("a", START)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(moved.port(), &issued("b", START + 3)).await, "set");
}

#[tokio::test]
async fn loss_while_every_gateway_was_down_is_noticed_from_the_file() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    let clock = FixedClock::default();
    let before = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(before.port(), &issued("a", START)).await, "set");
    drop(before);
    flush(&server).await;
    let after = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(after.port(), &issued("a", START)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(after.port(), &issued("b", START + 3)).await, "set");
    drop(after);
    let next = Replay::remembering(&server.url(), Some(memory), &clock);
    assert_eq!(set(next.port(), &issued("c", START)).await, "seen", "still known");
}

#[tokio::test]
async fn return_to_a_primary_that_was_never_demoted_is_a_loss_also_after_a_restart() {
    let (left, promoted) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    let clock = FixedClock::default();
    let start = |server: &PrivateRedis| Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    let before = start(&left);
    assert_eq!(set(before.port(), &issued("a", START)).await, "set");
    flush(&left).await;
    assert_eq!(set(before.port(), &issued("a", START)).await, "seen");
    drop(before);
    clock.advance(Duration::from_secs(10));

    let between = start(&promoted);
    assert_eq!(set(between.port(), &issued("a", START)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(between.port(), &issued("b", START + 13)).await, "set");
    drop(between);

    let back = start(&left);
    assert_eq!(set(back.port(), &issued("c", START)).await, "seen");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(back.port(), &issued("b", START + 13)).await, "seen");
    assert_eq!(set(back.port(), &issued("d", START + 16)).await, "set");
}

#[tokio::test]
async fn gateway_without_memory_does_not_hide_the_loss_from_one_with_it() {
    let server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let old = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(old.port(), &issued("a", START)).await, "set");
    flush(&server).await;
    let new = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(
        set(new.port(), &issued("fresh", START)).await,
        "set",
        "it knows of nothing before"
    );
    assert_eq!(set(old.port(), &issued("a", START)).await, "seen");
    assert_eq!(
        set(new.port(), &issued("b", START)).await,
        "seen",
        "it has learnt of the loss"
    );
}

#[tokio::test]
async fn loss_is_noticed_by_a_replica_that_set_no_mark_yet() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let [one, idle] = [(); 2].map(|()| Replay::remembering(&server.url(), None, &clock));
    idle.well().await;
    for jti in ["a", "b"] {
        assert_eq!(set(one.port(), &issued(jti, START)).await, "set");
    }
    flush(&server).await;
    for jti in ["a", "b"] {
        assert_eq!(set(idle.port(), &issued(jti, START)).await, "seen");
    }
}

#[tokio::test]
async fn mandate_of_an_issuer_whose_clock_is_ahead_is_refused_after_a_loss() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let [one, other] = [(); 2].map(|()| Replay::remembering(&server.url(), None, &clock));
    other.well().await;
    assert_eq!(set(one.port(), &issued("ahead", START + 8)).await, "set");
    // The lead stands in the store before the mandate has passed, and every look reads it.
    assert_eq!(set(other.port(), &issued("any", START)).await, "set");
    flush(&server).await;
    clock.advance(PAST_THE_MARGIN);
    for replica in [&other, &one] {
        assert_eq!(settled(replica, &issued("ahead", START + 8)).await, "seen");
    }
    let loss = other.marks.loss().unwrap().unix_seconds();
    assert!((START + 10..=START + 13).contains(&loss), "{loss}");
    clock.advance(Duration::from_secs(11));
    assert_eq!(set(one.port(), &issued("later", START + 14)).await, "set");
}

#[tokio::test]
async fn demotion_and_return_within_a_connection_is_a_loss() {
    let server = PrivateRedis::start().await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await;
    let clock = FixedClock::default();
    let replay = Replay::remembering(&server.url_through(proxy.port()), None, &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    let (before, made) = (epoch(&server).await, proxy.accepted());
    // Back before anybody sees it: the process, its connections and its keys are the same.
    let () = redis::pipe()
        .atomic()
        .add_command(command(&["REPLICAOF", "127.0.0.1", "1"]))
        .add_command(command(&["REPLICAOF", "NO", "ONE"]))
        .ignore()
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    assert_eq!(set(replay.port(), &issued("b", START)).await, "seen");
    assert_ne!(epoch(&server).await, before);
    assert_eq!(proxy.accepted(), made, "over the same connection");
    clock.advance(PAST_THE_MARGIN);
    assert_eq!(set(replay.port(), &issued("c", START + 3)).await, "set");
}

#[tokio::test]
async fn epoch_of_an_earlier_build_is_read_without_a_loss() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let info: String = server.ask(&["INFO", "server"]).await;
    let run = info.split_once("run_id:").unwrap().1.split('\r').next().unwrap();
    let earlier = format!("0123456789abcdef:0:{run}");
    let () = server
        .ask(&["SET", "caracal:gateway:replay-epoch", &earlier])
        .await;
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    std::fs::write(&memory, "0123456789abcdef").unwrap();
    let replay = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    assert_eq!(replay.marks.loss(), None);
    let now = epoch(&server).await;
    assert!(
        now.starts_with("0123456789abcdef.") && now.ends_with(&format!(":0:{run}")),
        "{now}"
    );
    assert!(
        std::fs::read_to_string(memory)
            .unwrap()
            .starts_with("0123456789abcdef.")
    );
}
