//! A clock that moves only by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The second at which a [`FixedClock::default`] stands: 2026-09-21T14:13:20Z.
pub const START: u64 = 1_790_000_000;

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct FixedClock {
    milliseconds: Arc<AtomicU64>,
}

impl FixedClock {
    /// A clock that stands at this many seconds since the Unix epoch.
    pub fn at(unix_seconds: u64) -> Self {
        Self {
            milliseconds: Arc::new(AtomicU64::new(unix_seconds * 1000)),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("a step that fits in 64 bits of milliseconds");
        self.milliseconds.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the clock to this many seconds since the Unix epoch, backwards too.
    pub fn set(&self, unix_seconds: u64) {
        self.milliseconds.store(unix_seconds * 1000, Ordering::SeqCst);
    }

    /// Whole seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_milliseconds() / 1000
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_milliseconds(&self) -> u64 {
        self.milliseconds.load(Ordering::SeqCst)
    }

    /// The time it shows.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.unix_milliseconds())
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
    use std::time::Duration;

    #[test]
    fn clock_moves_only_by_hand_and_clones_agree() {
        let clock = FixedClock::at(100);
        let same = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!((same.unix_seconds(), same.unix_milliseconds()), (101, 101_500));
        same.set(7);
        assert_eq!(clock.unix_seconds(), 7);
    }
}
