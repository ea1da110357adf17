//! Early hints (RFC 8297), where they are on.

use super::request::resource_at;
use crate::hand::{HAND, HandUpstream};
use crate::report::Report;
use crate::transport::client::Http2;
use crate::wire::head;
use crate::world::World;
use devstack::Target;
use http_body_util::Full;
use testkit::http::{Connection, Rest};
use testkit::wait::PATIENCE;
use tokio::net::TcpStream;

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nServer: foul\r\n\
                    Connection: X-Foul\r\nX-Foul: foul\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

/// The next interim head, before anything of the answer is there.
async fn interim(client: &mut Connection) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match client.rest(PATIENCE).await {
            Rest::Bytes(bytes) => head += &String::from_utf8(bytes).expect("a head in UTF-8"),
            end => panic!("{end:?} behind {head:?}"),
        }
    }
    head
}

#[tokio::test]
async fn crossing_early_hints_reach_http1_callers_where_they_are_on() {
    let mut upstream = HandUpstream::start().await;
    let place = Target::Url(upstream.url());
    let world = World::builder()
        .stack(|stack| stack.resources.push(resource_at(HAND, place)))
        .env("EARLY_HINTS", "on")
        .start()
        .await;
    let mut report = Report::default();
    let mut client = Connection::open(world.addr()).await;
    let expect = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    // Before the answer, and not for the request behind it on the same connection.
    for lines in ["", "Expect: 100-continue\r\nContent-Length: 2\r\n"] {
        let request = head(&world, "POST", HAND, "/", lines);
        client.send(request).await.expect("an open connection");
        let mut call = upstream.call().await;
        call.head().await;
        if !lines.is_empty() {
            let goes_on = interim(&mut client).await;
            report.equal("100", goes_on, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        call.send(HINT).await;
        report.equal("the hint", interim(&mut client).await, expect);
        if !lines.is_empty() {
            client.send("ok").await.expect("an open connection");
            call.exactly(2).await;
        }
        call.send(format!("HTTP/1.1 102 Processing\r\n\r\n{HINT}{FINAL}"))
            .await;
        let response = client.response().await;
        report.equal("the answer", response.text(), "ok");
        report.holds(
            "103 alone",
            response.interim.iter().all(|head| head.status == 103),
        );
    }
    let mut flood = Connection::open(world.addr()).await;
    flood
        .send(head(&world, "GET", HAND, "/", ""))
        .await
        .expect("an open connection");
    let mut call = upstream.call().await;
    call.head().await;
    call.send(format!("{}{FINAL}", HINT.repeat(1000))).await;
    let response = flood.response().await;
    report.equal("a flood", response.text(), "ok");
    report.holds("a flood is bounded", response.interim.len() <= 8);

    // An HTTP/1.0 caller knows none, and an HTTP/2 caller gets none.
    let request = head(&world, "GET", HAND, "/", "").replacen("HTTP/1.1", "HTTP/1.0", 1);
    let response = upstream
        .answer(world.addr(), request, format!("{HINT}{FINAL}"))
        .await;
    report.equal(
        "HTTP/1.0",
        (response.text().as_ref(), response.interim.len()),
        ("ok", 0),
    );
    let stream = TcpStream::connect(world.addr()).await.expect("a connection");
    let base = format!("http://{}", world.addr());
    let request = hyper::Request::get(format!("{base}/"))
        .header("authorization", format!("Bearer {}", world.token(HAND)))
        .header("x-caracal-resource", HAND);
    let request = request.body(Full::default()).expect("a request");
    let mut http2 = Http2::over(Box::new(stream), &base).await;
    let play = async {
        let mut call = upstream.call().await;
        call.head().await;
        call.send(format!("{HINT}{FINAL}")).await;
    };
    let (response, ()) = tokio::join!(http2.send(request), play);
    report.equal("HTTP/2", response.text(), "ok");
    report.finish();
}
