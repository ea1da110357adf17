//! Streams of events: how they are framed on either side, how they end, and what becomes of both connections.

use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::wire::head;
use crate::world::World;
use testkit::http::{Connection, Ending, Piece, Response};
use testkit::wait::until;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";
const END: &str = "0\r\n\r\n";

struct Scene {
    world: World,
    upstream: HandUpstream,
}

impl Scene {
    async fn start() -> Self {
        let upstream = HandUpstream::start().await;
        let world = World::builder().hand(&upstream).start().await;
        Self { world, upstream }
    }

    /// Lets the upstream answer one request with these bytes and hang up.
    async fn answer(&mut self, lines: &str, answer: &str) -> Response {
        let request = head(&self.world, "GET", HAND, "/", lines);
        self.upstream.answer(self.world.addr(), request, answer).await
    }
}

/// A tool call of MCP is answered as a stream of one event: it must not cost a connection on either side.
#[tokio::test]
async fn crossing_events_that_end_leave_both_connections_for_the_next_request() {
    let mut scene = Scene::start().await;
    let mut client = Connection::open(scene.world.addr()).await;
    let mut call = None;
    for round in 0..3 {
        let lines = "Content-Type: application/json\r\nContent-Length: 2\r\n";
        let request = head(&scene.world, "POST", HAND, "/", lines) + "{}";
        client.send(request).await.expect("an open connection");
        let mut upstream = match call.take() {
            Some(upstream) => upstream,
            None => scene.upstream.call().await,
        };
        upstream.head().await;
        assert_eq!(upstream.exactly(2).await, b"{}");
        upstream.send(format!("{HEAD}{CHUNKED}\r\n")).await;
        assert_eq!(client.head().await.status, 200, "round {round}");
        for _ in 0..2 {
            upstream.send(EVENT).await;
            assert_eq!(client.piece().await, Piece::Data("data: 1\n\n".into()));
        }
        upstream.send(END).await;
        let Piece::End(ending, trailers) = client.piece().await else {
            panic!("another event")
        };
        assert_eq!((ending, trailers.0.len()), (Ending::Complete, 0), "round {round}");
        call = Some(upstream);
        let idle = async || {
            let idle = scene
                .world
                .metric("caracal_gateway_upstream_connections_idle")
                .await;
            (idle == 1.0).then_some(())
        };
        until("the connection to be idle", idle).await;
    }
    let request = head(&scene.world, "GET", HAND, "/", "");
    client.send(request).await.expect("an open connection");
    let mut upstream = call.expect("a connection");
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        .await;
    assert_eq!(client.response().await.text(), "plain");
    assert!(scene.upstream.is_quiet(), "one connection served all");
}

#[tokio::test]
async fn crossing_events_end_as_their_upstream_ends_them() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    for (case, answer, whole) in [
        ("whole", format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}{END}"), true),
        ("until close", format!("{HEAD}\r\ndata: 1\n\ndata: 1\n\n"), true),
        (
            "HTTP/1.0",
            format!("{}\r\ndata: 1\n\ndata: 1\n\n", HEAD.replace("/1.1", "/1.0")),
            true,
        ),
        (
            "an interim answer before",
            format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}{END}"),
            true,
        ),
        (
            "with a length",
            format!("{HEAD}Content-Length: 18\r\n\r\ndata: 1\n\ndata: 1\n\n"),
            true,
        ),
        (
            "bytes behind the end",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}{END}{EVENT}"),
            true,
        ),
        (
            "without the last chunk",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}"),
            false,
        ),
        (
            "half a chunk",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}9\r\n"),
            false,
        ),
        (
            "half an end",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}0\r\n"),
            false,
        ),
        (
            "no size",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}\r\n{END}"),
            false,
        ),
        (
            "a line feed alone",
            format!("{HEAD}{CHUNKED}\r\n{EVENT}{EVENT}0\n\n"),
            false,
        ),
    ] {
        for lines in ["", "TE: trailers\r\n", "Connection: close\r\n"] {
            let response = scene.answer(lines, &answer).await;
            let case = format!("{case} {lines:?}");
            report.equal(&case, response.text(), "data: 1\n\ndata: 1\n\n");
            report.equal(&case, response.ending == Ending::Complete, whole);
        }
    }
    report.finish();
}

#[tokio::test]
async fn crossing_events_have_their_trailers_where_they_are_wanted() {
    let mut scene = Scene::start().await;
    let mut report = Report::default();
    let answer = format!(
        "{HEAD}{CHUNKED}Trailer: X-Sum, X-Request-Id, Set-Cookie\r\n\r\n{EVENT}0\r\nX-Sum: 1\r\n\
         X-Request-Id: foul\r\nSet-Cookie: foul=1\r\n\r\n"
    );
    let wanted = scene.answer("TE: trailers\r\n", &answer).await;
    report.equal("body", wanted.text(), "data: 1\n\n");
    report.equal("wanted", wanted.trailers.get("x-sum"), Some("1"));
    report.equal("only those that may pass", wanted.trailers.0.len(), 1);
    let unwanted = scene.answer("", &answer).await;
    report.equal("body", unwanted.text(), "data: 1\n\n");
    report.equal("whole", unwanted.ending, Ending::Complete);
    report.equal("unwanted", unwanted.trailers.0.len(), 0);
    report.finish();
}
