//! What one gateway knows of the store's memory, and what follows from an answer of the store.
//!
//! Without a socket and without a clock, so that the model in the tests can drive it through every interleaving.

mod shard;

use std::sync::Arc;
use std::time::Duration;

use admission::limits::Limits;
use admission::ports::Moment;
use parking_lot::Mutex;

use super::issue_times::IssueTimes;
use super::slots::Slots;
use super::value::{History, MAX_LEAD, Name, Value};
use shard::Away;
pub(super) use shard::Beginning;

/// Seconds that a birth lies ahead of the moment at which the loss was noticed, beside the lead: as far as the clocks of
/// two gateways may differ.
pub(super) const MARGIN: u64 = 2;
/// Seconds by which another gateway's clock may be ahead, and the births that it chose still hold after another loss. One
/// further ahead would refuse every mandate, and hand that on to each epoch after it.
const MAX_CLOCK_LEAD: u64 = 60;
/// How long nothing passes after a loss that was not known: meanwhile every gateway has looked at the store, and has
/// moved the birth behind what it let pass.
pub(super) const SETTLING: Duration = Duration::from_secs(MARGIN);

/// A loss of the store's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    at: u64,
}

impl Loss {
    /// Mandates issued up to this Unix second are refused: that of the loss and the margin for clocks.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.at
    }

    /// Whether the mark of this mandate may be among those that were lost. `iat` is in whole seconds, rounded down, so
    /// that the second of the loss counts as before it.
    fn forgets(self, issued_at: Option<i64>) -> bool {
        issued_at
            .and_then(|issued| u64::try_from(issued).ok())
            .is_none_or(|issued| issued <= self.at)
    }

    /// Whether a mandate from before it can still be valid.
    fn matters(self, now: Duration) -> bool {
        let longest = Limits::MAX_MANDATE_LIFE.as_secs() + 60;
        now.as_secs() <= self.at.saturating_add(longest)
    }
}

/// What one answer of the store shows, beside what was asked.
#[derive(Clone, Debug)]
pub(in crate::replay) struct Seen {
    /// The value of the key.
    pub(super) text: Option<String>,
    /// Whose answer it is; a part that could not be learnt is empty.
    pub(super) history: History,
    /// The connection over which it came.
    pub(super) link: u64,
    /// In a cluster, the slot of a mark for which the same server answered.
    pub(super) slot: Option<u16>,
}

/// What follows for one mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replay) enum Standing {
    /// The store had its whole memory when it answered.
    Vouched,
    /// The mark of this mandate may be among those that were lost.
    Forgotten(Loss),
    /// The answer comes from a memory that is to be judged first.
    Unjudged,
}

/// What to do about the value that the store holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is known now. With the loss that it tells of, if that is news.
    Keep(Option<Loss>),
    /// Replace it by this one, if it is still the same, and look again.
    Write(String),
}

#[derive(Debug)]
struct Known {
    text: String,
    value: Value,
    /// The replication id that was seen with it.
    replication: String,
    link: u64,
    /// Monotonic time until which nothing passes.
    unsettled: Duration,
    /// Monotonic time at which it was seen first.
    since: Duration,
}

/// What one gateway knows of a store, or of one shard of it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: Option<Known>,
    /// What an earlier process saw last.
    recalled: Option<Name>,
    issued: Arc<Mutex<IssueTimes>>,
    beginning: Beginning,
    /// The slots that the server serves; none where there is no cluster.
    slots: Option<Slots>,
    /// What was written last, and over which connection the answer came that it follows from.
    proposed: Option<(String, u64)>,
    /// Of a shard, the slots that were elsewhere.
    away: Away,
    /// Monotonic time at which mandates can pass for the first time, once a value was judged.
    started: Duration,
}

impl Memory {
    fn lead(&self) -> u64 {
        self.issued.lock().both().1
    }

    /// The loss from which the known memory began.
    pub(super) fn loss(&self) -> Option<Loss> {
        self.known.as_ref().and_then(|known| known.value.loss())
    }

    /// Whether a value of the store was ever judged.
    pub(super) fn is_blank(&self) -> bool {
        self.known.is_none()
    }

    /// Whether nothing is known but what an earlier process may have written down.
    pub(super) fn has_to_recall(&self) -> bool {
        self.is_blank() && self.beginning != Beginning::Joined
    }

    /// Whether the first judgement is so new that nothing passes yet.
    pub(super) fn is_starting(&self, now: Moment) -> bool {
        now.monotonic < self.started
    }

