//! The monotonic clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use admission::ports::{Clock, Moment};
use rustix::time::{ClockId, clock_gettime};

/// The time from which latencies are counted.
#[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The machine's clocks, for what is measured inside this process.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
    fn now(&self) -> Moment {
        Moment {
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            monotonic: clock_gettime(ClockId::Boottime).try_into().unwrap_or_default(),
        }
    }
}
