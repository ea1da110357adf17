//! Responses that the caller does not take: their time limit and their authority hold all the same.

use crate::frames::{self, Frame, Frames};
use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::wire::head_with;
use crate::world::{NONE, World};
use devstack::Minted;
use std::time::Duration;
use testkit::http::Connection;
use testkit::wait::PATIENCE;
use tokio::time::timeout;

/// Bytes that nobody has taken by then are not taken.
const STUCK: Duration = Duration::from_millis(500);

/// A request over HTTP/2 on a stream whose window lets ten bytes through.
async fn narrow(world: &World, token: &str, id: &str, path: &str) -> Frames {
    let mut client = Frames::open(world.addr()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 10
    let narrow = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 10]);
    let request = frames::get(token, 1, path, &[("x-request-id", id)]);
    client.send(&[narrow, request]).await.expect("an open connection");
    let first = client.find(|frame| frame.kind == frames::DATA).await;
    assert_eq!(first.map(|frame| frame.payload.len()), Some(10));
    client
}

#[tokio::test]
async fn crossing_last_piece_of_a_response_must_be_taken_within_write_timeout() {
    let world = World::builder().env("WRITE_TIMEOUT", "1s").start().await;
    // Short enough to be handed over in one piece.
    let mut client = narrow(&world, &world.token(NONE), "last", "/bytes?n=100").await;
    let end = client
        .find(|frame| matches!(frame.kind, frames::DATA | frames::RST_STREAM | frames::GOAWAY))
        .await;
    let end = end.map(|frame| (frame.kind, frame.stream));
    assert_eq!(end, Some((frames::RST_STREAM, 1)), "the stream is reset");
    let events = world.events_of("last", 1).await;
    assert_eq!(events[0].metadata("error_kind"), "write_timeout");
}

#[tokio::test]
async fn crossing_revocation_ends_a_response_that_is_not_taken() {
    let mut upstream = HandUpstream::start().await;
    // `WRITE_TIMEOUT` would end it too, much later.
    let world = World::builder()
        .hand(&upstream)
        .env("WRITE_TIMEOUT", "10m")
        .start()
        .await;
    let mut report = Report::default();

    let minted = world.mint(HAND);
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(minted.token.expose(), "GET", HAND, "/", "X-Request-Id: http1\r\n");
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    // The kernel takes some of it for a caller that reads nothing, the gateway a little more.
    while let Ok(sent) = timeout(STUCK, call.try_send(&chunk)).await {
        sent.expect("a gateway that listens");
    }
    revoke(&world, &minted).await;
    report.equal("HTTP/1.1", interrupted(&world, "http1").await, true);
    call.until_end().await;

    let minted = world.mint(NONE);
    let mut client = narrow(&world, minted.token.expose(), "http2", "/bytes?n=1000000").await;
    revoke(&world, &minted).await;
    report.equal("HTTP/2", interrupted(&world, "http2").await, true);
    let next = client
        .find(|frame| matches!(frame.kind, frames::DATA | frames::RST_STREAM | frames::GOAWAY))
        .await;
    report.equal(
        "HTTP/2: only the stream ends, and nothing more of it comes",
        next.map(|frame| (frame.kind, frame.stream)),
        Some((frames::RST_STREAM, 1)),
    );
    report.finish();
}

async fn revoke(world: &World, minted: &Minted) {
    world
        .publish("caracal.sessions.revoke", &[("session_id", &minted.sid)])
        .await;
}

async fn interrupted(world: &World, id: &str) -> bool {
    let events = timeout(PATIENCE, world.events_of(id, 1))
        .await
        .expect("the outcome in time");
    events[0].metadata("revocation_interrupted") == true
}
