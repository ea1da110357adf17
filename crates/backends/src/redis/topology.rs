//! Which primary of a cluster serves which slots.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::dialer::Host;
use super::primary::Primary;
use super::slots::SLOTS;
use super::view::{Node, View};

/// Who serves the slots of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    shards: Vec<Shard>,
    /// For each slot the place of its shard.
    places: Vec<Option<usize>>,
}

/// A primary, and the slots that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard(Node);

impl Shard {
    /// Host name or address, and port.
    pub fn address(&self) -> (&str, u16) {
        (&self.0.primary.host, self.0.primary.port)
    }

    /// The slots that it serves, ascending, and at least one.
    pub fn slots(&self) -> &[RangeInclusive<u16>] {
        &self.0.slots
    }

    pub(super) fn primary(&self) -> &Primary {
        &self.0.primary
    }
}

impl Topology {
    /// The shards, by their lowest slot. None at all until the nodes have been asked.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard that serves this slot.
    pub fn shard_of(&self, slot: u16) -> Option<&Shard> {
        let place = self.places.get(usize::from(slot)).copied().flatten()?;
        self.shards.get(place)
    }

    /// Where the primaries are.
    pub(super) fn addresses(&self) -> Vec<(&str, u16)> {
        self.shards.iter().map(Shard::address).collect()
    }

    /// Whether a primary of this id is there.
    pub(super) fn names(&self, id: &str, host: &Host) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.0.id == id && shard.0.primary.address() == *host)
    }

    /// What follows from what the nodes say that answer, of all that are known.
    ///
    /// As among the nodes themselves, a slot is served by whoever claims it with the highest configuration epoch. Of a
    /// node that answers only its own word counts; of others what is said of them, and also what was known before: a node
    /// that was cut off does not lead back. That holds until more than half of the nodes say otherwise, because then the
    /// cluster was set up anew, or the server taken out of it; and for those of these ids alone, because the others were
    /// forgotten.
    pub(super) fn after(&self, views: &[&View], known: usize, is_remembered: impl Fn(&str) -> bool) -> Self {
        let answering: BTreeSet<&str> = views.iter().map(|view| view.myself.as_str()).collect();
        let known_before = self.shards.iter().map(|shard| &shard.0);
        let before: Vec<&Node> = known_before
            .filter(|node| !answering.contains(node.id.as_str()) && is_remembered(&node.id))
            .collect();
        let mut claims = Claims::new();
        for view in views {
            for node in &view.nodes {
                let own = node.id == view.myself;
                if own || !answering.contains(node.id.as_str()) {
                    let rank = if own { Rank::Own } else { Rank::Said };
                    claims.claim(node, rank, |_| true);
                }
            }
        }
        if !before.is_empty() {
            let upheld = self.upheld(views, known);
            for node in before {
                claims.claim(node, Rank::Before, |slot| upheld[usize::from(slot)]);
            }
        }
        claims.topology()
    }

    /// For each slot whether what was known of it still counts.
    fn upheld(&self, views: &[&View], known: usize) -> Vec<bool> {
        let mut confirming = vec![0; usize::from(SLOTS)];
        for node in views.iter().flat_map(|view| &view.nodes) {
            for slot in node.slots.iter().cloned().flatten() {
                if self.shard_of(slot).is_some_and(|shard| shard.0.id == node.id) {
                    confirming[usize::from(slot)] += 1;
                }
            }
        }
        let against = |confirming: usize| views.len().saturating_sub(confirming);
        confirming
            .into_iter()
            .map(|confirming| against(confirming) <= known / 2)
            .collect()
    }
}

/// On whose word a claim rests; the later the better, at the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Said,
    Before,
    Own,
}

/// A claim's standing, and the id of whom it is about.
type Claim<'a> = (u64, Rank, &'a str);

struct Claims<'a> {
    slots: Vec<Option<Claim<'a>>>,
    /// What is known best of each primary.
    primaries: BTreeMap<&'a str, (Rank, &'a Primary)>,
}

impl<'a> Claims<'a> {
    fn new() -> Self {
        Self {
            slots: vec![None; usize::from(SLOTS)],
            primaries: BTreeMap::new(),
        }
    }

    fn claim(&mut self, node: &'a Node, rank: Rank, counts: impl Fn(u16) -> bool) {
        let (id, epoch) = (node.id.as_str(), node.primary.epoch);
        let mut counted = false;
        for slot in node.slots.iter().cloned().flatten().filter(|slot| counts(*slot)) {
            counted = true;
            let held = &mut self.slots[usize::from(slot)];
            if held.is_none_or(|(other, by, _)| (epoch, rank) > (other, by)) {
                *held = Some((epoch, rank, id));
            }
        }
        let better = |(by, other): &(Rank, &Primary)| (epoch, rank) > (other.epoch, *by);
        if counted && self.primaries.get(id).is_none_or(better) {
            self.primaries.insert(id, (rank, &node.primary));
        }
    }

    fn topology(self) -> Topology {
        let mut topology = Topology {
            shards: Vec::new(),
            places: vec![None; self.slots.len()],
        };
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (slot, claim) in (0..SLOTS).zip(self.slots) {
            let Some((id, (_, primary))) = claim.and_then(|(.., id)| Some((id, self.primaries.get(id)?)))
            else {
                continue;
            };
            let place = *places.entry(id).or_insert_with(|| {
                topology.shards.push(Shard(Node {
                    id: id.to_owned(),
                    primary: (*primary).clone(),
                    slots: Vec::new(),
                }));
                topology.shards.len() - 1
            });
            topology.places[usize::from(slot)] = Some(place);
            let ranges = &mut topology.shards[place].0.slots;
            match ranges.last_mut() {
                Some(range) if *range.end() + 1 == slot => *range = *range.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        topology
    }
}

#[cfg(test)]
mod tests;
