//! One answer to the operator, in any of the formats.

use std::sync::Arc;

use admission::Denial;
use admission::denial::Stage;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serializer as _;

use super::legacy::{Cause, cause};
use super::metric::Json;
use super::{Metrics, catalog, text};
use crate::telemetry::Figures;

/// Everything that is known at one moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub(super) metrics: Arc<Metrics>,
    pub(super) figures: Figures,
}

impl Scrape {
    pub(super) fn new(metrics: Arc<Metrics>, figures: Figures) -> Self {
        Self { metrics, figures }
    }

    /// OpenMetrics text 1.0, with exemplars.
    #[must_use]
    pub fn openmetrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::with_capacity(32 * 1024);
        // Writing to a `String` cannot fail, and the catalog's own parts do not either.
        let _ = encode(&mut page, &registry);
        page
    }

    /// Prometheus text 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        text::prometheus(&self.openmetrics())
    }

    /// One JSON object of whole numbers, on one line.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let ordered = catalog::all().filter_map(|metric| match metric.json {
            Json::Key(key) => Some((key, metric.integer(self)?)),
            Json::Appended(_) | Json::Absent => None,
        });
        let appended = catalog::all().filter_map(|metric| match metric.json {
            Json::Appended(key) => Some((key, metric.integer(self)?)),
            Json::Key(_) | Json::Absent => None,
        });
        let mut object = Vec::with_capacity(2048);
        // Writing to a `Vec` cannot fail.
        let _ = serde_json::Serializer::new(&mut object).collect_map(ordered.chain(appended));
        object.push(b'\n');
        object
    }

    /// Refusals that have this cause.
    pub(super) fn caused_by(&self, wanted: Cause) -> u64 {
        self.sum_of_denials(|denial| cause(denial) == wanted)
    }

    /// Refusals before dispatch.
    pub(super) fn before_dispatch(&self) -> u64 {
        self.sum_of_denials(|denial| denial.row().stage != Stage::Crossing)
    }

    fn sum_of_denials(&self, counts: impl Fn(Denial) -> bool) -> u64 {
        Denial::ALL
            .into_iter()
            .filter(|denial| counts(*denial))
            .map(|denial| self.metrics.denials(denial))
            .sum()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        catalog::all().try_for_each(|metric| metric.encode(self, &mut encoder))
    }
}
