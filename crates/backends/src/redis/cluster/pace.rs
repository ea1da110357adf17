//! How soon a node is asked again.

use std::time::Duration;

use crate::pause::Backoff;

/// How often a node is asked without a reason.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two questions to a node.
const ASK_PAUSE: Duration = Duration::from_millis(100);

/// The least time between questions to a node. While a shard is down every attempt to reach it is a doubt; so those of which
/// nothing comes are heard ever later, and at last as often as without them.
pub(super) struct Pace(Backoff);

impl Default for Pace {
    fn default() -> Self {
        Self(Backoff::new(ASK_PAUSE, ASK_EVERY))
    }
}

impl Pace {
    /// The least time after a question that was asked for a doubt, or not, and since which slots have moved, or not.
    pub(super) fn pause_after(&mut self, doubt: bool, news: bool) -> Duration {
        if news || !doubt {
            self.0.reset();
        }
        self.0.pause()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Pace};

    #[test]
    fn doubts_of_which_nothing_comes_are_heard_ever_later() {
        let mut pace = Pace::default();
        let mut expect = |doubt, news, milliseconds| {
            let pause = pace.pause_after(doubt, news);
            let exact = Duration::from_millis(milliseconds);
            // Up to a fifth shorter or longer.
            let near = exact.mul_f64(0.79)..exact.mul_f64(1.21);
            assert!(near.contains(&pause), "{pause:?} {exact:?}");
        };
        for milliseconds in [100, 200, 400, 800, 1000, 1000] {
            expect(true, false, milliseconds);
        }
        expect(true, true, 100);
        expect(true, false, 200);
        expect(false, false, 100);
        expect(false, false, 100);
        expect(true, false, 200);
    }
}
