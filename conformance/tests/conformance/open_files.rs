//! Few file descriptors, and no place for a connection: nobody hangs, and nobody else is blamed.

use crate::report::Report;
use crate::world::{NONE, World, parse_metrics, present_to};
use serde_json::Value;
use std::net::SocketAddr;
use testkit::gateway::Gateway;
use testkit::http::{self, Connection};
use testkit::wait::until;

/// Runs a gateway with a soft and a hard limit of open files.
async fn with_open_files(world: &World, soft: u32, hard: u32, variables: &[(&str, &str)]) -> Gateway {
    let script = format!(r#"ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@""#);
    let launch = world.launch(variables).under(&["sh", "-c", &script, "sh"]);
    launch.start().await
}

async fn idle(addr: SocketAddr, count: usize) -> Vec<Connection> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(Connection::open(addr).await);
    }
    idle
}

async fn good(world: &World, addr: SocketAddr) -> u16 {
    present_to(addr, &world.token(NONE), NONE, "/").await.status()
}

/// The warnings about open files.
fn lowered(gateway: &Gateway) -> Vec<Value> {
    let told = |line: &Value| {
        line["level"] == "warn"
            && line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("MAX_CONNECTIONS"))
    };
    gateway.log().into_iter().filter(told).collect()
}

#[tokio::test]
async fn open_files_are_raised_to_the_hard_limit_at_start() {
    let world = World::start().await;
    let mut report = Report::default();
    let gateway = with_open_files(&world, 128, 4096, &[("MAX_CONNECTIONS", "1792")]).await;
    let held = idle(gateway.addr(), 300).await;
    report.equal(
        "beside 300 idle connections",
        good(&world, gateway.addr()).await,
        200,
    );
    report.equal(
        "nothing had to be lowered",
        lowered(&gateway),
        Vec::<Value>::new(),
    );
    drop(held);
    report.finish();
}

#[tokio::test]
async fn open_files_too_few_for_max_connections_lower_it_and_refuse_at_once() {
    let world = World::start().await;
    let mut report = Report::default();
    // (640 - 512) / 2 connections, and 10,000 were asked for.
    let gateway = with_open_files(&world, 256, 640, &[]).await;
    let addr = gateway.addr();
    let told = lowered(&gateway);
    report.equal("one warning", told.len(), 1);
    let text = told
        .first()
        .and_then(|line| line["msg"].as_str())
        .unwrap_or_default();
    for number in ["640", "10000", "64"] {
        report.holds(format!("{number} in {text:?}"), text.contains(number));
    }

    // The answer of each connection is known at once: held, or 503.
    let mut held = idle(addr, 64).await;
    let mut above = idle(addr, 600).await;
    for connection in &mut above {
        report.status("above the limit", &connection.response().await, 503);
    }
    report.equal("a good request", good(&world, addr).await, 503);
    held.truncate(60);
    until("a place", async || {
        (good(&world, addr).await == 200).then_some(())
    })
    .await;
    let metrics = parse_metrics(&http::get(addr, "/metrics", &[]).await.text());
    report.equal(
        "the STS is not blamed",
        metrics.get("caracal_gateway_sts_circuit_open").copied(),
        Some(0.0),
    );
    let failing = gateway
        .log()
        .iter()
        .filter(|line| line["msg"] == "accept failed")
        .count();
    report.equal("no accept failed", failing, 0);
    report.finish();
}

#[tokio::test]
async fn operator_listener_answers_while_the_public_one_is_full() {
    let world = World::start().await;
    let mut report = Report::default();
    let variables = [("OPERATOR_ADDR", "127.0.0.1:0"), ("MAX_CONNECTIONS", "2")];
    let gateway = world.replica_with(&variables).await;
    let address = |line: &Value| line["addr"].as_str()?.parse().ok();
    let second = gateway.logged("a second address", |line| {
        address(line).is_some_and(|addr: SocketAddr| addr != gateway.addr())
    });
    let own = address(&second.await).expect("an address");
    let mut held = idle(gateway.addr(), 2).await;
    for connection in &mut held {
        let response = connection
            .exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        report.status("held", &response, 200);
    }
    let response = Connection::open(gateway.addr()).await.response().await;
    report.status("the public listener is full", &response, 503);
    for path in ["/health", "/ready", "/metrics"] {
        report.status(path, &http::get(own, path, &[]).await, 200);
    }
    drop(held);
    report.finish();
}
