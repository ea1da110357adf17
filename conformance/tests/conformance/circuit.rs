//! Gate 12: an STS that fails is left alone, and only for whom it fails.

use crate::report::{Refusal, Report, refusal};
use crate::world::{NONE, World, present_to};
use devstack::{Client, RawAnswer, Scope, Secret, Step};
use std::sync::Arc;
use testkit::wait::{PATIENCE, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const OPEN: Refusal = refusal(503, "sts_unavailable", "sts unavailable");
const ELSEWHERE: &str = "resource://elsewhere";

fn answer(status: u16, error: &str, description: &str) -> RawAnswer {
    let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    RawAnswer::new(status, "application/json", body)
}

#[tokio::test]
async fn circuit_opens_for_the_failing_zone_alone_and_recovers() {
    let world = World::builder()
        .stack(|stack| {
            // A second tenant with a resource of its own.
            stack.zones.push("zone-two".to_owned());
            let secret = Secret::random().expect("a secret");
            stack.clients.push(Client {
                zone: "zone-two".to_owned(),
                id: "app-two".to_owned(),
                secret,
            });
            let mut resource = stack.resources[0].clone();
            resource.zone = "zone-two".to_owned();
            resource.application_id = "app-two".to_owned();
            resource.identifier = ELSEWHERE.to_owned();
            stack.resources.push(resource);
        })
        .start()
        .await;
    // The key set of the first zone was scripted for everybody.
    world.stack.script().clear(&Scope::Jwks);
    let mut report = Report::default();
    let exchanges = || world.stack.sts().counts().exchanges;

    // Refusals by policy are answers, however many.
    world
        .stack
        .script()
        .set(Scope::Exchange, answer(403, "access_denied", "policy denied"));
    for n in 0..10 {
        let denied = world.get(NONE, "/x").await;
        report.refused(
            format!("denial {n}"),
            &denied,
            refusal(403, "access_denied", "policy denied"),
        );
    }
    world.stack.script().clear(&Scope::Exchange);
    let spent = world.token(NONE);
    report.status(
        "denials do not open it",
        &world.present(&spent, NONE, "/x").await,
        200,
    );

    // Five failures in a row do.
    let failing = Scope::Resource(NONE.to_owned());
    world
        .stack
        .script()
        .set(failing.clone(), answer(500, "internal_error", "no luck"));
    for n in 0..5 {
        let failed = world.get(NONE, "/x").await;
        report.refused(
            format!("failure {n}"),
            &failed,
            refusal(500, "internal_error", "no luck"),
        );
    }
    let before = exchanges();
    let mandate = world.mint(NONE);
    let token = mandate.token.expose();
    for n in 0..5 {
        report.refused(format!("open {n}"), &world.present(token, NONE, "/x").await, OPEN);
    }
    report.refused(
        "open, before replay",
        &world.present(&spent, NONE, "/x").await,
        OPEN,
    );
    report.equal("the STS is left alone", exchanges(), before);
    report.equal(
        "the mandate is not spent",
        world.replay_mark(&mandate.jti).await,
        None,
    );
    let other = world.present(&world.token(ELSEWHERE), ELSEWHERE, "/x").await;
    report.status("another zone goes on", &other, 200);
    report.equal(
        "gauge",
        world.metric("caracal_gateway_sts_circuit_open").await,
        1.0,
    );

    // Healed, it closes again with the first probe, and the mandate from before still passes.
    world.stack.script().clear(&failing);
    until("the circuit to let a probe through", async || {
        (world.present(token, NONE, "/x").await.status() == 200).then_some(())
    })
    .await;
    report.status("closed", &world.get(NONE, "/x").await, 200);
    report.equal(
        "gauge after",
        world.metric("caracal_gateway_sts_circuit_open").await,
        0.0,
    );
    report.finish();
}

#[tokio::test]
async fn circuit_without_a_free_permit_refuses_at_once_and_spends_nothing() {
    // One zone may hold half of the permits: one.
    let world = World::builder().env("STS_MAX_INFLIGHT", "2").start().await;
    let mut report = Report::default();
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    world.stack.script().set(Scope::Exchange, held);
    let mut first = JoinSet::new();
    let (addr, token) = (world.addr(), world.token(NONE));
    first.spawn(async move { present_to(addr, &token, NONE, "/x").await });
    let waiting = world
        .stack
        .sts()
        .wait_for(PATIENCE, |counts| counts.exchanges == 1)
        .await;
    report.holds("an exchange is under way", waiting.is_some());
    let mandate = world.mint(NONE);
    let token = mandate.token.expose();
    report.refused("no permit", &world.present(token, NONE, "/x").await, OPEN);
    report.equal("exchanges", world.stack.sts().counts().exchanges, 1);
    report.equal("mark", world.replay_mark(&mandate.jti).await, None);
    world.stack.script().clear(&Scope::Exchange);
    gate.add_permits(1);
    let first = first.join_next().await.expect("a request").expect("an answer");
    report.status("the one before", &first, 200);
    report.status("the same mandate", &world.present(token, NONE, "/x").await, 200);
    report.finish();
}
