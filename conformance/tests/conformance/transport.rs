//! The same door over every transport: HTTP/1.1 and HTTP/2, with TLS and, in development, without.

mod callers;
pub(crate) mod client;
mod h2spec;
mod renewal;
mod scanner;
mod upstreams;

use crate::report::{Found, Refusal, Report, refusal};
use crate::world::{NONE, World};
use client::Http2;
use std::net::SocketAddr;
use std::path::Path;
use testkit::gateway::Gateway;
use testkit::http::{Connection, Rest};
use testkit::tls::{Ca, Files, Identity, connect};
use testkit::wait::until;

const REPLAYED: Refusal = refusal(401, "invalid_token", "token replay detected");
const NO_BEARER: Refusal = refusal(401, "invalid_token", "missing bearer token");
const NAME: &str = "gateway.example";

/// A production gateway with this certificate, and the files it lies in.
async fn production(identity: &Identity, directory: &Path) -> World {
    let files = identity.write_to(directory);
    World::builder()
        .production()
        .env("TLS_CERT_FILE", files.certificate.display().to_string())
        .env("TLS_KEY_FILE", files.key.display().to_string())
        .start()
        .await
}

async fn is_ready(world: &World, ca: &Ca) {
    ready_at(world.addr(), NAME, ca).await;
}

/// A further gateway of this world, which shows a certificate for this name.
pub(crate) async fn replica_over_tls(world: &World, files: &Files, name: &str, ca: &Ca) -> Gateway {
    let [certificate, key] = [&files.certificate, &files.key].map(|file| file.display().to_string());
    let variables = [
        ("INSECURE_HTTP", ""),
        ("TLS_CERT_FILE", &certificate),
        ("TLS_KEY_FILE", &key),
    ];
    let gateway = world.replica_with(&variables).await;
    ready_at(gateway.addr(), name, ca).await;
    gateway
}

async fn ready_at(addr: SocketAddr, name: &str, ca: &Ca) {
    until("the gateway to be ready", async || {
        let stream = ca.connect(addr, name).await;
        let request = format!("GET /ready HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        (Connection::over(stream).exchange(request).await.status() == 200).then_some(())
    })
    .await;
}

/// The main path in short, over HTTP/2: allowed with body and scheme, refused, replayed.
async fn main_path(report: &mut Report, case: &str, world: &World, http2: &mut Http2, scheme: &str) {
    let token = world.token(NONE);
    let body = vec![b'b'; 200_000];
    let allowed = http2
        .request("POST", "/mirror?a=1", Some((&token, NONE)), body.clone())
        .await;
    report.equal(format!("{case}: allowed"), allowed.status(), 200);
    report.holds(format!("{case}: body"), allowed.body == body);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal(format!("{case}: target"), seen.target(), "/mirror?a=1");
    report.equal(
        format!("{case}: scheme"),
        seen.header("x-forwarded-proto"),
        [scheme],
    );
    report.equal(
        format!("{case}: id"),
        seen.header("x-request-id").first().map(String::as_str),
        allowed.header("x-request-id"),
    );
    report.holds(
        format!("{case}: expiry"),
        allowed.header("x-caracal-token-expires-in").is_some(),
    );
    let again = http2.request("GET", "/x", Some((&token, NONE)), Vec::new()).await;
    report.refused(format!("{case}: replay"), &again, REPLAYED);
    let bare = http2.request("GET", "/x", None, Vec::new()).await;
    report.refused(format!("{case}: no bearer"), &bare, NO_BEARER);
    // Many at once on one connection.
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.push(
            http2
                .request("GET", "/x", Some((&world.token(NONE), NONE)), Vec::new())
                .await
                .status(),
        );
    }
    report.equal(format!("{case}: many"), requests, vec![200; 20]);
}

