//! Replay marks while Redis is away, silent or unwilling: refused in time, and recovered from alone.

use std::time::Duration;

use admission::ports::ReplayMarks as _;
use backends::redis::RedisConnector;
use testkit::clock::FixedClock;
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::PrivateRedis;
use testkit::wait::{PATIENCE, until};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::contract::replay::{mark, set};
use crate::support::{Replay, redis_config};

struct Bench {
    server: PrivateRedis,
    proxy: FaultProxy,
    replay: Replay,
}

impl Bench {
    async fn start(replay: impl FnOnce(&str) -> Replay) -> Self {
        let server = PrivateRedis::start().await;
        let target = ([127, 0, 0, 1], server.port()).into();
        let proxy = FaultProxy::start(target).await;
        let replay = replay(&server.url_through(proxy.port()));
        let bench = Self {
            server,
            proxy,
            replay,
        };
        bench.recover().await;
        bench
    }

    async fn set(&self, jti: &str) -> &'static str {
        let mark = mark(jti, "a");
        let outcome = timeout(PATIENCE, set(self.replay.port(), &mark)).await;
        outcome.expect("an outcome, whatever Redis does")
    }

    /// Sets a mark as soon as that works again.
    async fn recover(&self) {
        let mut number = 0;
        until("marks to be set again", async || {
            number += 1;
            (self.set(&format!("after-{number}")).await == "set").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn marks_are_unavailable_in_time_and_come_back_by_themselves() {
    let bench = Bench::start(Replay::hasty).await;
    for (name, fault) in [
        ("refused", Fault::Refuse),
        ("hanging", Fault::Hang),
        ("black hole", Fault::BlackHole),
        ("slow", Fault::Delay(Duration::from_secs(5))),
        ("cut", Fault::CutAfter(1)),
    ] {
        bench.proxy.set(fault).await;
        for number in 0..3 {
            assert_eq!(
                bench.set(&format!("{name}-{number}")).await,
                "unavailable",
                "{name}"
            );
        }
        bench.proxy.set(Fault::None).await;
        bench.recover().await;
        until("the link to be up", async || {
            bench.replay.link.status().down.is_none().then_some(())
        })
        .await;
    }
}

/// However long the answers to other commands may take.
#[tokio::test]
async fn server_that_vanished_is_found_out_as_soon_as_marks_are_given_up() {
    let bench = Bench::start(|url| {
        let mut config = redis_config(url);
        config.answer_timeout = PATIENCE * 10;
        Replay::hasty_over(RedisConnector::new(&config).unwrap())
    })
    .await;
    bench.proxy.set(Fault::Vanish).await;
    until("readiness to tell", async || {
        bench.replay.marks.fault().map(|_| ())
    })
    .await;
    bench.recover().await;
}

#[tokio::test]
async fn connection_cut_while_idle_is_replaced_within_the_request() {
    let bench = Bench::start(Replay::start).await;
    let before = bench.proxy.accepted();
    let () = bench.server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    assert_eq!(bench.set("next").await, "set");
    assert!(bench.proxy.accepted() > before);
}

#[tokio::test]
async fn mark_whose_answer_was_lost_is_released() {
    let mut server = PrivateRedis::start().await;
    let replay = Replay::hasty(&server.url());
    until("a mark to be set", async || {
        (set(replay.port(), &mark("warm", "a")).await != "unavailable").then_some(())
    })
    .await;
    server.pause();
    assert_eq!(set(replay.port(), &mark("lost", "a")).await, "unavailable");
    replay.port().release(mark("lost", "a"));
    server.resume();
    until("the lost mark to be released", async || {
        (set(replay.port(), &mark("lost", "b")).await == "set").then_some(())
    })
    .await;
}

#[tokio::test]
async fn read_only_replica_takes_no_marks() {
    let bench = Bench::start(Replay::start).await;
    let mut redis = bench.server.connection().await;
    // A replica of nobody: it serves what it has and refuses writes.
    let become_replica = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).to_owned();
    let () = become_replica.query_async(&mut redis).await.unwrap();
    assert_eq!(bench.set("read-only").await, "unavailable");
    let () = redis::cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async(&mut redis)
        .await
        .unwrap();
    // It was another server's copy meanwhile, for all that can be told.
    until("the server to be back", async || {
        (bench.set("back").await == "seen").then_some(())
    })
    .await;
}

#[tokio::test]
async fn full_store_takes_no_marks() {
    let bench = Bench::start(Replay::start).await;
    let mut redis = bench.server.connection().await;
    let limit = |bytes: u64| {
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory")
            .arg(bytes)
            .to_owned()
    };
    let () = limit(1).query_async(&mut redis).await.unwrap();
    assert_eq!(bench.set("full").await, "unavailable");
    let () = limit(0).query_async(&mut redis).await.unwrap();
    assert_eq!(bench.set("full").await, "set");
}

#[tokio::test]
async fn wrong_password_is_unavailable() {
    let server = PrivateRedis::start().await;
    let url = server.url().replace(server.password(), "wrong");
    let replay = Replay::start(&url);
    assert_eq!(set(replay.port(), &mark("a", "a")).await, "unavailable");
    let status = replay.link.status();
    assert!(!status.down.unwrap().to_string().contains("wrong"));
}

/// The kernel's table of connections says of each which timer runs: `02` is keepalive.
#[tokio::test]
async fn connections_are_probed_while_they_are_idle() {
    let server = PrivateRedis::start().await;
    let replay = Replay::start(&server.url());
    assert_eq!(set(replay.port(), &mark("a", "a")).await, "set");
    let remote = format!(":{:04X}", server.port());
    until("a keepalive timer", async || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.any(|row| row[2].ends_with(&remote) && row[5].starts_with("02:"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_that_the_server_closes_cost_no_mark() {
    let server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let replay = Replay::hasty_remembering(&server.url(), None, &clock);
    replay.well().await;
    for number in 0..25 {
        let () = server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        assert_eq!(
            set(replay.port(), &mark(&format!("mark-{number}"), "a")).await,
            "set"
        );
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn release_that_is_under_way_at_shutdown_is_tried_once_more() {
    let mut server = PrivateRedis::start().await;
    let replay = Replay::start(&server.url());
    until("a mark to be set", async || {
        (set(replay.port(), &mark("used", "a")).await == "set").then_some(())
    })
    .await;
    let (marks, releases) = replay.again();
    let shutdown = CancellationToken::new();
    server.pause();
    marks.release(mark("used", "a"));
    let stop = async {
        // By now the mark is taken, and a server is asked that does not answer.
        tokio::task::yield_now().await;
        shutdown.cancel();
        server.resume();
    };
    tokio::join!(releases.run(shutdown.clone()), stop);
    assert_eq!(set(replay.port(), &mark("used", "b")).await, "set");
}
