//! `docs/metrics.md`, made from a page with every metric that an installation may have.

use std::fmt::Write as _;

use super::{Metrics, Page, json};
use crate::telemetry::{About, figures};

/// The whole document.
#[must_use]
pub fn markdown() -> String {
    let mut document = String::from(INTRODUCTION);
    let mut section = "";
    for metric in every_metric().sorted() {
        // Writing to a `String` cannot fail.
        if metric.section != section {
            section = metric.section;
            let _ = write!(
                document,
                "\n## {section}\n\n| Name | Type | `metrics.json` | Meaning |\n|---|---|---|---|\n"
            );
        }
        let labels = match &*metric.labels() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let key = json::key(metric.name).map(|key| format!("`{key}`"));
        let _ = writeln!(
            document,
            "| `{}{labels}` | {} | {} | {} |",
            metric.name,
            metric.kind().as_str(),
            key.unwrap_or_default(),
            metric.help
        );
    }
    document
}

const INTRODUCTION: &str = include_str!("introduction.md");

/// Every metric, at zero.
fn every_metric() -> Page {
    let mut page = Page::default();
    Metrics::new(About::default(), Vec::new()).write(&mut page);
    figures::zero(&mut page);
    page
}
