//! Web pages of another origin: preflights from configuration alone, and answers that listed origins may read.

use crate::report::{Report, refusal};
use crate::transport::client::Http2;
use crate::world::{NONE, World};
use http_body_util::Full;
use testkit::http::{self, Response};
use tokio::net::TcpStream;

const PAGE: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

/// Every field of an answer that is about origins.
fn fields(response: &Response) -> Vec<(String, String)> {
    let all = response.head.headers.0.iter();
    let about = all.filter(|(name, _)| name.starts_with("access-control-") || name == "vary");
    about.cloned().collect()
}

fn is_open_to_pages(response: &Response) -> bool {
    let all = |name| response.head.headers.all(name).collect::<Vec<_>>();
    all("access-control-allow-origin") == [PAGE]
        && all("vary").last() == Some(&"Origin")
        && all("access-control-allow-credentials").is_empty()
        && all("access-control-expose-headers")
            .last()
            .is_some_and(|names| names.contains("X-Request-Id"))
}

#[tokio::test]
async fn cors_preflight_of_a_listed_origin_is_answered_and_reaches_no_upstream() {
    let world = World::builder()
        .env("CORS_ALLOWED_ORIGINS", format!("http://localhost:3000, {PAGE}"))
        .start()
        .await;
    let mut report = Report::default();
    let no_bearer = refusal(401, "invalid_token", "missing bearer token");
    let asks = ("Access-Control-Request-Method", "POST");
    let names = "authorization,X-Caracal-Resource";
    let names = ("Access-Control-Request-Headers", names);
    let page = ("Origin", PAGE);

    let answer = http::request(world.addr(), "OPTIONS", "/v1/x", &[page, asks, names], b"").await;
    report.status("preflight", &answer, 204);
    let expect = [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-methods", "POST"),
        (
            "access-control-allow-headers",
            "authorization, x-caracal-resource",
        ),
        ("access-control-max-age", "600"),
        (
            "vary",
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    ];
    let expect = expect.map(|(name, value)| (name.to_owned(), value.to_owned()));
    report.equal("preflight", fields(&answer), expect.to_vec());
    report.holds("its id", answer.header("x-request-id").is_some());

    let stream = TcpStream::connect(world.addr()).await.expect("a connection");
    let base = format!("http://{}", world.addr());
    let request = hyper::Request::options(format!("{base}/v1/x"))
        .header("origin", PAGE)
        .header("access-control-request-method", "PATCH");
    let request = request.body(Full::default()).expect("a request");
    let answer = Http2::over(Box::new(stream), &base).await.send(request).await;
    report.status("preflight over HTTP/2", &answer, 204);
    report.equal(
        "preflight over HTTP/2",
        answer.header("access-control-allow-methods"),
        Some("PATCH"),
    );

    for (case, method, lines) in [
        ("another origin", "OPTIONS", &[("Origin", EVIL), asks][..]),
        ("two origins", "OPTIONS", &[page, ("Origin", EVIL), asks]),
        ("no origin", "OPTIONS", &[asks]),
        ("no preflight", "OPTIONS", &[page]),
        (
            "a name that is none",
            "OPTIONS",
            &[page, asks, ("Access-Control-Request-Headers", "a b")],
        ),
        (
            "a method that is never proxied",
            "OPTIONS",
            &[page, ("Access-Control-Request-Method", "TRACE")],
        ),
        ("another method", "POST", &[page, asks]),
    ] {
        let answer = http::request(world.addr(), method, "/v1/x", lines, b"").await;
        report.refused(case, &answer, no_bearer);
        let of_page = lines.contains(&page) && !lines.contains(&("Origin", EVIL));
        report.equal(case, is_open_to_pages(&answer), of_page);
        if !of_page {
            let of_nobody = [("vary".to_owned(), "Origin".to_owned())];
            report.equal(case, fields(&answer), of_nobody.to_vec());
        }
    }
    report.equal("dispatched", world.dispatched(), 0);
    let counted = world.metric("caracal_gateway_cors_preflights_total").await;
    report.equal("counted", counted, 2.0);
    let received = world.metric("caracal_gateway_requests_total").await;
    report.equal("requests", received, 9.0);
    let line = world
        .gateway
        .logged("a preflight", |line| line["outcome"] == "preflight");
    report.equal("logged", line.await["status"].as_u64(), Some(204));

    // An allowed origin is no mandate, and the upstream's own fields give way but for what it exposes.
    let upstreams = "/headers?Access-Control-Allow-Origin=*&Access-Control-Allow-Credentials=true\
                     &Access-Control-Expose-Headers=Mcp-Session-Id&Vary=Accept";
    let answer = world.send("GET", NONE, upstreams, &[page], b"").await;
    report.status("a mandate", &answer, 200);
    report.holds(format!("a mandate: {answer:?}"), is_open_to_pages(&answer));
    let exposed = answer.header("access-control-expose-headers");
    report.equal("exposed", exposed, Some("Mcp-Session-Id"));
    report.equal("vary", answer.header("vary"), Some("Accept"));
    let answer = world.send("GET", NONE, upstreams, &[("Origin", EVIL)], b"").await;
    report.equal(
        "another origin sees what the upstream says",
        answer.header("access-control-allow-origin"),
        Some("*"),
    );
    let answer = http::get(world.addr(), "/health", &[page]).await;
    report.equal("operator", fields(&answer), Vec::new());
    report.finish();
}

#[tokio::test]
async fn cors_without_configuration_refuses_preflights() {
    let world = World::start().await;
    let lines = [("Origin", PAGE), ("Access-Control-Request-Method", "GET")];
    let answer = http::request(world.addr(), "OPTIONS", "/", &lines, b"").await;
    let mut report = Report::default();
    report.refused(
        "preflight",
        &answer,
        refusal(401, "invalid_token", "missing bearer token"),
    );
    report.equal("preflight", fields(&answer), Vec::new());
    report.finish();
}
