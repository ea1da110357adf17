//! A WebSocket as browsers make it: that of Node.js.

use super::*;
use std::process::{Command, Stdio};
use testkit::wait::PATIENCE;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Opens a connection with the subprotocols that it is given, says something, and tells what it heard and how it ended.
const PAGE: &str = r#"
const [url, ...offered] = process.argv.slice(2);
const socket = new WebSocket(url, offered);
socket.onopen = () => socket.send('from the page');
socket.onmessage = event => console.log('heard', event.data, socket.protocol === offered.at(-1));
socket.onerror = event => console.log('error', event.message ?? event.error?.message);
socket.onclose = event => console.log('closed', event.code, event.reason);
"#;

/// Run by hand: `scripts/test -p caracal-conformance --test conformance -- --ignored upgrade_by_a_browsers`.
#[tokio::test]
#[ignore = "needs Node.js 22, or 20 with its experimental WebSocket, which no bare Debian has"]
async fn upgrade_by_a_browsers_websocket_opens_carries_and_says_that_it_was_revoked() {
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
        .env("NODE_OPTIONS", "--experimental-websocket")
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
