//! An upstream that closes a kept connection while the next request is on its way.

use crate::hand::{Call, HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{ask, head};
use crate::world::World;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A connection over which the gateway had an answer before.
async fn kept(world: &World, upstream: &mut HandUpstream) -> Call {
    let play = async {
        let mut call = upstream.call().await;
        call.head().await;
        call.send(OK).await;
        call
    };
    let (call, response) = tokio::join!(play, ask(world.addr(), head(world, "GET", HAND, "/", "")));
    assert_eq!(response.status(), 200, "{}", response.text());
    call
}

#[tokio::test]
async fn crossing_request_without_an_answer_is_sent_once_more_only_where_that_is_safe() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let body = "Content-Length: 2\r\n";

    for (number, (method, lines, is_used, answer, is_repeated)) in [
        ("GET", "", true, "", true),
        ("HEAD", "", true, "", true),
        ("OPTIONS", "", true, "", true),
        // A GET may have gone over a connection that was made ahead and waited.
        ("POST", "", false, "", false),
        ("GET", "", true, "H", false),
        ("GET", body, true, "", false),
        ("HEAD", body, true, "", false),
        ("POST", "", true, "", false),
        ("POST", body, true, "", false),
        ("PUT", "", true, "", false),
        ("DELETE", "", true, "", false),
    ]
    .into_iter()
    .enumerate()
    {
        let case = format!("{method} {lines:?}, used {is_used}, answered {answer:?}");
        let id = format!("attempt-{number}");
        let used = match is_used {
            true => Some(kept(&world, &mut upstream).await),
            false => None,
        };
        let mut request = head(
            &world,
            method,
            HAND,
            "/x?a=1",
            &format!("X-Request-Id: {id}\r\n{lines}"),
        );
        if !lines.is_empty() {
            request += "hi";
        }
        let play = async {
            let mut call = match used {
                Some(call) => call,
                None => upstream.call().await,
            };
            let first = call.head().await;
            call.send(answer).await;
            drop(call);
            if !is_repeated {
                return (first.clone(), first);
            }
            let mut call = upstream.call().await;
            let second = call.head().await;
            call.send(OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
                .await;
            (first, second)
        };
        let (response, (first, second)) = tokio::join!(ask(world.addr(), request), play);
        let event = world.events_of(&id, 1).await.remove(0);
        report.equal(&case, second, first);
        report.holds(format!("{case}: no further try"), upstream.is_quiet());
        if is_repeated {
            report.status(&case, &response, 200);
            report.equal(&case, event.metadata("attempts").as_u64(), Some(2));
            report.equal(&case, event.text("evaluation_status"), "executed");
        } else {
            let unreachable = refusal(502, "internal_error", "upstream unreachable");
            if method == "HEAD" {
                report.status(&case, &response, 502);
            } else {
                report.refused(&case, &response, unreachable);
            }
            report.holds(
                format!("{case}: one attempt"),
                event.metadata("attempts").is_null(),
            );
            report.equal(
                &case,
                event.metadata("error_kind").as_str(),
                Some("transport_error"),
            );
        }
    }
    report.finish();
}
