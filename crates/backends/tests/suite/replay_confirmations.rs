//! Marks that replicas must confirm.

use std::pin::pin;

use backends::redis::RedisConnector;
use futures_util::future::join_all;
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use crate::contract::replay::{mark, set};
use crate::support::{Replay, redis_config};

struct Pair {
    primary: PrivateRedis,
    replica: PrivateRedis,
}

impl Pair {
    /// A primary with one replica that is up to date.
    async fn start() -> Self {
        let primary = PrivateRedis::start_configured("repl-diskless-sync-delay 0").await;
        let replica = PrivateRedis::start_configured(&format!(
            "masterauth {}\nreplicaof 127.0.0.1 {}",
            primary.password(),
            primary.port()
        ))
        .await;
        let pair = Self { primary, replica };
        until("the replica to follow", async || {
            let info: String = pair.replica.ask(&["INFO", "replication"]).await;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        pair.replay(true).next_that_passes("warm").await;
        pair
    }

    fn replay(&self, hasty: bool) -> Replay {
        let config = redis_config(&self.primary.url());
        Replay::confirmed(RedisConnector::component(&config).unwrap(), 1, hasty)
    }
}

#[tokio::test]
async fn mark_that_no_replica_confirms_is_unavailable_until_one_does() {
    let mut pair = Pair::start().await;
    let replay = pair.replay(true);
    assert_eq!(set(replay.port(), &mark("confirmed", "a")).await, "set");
    pair.replica.pause();
    for number in 0..5 {
        let outcome = set(replay.port(), &mark(&format!("alone-{number}"), "a")).await;
        assert_eq!(outcome, "unavailable", "{number}");
    }
    assert_eq!(set(replay.port(), &mark("confirmed", "b")).await, "seen");
    pair.replica.resume();
    let mut number = 0;
    until("marks to be confirmed again", async || {
        number += 1;
        (set(replay.port(), &mark(&format!("again-{number}"), "a")).await == "set").then_some(())
    })
    .await;
}

#[tokio::test]
async fn marks_that_wait_for_a_replica_hold_up_no_other_request() {
    let mut pair = Pair::start().await;
    let replay = pair.replay(false);
    assert_eq!(set(replay.port(), &mark("known", "a")).await, "set");
    pair.replica.pause();
    // More than there are rounds, so that some wait for one.
    let marks: Vec<_> = (0..20)
        .map(|number| mark(&format!("waits-{number}"), "a"))
        .collect();
    let mut waiting = pin!(join_all(marks.iter().map(|mark| set(replay.port(), mark))));
    // Whatever they wait for, what Redis alone decides is decided meanwhile.
    for _ in 0..20 {
        tokio::select! {
            biased;
            outcomes = &mut waiting => panic!("no replica could have confirmed: {outcomes:?}"),
            outcome = async { set(replay.port(), &mark("known", "b")).await } => assert_eq!(outcome, "seen"),
        }
    }
    pair.replica.resume();
    assert!(waiting.await.iter().all(|outcome| *outcome == "set"));
}

#[tokio::test]
async fn confirmed_mark_is_on_the_replica() {
    let pair = Pair::start().await;
    let replay = pair.replay(false);
    let marks: Vec<_> = (0..100)
        .map(|number| mark(&format!("jti-{number}"), "a"))
        .collect();
    let outcomes = join_all(marks.iter().map(|mark| set(replay.port(), mark))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "set"));
    let mut replica = pair.replica.connection().await;
    for mark in &marks {
        let holder: Option<String> = redis::cmd("GET")
            .arg(format!("seen:jti:{}", mark.jti))
            .query_async(&mut replica)
            .await
            .unwrap();
        assert_eq!(holder.as_deref(), Some("a"), "{}", mark.jti);
    }
}

#[tokio::test]
async fn confirmations_survive_connections_that_redis_closes_while_idle() {
    let pair = Pair::start().await;
    let replay = pair.replay(false);
    assert_eq!(set(replay.port(), &mark("one", "a")).await, "set");
    let mut redis = pair.primary.connection().await;
    let () = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query_async(&mut redis)
        .await
        .map(|_: i64| ())
        .unwrap();
    for number in 0..10 {
        assert_eq!(
            set(replay.port(), &mark(&format!("next-{number}"), "a")).await,
            "set",
            "{number}"
        );
    }
}
