//! When something last happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NEVER: u64 = u64::MAX;

/// The last time that something happened, in milliseconds of the monotonic clock, for readers without a lock.
#[derive(Debug)]
pub(crate) struct LastSeen(AtomicU64);

impl LastSeen {
    pub(crate) fn never() -> Self {
        Self(AtomicU64::new(NEVER))
    }

    /// It happened at this monotonic time. What was written before is seen by whoever sees it.
    pub(crate) fn set(&self, monotonic: Duration) {
        self.0.store(milliseconds(monotonic), Ordering::Release);
    }

    /// How long ago that is; none before the first time.
    pub(crate) fn age(&self, monotonic: Duration) -> Option<Duration> {
        match self.0.load(Ordering::Acquire) {
            NEVER => None,
            last => Some(Duration::from_millis(
                milliseconds(monotonic).saturating_sub(last),
            )),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER - 1)
}
