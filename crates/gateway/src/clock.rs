//! The only module that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use admission::ports::{Clock, Moment};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts now.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a clock that starts now is not a default value"
    )]
    pub fn new() -> Self {
        Self { start: instant() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            unix: unix(),
            monotonic: instant().duration_since(self.start),
        }
    }
}

/// The monotonic clock.
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
