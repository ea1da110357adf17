//! Requests that a gate refuses, and good ones beside them.

use super::{Kind, Run, USER_INFO, collect, open, stop};
use crate::hand::HAND;
use crate::wire::ask;
use crate::world::{MANDATE, NONE, ZONE};
use devstack::{Answer, MintRequest, RawAnswer, Scope, Step};
use std::sync::Arc;
use std::time::Duration;
use testkit::clock::real_unix_seconds;
use testkit::wait::until;
use tokio::sync::Semaphore;

const GRANT: &str = r#"{"access_token":"planted-sts-08","token_type":"Bearer"}"#;
const REFUSAL: &str =
    r#"{"error":"access_denied","error_description":"policy denied","secret":"planted-sts-08"}"#;
const NOT_OURS: &str = r#"{"error":"access_denied","error_description":"invalid gateway exchange signature","x":"planted-sts-08"}"#;

const fn denied(kind: &'static str) -> Kind {
    ("denied", Some(kind))
}

pub(super) async fn run(run: &mut Run) {
    credentials(run).await;
    mandates(run).await;
    exchanges(run).await;
    impatient_with_the_sts(run).await;
    overloaded(run).await;
    exchanges_full(run).await;
}

/// Every credential mode goes well once, and its mandate is used again.
async fn credentials(run: &mut Run) {
    let addr = run.world.addr();
    let bound = run.world.stack.bindings().iter();
    let bound = bound.map(|binding| binding.resource.clone());
    let bound: Vec<_> = bound
        .filter(|resource| ![HAND, USER_INFO].contains(&resource.as_str()))
        .collect();
    for (number, resource) in bound.iter().enumerate() {
        let token = run.world.token(resource);
        run.served(&format!("good-{number}"), addr, resource, &token)
            .await;
        let again = format!("again-{number}");
        run.refused(&again, addr, resource, &token, ("anomaly", None))
            .await;
    }
}

async fn mandates(run: &mut Run) {
    let addr = run.world.addr();
    let token = run.world.token(NONE);
    run.refused(
        "not-bound",
        addr,
        "resource://unknown",
        &token,
        denied("not_bound"),
    )
    .await;

    let token = run.world.token(USER_INFO);
    let rejected = ("upstream_rejected", Some("upstream_not_addressable"));
    run.refused("user-info", addr, USER_INFO, &token, rejected).await;

    let token = run.world.mandate_with(NONE, |claims| {
        claims.insert("iat".into(), (real_unix_seconds() - 25 * 3600).into());
    });
    run.refused("stale", addr, NONE, &token, denied("revocation_stale"))
        .await;

    let revoked = run.world.mint(NONE);
    let message = [("session_id", revoked.sid.as_str()), ("zone_id", ZONE)];
    run.world.publish("caracal.sessions.revoke", &message).await;
    until("the revocation", async || {
        let again = MintRequest {
            sid: Some(revoked.sid.clone()),
            ..run.world.stack.request_for(NONE)
        };
        let token = run.world.stack.mint(&again).expect("a mandate").token;
        (run.world.present(token.expose(), NONE, "/").await.status() == 401).then_some(())
    })
    .await;
    run.refused("revoked", addr, NONE, revoked.token.expose(), denied("revoked"))
        .await;

    // What a database may refuse, and more of it than fits.
    let odd = "\0\"\\\u{1f600}\u{e9}\u{1}".repeat(60);
    let token = run.world.mandate_with(NONE, |claims| {
        claims.insert("agent_session_id".into(), odd.into());
    });
    run.served("odd", addr, NONE, &token).await;

    // Nobody vouches for these: they are told and logged, and have no event.
    let mut tampered = run.world.token(NONE);
    tampered.replace_range(tampered.len() - 8.., "AAAAAAAA");
    let basic = "dXNlcjpwbGFudGVkLWJhc2lj";
    run.planted.push(("Basic credentials", basic.to_owned()));
    run.planted
        .push(("Basic credentials", "planted-basic".to_owned()));
    for (id, token) in [
        ("tampered", tampered.as_str()),
        ("malformed", "planted.malformed.token-11"),
        ("basic", basic),
    ] {
        let mut request = run.request(id, NONE, token);
        if token == basic {
            request = request.replace("Bearer", "Basic");
        }
        let response = ask(addr, request).await;
        run.told(id, &response);
    }
}

