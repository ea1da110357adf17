//! The shards of the model: four slots, of which two have keys of the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::super::issue_times::IssueTimes;
use super::super::super::memory::{Beginning, Memory};
use super::super::super::slots::Slots;
use super::super::super::value::Name;
use super::World;

pub(super) const SHARDS: usize = 2;
pub(super) const SLOTS: usize = 4;
/// The slots in which the epochs of a shard can lie. It has that of the last one that it serves.
const ANCHORS: [usize; SHARDS] = [0, 2];

/// The slot of a mandate's mark.
pub(super) fn slot_of(mandate: usize) -> usize {
    mandate % SLOTS
}

/// One of the servers of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) shard: usize,
    pub(super) node: usize,
}

/// What one gateway knows of one shard, and its connection to it.
pub(super) struct Unit {
    pub(super) memory: Memory,
    pub(super) link: u64,
    pub(super) server: Option<Server>,
}

impl Unit {
    fn new(memory: Memory) -> Self {
        Self {
            memory,
            link: 0,
            server: None,
        }
    }
}

/// The key of a shard, in the eyes of a gateway.
fn key_of(view: &[usize; SLOTS], shard: usize) -> Option<usize> {
    (0..SHARDS).rev().find(|unit| view[ANCHORS[*unit]] == shard)
}

fn served(view: &[usize; SLOTS], shard: usize) -> Slots {
    let served = (0..).zip(view).filter(|(_, home)| **home == shard);
    Slots::of(served.map(|(slot, _)| slot..=slot))
}

impl World {
    /// What this gateway knows of this shard.
    pub(super) fn unit(&mut self, gateway: usize, unit: usize) -> &mut Unit {
        self.gateways[gateway].units[unit]
            .as_mut()
            .expect("a walk ends with its unit")
    }

    /// Which key accounts for this slot.
    pub(super) fn unit_of(&self, gateway: usize, slot: usize) -> Option<usize> {
        match self.setting.cluster {
            true => {
                let view = &self.gateways[gateway].view;
                key_of(view, view[slot])
            }
            false => Some(0),
        }
    }

    /// A process begins, with what is on its disk.
    pub(super) fn start(&mut self, gateway: usize, first: bool) {
        let cluster = self.setting.cluster;
        let home = self.home;
        let started = &mut self.gateways[gateway];
        (started.units, started.walks, started.view) = ([None, None], Vec::new(), home);
        let beginning = if first {
            Beginning::FirstUse
        } else {
            Beginning::InUse
        };
        let issued = Arc::new(Mutex::new(IssueTimes::default()));
        for unit in 0..SHARDS {
            let mut memory = match cluster {
                true if key_of(&home, home[ANCHORS[unit]]) == Some(unit) => {
                    Memory::of_shard(Arc::clone(&issued), served(&home, home[ANCHORS[unit]]), beginning)
                }
                false if unit == 0 => Memory::default(),
                true | false => continue,
            };
            memory.recall(started.recalled(unit));
            started.units[unit] = Some(Unit::new(memory));
        }
    }

    /// A gateway hears which shard serves which slot.
    pub(super) fn follow(&mut self, gateway: usize) {
        let home = self.home;
        let following = &mut self.gateways[gateway];
        if following.view == home {
            return;
        }
        following.view = home;
        let issued = following.issued();
        for unit in 0..SHARDS {
            let shard = home[ANCHORS[unit]];
            if key_of(&home, shard) != Some(unit) {
                following.units[unit] = None;
                following.walks.retain(|walk| walk.unit != unit);
                following.disk.remove(&unit);
                continue;
            }
            let slots = served(&home, shard);
            match &mut following.units[unit] {
                Some(known) => {
                    known.memory.serve(slots);
                    following
                        .disk
                        .extend(known.memory.note().map(|note| (unit, note)));
                    // A connection ends when another shard serves the slot of the key.
                    known.server = known.server.filter(|server| server.shard == shard);
                }
                None => {
                    let memory = Memory::of_shard(Arc::clone(&issued), slots, Beginning::Joined);
                    following.units[unit] = Some(Unit::new(memory));
                }
            }
        }
    }

    /// The server at the end of the connection, made anew where there is none. None where it takes no writes.
    pub(super) fn server(&mut self, gateway: usize, unit: usize) -> Option<Server> {
        let shard = self.gateways[gateway].view[ANCHORS[unit]];
        let node = self.primary[shard];
        let number = self.number();
        if self.gateways[gateway].cut[shard] {
            return None;
        }
        let known = self.unit(gateway, unit);
        if known.server.is_none() {
            known.link = number;
        }
        let server = known.server.unwrap_or(Server { shard, node });
        let takes_writes = !self.nodes[server.shard][server.node].replica;
        let known = self.unit(gateway, unit);
        known.server = takes_writes.then_some(server);
        known.server
    }

    pub(super) fn serves(&self, server: Server, slot: usize) -> bool {
        self.home[slot] == server.shard
    }

    pub(super) fn serves_key(&self, server: Server, unit: usize) -> bool {
        self.serves(server, ANCHORS[unit])
    }

    pub(super) fn disconnect(&mut self, server: Server) {
        for unit in self
            .gateways
            .iter_mut()
            .flat_map(|gateway| &mut gateway.units)
            .flatten()
        {
            unit.server = unit.server.filter(|connected| *connected != server);
        }
    }

    /// A slot goes to the other shard, with its keys or without; but not back before every gateway has heard of it.
    pub(super) fn move_slot(&mut self, slot: usize, keys: bool) {
        let from = self.home[slot];
        if self.gateways.iter().any(|gateway| gateway.view[slot] != from) {
            return;
        }
        let to = 1 - from;
        self.home[slot] = to;
        let (source, target) = (self.primary[from], self.primary[to]);
        let left = &mut self.nodes[from][source].data;
        let marks = left.marks.extract_if(.., |mandate, _| slot_of(*mandate) == slot);
        let marks: Vec<_> = marks.collect();
        let epoch = ANCHORS.iter().position(|anchor| *anchor == slot);
        let epoch = epoch.and_then(|unit| left.epochs.remove_entry(&unit));
        if keys {
            let data = &mut self.nodes[to][target].data;
            data.marks.extend(marks);
            data.epochs.extend(epoch);
        }
    }
}

impl super::Gateway {
    /// What an earlier process knew of this shard, or else of the one that lost its marks last, as in the file.
    fn recalled(&self, unit: usize) -> Option<Name> {
        let names: BTreeMap<_, _> = self
            .disk
            .iter()
            .filter_map(|(of, note)| Some((*of, Name::parse(note)?)))
            .collect();
        let latest = || names.values().max_by_key(|name| name.birth());
        let name = names.get(&unit).or_else(latest)?.clone();
        let lead = names.values().map(|name| name.lead).max()?;
        Some(name.with_lead(lead))
    }

    fn issued(&self) -> Arc<Mutex<IssueTimes>> {
        let known = self.units.iter().flatten().next();
        known.map(|unit| unit.memory.issued()).unwrap_or_default()
    }
}
