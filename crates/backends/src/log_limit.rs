//! Warnings that would come again and again.

use std::time::Duration;

use crate::token_bucket::TokenBucket;

/// How many come at once, and how often one comes after that.
const BURST: u32 = 3;
const EVERY: Duration = Duration::from_secs(60);

/// Lets the first warnings through and then one a minute.
#[derive(Debug)]
pub(crate) struct LogLimit {
    bucket: TokenBucket,
    unsaid: u64,
}

impl LogLimit {
    pub(crate) fn new() -> Self {
        Self {
            bucket: TokenBucket::full(BURST, EVERY),
            unsaid: 0,
        }
    }

    /// Whether to say it at this monotonic time, and then how many were not said before it.
    pub(crate) fn admits(&mut self, now: Duration) -> Option<u64> {
        if self.bucket.take(now).is_ok() {
            return Some(std::mem::take(&mut self.unsaid));
        }
        self.unsaid += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::LogLimit;
    use std::time::Duration;

    #[test]
    fn log_limit_admits_the_first_and_then_one_a_minute_with_a_count() {
        let mut limit = LogLimit::new();
        let mut at = |second| limit.admits(Duration::from_secs(second));
        assert_eq!([at(0), at(0), at(0)], [Some(0); 3]);
        assert_eq!([at(0), at(1), at(59)], [None; 3]);
        assert_eq!([at(60), at(61), at(120)], [Some(3), None, Some(1)]);
    }
}
