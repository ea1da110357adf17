//! A revocation that arrives while the exchange is under way.

use super::REVOKE;
use crate::report::{Report, refusal};
use crate::world::{NONE, World, ZONE, present_to};
use devstack::{Scope, Step};
use std::sync::Arc;
use testkit::wait::{PATIENCE, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test]
async fn revocation_during_the_exchange_keeps_the_request_from_the_upstream() {
    let world = World::start().await;
    let mut report = Report::default();
    // A pooled connection to the upstream is ready: nothing but the revocation stands in the way.
    let warm = world.get(NONE, "/warm").await;
    report.status("warm-up", &warm, 200);
    let before = world.dispatched();

    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    world.stack.script().set(Scope::Exchange, held);
    let mandate = world.mint(NONE);
    let exchanges = world.stack.sts().counts().exchanges;
    let (addr, token) = (world.addr(), mandate.token.expose().to_owned());
    let mut request = JoinSet::new();
    request.spawn(async move { present_to(addr, &token, NONE, "/x").await });
    let waiting = world
        .stack
        .sts()
        .wait_for(PATIENCE, |counts| counts.exchanges > exchanges)
        .await;
    report.holds("an exchange is under way", waiting.is_some());

    let applied = world.metric("caracal_gateway_revocation_messages_total").await;
    let fields = [
        ("zone_id", ZONE),
        ("session_id", mandate.sid.as_str()),
        ("reason", "test"),
    ];
    world.publish(REVOKE, &fields).await;
    until("the revocation is applied", async || {
        (world.metric("caracal_gateway_revocation_messages_total").await > applied).then_some(())
    })
    .await;
    world.stack.script().clear(&Scope::Exchange);
    gate.add_permits(1);

    let answer = request.join_next().await.expect("a request").expect("an answer");
    report.refused(
        "revoked on the way",
        &answer,
        refusal(401, "invalid_token", "session revoked"),
    );
    report.equal("requests at the upstream", world.dispatched(), before);
    report.finish();
}
