//! Every crossing leaves one event, whatever becomes of it.

mod anchor;
mod command;
mod disk;
mod durable;
mod proof;
mod stream;

use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::wire::{ask, head_with};
use crate::world::{APP, Event, MANDATE, NONE, World, ZONE, around_address};
use devstack::{MintRequest, RawAnswer, Scope};
use serde_json::Value;
use testkit::http::{Connection, Piece};
use testkit::wait::until;

async fn world(upstream: &HandUpstream) -> World {
    World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .hand(upstream)
        .env("UPSTREAM_TIMEOUT", "4s")
        .start()
        .await
}

fn named(id: &str) -> String {
    format!("X-Request-Id: {id}\r\nConnection: close\r\n")
}

#[tokio::test]
async fn evidence_of_every_crossing_is_one_signed_event() {
    let mut upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();

    // The whole of one event.
    let minted = world.mint(MANDATE);
    let token = minted.token.expose();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let lines = format!(
        "{}traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n",
        named("whole")
    );
    let response = ask(
        world.addr(),
        head_with(token, "DELETE", MANDATE, "/status/404?secret=1", &lines),
    )
    .await;
    report.status("whole", &response, 404);
    let events = world.events_of("whole", 1).await;
    let event = &events[0];
    for (name, expect) in [
        ("zone_id", ZONE),
        ("event_type", "gateway_resource_request"),
        ("request_id", "whole"),
        ("decision", "allow"),
        ("evaluation_status", "executed"),
    ] {
        report.equal(name, event.text(name), expect);
    }
    report.equal(
        "policies",
        &event.json["determining_policies_json"],
        &Value::Array(Vec::new()),
    );
    report.equal(
        "diagnostics",
        &event.json["diagnostics_json"],
        &Value::Array(Vec::new()),
    );
    report.holds("an id", event.text("id").len() == 36);
    report.holds(
        format!("a time: {}", event.text("occurred_at")),
        event.text("occurred_at").ends_with('Z') && event.text("occurred_at").contains('T'),
    );
    let fingerprint = fingerprint(token.as_bytes());
    // With the port, as the existing gateway writes it.
    let (_, upstream_host, _) = around_address(world.stack.upstream_url());
    let upstream_host = upstream_host.to_string();
    for (name, expect) in [
        ("application_id", APP),
        ("resource", MANDATE),
        ("subject_fingerprint", fingerprint.as_str()),
        ("method", "DELETE"),
        ("trace_id", trace),
        ("subject_kind", "application"),
        ("upstream_host", upstream_host.as_str()),
        ("auth_mode", "caracal_jwt"),
        ("provider_id", "provider-mandate"),
        ("result_class", "client_error"),
        ("session_id", minted.sid.as_str()),
        (
            "agent_session_id",
            minted.agent_session_id.as_deref().expect("a session"),
        ),
    ] {
        report.equal(name, event.metadata(name).as_str(), Some(expect));
    }
    for (name, expect) in [
        ("gateway_status", 404),
        ("upstream_status", 404),
        ("response_bytes", 6),
    ] {
        report.equal(name, event.metadata(name).as_u64(), Some(expect));
    }
    report.holds("latency", event.metadata("latency_ms").is_u64());
    report.holds(
        "a fingerprint of the path",
        event.metadata("path_fingerprint").is_string(),
    );
    report.holds(
        format!("neither path, query nor token in {}", event.data),
        !event.data.contains("status/404") && !event.data.contains("secret") && !event.data.contains(token),
    );

    // How each kind of crossing ends.
    for (id, target, status, kind, class) in [
        ("success", "/", 200, ("executed", None), Some("success")),
        (
            "redirect",
            "/redirect?to=/x",
            302,
            ("executed", None),
            Some("redirect"),
        ),
        (
            "server-error",
            "/status/503",
            503,
            ("executed", None),
            Some("server_error"),
        ),
        (
            "broken-off",
            "/close?n=1000",
            200,
            ("upstream_error", Some("response_copy_failed")),
            Some("success"),
        ),
        (
            "timed-out",
            "/hang",
            504,
            ("upstream_error", Some("transport_error")),
            None,
        ),
    ] {
        let response = ask(
            world.addr(),
            head_with(&world.token(NONE), "GET", NONE, target, &named(id)),
        )
        .await;
        report.status(id, &response, status);
        let event = &world.events_of(id, 1).await[0];
        report.equal(
            id,
            (
                event.text("evaluation_status"),
                event.metadata("error_kind").as_str(),
            ),
            kind,
        );
        report.equal(id, event.metadata("result_class").as_str(), class);
        report.equal(id, event.text("decision"), "allow");
    }

    // The upstream never answers, and the request is none that is sent once more.
    let lines = named("hung-up") + "Content-Length: 0\r\n";
    let request = head_with(&world.token(HAND), "POST", HAND, "/", &lines);
    let play = async { drop(upstream.call().await) };
    let (response, ()) = tokio::join!(ask(world.addr(), request), play);
    report.status("hung-up", &response, 502);
    // The caller leaves.
    let mut client = Connection::open_abrupt(world.addr()).await;
    let request = head_with(&world.token(NONE), "GET", NONE, "/sse?ms=600000", &named("left"));
    client.send(request).await.expect("an open connection");
    client.head().await;
    drop(client);
    // Its authority is revoked.
    let minted = world.mint(NONE);
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(
        minted.token.expose(),
        "GET",
        NONE,
        "/sse?ms=600000",
        &named("revoked"),
    );
    client.send(request).await.expect("an open connection");
    client.head().await;
    client.piece().await;
    let message = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish("caracal.sessions.revoke", &message).await;
    report.holds("revoked", matches!(client.piece().await, Piece::End(_, _)));
    for (id, status, kind, interrupted) in [
        ("hung-up", "upstream_error", Some("transport_error"), None),
        ("left", "upstream_error", Some("client_cancelled"), None),
        ("revoked", "executed", None, Some(true)),
    ] {
        let event = &world.events_of(id, 1).await[0];
        report.equal(
            id,
            (
                event.text("evaluation_status"),
                event.metadata("error_kind").as_str(),
            ),
            (status, kind),
        );
        report.equal(
            id,
            event.metadata("revocation_interrupted").as_bool(),
            interrupted,
        );
    }
    once_each(&world, &mut report).await;
    report.finish();
}

