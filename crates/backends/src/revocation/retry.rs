//! Attempts that fail, one after the other: when the next one is due, and which of them the log hears of.

use std::time::Duration;

use admission::ports::Cause;
use tokio::time::sleep;

use super::state::Inner;
use crate::log_limit::LogLimit;
use crate::pause::{Backoff, RETRY, spread};

/// Attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry {
    what: &'static str,
    backoff: Backoff,
    warnings: LogLimit,
    /// The log heard of a failure since the last success.
    warned: bool,
}

impl Retry {
    /// Pauses grow from `first` to `max`, as long as requests pass all the same.
    pub(super) fn new(what: &'static str, first: Duration, max: Duration) -> Self {
        Self {
            what,
            backoff: Backoff::new(first, max),
            warnings: LogLimit::default(),
            warned: false,
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, cause: &Cause, now: Duration) {
        if let Some(times) = self.warnings.happened(now) {
            self.warned = true;
            tracing::warn!(%cause, times, "{} failed", self.what);
        }
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.warned) {
            tracing::info!("{} works again", self.what);
        }
    }

    /// Waits for the next attempt, longer each time. While nothing passes there is no time to lose: pauses are
    /// short, and a long one that began before ends.
    pub(super) async fn pause(&mut self, state: &Inner) {
        if !state.passes() {
            return self.short_pause().await;
        }
        let mut left = self.backoff.pause();
        while !left.is_zero() && state.passes() {
            let piece = left.min(RETRY);
            sleep(piece).await;
            left = left.saturating_sub(piece);
        }
    }

    /// Waits for the next attempt at something that worked a moment ago.
    pub(super) async fn short_pause(&self) {
        sleep(spread(RETRY)).await;
    }
}
