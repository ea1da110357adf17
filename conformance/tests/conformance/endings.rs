//! How a request ends early, and what the record says of it.

use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{ask, head, head_with};
use crate::world::{MANDATE, NONE, World, ZONE};
use devstack::{Scope, Step};
use std::sync::Arc;
use testkit::http::{Connection, Ending, Piece};
use tokio::sync::Semaphore;

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const GRPC: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\n\
                    Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
const GRPC_CALL: &str = "TE: trailers\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn named(id: &str, lines: &str) -> String {
    format!("X-Request-Id: {id}\r\n{lines}")
}

/// Sends a request on a connection that closes with a reset, and waits for its head at the upstream.
async fn open(world: &World, method: &str, id: &str, lines: &str) -> Connection {
    let mut client = Connection::open_abrupt(world.addr()).await;
    let request = head(world, method, HAND, "/", &named(id, lines));
    client.send(request).await.expect("an open connection");
    client
}

#[tokio::test]
async fn caller_that_leaves_while_the_exchange_is_under_way_is_on_record_with_its_subject() {
    let world = World::start().await;
    let mut report = Report::default();
    let gate = Arc::new(Semaphore::new(0));
    let held = Step {
        hold: Some(Arc::clone(&gate)),
        ..Step::default()
    };
    world.stack.script().set(Scope::Exchange, held);
    let minted = world.mint(MANDATE);
    let mut client = Connection::open_abrupt(world.addr()).await;
    let request = head_with(minted.token.expose(), "GET", MANDATE, "/", &named("left", ""));
    client.send(request).await.expect("an open connection");
    testkit::wait::until("the exchange to be under way", async || {
        let metrics = testkit::http::get(world.addr(), "/metrics", &[]).await;
        let under_way = "\ncaracal_gateway_sts_exchanges_in_flight 1\n";
        metrics.text().contains(under_way).then_some(())
    })
    .await;
    drop(client);
    let events = world.events_of("left", 1).await;
    report.equal("one event", events.len(), 1);
    let event = &events[0];
    report.equal("kind", event.kind(), ("gateway_resource_request", "denied"));
    report.equal("decision", event.text("decision"), "deny");
    for (name, expect) in [
        ("error_kind", "client_cancelled"),
        ("application_id", crate::world::APP),
        ("resource", MANDATE),
        ("session_id", minted.sid.as_str()),
    ] {
        report.equal(name, event.metadata(name).as_str(), Some(expect));
    }
    let line = world
        .gateway
        .logged("the line of the request", |line| line["request_id"] == "left")
        .await;
    report.equal("log: zone", line["zone_id"].as_str(), Some(ZONE));
    report.equal("log: outcome", line["outcome"].as_str(), Some("caller_left"));
    gate.add_permits(100);
    report.finish();
}

#[tokio::test]
async fn revocation_before_the_answer_is_on_record_as_a_crossing_once_the_request_has_left() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let minted = world.mint(HAND);
    let mut client = Connection::open(world.addr()).await;
    let lines = named("crossed", "Content-Length: 0\r\n");
    let request = head_with(minted.token.expose(), "POST", HAND, "/", &lines);
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish("caracal.sessions.revoke", &fields).await;
    report.refused(
        "revoked",
        &client.response().await,
        refusal(401, "invalid_token", "session revoked"),
    );
    // The upstream has it, and may have acted on it.
    let event = &world.events_of("crossed", 1).await[0];
    report.equal("decision", event.text("decision"), "allow");
    report.equal("status", event.kind().1, "upstream_error");
    report.equal("kind", event.metadata("error_kind").as_str(), Some("revoked"));
    report.equal(
        "interrupted",
        event.metadata("revocation_interrupted").as_bool(),
        Some(true),
    );
    report.finish();
}

