//! A clock that moves only by hand.

use admission::ports::{Clock, Moment};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The second at which a [`FixedClock::default`] stands: 2026-09-21T14:13:20Z.
pub const START: u64 = 1_790_000_000;

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct FixedClock(Arc<Mutex<Moment>>);

impl FixedClock {
    /// A clock that stands at this many seconds since the Unix epoch, and at zero of the monotonic time.
    pub fn at(unix_seconds: u64) -> Self {
        let moment = Moment {
            unix: Duration::from_secs(unix_seconds),
            monotonic: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(moment)))
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut moment = self.moment();
        moment.unix += by;
        moment.monotonic += by;
    }

    /// Sets the time of day, backwards too, as an administrator may; the monotonic time does not notice.
    pub fn set(&self, unix_seconds: u64) {
        self.moment().unix = Duration::from_secs(unix_seconds);
    }

    /// Whole seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> u64 {
        self.moment().unix.as_secs()
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        self.0.lock().expect("nobody panics with the lock held")
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Moment {
        *self.moment()
    }
}

impl Default for FixedClock {
    fn default() -> Self {
        Self::at(START)
    }
}

/// Seconds since the Unix epoch by the machine's clock, for mandates shown to a real process.
#[expect(
    clippy::disallowed_methods,
    reason = "a running gateway judges mandates by the machine's clock"
)]
pub fn real_unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a machine clock past 1970")
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::FixedClock;
    use admission::ports::Clock;
    use std::time::Duration;

    #[test]
    fn clock_moves_only_by_hand_and_clones_agree() {
        let clock = FixedClock::at(100);
        let same = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(
            (same.unix_seconds(), same.now().monotonic),
            (101, Duration::from_millis(1500))
        );
        same.set(7);
        assert_eq!(
            (clock.unix_seconds(), clock.now().monotonic),
            (7, Duration::from_millis(1500))
        );
    }
}
