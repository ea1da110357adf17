//! Names that some upstream would read as another name.

use crate::report::Report;
use crate::wire::{ask, head};
use crate::world::{NONE, World};

#[tokio::test]
async fn smuggling_aliases_of_reserved_names_do_not_pass() {
    let world = World::start().await;
    let mut report = Report::default();
    let dispatched = world.dispatched();
    for name in [
        "X_Caracal_Identity",
        "X_Caracal_Resource",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "x_real_ip",
        "X_Request_Id",
        "Content_Length",
        "Transfer_Encoding",
        "X.Forwarded.For",
    ] {
        let response = ask(
            world.addr(),
            head(&world, "GET", NONE, "/", &format!("{name}: 6.6.6.6\r\n")),
        )
        .await;
        match response.status() {
            400 => {}
            200 => {
                let last = world.stack.upstream().last().expect("a request at the upstream");
                let passed = last
                    .headers()
                    .iter()
                    .any(|(known, value)| known.eq_ignore_ascii_case(name) || value == "6.6.6.6");
                report.holds(format!("{name} is not passed on"), !passed);
            }
            status => report.holds(format!("{name}: status {status}"), false),
        }
    }
    report.holds("some requests were made", world.dispatched() >= dispatched);
    report.finish();
}
