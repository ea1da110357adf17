//! Gates 1 to 5: what is refused before the mandate is even read, and what passes untouched.

use crate::report::{Refusal, Report, refusal};
use crate::world::{NONE, World};
use redis::AsyncCommands as _;
use testkit::http::{self, Connection, Response};
use testkit::vectors;

const AMBIGUOUS: Refusal = refusal(400, "invalid_token", "ambiguous request headers");
const TOO_LARGE: Refusal = refusal(413, "payload_too_large", "request body too large");
const NO_BEARER: Refusal = refusal(401, "invalid_token", "missing bearer token");
const LONG_BEARER: Refusal = refusal(401, "invalid_token", "bearer token too large");
const NO_RESOURCE: Refusal = refusal(400, "invalid_token", "missing routing headers");
const TRAVERSAL: Refusal = refusal(400, "invalid_token", "path traversal not permitted");
const MALFORMED: Refusal = refusal(401, "invalid_token", "malformed bearer token");

/// A `GET` with header lines as given, `{token}` standing for a fresh mandate.
async fn get_with(world: &World, path: &str, lines: &[&str]) -> Response {
    let token = world.token(NONE);
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        world.addr()
    );
    for line in lines {
        text += &line.replace("{token}", &token);
        text += "\r\n";
    }
    text += "\r\n";
    Connection::open(world.addr()).await.exchange(text).await
}

const BEARER: &str = "Authorization: Bearer {token}";
const RESOURCE: &str = "X-Caracal-Resource: resource://none";

#[tokio::test]
async fn preflight_every_fault_is_refused_before_anything_is_spent() {
    let world = World::start().await;
    let mut report = Report::default();
    let mut refuse = async |case: &str, path: &str, lines: &[&str], expect: Refusal| {
        report.refused(case, &get_with(&world, path, lines).await, expect);
    };

    // Gate 1: the head says everything once, in names that have one reading.
    let twice = "X-Caracal-Resource: resource://mandate";
    refuse("two bearers", "/x", &[BEARER, BEARER, RESOURCE], AMBIGUOUS).await;
    refuse(
        "two schemes",
        "/x",
        &[BEARER, "authorization: Basic eDp5", RESOURCE],
        AMBIGUOUS,
    )
    .await;
    refuse("two resources", "/x", &[BEARER, RESOURCE, twice], AMBIGUOUS).await;
    refuse(
        "the same resource twice",
        "/x",
        &[BEARER, RESOURCE, RESOURCE],
        AMBIGUOUS,
    )
    .await;
    for name in [
        "X_Caracal_Resource",
        "x-caracal_resource",
        "X_CARACAL_IDENTITY",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X_Real_IP",
        "Transfer_Encoding",
        "Content_Length",
    ] {
        let line = format!("{name}: 1");
        refuse(name, "/x", &[BEARER, RESOURCE, &line], AMBIGUOUS).await;
    }
    refuse(
        "a long body",
        "/x",
        &[BEARER, RESOURCE, "Content-Length: 10485761"],
        TOO_LARGE,
    )
    .await;
    refuse(
        "an endless body",
        "/x",
        &[BEARER, RESOURCE, "Content-Length: 9223372036854775807"],
        TOO_LARGE,
    )
    .await;

    // Gates 2 and 3: one bearer of at most 4096 bytes.
    refuse("no bearer", "/x", &[RESOURCE], NO_BEARER).await;
    for line in [
        "Authorization: Basic eDp5",
        "Authorization: Bearer",
        "Authorization: Bearer  ",
        "Authorization: {token}",
    ] {
        refuse(line, "/x", &[line, RESOURCE], NO_BEARER).await;
    }
    let bearer_of = |length: usize| format!("Authorization: Bearer {}", "a".repeat(length));
    refuse("4097 bytes", "/x", &[&bearer_of(4097), RESOURCE], LONG_BEARER).await;
    refuse("4096 bytes", "/x", &[&bearer_of(4096), RESOURCE], MALFORMED).await;

    // Gate 4: a resource of 1 to 256 printable bytes.
    refuse("no resource", "/x", &[BEARER], NO_RESOURCE).await;
    let resource_of = |length: usize| format!("X-Caracal-Resource: {}", "r".repeat(length));
    for line in [
        "X-Caracal-Resource:",
        "X-Caracal-Resource:  \t ",
        "X-Caracal-Resource: a\tb",
        "X-Caracal-Resource: é",
        &resource_of(257),
    ] {
        refuse(&format!("{line:.30}"), "/x", &[BEARER, line], NO_RESOURCE).await;
    }
    let unbound = refusal(403, "access_denied", "resource not configured");
    refuse("256 bytes", "/x", &[BEARER, &resource_of(256)], unbound).await;

    // Gate 5: no traversal, in any spelling.
    let paths: serde_json::Value = vectors::load("paths");
    let refused = paths["refused"].as_array().expect("refused paths");
    assert!(refused.len() > 20);
    for path in refused {
        let path = path.as_str().expect("a path");
        refuse(path, path, &[BEARER, RESOURCE], TRAVERSAL).await;
    }

    // Two faults at once: the gate that comes first speaks.
    refuse("framing before bearer", "/../x", &[RESOURCE, RESOURCE], AMBIGUOUS).await;
    refuse(
        "body before bearer",
        "/../x",
        &[RESOURCE, "Content-Length: 99999999999"],
        TOO_LARGE,
    )
    .await;
    refuse("bearer before resource", "/../x", &[], NO_BEARER).await;
    refuse(
        "bearer length before resource",
        "/../x",
        &[&bearer_of(5000)],
        LONG_BEARER,
    )
    .await;
    refuse("resource before path", "/../x", &[&bearer_of(9)], NO_RESOURCE).await;
    refuse(
        "path before token",
        "/../x",
        &[&bearer_of(9), RESOURCE],
        TRAVERSAL,
    )
    .await;

    let counts = world.stack.sts().counts();
    report.equal("exchanges", counts.exchanges, 0);
    report.equal("requests at the upstream", world.dispatched(), 0);
    let marks: Vec<String> = world.redis().await.keys("seen:jti:*").await.expect("keys");
    report.equal("spent mandates", marks, Vec::<String>::new());
    report.finish();
}

