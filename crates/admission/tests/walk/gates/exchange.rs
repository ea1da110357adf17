//! Gates 12 to 15.

use admission::Denial;
use admission::limits::OnReplayOutage;
use admission::mode::Mode;
use serde_json::json;

use super::refuses;
use crate::ports::{Exchange, RESOURCE, Set};
use crate::scene::{Scene, granting};

#[test]
fn circuit_open_is_503() {
    refuses(
        |scene| scene.circuit_faults = 5,
        503,
        "sts_unavailable",
        "sts unavailable",
    );
    assert!(
        Scene::with(|scene| scene.circuit_faults = 4)
            .walk()
            .result
            .is_ok()
    );
}

#[test]
fn evidence_without_room_is_503() {
    refuses(
        |scene| scene.script.room = false,
        503,
        "authority_unavailable",
        "audit evidence unavailable",
    );
}

#[test]
fn replay_second_use_is_refused() {
    refuses(
        |scene| scene.script.set = Set::Seen,
        401,
        "invalid_token",
        "token replay detected",
    );
}

#[test]
fn replay_store_down_is_503() {
    refuses(
        |scene| scene.script.set = Set::Unavailable,
        503,
        "authority_unavailable",
        "replay store unavailable",
    );
}

#[test]
fn replay_store_down_passes_only_with_the_proof_of_development() {
    let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
        unreachable!()
    };
    let open = |set| {
        Scene::with(|scene| {
            scene.on_outage = OnReplayOutage::Pass(proof);
            scene.script.set = set;
        })
        .walk()
    };
    let walked = open(Set::Unavailable);
    assert!(walked.result.is_ok());
    assert!(
        !walked.world.journal.has("release"),
        "the mandate is used: nothing is given back"
    );
    assert_eq!(
        open(Set::Seen).denial(),
        Some(Denial::Replayed),
        "a known replay stays one"
    );
}

#[test]
fn exchange_refused_passes_on_the_stss_own_words() {
    let body =
        json!({ "error": "access_denied", "error_description": "policy denied", "challenge_secret": "s" });
    let walked = Scene::with(|scene| scene.script.exchange = Exchange::Answers(403, body.to_string())).walk();
    let (_, refused) = walked.result.err().unwrap();
    let words = refused.sts.unwrap();
    assert_eq!(refused.denial, Denial::ExchangeRefused);
    assert_eq!(
        (words.status, words.error.as_str(), words.description.as_str()),
        (403, "access_denied", "policy denied")
    );
}

#[test]
fn exchange_failures_are_of_the_stss_making() {
    let unreachable = (502, "sts_unavailable", "sts unavailable");
    let timeout = (504, "sts_unavailable", "sts timeout");
    let invalid = (502, "sts_unavailable", "sts response invalid");
    let signature = r#"{"error":"access_denied","error_description":"invalid gateway exchange signature"}"#;
    let ours = (503, "sts_unavailable", "sts refused the gateway");
    for (exchange, (status, error, description)) in [
        (Exchange::Local, (503, "overloaded", "gateway overloaded")),
        (Exchange::Connect, unreachable),
        (Exchange::Broken, unreachable),
        (Exchange::Timeout, timeout),
        (Exchange::PoolTimeout, timeout),
        (Exchange::Oversized, invalid),
        (Exchange::Answers(302, String::new()), invalid),
        (Exchange::Answers(200, "<html>".to_owned()), invalid),
        (
            Exchange::Answers(200, r#"{"access_token":""}"#.to_owned()),
            invalid,
        ),
        (Exchange::Answers(401, signature.to_owned()), ours),
    ] {
        let walked = refuses(
            |scene| scene.script.exchange = exchange,
            status,
            error,
            description,
        );
        assert_eq!(
            walked.world.journal.forms.lock().unwrap().len(),
            1,
            "never retried"
        );
    }
}

#[test]
fn exchange_without_directive_is_refused_by_the_caracal_dialect() {
    let body = json!({ "access_token": "a.b.c" }).to_string();
    let walked = refuses(
        |scene| scene.script.exchange = Exchange::Answers(200, body),
        403,
        "access_denied",
        "resource upstream not configured",
    );
    assert!(!walked.world.journal.has("release"), "the mandate is spent");
    let elsewhere =
        json!({ "access_token": "a.b.c", "upstreams": { format!("{RESOURCE}/x"): {} } }).to_string();
    refuses(
        |scene| scene.script.exchange = Exchange::Answers(200, elsewhere),
        403,
        "access_denied",
        "resource upstream not configured",
    );
}

#[test]
fn exchange_with_a_bad_directive_is_502() {
    let directive = json!({ "url": "https://api.example", "auth_mode": "magic" });
    refuses(
        |scene| scene.script.exchange = granting(&directive),
        502,
        "internal_error",
        "upstream directive invalid",
    );
}
