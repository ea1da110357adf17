//! The contract of [`Sts`].

use std::sync::Arc;

use admission::ports::Sts;
use bytes::Bytes;
use devstack::{Answer, RawAnswer, Scope, Step};
use testkit::wait::PATIENCE;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::authority::{Authority, send, word};

/// `sts` leads to the authority's STS, below `prefix`.
pub(crate) async fn sts_contract(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    grants_as_the_sts_answers(authority, sts, prefix).await;
    relays_every_status_and_follows_none(authority, sts, prefix).await;
    refuses_what_is_too_large(authority, sts, prefix).await;
    ends_within_its_time(authority, sts, prefix).await;
    tells_a_lost_answer(authority, sts, prefix).await;
    grants_as_the_sts_answers(authority, sts, prefix).await;
}

async fn grants_as_the_sts_answers(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    let (outcome, left) = send(sts, &authority.exchange(prefix)).await;
    let answer = outcome.unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert!(answer.content_type.starts_with("application/json"));
    assert!(answer.body.windows(12).any(|part| part == b"access_token"));
    assert!(left, "an exchange that was answered has left");
}

async fn relays_every_status_and_follows_none(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    let (script, before) = (authority.stack.script(), authority.stack.sts().counts());
    for status in [204, 400, 401, 403, 429, 500, 503] {
        script.set(
            Scope::Exchange,
            RawAnswer::new(status, "text/html; charset=utf-8", "<html>"),
        );
        let answer = send(sts, &authority.exchange(prefix)).await.0.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.content_type, "text/html; charset=utf-8");
    }
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("{}/elsewhere", authority.stack.upstream_url());
        script.set(Scope::Exchange, RawAnswer::redirect(status, &elsewhere));
        assert_eq!(
            send(sts, &authority.exchange(prefix)).await.0.unwrap().status,
            status
        );
    }
    script.clear(&Scope::Exchange);
    let after = authority.stack.sts().counts();
    assert_eq!(after.exchanges - before.exchanges, 12, "one request each");
    assert_eq!(
        authority.stack.upstream().counts(),
        devstack::UpstreamCounts::default()
    );
}

async fn refuses_what_is_too_large(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    let script = authority.stack.script();
    for (length, expect) in [
        (256 * 1024, "200"),
        (256 * 1024 + 1, "oversized"),
        (300 * 1024, "oversized"),
    ] {
        script.set(Scope::Exchange, RawAnswer::oversized(length));
        let (outcome, left) = send(sts, &authority.exchange(prefix)).await;
        assert_eq!((word(&outcome).as_str(), left), (expect, true), "{length}");
        if let Ok(answer) = outcome {
            assert_eq!(answer.body.len(), length);
        }
    }
    let empty = RawAnswer::new(200, "application/json", Bytes::new());
    script.set(Scope::Exchange, empty);
    let answer = send(sts, &authority.exchange(prefix)).await.0.unwrap();
    assert!(answer.body.is_empty());
    script.clear(&Scope::Exchange);
}

async fn ends_within_its_time(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    authority.stack.script().set(Scope::Exchange, held);
    let call = authority.exchange(prefix);
    let waited = timeout(PATIENCE, send(sts, &call));
    let (outcome, left) = waited.await.expect("an end although the STS says nothing");
    assert_eq!((word(&outcome).as_str(), left), ("timeout", true));
    authority.stack.script().clear(&Scope::Exchange);
    gate.add_permits(1);
}

async fn tells_a_lost_answer(authority: &Authority, sts: &dyn Sts, prefix: &str) {
    let before = authority.stack.sts().counts();
    authority.stack.script().set(Scope::Exchange, Answer::Drop);
    let (outcome, left) = send(sts, &authority.exchange(prefix)).await;
    assert_eq!((word(&outcome).as_str(), left), ("transport", true));
    authority.stack.script().clear(&Scope::Exchange);
    let after = authority.stack.sts().counts();
    assert_eq!(after.exchanges - before.exchanges, 1, "never sent again");
}
