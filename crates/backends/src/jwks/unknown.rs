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
/// How many `kid`s one fetch can be made for, and how many are remembered as refused.
const MAX_KIDS: usize = 256;

/// What was asked for in vain. `kid`s are kept as keyed hashes: they come from tokens that nobody
/// verified, and may be long.
#[derive(Debug)]
pub(super) struct Unknown {
    /// For the fetches that they cause.
    pub(super) budget: TokenBucket,
    /// Asked for since the last fetch began.
    asking: Vec<u64>,
    /// Asked for before the fetch under way began.
    asked: Vec<u64>,
    /// Not found, and until when that holds.
    refused: HashMap<u64, Duration>,
}

impl Unknown {
    pub(super) fn new() -> Self {
        Self {
            budget: TokenBucket::full(BURST, REFILL),
            asking: Vec::new(),
            asked: Vec::new(),
            refused: HashMap::new(),
        }
    }

    /// Whether a fetch that began after this `kid` was first seen did not find it.
    pub(super) fn is_refused(&self, kid: u64, now: Duration) -> bool {
        self.refused.get(&kid).is_some_and(|until| now < *until)
    }

    /// Notes that the next fetch is for this `kid`, too.
    pub(super) fn ask(&mut self, kid: u64) {
        if self.asking.len() < MAX_KIDS && !self.asking.contains(&kid) {
            self.asking.push(kid);
        }
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self) {
        self.asked.append(&mut self.asking);
        self.asked.truncate(MAX_KIDS);
    }

    /// A fetch brought keys: what was asked for before it began and is still not among them does
    /// not exist.
    pub(super) fn settle(&mut self, now: Duration) {
        let asked = std::mem::take(&mut self.asked);
        self.refused.retain(|_, until| now < *until);
        if self.refused.len() + asked.len() > MAX_KIDS {
            self.refused.clear();
        }
        let until = now + REFUSED_FOR;
        self.refused.extend(asked.into_iter().map(|kid| (kid, until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn unknown_kid_is_refused_only_by_a_fetch_that_began_after_it_was_seen() {
        let mut unknown = Unknown::new();
        unknown.ask(1);
        unknown.begin();
        unknown.ask(2);
        unknown.settle(START);
        assert!(unknown.is_refused(1, START));
        assert!(!unknown.is_refused(2, START));
        unknown.begin();
        unknown.settle(START);
        assert!(unknown.is_refused(2, START));
        assert!(!unknown.is_refused(2, START + REFUSED_FOR));
    }

    #[test]
    fn unknown_kids_that_are_remembered_are_bounded() {
        let mut unknown = Unknown::new();
        for round in 0..10 {
            for kid in 0..1000 {
                unknown.ask(round * 1000 + kid);
            }
            unknown.begin();
            unknown.begin();
            unknown.settle(START);
            assert!(unknown.refused.len() <= MAX_KIDS);
            assert!(unknown.asking.capacity() <= 2 * MAX_KIDS && unknown.asked.capacity() <= 2 * MAX_KIDS);
        }
    }
}
