//! How much the gateway takes on: heads, connections, requests, and the bounds of HTTP/2.

mod floods;

use crate::frames::{self, Frame, Frames};
use crate::report::{Report, refusal};
use crate::wire::{ask, head, head_with};
use crate::world::{NONE, World};
use std::net::SocketAddr;
use testkit::http::{self, Connection, Rest};
use testkit::wait::{PATIENCE, until};

/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn limits_of_a_head_are_refused_with_431_and_nothing_is_dispatched() {
    let world = World::start().await;
    let mut report = Report::default();
    // These do not cross: the upstream has limits of its own.
    let fields =
        |count: usize| -> String { (0..count).map(|at| format!("X-Forwarded-{at}: 1\r\n")).collect() };
    let dispatched = world.dispatched();
    for (case, request) in [
        (
            "17 KiB in one field",
            format!("X-Big: {}\r\n", "x".repeat(17 * 1024)),
        ),
        (
            "17 KiB in many fields",
            format!("X-Mid: {}\r\n", "x".repeat(250)).repeat(68),
        ),
        ("101 fields", fields(98)),
    ] {
        let mut client = Connection::open(world.addr()).await;
        let response = client.exchange(head(&world, "GET", NONE, "/", &request)).await;
        report.status(case, &response, 431);
        report.equal(case, response.header("connection"), Some("close"));
        report.holds(
            case,
            matches!(client.rest(PATIENCE).await, Rest::Closed | Rest::Reset),
        );
    }
    let long = format!("/{}", "x".repeat(17 * 1024));
    let response = ask(world.addr(), head(&world, "GET", NONE, &long, "")).await;
    report.holds(
        format!("a target of 17 KiB: {}", response.status()),
        matches!(response.status(), 414 | 431),
    );
    report.equal("dispatched", world.dispatched(), dispatched);

    let response = ask(world.addr(), head(&world, "GET", NONE, "/", &fields(97))).await;
    report.status("100 fields", &response, 200);
    let long = format!("/{}", "x".repeat(8 * 1024));
    let response = ask(world.addr(), head(&world, "GET", NONE, &long, "")).await;
    report.status("a target of 8 KiB", &response, 200);
    report.finish();
}

#[tokio::test]
async fn limits_of_capacity_refuse_at_once_and_recover() {
    let world = World::start().await;
    let mut report = Report::default();

    for name in ["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_SOURCE"] {
        let small = world.replica_with(&[(name, "2")]).await;
        let mut held = vec![busy(small.addr()).await, busy(small.addr()).await];
        let response = Connection::open(small.addr()).await.response().await;
        report.status(name, &response, 503);
        report.holds(
            format!("{name}: Retry-After"),
            response
                .header("retry-after")
                .is_some_and(|after| after.parse::<u32>().is_ok()),
        );
        held.pop();
        until("a place for a connection", async || {
            (world_get(small.addr(), &world).await == 200).then_some(())
        })
        .await;
    }

    let small = world.replica_with(&[("MAX_INFLIGHT_REQUESTS", "1")]).await;
    let mut first = Connection::open_abrupt(small.addr()).await;
    first
        .send(head(&world, "GET", NONE, "/sse?ms=600000", ""))
        .await
        .expect("an open connection");
    first.head().await;
    let dispatched = world.dispatched();
    let minted = world.mint(NONE);
    let request = head_with(minted.token.expose(), "GET", NONE, "/", "");
    let response = ask(small.addr(), &request).await;
    report.refused(
        "MAX_INFLIGHT_REQUESTS",
        &response,
        refusal(503, "overloaded", "gateway overloaded"),
    );
    report.equal("not dispatched", world.dispatched(), dispatched);
    report.equal("not spent", world.replay_mark(&minted.jti).await, None);
    let health = http::get(small.addr(), "/health", &[]).await;
    report.status("the operator's door stays open", &health, 200);
    drop(first);
    until("a place for a request", async || {
        (world_get(small.addr(), &world).await == 200).then_some(())
    })
    .await;
    report.finish();
}

/// However fast the machine is, a task is a nanosecond late.
#[tokio::test]
async fn limits_of_the_run_queue_refuse_new_requests_and_nothing_else() {
    let world = World::start().await;
    let mut report = Report::default();
    let late = world.replica_with(&[("OVERLOAD_DELAY", "1ns")]).await;
    let unsigned = head_with("no.token.here", "GET", NONE, "/", "");
    until("a refusal", async || {
        (ask(late.addr(), &unsigned).await.status() == 503).then_some(())
    })
    .await;
    // At least one of nine is refused, and at least one of 66 is not, until that has been seen not to help.
    let (mut refused, mut served) = (0, 0);
    for _ in 0..70 {
        if refused > 0 && served > 0 {
            break;
        }
        let (dispatched, minted) = (world.dispatched(), world.mint(NONE));
        let request = head_with(minted.token.expose(), "GET", NONE, "/", "");
        let response = ask(late.addr(), &request).await;
        if response.status() == 200 {
            served += 1;
            continue;
        }
        refused += 1;
        report.refused(
            "late",
            &response,
            refusal(503, "overloaded", "gateway overloaded"),
        );
        report.holds("Retry-After", response.header("retry-after").is_some());
        report.equal("not dispatched", world.dispatched(), dispatched);
        report.equal("not spent", world.replay_mark(&minted.jti).await, None);
    }
    report.holds(
        format!("{refused} refused, {served} served"),
        refused > 0 && served > 0,
    );
    for path in ["/health", "/ready", "/metrics"] {
        let answers = http::get(late.addr(), path, &[]).await;
        report.status(path, &answers, 200);
    }
    report.finish();
}

