//! One row of the catalog: a name, a meaning, and the way to read it.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Scrape;
use super::histogram::Histogram;

/// A group of metrics on one subject.
pub(super) struct Section {
    /// The heading in the documentation.
    pub(super) title: &'static str,
    /// The metrics; those of `metrics.json` in its order.
    pub(super) metrics: &'static [Metric],
}

/// One metric.
pub(super) struct Metric {
    /// The name as it is exposed, the suffix `_total` of a counter included.
    pub(super) name: &'static str,
    /// What it means, with its unit.
    pub(super) help: &'static str,
    /// Its place in `metrics.json`.
    pub(super) json: Json,
    /// How to read it.
    pub(super) read: Read,
}

/// The key of a metric in `metrics.json`.
#[derive(Clone, Copy)]
pub(super) enum Json {
    /// Not there.
    Absent,
    /// In its order in the catalog.
    Key(&'static str),
    /// After all others.
    Appended(&'static str),
}

/// How a metric is read.
pub(super) enum Read {
    /// A number that only grows.
    Counter(fn(&Scrape) -> u64),
    /// A whole number.
    Gauge(fn(&Scrape) -> u64),
    /// A number that may not exist.
    Number(fn(&Scrape) -> Option<f64>),
    /// A counter for each value of a label.
    Counters(&'static str, fn(&Scrape) -> Vec<(&'static str, u64)>),
    /// A gauge for each value of a label.
    Gauges(&'static str, fn(&Scrape) -> Vec<(&'static str, u64)>),
    /// The constant 1 with labels that say something.
    Info(
        &'static [&'static str],
        fn(&Scrape) -> Vec<(&'static str, &'static str)>,
    ),
    /// A distribution.
    Histogram(fn(&Scrape) -> &dyn EncodeMetric),
    /// A distribution for each value of a label.
    Histograms(&'static str, fn(&Scrape) -> [(&'static str, &Histogram); 4]),
}

/// A row; `json` may be added to it.
pub(super) const fn metric(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric {
        name,
        help,
        json: Json::Absent,
        read,
    }
}

impl Metric {
    /// With a key in `metrics.json`.
    pub(super) const fn json(mut self, key: &'static str) -> Self {
        self.json = Json::Key(key);
        self
    }

    /// With a key after all others of `metrics.json`.
    pub(super) const fn json_appended(mut self, key: &'static str) -> Self {
        self.json = Json::Appended(key);
        self
    }

    /// The value, where it is one whole number.
    pub(super) fn integer(&self, scrape: &Scrape) -> Option<u64> {
        match self.read {
            Read::Counter(read) | Read::Gauge(read) => Some(read(scrape)),
            Read::Number(_)
            | Read::Counters(..)
            | Read::Gauges(..)
            | Read::Info(..)
            | Read::Histogram(_)
            | Read::Histograms(..) => None,
        }
    }

    /// Its type, as both text formats call it.
    pub(super) fn kind(&self) -> MetricType {
        match self.read {
            Read::Counter(_) | Read::Counters(..) => MetricType::Counter,
            Read::Gauge(_) | Read::Number(_) | Read::Gauges(..) | Read::Info(..) => MetricType::Gauge,
            Read::Histogram(_) | Read::Histograms(..) => MetricType::Histogram,
        }
    }

    /// Writes it as OpenMetrics, whose encoder appends `_total` to a counter's samples itself.
    pub(super) fn encode(&self, scrape: &Scrape, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = match self.kind() {
            MetricType::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        };
        if let Read::Number(read) = self.read
            && read(scrape).is_none()
        {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(name, self.help, None, self.kind())?;
        match self.read {
            Read::Counter(read) => ConstCounter::new(read(scrape)).encode(family),
            Read::Gauge(read) => ConstGauge::new(read(scrape)).encode(family),
            Read::Number(read) => ConstGauge::new(read(scrape).unwrap_or_default()).encode(family),
            Read::Counters(label, read) => read(scrape).into_iter().try_for_each(|(value, n)| {
                ConstCounter::new(n).encode(family.encode_family(&[(label, value)])?)
            }),
            Read::Gauges(label, read) => read(scrape).into_iter().try_for_each(|(value, n)| {
                ConstGauge::new(n).encode(family.encode_family(&[(label, value)])?)
            }),
            Read::Info(_, read) => ConstGauge::new(1_u64).encode(family.encode_family(&read(scrape))?),
            Read::Histogram(read) => read(scrape).encode(family),
            Read::Histograms(label, read) => read(scrape).into_iter().try_for_each(|(value, histogram)| {
                histogram.encode(family.encode_family(&[(label, value)])?)
            }),
        }
    }
}
