//! How connections begin, wait and end: what is the caller's leaving and what is not, which time limit holds, and how a
//! caller is told that its response is not whole.

mod framing;
mod http2;
mod keepalive;
mod proxied;
mod targets;

use crate::hand::{Call, HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{head, head_with};
use crate::world::{NONE, World};
use devstack::Minted;
use testkit::http::{Connection, Ending, Rest};
use testkit::wait::{PATIENCE, until};
use tokio::time::timeout;

/// No mandate: refused at the first gates.
const BAD: &str = "nonsense";

/// A text as an HTTP/1.0 caller would send it.
fn old(request: &str) -> String {
    request.replacen("HTTP/1.1", "HTTP/1.0", 1)
}

#[tokio::test]
async fn connection_whose_caller_has_sent_all_and_says_so_gets_its_answer() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    for (case, request) in [
        ("no body", head(&world, "GET", HAND, "/", "")),
        (
            "a length",
            head(&world, "POST", HAND, "/", "Content-Length: 5\r\n") + "hello",
        ),
        (
            "chunks",
            head(&world, "POST", HAND, "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("HTTP/1.0", old(&head(&world, "GET", HAND, "/", ""))),
    ] {
        let mut client = Connection::open(world.addr()).await;
        client.send(request).await.expect("an open connection");
        client.finish().await;
        let mut call = upstream.call().await;
        call.head().await;
        call.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
            .await;
        report.status(case, &whole(&mut client, &mut call).await, 200);
        report.equal(
            format!("{case}: closed"),
            client.rest(PATIENCE).await,
            Rest::Closed,
        );
    }
    let mut client = Connection::open(world.addr()).await;
    let request = head_with(BAD, "GET", NONE, "/", "");
    client.send(request).await.expect("an open connection");
    client.finish().await;
    report.status("a refusal", &client.response().await, 401);
    report.finish();
}

async fn whole(client: &mut Connection, call: &mut Call) -> testkit::http::Response {
    call.send("whole").await;
    let response = client.response().await;
    assert_eq!(response.text(), "whole");
    response
}

#[tokio::test]
async fn connection_that_is_reset_has_lost_its_caller() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder()
        .hand(&upstream)
        .env("MAX_INFLIGHT_REQUESTS", "1")
        .start()
        .await;
    let mut report = Report::default();
    for (id, request) in [
        ("get", head(&world, "GET", HAND, "/", "X-Request-Id: get\r\n")),
        (
            "length",
            head(
                &world,
                "POST",
                HAND,
                "/",
                "X-Request-Id: length\r\nContent-Length: 5\r\n",
            ) + "hello",
        ),
        (
            "chunks",
            head(
                &world,
                "POST",
                HAND,
                "/",
                "X-Request-Id: chunks\r\nTransfer-Encoding: chunked\r\n",
            ) + "5\r\nhello\r\n0\r\n\r\n",
        ),
    ] {
        let mut client = Connection::open_abrupt(world.addr()).await;
        client.send(request).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        // The upstream does not answer, so nothing but the reset can end this.
        drop(client);
        call.until_end().await;
        let events = timeout(PATIENCE, world.events_of(id, 1)).await.expect("an event");
        report.equal(
            id,
            events[0].metadata("error_kind").as_str(),
            Some("client_cancelled"),
        );
    }
    until("the place of the request", async || {
        (world.get(NONE, "/").await.status() == 200).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn connection_of_http10_is_reset_where_its_response_breaks_off() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();

    for (case, framing, keep_alive) in [
        ("chunks", "Transfer-Encoding: chunked", ""),
        (
            "chunks, kept alive",
            "Transfer-Encoding: chunked",
            "Connection: keep-alive\r\n",
        ),
        ("a length", "Content-Length: 500", ""),
    ] {
        let (mut client, mut call) =
            half_answered(&world, &mut upstream, &world.mint(HAND), framing, keep_alive).await;
        call.send("5\r\nhello\r\n").await;
        assert!(matches!(client.piece().await, testkit::http::Piece::Data(_)));
        drop(call);
        report.equal(case, ending(&mut client).await, Ending::Reset);
    }

    let minted = world.mint(HAND);
    let (mut client, _call) =
        half_answered(&world, &mut upstream, &minted, "Transfer-Encoding: chunked", "").await;
    world
        .publish("caracal.sessions.revoke", &[("session_id", &minted.sid)])
        .await;
    report.equal("revoked", ending(&mut client).await, Ending::Reset);
    report.finish();
}

async fn half_answered(
    world: &World,
    upstream: &mut HandUpstream,
    minted: &Minted,
    framing: &str,
    lines: &str,
) -> (Connection, Call) {
    let mut client = Connection::open(world.addr()).await;
    let request = old(&head_with(minted.token.expose(), "GET", HAND, "/", lines));
    client.send(request).await.expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
    assert_eq!(client.head().await.status, 200);
    (client, call)
}

async fn ending(client: &mut Connection) -> Ending {
    loop {
        if let testkit::http::Piece::End(ending, _) = client.piece().await {
            return ending;
        }
    }
}

#[tokio::test]
async fn connection_of_http10_is_kept_only_behind_a_body_whose_end_is_known() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let request = || old(&head(&world, "GET", HAND, "/", "Connection: keep-alive\r\n"));
    let mut client = Connection::open(world.addr()).await;
    for (case, answer, connection) in [
        ("a length", "Content-Length: 5\r\n\r\nhello", "keep-alive"),
        (
            "an unknown length",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "close",
        ),
    ] {
        client.send(request()).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{answer}"))
            .await;
        let response = client.response().await;
        report.equal(case, response.text(), "hello");
        report.equal(case, response.header("connection"), Some(connection));
    }
    report.equal("closed", client.rest(PATIENCE).await, Rest::Closed);
    report.finish();
}

#[tokio::test]
async fn connection_with_the_beginning_of_a_next_head_is_held_to_the_time_of_a_head() {
    let world = World::start().await;
    let impatient = world
        .replica_with(&[("READ_HEADER_TIMEOUT", "1s"), ("IDLE_TIMEOUT", "1h")])
        .await;
    let idle = world
        .replica_with(&[("READ_HEADER_TIMEOUT", "1h"), ("IDLE_TIMEOUT", "1s")])
        .await;
    let mut report = Report::default();
    let requests = || {
        [
            ("no body", head(&world, "GET", NONE, "/", "")),
            (
                "bare line feeds",
                head(&world, "GET", NONE, "/", "").replace("\r\n", "\n"),
            ),
            (
                "a length",
                head(&world, "POST", NONE, "/", "Content-Length: 5\r\n") + "hello",
            ),
            (
                "chunks",
                head(&world, "POST", NONE, "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
            ),
        ]
    };
    for (case, request) in requests() {
        let mut client = Connection::open(impatient.addr()).await;
        let response = client.exchange(request + "GET / HTTP/1.1\r\nHo").await;
        report.status(case, &response, 200);
        report.equal(
            format!("{case}, with the beginning of a head"),
            client.rest(PATIENCE).await,
            Rest::Closed,
        );
    }
    for (case, request) in requests() {
        let mut client = Connection::open(idle.addr()).await;
        let response = client.exchange(request).await;
        report.status(case, &response, 200);
        report.equal(
            format!("{case}, alone"),
            client.rest(PATIENCE).await,
            Rest::Closed,
        );
    }
    // However the bytes are cut, a next request is answered.
    for size in [1, 7, usize::MAX] {
        let texts: String = requests().into_iter().map(|(_, request)| request).collect();
        let mut client = Connection::open(world.addr()).await;
        for piece in texts.as_bytes().chunks(size) {
            client.send(piece).await.expect("an open connection");
        }
        for (case, _) in requests() {
            report.status(
                format!("{case}, in pieces of {size}"),
                &client.response().await,
                200,
            );
        }
    }
    report.finish();
}

#[tokio::test]
async fn connection_does_not_wait_for_a_body_before_it_refuses() {
    let world = World::start().await;
    let mut report = Report::default();
    let refused = refusal(401, "invalid_token", "malformed bearer token");
    let ask = async {
        // As many as would wait for longer than the test's patience, if each waited half a second.
        for _ in 0..50 {
            let mut client = Connection::open(world.addr()).await;
            let response = client
                .exchange(head_with(BAD, "POST", NONE, "/", "Content-Length: 5\r\n"))
                .await;
            report.refused("at once", &response, refused);
            report.equal(
                "only the close waits",
                response.header("connection"),
                Some("close"),
            );
        }
    };
    timeout(PATIENCE, ask)
        .await
        .expect("refusals that wait for nothing");
    report.finish();
}
