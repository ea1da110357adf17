//! The budget for `kid`s that a fresh key set does not hold.

use std::collections::HashMap;
use std::time::Duration;

use crate::token_bucket::TokenBucket;

/// How many fetches may follow each other at once.
const BURST: u32 = 4;
/// How long it takes until one more may be made.
const REFILL: Duration = Duration::from_secs(2);
/// How long a `kid` that a fetch did not find is refused without another. Not longer, because
/// an STS may sign with a key a moment before all of its replicas publish it.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How many `kid`s are remembered as refused.
const MAX_KIDS: usize = 256;

/// What was asked for in vain. `kid`s are kept as keyed hashes: they come from tokens that nobody
/// verified, and may be long.
#[derive(Debug)]
pub(super) struct Unknown {
    /// For the fetches that they cause.
    pub(super) budget: TokenBucket,
    /// Not found, and until when that holds.
    refused: HashMap<u64, Duration>,
}

impl Unknown {
    pub(super) fn new() -> Self {
        Self {
            budget: TokenBucket::full(BURST, REFILL),
            refused: HashMap::new(),
        }
    }

    /// Whether a fetch that began after this `kid` was first seen did not find it.
    pub(super) fn is_refused(&self, kid: u64, now: Duration) -> bool {
        self.refused.get(&kid).is_some_and(|until| now < *until)
    }

    /// A fetch that looked for this `kid` did not find it.
    pub(super) fn refuse(&mut self, kid: u64, now: Duration) {
        if self.refused.len() >= MAX_KIDS {
            self.refused.retain(|_, until| now < *until);
        }
        if self.refused.len() >= MAX_KIDS {
            self.refused.clear();
        }
        self.refused.insert(kid, now + REFUSED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn unknown_kid_is_refused_for_a_while() {
        let mut unknown = Unknown::new();
        unknown.refuse(1, START);
        assert!(unknown.is_refused(1, START + REFUSED_FOR - Duration::from_nanos(1)));
        assert!(!unknown.is_refused(1, START + REFUSED_FOR));
        assert!(!unknown.is_refused(2, START));
    }

    #[test]
    fn unknown_kids_that_are_remembered_are_bounded() {
        let mut unknown = Unknown::new();
        for kid in 0..10_000 {
            unknown.refuse(kid, START);
            assert!(unknown.is_refused(kid, START) && unknown.refused.len() <= MAX_KIDS);
        }
    }
}
