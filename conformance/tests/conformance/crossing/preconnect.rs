//! A connection to an upstream that is made while the exchange is under way.

use super::resource_at;
use crate::hand::{Call, HAND};
use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::World;
use devstack::{Answer, RawAnswer, Scope, Step, Target};
use std::sync::Arc;
use testkit::wait::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &str = r#"{"error":"access_denied","error_description":"no"}"#;

#[tokio::test]
async fn crossing_connection_is_made_beside_the_exchange_and_says_nothing_before_the_permit() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", upstream.local_addr().expect("an address"));
    let resource = resource_at(HAND, Target::Url(url));
    let world = World::builder()
        .stack(|stack| stack.resources.push(resource))
        .start()
        .await;
    let mut report = Report::default();
    let gate = Arc::new(Semaphore::new(0));
    // Granted first: after a connection that no request took none is made ahead for a while.
    for is_granted in [true, false] {
        let refusal = || Answer::Raw(RawAnswer::new(403, "application/json", REFUSED));
        let step = Step {
            hold: Some(Arc::clone(&gate)),
            answer: (!is_granted).then(refusal),
            ..Step::default()
        };
        world.stack.script().set(Scope::Exchange, step);
        let before = world.stack.sts().counts().exchanges;
        let play = async {
            // The STS holds its answer, so this is the one that is made beside the exchange.
            let accepted = timeout(PATIENCE, upstream.accept()).await;
            let mut call = Call::over(accepted.expect("in time").expect("accepted").0);
            testkit::wait::until("the exchange", async || {
                (world.stack.sts().counts().exchanges > before).then_some(())
            })
            .await;
            report.holds("nothing is said while the STS holds its answer", call.is_silent());
            gate.add_permits(1);
            if is_granted {
                let head = call.head().await;
                report.holds("the request comes over it", head.starts_with("POST /x "));
                call.send(OK).await;
            }
            call
        };
        let request = head(&world, "POST", HAND, "/x", "Content-Length: 0\r\n");
        let (mut call, response) = tokio::join!(play, ask(world.addr(), request));
        report.status("the answer", &response, if is_granted { 200 } else { 403 });
        // None stays: the upstream ended the first, and no request took the second.
        report.equal("nothing follows", call.until_end().await, Vec::<u8>::new());
    }
    let dialled = world
        .metric("caracal_gateway_upstream_connections_dialled_total")
        .await;
    report.holds("one connection for each", dialled <= 2.0);
    let idle = world.metric("caracal_gateway_upstream_connections_idle").await;
    report.equal("none is idle", idle, 0.0);
    report.finish();
}
