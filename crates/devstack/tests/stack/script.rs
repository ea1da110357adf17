//! Faults on demand.

use std::sync::Arc;
use std::time::Duration;

use devstack::{Answer, RawAnswer, Scope, Step};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{Fixed, MANDATE, SOON};

#[tokio::test]
async fn a_raw_answer_replaces_the_exchange_of_its_resource_only() {
    let fixed = Fixed::start().await;
    let script = fixed.stack.script();
    script.set(
        Scope::Resource(MANDATE.into()),
        RawAnswer::new(503, "text/html", "<p>"),
    );
    let answer = fixed.exchange(&fixed.mandate(MANDATE), MANDATE).send().await;
    assert_eq!((answer.status, answer.header("content-type")), (503, "text/html"));
    assert_eq!(answer.body, "<p>");
    let other = "resource://none";
    assert_eq!(
        fixed.exchange(&fixed.mandate(other), other).send().await.status,
        200
    );
    script.set(Scope::Exchange, RawAnswer::redirect(302, "/elsewhere"));
    let answer = fixed.exchange(&fixed.mandate(other), other).send().await;
    assert_eq!((answer.status, answer.header("location")), (302, "/elsewhere"));
    script.set(Scope::Exchange, RawAnswer::oversized(300_000));
    assert_eq!(
        fixed
            .exchange(&fixed.mandate(other), other)
            .send()
            .await
            .body
            .len(),
        300_000
    );
    script.clear(&Scope::Exchange);
    assert_eq!(
        fixed.exchange(&fixed.mandate(other), other).send().await.status,
        200
    );
    assert_eq!(fixed.stack.sts().counts().exchanges, 5);
}

#[tokio::test]
async fn a_dropped_connection_carries_no_answer() {
    let fixed = Fixed::start().await;
    fixed.stack.script().set(Scope::Exchange, Answer::Drop);
    assert!(
        fixed
            .exchange(&fixed.mandate(MANDATE), MANDATE)
            .try_send()
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_directive_is_replaced_in_an_otherwise_true_answer() {
    let fixed = Fixed::start().await;
    let directive = json!({"url": "http://other", "auth_mode": "odd"});
    fixed
        .stack
        .script()
        .set(Scope::Exchange, Answer::Directive(directive.to_string()));
    let answer = fixed.exchange(&fixed.mandate(MANDATE), MANDATE).send().await;
    assert_eq!(answer.upstream(MANDATE), directive);
    assert_eq!(fixed.exchange("bad", MANDATE).send().await.status, 401);
}

#[tokio::test]
async fn a_held_exchange_is_counted_and_goes_on_when_it_is_let() {
    let fixed = Fixed::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let step = Step {
        delay: Duration::from_millis(1),
        hold: Some(Arc::clone(&gate)),
        answer: None,
    };
    fixed.stack.script().set(Scope::Exchange, step);
    let exchange = fixed.exchange(&fixed.mandate(MANDATE), MANDATE);
    let let_go = async {
        fixed
            .stack
            .sts()
            .wait_for(SOON, |counts| counts.exchanges == 1)
            .await
            .unwrap();
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(exchange.send(), let_go);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_key_set_of_one_zone_is_held_back_and_the_others_are_not() {
    let fixed = Fixed::with(|config| config.zones.push("zone-other".into())).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    let script = fixed.stack.script();
    script.set(Scope::Jwks, RawAnswer::new(503, "text/plain", ""));
    script.set(Scope::ZoneJwks("zone-dev".into()), held);
    let keys_of = |zone: &str| format!("/.well-known/jwks.json?zone_id={zone}");
    let (slow, other) = (keys_of("zone-dev"), keys_of("zone-other"));
    let mut slow = Box::pin(fixed.get(&slow));
    let other = tokio::select! {
        biased;
        _ = &mut slow => panic!("not held"),
        other = fixed.get(&other) => other,
    };
    assert_eq!(other.status, 503);
    gate.add_permits(1);
    assert_eq!(slow.await.status, 200);
}

#[tokio::test]
async fn key_sets_and_health_have_faults_of_their_own() {
    let fixed = Fixed::start().await;
    let script = fixed.stack.script();
    script.set(Scope::Jwks, RawAnswer::new(200, "application/json", "{}"));
    script.set(Scope::Health, RawAnswer::new(500, "text/plain", ""));
    assert_eq!(
        fixed.get("/.well-known/jwks.json?zone_id=zone-dev").await.body,
        "{}"
    );
    assert_eq!(fixed.get("/health").await.status, 500);
    assert_eq!(
        fixed
            .exchange(&fixed.mandate(MANDATE), MANDATE)
            .send()
            .await
            .status,
        200
    );
}
