//! Callers that are gone while nobody reads what they send, and ends that may not look whole.

use super::*;
use crate::frames::{self, Frame, Frames};
use crate::revocation::REVOKE;
use crate::world::ZONE;
use std::time::Duration;
use tokio::time::timeout;

const FOO: &str = "Connection: Upgrade\r\nUpgrade: foo\r\n";
const FOO_SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";

#[tokio::test]
async fn upgrade_whose_caller_is_gone_ends_though_nobody_reads_what_it_sends() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let mut ended = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "ended").await;
    ended.caller.finish().await;
    report.equal("its side has ended", ended.call.until_end().await, b"");
    drop(ended.caller);

    let mut blocked = Switched::open(world.addr(), &world.mint(HAND), &mut upstream, "blocked").await;
    // More than the sockets hold between a caller and an upstream that takes nothing.
    let piece = vec![b'x'; 1 << 20];
    while timeout(Duration::from_millis(200), blocked.caller.send(&piece))
        .await
        .is_ok()
    {}
    drop(blocked.caller);
    for id in ["ended", "blocked"] {
        let event = world.events_of(id, 1).await.remove(0);
        report.equal(
            id,
            event.metadata("error_kind").as_str(),
            Some("client_cancelled"),
        );
    }
    report.holds("an upstream is told", blocked.call.is_reset().await);
    report.finish();
}

/// A connection that is switched to a protocol of which the gateway knows nothing.
async fn opaque(world: &World, minted: &Minted, upstream: &mut HandUpstream, id: &str) -> (Connection, Call) {
    let lines = format!("{FOO}X-Request-Id: {id}\r\n");
    let mut caller = Connection::open(world.addr()).await;
    let request = head_with(minted.token.expose(), "GET", HAND, "/", &lines);
    caller.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send(FOO_SWITCH).await;
    assert_eq!(caller.head().await.status, 101, "{id}");
    (caller, call)
}

#[tokio::test]
async fn upgrade_to_a_protocol_that_has_no_words_for_its_end_is_reset_where_it_is_cut() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream);
    let world = world.env("ALLOW_UPGRADES", "foo").start().await;
    let mut report = Report::default();
    let minted = world.mint(HAND);
    let (mut caller, mut call) = opaque(&world, &minted, &mut upstream, "revoked").await;
    let fields = [("session_id", minted.sid.as_str()), ("zone_id", ZONE)];
    world.publish(REVOKE, &fields).await;
    report.equal("revoked", rest(&mut caller).await, (Vec::new(), Ending::Reset));
    report.holds("revoked", call.is_reset().await);

    // What an upstream said before it broke is passed on.
    let (mut caller, mut call) = opaque(&world, &world.mint(HAND), &mut upstream, "broke").await;
    call.send("last").await;
    call.reset();
    report.equal("broke", rest(&mut caller).await, (b"last".into(), Ending::Reset));

    // An end that both sides have said is one.
    let (mut caller, mut call) = opaque(&world, &world.mint(HAND), &mut upstream, "whole").await;
    caller.finish().await;
    report.holds("whole", !call.is_reset().await);
    drop(call);
    report.equal("whole", rest(&mut caller).await, (Vec::new(), Ending::Closed));
    for (id, kind) in [
        ("revoked", None),
        ("broke", Some("response_copy_failed")),
        ("whole", None),
    ] {
        let event = world.events_of(id, 1).await.remove(0);
        report.equal(id, event.metadata("error_kind").as_str(), kind);
    }
    report.finish();
}

#[tokio::test]
async fn upgrade_over_http2_within_a_frame_is_cut_when_the_gateway_stops_and_says_that_it_did() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream);
    let mut world = world.env("SHUTDOWN_GRACE", "100ms").start().await;
    let mut report = Report::default();
    let mut client = Frames::open(world.addr()).await;
    let further = [("x-request-id", "stopped")];
    let block = frames::request("CONNECT", &world.token(HAND), HAND, "/", &further);
    let block = [frames::block(&[(":protocol", "websocket")]), block].concat();
    let request = Frame::new(frames::HEADERS, frames::END_HEADERS, 1, block);
    client.send(&[request]).await.expect("an open connection");
    let mut call = upstream.call().await;
    let keys = values(&call.head().await, "sec-websocket-key");
    call.send(switch(&keys[0], "")).await;
    call.send(&text_frame("hello", false)[..3]).await;
    let is_data = |frame: &Frame| frame.kind == frames::DATA;
    report.holds("within a frame", client.find(is_data).await.is_some());
    // Its side has ended, so nobody reads it.
    let end = Frame::new(frames::DATA, frames::END_STREAM, 1, []);
    client.send(&[end]).await.expect("an open connection");
    report.equal("the end of its side", call.until_end().await, b"");
    world.gateway.terminate();
    report.equal("stopped", world.gateway.wait().await.code(), Some(0));
    let event = world.events_of("stopped", 1).await.remove(0);
    report.equal("stopped", event.text("evaluation_status"), "interrupted");
    report.equal(
        "stopped",
        event.metadata("error_kind").as_str(),
        Some("gateway_stopped"),
    );
    report.finish();
}
