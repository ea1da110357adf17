//! A histogram that costs its observer two additions and no lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bounds of the buckets in nanoseconds: from a gate that reads memory to an upstream that is slow.
const BOUNDS: [u64; 20] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// The upper bounds in seconds.
pub(super) fn bounds() -> impl Iterator<Item = f64> {
    BOUNDS.into_iter().map(seconds)
}

/// A distribution of times.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Observations in each bucket alone; the encoder adds them up.
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one observation.
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.buckets
            .get(bucket)
            .unwrap_or(&self.beyond)
            .fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was observed so far.
    pub(super) fn reading(&self) -> Box<Reading> {
        let counts = self
            .buckets
            .iter()
            .chain([&self.beyond])
            .map(|count| count.load(Ordering::Relaxed));
        Box::new(Reading {
            buckets: bounds().chain([f64::INFINITY]).zip(counts).collect(),
            sum: seconds(self.nanos.load(Ordering::Relaxed)),
        })
    }
}

/// A distribution as it was at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    /// The upper bound of each bucket in seconds, and the observations in it alone.
    buckets: Vec<(f64, u64)>,
    /// All observations together, in seconds.
    sum: f64,
}

impl EncodeMetric for Reading {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_a_bound_belongs_below_it() {
        for (nanos, expect) in [
            (0, Some(0)),
            (10_000, Some(0)),
            (10_001, Some(1)),
            (30_000_000_000, Some(19)),
            (30_000_000_001, None),
            (u64::MAX, None),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanos));
            let full = histogram
                .buckets
                .iter()
                .position(|count| count.load(Ordering::Relaxed) == 1);
            assert_eq!(full, expect, "{nanos}");
            assert_eq!(
                histogram.beyond.load(Ordering::Relaxed),
                u64::from(expect.is_none()),
                "{nanos}"
            );
        }
    }
}
