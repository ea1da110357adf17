//! One good request: through every gate, to the upstream, and into the evidence.

use crate::report::Report;
use crate::world::{NONE, World};

#[tokio::test]
async fn main_path_a_good_request_reaches_the_upstream_and_leaves_evidence() {
    let world = World::start().await;
    let mut report = Report::default();
    let response = world
        .send(
            "POST",
            NONE,
            "/v1/orders?dry=1",
            &[("X-Request-Id", "order-1"), ("Content-Type", "application/json")],
            b"{}",
        )
        .await;
    report.status("answer", &response, 200);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal("method", seen.method(), "POST");
    report.equal("target", seen.target(), "/v1/orders?dry=1");
    report.equal("request id upstream", seen.header("x-request-id"), ["order-1"]);
    report.equal("request id", response.header("x-request-id"), Some("order-1"));
    let events = world.events_of("order-1", 1).await;
    report.equal(
        "events",
        events.iter().map(super::world::Event::kind).collect::<Vec<_>>(),
        [("gateway_resource_request", "executed")],
    );
    report.finish();
}
