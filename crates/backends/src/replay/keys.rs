//! Where the keys of a store lie that are no marks.
//!
//! In a cluster each shard has its own, in a slot that it serves, and every gateway must choose the same one: the last of
//! a few fixed slots, because moves take the first slots of a shard first, or the last of all where it serves none of them.

use std::ops::RangeInclusive;

use crate::redis::{CONFIRM_KEY, slot_of};

/// The slots between two in which the keys of a shard can lie.
const STEP: u16 = 256;

/// The keys of the only server, or of a shard.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// What the server remembers of its own past.
    pub(super) epoch: String,
    /// A mark that is tried out.
    pub(super) probe: String,
    /// What replicas confirm.
    pub(super) confirm: String,
}

impl Keys {
    /// Those of the only server. The probe is the mark of a mandate without an id, which does not exist.
    pub(super) fn single() -> Self {
        Self {
            epoch: "caracal:gateway:replay-epoch".to_owned(),
            probe: "seen:jti:".to_owned(),
            confirm: CONFIRM_KEY.to_owned(),
        }
    }

    /// Those of the shard that serves this slot.
    pub(super) fn in_slot(slot: u16) -> Self {
        let mut tags = (0..u32::MAX).map(|number| number.to_string());
        let tag = tags.find(|tag| slot_of(tag.as_bytes()) == slot);
        let tag = tag.unwrap_or_default();
        let Self {
            epoch,
            probe,
            confirm,
        } = Self::single();
        Self {
            epoch: format!("{epoch}:{{{tag}}}"),
            probe: format!("{probe}{{{tag}}}"),
            confirm: format!("{confirm}:{{{tag}}}"),
        }
    }
}

/// The slot of the keys of a shard that serves these, ascending, slots; none where there are none.
pub(super) fn anchor(slots: &[RangeInclusive<u16>]) -> Option<u16> {
    let fixed = slots.iter().rev().find_map(|range| {
        let last = range.end() / STEP * STEP;
        range.contains(&last).then_some(last)
    });
    fixed.or_else(|| slots.last().map(|range| *range.end()))
}

#[cfg(test)]
mod tests {
    use super::{Keys, STEP, anchor};
    use crate::redis::{SLOTS, slot_of};

    #[test]
    fn keys_of_a_shard_lie_in_its_slot() {
        for slot in (0..SLOTS).step_by(usize::from(STEP)) {
            let Keys {
                epoch,
                probe,
                confirm,
            } = Keys::in_slot(slot);
            assert_eq!(
                [epoch, probe, confirm].map(|key| slot_of(key.as_bytes())),
                [slot; 3]
            );
        }
        let tags: Vec<_> = [0, 16_128].map(|slot| Keys::in_slot(slot).epoch).into();
        assert!(tags[0].starts_with("caracal:gateway:replay-epoch:{"), "{tags:?}");
        assert_ne!(tags[0], tags[1]);
    }

    #[test]
    fn anchor_is_the_last_fixed_slot_of_a_shard() {
        for (slots, expect) in [
            (vec![0..=5460], Some(5376)),
            (vec![0..=0], Some(0)),
            (vec![1..=255], Some(255)),
            (vec![5461..=5461], Some(5461)),
            (vec![1..=3, 5461..=5631], Some(5631)),
            (vec![1..=256], Some(256)),
            (vec![0..=100, 257..=300], Some(0)),
            (vec![0..=100, 256..=300, 400..=511], Some(256)),
            (vec![10_923..=16_383], Some(16_128)),
            (vec![], None),
        ] {
            assert_eq!(anchor(&slots), expect, "{slots:?}");
        }
    }
}
