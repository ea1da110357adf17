//! What the HTTP library merges or frames anew: the upstream gets one framing, stated by the gateway (RFC 9112 §2.2, §6.3).

use crate::hand::{HAND, HandUpstream, values};
use crate::report::{Report, refusal};
use crate::wire::head;
use crate::world::World;
use testkit::http::{Connection, Rest};
use testkit::wait::PATIENCE;

#[tokio::test]
async fn framing_that_has_one_meaning_crosses_as_the_gateway_states_it() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let post = |lines: &str| head(&world, "POST", HAND, "/", lines);
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    for (case, request, lengths, codings, last) in [
        (
            "two equal lengths",
            post(&length.repeat(2)) + "hello",
            vec!["5"],
            vec![],
            false,
        ),
        (
            "a length beside chunks",
            post(&format!("{length}{chunked}")) + "5\r\nhello\r\n0\r\n\r\n",
            vec![],
            vec!["chunked"],
            true,
        ),
        (
            "bare line feeds",
            post(length).replace("\r\n", "\n") + "hello",
            vec!["5"],
            vec![],
            false,
        ),
    ] {
        let mut client = Connection::open(world.addr()).await;
        client.send(request).await.expect("an open connection");
        let refused = async {
            let response = client.response().await;
            (response.status(), response.text())
        };
        let mut call = tokio::select! {
            call = upstream.call() => call,
            refused = refused => {
                report.note(case, Err(format!("refused: {refused:?}")));
                continue;
            }
        };
        let seen = call.head().await;
        report.equal(case, values(&seen, "content-length"), lengths.clone());
        report.equal(case, values(&seen, "transfer-encoding"), codings);
        report.holds(
            format!("{case}: no bare line feed"),
            !seen.replace("\r\n", "").contains('\n'),
        );
        let body: &[u8] = if lengths.is_empty() {
            b"5\r\nhello\r\n0\r\n\r\n"
        } else {
            b"hello"
        };
        report.equal(case, call.exactly(body.len()).await, body);
        call.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;
        report.equal(format!("{case}: nothing behind it"), call.until_end().await, b"");
        report.status(case, &client.response().await, 204);
        if last {
            report.equal(
                format!("{case}: closed"),
                client.rest(PATIENCE).await,
                Rest::Closed,
            );
        } else {
            let next = client.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
            report.status(format!("{case}: the next request"), &next, 200);
        }
    }
    report.finish();
}

#[tokio::test]
async fn framing_by_a_length_beside_chunks_is_the_last_of_its_connection_whatever_is_answered() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let lines = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    for kind in ["text/event-stream", "text/plain"] {
        let mut client = Connection::open(world.addr()).await;
        let request = head(&world, "POST", HAND, "/", lines) + "5\r\nhello\r\n0\r\n\r\n";
        client.send(request).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        call.exactly(b"5\r\nhello\r\n0\r\n\r\n".len()).await;
        call.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"
        ))
        .await;
        let response = client.response().await;
        report.equal(
            kind,
            (response.status(), response.text().as_ref()),
            (200, "data: 1\n\n"),
        );
        report.equal(kind, response.header("connection"), Some("close"));
        // Ignored where it arrives after the end.
        let _ = client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
        report.equal(
            format!("{kind}: closed"),
            client.rest(PATIENCE).await,
            Rest::Closed,
        );
    }
    report.finish();
}

#[tokio::test]
async fn framing_of_chunks_that_are_none_is_refused_as_the_callers_fault() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let refused = refusal(400, "invalid_request", "malformed request body");
    let chunks = ["nonsense\r\n", "5\r\nhelloXX", "-1\r\n", "fffffffffffffffff\r\n"];
    // Behind a good chunk the upstream has the head and a part, else perhaps nothing.
    let cases = ["2\r\nhi\r\n", ""].map(|good| chunks.map(|chunk| (good, chunk)));
    for (at, (good, chunk)) in cases.into_iter().flatten().enumerate() {
        let case = format!("{good:?} {chunk:?}");
        let mut client = Connection::open(world.addr()).await;
        let id = format!("malformed-{at}");
        let lines = format!("Transfer-Encoding: chunked\r\nX-Request-Id: {id}\r\n");
        let _ = client.send(head(&world, "POST", HAND, "/", &lines) + good).await;
        let mut begun = None;
        if !good.is_empty() {
            let mut call = upstream.call().await;
            call.through(good.as_bytes()).await;
            begun = Some(call);
        }
        let response = client.exchange(chunk).await;
        report.refused(case.as_str(), &response, refused);
        report.equal(case.as_str(), response.header("connection"), Some("close"));
        let events = world.events_of(&id, 1).await;
        report.equal(
            case.as_str(),
            events[0].metadata("error_kind").as_str(),
            Some("malformed_body"),
        );
        if let Some(mut call) = begun {
            let rest = call.until_end().await;
            report.holds(
                format!("{case}: the upstream does not take it for whole"),
                !rest.ends_with(b"0\r\n\r\n"),
            );
        }
    }
    let denied = world
        .metric(r#"caracal_gateway_denials_total{reason="malformed_body"}"#)
        .await;
    report.holds("counted", denied > 0.0);
    report.finish();
}
