//! What servers say of themselves, and what follows where they may not be asked.

use std::time::Duration;

use testkit::clock::{FixedClock, START};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use crate::contract::replay::set;
use crate::support::Replay;
use crate::support::store::{issued, settled};

/// A server with a user that may do everything but ask for `INFO`.
async fn server() -> PrivateRedis {
    PrivateRedis::start_configured("user limited on >secret ~* &* +@all -@dangerous\n").await
}

fn limited(server: &PrivateRedis, clock: &FixedClock) -> Replay {
    let url = format!("redis://limited:secret@127.0.0.1:{}/0", server.port());
    Replay::remembering(&url, None, clock)
}

#[tokio::test]
async fn restart_from_an_older_snapshot_is_a_loss_also_without_the_right_to_info() {
    let (mut server, clock) = (server().await, FixedClock::default());
    let replay = limited(&server, &clock);
    replay.well().await;
    let () = server.ask(&["SAVE"]).await;
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    server.restart().await;
    assert_eq!(settled(&replay, &issued("a", START)).await, "seen");
    clock.advance(Duration::from_secs(3));
    assert_eq!(settled(&replay, &issued("b", START + 3)).await, "set");
}

#[tokio::test]
async fn connections_that_come_and_go_without_the_right_to_info_do_not_refuse_for_ever() {
    let (server, clock) = (server().await, FixedClock::default());
    let replicas = [limited(&server, &clock), limited(&server, &clock), {
        Replay::remembering(&server.url(), None, &clock)
    }];
    for replica in &replicas {
        until("the connections of the start to be known", async || {
            replica.marks.loss()
        })
        .await;
    }
    let waiting = replicas.iter().any(|replica| replica.marks.fault().is_some());
    assert!(waiting, "who starts after the first lets nothing pass yet");
    clock.advance(Duration::from_secs(2));
    for replica in &replicas {
        replica.well().await;
    }
    for round in 1..=3 {
        let now = clock.unix_seconds();
        let () = server.ask(&["CLIENT", "KILL", "USER", "limited"]).await;
        // Twice, so that each has learnt of what the others wrote.
        for (number, replica) in replicas.iter().chain(&replicas).enumerate() {
            let old = issued(&format!("old-{round}-{number}"), now);
            assert_eq!(settled(replica, &old).await, "seen", "round {round}");
        }
        clock.advance(Duration::from_secs(6));
        for (number, replica) in replicas.iter().enumerate() {
            let new = issued(&format!("new-{round}-{number}"), now + 6);
            assert_eq!(settled(replica, &new).await, "set", "round {round}");
        }
    }
    for replica in &replicas {
        // Two connections in each of three rounds, and those of the start; whoever may ask writes its own behind theirs.
        let losses = replica.marks.stats().losses;
        assert!((3..=30).contains(&losses), "{losses}");
    }
}

#[tokio::test]
async fn server_that_becomes_a_replica_is_left_at_once() {
    let server = PrivateRedis::start_configured("replica-read-only no\n").await;
    let replay = Replay::start(&server.url());
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    let () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(
        set(replay.port(), &issued("b", START)).await,
        "unavailable",
        "although it takes writes"
    );
    until("the link to be down", async || {
        let down = replay.link.status().down?;
        down.to_string().contains("replica").then_some(())
    })
    .await;
    let () = server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(
        settled(&replay, &issued("c", START)).await,
        "seen",
        "and it is a loss"
    );
}

#[tokio::test]
async fn node_of_a_cluster_is_refused_by_name() {
    let server = PrivateRedis::start_cluster_node().await;
    let replay = Replay::start(&server.url());
    until("the link to say why", async || {
        let down = replay.link.status().down?;
        down.to_string().contains("cluster").then_some(())
    })
    .await;
    assert_eq!(set(replay.port(), &issued("a", START)).await, "unavailable");
}

#[tokio::test]
async fn marks_that_cannot_be_made_are_found_out_while_none_is() {
    let server = PrivateRedis::start().await;
    let replay = Replay::start(&server.url());
    replay.well().await;
    for (broken, mended) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"],
            ["CONFIG", "SET", "maxmemory", "0"],
        ),
        (
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ] {
        let () = server.ask(&broken).await;
        until("the fault to be found", async || replay.marks.fault().map(drop)).await;
        let () = server.ask(&mended).await;
        replay.well().await;
    }
    let () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    until("the fault to be found", async || {
        replay.link.status().down.or(replay.marks.fault()).map(drop)
    })
    .await;
}

#[tokio::test]
async fn epoch_is_judged_once_for_all_who_wait_for_it() {
    let server = PrivateRedis::start().await;
    assert_eq!(
        set(Replay::start(&server.url()).port(), &issued("first", START)).await,
        "set"
    );
    let replay = Replay::start(&server.url());
    let marks: Vec<_> = (0..100).map(|n| issued(&format!("jti-{n}"), START)).collect();
    let outcomes = futures_util::future::join_all(marks.iter().map(|mark| set(replay.port(), mark)));
    assert!(outcomes.await.iter().all(|outcome| *outcome == "set"));
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    // Each mark asks once. Whoever judges asks three times, and each mark made before that is made again.
    let calls = info.split_once("cmdstat_info:calls=").unwrap().1;
    let calls: u64 = calls.split_once(',').unwrap().0.parse().unwrap();
    assert!(calls < 250, "INFO was asked for {calls} times");
}
