//! Two readers of one byte stream must not see different requests.

mod corpus;
mod http2;
mod names;
mod replay;
mod servers;

use crate::report::Report;
use crate::wire::{ask, head, head_with};
use crate::world::{NONE, World};
use testkit::http::{Connection, Rest};
use testkit::wait::PATIENCE;

/// The request that must never be seen, in an ambiguous message's body.
fn smuggled(world: &World) -> String {
    head(world, "GET", NONE, "/smuggled", "")
}

#[tokio::test]
async fn smuggling_ambiguous_framing_is_refused_and_the_connection_closed() {
    let world = World::start().await;
    let mut report = Report::default();
    let length_lines = |length: usize| format!("Content-Length: {length}\r\n");
    let inner = smuggled(&world);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let end = "0\r\n\r\n";
    let cases: Vec<(&str, String, String)> = vec![
        (
            "two lengths",
            format!("Content-Length: 0\r\n{}", length_lines(inner.len())),
            inner.clone(),
        ),
        (
            "two lengths in one field",
            format!("Content-Length: 0, {}\r\n", inner.len()),
            inner.clone(),
        ),
        (
            "a signed length",
            format!("Content-Length: +{}\r\n", inner.len()),
            inner.clone(),
        ),
        (
            "a negative length",
            "Content-Length: -1\r\n".into(),
            inner.clone(),
        ),
        (
            "a hexadecimal length",
            "Content-Length: 0x10\r\n".into(),
            inner.clone(),
        ),
        (
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551617\r\n".into(),
            inner.clone(),
        ),
        (
            "another coding",
            "Transfer-Encoding: xchunked\r\n".into(),
            format!("{end}{inner}"),
        ),
        (
            "two codings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
            format!("{end}{inner}"),
        ),
        (
            "a coding after chunked",
            "Transfer-Encoding: chunked, gzip\r\n".into(),
            format!("{end}{inner}"),
        ),
        (
            "white space before the colon",
            "Transfer-Encoding : chunked\r\n".into(),
            format!("{end}{inner}"),
        ),
        (
            "a folded coding",
            "X-A: 1\r\n Transfer-Encoding: chunked\r\n".into(),
            format!("{end}{inner}"),
        ),
        (
            "a control byte in a value",
            "X-A: 1\x002\r\n".into(),
            String::new(),
        ),
        (
            "a bare carriage return in a value",
            "X-A: 1\r2\r\n".into(),
            String::new(),
        ),
        ("a field without a name", ": 1\r\n".into(), String::new()),
        ("a field without a colon", "X-A\r\n".into(), String::new()),
        ("two hosts", "Host: other.example\r\n".into(), String::new()),
        (
            "two resources",
            "X-Caracal-Resource: resource://mandate\r\n".into(),
            String::new(),
        ),
        (
            "two authorizations",
            "Authorization: Bearer x\r\n".into(),
            String::new(),
        ),
    ];
    for (case, lines, body) in cases {
        refused(
            &world,
            &mut report,
            case,
            head(&world, "POST", NONE, "/", &lines) + &body,
        )
        .await;
    }

    for (case, text) in [
        (
            "chunks of HTTP/1.0",
            head(&world, "POST", NONE, "/", chunked).replacen("HTTP/1.1", "HTTP/1.0", 1) + end + &inner,
        ),
        (
            "no host",
            head(&world, "GET", NONE, "/", "").replacen("Host: gateway.example\r\n", "", 1),
        ),
        (
            "two resources in one field",
            head(&world, "GET", NONE, "/", "").replacen(NONE, "resource://none, resource://mandate", 1),
        ),
        (
            "absolute target of another authority",
            head(&world, "GET", NONE, "http://evil.example/x", ""),
        ),
        (
            "absolute target with user information",
            head(&world, "GET", NONE, "http://gateway.example@evil.example/", ""),
        ),
        (
            "authority form",
            head(&world, "CONNECT", NONE, "127.0.0.1:22", ""),
        ),
        ("CONNECT with a path", head(&world, "CONNECT", NONE, "/", "")),
        ("TRACE", head(&world, "TRACE", NONE, "/", "")),
        ("OPTIONS *", head(&world, "OPTIONS", NONE, "*", "")),
        ("a target without a slash", head(&world, "GET", NONE, "x", "")),
        ("a space in the target", head(&world, "GET", NONE, "/a b", "")),
        (
            "a control byte in the target",
            head(&world, "GET", NONE, "/a\x01b", ""),
        ),
        (
            "an unknown version",
            head(&world, "GET", NONE, "/", "").replacen("HTTP/1.1", "HTTP/1.2", 1),
        ),
    ] {
        refused(&world, &mut report, case, text).await;
    }

    // Nothing of all that has arrived: the next request is the next one there.
    let dispatched = world.dispatched();
    let response = world.get(NONE, "/after").await;
    report.status("after", &response, 200);
    report.equal("after", world.dispatched(), dispatched + 1);
    let seen: Vec<_> = world
        .stack
        .upstream()
        .recorded()
        .iter()
        .map(devstack::Recorded::target)
        .collect();
    report.holds(
        format!("never smuggled: {seen:?}"),
        !seen.iter().any(|target| target.contains("smuggled")),
    );
    report.finish();
}

