//! What the streams say, from `XADD` to the watch.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, Moment, Revocations};
use redis::aio::MultiplexedConnection;
use testkit::postgres::{Database, Layout};
use testkit::redis::PrivateRedis;
use testkit::wait::{PATIENCE, until};
use tokio::time::timeout;

use crate::contract::revocations::{Anchor, Bench, anchors, of, revocations_contract, standing};
use crate::support::{ON_DEMAND, Revocation, add, publish};

const REVOKE: &str = "caracal.sessions.revoke";
const AGENTS: &str = "caracal.agents.lifecycle";
const DELEGATIONS: &str = "caracal.delegations.invalidate";
const ZONE: (&str, &str) = ("zone_id", "zone-1");

struct Stack {
    server: PrivateRedis,
    database: Database,
    revocation: Revocation,
}

impl Stack {
    async fn start(layout: Layout) -> Self {
        let (server, database) = (PrivateRedis::start().await, Database::create(layout).await);
        let revocation = Revocation::start(&server.url(), &database.owner_url(), ON_DEMAND);
        let stack = Self {
            server,
            database,
            revocation,
        };
        stack.revocation.settle("fresh", "clear").await;
        stack
    }

    async fn redis(&self) -> MultiplexedConnection {
        self.server.connection().await
    }

    /// Returns when everything that stands in the streams now has been applied.
    async fn caught_up(&self) {
        publish(
            &mut self.redis().await,
            REVOKE,
            &[ZONE, ("session_id", "sid-marker")],
        )
        .await;
        self.revocation.settle("marker", "revoked").await;
    }
}

impl Bench for Stack {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.revocation.state.clone())
    }

    fn now(&self) -> Moment {
        self.revocation.clock.now()
    }

    async fn revoke(&self, anchor: Anchor, id: &str) {
        let field = match anchor {
            Anchor::Record => "session_id",
            Anchor::Session => "agent_session_id",
            Anchor::Edge => "delegation_edge_id",
        };
        publish(&mut self.redis().await, REVOKE, &[ZONE, (field, id)]).await;
    }
}

#[tokio::test]
async fn redis_and_postgres_revocations_keep_the_contract() {
    revocations_contract(&Stack::start(Layout::August).await).await;
}

