//! The request as the upstream sees it.

use crate::hand::{HAND, HandUpstream, names, values};
use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::{APP, MANDATE, NONE, World, ZONE};
use devstack::{Credential, Recorded, Resource, Secret, StackConfig, Target};
use serde_json::Value;

const BASED: &str = "resource://based";

/// A resource without a credential at this place.
pub(crate) fn resource_at(identifier: &str, target: Target) -> Resource {
    Resource {
        zone: ZONE.into(),
        identifier: identifier.into(),
        application_id: APP.into(),
        target,
        credential: Credential::None,
        forward_identity: false,
        allowed_token_hosts: Vec::new(),
        provider_id: None,
        connection_id: None,
    }
}

fn known_secrets(stack: &mut StackConfig) {
    for resource in &mut stack.resources {
        match &mut resource.credential {
            Credential::ProviderOauth { token, .. } => *token = Secret::new("oauth-secret"),
            Credential::ApiKeyHeader { key, .. } => *key = Secret::new("header-secret"),
            Credential::ApiKeyQuery { key, .. } => *key = Secret::new("query-secret"),
            Credential::None | Credential::CaracalJwt => {}
        }
    }
}

async fn seen(world: &World, resource: &str, target: &str, lines: &str) -> Recorded {
    let before = world.dispatched();
    let request = head(
        world,
        "GET",
        resource,
        target,
        &format!("Connection: close\r\n{lines}"),
    );
    let response = ask(world.addr(), request).await;
    assert_eq!(
        response.status(),
        200,
        "{resource} {target} {lines}: {}",
        response.text()
    );
    assert_eq!(world.dispatched(), before + 1, "{resource} {target}");
    world.stack.upstream().last().expect("a request at the upstream")
}

#[tokio::test]
async fn crossing_target_and_credential_reach_the_upstream_as_decided() {
    let world = World::builder()
        .stack(|stack| {
            known_secrets(stack);
            let base = Target::Echo("/base%2Fv1?fixed=1&a%20b=2".into());
            stack.resources.push(resource_at(BASED, base));
        })
        .start()
        .await;
    let mut report = Report::default();

    for target in [
        "/",
        "/a%2Fb.txt",
        "//a//b/",
        "/a;p=1/b",
        "/%E2%82%AC/%c3%a9",
        "/~!$&'()*+,=:@/-._",
        "/100%25",
        "/x?y=1&y=2&flag&empty=&a+b=%2f&%zz;c",
        "/x?",
        "/x?a?b=/../c",
    ] {
        let recorded = seen(&world, NONE, target, "").await;
        report.equal(format!("target {target}"), recorded.target(), target);
    }

    for (target, expect) in [
        ("/", "/base%2Fv1?fixed=1&a%20b=2"),
        ("/x/", "/base%2Fv1/x/?fixed=1&a%20b=2"),
        ("/x%2Fy//z?q=%20", "/base%2Fv1/x%2Fy//z?fixed=1&a%20b=2&q=%20"),
        ("/x?fixed=9&k=1", "/base%2Fv1/x?fixed=1&a%20b=2&k=1"),
        (
            "/x?%66ixed=9&a+b=9&a%20b=9&k=1",
            "/base%2Fv1/x?fixed=1&a%20b=2&k=1",
        ),
    ] {
        let recorded = seen(&world, BASED, target, "").await;
        report.equal(format!("joined {target}"), recorded.target(), expect);
    }

    for (target, expect) in [
        ("/x", "/x?api_key=query-secret"),
        ("/x?a=1&api_key=evil&b", "/x?a=1&b&api_key=query-secret"),
        (
            "/x?%61pi_key=evil&api%5Fkey=evil&api_key",
            "/x?api_key=query-secret",
        ),
        (
            "/x?API_KEY=evil&api_keys=kept",
            "/x?api_keys=kept&api_key=query-secret",
        ),
    ] {
        let recorded = seen(&world, "resource://key-query", target, "").await;
        report.equal(format!("key in query {target}"), recorded.target(), expect);
        report.equal("no header", recorded.header("authorization"), [""; 0]);
    }

    let recorded = seen(&world, NONE, "/", "").await;
    report.equal("none", recorded.header("authorization"), [""; 0]);

    let caller = world.token(MANDATE);
    let recorded = seen(&world, MANDATE, "/", "").await;
    let sent = recorded.header("authorization");
    let mandate = sent.first().and_then(|value| value.strip_prefix("Bearer "));
    report.equal("mandate: one field", sent.len(), 1);
    report.equal(
        "mandate: class",
        mandate.map(|token| claim(token, "use")),
        Some("resource".to_owned()),
    );
    report.holds("mandate: not the caller's", mandate != Some(caller.as_str()));

    let recorded = seen(&world, "resource://oauth", "/", "X-Caracal-Identity: mine\r\n").await;
    report.equal("oauth", recorded.header("authorization"), ["Bearer oauth-secret"]);
    let identity = recorded.header("x-caracal-identity");
    report.equal("identity: one field", identity.len(), 1);
    report.equal("identity: class", claim(&identity[0], "use"), "resource");

    let lines = "X-Api-Key: mine\r\nx_api_key: mine\r\nX.Api.Key: mine\r\n";
    let recorded = seen(&world, "resource://key-header", "/", lines).await;
    report.equal("key in header", recorded.header("x-api-key"), ["header-secret"]);
    report.holds("key: no alias", !latin(&recorded).contains("mine"));
    report.equal("key: no bearer", recorded.header("authorization"), [""; 0]);
    report.finish();
}

