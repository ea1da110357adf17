//! Evidence outlives a crash and an outage, and nothing crosses without room for it.

use super::{named, world};
use crate::hand::HandUpstream;
use crate::report::{Report, refusal};
use crate::wire::{ask, head_with};
use crate::world::{NONE, World};
use devstack::{MintRequest, Use};
use serde_json::Value;
use testkit::http::{self, Connection};
use testkit::wait::until;

const STREAM: &str = "caracal.audit.events";

/// A mandate that may be presented more than once.
pub(super) fn reusable(world: &World) -> String {
    let request = MintRequest {
        mandate_use: Use::Session,
        ..world.stack.request_for(NONE)
    };
    let minted = world.stack.mint(&request).expect("a mandate");
    minted.token.expose().to_owned()
}

#[tokio::test]
async fn evidence_of_a_crossing_cut_by_a_crash_is_interrupted_exactly_once() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(
        &world.token(NONE),
        "GET",
        NONE,
        "/sse?ms=600000",
        &named("crashed"),
    );
    client.send(request).await.expect("an open connection");
    client.head().await;
    client.piece().await;
    let done = ask(
        world.addr(),
        head_with(&world.token(NONE), "GET", NONE, "/", &named("done")),
    )
    .await;
    report.status("done", &done, 200);
    world.gateway.kill().await;

    let spool = world.gateway.directory().join("spool").display().to_string();
    for round in 0..2 {
        let mut next = world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
        let events = world.events_of("crashed", 1).await;
        report.equal(
            format!("round {round}"),
            events.iter().map(crate::world::Event::kind).collect::<Vec<_>>(),
            [("gateway_resource_request", "interrupted")],
        );
        world.events_of("done", 1).await;
        let id = format!("after-{round}");
        let response = ask(
            next.addr(),
            head_with(&world.token(NONE), "GET", NONE, "/", &named(&id)),
        )
        .await;
        report.status(&id, &response, 200);
        world.events_of(&id, 1).await;
        next.kill().await;
    }
    let events = world.events().await;
    for id in ["crashed", "done", "after-0", "after-1"] {
        let found = events.iter().filter(|event| event.text("request_id") == id);
        report.equal(format!("events of {id}"), found.count(), 1);
    }
    report.finish();
}

#[tokio::test]
async fn evidence_waits_for_redis_and_is_delivered_in_order() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let token = reusable(&world);
    world.redis.pause();
    let ids: Vec<String> = (0..60).map(|at| format!("held-{at:02}")).collect();
    for id in &ids {
        let response = ask(world.addr(), head_with(&token, "GET", NONE, "/", &named(id))).await;
        report.status(id, &response, 200);
    }
    world.redis.resume();
    world.events_of("held-59", 1).await;
    let seen: Vec<String> = world
        .events()
        .await
        .iter()
        .map(|event| event.text("request_id").to_owned())
        .filter(|id| id.starts_with("held-"))
        .collect();
    report.equal("in order", seen, ids);
    report.finish();
}

#[tokio::test]
async fn evidence_without_room_refuses_before_dispatch_and_recovers() {
    let upstream = HandUpstream::start().await;
    let mut world = world(&upstream).await;
    let mut report = Report::default();
    let full = refusal(503, "authority_unavailable", "audit evidence unavailable");
    let small = world.replica_with(&[("AUDIT_SPOOL_MAX_BYTES", "1048576")]).await;
    let token = reusable(&world);
    report.status(
        "room",
        &crate::world::present_to(small.addr(), &token, NONE, "/").await,
        200,
    );
    world.redis.pause();
    let mut crossed = 0;
    let refused = loop {
        let dispatched = world.dispatched();
        let response = crate::world::present_to(small.addr(), &token, NONE, "/").await;
        if response.status() != 200 || crossed == 5000 {
            report.equal("a refusal is not dispatched", world.dispatched(), dispatched);
            break response;
        }
        crossed += 1;
    };
    report.refused(format!("full after {crossed}"), &refused, full);
    world.redis.resume();
    until("room for evidence", async || {
        let response = crate::world::present_to(small.addr(), &token, NONE, "/").await;
        (response.status() == 200).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn evidence_that_cannot_be_shipped_is_degraded_until_little_room_is_left() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let small = world.replica_with(&[("AUDIT_SPOOL_MAX_BYTES", "1048576")]).await;
    let token = reusable(&world);
    let becomes = async |status: u16, reason: Option<&str>, stream: &str| {
        until(&format!("/ready to say {reason:?}, {stream}"), async || {
            let ready = http::get(small.addr(), "/ready", &[]).await;
            let told: Value = ready.json();
            let right = ready.status() == status
                && told.get("reason").and_then(Value::as_str) == reason
                && told["checks"]["audit_stream"]["state"] == stream;
            right.then_some(())
        })
        .await;
    };
    becomes(200, None, "ok").await;
    // Redis does all but append to this key.
    let mut redis = world.redis().await;
    for command in [["RENAME", STREAM, "kept"], ["SET", STREAM, "no stream"]] {
        let _: Result<String, _> = redis::cmd(command[0])
            .arg(&command[1..])
            .query_async(&mut redis)
            .await;
    }
    let answer = crate::world::present_to(small.addr(), &token, NONE, "/").await;
    report.status("a request whose evidence waits", &answer, 200);
    becomes(200, None, "degraded").await;
    for crossed in 0.. {
        let answer = crate::world::present_to(small.addr(), &token, NONE, "/").await;
        let ready = http::get(small.addr(), "/ready", &[]).await;
        if ready.status() == 503 {
            report.status(format!("request {crossed}, with little room"), &answer, 200);
            break;
        }
        assert!(crossed < 5000, "ready although the spool fills");
    }
    becomes(503, Some("audit_unavailable"), "degraded").await;
    let answer = crate::world::present_to(small.addr(), &token, NONE, "/").await;
    report.status("what still comes", &answer, 200);
    let _: usize = redis::cmd("DEL")
        .arg(STREAM)
        .query_async(&mut redis)
        .await
        .expect("an answer of Redis");
    becomes(200, None, "ok").await;
    report.finish();
}