#[tokio::test]
async fn preflight_paths_without_traversal_are_forwarded_byte_for_byte() {
    let world = World::start().await;
    let mut report = Report::default();
    let paths: serde_json::Value = vectors::load("paths");
    let unchanged = paths["forwarded_unchanged"].as_array().expect("paths");
    assert!(unchanged.len() > 15);
    let own = [
        "/x?a=../..&b=%2e%2e/",
        "/x?",
        "/a/%E2%82%AC?q=%20+%2B&&=;",
        "/health/x",
        "/?",
    ];
    let paths = unchanged
        .iter()
        .map(|path| path.as_str().expect("a path"))
        .chain(own);
    for path in paths {
        let response = world.get(NONE, path).await;
        report.status(path, &response, 200);
        let seen = world.stack.upstream().last().map(|seen| seen.target());
        report.equal(path, seen.as_deref(), Some(path));
    }
    report.finish();
}

#[tokio::test]
async fn preflight_tolerated_spellings_pass_and_the_client_id_is_ignored() {
    let world = World::start().await;
    let mut report = Report::default();
    for lines in [
        &[
            "authorization: bearer {token}",
            "x-caracal-resource: resource://none",
        ][..],
        &["AUTHORIZATION: BEARER {token}", RESOURCE],
        &[
            "Authorization: bEaReR   {token}  ",
            "X-Caracal-Resource: \t resource://none \t",
        ],
        &[BEARER, RESOURCE, "X-Caracal-Client-ID: app-evil"],
        &[
            BEARER,
            RESOURCE,
            "X_Caracal_Client_ID: app-evil",
            "x-caracal_client-id: app-evil",
        ],
        &[BEARER, RESOURCE, "X-Custom_Name: 1"],
        &[BEARER, RESOURCE, "Content-Length: 0"],
    ] {
        let response = get_with(&world, "/x", lines).await;
        report.status(format!("{lines:?}"), &response, 200);
        let seen = world.stack.upstream().last().expect("a request at the upstream");
        let leaked = seen.headers().into_iter().find(|(name, value)| {
            name.to_lowercase().replace('_', "-").starts_with("x-caracal") || value.contains("app-evil")
        });
        report.equal(format!("{lines:?} leaks"), leaked, None);
    }
    // Counted, though ignored.
    let ignored = world.metrics().await;
    let ignored = ignored.iter().find(|(name, _)| name.contains("client_id"));
    report.holds(
        format!("a count of ignored client ids: {ignored:?}"),
        ignored.is_some_and(|(_, count)| *count >= 2.0),
    );
    report.finish();
}

