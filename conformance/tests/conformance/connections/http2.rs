//! One stream of an HTTP/2 connection must not cost another one anything.

use crate::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, RST_STREAM,
};
use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::world::{NONE, World};
use testkit::wait::PATIENCE;
use tokio::time::timeout;

/// A window that is never shut.
const OPEN: [u8; 4] = [0, 15, 0, 0];

/// A connection with an event stream on stream 1; every further stream lets ten bytes through.
async fn beside_events(world: &World) -> Frames {
    let mut client = Frames::open(world.addr()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 10
    let narrow = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 10]);
    let events = frames::get(&world.token(NONE), 1, "/sse?ms=100", &[]);
    let window = Frame::new(frames::WINDOW_UPDATE, 0, 1, OPEN);
    client
        .send(&[narrow, events, window])
        .await
        .expect("an open connection");
    assert!(goes_on(&mut client).await, "events");
    client
}

/// Whether the stream beside still gives events, on a connection that says nothing of its end.
async fn goes_on(client: &mut Frames) -> bool {
    let next = client
        .find(|frame| (frame.stream == 1 && frame.kind == DATA) || frame.kind == GOAWAY)
        .await;
    next.is_some_and(|frame| frame.kind == DATA)
}

async fn end_of(client: &mut Frames, stream: u32) -> Option<(u8, u32)> {
    let end = client
        .find(|frame| frame.stream == stream && frame.kind == RST_STREAM || frame.kind == GOAWAY)
        .await;
    end.map(|frame| (frame.kind, frame.stream))
}

#[tokio::test]
async fn http2_response_that_is_late_or_not_taken_costs_its_own_stream_only() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("WRITE_TIMEOUT", "1s")
        .start()
        .await;
    let mut report = Report::default();
    let mut client = beside_events(&world).await;
    let mut stream = 1;
    let mut next = || {
        stream += 2;
        stream
    };
    // In one piece, in the last byte alone, in many pieces, and without a known length.
    for path in [
        "/bytes?n=100",
        "/bytes?n=11",
        "/bytes?n=1000000",
        "/chunked?n=3&size=50",
    ] {
        let at = next();
        let request = frames::get(&world.token(NONE), at, path, &[]);
        client.send(&[request]).await.expect("an open connection");
        report.equal(path, end_of(&mut client, at).await, Some((RST_STREAM, at)));
        report.holds(format!("{path}: the stream beside"), goes_on(&mut client).await);
    }
    // A window of nothing at all.
    let at = next();
    let shut = Frame::new(frames::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    let request = frames::get(&world.token(NONE), at, "/bytes?n=1", &[]);
    client.send(&[shut, request]).await.expect("an open connection");
    report.equal("shut", end_of(&mut client, at).await, Some((RST_STREAM, at)));
    report.holds("shut: the stream beside", goes_on(&mut client).await);
    // The upstream is the one that is late.
    let at = next();
    let block = frames::request("GET", &world.token(HAND), HAND, "/", &[]);
    let request = Frame::new(HEADERS, END_STREAM | END_HEADERS, at, block);
    let window = Frame::new(frames::WINDOW_UPDATE, 0, at, OPEN);
    client.send(&[request, window]).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    report.equal("late", end_of(&mut client, at).await, Some((RST_STREAM, at)));
    report.holds("late: the stream beside", goes_on(&mut client).await);
    // What is taken is whole.
    let at = next();
    let request = frames::get(&world.token(NONE), at, "/bytes?n=100", &[]);
    let window = Frame::new(frames::WINDOW_UPDATE, 0, at, OPEN);
    client.send(&[request, window]).await.expect("an open connection");
    let mut taken = 0;
    while let Some(frame) = client
        .find(|frame| frame.stream == at && frame.kind != HEADERS)
        .await
    {
        taken += frame.payload.len();
        if frame.kind != DATA || frame.flags & END_STREAM != 0 {
            report.equal("taken", (frame.kind, taken), (DATA, 100));
            break;
        }
    }
    report.finish();
}

