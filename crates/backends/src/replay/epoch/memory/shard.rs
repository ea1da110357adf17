//! What is added where the store is a cluster: each shard vouches for the slots that it has served all the time.
//!
//! A slot may come from a shard that has lost its marks, noticed or not, or come without its keys. So a value names the
//! slots that it covers, and the first mark in another one is a loss. That the server answered for this mark is the
//! proof that it serves the slot; what the cluster was last heard to say is none.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Moment;
use parking_lot::Mutex;

use super::{Known, Memory, Seen, birth};
use crate::replay::epoch::issue_times::IssueTimes;
use crate::replay::epoch::slots::Slots;
use crate::replay::epoch::value::Value;

/// How long gateways may disagree about which shard serves a slot. What is not right after that is put right.
const DISAGREEMENT: Duration = Duration::from_secs(5);

/// What a key that was never seen before can mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::replay::epoch) enum Beginning {
    /// Where it is missing and nothing is remembered, nothing was ever used.
    #[default]
    FirstUse,
    /// A loss where it is missing.
    InUse,
    /// It became the key of a shard while others vouched for its slots. A loss, unless its value was just born.
    Joined,
}

impl Memory {
    /// That of one shard, which serves these slots.
    pub(in crate::replay::epoch) fn of_shard(
        issued: Arc<Mutex<IssueTimes>>,
        slots: Slots,
        beginning: Beginning,
    ) -> Self {
        Self {
            issued,
            beginning,
            slots: Some(slots),
            ..Self::default()
        }
    }

    /// What is shared with the other shards.
    #[cfg(test)]
    pub(in crate::replay::epoch) fn issued(&self) -> Arc<Mutex<IssueTimes>> {
        Arc::clone(&self.issued)
    }

    /// What a missing key means from now on, if none was seen yet.
    pub(in crate::replay::epoch) fn begin(&mut self, beginning: Beginning) {
        self.beginning = beginning;
    }

    /// The shard serves these slots from now on. The marks of one that was elsewhere meanwhile may be gone, also when
    /// it comes back.
    pub(in crate::replay::epoch) fn serve(&mut self, slots: Slots) {
        if let Some(known) = &mut self.known {
            known.covered = known.covered.take().map(|covered| covered.and(&slots));
        }
        self.steady = self.steady.take().map(|steady| steady.and(&slots));
        self.slots = Some(slots);
    }

    /// Whether what is known holds for a mark in this slot, and needs no correction.
    pub(super) fn covers(&self, known: &Known, slot: Option<u16>, now: Moment) -> bool {
        let (Some(serves), Some(covered)) = (&self.slots, &known.covered) else {
            return self.slots.is_none();
        };
        known.value.slots.as_ref() == Some(covered)
            && (now.monotonic < known.since + DISAGREEMENT || covered.is_within(serves))
            && slot.is_none_or(|slot| covered.contains(slot))
    }

    /// The slots of this value whose marks it accounts for: none that was elsewhere since, because only another id adds
    /// slots. Of another gateway's id only what has lasted is corrected: it may have heard earlier of a slot that moved.
    pub(super) fn covered(&self, value: &Value, now: Moment) -> Option<Slots> {
        let serves = self.slots.as_ref()?;
        let written = value.slots.clone().unwrap_or_default();
        let is_own = self
            .proposed
            .as_ref()
            .is_some_and(|(text, _)| *text == value.text());
        let written = match &self.steady {
            Some(steady) if is_own => written.and(steady),
            Some(_) | None => written,
        };
        Some(match &self.known {
            None => written.and(serves),
            Some(known) if known.value.id != value.id => written,
            Some(known) => {
                let covered = known.covered.as_ref();
                let covered = covered.map_or_else(Slots::default, |covered| written.and(covered));
                match now.monotonic < known.since + DISAGREEMENT {
                    true => covered,
                    false => covered.and(serves),
                }
            }
        })
    }

    /// Whether this shard serves what it did not serve always: the shard before may have lost marks, or kept them.
    pub(super) fn took_over(&self, value: &Value, seen: &Seen, now: Moment) -> bool {
        let is_old = || value.birth.saturating_add(DISAGREEMENT.as_secs()) < birth(now.unix, 0);
        let joined = self.beginning == Beginning::Joined && self.known.is_none() && is_old();
        let slot = seen
            .slot
            .filter(|slot| self.slots.as_ref().is_some_and(|serves| serves.contains(*slot)));
        let covered = self.covered(value, now);
        joined || slot.is_some_and(|slot| covered.is_some_and(|covered| !covered.contains(slot)))
    }
}