#[tokio::test]
async fn malformed_chunk_is_the_callers_fault_and_no_departure() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut client = open(&world, "POST", "chunk", "Transfer-Encoding: chunked\r\n").await;
    client.send("4\r\npart\r\n").await.expect("an open connection");
    let mut call = upstream.call().await;
    call.through(b"part").await;
    client.send("zz\r\n").await.expect("an open connection");
    report.refused(
        "malformed chunk",
        &client.response().await,
        refusal(400, "invalid_request", "malformed request body"),
    );
    let events = world.events_of("chunk", 1).await;
    report.equal("status", events[0].kind().1, "upstream_error");
    report.equal(
        "kind",
        events[0].metadata("error_kind").as_str(),
        Some("malformed_body"),
    );
    report.finish();
}

#[tokio::test]
async fn credential_that_is_no_bearer_leaves_no_trace() {
    let world = World::start().await;
    let mut report = Report::default();
    let basic = "dXNlcjpwYXNzd29yZA==";
    let request = format!(
        "GET / HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Basic {basic}\r\n\
         X-Caracal-Resource: {NONE}\r\nX-Request-Id: basic\r\nConnection: close\r\n\r\n"
    );
    let response = ask(world.addr(), request).await;
    report.refused(
        "Basic",
        &response,
        refusal(401, "invalid_token", "missing bearer token"),
    );
    let line = world
        .gateway
        .logged("the line of the request", |line| line["request_id"] == "basic")
        .await;
    report.holds(
        format!("no fingerprint in {line}"),
        line.get("subject_fp").is_none(),
    );
    let bearer = world.get(NONE, "/").await;
    report.status("a bearer", &bearer, 200);
    let line = world
        .gateway
        .logged("the line of a bearer", |line| line["outcome"] == "allowed")
        .await;
    report.holds(format!("a fingerprint in {line}"), line["subject_fp"].is_string());
    report.finish();
}

#[tokio::test]
async fn revoked_response_ends_with_a_trailer_only_where_connection_lists_te() {
    let world = World::start().await;
    let mut report = Report::default();
    for (case, lines, is_clean) in [
        ("TE alone, as a proxy may pass it on", "TE: trailers\r\n", false),
        ("TE, listed", "TE: trailers\r\nConnection: TE\r\n", true),
        (
            "TE, listed among others",
            "TE: trailers\r\nConnection: keep-alive, te\r\n",
            true,
        ),
        ("none", "", false),
    ] {
        let minted = world.mint(NONE);
        let mut client = Connection::open(world.addr()).await;
        let request = head_with(minted.token.expose(), "GET", NONE, "/sse?ms=600000", lines);
        client.send(request).await.expect("an open connection");
        client.head().await;
        client.piece().await;
        world
            .publish(
                "caracal.sessions.revoke",
                &[("session_id", &minted.sid), ("zone_id", ZONE)],
            )
            .await;
        let end = client.piece().await;
        let found = match &end {
            Piece::End(Ending::Complete, trailers) => {
                is_clean && trailers.get("x-caracal-revoked") == Some("true")
            }
            Piece::End(Ending::Truncated | Ending::Reset, _) => !is_clean,
            _ => false,
        };
        report.holds(format!("{case}: {end:?}"), found);
    }
    report.finish();
}

#[tokio::test]
async fn event_stream_ends_cleanly_for_silence_behind_an_event_and_breaks_within_one() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("STREAM_IDLE_TIMEOUT", "2s")
        .start()
        .await;
    let mut report = Report::default();
    for (case, text, is_clean) in [
        ("behind-an-event", "data: 1\n\n", true),
        ("within-an-event", "data: 1\n", false),
    ] {
        let mut client = open(&world, "GET", case, "").await;
        let mut call = upstream.call().await;
        call.head().await;
        call.send(format!("{EVENTS}{}", chunk(text))).await;
        client.head().await;
        report.equal(case, client.piece().await, Piece::Data(text.into()));
        let end = client.piece().await;
        let found = match end {
            Piece::End(Ending::Complete, _) => is_clean,
            Piece::End(Ending::Truncated | Ending::Reset, _) => !is_clean,
            Piece::End(Ending::Closed, _) | Piece::Data(_) => false,
        };
        report.holds(format!("{case}: {end:?}"), found);
        let events = world.events_of(case, 1).await;
        report.equal(
            case,
            events[0].metadata("error_kind").as_str(),
            Some("upstream_silent"),
        );
    }

    let mut client = open(&world, "POST", "silent-grpc", GRPC_CALL).await;
    let mut call = upstream.call().await;
    call.head().await;
    call.send(GRPC).await;
    client.head().await;
    client.piece().await;
    report.note("gRPC", unavailable(&client.piece().await));
    report.finish();
}