#[tokio::test]
async fn transport_tls_carries_http1_and_http2_in_production() {
    let ca = Ca::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A chain with an intermediate, which a client that knows the root alone can only follow if it is shown.
    let world = production(&ca.server_with_chain(&[NAME]), directory.path()).await;
    is_ready(&world, &ca).await;
    let mut report = Report::default();
    report.equal("port", world.addr().port(), 8081);

    let stream = connect(world.addr(), NAME, ca.client_config(&["http/1.1"]))
        .await
        .expect("TLS");
    let mut http1 = Connection::over(stream);
    let token = world.token(NONE);
    let request = |token: &str| {
        format!(
            "GET /x HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\nX-Caracal-Resource: {NONE}\r\n\r\n"
        )
    };
    report.status("http/1.1", &http1.exchange(request(&token)).await, 200);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal("scheme", seen.header("x-forwarded-proto"), ["https"]);
    report.equal("host", seen.header("x-forwarded-host"), [NAME]);
    report.refused(
        "replay on the same connection",
        &http1.exchange(request(&token)).await,
        REPLAYED,
    );
    report.status("and on", &http1.exchange(request(&world.token(NONE))).await, 200);

    let stream = connect(world.addr(), NAME, ca.client_config(&["h2", "http/1.1"]))
        .await
        .expect("TLS");
    let mut http2 = Http2::over(stream, &format!("https://{NAME}")).await;
    main_path(&mut report, "h2", &world, &mut http2, "https").await;

    // Metrics without a bearer are closed in production.
    let stream = ca.connect(world.addr(), NAME).await;
    let metrics = format!("GET /metrics HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    report.status("metrics", &Connection::over(stream).exchange(metrics).await, 401);
    report.finish();
}

#[tokio::test]
async fn transport_tls_is_version_1_2_at_least_and_nothing_is_said_in_plain() {
    let ca = Ca::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let world = production(&ca.server(&[NAME]), directory.path()).await;
    is_ready(&world, &ca).await;
    let mut report = Report::default();
    for (version, name) in [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")] {
        let spoken = client::speaks(world.addr(), NAME, &ca, version).await;
        report.holds(format!("TLS {name}"), spoken);
    }
    for (minor, name) in [(1, "1.0"), (2, "1.1")] {
        report.note(format!("TLS {name}"), refuses_version(&world, minor).await);
    }
    let mut plain = Connection::open(world.addr()).await;
    let _ = plain
        .send(format!("GET /health HTTP/1.1\r\nHost: {NAME}\r\n\r\n"))
        .await;
    let rest = plain.rest(testkit::wait::PATIENCE).await;
    let silent = match &rest {
        Rest::Closed | Rest::Reset => true,
        Rest::Bytes(bytes) => !bytes.starts_with(b"HTTP/"),
        Rest::Silence => false,
    };
    report.holds(format!("plain HTTP: {rest:?}"), silent);
    report.finish();
}

/// Greets with an older version (RFC 4346 §7.4.1.2) and expects an alert or the end, not a hello.
async fn refuses_version(world: &World, minor: u8) -> Found {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; ECDHE-ECDSA with AES-128-CBC-SHA and RSA with AES-128-CBC-SHA; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x09, 0x00, 0x2f, 1, 0]);
    let length = |length: usize| u16::try_from(length).expect("a short hello").to_be_bytes();
    let mut record = vec![22, 3, 1];
    record.extend(length(hello.len() + 4));
    record.extend([1, 0]);
    record.extend(length(hello.len()));
    record.extend(hello);
    let mut connection = Connection::open(world.addr()).await;
    connection.send(record).await.map_err(|error| error.to_string())?;
    match connection.rest(testkit::wait::PATIENCE).await {
        Rest::Closed | Rest::Reset => Ok(()),
        Rest::Bytes(bytes) if bytes.first() == Some(&21) => Ok(()),
        rest => Err(format!("{rest:?}")),
    }
}

#[tokio::test]
async fn transport_plain_http2_with_prior_knowledge_works_in_dev() {
    let world = World::start().await;
    let mut report = Report::default();
    let stream = tokio::net::TcpStream::connect(world.addr())
        .await
        .expect("a connection");
    let mut http2 = Http2::over(Box::new(stream), &format!("http://{}", world.addr())).await;
    main_path(&mut report, "h2c", &world, &mut http2, "http").await;
    report.finish();
}