#[tokio::test]
async fn target_that_is_no_path_of_this_gateway_is_refused() {
    let world = World::start().await;
    let mut report = Report::default();
    let own = world.addr().to_string();
    let other = "evil.example".to_owned();
    for (line, host, expect) in [
        ("CONNECT evil.example:443 HTTP/1.1", &other, 405),
        ("TRACE /x HTTP/1.1", &own, 405),
        ("OPTIONS * HTTP/1.1", &own, 405),
        ("GET http://evil.example/x HTTP/1.1", &own, 400),
        ("GET http://user@evil.example/x HTTP/1.1", &other, 400),
        ("GET http://evil.example/x HTTP/1.1", &other, 200),
        ("OPTIONS /x HTTP/1.1", &own, 200),
        ("PROPFIND /x HTTP/1.1", &own, 200),
    ] {
        let token = world.token(NONE);
        let text = format!(
            "{line}\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{RESOURCE}\r\n\r\n"
        );
        let response = Connection::open(world.addr()).await.exchange(text).await;
        report.status(line, &response, expect);
        if expect >= 400 {
            let told = response.json();
            report.equal(line, told["requestId"].as_str(), response.header("x-request-id"));
        }
    }
    report.equal("dispatched", world.dispatched(), 3);
    report.finish();
}

#[tokio::test]
async fn body_over_the_limit_is_refused_whether_declared_or_not() {
    let world = World::builder().env("MAX_REQUEST_BYTES", "1000").start().await;
    let mut report = Report::default();
    let send = async |extra: &str, body: &[u8]| {
        let head = format!(
            "POST /x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{RESOURCE}\r\n{extra}\r\n\r\n",
            world.addr(),
            world.token(NONE)
        );
        Connection::open(world.addr())
            .await
            .exchange([head.as_bytes(), body].concat())
            .await
    };
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n0\r\n\r\n", "b".repeat(length));
    let exact = send("Content-Length: 1000", &[b'b'; 1000]).await;
    report.status("1000 bytes declared", &exact, 200);
    let chunked = send("Transfer-Encoding: chunked", chunk(1000).as_bytes()).await;
    report.status("1000 bytes in a chunk", &chunked, 200);
    let declared = send("Content-Length: 1001", &[b'b'; 1001]).await;
    report.refused("1001 bytes declared", &declared, TOO_LARGE);
    let undeclared = send("Transfer-Encoding: chunked", chunk(1001).as_bytes()).await;
    report.refused("1001 bytes in a chunk", &undeclared, TOO_LARGE);
    report.finish();
}

#[tokio::test]
async fn request_id_of_the_client_is_kept_when_it_is_printable_and_made_otherwise() {
    let world = World::start().await;
    let mut report = Report::default();
    let long = "i".repeat(128);
    let too_long = "i".repeat(129);
    for (given, kept) in [
        ("a", true),
        ("!~\"{}<>", true),
        (&long, true),
        (&too_long, false),
        ("two words", false),
        ("\u{e9}", false),
        ("", false),
    ] {
        let got = world
            .send("GET", NONE, "/x", &[("X-Request-Id", given)], b"")
            .await;
        let id = got.header("x-request-id").unwrap_or_default().to_owned();
        report.equal(format!("{given:?} kept"), id == given, kept);
        report.holds(format!("{given:?} gives {id:?}"), kept || is_uuid_v7(&id));
        let upstream = world
            .stack
            .upstream()
            .last()
            .map(|seen| seen.header("x-request-id"));
        report.equal(format!("{given:?} upstream"), upstream, Some(vec![id]));
        // Refusals and the operator's answers keep the same rule.
        for path in ["/x", "/health"] {
            let other = http::get(world.addr(), path, &[("X-Request-Id", given)]).await;
            let id = other.header("x-request-id").unwrap_or_default();
            report.holds(
                format!("{given:?} at {path} gives {id:?}"),
                if kept { id == given } else { is_uuid_v7(id) },
            );
        }
    }
    let first = http::get(world.addr(), "/x", &[]).await;
    let second = http::get(world.addr(), "/x", &[]).await;
    report.holds(
        "made ids differ",
        first.header("x-request-id") != second.header("x-request-id"),
    );
    report.finish();
}

fn is_uuid_v7(id: &str) -> bool {
    let groups: Vec<&str> = id.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && id
            .chars()
            .all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c))
        && groups[2].starts_with('7')
}