/// A connection that is surely accepted, and stays.
async fn busy(addr: SocketAddr) -> Connection {
    let mut client = Connection::open(addr).await;
    let response = client.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(response.status(), 200);
    client
}

async fn world_get(addr: SocketAddr, world: &World) -> u16 {
    crate::world::present_to(addr, &world.token(NONE), NONE, "/")
        .await
        .status()
}

#[tokio::test]
async fn limits_of_http2_are_announced_and_floods_end_the_connection() {
    let world = World::start().await;
    let mut report = Report::default();

    let mut client = Frames::open(world.addr()).await;
    let settings = client
        .find(|frame| frame.kind == frames::SETTINGS && frame.flags & frames::ACK == 0)
        .await
        .expect("settings");
    let told: Vec<(u16, u32)> = settings
        .payload
        .chunks_exact(6)
        .map(|setting| {
            let value = setting[2..6].try_into().expect("four bytes");
            (
                u16::from_be_bytes([setting[0], setting[1]]),
                u32::from_be_bytes(value),
            )
        })
        .collect();
    // Concurrent streams, stream window (65,535 is the protocol's own when it is not told), header list.
    for (id, expect) in [(3, 100), (4, 65_536), (6, 65_536)] {
        let value = told
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, value)| *value);
        report.equal(format!("setting {id}"), value, Some(expect));
    }

    // Rapid reset (CVE-2023-44487): requests that are given up as they are made.
    let exchanges = world.stack.sts().counts().exchanges;
    let token = world.token(NONE);
    let mut flood = Vec::new();
    for at in 0..2000 {
        let stream = 2 * at + 1;
        flood.push(frames::get(&token, stream, "/hang", &[]));
        flood.push(Frame::new(frames::RST_STREAM, 0, stream, [0, 0, 0, 8]));
    }
    let _ = client.send(&flood).await;
    let away = client.find(|frame| frame.kind == frames::GOAWAY).await;
    report.equal(
        "rapid reset",
        away.map(|frame| frame.code()),
        Some(ENHANCE_YOUR_CALM),
    );
    // One mandate was presented, so at most one exchange was made, however the flood was read.
    report.holds(
        "rapid reset: exchanges",
        world.stack.sts().counts().exchanges <= exchanges + 1,
    );

    // Resets that the peer provokes (CVE-2025-8671): a window update of zero on a stream makes the server reset it.
    let mut client = Frames::open(world.addr()).await;
    let mut flood = Vec::new();
    for at in 0..2000 {
        let stream = 2 * at + 1;
        flood.push(frames::get("no.token.here", stream, "/", &[]));
        flood.push(Frame::new(8, 0, stream, [0, 0, 0, 0]));
    }
    let _ = client.send(&flood).await;
    let away = client.find(|frame| frame.kind == frames::GOAWAY).await;
    report.holds(
        format!("provoked resets: {away:?}"),
        away.is_none_or(|frame| frame.code() != 0),
    );

    // CONTINUATION without end (CVE-2024-27316), and a header list that is too large (RFC 9113 §10.5.1).
    let mut client = Frames::open(world.addr()).await;
    let mut flood = vec![Frame::new(
        frames::HEADERS,
        frames::END_STREAM,
        1,
        frames::block(&[(":method", "GET")]),
    )];
    let filler = frames::block(&[("x-filler", &"x".repeat(8000))]);
    flood.extend((0..2000).map(|_| Frame::new(frames::CONTINUATION, 0, 1, filler.clone())));
    let sent = client.send(&flood).await;
    let away = client.find(|frame| frame.kind == frames::GOAWAY).await;
    report.holds(
        format!("continuation flood: {sent:?} {away:?}"),
        sent.is_err() || away.is_none_or(|frame| frame.code() != 0),
    );

    let dispatched = world.dispatched();
    let mut client = Frames::open(world.addr()).await;
    let mut large = frames::get(&world.token(NONE), 1, "/", &[]);
    large
        .payload
        .extend(frames::block(&[("x-big", &"x".repeat(15_000))]));
    large
        .payload
        .extend(frames::block(&[("x-big2", &"x".repeat(1_000))]));
    let _ = client.send(&[large]).await;
    let answer = client
        .find(|frame| frame.stream == 1 || frame.kind == frames::GOAWAY)
        .await;
    report.holds(format!("a header list of 17 KiB: {answer:?}"), answer.is_some());
    report.equal(
        "a header list of 17 KiB: dispatched",
        world.dispatched(),
        dispatched,
    );

    // Everybody else is served.
    report.equal("after the floods", world_get(world.addr(), &world).await, 200);
    let left = world
        .stack
        .upstream()
        .wait_for(PATIENCE, |counts| counts.in_flight == 0)
        .await;
    report.holds("nothing is left at the upstream", left.is_some());
    report.finish();
}
