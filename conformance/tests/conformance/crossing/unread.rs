//! Request bodies that nobody reads to the end: what becomes of the rest, and of the connection.

use super::request::resource_at;
use crate::frames::{self, Frame, Frames};
use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{head, head_with};
use crate::world::{NONE, World};
use devstack::Target;
use testkit::http::{Connection, Ending, Rest};
use testkit::wait::{PATIENCE, until};

/// Nobody listens there.
const DOWN: &str = "resource://down";
/// No mandate: refused at the first gates.
const BAD: &str = "nonsense";

async fn scene() -> (World, HandUpstream) {
    let upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .stack(|stack| {
            let nobody = Target::Url("http://127.0.0.1:1".to_owned());
            stack.resources.push(resource_at(DOWN, nobody));
        })
        .start()
        .await;
    (world, upstream)
}

#[tokio::test]
async fn crossing_unread_body_of_a_refusal_is_dropped_or_the_connection_says_close() {
    let (world, _upstream) = scene().await;
    let mut report = Report::default();
    let refused = refusal(401, "invalid_token", "malformed bearer token");
    let post = |lines: &str| head_with(BAD, "POST", NONE, "/", lines);

    let (length, chunks) = ("x".repeat(50_000), "5\r\nhello\r\n0\r\n\r\n");
    for (case, lines, body) in [
        ("a length", "Content-Length: 50000\r\n", length.as_str()),
        ("chunks", "Transfer-Encoding: chunked\r\n", chunks),
    ] {
        let mut client = Connection::open(world.addr()).await;
        let response = client.exchange(post(lines) + body).await;
        report.refused(case, &response, refused);
        report.equal(case, response.header("connection"), None);
        let next = client.exchange(head(&world, "GET", NONE, "/", "")).await;
        report.status(format!("{case}: the next request"), &next, 200);
    }

    for (case, lines) in [
        (
            "a body held back",
            "Content-Length: 5\r\nExpect: 100-continue\r\n",
        ),
        ("a body that never comes", "Content-Length: 5\r\n"),
    ] {
        let mut client = Connection::open(world.addr()).await;
        let response = client.exchange(post(lines)).await;
        report.refused(case, &response, refused);
        report.equal(case, response.header("connection"), Some("close"));
        report.equal(format!("{case}: not asked for"), response.interim.len(), 0);
        report.equal(
            format!("{case}: closed"),
            client.rest(PATIENCE).await,
            Rest::Closed,
        );
    }

    let mut client = Connection::open(world.addr()).await;
    let down = head(&world, "POST", DOWN, "/", "Content-Length: 5\r\n") + "hello";
    let response = client.exchange(down).await;
    report.status("no upstream", &response, 502);
    report.equal("no upstream", response.header("connection"), None);
    let next = client.exchange(head(&world, "GET", NONE, "/", "")).await;
    report.status("no upstream: the next request", &next, 200);

    // A caller that sends all before it reads must not lose the answer to a reset.
    let mut client = Connection::open(world.addr()).await;
    let large = [
        post("Content-Length: 5000000\r\n").into_bytes(),
        vec![b'x'; 5_000_000],
    ]
    .concat();
    report.holds("a large body can be sent", client.send(large).await.is_ok());
    let response = client.response().await;
    report.refused("a large body", &response, refused);
    report.equal("a large body", response.header("connection"), Some("close"));
    report.equal("a large body: closed", client.rest(PATIENCE).await, Rest::Closed);
    report.finish();
}

/// An upload over HTTP/2 of which only the first bytes are sent.
async fn upload_over_http2(world: &World) -> Frames {
    let mut client = Frames::open(world.addr()).await;
    let fields = frames::request("POST", &world.token(HAND), HAND, "/", &[]);
    let request = [
        Frame::new(frames::HEADERS, frames::END_HEADERS, 1, fields),
        Frame::new(frames::DATA, 0, 1, *b"part"),
    ];
    client.send(&request).await.expect("an open connection");
    client
}

#[tokio::test]
async fn crossing_upload_over_http2_ends_with_the_refusal_of_its_answer() {
    let (world, mut upstream) = scene().await;
    let mut client = upload_over_http2(&world).await;
    let mut call = upstream.call().await;
    call.head().await;
    call.through(b"part").await;
    // No answer that could be passed on.
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        .await;
    let last = client
        .find(|frame| frame.stream == 1 && frame.flags & frames::END_STREAM != 0)
        .await;
    assert!(last.is_some(), "it is refused");
    let rest = Frame::new(frames::DATA, 0, 1, *b"the rest");
    client.send(&[rest]).await.expect("an open connection");
    let arrived = call.until_end().await;
    assert!(
        !String::from_utf8_lossy(&arrived).contains("the rest"),
        "the upstream gets no more"
    );
}

