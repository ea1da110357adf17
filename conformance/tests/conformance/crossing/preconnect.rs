//! A connection to an upstream that is made while the exchange is under way.

use super::resource_at;
use crate::hand::{Call, HAND};
use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::World;
use devstack::{Answer, RawAnswer, Scope, Step, Target};
use std::sync::Arc;
use std::time::Duration;
use testkit::wait::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
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
    let mut known: Option<Call> = None;
    for is_granted in [false, true] {
        let refusal = || Answer::Raw(RawAnswer::new(403, "application/json", REFUSED));
        let step = Step {
            hold: Some(Arc::clone(&gate)),
            answer: (!is_granted).then(refusal),
            ..Step::default()
        };
        world.stack.script().set(Scope::Exchange, step);
        let before = world.stack.sts().counts().exchanges;
        let play = async {
            // The one that the refused request left is idle now.
            let mut call = match known.take() {
                Some(call) => call,
                None => Call::over(
                    timeout(PATIENCE, upstream.accept())
                        .await
                        .expect("in time")
                        .expect("accepted")
                        .0,
                ),
            };
            testkit::wait::until("the exchange", async || {
                (world.stack.sts().counts().exchanges > before).then_some(())
            })
            .await;
            report.holds("nothing is said while the STS holds its answer", call.is_silent());
            gate.add_permits(1);
            if is_granted {
                call.head().await;
                call.send(OK).await;
            }
            call
        };
        let request = head(&world, "POST", HAND, "/x", "Content-Length: 0\r\n");
        let (mut call, response) = tokio::join!(play, ask(world.addr(), request));
        report.status("the answer", &response, if is_granted { 200 } else { 403 });
        report.holds("nothing follows", call.is_silent());
        known = Some(call);
    }
    let another = timeout(Duration::ZERO, upstream.accept()).await;
    report.holds("one connection served both", another.is_err());
    report.finish();
}
