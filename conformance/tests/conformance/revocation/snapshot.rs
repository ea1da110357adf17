//! What the database says: it lifts, it adds, and it must not be old.

use super::{AGENTS, REVOKE, again, edge, present, session, silent_stream, world};
use crate::hand::HandUpstream;
use crate::report::{Report, refusal};
use crate::world::{NONE, World, ZONE};
use devstack::Minted;
use testkit::http::{self, Piece, Response};
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::until;

#[tokio::test]
async fn revocation_is_lifted_and_reloaded_by_a_snapshot_alone() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let revoked = refusal(401, "invalid_token", "session revoked");

    let minted = world.mint(NONE);
    world
        .database
        .set_session(ZONE, session(&minted), "suspended")
        .await;
    announce(&world, "suspend", &minted).await;
    until("the suspension", async || {
        (present(&world, &again(&world, &minted)).await.status() == 401).then_some(())
    })
    .await;
    world.database.set_session(ZONE, session(&minted), "active").await;
    announce(&world, "resume", &minted).await;
    until("the resumption", async || {
        (present(&world, &again(&world, &minted)).await.status() == 200).then_some(())
    })
    .await;

    // `resume` alone, with a database that says otherwise, lifts nothing.
    let minted = world.mint(NONE);
    world
        .database
        .set_session(ZONE, session(&minted), "terminated")
        .await;
    announce(&world, "terminate", &minted).await;
    let reloads = world.metric("caracal_gateway_revocation_reloads_total").await;
    announce(&world, "resume", &minted).await;
    until("the snapshot after a resume", async || {
        (world.metric("caracal_gateway_revocation_reloads_total").await > reloads).then_some(())
    })
    .await;
    report.refused(
        "resumed by word alone",
        &present(&world, &again(&world, &minted)).await,
        revoked,
    );

    // An announced authority record stays revoked, whatever the database says.
    let minted = world.mint(NONE);
    world.database.set_authority(ZONE, &minted.sid, "active").await;
    let mut stream = silent_stream(&world, &minted, "").await;
    world
        .publish(REVOKE, &[("session_id", &minted.sid), ("zone_id", ZONE)])
        .await;
    report.holds("announced", matches!(stream.piece().await, Piece::End(_, _)));
    let reload = reload(&world, world.variable("CARACAL_ADMIN_TOKEN")).await;
    report.status("reload", &reload, 200);
    report.equal("reload", &reload.json()["ok"], &serde_json::Value::Bool(true));
    report.refused(
        "announced, then reloaded",
        &present(&world, &again(&world, &minted)).await,
        revoked,
    );

    // What only the database knows is in force once it is reloaded.
    let minted = world.mint(NONE);
    let mut stream = silent_stream(&world, &minted, "").await;
    world.database.set_edge(ZONE, edge(&minted), "revoked").await;
    for (token, status) in [("wrong", 404), (world.variable("CARACAL_ADMIN_TOKEN"), 200)] {
        report.status("reload", &self::reload(&world, token).await, status);
    }
    report.refused(
        "reloaded",
        &present(&world, &again(&world, &minted)).await,
        revoked,
    );
    report.holds("its stream", matches!(stream.piece().await, Piece::End(_, _)));
    report.finish();
}

/// What becomes of the mandate's session, as the stack's other services are told.
async fn announce(world: &World, event: &str, minted: &Minted) {
    let fields = [
        ("event", event),
        ("zone_id", ZONE),
        ("agent_session_id", session(minted)),
    ];
    world.publish(AGENTS, &fields).await;
}

async fn reload(world: &World, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    http::request(
        world.addr(),
        "POST",
        "/internal/revocations/reload",
        &headers,
        b"",
    )
    .await
}

#[tokio::test]
async fn revocation_state_that_is_stale_refuses_and_recovers() {
    let mut proxy = None;
    let world = World::builder()
        .env("REVOCATION_SNAPSHOT_MAX_AGE", "5s")
        // The snapshot of the start may have grown old before the first question.
        .without_waiting()
        .start_with(async |_, mut variables| {
            let url = variables["DATABASE_URL"].clone();
            let target = url.split('@').nth(1).and_then(|rest| rest.split('/').next());
            let target = target.and_then(|addr| addr.parse().ok()).expect("an address");
            let database = FaultProxy::start(target).await;
            let through = testkit::postgres::through(&url, database.port());
            variables.insert("DATABASE_URL".into(), through);
            proxy = Some(database);
            variables
        })
        .await;
    let proxy = proxy.expect("a proxy");
    let mut report = Report::default();
    let stale = refusal(503, "authority_unavailable", "revocation state unavailable");
    let admin = world.variable("CARACAL_ADMIN_TOKEN");

    until("a young snapshot", async || {
        let fresh = reload(&world, admin).await.status() == 200;
        (fresh && world.get(NONE, "/").await.status() == 200).then_some(())
    })
    .await;
    proxy.set(Fault::BlackHole).await;
    until("the snapshot to grow old", async || {
        stale.found_in(&world.get(NONE, "/").await).ok()
    })
    .await;
    let dispatched = world.dispatched();
    let minted = world.mint(NONE);
    report.refused(
        "an old snapshot",
        &present(&world, minted.token.expose()).await,
        stale,
    );
    report.equal("not dispatched", world.dispatched(), dispatched);
    report.equal("not spent", world.replay_mark(&minted.jti).await, None);
    until("/ready to tell", async || {
        let ready = http::get(world.addr(), "/ready", &[]).await;
        (ready.status() == 503 && ready.json()["reason"] == "revocation_snapshot_stale").then_some(())
    })
    .await;
    report.status("a reload without a database", &reload(&world, admin).await, 503);

    proxy.set(Fault::None).await;
    until("a snapshot", async || {
        let fresh = reload(&world, admin).await.status() == 200;
        (fresh && present(&world, &world.token(NONE)).await.status() == 200).then_some(())
    })
    .await;
    report.status(
        "the same mandate later",
        &present(&world, minted.token.expose()).await,
        200,
    );
    report.finish();
}
