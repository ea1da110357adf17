//! Evidence goes where the stream is, and waits where it may not grow.

use super::durable::reusable;
use super::named;
use crate::report::Report;
use crate::wire::{ask, head_with};
use crate::world::{NONE, World, around_address};
use serde_json::Value;
use std::net::SocketAddr;
use testkit::http;
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

const STREAM: &str = "caracal.audit.events";

/// Waits until `/ready` answers with this status and says this of the audit stream.
async fn becomes(addr: SocketAddr, status: u16, stream: &str) {
    until(&format!("/ready to be {status}, {stream}"), async || {
        let ready = http::get(addr, "/ready", &[]).await;
        let told: Value = ready.json();
        (ready.status() == status && told["checks"]["audit_stream"]["state"] == stream).then_some(())
    })
    .await;
}

/// Sends a request with a mandate that needs no mark.
async fn cross(world: &World, report: &mut Report, token: &str, id: &str) {
    let response = ask(world.addr(), head_with(token, "GET", NONE, "/", &named(id))).await;
    report.status(id, &response, 200);
}

#[tokio::test]
async fn evidence_follows_from_a_demoted_primary_to_the_new_one_and_readiness_tells_of_it() {
    let mut between = None;
    let world = World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .start_with(async |_, mut variables| {
            let (start, target, rest) = around_address(&variables["REDIS_URL"]);
            let proxy = FaultProxy::start(target).await;
            let url = format!("{start}{}{rest}", proxy.addr());
            variables.insert("REDIS_URL".to_owned(), url);
            between = Some(proxy);
            variables
        })
        .await;
    let proxy = between.expect("a proxy");
    let mut report = Report::default();
    let token = reusable(&world);
    cross(&world, &mut report, &token, "before").await;
    world.events_of("before", 1).await;
    becomes(world.addr(), 200, "ok").await;

    // The old primary is demoted and lives on; the address still leads to it.
    let new = PrivateRedis::start().await;
    let login = format!(">{}", world.redis.password());
    let () = new.ask(&["ACL", "SETUSER", "default", &login]).await;
    let port = new.port().to_string();
    let () = world.redis.ask(&["REPLICAOF", "127.0.0.1", &port]).await;
    cross(&world, &mut report, &token, "while").await;
    becomes(world.addr(), 503, "degraded").await;

    // Open connections stay where they are.
    proxy.set(Fault::Moved(([127, 0, 0, 1], new.port()).into())).await;
    until("the event at the new primary", async || {
        let length: usize = new.ask(&["XLEN", STREAM]).await;
        (length > 0).then_some(())
    })
    .await;
    becomes(world.addr(), 200, "ok").await;
    cross(&world, &mut report, &token, "after").await;
    until("both events at the new primary", async || {
        // One may be there twice.
        let entries: Vec<(String, Vec<String>)> = new.ask(&["XRANGE", STREAM, "-", "+"]).await;
        let holds = |id: &str| {
            let id = format!("\"{id}\"");
            let mut fields = entries.iter().flat_map(|(_, fields)| fields);
            fields.any(|field| field.contains(&id))
        };
        (holds("while") && holds("after")).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn evidence_waits_while_the_stream_is_full_and_goes_on_by_itself() {
    let world = World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .env("AUDIT_STREAM_MAX_LEN", "3")
        .start()
        .await;
    let mut report = Report::default();
    let token = reusable(&world);
    for number in 0..5 {
        cross(&world, &mut report, &token, &format!("event-{number}")).await;
    }
    becomes(world.addr(), 200, "degraded").await;
    let length: usize = world.redis.ask(&["XLEN", STREAM]).await;
    report.equal("length", length, 3);
    report.equal(
        "full",
        world.metric("caracal_gateway_audit_stream_full").await,
        1.0,
    );
    let drained = world.metric("caracal_gateway_audit_drained_total").await;
    report.equal("delivered", drained, 3.0);
    let errors = world.metric("caracal_gateway_audit_sink_errors_total").await;
    report.equal("errors", errors, 0.0);
    let told = |line: &Value| line.to_string().contains("AUDIT_STREAM_MAX_LEN is 3");
    world.gateway.logged("a warning", told).await;
    report.status("single use goes on", &world.get(NONE, "/").await, 200);

    // The audit service has read them, and what it has read is trimmed.
    let _: usize = world.redis.ask(&["XTRIM", STREAM, "MAXLEN", "0"]).await;
    becomes(world.addr(), 200, "ok").await;
    let rest = until("the rest", async || {
        let events = world.events().await;
        let ids: Vec<_> = events
            .iter()
            .map(|event| event.text("request_id").to_owned())
            .collect();
        (ids.len() >= 2).then_some(ids)
    })
    .await;
    report.equal("the rest, in order", &rest[..2], ["event-3", "event-4"]);
    report.equal(
        "full",
        world.metric("caracal_gateway_audit_stream_full").await,
        0.0,
    );
    report.finish();
}
