//! The metrics of one moment, in the order of the documentation, and the formats that they are shown in.

use std::fmt;

use backends::component::Samples;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Serializer as _;

use super::{json, text};

/// The headings, in their order. One that is not here comes after them.
const SECTIONS: [&str; 7] = [
    "Requests and refusals",
    "STS",
    "Upstreams",
    "Audit evidence",
    "Revocation",
    "Bindings, replay marks and PostgreSQL",
    "Process",
];

/// Everything that is known at one moment.
#[derive(Debug, Default)]
pub struct Page {
    section: &'static str,
    metrics: Vec<Metric>,
}

/// One metric and its value.
#[derive(Debug)]
pub(super) struct Metric {
    /// The heading in the documentation.
    pub(super) section: &'static str,
    /// The name as it is exposed, the suffix `_total` of a counter included.
    pub(super) name: &'static str,
    /// What it means, with its unit.
    pub(super) help: &'static str,
    pub(super) value: Value,
}

pub(super) enum Value {
    Counter(u64),
    Gauge(u64),
    /// A number that may not exist.
    Number(Option<f64>),
    /// A counter for each value of a label.
    Counters(&'static str, Vec<(&'static str, u64)>),
    /// A gauge for each value of a label.
    Gauges(&'static str, Vec<(&'static str, u64)>),
    /// The constant 1 with labels that say something.
    Info(Vec<(&'static str, &'static str)>),
    /// A distribution.
    Histogram(Encodable),
    /// A distribution for each value of a label.
    Histograms(&'static str, Vec<(&'static str, Encodable)>),
}

pub(super) type Encodable = Box<dyn EncodeMetric + Send + Sync>;

impl Samples for Page {
    fn section(&mut self, title: &'static str) {
        self.section = title;
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.metric(name, help, Value::Counter(value));
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.metric(name, help, Value::Gauge(value));
    }

    fn number(&mut self, name: &'static str, help: &'static str, value: Option<f64>) {
        self.metric(name, help, Value::Number(value));
    }
}

impl Page {
    pub(super) fn metric(&mut self, name: &'static str, help: &'static str, value: Value) {
        self.metrics.push(Metric {
            section: self.section,
            name,
            help,
            value,
        });
    }

    /// The metrics by section, within one in the order in which they were written.
    pub(super) fn sorted(mut self) -> Vec<Metric> {
        self.metrics.sort_by_key(|metric| {
            SECTIONS
                .iter()
                .position(|title| *title == metric.section)
                .unwrap_or(SECTIONS.len())
        });
        self.metrics
    }

    /// The metrics that are one whole number.
    fn integers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.metrics.iter().filter_map(|metric| match metric.value {
            Value::Counter(value) | Value::Gauge(value) => Some((metric.name, value)),
            _ => None,
        })
    }

    /// OpenMetrics text 1.0, with exemplars.
    #[must_use]
    pub fn openmetrics(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Sorted(self.sorted())));
        let mut page = String::with_capacity(32 * 1024);
        // Writing to a `String` cannot fail, and the metrics' own parts do not either.
        let _ = encode(&mut page, &registry);
        page
    }

    /// Prometheus text 0.0.4.
    #[must_use]
    pub fn prometheus(self) -> String {
        text::prometheus(&self.openmetrics())
    }

    /// One JSON object of whole numbers, on one line.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut object = Vec::with_capacity(2048);
        // Writing to a `Vec` cannot fail.
        let _ = serde_json::Serializer::new(&mut object).collect_map(json::members(self.integers()));
        object.push(b'\n');
        object
    }
}

#[derive(Debug)]
struct Sorted(Vec<Metric>);

impl Collector for Sorted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|metric| metric.encode(&mut encoder))
    }
}

impl Metric {
    /// Its type, as both text formats call it.
    pub(super) fn kind(&self) -> MetricType {
        match self.value {
            Value::Counter(_) | Value::Counters(..) => MetricType::Counter,
            Value::Gauge(_) | Value::Number(_) | Value::Gauges(..) | Value::Info(_) => MetricType::Gauge,
            Value::Histogram(_) | Value::Histograms(..) => MetricType::Histogram,
        }
    }

    /// The names of its labels.
    pub(super) fn labels(&self) -> Vec<&'static str> {
        match &self.value {
            Value::Counters(label, _) | Value::Gauges(label, _) | Value::Histograms(label, _) => vec![label],
            Value::Info(labels) => labels.iter().map(|(name, _)| *name).collect(),
            Value::Counter(_) | Value::Gauge(_) | Value::Number(_) | Value::Histogram(_) => Vec::new(),
        }
    }

    /// Writes it as OpenMetrics, whose encoder appends `_total` to a counter's samples itself.
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if let Value::Number(None) = self.value {
            return Ok(());
        }
        let name = match self.kind() {
            MetricType::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        };
        let mut family = encoder.encode_descriptor(name, self.help, None, self.kind())?;
        let mut labelled = |label: &str, value: &str, metric: &dyn EncodeMetric| {
            metric.encode(family.encode_family(&[(label, value)])?)
        };
        match &self.value {
            Value::Counter(value) => ConstCounter::new(*value).encode(family),
            Value::Gauge(value) => ConstGauge::new(*value).encode(family),
            Value::Number(value) => ConstGauge::new(value.unwrap_or_default()).encode(family),
            Value::Counters(label, values) => values
                .iter()
                .try_for_each(|(value, count)| labelled(label, value, &ConstCounter::new(*count))),
            Value::Gauges(label, values) => values
                .iter()
                .try_for_each(|(value, number)| labelled(label, value, &ConstGauge::new(*number))),
            Value::Info(labels) => ConstGauge::new(1_u64).encode(family.encode_family(labels)?),
            Value::Histogram(histogram) => histogram.encode(family),
            Value::Histograms(label, values) => values
                .iter()
                .try_for_each(|(value, histogram)| labelled(label, value, &**histogram)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(value) | Self::Gauge(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Counters(_, values) | Self::Gauges(_, values) => values.fmt(f),
            Self::Info(labels) => labels.fmt(f),
            Self::Histogram(_) | Self::Histograms(..) => f.write_str("histogram"),
        }
    }
}