/// An ambiguous message: refused with 4xx or without a word, closed, and nothing of it is dispatched.
async fn refused(world: &World, report: &mut Report, case: &str, text: String) {
    let dispatched = world.dispatched();
    let mut client = Connection::open(world.addr()).await;
    // It may hang up before it has read all.
    let _ = client.send(&text).await;
    match client.try_head().await {
        Ok(head) => {
            report.holds(
                format!("{case}: {}", head.line),
                matches!(head.status, 400 | 405 | 411 | 413 | 431 | 501 | 505),
            );
            while let testkit::http::Piece::Data(_) = client.piece().await {}
            // A method that is not proxied leaves a message whose end is known.
            if head.status != 405 {
                let rest = client.rest(PATIENCE).await;
                report.holds(
                    format!("{case}: {rest:?} after the refusal"),
                    matches!(rest, Rest::Closed | Rest::Reset),
                );
            }
        }
        Err(_closed) => {}
    }
    report.equal(format!("{case}: dispatched"), world.dispatched(), dispatched);
}

/// RFC 9112 §6.1: refused, or read by its chunks alone, sent on without the length, and the connection closed.
#[tokio::test]
async fn smuggling_length_beside_chunks_is_one_request_and_the_last_of_its_connection() {
    let world = World::start().await;
    let mut report = Report::default();
    let inner = smuggled(&world);
    let (chunked, end) = ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let length = end.len() + inner.len();
    for (case, lines, body) in [
        (
            "length first, the next request behind the last chunk",
            format!("Content-Length: {length}\r\n{chunked}"),
            format!("{end}{inner}"),
        ),
        (
            "chunks first, the next request behind the last chunk",
            format!("{chunked}Content-Length: {length}\r\n"),
            format!("{end}{inner}"),
        ),
        (
            "chunks first, the next request in a chunk",
            format!("{chunked}Content-Length: 4\r\n"),
            format!("{:x}\r\n{inner}\r\n{end}", inner.len()),
        ),
    ] {
        let dispatched = world.dispatched();
        let mut client = Connection::open(world.addr()).await;
        let outer = head(&world, "POST", NONE, "/outer", &lines);
        let response = client.exchange(outer + &body).await;
        report.holds(
            format!("{case}: {}", response.status()),
            matches!(response.status(), 200 | 400),
        );
        let rest = client.rest(PATIENCE).await;
        report.holds(
            format!("{case}: {rest:?}"),
            matches!(rest, Rest::Closed | Rest::Reset),
        );
        let expect = u64::from(response.status() == 200);
        report.equal(
            format!("{case}: dispatched"),
            world.dispatched() - dispatched,
            expect,
        );
        if response.status() == 200 {
            let last = world.stack.upstream().last().expect("a request at the upstream");
            report.equal(case, last.target(), "/outer");
            report.equal(case, last.header("content-length"), [""; 0]);
            report.equal(case, last.header("transfer-encoding"), ["chunked"]);
        }
    }
    report.finish();
}

