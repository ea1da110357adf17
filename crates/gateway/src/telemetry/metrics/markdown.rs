//! `docs/metrics.md`, made from the catalog.

use std::fmt::Write as _;

use super::catalog;
use super::metric::{Json, Metric, Read};

/// The whole page.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in catalog::SECTIONS {
        // Writing to a `String` cannot fail.
        let _ = write!(
            page,
            "\n## {}\n\n| Name | Type | `metrics.json` | Meaning |\n|---|---|---|---|\n",
            section.title
        );
        for metric in section.metrics {
            let _ = writeln!(
                page,
                "| `{}{}` | {} | {} | {} |",
                metric.name,
                labels(metric),
                metric.kind().as_str(),
                json_key(metric),
                metric.help
            );
        }
    }
    page
}

const INTRODUCTION: &str = include_str!("introduction.md");

fn labels(metric: &Metric) -> String {
    match metric.read {
        Read::Counters(label, _) | Read::Gauges(label, _) | Read::Histograms(label, _) => {
            format!("{{{label}}}")
        }
        Read::Info(labels, _) => format!("{{{}}}", labels.join(",")),
        Read::Counter(_) | Read::Gauge(_) | Read::Number(_) | Read::Histogram(_) => String::new(),
    }
}

fn json_key(metric: &Metric) -> String {
    match metric.json {
        Json::Key(key) | Json::Appended(key) => format!("`{key}`"),
        Json::Absent => String::new(),
    }
}