#[tokio::test]
async fn every_stream_that_carries_revocations_is_read() {
    let stack = Stack::start(Layout::August).await;
    let mut redis = stack.redis().await;
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let messages: [(&str, Fields<'_>, &str); 7] = [
        (REVOKE, &[ZONE, ("edge_id", "edge-a")], "a"),
        (
            AGENTS,
            &[ZONE, ("event", "terminate"), ("agent_session_id", "session-b")],
            "b",
        ),
        (
            AGENTS,
            &[ZONE, ("event", "suspend"), ("agent_session_id", "session-c")],
            "c",
        ),
        (
            DELEGATIONS,
            &[ZONE, ("event", "edge_revoke"), ("edge_id", "edge-d")],
            "d",
        ),
        (
            REVOKE,
            &[("session_id", "root-e"), ("agent_session_id", "null")],
            "e",
        ),
        (
            DELEGATIONS,
            &[
                ZONE,
                ("event", "edge_expire"),
                ("affected_edges", "2"),
                ("edge_ids", r#"["edge-f","edge-f2"]"#),
            ],
            "f",
        ),
        (
            DELEGATIONS,
            &[
                ZONE,
                ("event", "edge_revoke"),
                ("edge_id", "edge-parent"),
                ("edge_ids", r#"["edge-g2", "edge-g"]"#),
            ],
            "g",
        ),
    ];
    for (stream, fields, name) in messages {
        let ids = anchors(name);
        let watch = stack.revocation.state.watch(&of(&ids)).unwrap();
        publish(&mut redis, stream, fields).await;
        timeout(PATIENCE, watch.revoked()).await.expect(name);
        assert_eq!(stack.revocation.standing(name), "revoked", "{name}");
    }
    for name in ["f2", "g2", "parent"] {
        assert_eq!(stack.revocation.standing(name), "revoked", "{name}");
    }
    assert_eq!(stack.revocation.state.counters().messages, 7);
}

#[tokio::test]
async fn edge_revocation_looks_for_the_edges_below_it() {
    let stack = Stack::start(Layout::August).await;
    stack.database.set_edge("zone-1", "edge-child", "revoked").await;
    assert_eq!(stack.revocation.standing("child"), "clear");
    let fields = [
        ZONE,
        ("event", "edge_revoke"),
        ("edge_id", "edge-parent"),
        ("affected_edges", "2"),
    ];
    publish(&mut stack.redis().await, DELEGATIONS, &fields).await;
    stack.revocation.settle("parent", "revoked").await;
    stack.revocation.settle("child", "revoked").await;
}

#[tokio::test]
async fn list_of_edges_that_cannot_be_read_asks_the_database() {
    let stack = Stack::start(Layout::August).await;
    stack.database.set_edge("zone-1", "edge-a", "revoked").await;
    let fields = [ZONE, ("event", "edge_expire"), ("edge_ids", r#"["edge-a", 7]"#)];
    publish(&mut stack.redis().await, DELEGATIONS, &fields).await;
    stack.revocation.settle("a", "revoked").await;
    let counters = stack.revocation.state.counters();
    assert_eq!((counters.ambiguous, counters.messages), (1, 0));
}

#[tokio::test]
async fn forged_unsigned_and_foreign_messages_are_dropped_and_counted() {
    let stack = Stack::start(Layout::August).await;
    let mut redis = stack.redis().await;
    let zeros = "0".repeat(64);
    add(
        &mut redis,
        REVOKE,
        &[("session_id", "sid-victim"), ("_sig", &zeros)],
    )
    .await;
    add(&mut redis, REVOKE, &[("session_id", "sid-victim")]).await;
    // Genuine, but written for another stream.
    let id = publish(
        &mut redis,
        "caracal.policy.invalidate",
        &[("session_id", "sid-victim")],
    )
    .await;
    let range = redis::cmd("XRANGE")
        .arg("caracal.policy.invalidate")
        .arg(&id)
        .arg(&id)
        .to_owned();
    let copied: Vec<(String, Vec<String>)> = range.query_async(&mut redis).await.unwrap();
    let copy = redis::cmd("XADD")
        .arg(REVOKE)
        .arg("*")
        .arg(&copied[0].1)
        .to_owned();
    let _: String = copy.query_async(&mut redis).await.unwrap();
    stack.caught_up().await;
    assert_eq!(stack.revocation.standing("victim"), "clear");
    let counters = stack.revocation.state.counters();
    assert_eq!((counters.invalid_signatures, counters.messages), (3, 1));
}

#[tokio::test]
async fn field_that_is_no_text_does_not_stop_the_reader() {
    let stack = Stack::start(Layout::August).await;
    let odd = redis::cmd("XADD")
        .arg(REVOKE)
        .arg("*")
        .arg(b"\xff\xfe")
        .arg(b"\x00\xff")
        .to_owned();
    let _: String = odd.query_async(&mut stack.redis().await).await.unwrap();
    stack.caught_up().await;
    assert_eq!(stack.revocation.state.counters().invalid_signatures, 1);
}

#[tokio::test]
async fn ambiguous_message_is_not_applied_but_asks_the_database() {
    let stack = Stack::start(Layout::August).await;
    stack
        .database
        .set_authority("zone-1", "sid-real", "revoked")
        .await;
    let fields = [
        ZONE,
        ("reason", "x\nsession_id=sid-claimed"),
        ("session_id", "sid-real"),
    ];
    publish(&mut stack.redis().await, REVOKE, &fields).await;
    stack.revocation.settle("real", "revoked").await;
    assert_eq!(stack.revocation.standing("claimed"), "clear");
    let counters = stack.revocation.state.counters();
    assert_eq!((counters.ambiguous, counters.messages), (1, 0));
}

#[tokio::test]
async fn message_that_names_nothing_is_counted_and_looked_up() {
    let stack = Stack::start(Layout::August).await;
    stack.database.set_edge("zone-1", "edge-a", "revoked").await;
    publish(&mut stack.redis().await, REVOKE, &[ZONE, ("reason", "x")]).await;
    stack.revocation.settle("a", "revoked").await;
    assert_eq!(stack.revocation.state.counters().nameless, 1);
}

#[tokio::test]
async fn resumed_session_is_admitted_again_and_a_replayed_message_revokes_nothing_for_long() {
    for layout in [Layout::June, Layout::August] {
        let stack = Stack::start(layout).await;
        let mut redis = stack.redis().await;
        let event = |event| [ZONE, ("event", event), ("agent_session_id", "session-a")];
        stack
            .database
            .set_session("zone-1", "session-a", "suspended")
            .await;
        publish(&mut redis, AGENTS, &event("suspend")).await;
        stack.revocation.settle("a", "revoked").await;
        stack.revocation.state.reload().await.unwrap();
        assert_eq!(stack.revocation.standing("a"), "revoked");
        stack.database.set_session("zone-1", "session-a", "active").await;
        publish(&mut redis, AGENTS, &event("resume")).await;
        stack.revocation.settle("a", "clear").await;
    }
}

#[tokio::test]
async fn announced_record_stays_revoked_although_its_row_says_active() {
    let stack = Stack::start(Layout::August).await;
    stack.database.set_authority("zone-1", "sid-a", "active").await;
    publish(&mut stack.redis().await, REVOKE, &[ZONE, ("session_id", "sid-a")]).await;
    stack.revocation.settle("a", "revoked").await;
    stack.revocation.state.reload().await.unwrap();
    assert_eq!(stack.revocation.standing("a"), "revoked");
}

#[tokio::test]
async fn announcement_outlives_its_day_while_the_database_takes_new_mandates_for_good() {
    for layout in [Layout::June, Layout::August] {
        let stack = Stack::start(layout).await;
        let (database, mut redis) = (&stack.database, stack.redis().await);
        for (name, status) in [("active", "active"), ("expired", "expired")] {
            database
                .set_authority("zone-1", &format!("sid-r-{name}"), status)
                .await;
            database
                .set_edge("zone-1", &format!("edge-e-{name}"), status)
                .await;
        }
        let names = ["r-active", "e-active", "r-expired", "e-expired", "r-gone"];
        for name in names {
            let (field, kind) = match name.split_at(2).0 {
                "r-" => ("session_id", "sid"),
                _ => ("delegation_edge_id", "edge"),
            };
            let id = format!("{kind}-{name}");
            publish(&mut redis, REVOKE, &[ZONE, (field, &id)]).await;
            stack.revocation.settle(name, "revoked").await;
        }
        stack.revocation.state.reload().await.unwrap();
        for _ in 0..2 {
            stack
                .revocation
                .clock
                .advance(Duration::from_secs(24 * 3600 + 360));
            stack.revocation.state.reload().await.unwrap();
            stack.revocation.settle("other", "clear").await;
            let standings = names.map(|name| stack.revocation.standing(name));
            let expect = ["revoked", "revoked", "clear", "clear", "clear"];
            assert_eq!(standings, expect, "{layout:?}");
        }
        database.set_authority("zone-1", "sid-r-active", "expired").await;
        stack
            .revocation
            .clock
            .advance(Duration::from_secs(24 * 3600 + 360));
        stack.revocation.state.reload().await.unwrap();
        stack.revocation.settle("r-active", "clear").await;
    }
}

#[tokio::test]
async fn restarted_gateway_reads_the_last_days_revocations_again() {
    let stack = Stack::start(Layout::August).await;
    let mut redis = stack.redis().await;
    // More than one answer's worth, the victim in the middle.
    for number in 0..1200 {
        let id = if number == 600 {
            "sid-a".to_owned()
        } else {
            format!("sid-filler-{number}")
        };
        publish(&mut redis, REVOKE, &[ZONE, ("session_id", &id)]).await;
    }
    let next = Revocation::start(&stack.server.url(), &stack.database.owner_url(), ON_DEMAND);
    let look = |name: &str| standing(&next.state, &anchors(name), next.clock.now());
    until("the new state to be fresh", async || {
        (look("b") == "clear").then_some(())
    })
    .await;
    assert_eq!(look("a"), "revoked");
}

#[tokio::test]
async fn key_invalidation_names_its_zone() {
    let mut stack = Stack::start(Layout::August).await;
    let mut redis = stack.redis().await;
    add(&mut redis, "caracal.keys.invalidate", &[("zone_id", "forged")]).await;
    publish(&mut redis, "caracal.keys.invalidate", &[("zone_id", "zone-1")]).await;
    let zone = timeout(PATIENCE, stack.revocation.refetched.recv())
        .await
        .unwrap();
    assert_eq!(zone.as_deref(), Some("zone-1"));
}

#[tokio::test]
async fn watch_is_woken_by_the_message_and_not_by_the_next_look() {
    let stack = Stack::start(Layout::August).await;
    let mut redis = stack.redis().await;
    let wakes = async {
        for number in 0..100 {
            let ids = anchors(&number.to_string());
            let watch = stack.revocation.state.watch(&of(&ids)).unwrap();
            publish(&mut redis, REVOKE, &[ZONE, ("delegation_edge_id", &ids[3])]).await;
            watch.revoked().await;
        }
    };
    // A reader that looked every second would need minutes. How soon each comes is for the benchmark to tell.
    timeout(PATIENCE, wakes).await.expect("a hundred wakes");
}
