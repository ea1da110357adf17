//! When an STS that was away is back.

use std::sync::Arc;
use std::time::Duration;

use admission::exchange::{Circuit, Doubt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::StsClient;
use super::health::ask;
use crate::pause::spread;

/// How often it is asked while the circuit is open, and the longest that one answer may take.
const INTERVAL: Duration = Duration::from_millis(250);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest between two times that the circuit is told to probe: as long as a breaker pauses by itself.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How long the circuit must at least stay closed for an outage to be over and the next one to be another.
const STABLE: Duration = Duration::from_secs(1);

impl StsClient {
    /// Has the circuit probe at once when the STS answers as healthy after it did not, until shutdown. It is asked only
    /// while a breaker is open.
    ///
    /// Where breakers open again after that, the next time is later and later: its health alone does not say that it
    /// exchanges.
    ///
    /// A zone that alone gets no answers waits for its breaker: the health of the STS says nothing of it. But where no
    /// exchange of any zone was answered while one waited on a connection that had answered before, that connection may be
    /// to blame, and not the zone: the circuit probes once the STS answers as healthy.
    pub async fn watch_recovery(self, circuit: Arc<Circuit>, shutdown: CancellationToken) {
        let watch = async {
            let (mut unanswered, mut untold, mut pace) = (false, false, Pace::default());
            loop {
                sleep(spread(INTERVAL)).await;
                let now = self.0.clock.now();
                let doubt = circuit.doubt(now);
                pace.follow(doubt, now.monotonic);
                let away = match doubt {
                    Doubt::None => {
                        untold = false;
                        continue;
                    }
                    Doubt::OfZones => {
                        let recently = now.monotonic.saturating_sub(MAX_PAUSE);
                        let by_connections = self.0.health.connections_failed_since(recently);
                        by_connections || untold || unanswered || self.0.health.was_bad()
                    }
                    Doubt::OfSts => true,
                };
                let answer = timeout(ANSWER_TIMEOUT, ask(self.clone())).await;
                unanswered = answer.is_err();
                let now = self.0.clock.now();
                // That it is back is told later where it may not be told yet.
                untold = away && matches!(answer, Ok((Ok(()), _)));
                if untold && pace.allows(circuit.figures(now).opened, now.monotonic) {
                    untold = false;
                    circuit.probe_now();
                }
            }
        };
        shutdown.run_until_cancelled(watch).await;
    }
}

/// When the circuit may be told to probe: an STS that is well by its health and fails exchanges is not given more of them
/// than it would get without.
#[derive(Default)]
struct Pace {
    /// The last time, if it is not forgotten, and how often breakers had opened by then.
    last: Option<(Duration, u64)>,
    /// How long after the last time the next one is, if breakers opened again.
    pause: Duration,
    closed_since: Option<Duration>,
}

impl Pace {
    /// Forgets the last time when the circuit has stayed closed for as long as the pause.
    fn follow(&mut self, doubt: Doubt, now: Duration) {
        self.closed_since = match (doubt, self.closed_since) {
            (Doubt::None, None) => Some(now),
            (Doubt::None, Some(since)) => {
                if now.saturating_sub(since) >= self.pause.max(STABLE) {
                    (self.last, self.pause) = (None, Duration::ZERO);
                }
                Some(since)
            }
            (Doubt::OfZones | Doubt::OfSts, _) => None,
        };
    }

    /// Whether this is such a time.
    fn allows(&mut self, opened: u64, now: Duration) -> bool {
        if let Some((last, then)) = self.last
            && opened != then
        {
            let pause = self.pause.saturating_mul(2).clamp(INTERVAL, MAX_PAUSE);
            if now.saturating_sub(last) < pause {
                return false;
            }
            self.pause = pause;
        }
        self.last = Some((now, opened));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Doubt, Duration, INTERVAL, MAX_PAUSE, Pace, STABLE};

    /// When the circuit is told to probe within a minute in which the STS is always well by its health.
    fn times(mut opened_at: impl FnMut(u32) -> u64) -> Vec<u32> {
        let mut pace = Pace::default();
        let ticks = (0..240).filter(|tick| {
            let now = INTERVAL * *tick;
            pace.follow(Doubt::OfZones, now);
            pace.allows(opened_at(*tick), now)
        });
        ticks.collect()
    }

    #[test]
    fn sts_recovery_in_a_brown_out_tells_to_probe_later_and_later() {
        // Every probe fails at once.
        assert_eq!(times(u64::from), [0, 1, 3, 7, 15, 31, 63, 103, 143, 183, 223]);
        // No probe went out since, so that none failed.
        assert_eq!(times(|_| 1).len(), 240);
    }

    #[test]
    fn sts_recovery_after_each_of_many_outages_tells_to_probe_at_once() {
        let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
        for outage in 1..100 {
            pace.follow(Doubt::OfSts, now);
            assert!(pace.allows(outage, now), "{outage}");
            assert!(!pace.allows(outage + 1, now), "{outage}: the probe failed");
            for at in [now, now + STABLE] {
                pace.follow(Doubt::None, at);
            }
            now += STABLE;
        }
    }

    #[test]
    fn sts_recovery_pause_ends_when_the_circuit_stays_closed_for_as_long() {
        let mut pace = Pace {
            last: Some((Duration::ZERO, 1)),
            pause: MAX_PAUSE,
            closed_since: None,
        };
        pace.follow(Doubt::None, STABLE);
        pace.follow(Doubt::None, STABLE * 2);
        assert!(!pace.allows(2, STABLE * 2));
        pace.follow(Doubt::None, STABLE + MAX_PAUSE);
        assert_eq!((pace.last, pace.pause), (None, Duration::ZERO));
    }
}
