//! The budget for `kid`s that a fresh key set does not hold.

use std::collections::HashMap;
use std::time::Duration;

/// Fetches that may follow each other at once.
const BURST: u32 = 4;
/// How long it takes until one more may be made.
const REFILL: Duration = Duration::from_secs(2);
/// How long a `kid` that a fetch did not find is refused without another. Not longer, because
/// an STS may sign with a key a moment before all of its replicas publish it.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Most `kid`s that one fetch can be made for, and most that are remembered as refused.
const MOST: usize = 256;

/// What was asked for in vain. `kid`s are kept as keyed hashes: they come from tokens that nobody
/// verified, and may be long.
#[derive(Debug)]
pub(super) struct Unknown {
    tokens: u32,
    refilled: Duration,
    /// Asked for since the last fetch began.
    asking: Vec<u64>,
    /// Asked for before the fetch under way began.
    asked: Vec<u64>,
    /// Not found, and until when that holds.
    refused: HashMap<u64, Duration>,
}

impl Unknown {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            tokens: BURST,
            refilled: now,
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
        if self.asking.len() < MOST && !self.asking.contains(&kid) {
            self.asking.push(kid);
        }
    }

    /// Takes one fetch out of the budget, or says how long until there is one.
    pub(super) fn spend(&mut self, now: Duration) -> Result<(), Duration> {
        while self.tokens < BURST && now.saturating_sub(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
        if self.tokens == 0 {
            return Err(REFILL.saturating_sub(now.saturating_sub(self.refilled)));
        }
        self.tokens -= 1;
        Ok(())
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self) {
        self.asked.append(&mut self.asking);
        self.asked.truncate(MOST);
    }

    /// A fetch brought keys: what was asked for before it began and is still not among them does
    /// not exist.
    pub(super) fn settle(&mut self, now: Duration) {
        let asked = std::mem::take(&mut self.asked);
        self.refused.retain(|_, until| now < *until);
        if self.refused.len() + asked.len() > MOST {
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
    fn unknown_kids_spend_a_burst_and_then_one_fetch_per_refill() {
        let mut unknown = Unknown::new(START);
        for _ in 0..BURST {
            assert_eq!(unknown.spend(START), Ok(()));
        }
        assert_eq!(unknown.spend(START), Err(REFILL));
        let half = START + REFILL / 2;
        assert_eq!(unknown.spend(half), Err(REFILL / 2));
        assert_eq!(unknown.spend(START + REFILL), Ok(()));
        assert_eq!(unknown.spend(START + REFILL), Err(REFILL));
        let later = START + REFILL * 1000;
        for _ in 0..BURST {
            assert_eq!(unknown.spend(later), Ok(()), "never more than a burst");
        }
        assert!(unknown.spend(later).is_err());
    }

    #[test]
    fn unknown_kid_is_refused_only_by_a_fetch_that_began_after_it_was_seen() {
        let mut unknown = Unknown::new(START);
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
        let mut unknown = Unknown::new(START);
        for round in 0..10 {
            for kid in 0..1000 {
                unknown.ask(round * 1000 + kid);
            }
            unknown.begin();
            unknown.begin();
            unknown.settle(START);
            assert!(unknown.refused.len() <= MOST);
            assert!(unknown.asking.capacity() <= 2 * MOST && unknown.asked.capacity() <= 2 * MOST);
        }
    }
}
