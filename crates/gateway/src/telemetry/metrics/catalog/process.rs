//! The process itself.

use config::LaxFlag;

use crate::telemetry::metrics::metric::{Read, Section, metric};

const SECONDS_A_DAY: f64 = 86_400.0;

pub(super) const PROCESS: Section = Section {
    title: "Process",
    metrics: &[
        metric(
            "caracal_gateway_connections",
            "Open connections of callers",
            Read::Gauge(|s| s.figures.capacity.connections),
        ),
        metric(
            "caracal_gateway_requests_in_flight",
            "Requests under way, streams included",
            Read::Gauge(|s| s.figures.capacity.requests),
        ),
        metric(
            "caracal_gateway_certificate_expiry_days",
            "Days until the served certificate expires, negative once it has; absent without TLS",
            Read::Number(|s| {
                s.figures
                    .certificate_seconds_left
                    .map(|seconds| seconds as f64 / SECONDS_A_DAY)
            }),
        ),
        metric(
            "caracal_gateway_lax_flag",
            "Whether an option that trades safety for convenience is on; all are 0 in a hardened installation",
            Read::Gauges("flag", |s| {
                let on = |flag| u64::from(s.metrics.lax.contains(&flag));
                LaxFlag::ALL
                    .into_iter()
                    .map(|flag| (flag.variable(), on(flag)))
                    .collect()
            }),
        ),
        metric(
            "caracal_gateway_log_lines_dropped_total",
            "Log lines dropped because standard error did not take them",
            Read::Counter(|s| s.figures.log_lines_dropped),
        ),
        metric(
            "caracal_gateway_build_info",
            "The constant 1, with the version and the mode as labels",
            Read::Info(&["version", "mode"], |s| {
                vec![
                    ("version", s.metrics.about.version),
                    ("mode", s.metrics.about.mode),
                ]
            }),
        ),
    ],
};
