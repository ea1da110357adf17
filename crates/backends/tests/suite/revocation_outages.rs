//! The revocation state while its sources are away.

use std::time::Duration;

use admission::ports::Clock;
use redis::aio::MultiplexedConnection;
use testkit::postgres::{Database, Layout, through};
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use crate::contract::revocations::{anchors, standing};
use crate::support::{ON_DEMAND, Revocation, publish};

const REVOKE: &str = "caracal.sessions.revoke";

struct Stack {
    server: PrivateRedis,
    to_redis: FaultProxy,
    database: Database,
    to_postgres: FaultProxy,
    revocation: Revocation,
}

impl Stack {
    async fn start(every: Duration) -> Self {
        let (server, database) = (
            PrivateRedis::start().await,
            Database::create(Layout::August).await,
        );
        let to_redis = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await;
        let url = database.gateway_url();
        let port: u16 = url
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split_once('/'))
            .unwrap()
            .0
            .parse()
            .unwrap();
        let to_postgres = FaultProxy::start(([127, 0, 0, 1], port).into()).await;
        let revocation = Revocation::start(
            &server.url_through(to_redis.port()),
            &through(&url, to_postgres.port()),
            every,
        );
        let stack = Self {
            server,
            to_redis,
            database,
            to_postgres,
            revocation,
        };
        stack.revocation.settle("fresh", "clear").await;
        stack
    }

    async fn redis(&self) -> MultiplexedConnection {
        self.server.connection().await
    }

    async fn revoke(&self, id: &str) {
        publish(&mut self.redis().await, REVOKE, &[("session_id", id)]).await;
    }

    /// The stream connection has noticed that it is of no use.
    async fn stream_error(&self, before: u64) {
        until("the stream connection to fail", async || {
            (self.revocation.state.counters().stream_errors > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn messages_written_while_redis_is_unreachable_are_read_after_it() {
    for fault in [Fault::Refuse, Fault::Hang, Fault::CutAfter(1)] {
        let stack = Stack::start(ON_DEMAND).await;
        stack.revoke("sid-before").await;
        stack.revocation.settle("before", "revoked").await;
        stack.to_redis.set(fault).await;
        stack.stream_error(0).await;
        stack.revoke("sid-during").await;
        assert_eq!(stack.revocation.standing("during"), "clear", "nobody knows yet");
        stack.revocation.clock.advance(Duration::from_secs(71));
        assert_eq!(stack.revocation.standing("during"), "stale", "{fault:?}");
        assert_eq!(stack.revocation.standing("before"), "stale");
        stack.to_redis.set(Fault::None).await;
        stack.revocation.settle("during", "revoked").await;
        stack.revocation.settle("other", "clear").await;
        assert_eq!(stack.revocation.state.counters().gaps, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn messages_lost_to_trimming_or_a_flush_are_made_up_for_by_a_snapshot() {
    for lose in [&["XTRIM", REVOKE, "MAXLEN", "0"][..], &["FLUSHALL"]] {
        let stack = Stack::start(ON_DEMAND).await;
        stack.revoke("sid-known").await;
        stack.revocation.settle("known", "revoked").await;
        stack.to_redis.set(Fault::Refuse).await;
        stack.stream_error(0).await;

        stack.revoke("sid-lost").await;
        stack
            .database
            .set_authority("zone-1", "sid-lost", "revoked")
            .await;
        let mut command = redis::Cmd::new();
        command.arg(lose);
        let _: redis::Value = command.query_async(&mut stack.redis().await).await.unwrap();
        stack.revoke("sid-later").await;

        stack.to_redis.set(Fault::None).await;
        stack.revocation.settle("lost", "revoked").await;
        stack.revocation.settle("later", "revoked").await;
        stack.revocation.settle("other", "clear").await;
        assert_eq!(
            stack.revocation.standing("known"),
            "revoked",
            "what was announced stays"
        );
        assert!(stack.revocation.state.counters().gaps >= 1);
    }
}

#[tokio::test]
async fn messages_trimmed_while_the_gateway_stood_still_are_made_up_for_by_a_snapshot() {
    let stack = Stack::start(ON_DEMAND).await;
    stack.revoke("sid-known").await;
    stack.revocation.settle("known", "revoked").await;
    let mut redis = stack.redis().await;
    // The question under way is answered, the answer held back, and the next question not yet asked.
    stack.to_redis.set(Fault::BlackHole).await;
    until("the reader's question to be over", async || {
        let info: String = redis::cmd("INFO")
            .arg("clients")
            .query_async(&mut redis)
            .await
            .unwrap();
        info.contains("blocked_clients:0\r").then_some(())
    })
    .await;
    stack.revoke("sid-lost").await;
    stack
        .database
        .set_authority("zone-1", "sid-lost", "revoked")
        .await;
    let trim = redis::cmd("XTRIM").arg(REVOKE).arg("MAXLEN").arg(0).to_owned();
    let _: u64 = trim.query_async(&mut redis).await.unwrap();
    stack.revoke("sid-later").await;
    stack.revocation.clock.advance(Duration::from_secs(60));

    stack.to_redis.set(Fault::None).await;
    stack.revocation.settle("later", "revoked").await;
    stack.revocation.settle("lost", "revoked").await;
}

#[tokio::test]
async fn message_trimmed_before_it_could_be_read_is_a_gap_until_the_next_snapshot() {
    let stack = Stack::start(ON_DEMAND).await;
    let mut redis = stack.redis().await;
    // What was read may be trimmed.
    for name in ["a", "b", "c"] {
        stack.revoke(&format!("sid-{name}")).await;
        stack.revocation.settle(name, "revoked").await;
        let trim = redis::cmd("XTRIM").arg(REVOKE).arg("MAXLEN").arg(0).to_owned();
        let _: u64 = trim.query_async(&mut redis).await.unwrap();
    }
    assert_eq!(stack.revocation.state.counters().gaps, 0);

    stack
        .database
        .set_authority("zone-1", "sid-lost", "revoked")
        .await;
    stack.to_postgres.set(Fault::Refuse).await;
    let lost = redis::cmd("XADD")
        .arg(&[REVOKE, "MAXLEN", "0", "*", "session_id", "sid-lost"])
        .to_owned();
    let _: String = lost.query_async(&mut redis).await.unwrap();
    stack.revocation.settle("other", "stale").await;
    assert_eq!(stack.revocation.state.counters().gaps, 1);
    stack.to_postgres.set(Fault::None).await;
    stack.revocation.settle("lost", "revoked").await;
    stack.revocation.settle("other", "clear").await;
}

#[tokio::test]
async fn after_a_long_outage_nothing_passes_before_the_backlog_is_applied() {
    let stack = Stack::start(ON_DEMAND).await;
    stack.to_redis.set(Fault::Refuse).await;
    stack.stream_error(0).await;
    let mut redis = stack.redis().await;
    for number in 0..3000 {
        publish(&mut redis, REVOKE, &[("session_id", &format!("sid-{number}"))]).await;
    }
    stack.revoke("sid-last").await;
    stack.revocation.clock.advance(Duration::from_secs(71));
    assert_eq!(stack.revocation.standing("last"), "stale");
    // Enough for an answer of five hundred messages, and not for all of them.
    stack.to_redis.set(Fault::CutAfter(200_000)).await;
    until("a part of the backlog", async || {
        (stack.revocation.state.counters().messages >= 500).then_some(())
    })
    .await;
    until("all of the backlog", async || {
        let standing = stack.revocation.standing("last");
        assert_ne!(standing, "clear", "nobody has read the last message yet");
        (standing == "revoked").then_some(())
    })
    .await;
}

#[tokio::test]
async fn announcement_that_a_failover_lost_is_looked_for_and_nobody_refused_meanwhile() {
    let stack = Stack::start(ON_DEMAND).await;
    stack.to_redis.set(Fault::Refuse).await;
    stack.stream_error(0).await;
    // The stream goes on as if nothing was ever written; the row is all that is left of it.
    stack
        .database
        .set_authority("zone-1", "sid-lost", "revoked")
        .await;
    stack.to_redis.set(Fault::None).await;
    until("the lost revocation", async || {
        assert_ne!(stack.revocation.standing("other"), "stale");
        (stack.revocation.standing("lost") == "revoked").then_some(())
    })
    .await;
    assert_eq!(stack.revocation.state.counters().gaps, 0);
}

#[tokio::test]
async fn stale_state_asks_its_sources_again_and_again_without_growing_pauses() {
    let stack = Stack::start(Duration::from_secs(30)).await;
    stack.to_postgres.set(Fault::Refuse).await;
    stack.revocation.clock.advance(Duration::from_secs(301));
    assert!(stack.revocation.state.reload().await.is_err());
    // With pauses that double from a second on, this would take a minute.
    until("six failures", async || {
        (stack.revocation.state.counters().reload_errors >= 6).then_some(())
    })
    .await;
    stack.to_postgres.set(Fault::None).await;
    stack.revocation.settle("a", "clear").await;

    stack.to_redis.set(Fault::Refuse).await;
    stack.revocation.clock.advance(Duration::from_secs(71));
    // With pauses that double up to two seconds, this would take half a minute.
    stack.stream_error(16).await;
    stack.to_redis.set(Fault::None).await;
    stack.revocation.settle("a", "clear").await;
}

#[tokio::test]
async fn snapshot_is_taken_at_once_after_the_machine_was_suspended() {
    let stack = Stack::start(ON_DEMAND).await;
    // The clock runs while the machine is suspended; timers, such as the pause between two snapshots, do not.
    stack.revocation.clock.advance(Duration::from_secs(600));
    assert_eq!(stack.revocation.standing("a"), "stale");
    stack.revocation.settle("a", "clear").await;
}

#[tokio::test]
async fn stream_that_vanishes_while_it_is_caught_up_with_is_not_waited_for() {
    let (server, database) = (
        PrivateRedis::start().await,
        Database::create(Layout::August).await,
    );
    let mut redis = server.connection().await;
    publish(&mut redis, REVOKE, &[("session_id", "sid-a")]).await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await;
    // Time to delete the stream between the look at its end and the reading up to there.
    proxy.set(Fault::Delay(Duration::from_millis(300))).await;
    let url = server.url_through(proxy.port());
    let revocation = Revocation::start(&url, &database.gateway_url(), ON_DEMAND);
    until("the look at the ends of the streams", async || {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut redis)
            .await
            .unwrap();
        info.contains("cmdstat_xinfo|stream:calls=4,").then_some(())
    })
    .await;
    let () = redis::cmd("DEL")
        .arg(REVOKE)
        .query_async(&mut redis)
        .await
        .unwrap();
    proxy.set(Fault::None).await;
    // What was deleted is made up for by a snapshot, like every other gap.
    until("the gap to be noticed", async || {
        (revocation.state.counters().gaps > 0).then_some(())
    })
    .await;
    revocation.settle("fresh", "clear").await;
}

#[tokio::test]
async fn after_a_gap_nothing_passes_before_the_snapshot() {
    let stack = Stack::start(ON_DEMAND).await;
    stack.revoke("sid-known").await;
    stack.revocation.settle("known", "revoked").await;
    stack.to_redis.set(Fault::Refuse).await;
    stack.stream_error(0).await;
    let flush = redis::cmd("FLUSHALL").to_owned();
    let () = flush.query_async(&mut stack.redis().await).await.unwrap();
    stack.to_postgres.set(Fault::Refuse).await;
    stack.to_redis.set(Fault::None).await;
    stack.revocation.settle("other", "stale").await;
    stack.to_postgres.set(Fault::None).await;
    stack.revocation.settle("other", "clear").await;
}

#[tokio::test]
async fn snapshot_outage_is_borne_for_five_minutes_and_recovered_from() {
    for fault in [Fault::Refuse, Fault::Hang, Fault::BlackHole] {
        let stack = Stack::start(Duration::from_millis(50)).await;
        stack.to_postgres.set(fault).await;
        until("a snapshot to fail", async || {
            (stack.revocation.state.counters().reload_errors > 0).then_some(())
        })
        .await;
        assert!(stack.revocation.state.reload().await.is_err(), "{fault:?}");
        assert_eq!(stack.revocation.standing("a"), "clear");
        stack.revoke("sid-b").await;
        stack.revocation.settle("b", "revoked").await;

        stack.revocation.clock.advance(Duration::from_secs(301));
        // The streams go on answering, so only the snapshot is too old.
        until("the streams to answer", async || {
            let age = stack.revocation.state.status().contact_age.unwrap();
            (age < Duration::from_secs(70)).then_some(())
        })
        .await;
        assert_eq!(stack.revocation.standing("a"), "stale", "{fault:?}");
        let stale = stack.revocation.state.status().stale.unwrap().to_string();
        assert!(stale.contains("snapshot"), "{stale}");

        stack.to_postgres.set(Fault::None).await;
        stack.revocation.settle("a", "clear").await;
    }
}

#[tokio::test]
async fn state_starts_stale_while_redis_is_down_and_recovers() {
    let mut server = PrivateRedis::start().await;
    let database = Database::create(Layout::August).await;
    server.kill().await;
    let revocation = Revocation::start(&server.url(), &database.gateway_url(), ON_DEMAND);
    let look = || standing(&revocation.state, &anchors("a"), revocation.clock.now());
    revocation.state.reload().await.unwrap();
    assert_eq!(look(), "stale");
    server.restart().await;
    until("the state to be fresh", async || {
        (look() == "clear").then_some(())
    })
    .await;
}
