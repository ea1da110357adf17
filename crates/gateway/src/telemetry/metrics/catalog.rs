//! Every metric, declared once: name, meaning, and how it is read.
//!
//! The order is that of the pages. Within it, the metrics of `metrics.json` keep the order that existing
//! consumers of that page know.

mod dependencies;
mod process;
mod requests;

use super::metric::{Metric, Section};

/// The metrics by subject.
pub(super) const SECTIONS: [&Section; 7] = [
    &requests::REQUESTS,
    &dependencies::STS,
    &requests::UPSTREAM,
    &dependencies::EVIDENCE,
    &dependencies::REVOCATION,
    &dependencies::STORES,
    &process::PROCESS,
];

/// Every metric.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.into_iter().flat_map(|section| section.metrics)
}