/// Whether a gRPC call ended with UNAVAILABLE.
fn unavailable(end: &Piece) -> Result<(), String> {
    match end {
        Piece::End(Ending::Complete, trailers) if trailers.get("grpc-status") == Some("14") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn live_streams_end_in_their_own_way_at_shutdown_and_the_rest_is_on_record_as_interrupted() {
    let mut upstream = HandUpstream::start().await;
    let mut world = World::builder()
        .hand(&upstream)
        .env("DRAIN_DELAY", "0s")
        .env("SHUTDOWN_GRACE", "1s")
        .start()
        .await;
    let mut report = Report::default();
    let mut clients = Vec::new();
    let mut calls = Vec::new();
    for (id, method, lines, answer) in [
        ("events", "GET", "", format!("{EVENTS}{}", chunk("data: 1\n\n"))),
        ("late-event", "GET", "", format!("{EVENTS}{}", chunk("data: 1\n"))),
        ("grpc", "POST", GRPC_CALL, GRPC.to_owned()),
        (
            "plain",
            "GET",
            "",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                chunk("part")
            ),
        ),
    ] {
        let mut client = open(&world, method, id, lines).await;
        let mut call = upstream.call().await;
        call.head().await;
        call.send(answer).await;
        client.head().await;
        client.piece().await;
        clients.push(client);
        calls.push(call);
    }
    world.gateway.terminate();
    let [events, late_event, grpc, plain] = &mut clients[..] else {
        panic!("four clients")
    };
    let end = events.piece().await;
    report.holds(
        format!("events: {end:?}"),
        matches!(end, Piece::End(Ending::Complete, _)),
    );
    report.note("gRPC", unavailable(&grpc.piece().await));
    // The event that was under way is still completed.
    calls[1].send(chunk("\n")).await;
    report.equal("late event", late_event.piece().await, Piece::Data("\n".into()));
    let end = late_event.piece().await;
    report.holds(
        format!("late event: {end:?}"),
        matches!(end, Piece::End(Ending::Complete, _)),
    );
    let end = plain.piece().await;
    report.holds(
        format!("plain: {end:?}"),
        matches!(end, Piece::End(Ending::Truncated | Ending::Reset, _)),
    );
    report.equal("exit status", world.gateway.wait().await.code(), Some(0));
    for id in ["events", "late-event", "grpc", "plain"] {
        let events = world.events_of(id, 1).await;
        report.equal(id, events.len(), 1);
        report.equal(id, events[0].kind().1, "interrupted");
        report.equal(
            id,
            events[0].metadata("error_kind").as_str(),
            Some("gateway_stopped"),
        );
    }
    report.finish();
}

#[tokio::test]
async fn response_that_is_not_taken_is_on_record_as_late_and_not_as_left() {
    let world = World::builder().env("WRITE_TIMEOUT", "2s").start().await;
    let mut report = Report::default();
    for (id, path) in [
        ("fixed", "/bytes?n=100000000"),
        ("stream", "/chunked?n=100000&size=16384"),
    ] {
        let mut client = Connection::open(world.addr()).await;
        let request = head(&world, "GET", NONE, path, &named(id, ""));
        client.send(request).await.expect("an open connection");
        client.head().await;
        let events = world.events_of(id, 1).await;
        report.equal(
            id,
            events[0].metadata("error_kind").as_str(),
            Some("write_timeout"),
        );
    }
    report.finish();
}
