//! The log of what fails again and again.

use std::time::Duration;

use parking_lot::Mutex;

use crate::token_bucket::TokenBucket;

/// How many lines come at once, and how often one comes after that.
const BURST: u32 = 3;
const EVERY: Duration = Duration::from_secs(60);

/// Lets the first of many like lines through, then one a minute, with how many there were.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    bucket: TokenBucket,
    since: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self(Mutex::new(State {
            bucket: TokenBucket::full(BURST, EVERY),
            since: 0,
        }))
    }
}

impl LogLimit {
    /// It happened at this monotonic time. How often it has since the last line, this time included, if it is time for
    /// a line.
    pub(crate) fn happened(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock();
        state.since += 1;
        let admitted = state.bucket.take(now).is_ok();
        admitted.then(|| std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::LogLimit;
    use std::time::Duration;

    #[test]
    fn first_lines_pass_and_then_one_a_minute_with_the_number() {
        let limit = LogLimit::default();
        let at = |seconds| limit.happened(Duration::from_secs(seconds));
        assert_eq!([at(0), at(0), at(0)], [Some(1); 3]);
        assert_eq!([at(0), at(1), at(59)], [None; 3]);
        assert_eq!([at(60), at(61), at(120)], [Some(4), None, Some(2)]);
    }
}
