//! The monotonic clock.

use std::time::Instant;

/// The time from which latencies are counted.
#[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
