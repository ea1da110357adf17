//! What `Host` and the target must say, to a proxied resource and to the operator's endpoints (RFC 9112 §3.2).

use crate::frames::{self, Frames};
use crate::report::{Refusal, Report, refusal};
use crate::wire::{ask, head};
use crate::world::{NONE, World};
use testkit::http::Connection;

const FRAGMENT: Refusal = refusal(400, "invalid_request", "request target has a fragment");
const CHARACTER: Refusal = refusal(
    400,
    "invalid_request",
    "request target holds an unencoded quotation mark, angle bracket or backtick",
);

#[tokio::test]
async fn target_needs_one_well_formed_host_that_fits() {
    let world = World::start().await;
    let mut report = Report::default();
    let dispatched = world.dispatched();
    let with = |host: &str| head(&world, "GET", NONE, "/", "").replacen("Host: gateway.example\r\n", host, 1);
    for (case, request) in [
        ("a port of letters", with("Host: gw:abc\r\n")),
        ("a port beyond 16 bits", with("Host: gw:99999\r\n")),
        ("a list", with("Host: a,b\r\n")),
        ("user information", with("Host: user@gw\r\n")),
        (
            "an absolute target without Host",
            with("").replacen("GET / ", "GET http://gateway.example/ ", 1),
        ),
    ] {
        report.status(case, &ask(world.addr(), request).await, 400);
    }
    report.equal("dispatched", world.dispatched(), dispatched);
    for host in ["gw", "gw:8081", "[::1]:8081", "under_score.example.", "127.0.0.1"] {
        let request = with(&format!("Host: {host}\r\n"));
        report.status(host, &ask(world.addr(), request).await, 200);
    }
    report.finish();
}

#[tokio::test]
async fn target_of_an_operators_endpoint_is_held_to_the_same() {
    let world = World::start().await;
    let mut report = Report::default();
    for path in ["/health", "/ready", "/metrics"] {
        for (case, line, hosts, status) in [
            ("one host", format!("GET {path} HTTP/1.1"), "Host: a\r\n", 200),
            (
                "two hosts",
                format!("GET {path} HTTP/1.1"),
                "Host: a\r\nHost: a\r\n",
                400,
            ),
            ("no host", format!("GET {path} HTTP/1.1"), "", 400),
            (
                "a port of letters",
                format!("GET {path} HTTP/1.1"),
                "Host: a:b\r\n",
                400,
            ),
            (
                "another host",
                format!("GET http://b{path} HTTP/1.1"),
                "Host: a\r\n",
                400,
            ),
            ("HTTP/1.0 without", format!("GET {path} HTTP/1.0"), "", 200),
        ] {
            let response = ask(world.addr(), format!("{line}\r\n{hosts}\r\n")).await;
            report.status(format!("{path}: {case}"), &response, status);
        }
    }
    report.finish();
}

#[tokio::test]
async fn target_that_no_uri_can_be_is_refused_in_words_and_not_shortened() {
    let world = World::start().await;
    let mut report = Report::default();
    let get = |target: &str| head(&world, "GET", NONE, target, "");
    let mut client = Connection::open(world.addr()).await;
    for (target, expect) in [
        ("/a#b", FRAGMENT),
        ("/a?b#c", FRAGMENT),
        ("/#", FRAGMENT),
        ("http://gateway.example/a#b", FRAGMENT),
        ("/a<b", CHARACTER),
        ("/a>b", CHARACTER),
        ("/a`b", CHARACTER),
        ("/a?b=\"c\"", CHARACTER),
        ("/a?b=<c>#d", CHARACTER),
    ] {
        report.refused(target, &client.exchange(get(target)).await, expect);
    }
    report.equal("dispatched", world.dispatched(), 0);
    // The same connection goes on, and a request behind another one's chunks is read too.
    let chunks = head(&world, "POST", NONE, "/first", "Transfer-Encoding: chunked\r\n");
    let body = "6\r\na\r\n\r\nb\r\n0\r\n\r\n";
    let behind = format!("{chunks}{body}{}{}", get("/a#b"), get("/last"));
    report.status("chunks", &client.exchange(behind).await, 200);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    let body = seen.body().and_then(|body| body.text.as_deref());
    report.equal("chunks", body, Some("a\r\n\r\nb"));
    report.refused("behind chunks", &client.response().await, FRAGMENT);
    report.status("behind it", &client.response().await, 200);
    let refused = "caracal_gateway_denials_total{reason=\"target_character\"}";
    report.equal("counted", world.metric(refused).await, 5.0);
    let line = world
        .gateway
        .logged("the character", |line| line["denial"] == "target_character")
        .await;
    report.equal(
        "logged",
        line["cause"].as_str(),
        Some("'<' in the request target"),
    );
    let health = ask(world.addr(), "GET /health#a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    report.refused("operator", &health, FRAGMENT);

    // What is lenient in practice passes as it is.
    let lenient = "/a\"b{c}|d^e?f=`g{h}|i^j\\k";
    report.status("lenient", &ask(world.addr(), get(lenient)).await, 200);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal("lenient", seen.target(), lenient);

    // Over HTTP/2 the library resets what is no URI, and cuts off the fragment.
    let mut client = Frames::open(world.addr()).await;
    let [first, second] =
        [("/a<b", 1), ("/a#b", 3)].map(|(path, stream)| frames::get(&world.token(NONE), stream, path, &[]));
    client.send(&[first, second]).await.expect("an open connection");
    let reset = client.find(|frame| frame.stream == 1).await.expect("an end");
    report.equal("HTTP/2", (reset.kind, reset.code()), (frames::RST_STREAM, 1));
    let answered = client.find(|frame| frame.stream == 3).await;
    report.holds("HTTP/2: answered", answered.is_some());
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal("HTTP/2: cut off", seen.target(), "/a");
    report.finish();
}