#[tokio::test]
async fn crossing_unread_body_of_a_refusal_takes_no_place_from_others() {
    let world = World::builder().env("MAX_INFLIGHT_REQUESTS", "1").start().await;
    let mut waiting = Connection::open(world.addr()).await;
    // The body never comes.
    let request = head_with(BAD, "POST", NONE, "/", "Content-Length: 5\r\n");
    waiting.send(request).await.expect("an open connection");
    until("the refusal", async || {
        let refused = world
            .metric(r#"caracal_gateway_denials_total{reason="malformed_token"}"#)
            .await;
        (refused > 0.0).then_some(())
    })
    .await;
    assert_eq!(world.get(NONE, "/").await.status(), 200);
}

#[tokio::test]
async fn crossing_caller_that_leaves_during_its_upload_has_left() {
    let (world, mut upstream) = scene().await;
    let mut client = Connection::open(world.addr()).await;
    let lines = "Content-Length: 1000\r\nX-Request-Id: left\r\n";
    let request = head(&world, "POST", HAND, "/", lines) + "part";
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.exactly(4).await;
    drop(client);
    call.until_end().await;
    let events = world.events_of("left", 1).await;
    assert_eq!(events[0].metadata("error_kind"), "client_cancelled");
}

/// The library takes this code for the end of the body, and a proxy in front may send it for a caller that left.
#[tokio::test]
async fn crossing_upload_over_http2_that_is_reset_without_an_error_is_not_whole() {
    let (world, mut upstream) = scene().await;
    let mut report = Report::default();
    for answer in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
        // Who learns of it first is left to chance.
        for _ in 0..8 {
            let mut client = upload_over_http2(&world).await;
            let mut call = upstream.call().await;
            call.head().await;
            call.through(b"part\r\n").await;
            if !answer.is_empty() {
                call.send(answer).await;
                client.find(|frame| frame.kind == frames::HEADERS).await;
            }
            let reset = Frame::new(frames::RST_STREAM, 0, 1, [0; 4]);
            client.send(&[reset]).await.expect("an open connection");
            let arrived = call.until_end().await;
            report.equal(answer, String::from_utf8_lossy(&arrived).into_owned(), "");
        }
    }
    report.finish();
}

#[tokio::test]
async fn crossing_upload_that_breaks_its_answer_off_is_not_the_upstreams_fault() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("MAX_REQUEST_BYTES", "10")
        .env("READ_TIMEOUT", "1s")
        .start()
        .await;
    let mut report = Report::default();
    for (kind, rest) in [
        ("body_too_large", "b\r\nhello world\r\n"),
        ("request_timeout", ""),
    ] {
        let mut client = Connection::open(world.addr()).await;
        let lines = format!("Transfer-Encoding: chunked\r\nX-Request-Id: {kind}\r\n");
        client
            .send(head(&world, "POST", HAND, "/", &lines))
            .await
            .expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        report.equal(kind, client.head().await.status, 200);
        client.send(rest).await.expect("an open connection");
        let events = world.events_of(kind, 1).await;
        report.equal(kind, events[0].metadata("error_kind").as_str(), Some(kind));
    }
    report.finish();
}

#[tokio::test]
async fn crossing_upload_ends_with_its_answer() {
    let (world, mut upstream) = scene().await;
    let mut report = Report::default();
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";

    let mut client = Connection::open(world.addr()).await;
    let request = head(&world, "POST", HAND, "/", "Content-Length: 1000\r\n") + "part";
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.exactly(4).await;
    call.send(early).await;
    let response = client.response().await;
    report.equal(
        "HTTP/1.1: the answer",
        (response.text(), response.ending),
        ("early".to_owned(), Ending::Complete),
    );
    // It may be gone by now.
    let _ = client.send("rest").await;
    report.equal(
        "HTTP/1.1: the upstream gets no more",
        String::from_utf8_lossy(&call.until_end().await).into_owned(),
        "",
    );
    report.holds(
        "HTTP/1.1: the connection is closed",
        matches!(client.rest(PATIENCE).await, Rest::Closed | Rest::Reset),
    );

    let mut client = upload_over_http2(&world).await;
    let mut call = upstream.call().await;
    call.head().await;
    call.through(b"part").await;
    call.send(early).await;
    let last = client
        .find(|frame| frame.stream == 1 && frame.flags & frames::END_STREAM != 0)
        .await;
    report.holds("HTTP/2: the answer is whole", last.is_some());
    let reset = client.find(|frame| frame.kind == frames::RST_STREAM).await;
    report.equal(
        "HTTP/2: RST_STREAM(NO_ERROR)",
        reset.map(|frame| (frame.stream, frame.code())),
        Some((1, 0)),
    );
    let arrived = call.until_end().await;
    report.holds(
        "HTTP/2: the upstream does not take it for whole",
        !arrived.ends_with(b"0\r\n\r\n"),
    );
    report.finish();
}
