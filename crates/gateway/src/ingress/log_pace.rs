//! The log of what anybody may cause again and again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

/// How often there is a line at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one of many like lines through each second.
#[derive(Debug, Default)]
pub(super) struct LogPace(Mutex<Option<Instant>>);

impl LogPace {
    /// Whether it is time for a line.
    pub(super) fn is_due(&self) -> bool {
        let now = clock::instant();
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|at| now.duration_since(at) >= INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}