#[tokio::test]
async fn http2_response_that_is_reset_before_it_is_taken_is_not_on_record_as_relayed() {
    let world = World::start().await;
    let mut client = beside_events(&world).await;
    // All of it is in the library's hands, and only its end is kept back.
    let path = "/chunked?n=1&size=50";
    let request = frames::get(&world.token(NONE), 3, path, &[("x-request-id", "reset")]);
    client.send(&[request]).await.expect("an open connection");
    let part = client.find(|frame| frame.stream == 3 && frame.kind == DATA).await;
    assert_eq!(part.map(|frame| frame.payload.len()), Some(10));
    let cancel = Frame::new(RST_STREAM, 0, 3, [0, 0, 0, 8]);
    client.send(&[cancel]).await.expect("an open connection");
    let events = world.events_of("reset", 1).await;
    assert_eq!(events[0].kind().1, "upstream_error");
    assert_eq!(events[0].metadata("error_kind"), "client_cancelled");
}

#[tokio::test]
async fn http2_head_that_is_too_large_costs_its_own_stream_only() {
    let world = World::start().await;
    let mut report = Report::default();
    let many: Vec<(String, String)> = (0..200)
        .map(|at| (format!("x-forwarded-{at}"), "1".to_owned()))
        .collect();
    let large = |bytes: usize| vec![("x-forwarded-large".to_owned(), "x".repeat(bytes))];
    for (case, fields) in [
        ("200 fields", many),
        ("17 KiB", large(17 * 1024)),
        ("40 KB in one field", large(40_000)),
        (
            "40 KB in 40 fields",
            (0..40)
                .map(|at| (format!("x-forwarded-{at}"), "x".repeat(1000)))
                .collect(),
        ),
        ("60 KB", large(60_000)),
    ] {
        let mut client = beside_events(&world).await;
        let dispatched = world.dispatched();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let block = frames::request("GET", &world.token(NONE), NONE, "/", &fields);
        client
            .send(&in_frames(3, &block))
            .await
            .expect("an open connection");
        let answer = client
            .find(|frame| frame.stream == 3 || frame.kind == GOAWAY)
            .await
            .expect("an answer");
        report.holds(
            format!("{case}: {answer:?}"),
            answer.kind == HEADERS && answer.payload.starts_with(&frames::STATUS_431),
        );
        report.holds(format!("{case}: the stream beside"), goes_on(&mut client).await);
        report.equal(format!("{case}: dispatched"), world.dispatched(), dispatched);
    }
    report.finish();
}

/// A header block without a body behind it, in frames of the size that everybody takes.
fn in_frames(stream: u32, block: &[u8]) -> Vec<Frame> {
    let pieces = block.chunks(16_384);
    let last = pieces.len() - 1;
    let frame = |(at, piece): (usize, &[u8])| {
        let (kind, flags) = if at == 0 {
            (HEADERS, END_STREAM)
        } else {
            (CONTINUATION, 0)
        };
        let flags = if at == last { flags | END_HEADERS } else { flags };
        Frame::new(kind, flags, stream, piece)
    };
    pieces.enumerate().map(frame).collect()
}

#[tokio::test]
async fn http2_body_of_a_refused_request_does_not_take_its_answer_away() {
    let world = World::start().await;
    let mut report = Report::default();
    let mut client = Frames::open(world.addr()).await;
    let ping = Frame::new(frames::PING, 0, 0, [0; 8]);
    let refused = |stream: u32| {
        let block = frames::request("POST", "nonsense", NONE, "/", &[]);
        Frame::new(HEADERS, END_HEADERS, stream, block)
    };

    client.send(&[refused(1)]).await.expect("an open connection");
    let answered = client
        .find(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0)
        .await;
    report.holds("the answer is whole", answered.is_some());
    // A small body that comes behind its answer: nothing may be reset before a caller could have read the answer.
    let body = Frame::new(DATA, END_STREAM, 1, *b"hello");
    client
        .send(&[ping.clone(), body, ping.clone()])
        .await
        .expect("an open connection");
    for _ in 0..2 {
        let next = client
            .find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY | frames::PING))
            .await;
        report.equal(
            "a small body is taken",
            next.map(|frame| frame.kind),
            Some(frames::PING),
        );
    }

    // What the window permits is read, and a body that never ends is not waited for.
    client.send(&[refused(3)]).await.expect("an open connection");
    let window: Vec<Frame> = (0..4).map(|_| Frame::new(DATA, 0, 3, [b'x'; 16_000])).collect();
    client.send(&window).await.expect("an open connection");
    let end = timeout(
        PATIENCE,
        client.find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY)),
    )
    .await;
    let end = end.expect("an end in time").expect("a connection that lives");
    report.equal(
        "RST_STREAM(NO_ERROR)",
        (end.kind, end.stream, end.code()),
        (RST_STREAM, 3, 0),
    );
    report.finish();
}
