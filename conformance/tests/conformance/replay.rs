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

#[tokio::test]
async fn replay_loss_of_the_store_is_noticed_by_a_replica_that_served_nothing_yet() {
    let world = World::start().await;
    let idle = world.replica().await;
    let mut report = Report::default();
    // One of an issuer whose clock is five seconds ahead is no better off.
    let ahead = world.mandate_with(NONE, |claims| {
        let issued = real_unix_seconds() + 5;
        claims.insert("iat".to_owned(), issued.into());
    });
    let used = [world.token(NONE), world.token(NONE), ahead];
    for token in &used {
        report.status("first use", &world.present(token, NONE, "/x").await, 200);
    }
    // It reads the greatest lead with every look at the store.
    idle_has_looked(&world).await;
    let _: String = world.redis.ask(&["FLUSHALL"]).await;
    for token in &used {
        report.refused(
            "second use",
            &present_to(idle.addr(), token, NONE, "/x").await,
            REPLAYED,
        );
        report.refused("and here", &world.present(token, NONE, "/x").await, REPLAYED);
    }
    report.equal("dispatched", world.dispatched(), 3);
    until("a fresh mandate to pass", async || {
        let fresh = world.token(NONE);
        (present_to(idle.addr(), &fresh, NONE, "/x").await.status() == 200).then_some(())
    })
    .await;
    report.finish();
}

/// Both replicas look at the store each second, with a script: waits for six more.
async fn idle_has_looked(world: &World) {
    let scripts = async || {
        let stats: String = world.redis.ask(&["INFO", "commandstats"]).await;
        let calls = stats
            .split_once("cmdstat_eval:calls=")
            .map_or("0", |(_, rest)| rest);
        let calls = calls.split(',').next().expect("a number");
        calls.parse::<u64>().expect("a number")
    };
    let before = scripts().await;
    until("both replicas to look at the store", async || {
        (scripts().await >= before + 6).then_some(())
    })
    .await;
}

#[tokio::test]
async fn replay_store_that_may_not_be_asked_for_its_history_counts_new_connections_as_losses() {
    let world = World::start().await;
    let rule = [
        "ACL",
        "SETUSER",
        "limited",
        "on",
        ">secret",
        "~*",
        "&*",
        "+@all",
        "-@dangerous",
    ];
    let _: String = world.redis.ask(&rule).await;
    let url = format!("redis://limited:secret@127.0.0.1:{}/0", world.redis.port());
    let limited = world.replica_with(&[("REDIS_URL", &url)]).await;
    let mut report = Report::default();
    limited
        .logged("the right that is missing", |line| {
            line["msg"].as_str().is_some_and(|text| text.contains("+info"))
        })
        .await;
    let mandate = until("a mandate to pass", async || {
        let mandate = world.mint(NONE);
        let answer = present_to(limited.addr(), mandate.token.expose(), NONE, "/x").await;
        (answer.status() == 200).then_some(mandate)
    })
    .await;
    let dispatched = world.dispatched();
    // Its mark is gone, as after a restart from an older snapshot, and the connection is a new one.
    let _: u64 = world
        .redis
        .ask(&["DEL", &format!("seen:jti:{}", mandate.jti)])
        .await;
    let _: u64 = world.redis.ask(&["CLIENT", "KILL", "USER", "limited"]).await;
    until("an answer of the store", async || {
        let answer = present_to(limited.addr(), mandate.token.expose(), NONE, "/x").await;
        REPLAYED.found_in(&answer).ok()
    })
    .await;
    report.equal("dispatched", world.dispatched(), dispatched);
    report.finish();
}

#[tokio::test]
async fn replay_marks_that_cannot_be_made_make_the_gateway_not_ready_without_traffic() {
    let world = World::start().await;
    let ready = async || testkit::http::get(world.addr(), "/ready", &[]).await;
    for [setting, broken, mended] in [["maxmemory", "1", "0"], ["min-replicas-to-write", "1", "0"]] {
        let _: String = world.redis.ask(&["CONFIG", "SET", setting, broken]).await;
        until("/ready to say so", async || {
            let answer = ready().await;
            let told: serde_json::Value = answer.json();
            (answer.status() == 503 && told["reason"] == "redis_unreachable").then_some(())
        })
        .await;
        let _: String = world.redis.ask(&["CONFIG", "SET", setting, mended]).await;
        until("/ready to be well", async || {
            (ready().await.status() == 200).then_some(())
        })
        .await;
    }
}
