//! Transfer codings that the gateway does not undo: it takes the field away, so nobody behind it could either.

use crate::hand::{HAND, HandUpstream};
use crate::report::{Report, refusal};
use crate::wire::{ask, head};
use crate::world::World;

#[tokio::test]
async fn crossing_body_in_another_coding_than_chunked_is_refused() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let body = "5\r\nhello\r\n0\r\n\r\n";

    for coding in ["gzip, chunked", "chunked, chunked"] {
        let lines = format!("Transfer-Encoding: {coding}\r\n");
        let request = head(&world, "POST", HAND, "/", &lines) + body;
        let refused = refusal(400, "invalid_token", "ambiguous request headers");
        let response = ask(world.addr(), request).await;
        report.refused(format!("request, {coding}"), &response, refused);
        report.holds(format!("request, {coding}: not dispatched"), upstream.is_quiet());

        let play = async {
            let mut call = upstream.call().await;
            call.head().await;
            call.send(format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}")).await;
        };
        let request = head(&world, "GET", HAND, "/", "");
        let (response, ()) = tokio::join!(ask(world.addr(), request), play);
        let invalid = refusal(502, "internal_error", "upstream response invalid");
        report.refused(format!("answer, {coding}"), &response, invalid);
    }
    report.finish();
}