#[tokio::test]
async fn crossing_request_headers_are_stated_by_the_gateway_alone() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let authority = upstream.url()["http://".len()..].to_owned();

    // A bare request: what the gateway adds, and nothing else.
    let bare = crossed(&world, &mut upstream, "").await;
    let mut added = names(&bare);
    added.sort();
    report.equal(
        "bare",
        added,
        [
            "host",
            "traceparent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ],
    );
    let told = |name: &str, expect: &str, report: &mut Report| {
        report.equal(format!("bare {name}"), values(&bare, name), [expect]);
    };
    told("host", &authority, &mut report);
    told("x-forwarded-for", "127.0.0.1", &mut report);
    told("x-forwarded-proto", "http", &mut report);
    told("x-forwarded-host", "gateway.example", &mut report);
    let trace = values(&bare, "traceparent").concat();
    report.holds(
        format!("a new trace {trace}"),
        trace.len() == 55
            && trace.starts_with("00-")
            && !trace.contains("-00000000000000000000000000000000-"),
    );

    // Whatever the caller says about its connection, the gateway or the way is not passed on.
    let foul = "Connection: keep-alive, X-Drop-Me\r\nConnection: X-Forwarded-For, Authorization, X-Request-Id, Host\r\n\
        X-Drop-Me: foul\r\nKeep-Alive: timeout=foul\r\nProxy-Authorization: Basic foul\r\nProxy-Connection: foul\r\n\
        TE: trailers, deflate;q=0.5\r\nTrailer: X-Forwarded-Foul\r\nUpgrade: foul\r\nHTTP2-Settings: foul\r\nProxy: foul\r\n\
        X-Caracal-Client-ID: foul\r\nX_Caracal_Client_ID: foul\r\nX-Caracal-Upstream: http://foul\r\n\
        X-Caracal-Identity: foul\r\nX-Forwarded-For: 6.6.6.6, foul\r\nX-Forwarded-Host: foul.example\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /foul\r\nX-Forwarded-Uri: /foul\r\n\
        Forwarded: for=6.6.6.6;host=foul\r\nX-Real-Ip: 6.6.6.6\r\n\
        Baggage: caracal.zone=foul, kept=1;p=2, caracal.x=foul\r\n";
    let clean = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: v=1\r\n\
        X-Request-Id: request-7\r\nCookie: a=1\r\nX-Custom: one\r\nX-Custom: two\r\nMcp-Session-Id: s\r\n\
        Accept-Language: de\r\nIf-None-Match: \"e\"\r\nOrigin: https://app.example\r\n";
    let head = crossed(&world, &mut upstream, &format!("{foul}{clean}")).await;
    report.holds(
        format!("nothing foul in {head}"),
        !head.contains("foul") && !head.contains("6.6.6.6"),
    );
    for (name, expect) in [
        ("te", &["trailers"][..]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["gateway.example"]),
        ("x-request-id", &["request-7"]),
        ("host", &[&authority]),
        ("baggage", &["kept=1;p=2"]),
        (
            "traceparent",
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        ),
        ("tracestate", &["v=1"]),
        ("cookie", &["a=1"]),
        ("x-custom", &["one", "two"]),
        ("mcp-session-id", &["s"]),
        ("accept-language", &["de"]),
        ("if-none-match", &["\"e\""]),
        ("origin", &["https://app.example"]),
        ("authorization", &[]),
    ] {
        report.equal(name, values(&head, name), expect);
    }

    let foreign =
        "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\ntracestate: v=1\r\n";
    let head = crossed(&world, &mut upstream, foreign).await;
    report.equal(
        "tracestate of a broken trace",
        values(&head, "tracestate"),
        [""; 0],
    );
    report.equal(
        "a broken trace is replaced",
        values(&head, "traceparent").len(),
        1,
    );
    report.holds(
        "a broken trace is gone",
        !head.contains("00000000000000000000000000000000"),
    );

    // Only a trusted peer may speak for another.
    let trusting = world.replica_with(&[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let lines = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.5\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: app.example\r\n";
    let head = crossed_at(trusting.addr(), &world, &mut upstream, lines).await;
    for (name, expect) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example"),
    ] {
        report.equal(format!("trusted {name}"), values(&head, name), [expect]);
    }
    report.finish();
}

async fn crossed(world: &World, upstream: &mut HandUpstream, lines: &str) -> String {
    crossed_at(world.addr(), world, upstream, lines).await
}

/// The head that reaches the upstream.
async fn crossed_at(
    addr: std::net::SocketAddr,
    world: &World,
    upstream: &mut HandUpstream,
    lines: &str,
) -> String {
    let request = head(world, "GET", HAND, "/", lines);
    let play = async {
        let mut call = upstream.call().await;
        let head = call.head().await;
        call.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        head
    };
    let (head, response) = tokio::join!(play, ask(addr, request));
    assert_eq!(response.status(), 200, "{}", response.text());
    head
}

fn latin(recorded: &Recorded) -> String {
    recorded.head().iter().copied().map(char::from).collect()
}

/// A claim of a token that nobody verifies here.
fn claim(token: &str, name: &str) -> String {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .expect("base64url");
    let claims: Value = serde_json::from_slice(&payload).expect("claims");
    claims[name].as_str().unwrap_or_default().to_owned()
}
