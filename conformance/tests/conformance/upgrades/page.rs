//! WebSocket connections of web pages, which say mandate and resource by subprotocols.

use super::*;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::process::{Command, Stdio};
use testkit::wait::PATIENCE;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The mandate and the resource as a web page says them.
pub(super) fn said_by_page(token: &str) -> (String, String) {
    let resource = format!("caracal.resource.{}", URL_SAFE_NO_PAD.encode(HAND));
    (format!("caracal.bearer.{token}"), resource)
}

/// How a page's handshake for this path begins.
fn start(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.example\r\nOrigin: https://page.example\r\n{UPGRADE}")
}

#[tokio::test]
async fn upgrade_of_a_web_page_brings_its_mandate_by_subprotocols_that_nobody_else_sees() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    // `/health` is the operator's unless a request names a resource.
    for (path, offer, chosen, told) in [
        ("/health", "", None, Some("the resource")),
        ("/", "chat, v2", Some("v2"), Some("v2")),
        ("/", "chat", None, None),
    ] {
        let token = world.token(HAND);
        let (bearer, resource) = said_by_page(&token);
        let lines = format!(
            "Sec-WebSocket-Protocol: {bearer}, {offer}\r\nSec-WebSocket-Protocol: {resource}\r\n\r\n"
        );
        let mut caller = Connection::open(world.addr()).await;
        caller
            .send(start(path) + &lines)
            .await
            .expect("an open connection");
        let mut call = upstream.call().await;
        let asked = call.head().await;
        report.equal(offer, values(&asked, "sec-websocket-protocol").join("|"), offer);
        report.holds(
            format!("{path}: {asked}"),
            asked.starts_with(&format!("GET {path} ")),
        );
        report.holds(
            offer,
            !asked.contains(&token) && !asked.to_lowercase().contains("caracal."),
        );
        report.equal(offer, values(&asked, "origin").join("|"), "https://page.example");
        let lines = chosen.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        call.send(switch(KEY, &lines.unwrap_or_default())).await;
        let head = caller.head().await;
        let told = told.map(|name| {
            if name == "the resource" {
                resource.as_str()
            } else {
                name
            }
        });
        report.equal(
            offer,
            (head.status, head.headers.get("sec-websocket-protocol")),
            (101, told),
        );
        report.holds(
            "log",
            !world.printed().contains(&token) && !world.printed().contains(&resource),
        );
    }
    report.finish();
}

#[tokio::test]
async fn upgrade_of_a_web_page_says_its_mandate_once_and_nothing_else_says_it_so() {
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let token = world.token(HAND);
    let (bearer, resource) = said_by_page(&token);
    let ambiguous = refusal(400, "invalid_token", "ambiguous request headers");
    let missing = refusal(401, "invalid_token", "missing bearer token");
    let both = format!("Sec-WebSocket-Protocol: {bearer}, {resource}\r\n");
    for (case, request, expect) in [
        (
            "beside Authorization",
            format!("{}{both}Authorization: Bearer {token}\r\n\r\n", start("/")),
            ambiguous,
        ),
        (
            "beside the resource",
            format!("{}{both}X-Caracal-Resource: {HAND}\r\n\r\n", start("/")),
            ambiguous,
        ),
        ("twice", format!("{}{both}{both}\r\n", start("/")), ambiguous),
        (
            "no upgrade",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-Caracal-Resource: {HAND}\r\n{both}\r\n"),
            missing,
        ),
    ] {
        let response = Connection::open(world.addr()).await.exchange(request).await;
        report.refused(case, &response, expect);
    }
    // Beside the header they are no use, and stay behind all the same.
    let lines = format!("Sec-WebSocket-Protocol: chat, {bearer}\r\n");
    let request = head_with(&token, "GET", HAND, "/", &lines);
    let mut caller = Connection::open(world.addr()).await;
    caller.send(request).await.expect("an open connection");
    let asked = upstream.call().await.head().await;
    report.equal(
        "no upgrade",
        values(&asked, "sec-websocket-protocol").join("|"),
        "chat",
    );
    report.finish();
}

const OPTION: &str = "--experimental-websocket";

/// Opens a connection with the subprotocols that it is given, says something, and tells what it heard and how it ended.
const PAGE: &str = r#"
const [url, ...offered] = process.argv.slice(2);
const socket = new WebSocket(url, offered);
socket.onopen = () => socket.send('from the page');
socket.onmessage = event => console.log('heard', event.data, socket.protocol === offered.at(-1));
socket.onerror = event => console.log('error', event.message ?? event.error?.message);
socket.onclose = event => console.log('closed', event.code, event.reason);
"#;

/// Node has one since version 22, and behind an option since 20.10.
fn has_websocket() -> bool {
    let asked = Command::new("node").arg("--version").output().expect("node");
    let version = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|number| number.parse::<u32>().expect("a version"));
    (numbers.next(), numbers.next()) >= (Some(20), Some(10))
}

#[tokio::test]
async fn upgrade_by_a_browsers_websocket_opens_carries_and_says_that_it_was_revoked() {
    if !has_websocket() {
        println!("not tested: this Node has no WebSocket, which comes with version 20.10");
        return;
    }
    let mut upstream = HandUpstream::start().await;
    let world = World::builder().hand(&upstream).start().await;
    let mut report = Report::default();
    let minted = world.mint(HAND);
    let (bearer, resource) = said_by_page(minted.token.expose());
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("page.mjs");
    std::fs::write(&script, PAGE).expect("a file");
    let page = Command::new("node")
        .arg(&script)
        .args([format!("ws://{}/chat", world.addr()), bearer, resource])
        .env("NODE_OPTIONS", OPTION)
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js");
    let mut call = upstream.call().await;
    let keys = values(&call.head().await, "sec-websocket-key");
    call.send(switch(&keys[0], "")).await;
    call.send(text_frame("to the page", false)).await;
    // A masked frame of thirteen bytes.
    call.exactly(2 + 4 + 13).await;
    let fields = [
        ("session_id", minted.sid.as_str()),
        ("zone_id", crate::world::ZONE),
    ];
    world.publish(crate::revocation::REVOKE, &fields).await;
    let output = spawn_blocking(|| page.wait_with_output());
    let output = timeout(PATIENCE, output).await.expect("an end in time");
    let output = output.expect("a task").expect("its output");
    let expect = "heard to the page true\nclosed 1008 session revoked\n";
    report.equal(
        "the page",
        String::from_utf8_lossy(&output.stdout).as_ref(),
        expect,
    );
    report.finish();
}
