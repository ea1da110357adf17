//! What is added where the store is a cluster: each shard vouches for the slots that it has served all the time.
//!
//! A slot may come from a shard that has lost its marks, noticed or not, or come without its keys. So a value names the
//! slots that it covers, and the first mark in another one is a loss. That the server answered for this mark is the
//! proof that it serves the slot; what the cluster was last heard to say is none.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Moment;
use parking_lot::Mutex;

use super::{Known, Memory, Seen, Standing, birth};
use crate::replay::epoch::issue_times::IssueTimes;
use crate::replay::epoch::slots::Slots;
use crate::replay::epoch::value::{Value, with_away};

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
            away: Away::all_but(&slots),
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
        let before = self.slots.replace(slots.clone()).unwrap_or_default();
        self.away.leave(&before.without(&slots));
    }

    /// Whether this answer comes from the memory that was judged. To be asked with every look at the server, because it
    /// also shows that nobody writes any more what he believed before a slot left.
    pub(in crate::replay::epoch) fn is_judged(&mut self, seen: &Seen, now: Moment) -> bool {
        let judged = self.standing(None, seen, now) != Standing::Unjudged;
        if judged {
            self.looked(now);
        }
        judged
    }

    /// The server was seen to hold what is known.
    pub(super) fn looked(&mut self, now: Moment) {
        if let Some(serves) = &self.slots {
            self.away.looked(serves, now.monotonic);
        }
    }

    /// Whether what is known holds for a mark in this slot, and needs no correction.
    pub(super) fn covers(&self, known: &Known, slot: Option<u16>, now: Moment) -> bool {
        let (Some(serves), Some(written)) = (&self.slots, &known.value.slots) else {
            return self.slots.is_none();
        };
        written.is_apart_from(self.away.since(&known.value.id))
            && (now.monotonic < known.since + DISAGREEMENT || written.is_within(serves))
            // Nothing passes yet, and births must not run ahead of the clock: what arrives until then is taken in later.
            && (known.is_unsettled(now) || slot.is_none_or(|slot| written.contains(slot)))
    }

    /// The slots of this value whose marks it accounts for: none that was elsewhere since, because only another id adds
    /// slots. Of another gateway's id only what has lasted is corrected: it may have heard earlier of a slot that moved.
    pub(super) fn covered(&self, value: &Value, now: Moment) -> Option<Slots> {
        let serves = self.slots.as_ref()?;
        let written = value.slots.clone().unwrap_or_default();
        let written = written.without(self.away.since(&value.id));
        Some(match &self.known {
            None => written.and(serves),
            Some(known) if known.value.id != value.id => written,
            Some(known) => {
                let covered = written.and(known.value.slots.as_ref().unwrap_or(&Slots::default()));
                match now.monotonic < known.since + DISAGREEMENT {
                    true => covered,
                    false => covered.and(serves),
                }
            }
        })
    }

    /// Whether this shard serves what it did not serve always: the shard before may have lost marks, or kept them.
    pub(super) fn took_over(&self, value: &Value, seen: &Seen, now: Moment) -> bool {
        let is_old = || value.birth.saturating_add(DISAGREEMENT.as_secs()) < birth(now.unix, value.lead);
        let joined = self.beginning == Beginning::Joined && self.known.is_none() && is_old();
        let is_settled = |known: &Known| known.value.id == value.id && !known.is_unsettled(now);
        let slot = seen
            .slot
            .filter(|slot| self.slots.as_ref().is_some_and(|serves| serves.contains(*slot)))
            .filter(|_| self.known.as_ref().is_some_and(is_settled));
        let covered = || self.covered(value, now);
        joined || slot.is_some_and(|slot| covered().is_some_and(|covered| !covered.contains(slot)))
    }
}

/// The slots that were elsewhere, so that a value may name them that was born before.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// Those of which that may be so yet.
    slots: Slots,
    /// Monotonic time of the first look at the server since the last of them left.
    looked: Option<Duration>,
    /// The last value that was born here, and what left since.
    born: Option<(String, Slots)>,
}

impl Away {
    /// What a shard does not serve when it is seen first.
    fn all_but(slots: &Slots) -> Self {
        Self {
            slots: Slots::all().without(slots),
            ..Self::default()
        }
    }

    /// These slots are elsewhere now.
    fn leave(&mut self, left: &Slots) {
        if *left != Slots::default() {
            self.slots = std::mem::take(&mut self.slots).or(left);
            self.looked = None;
            let born = self.born.take();
            self.born = born.map(|(id, slots)| (id, slots.or(left)));
        }
    }

    /// These left before this process began.
    pub(super) fn recall(&mut self, slots: &Slots) {
        self.slots = std::mem::take(&mut self.slots).or(slots);
    }

    /// A value is born here that names what the shard serves now.
    pub(super) fn bear(&mut self, id: &str) {
        self.born = Some((id.to_owned(), Slots::default()));
    }

    /// Those that a value with this id must not name.
    fn since(&self, id: &str) -> &Slots {
        match &self.born {
            Some((own, slots)) if own == id => slots,
            Some(_) | None => &self.slots,
        }
    }

    /// The server holds a value that names none of them. Whoever names one of those that are back has heard of that, and
    /// so has, after a while, who names any.
    fn looked(&mut self, serves: &Slots, now: Duration) {
        let first = *self.looked.get_or_insert(now);
        let slots = std::mem::take(&mut self.slots);
        if now < first + DISAGREEMENT {
            self.slots = slots.without(serves);
        }
    }

    /// A note, with them.
    pub(super) fn noted(&self, note: &str) -> String {
        with_away(note, &self.slots)
    }
}
