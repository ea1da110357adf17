//! How long requests took.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::Result;

/// Longer ones count as this long.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// A histogram of durations, exact to three digits.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// Holds nothing yet.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_max(nanoseconds(MAX_LATENCY), 3)?))
    }

    /// Adds one.
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(nanoseconds(took));
    }

    /// Adds those of another one.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that this share of all (0 to 1) did not exceed; zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// What reports show.
    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The half, the hundredth and the thousandth that took longest began here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// One of a hundred took longer.
    pub p99: Duration,
    /// One of a thousand took longer.
    pub p999: Duration,
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(
            f,
            "{:.2} / {:.2} / {:.2}",
            ms(self.p50),
            ms(self.p99),
            ms(self.p999)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        for took in milliseconds {
            latencies.record(Duration::from_millis(took));
        }
        latencies
    }

    #[test]
    fn quantiles_of_a_known_series() {
        let latencies = of(1..=1000);
        assert_eq!(latencies.count(), 1000);
        assert_eq!(latencies.quantiles().to_string(), "500.17 / 990.38 / 999.29");
    }

    #[test]
    fn nothing_recorded_is_zero_and_endless_is_a_minute() {
        assert_eq!(of([]).quantile(0.99), Duration::ZERO);
        let minute = of([3_600_000]).quantile(0.5).as_secs_f64();
        assert!((60.0..60.1).contains(&minute), "{minute}");
    }
}
