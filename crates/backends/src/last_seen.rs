//! When something last happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::component::milliseconds;

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
        self.0.store(reading(monotonic), Ordering::Release);
    }

    /// How long ago that is; none before the first time.
    pub(crate) fn age(&self, monotonic: Duration) -> Option<Duration> {
        match self.0.load(Ordering::Acquire) {
            NEVER => None,
            last => Some(Duration::from_millis(reading(monotonic).saturating_sub(last))),
        }
    }
}

fn reading(monotonic: Duration) -> u64 {
    milliseconds(monotonic).min(NEVER - 1)
}
