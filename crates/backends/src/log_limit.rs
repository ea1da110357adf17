//! The log of what fails again and again.

use std::time::Duration;

use parking_lot::Mutex;

/// The shortest time between two lines.
const EVERY: Duration = Duration::from_secs(60);

/// Lets the first of many equal lines through, then one a minute, with how many there were.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    written: Option<Duration>,
    since: u64,
}

impl LogLimit {
    /// It happened at this monotonic time. How often it has since the last line, this time included, if it is time for
    /// a line.
    pub(crate) fn happened(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock();
        state.since += 1;
        if state
            .written
            .is_some_and(|written| now.saturating_sub(written) < EVERY)
        {
            return None;
        }
        state.written = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::LogLimit;
    use std::time::Duration;

    #[test]
    fn first_line_passes_and_then_one_a_minute_with_the_number() {
        let limit = LogLimit::default();
        let at = |seconds| limit.happened(Duration::from_secs(seconds));
        assert_eq!([at(5), at(5), at(30), at(64)], [Some(1), None, None, None]);
        assert_eq!([at(65), at(66), at(1000)], [Some(4), None, Some(2)]);
    }
}