#[tokio::test]
async fn smuggling_a_second_request_is_never_read_from_what_belongs_to_the_first() {
    let world = World::start().await;
    let mut report = Report::default();
    let hidden = smuggled(&world);

    // Refused before its body was read, on a connection that is used again.
    for (case, lines, body) in [
        (
            "a length",
            format!("Content-Length: {}\r\n", hidden.len()),
            hidden.clone(),
        ),
        (
            "chunks",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        ),
        (
            "a megabyte",
            format!("Content-Length: {}\r\n", (1 << 20) + hidden.len()),
            "x".repeat(1 << 20) + &hidden,
        ),
    ] {
        let dispatched = world.dispatched();
        let mut client = Connection::open(world.addr()).await;
        let denied = head_with("no.token.here", "POST", NONE, "/", &lines) + &body;
        let follow = head(&world, "GET", NONE, "/followed", "");
        // Hanging up on an unread body is as good as reading it to its end.
        let _ = client.send(denied + &follow).await;
        let mut answers = Vec::new();
        while let Ok(head) = client.try_head().await {
            answers.push(head.status);
            while let testkit::http::Piece::Data(_) = client.piece().await {}
            if answers.len() == 2 {
                break;
            }
        }
        report.holds(
            format!("denied with {case} unread: {answers:?}"),
            matches!(answers[..], [] | [401] | [401, 200]),
        );
        let expect = u64::from(answers.len() == 2);
        report.equal(
            format!("denied with {case} unread"),
            world.dispatched() - dispatched,
            expect,
        );
    }

    // An upgrade that nobody granted: what follows is a request with gates of its own.
    for protocol in ["websocket", "h2c", "foo"] {
        let lines = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        );
        let mut client = Connection::open(world.addr()).await;
        let unauthorised =
            "GET /smuggled HTTP/1.1\r\nHost: gateway.example\r\nX-Caracal-Resource: resource://none\r\n\r\n";
        let first = client
            .exchange(head(&world, "GET", NONE, "/first", &lines) + unauthorised)
            .await;
        report.status(format!("upgrade to {protocol}"), &first, 200);
        report.status(
            format!("after an upgrade to {protocol}"),
            &client.response().await,
            401,
        );
        let last = world.stack.upstream().last().expect("a request at the upstream");
        report.equal(
            protocol,
            (last.target(), last.header("upgrade")),
            ("/first".to_owned(), Vec::new()),
        );
    }

    // Pipelined requests are answered one after the other, each through every gate.
    let texts = [
        head(&world, "GET", NONE, "/one", ""),
        head_with("no.token.here", "GET", NONE, "/two", ""),
        head(&world, "GET", NONE, "/three", ""),
    ];
    let mut client = Connection::open(world.addr()).await;
    client.send(texts.concat()).await.expect("an open connection");
    let mut answers = Vec::new();
    for _ in &texts {
        answers.push(client.response().await.status());
    }
    report.equal("pipelined", answers, [200, 401, 200]);

    // A bare line feed ends a line for some readers only (RFC 9112 §2.2): whatever it is taken for, no gate is skipped.
    let bare = head(&world, "GET", NONE, "/", "").replace("\r\n", "\n");
    let response = ask(world.addr(), bare).await;
    report.holds(
        format!("bare line feeds: {}", response.status()),
        matches!(response.status(), 200 | 400),
    );
    report.holds(
        "never smuggled",
        !world
            .stack
            .upstream()
            .recorded()
            .iter()
            .any(|seen| seen.target().contains("smuggled")),
    );
    report.finish();
}
