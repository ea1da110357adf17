//! Waits with an end, and pauses between attempts, spread so that replicas do not act in step.

use std::time::Duration;

use admission::ports::Cause;
use futures_util::FutureExt as _;
use tokio::time::timeout;

/// The pause before the next attempt while what is kept is out of date: it is right again within a second after the
/// outage, and four attempts a second harm nobody.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// Pauses that double from a first one up to a maximum.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            next: first,
        }
    }

    /// An attempt succeeded: the next pause is a first one.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The pause after one more failed attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        spread(pause)
    }
}

/// This work on a server, or a cause that names the limit.
pub(crate) fn within<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, Cause>>,
) -> impl Future<Output = Result<T, Cause>> {
    let late = move |_| Err(Cause::new(format!("{what}: no answer within {limit:?}")));
    timeout(limit, work).map(move |done| done.unwrap_or_else(late))
}

/// The same duration, up to a fifth shorter or longer.
pub(crate) fn spread(duration: Duration) -> Duration {
    let mut noise = [0; 2];
    // Without randomness the replicas may act in step, which is a nuisance and no danger.
    if aws_lc_rs::rand::fill(&mut noise).is_err() {
        return duration;
    }
    let share = 0.8 + f64::from(u16::from_le_bytes(noise)) / f64::from(u16::MAX) * 0.4;
    duration.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::{Backoff, spread};
    use std::time::Duration;

    #[test]
    fn spread_stays_within_a_fifth() {
        let base = Duration::from_secs(10);
        for _ in 0..1000 {
            let got = spread(base);
            assert!((8.0..=12.0).contains(&got.as_secs_f64()), "{got:?}");
        }
    }

    #[test]
    fn backoff_doubles_to_the_maximum_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        let bases: Vec<_> = (0..4)
            .map(|_| {
                let base = backoff.next;
                backoff.pause();
                base.as_millis()
            })
            .collect();
        assert_eq!(bases, [100, 200, 400, 400]);
        backoff.reset();
        assert_eq!(backoff.next, Duration::from_millis(100));
    }
}
