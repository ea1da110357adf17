//! Whether a cluster is used for the first time: no shard of it has an epoch.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use super::memory::{Beginning, SETTLING};

/// What the shards of a cluster showed when they were read first.
pub(in crate::replay) struct FirstUse(Mutex<State>);

enum State {
    /// These shards were not read yet; of the others none has an epoch.
    Unread(BTreeSet<u16>),
    /// None had one. Monotonic time until which that counts.
    None(Duration),
    /// At least one has. Monotonic time until which another gateway may be about to write those that are missing.
    Some(Duration),
    /// The store is in use.
    Over,
}

impl FirstUse {
    /// Of a cluster whose shards have their keys in these slots.
    pub(in crate::replay) fn of(anchors: BTreeSet<u16>) -> Self {
        Self(Mutex::new(State::Unread(anchors)))
    }

    /// An epoch is remembered, or the cluster has other shards by now.
    pub(in crate::replay) fn is_over(&self) {
        *self.0.lock() = State::Over;
    }

    /// What the key of a shard means that was looked at first; none as long as that is not certain.
    pub(super) fn saw(&self, anchor: u16, is_there: bool, now: Duration) -> Option<Beginning> {
        let mut state = self.0.lock();
        if let State::Unread(anchors) = &mut *state {
            anchors.remove(&anchor);
            if is_there {
                *state = State::Some(now + SETTLING);
            } else if anchors.is_empty() {
                *state = State::None(now + SETTLING);
            }
        }
        match *state {
            State::None(until) if now < until => Some(Beginning::FirstUse),
            State::Unread(_) => None,
            State::Some(until) if !is_there && now < until => None,
            State::None(_) | State::Some(_) | State::Over => Some(Beginning::InUse),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Beginning, FirstUse};

    const NOW: Duration = Duration::from_secs(100);

    fn two() -> FirstUse {
        FirstUse::of([0, 256].into())
    }

    #[test]
    fn first_use_is_one_of_all_shards() {
        let first = two();
        assert_eq!(first.saw(0, false, NOW), None);
        assert_eq!(first.saw(0, false, NOW), None);
        assert_eq!(first.saw(256, false, NOW), Some(Beginning::FirstUse));
        assert_eq!(first.saw(0, false, NOW), Some(Beginning::FirstUse));
        assert_eq!(
            first.saw(0, true, NOW),
            Some(Beginning::FirstUse),
            "another gateway began, too"
        );
        let later = NOW + Duration::from_secs(2);
        assert_eq!(
            first.saw(0, false, later),
            Some(Beginning::InUse),
            "others have begun since"
        );
    }

    #[test]
    fn shard_with_an_epoch_or_a_memory_of_one_means_that_the_others_lost_theirs() {
        let first = two();
        assert_eq!(first.saw(0, false, NOW), None);
        assert_eq!(first.saw(256, true, NOW), Some(Beginning::InUse));
        assert_eq!(
            first.saw(0, false, NOW),
            None,
            "another gateway may be about to write it"
        );
        assert_eq!(first.saw(0, true, NOW), Some(Beginning::InUse), "it has");
        let later = NOW + Duration::from_secs(2);
        assert_eq!(first.saw(0, false, later), Some(Beginning::InUse), "nobody does");
        let remembered = two();
        remembered.is_over();
        assert_eq!(remembered.saw(0, false, NOW), Some(Beginning::InUse));
    }
}