    /// What an earlier process wrote down.
    pub(super) fn recall(&mut self, name: Option<Name>) {
        self.issued
            .lock()
            .learn(name.as_ref().map_or(0, |name| name.lead));
        if let Some(name) = &name {
            self.away.recall(&name.away);
        }
        self.recalled = name;
    }

    /// What to write down for a later process.
    pub(super) fn note(&self) -> Option<String> {
        let known = self.known.as_ref().map(|known| known.value.note());
        match &self.slots {
            None => known,
            // What left before anything was judged must not be forgotten either.
            Some(_) => {
                let note = known.or_else(|| Some(self.recalled.as_ref()?.bare()))?;
                Some(self.away.noted(&note))
            }
        }
    }

    /// A mandate may be let pass: before its mark is sent, so that no later judgement overlooks it.
    pub(super) fn expect(&self, issued_at: Option<i64>, now: Duration) {
        self.issued.lock().expect(issued_at, now);
    }

    /// Whether the mark that came with this answer counts. A mark counts only under a memory that was judged, in the
    /// same answer.
    pub(super) fn standing(&self, issued_at: Option<i64>, seen: &Seen, now: Moment) -> Standing {
        let judged = self.known.as_ref().filter(|known| {
            seen.text.as_ref() == Some(&known.text)
                && seen.link == known.link
                && seen.history.replication == known.replication
                // Others learn of the lead before the first mandate that has it can pass.
                && self.lead() <= known.value.lead
                && self.covers(known, seen.slot, now)
        });
        let Some(known) = judged else {
            return Standing::Unjudged;
        };
        match known.value.loss() {
            Some(loss) if known.is_unsettled(now) => Standing::Forgotten(loss),
            Some(loss) if loss.matters(now.unix) && loss.forgets(issued_at) => Standing::Forgotten(loss),
            Some(_) | None => Standing::Vouched,
        }
    }

    /// Judges the value that the store holds; `fresh` is the id of a new one.
    pub(super) fn judge(&mut self, seen: &Seen, fresh: &str, now: Moment) -> Verdict {
        let stored = seen.text.as_deref().and_then(Value::parse);
        let next = match &stored {
            None if seen.text.is_none() && self.is_first_use() => Some(Value {
                id: fresh.to_owned(),
                birth: 0,
                lead: self.lead(),
                history: seen.history.clone(),
                slots: self.slots.clone(),
            }),
            Some(value) if !self.lost(value, seen, now) => self.amended(value, seen, now),
            Some(_) | None => Some(self.reborn(stored.as_ref(), seen, fresh, now.unix)),
        };
        if next.as_ref().is_some_and(|next| next.id == fresh) {
            self.away.bear(fresh);
        }
        match (next, stored, &seen.text) {
            (None, Some(value), Some(text)) => Verdict::Keep(self.adopt(text, value, seen, now)),
            (next, ..) => {
                let text = next.map(|value| value.text()).unwrap_or_default();
                self.proposed = Some((text.clone(), seen.link));
                Verdict::Write(text)
            }
        }
    }

    fn is_first_use(&self) -> bool {
        self.last_id().is_none() && self.beginning == Beginning::FirstUse
    }

    /// The id that was last seen, by this process or an earlier one.
    fn last_id(&self) -> Option<&str> {
        let known = self.known.as_ref().map(|known| &known.value.id);
        let recalled = self.recalled.as_ref().map(|name| &name.id);
        known.or(recalled).map(String::as_str)
    }

    /// The birth that was last seen; 0 if none was that can be right.
    fn last_birth(&self, now: Duration) -> u64 {
        let known = self.known.as_ref().map(|known| known.value.birth);
        let recalled = || self.recalled.as_ref().map(Name::birth);
        credible(known.or_else(recalled).unwrap_or_default(), now)
    }

    /// Whether it is another id than the last one. Between the two lies a loss.
    fn is_news(&self, value: &Value) -> bool {
        self.last_id().is_some_and(|id| id != value.id)
    }

