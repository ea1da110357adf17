//! Attempts that fail, one after the other: when the next one is due, and which of them the log hears of.

use std::time::Duration;

use admission::ports::Cause;
use tokio::time::sleep;

use super::state::Inner;
use crate::pause::{Backoff, spread};

/// The pause between two attempts while nothing passes.
const URGENT: Duration = Duration::from_millis(250);
/// The least time between two lines of the log about the same failure.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry {
    what: &'static str,
    backoff: Backoff,
    /// When the log last heard of it, in monotonic time, and how many failures it has not heard of since.
    said: Option<(Duration, u64)>,
}

impl Retry {
    /// Pauses grow from `first` to `max`, as long as requests pass all the same.
    pub(super) fn new(what: &'static str, first: Duration, max: Duration) -> Self {
        Self {
            what,
            backoff: Backoff::new(first, max),
            said: None,
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, cause: &Cause, now: Duration) {
        match &mut self.said {
            Some((last, unsaid)) if now.saturating_sub(*last) < SAID_EVERY => *unsaid += 1,
            said => {
                let before = said.map_or(0, |(_, unsaid)| unsaid);
                tracing::warn!(%cause, unsaid_failures = before, "{} failed", self.what);
                *said = Some((now, 0));
            }
        }
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.backoff.reset();
        if self.said.take().is_some() {
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
            let piece = left.min(URGENT);
            sleep(piece).await;
            left = left.saturating_sub(piece);
        }
    }

    /// Waits for the next attempt at something that worked a moment ago.
    pub(super) async fn short_pause(&self) {
        sleep(spread(URGENT)).await;
    }
}
