//! A start that fails once the stores are there.

use crate::report::Report;
use crate::world::World;
use serde_json::Value;

/// `EX_SOFTWARE` of sysexits.
const FAILED: Option<i32> = Some(70);

#[tokio::test]
async fn start_on_a_port_that_is_taken_names_its_one_cause_once() {
    let world = World::start().await;
    let (ip, port) = (world.addr().ip().to_string(), world.addr().port().to_string());
    let failed = world.failed_start(&[("BIND_ADDR", &ip), ("PORT", &port)]).await;
    let mut report = Report::default();
    report.equal("status", failed.code, FAILED);
    // The log is JSON; what a person is told is not.
    let (log, told): (Vec<&String>, Vec<&String>) = failed
        .stderr
        .iter()
        .partition(|line| serde_json::from_str::<Value>(line).is_ok());
    report.equal(format!("lines for a person: {told:?}"), told.len(), 1);
    let cause = format!("cannot listen on {}", world.addr());
    report.holds("the cause", told.iter().all(|line| line.contains(&cause)));
    let errors: Vec<_> = log
        .iter()
        .filter(|line| line.contains(r#""level":"error""#))
        .collect();
    report.holds(format!("errors in the log: {errors:?}"), errors.is_empty());
    report.finish();
}