    /// Whether marks may be gone that no value of the key accounts for.
    fn lost(&self, value: &Value, seen: &Seen, moment: Moment) -> bool {
        let now = moment.unix;
        let elsewhere = match seen.history.is_told() {
            true => !value.history.may_be(&seen.history),
            false => {
                let over_this_link = self.known.as_ref().is_some_and(|known| known.link == seen.link)
                    || self
                        .proposed
                        .as_ref()
                        .is_some_and(|(text, link)| Some(text) == seen.text.as_ref() && *link == seen.link);
                // Nothing tells the server of a new connection from another one, or from its former self.
                // Where another gateway has just said so, once is enough.
                !over_this_link && value.birth < birth(now, self.lead().max(value.lead))
            }
        };
        let older = match self.is_news(value) {
            // An older snapshot, or a primary that was left and is back. Or another gateway, which remembered nothing,
            // took a forgetful store for a new one: the birth is 0 then.
            true => value.birth <= self.last_birth(now),
            false => value.birth < self.last_birth(now),
        };
        let forgot_lead = self
            .known
            .as_ref()
            .is_some_and(|Known { value: known, .. }| known.id == value.id && value.lead < known.lead);
        elsewhere || older || forgot_lead || self.took_over(value, seen, moment)
    }

    /// What must be added to a value that is right otherwise.
    fn amended(&self, value: &Value, seen: &Seen, now: Moment) -> Option<Value> {
        let mut better = value.clone();
        let (newest, lead) = self.issued.lock().both();
        if self.slots.is_some() {
            better.slots = self.covered(value, now);
        }
        better.lead = value.lead.max(lead);
        if value.birth > 0 {
            // Whoever noticed the loss did not know this lead.
            better.birth = value.birth.saturating_add(better.lead - value.lead);
        }
        if self.is_news(value) {
            // Or has a clock that is behind.
            better.birth = better.birth.max(newest);
        }
        if seen.history.is_told() {
            better.history = seen.history.clone();
        }
        (better != *value).then_some(better)
    }

    /// A new value, from this moment on. Of two values the one with the later birth is the later one.
    fn reborn(&self, stored: Option<&Value>, seen: &Seen, fresh: &str, now: Duration) -> Value {
        let known = self.known.as_ref().map(|known| &known.value);
        let before = [stored, known].into_iter().flatten();
        let (newest, lead) = self.issued.lock().both();
        let lead = before.map(|value| value.lead).fold(lead, u64::max);
        let birth = birth(now, lead);
        let stored = stored.map_or(0, |value| credible(value.birth, now));
        let last = stored.max(self.last_birth(now));
        Value {
            id: fresh.to_owned(),
            birth: birth.max(newest).max(last.saturating_add(1)),
            lead,
            history: seen.history.clone(),
            slots: self.slots.clone(),
        }
    }

    fn adopt(&mut self, text: &str, value: Value, seen: &Seen, now: Moment) -> Option<Loss> {
        let known = self.known.as_ref();
        let same = self.last_id() == Some(value.id.as_str());
        let loss = value.loss();
        // By this clock nobody can tell how long ago the loss was noticed.
        let unsettled = match known {
            Some(known) if same => known.unsettled,
            _ if loss.is_some_and(|loss| loss.matters(now.unix)) => now.monotonic + SETTLING,
            _ => Duration::ZERO,
        };
        if known.is_none() && self.beginning != Beginning::Joined {
            self.started = unsettled;
        }
        self.issued.lock().learn(value.lead);
        let since = known.filter(|_| same).map(|known| known.since);
        let known = Known {
            text: text.to_owned(),
            since: since.unwrap_or(now.monotonic),
            value,
            replication: seen.history.replication.clone(),
            link: seen.link,
            unsettled,
        };
        self.known = Some(known);
        self.looked(now);
        loss.filter(|_| !same)
    }
}

impl Known {
    /// Whether nothing passes yet after the loss from which it began.
    fn is_unsettled(&self, now: Moment) -> bool {
        now.monotonic < self.unsettled
    }
}

/// 0 for a birth that only a wrong clock can have chosen.
fn credible(birth: u64, now: Duration) -> u64 {
    let latest = self::birth(now, MAX_LEAD) + MAX_CLOCK_LEAD;
    if birth > latest { 0 } else { birth }
}

/// That of a loss which is noticed now.
fn birth(now: Duration, lead: u64) -> u64 {
    now.as_secs() + MARGIN + lead
}

impl Value {
    fn loss(&self) -> Option<Loss> {
        (self.birth > 0).then_some(Loss { at: self.birth })
    }
}

impl History {
    /// Whether the server said whose memory it has.
    pub(super) fn is_told(&self) -> bool {
        !self.run.is_empty() && !self.replication.is_empty()
    }

    /// Whether this is the history that the server tells of, as far as it was written down: an earlier build knew the
    /// run id alone.
    fn may_be(&self, told: &Self) -> bool {
        self.run == told.run && (self.replication == told.replication || self.replication.is_empty())
    }
}

#[cfg(test)]
mod tests;
