//! What is on the metrics page, and what its documentation says.

use crate::report::Report;
use crate::world::{NONE, World, parse_metrics};
use std::collections::BTreeSet;

/// Absent without TLS.
const CERTIFICATES: [&str; 2] = [
    "caracal_gateway_certificate_expiry_days",
    "caracal_gateway_client_certificate_expiry_days",
];

#[tokio::test]
async fn metrics_of_a_running_gateway_are_those_of_the_documentation() {
    let world = World::start().await;
    let mut report = Report::default();
    for path in ["/first", "/second"] {
        report.status(path, &world.get(NONE, path).await, 200);
    }
    let page = testkit::http::get(world.addr(), "/metrics", &[]).await.text();
    let shown: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let document = include_str!("../../../docs/metrics.md");
    let rows = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `caracal_"));
    let documented: BTreeSet<(String, String)> = rows
        .filter_map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next()?.trim_end_matches('`').split('{').next()?;
            let kind = cells.next()?;
            ["counter", "gauge", "histogram"]
                .contains(&kind)
                .then(|| (format!("caracal_{name}"), kind.to_owned()))
        })
        .filter(|(name, _)| !CERTIFICATES.contains(&name.as_str()))
        .collect();
    report.holds("more than 80", documented.len() > 80);
    let all = |set: BTreeSet<(String, String)>| set.into_iter().collect::<Vec<_>>();
    report.equal("undocumented", all(&shown - &documented), Vec::new());
    report.equal("not shown", all(&documented - &shown), Vec::new());
    let samples = parse_metrics(&page);
    let sample = |name: &str| samples.get(&format!("caracal_gateway_{name}")).copied();
    for (name, value) in [
        ("upstream_connections_dialled_total", 1.0),
        ("upstream_connections_reused_total", 1.0),
        ("upstream_connections_idle", 1.0),
        ("upstream_connections_found_dead_total", 0.0),
        ("revocation_stream_gaps_total", 0.0),
        ("jwks_served_stale_total", 0.0),
        ("binding_changes_notified", 1.0),
    ] {
        report.equal(name, sample(name), Some(value));
    }
    report.holds(
        "the STS is asked over connections of ours",
        sample("sts_connections_dialled_total") > Some(0.0),
    );
    report.finish();
}
