//! What becomes of evidence while Redis is away, when a process ends, and when it is killed.

use super::{Run, collect, files_below, open, stop};
use crate::world::{NONE, World};
use devstack::{MintRequest, Use};
use testkit::proxy::Fault;
use testkit::wait::until;

const EVENTS: &str = "/sse?ms=600000";
const SUMMED: &str = "summed";

pub(super) async fn run(run: &mut Run) {
    copies(run).await;
    ended(run).await;
    killed(run).await;
}

/// A mandate that needs no mark.
fn reusable(world: &World) -> String {
    let request = MintRequest {
        mandate_use: Use::Session,
        ..world.stack.request_for(NONE)
    };
    let minted = world.stack.mint(&request).expect("a mandate");
    minted.token.expose().to_owned()
}

/// Redis carries commands out, and nobody hears its answers: events are sent again.
async fn copies(run: &mut Run) {
    let addr = run.world.addr();
    let token = reusable(&run.world);
    for attempt in 0.. {
        let errors = sink_errors(run).await;
        run.redis.set(Fault::CutAfter(0)).await;
        let id = format!("unheard-{attempt}");
        run.served(&id, addr, NONE, &token).await;
        let is_there = until("the event to be tried", async || {
            let events = run.world.events().await;
            let is_there = events.iter().any(|event| event.text("request_id") == id);
            (is_there || sink_errors(run).await > errors).then_some(is_there)
        })
        .await;
        if attempt == 0 {
            let single = run.world.token(NONE);
            let kind = ("denied", Some("replay_unavailable"));
            run.refused("no-mark", addr, NONE, &single, kind).await;
            files_below(run.world.gateway.directory(), &mut run.sinks);
        }
        run.redis.set(Fault::None).await;
        run.world.events_of(&id, 1).await;
        until("the gateway to be ready again", async || {
            let ready = testkit::http::get(addr, "/ready", &[]).await;
            (ready.status() == 200).then_some(())
        })
        .await;
        if is_there {
            return;
        }
        assert!(attempt < 20, "an answer is lost in the end");
    }
}

async fn sink_errors(run: &Run) -> u64 {
    let bearer = format!("Bearer {}", super::METRICS_BEARER);
    let headers = [("Authorization", bearer.as_str())];
    let figures = testkit::http::get(run.world.addr(), "/metrics.json", &headers).await;
    figures.json()["audit_sink_errors"].as_u64().expect("a number")
}

/// The end of a process: what still runs is interrupted, and refusals beyond the quota are summed.
async fn ended(run: &mut Run) {
    let settings = [
        ("AUDIT_DENIALS_PER_SECOND", "1"),
        ("SHUTDOWN_GRACE", "1s"),
        ("DRAIN_DELAY", "0s"),
    ];
    let mut gateway = run.world.replica_with(&settings).await;
    let token = run.world.token(NONE);
    let target = "/chunked?n=100000000&size=16";
    let mut client = open(
        run,
        gateway.addr(),
        ("stopped", &token),
        ("GET", NONE, target),
        "",
    )
    .await;
    client.head().await;
    run.expect("stopped", ("interrupted", Some("gateway_stopped")));
    let token = run.world.token(NONE);
    for number in 0..10 {
        let id = format!("{SUMMED}-{number}");
        let request = run.request(&id, "resource://unknown", &token);
        let response = crate::wire::ask(gateway.addr(), request).await;
        run.told(&id, &response);
    }
    gateway.terminate();
    run.report
        .equal("exit status", gateway.wait().await.code(), Some(0));
    collect(&mut run.sinks, "the one that ended", &gateway, false).await;
    let events = run.world.events().await;
    let of_these = |event: &&crate::world::Event| event.text("request_id").starts_with(SUMMED);
    let all: u64 = events
        .iter()
        .filter(of_these)
        .map(|event| event.metadata("suppressed").as_u64().unwrap_or(1))
        .sum();
    run.report.equal("refusals on record", all, 10);
}

/// A crash: the next process finishes what this one began.
async fn killed(run: &mut Run) {
    let mut gateway = run.world.replica_with(&[]).await;
    let token = run.world.token(NONE);
    let mut client = open(run, gateway.addr(), ("killed", &token), ("GET", NONE, EVENTS), "").await;
    client.head().await;
    run.expect("killed", ("interrupted", None));
    gateway.kill().await;
    collect(&mut run.sinks, "the one that was killed", &gateway, false).await;
    let spool = gateway.directory().join("spool").display().to_string();
    let next = run.world.replica_with(&[("AUDIT_REPLAY_DIR", &spool)]).await;
    run.world.events_of("killed", 1).await;
    collect(&mut run.sinks, "its successor", &next, true).await;
    stop(next).await;
}
