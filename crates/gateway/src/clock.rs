//! The only module that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use admission::ports::{Clock, Moment};
use rustix::time::{ClockId, clock_gettime};

/// The machine's clocks. What is old is told by one that runs while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            unix: unix(),
            monotonic: boot_time(),
        }
    }
}

/// Time since the machine started, suspended or not.
fn boot_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The monotonic clock of timers, which stands still while the machine is suspended.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// Time since the Unix epoch; zero if the machine's clock stands before it.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds since the Unix epoch, as events are stamped.
#[must_use]
pub fn unix_micros() -> i64 {
    i64::try_from(unix().as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds by the clock of timers, for how long something takes.
#[must_use]
pub fn monotonic_micros() -> i64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{SystemClock, boot_time};
    use admission::ports::Clock as _;

    #[test]
    fn ages_are_told_by_the_clock_that_runs_while_the_machine_is_suspended() {
        let (before, now, after) = (boot_time(), SystemClock.now().monotonic, boot_time());
        assert!(before <= now && now <= after, "{before:?} {now:?} {after:?}");
    }
}