/// What the STS answers, one way after the other.
async fn exchanges(run: &mut Run) {
    let addr = run.world.addr();
    let url = run.world.stack.upstream_url().to_owned();
    let json = |status, body: &str| Answer::Raw(RawAnswer::new(status, "application/json", body.to_owned()));
    let html = RawAnswer::new(200, "text/html", "<html>planted-sts-08");
    let directive = |rest: &str| {
        Answer::Directive(format!(
            r#"{{"url":"{url}","provider_token":"planted-provider-06",{rest}}}"#
        ))
    };
    let elsewhere = |url: &str| Answer::Directive(format!(r#"{{"url":"{url}","auth_mode":"none"}}"#));
    let oauth = r#""auth_mode":"provider_oauth","allowed_token_hosts":["api.example.com"]"#;
    let with_user = url.replace("http://", "http://user:planted-user-info-07@");
    for (id, answer, kind) in [
        ("exchange-refused", json(403, REFUSAL), denied("exchange_refused")),
        ("sts-answer", Answer::Raw(html), denied("sts_answer_invalid")),
        (
            "sts-signature",
            json(401, NOT_OURS),
            denied("sts_refused_gateway"),
        ),
        ("sts-hangs-up", Answer::Drop, denied("sts_unreachable")),
        ("no-directive", json(200, GRANT), denied("no_directive")),
        (
            "bad-directive",
            directive(r#""auth_mode":"magic""#),
            ("build_failed", Some("request_build_failed")),
        ),
        (
            "other-host",
            directive(oauth),
            ("upstream_rejected", Some("provider_host_not_allowed")),
        ),
        (
            "elsewhere",
            elsewhere("http://127.0.0.1:9/planted-path-01?key=planted-query-02"),
            ("upstream_rejected", Some("upstream_mismatch")),
        ),
        (
            "directive-user",
            elsewhere(&with_user),
            ("upstream_rejected", Some("upstream_not_addressable")),
        ),
    ] {
        run.world
            .stack
            .script()
            .set(Scope::Resource(MANDATE.into()), answer);
        let token = run.world.token(MANDATE);
        run.refused(id, addr, MANDATE, &token, kind).await;
        // A success in between keeps the circuit closed.
        let token = run.world.token(NONE);
        run.served(&format!("beside-{id}"), addr, NONE, &token).await;
    }
    run.world.stack.script().clear(&Scope::Resource(MANDATE.into()));
}

async fn impatient_with_the_sts(run: &mut Run) {
    let gateway = run.world.replica_with(&[("STS_TIMEOUT", "2s")]).await;
    let slow = Step {
        delay: Duration::from_secs(100),
        ..Step::default()
    };
    run.world.stack.script().set(Scope::Exchange, slow);
    let token = run.world.token(NONE);
    run.refused("sts-slow", gateway.addr(), NONE, &token, denied("sts_timeout"))
        .await;
    run.world.stack.script().set(Scope::Exchange, Answer::Drop);
    for number in 0.. {
        let id = format!("circuit-{number}");
        let token = run.world.token(NONE);
        let status = run
            .refused(&id, gateway.addr(), NONE, &token, denied("sts_unreachable"))
            .await;
        if status == 503 {
            run.expected.pop();
            run.expect(&id, denied("circuit_open"));
            break;
        }
        assert!(number < 50, "the circuit opens");
    }
    run.world.stack.script().clear(&Scope::Exchange);
    collect(
        &mut run.sinks,
        "the one that is impatient with the STS",
        &gateway,
        true,
    )
    .await;
    stop(gateway).await;
}

async fn overloaded(run: &mut Run) {
    let gateway = run.world.replica_with(&[("MAX_INFLIGHT_REQUESTS", "1")]).await;
    let token = run.world.token(HAND);
    let request = run.request("in-flight", HAND, &token);
    run.expect("in-flight", super::EXECUTED);
    let first = ask(gateway.addr(), request);
    let second = async {
        let mut call = run.upstream.call().await;
        call.head().await;
        let token = run.world.token(NONE);
        let request = crate::wire::head_with(&token, "GET", NONE, "/", "X-Request-Id: overloaded\r\n");
        let response = ask(gateway.addr(), request).await;
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        (token, response)
    };
    let (_, (token, response)) = tokio::join!(first, second);
    run.planted.push(("mandate", token));
    run.told("overloaded", &response);
    run.expect("overloaded", denied("overloaded"));
    stop(gateway).await;
}

/// Two exchanges at a time, of which a zone gets one.
async fn exchanges_full(run: &mut Run) {
    let gateway = run.world.replica_with(&[("STS_MAX_INFLIGHT", "2")]).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    run.world.stack.script().set(Scope::Exchange, held);
    let before = run.world.stack.sts().counts().exchanges;
    let token = run.world.token(NONE);
    let case = ("POST", NONE, "/");
    let mut first = open(
        run,
        gateway.addr(),
        ("first", &token),
        case,
        "Content-Length: 0\r\n",
    )
    .await;
    until("the exchange to be under way", async || {
        (run.world.stack.sts().counts().exchanges > before).then_some(())
    })
    .await;
    let token = run.world.token(NONE);
    run.refused("second", gateway.addr(), NONE, &token, denied("exchanges_full"))
        .await;
    gate.add_permits(100);
    let response = first.response().await;
    run.report.status("first", &response, 200);
    run.expect("first", super::EXECUTED);
    run.world.stack.script().clear(&Scope::Exchange);
    stop(gateway).await;
}
