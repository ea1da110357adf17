//! Streams, and the time limits of either side.

use crate::frames::{self, Frame, Frames};
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::head;
use crate::world::{NONE, World};
use std::time::{Duration, Instant};
use testkit::http::{Connection, Ending, Piece, Rest};
use testkit::wait::PATIENCE;

/// The short limits of the world.
const LIMIT: Duration = Duration::from_secs(3);
/// `IDLE_TIMEOUT` of the world: longer than the others, so that they can be told apart.
const IDLE: Duration = Duration::from_secs(9);

async fn world(upstream: &HandUpstream) -> World {
    World::builder()
        .hand(upstream)
        .env("STREAM_IDLE_TIMEOUT", "3s")
        .env("UPSTREAM_TIMEOUT", "3s")
        .env("READ_TIMEOUT", "3s")
        .env("READ_HEADER_TIMEOUT", "3s")
        .env("WRITE_TIMEOUT", "3s")
        .env("IDLE_TIMEOUT", "9s")
        .env("MAX_REQUEST_BYTES", "100000000")
        .start()
        .await
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the gateway waited is what is tested"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn streaming_events_come_at_once_and_silence_ends_them() {
    let mut upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();

    for (case, lines) in [("plain", ""), ("with trailers", "TE: trailers\r\n")] {
        let mut client = open(&world).await;
        client
            .send(head(&world, "GET", HAND, "/events", lines))
            .await
            .expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let answer = client.head().await;
        report.equal(
            format!("{case}: the head comes before any event"),
            answer.status,
            200,
        );
        let mut silent = now();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            silent = now();
            call.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            report.equal(case, client.piece().await, Piece::Data(event.into()));
        }
        let Piece::End(ending, trailers) = client.piece().await else {
            panic!("another event")
        };
        let took = silent.elapsed();
        report.holds(
            format!("{case}: {ending:?} after {took:?}"),
            ending == Ending::Complete && took >= LIMIT,
        );
        report.equal(format!("{case}: no trailer"), trailers.0.len(), 0);
        call.until_end().await;
    }

    // Less than the limit between two events, more than it in all.
    let response = world.get(NONE, "/sse?n=5&ms=900").await;
    report.equal("events that keep coming", response.ending, Ending::Complete);
    report.holds("events that keep coming", response.text().contains("event 4"));
    report.finish();
}

#[tokio::test]
async fn streaming_time_limits_end_what_does_not_move() {
    let upstream = HandUpstream::start().await;
    let world = world(&upstream).await;
    let mut report = Report::default();
    let (silent_upstream, slow_upload, slow_head, idle, stalled, stalled_stream, closed_window) = tokio::join!(
        world.get(NONE, "/hang"),
        slow_upload(&world),
        slow_head(&world),
        idle(&world),
        stalled(&world, "stalled", "/bytes?n=100000000"),
        stalled(&world, "stalled-stream", "/chunked?n=100000&size=16384"),
        closed_window(&world),
    );
    report.refused(
        "UPSTREAM_TIMEOUT",
        &silent_upstream,
        refusal(504, "internal_error", "upstream timeout"),
    );
    let (response, rest) = slow_upload;
    report.refused(
        "READ_TIMEOUT",
        &response,
        refusal(408, "invalid_request", "request body timeout"),
    );
    report.holds(
        format!("READ_TIMEOUT closes: {rest:?}"),
        matches!(rest, Rest::Closed | Rest::Reset),
    );
    report.note("READ_HEADER_TIMEOUT", slow_head);
    report.note("IDLE_TIMEOUT", idle);
    report.note("WRITE_TIMEOUT, length", stalled);
    report.note("WRITE_TIMEOUT, stream", stalled_stream);
    report.note("WRITE_TIMEOUT, closed window", closed_window);
    let left = world
        .stack
        .upstream()
        .wait_for(PATIENCE, |counts| counts.in_flight == 0)
        .await;
    report.holds("nothing is left at the upstream", left.is_some());
    report.finish();
}

async fn open(world: &World) -> Connection {
    Connection::open(world.addr()).await
}

/// Three of ten bytes.
async fn slow_upload(world: &World) -> (testkit::http::Response, Rest) {
    let mut client = open(world).await;
    let request = head(world, "POST", NONE, "/", "Content-Length: 10\r\n") + "abc";
    client.send(request).await.expect("an open connection");
    let response = client.response().await;
    (response, client.rest(PATIENCE).await)
}

/// A head that grows but never ends, and a connection that never says a word.
async fn slow_head(world: &World) -> Result<(), String> {
    let begun = now();
    let mut dripping = open(world).await;
    let _ = dripping.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    while dripping.rest(LIMIT / 5).await == Rest::Silence {
        if begun.elapsed() > PATIENCE {
            return Err("a head that drips is still read".into());
        }
        // It may be closed by now.
        let _ = dripping.send("X-A: 1\r\n").await;
    }
    if begun.elapsed() < LIMIT {
        return Err(format!("closed after {:?}", begun.elapsed()));
    }
    Ok(())
}

/// A kept-alive connection rests longer than a head may take, is used again, and is closed at last.
async fn idle(world: &World) -> Result<(), String> {
    let mut client = open(world).await;
    let mut silent = open(world).await;
    let mut idle = now();
    for round in 0..2 {
        idle = now();
        let response = client.exchange(head(world, "GET", NONE, "/", "")).await;
        if response.status() != 200 {
            return Err(format!("request {round}: {}", response.text()));
        }
        if round == 0 && client.rest(LIMIT * 3 / 2).await != Rest::Silence {
            return Err("closed before IDLE_TIMEOUT".into());
        }
    }
    let rest = client.rest(PATIENCE).await;
    if rest != Rest::Closed || idle.elapsed() < IDLE {
        return Err(format!("{rest:?} after {:?} of rest", idle.elapsed()));
    }
    match silent.rest(PATIENCE).await {
        Rest::Closed => Ok(()),
        rest => Err(format!("a connection without a request: {rest:?}")),
    }
}

/// A caller that reads nothing, and whose connection stays open until the gateway has given it up.
async fn stalled(world: &World, id: &str, target: &str) -> Result<(), String> {
    let mut client = open(world).await;
    let lines = format!("X-Request-Id: {id}\r\n");
    client
        .send(head(world, "GET", NONE, target, &lines))
        .await
        .expect("an open connection");
    given_up(world, id).await
}

/// A stream whose window never opens.
async fn closed_window(world: &World) -> Result<(), String> {
    let mut client = Frames::open(world.addr()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let closed = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    let named = [("x-request-id", "closed-window")];
    let request = frames::get(&world.token(NONE), 1, "/bytes?n=1000000", &named);
    client.send(&[closed, request]).await.expect("an open connection");
    given_up(world, "closed-window").await
}

/// Waits for the evidence of a crossing that did not come to its end.
async fn given_up(world: &World, id: &str) -> Result<(), String> {
    match world.events_of(id, 1).await[0].kind() {
        ("gateway_resource_request", "upstream_error") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
