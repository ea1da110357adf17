//! Gate 14: a single-use mandate opens the door once, for all replicas together.

use crate::report::{Refusal, Report, refusal};
use crate::world::{MANDATE, NONE, Wiretap, World, present_to};
use devstack::{Answer, RawAnswer, Scope, Step};
use std::time::Duration;
use testkit::clock::real_unix_seconds;
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::until;

const REPLAYED: Refusal = refusal(401, "invalid_token", "token replay detected");
const UNREACHABLE: Refusal = refusal(502, "sts_unavailable", "sts unavailable");

fn sts_address(url: &str) -> std::net::SocketAddr {
    url["http://".len()..].parse().expect("an address")
}

#[tokio::test]
async fn replay_second_use_is_refused_and_leaves_evidence() {
    let mut tap = None;
    let world = World::builder()
        .start_with(async |stack, mut variables| {
            let started = Wiretap::start(sts_address(stack.sts_url())).await;
            variables.insert("STS_URL".to_owned(), format!("http://{}", started.addr()));
            tap = Some(started);
            variables
        })
        .await;
    let tap = tap.expect("a wiretap");
    let mut report = Report::default();
    let mandate = world.mint(NONE);
    let token = mandate.token.expose();
    let bearer = format!("Bearer {token}");
    let before = real_unix_seconds();
    report.status("first use", &world.present(token, NONE, "/x").await, 200);

    // The mark holds the id of the exchange, never the client's, and outlives the mandate by a minute.
    let (value, life) = world.replay_mark(&mandate.jti).await.expect("a replay mark");
    let exchange = tap
        .requests()
        .into_iter()
        .find(|seen| seen.line.starts_with("POST"))
        .expect("an exchange");
    report.equal("mark", Some(value.as_str()), exchange.headers.get("x-request-id"));
    let [least, most] = [real_unix_seconds(), before].map(|now| mandate.expires_at + 60 - now);
    let life = u64::try_from(life / 1000).expect("a life");
    report.holds(
        format!("life of {life} s, {least} to {most} s are left"),
        (least - 1..=most + 1).contains(&life),
    );

    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Caracal-Resource", NONE),
        ("X-Request-Id", "again-1"),
    ];
    let second = testkit::http::get(world.addr(), "/x", &headers).await;
    report.refused("second use", &second, REPLAYED);
    report.refused(
        "for another resource",
        &world.present(token, MANDATE, "/x").await,
        REPLAYED,
    );
    let unbound = world.present(token, "resource://unbound", "/x").await;
    let not_bound = refusal(403, "access_denied", "resource not configured");
    report.refused("binding before replay", &unbound, not_bound);
    report.equal("exchanges", world.stack.sts().counts().exchanges, 1);
    report.equal("dispatched", world.dispatched(), 1);
    report.equal(
        "the mark stays",
        world.replay_mark(&mandate.jti).await.map(|mark| mark.0),
        Some(value),
    );

    let events = world.events_of("again-1", 1).await;
    let replay = events
        .iter()
        .find(|event| event.text("event_type") == "replay_detected")
        .expect("an event");
    report.equal("decision", replay.text("decision"), "deny");
    report.equal("evaluation", replay.text("evaluation_status"), "anomaly");
    report.equal("jti", replay.metadata("jti").as_str(), Some(mandate.jti.as_str()));
    report.equal("resource", replay.metadata("resource").as_str(), Some(NONE));
    report.finish();
}

#[tokio::test]
async fn replay_mark_is_released_only_when_nothing_reached_the_sts() {
    let mut proxy = None;
    let world = World::builder()
        .env("STS_TIMEOUT", "4s")
        .start_with(async |stack, mut variables| {
            let started = FaultProxy::start(sts_address(stack.sts_url())).await;
            variables.insert("STS_URL".to_owned(), format!("http://{}", started.addr()));
            proxy = Some(started);
            variables
        })
        .await;
    let proxy = proxy.expect("a proxy");
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/x").await, 200);

    // Nobody listens: the mandate is as good as new.
    let mandate = world.mint(NONE);
    let token = mandate.token.expose();
    proxy.set(Fault::Refuse).await;
    report.refused(
        "refused connection",
        &world.present(token, NONE, "/x").await,
        UNREACHABLE,
    );
    until("the mark to be released", async || {
        world.replay_mark(&mandate.jti).await.is_none().then_some(())
    })
    .await;
    proxy.set(Fault::None).await;
    report.status("the same mandate", &world.present(token, NONE, "/x").await, 200);

    // Whatever the STS does with a request that reached it, the mandate is spent.
    let slow = Step {
        delay: Duration::from_secs(100),
        ..Step::default()
    };
    let cases: [(&str, Step, Refusal); 4] = [
        ("hung up", Answer::Drop.into(), UNREACHABLE),
        ("too slow", slow, refusal(504, "sts_unavailable", "sts timeout")),
        (
            "denied",
            RawAnswer::new(
                403,
                "application/json",
                r#"{"error":"access_denied","error_description":"policy denied"}"#,
            )
            .into(),
            refusal(403, "access_denied", "policy denied"),
        ),
        (
            "nonsense",
            RawAnswer::new(200, "application/json", "[]").into(),
            refusal(502, "sts_unavailable", "sts response invalid"),
        ),
    ];
    for (case, step, expect) in cases {
        world.stack.script().set(Scope::Exchange, step);
        let mandate = world.mint(NONE);
        let token = mandate.token.expose();
        report.refused(case, &world.present(token, NONE, "/x").await, expect);
        world.stack.script().clear(&Scope::Exchange);
        report.holds(
            format!("{case}: mark kept"),
            world.replay_mark(&mandate.jti).await.is_some(),
        );
        report.refused(
            format!("{case}: again"),
            &world.present(token, NONE, "/x").await,
            REPLAYED,
        );
    }
    report.finish();
}

#[tokio::test]
async fn replay_store_that_is_down_refuses_unless_told_to_fail_open() {
    let mut world = World::builder().env("REPLAY_TIMEOUT", "3s").start().await;
    let open = world.replica_with(&[("JTI_FAIL_OPEN", "true")]).await;
    let mut report = Report::default();
    let warned = open.stderr().iter().any(|line| line.contains("JTI_FAIL_OPEN"));
    report.holds("a warning at start", warned);
    report.status("before", &world.get(NONE, "/x").await, 200);
    let unavailable = refusal(503, "authority_unavailable", "replay store unavailable");
    let token = world.token(NONE);
    world.redis.pause();
    report.refused("closed", &world.present(&token, NONE, "/x").await, unavailable);
    report.equal("nothing exchanged", world.stack.sts().counts().exchanges, 1);
    let open_answer = present_to(open.addr(), &world.token(NONE), NONE, "/x").await;
    report.status("open", &open_answer, 200);
    world.redis.resume();
    // The mark whose answer was lost is taken back, so the mandate was never spent.
    until("the mandate to pass", async || {
        (world.present(&token, NONE, "/x").await.status() == 200).then_some(())
    })
    .await;
    report.finish();
}
