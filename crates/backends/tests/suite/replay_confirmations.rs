//! Marks and events that replicas must confirm.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backends::audit_stream::RedisAuditStream;
use backends::redis::{Link, RedisConnector};
use evidence::{Shipment, StreamSink as _};
use futures_util::future::join_all;
use testkit::clock::FixedClock;
use testkit::redis::PrivateRedis;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::contract::replay::{mark, set};
use crate::support::{Background, Replay, redis, redis_config};

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
    replay.well().await;
    pair.replica.pause();
    fault(&replay, "REPLAY_MIN_REPLICAS").await;
    for number in 0..5 {
        let outcome = set(replay.port(), &mark(&format!("alone-{number}"), "a")).await;
        assert_eq!(outcome, "unavailable", "{number}");
    }
    assert_eq!(set(replay.port(), &mark("confirmed", "b")).await, "seen");
    fault(&replay, "REPLAY_MIN_REPLICAS").await;
    pair.replica.resume();
    let mut number = 0;
    until("marks to be confirmed again", async || {
        number += 1;
        (set(replay.port(), &mark(&format!("again-{number}"), "a")).await == "set").then_some(())
    })
    .await;
    replay.well().await;
}

/// Waits until it is known, without a mark, that none can be made, and why.
async fn fault(replay: &Replay, why: &str) {
    until(why, async || {
        let cause = replay.marks.fault()?.to_string();
        cause.contains(why).then_some(())
    })
    .await;
}

#[tokio::test]
async fn right_to_wait_that_is_missing_is_found_out_without_a_mark() {
    let pair = Pair::start().await;
    let () = pair
        .primary
        .ask(&[
            "ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-wait",
        ])
        .await;
    let url = format!("redis://limited:secret@127.0.0.1:{}/0", pair.primary.port());
    let redis = RedisConnector::component(&redis_config(&url)).unwrap();
    let replay = Replay::confirmed(redis, 1, true);
    fault(&replay, "wait").await;
    assert_eq!(set(replay.port(), &mark("a", "a")).await, "unavailable");
    let () = pair.primary.ask(&["ACL", "SETUSER", "limited", "+wait"]).await;
    replay.well().await;
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

/// A ping waits behind the `WAIT` of its connection, which says nothing of the connection.
#[tokio::test]
async fn connections_that_wait_longer_than_answers_may_take_are_kept() {
    let mut pair = Pair::start().await;
    let mut config = redis_config(&pair.primary.url());
    config.answer_timeout = Duration::from_millis(100);
    let replay = Replay::confirmed(RedisConnector::component(&config).unwrap(), 1, false);
    replay.well().await;
    pair.replica.pause();
    let mut admin = pair.primary.connection().await;
    let mut waiting = BTreeSet::new();
    until("ten rounds of WAIT", async || {
        let (clients, stats): (String, String) = redis::pipe()
            .cmd("CLIENT")
            .arg("LIST")
            .cmd("INFO")
            .arg("commandstats")
            .query_async(&mut admin)
            .await
            .unwrap();
        let waits = clients.lines().filter(|client| client.contains(" cmd=wait "));
        waiting.extend(waits.map(|client| client.split(' ').next().unwrap().to_owned()));
        assert!(
            waiting.len() <= 3,
            "each of the three connections is kept: {waiting:?}"
        );
        let (_, calls) = stats.split_once("cmdstat_wait:calls=")?;
        let calls: u32 = calls.split(',').next()?.parse().unwrap();
        (calls >= 10).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_count_as_delivered_when_a_replica_has_them_and_are_not_piled_up_before() {
    let mut pair = Pair::start().await;
    let link = Link::new(
        "audit",
        redis(&pair.primary.url()),
        Arc::new(FixedClock::default()),
    );
    let mut background = Background::default();
    background.run(Arc::clone(&link).run(CancellationToken::new()));
    let sink = RedisAuditStream::new(link, Duration::from_secs(15)).confirmed_by(1);
    let event = |id: &str| Shipment {
        id: id.to_owned(),
        data: "{}".into(),
        sig: None,
    };
    let length = async |server: &PrivateRedis| -> usize {
        let mut length = redis::cmd("XLEN");
        length.arg("caracal.audit.events");
        length.query_async(&mut server.connection().await).await.unwrap()
    };
    assert_eq!(sink.append(&[event("a"), event("b")]).await.unwrap(), 2);
    assert_eq!(length(&pair.replica).await, 2);
    pair.replica.pause();
    for _ in 0..3 {
        let refused = sink.append(&[event("c")]).await.unwrap_err().to_string();
        assert!(refused.contains("REPLAY_MIN_REPLICAS"), "{refused}");
    }
    assert_eq!(length(&pair.primary).await, 2, "no copies wait for a replica");
    pair.replica.resume();
    until("the event to be delivered", async || {
        sink.append(&[event("c")]).await.ok()
    })
    .await;
    assert!(length(&pair.replica).await >= 3);
}