/// All events. A last crossing stands behind all others, so what was under way has arrived.
async fn events_so_far(world: &World) -> Vec<Event> {
    ask(
        world.addr(),
        head_with(&world.token(NONE), "GET", NONE, "/", &named("last")),
    )
    .await;
    world.events_of("last", 1).await;
    world.events().await
}

/// No request has two events.
async fn once_each(world: &World, report: &mut Report) {
    let events = events_so_far(world).await;
    let mut ids: Vec<_> = events.iter().map(|event| event.text("request_id")).collect();
    let mut event_ids: Vec<_> = events.iter().map(|event| event.text("id")).collect();
    let count = ids.len();
    for ids in [&mut ids, &mut event_ids] {
        ids.sort_unstable();
        ids.dedup();
        report.equal(format!("once each: {ids:?}"), ids.len(), count);
    }
}

#[tokio::test]
async fn evidence_of_refusals_begins_with_a_verified_signature() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let used = world.token(NONE);
    let first = ask(
        world.addr(),
        head_with(&used, "GET", NONE, "/", &named("first-use")),
    )
    .await;
    report.status("first use", &first, 200);
    let revoked = world.mint(NONE);
    let message = [("session_id", revoked.sid.as_str()), ("zone_id", ZONE)];
    world.publish("caracal.sessions.revoke", &message).await;
    until("the revocation", async || {
        let again = MintRequest {
            sid: Some(revoked.sid.clone()),
            ..world.stack.request_for(NONE)
        };
        let token = world.stack.mint(&again).expect("a mandate").token;
        (world.present(token.expose(), NONE, "/").await.status() == 401).then_some(())
    })
    .await;

    let refused = RawAnswer::new(
        403,
        "application/json",
        r#"{"error":"access_denied","error_description":"policy denied"}"#,
    );
    world.stack.script().set(Scope::Resource(MANDATE.into()), refused);
    for (id, token, resource, status) in [
        ("replayed", used, NONE, 401),
        ("not-bound", world.token(NONE), "resource://unknown", 403),
        ("revoked", revoked.token.expose().to_owned(), NONE, 401),
        ("sts-refused", world.token(MANDATE), MANDATE, 403),
    ] {
        let response = ask(world.addr(), head_with(&token, "GET", resource, "/", &named(id))).await;
        report.status(id, &response, status);
    }
    for (id, kind, error_kind) in [
        (
            "not-bound",
            ("gateway_resource_request", "denied"),
            Some("not_bound"),
        ),
        ("revoked", ("gateway_resource_request", "denied"), Some("revoked")),
        (
            "sts-refused",
            ("gateway_resource_request", "denied"),
            Some("exchange_refused"),
        ),
        ("replayed", ("replay_detected", "anomaly"), None),
    ] {
        let events = world.events_of(id, 1).await;
        let event = &events[0];
        report.equal(id, event.kind(), kind);
        report.equal(id, event.text("decision"), "deny");
        report.equal(id, event.text("zone_id"), ZONE);
        report.equal(id, event.metadata("error_kind").as_str(), error_kind);
        if id == "replayed" {
            for name in ["jti", "resource", "client_id", "subject_fp", "request_id"] {
                report.holds(format!("replayed: {name}"), event.metadata(name).is_string());
            }
        }
    }

    // Nobody vouches for what comes before: no event, whatever the request says.
    let mut tampered = world.token(NONE);
    tampered.replace_range(tampered.len() - 8.., "AAAAAAAA");
    for (id, token) in [("malformed", "no.token.here".to_owned()), ("tampered", tampered)] {
        let response = ask(world.addr(), head_with(&token, "GET", NONE, "/", &named(id))).await;
        report.status(id, &response, 401);
    }
    once_each_but_probes(&world, &mut report, &["malformed", "tampered"]).await;
    report.finish();
}

async fn once_each_but_probes(world: &World, report: &mut Report, never: &[&str]) {
    let events = events_so_far(world).await;
    for id in never {
        let found = events
            .iter()
            .filter(|event| event.text("request_id") == *id)
            .count();
        report.equal(format!("no event of {id}"), found, 0);
    }
    for id in ["replayed", "not-bound", "revoked", "sts-refused", "first-use"] {
        let found = events
            .iter()
            .filter(|event| event.text("request_id") == id)
            .count();
        report.equal(format!("one event of {id}"), found, 1);
    }
}

/// The first 16 hexadecimal digits of the SHA-256.
fn fingerprint(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
