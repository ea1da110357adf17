//! The world of the model: servers, gateways, and every step that either can take.

mod events;
mod shards;

use std::collections::BTreeMap;
use std::time::Duration;

use admission::ports::Moment;
use shards::{SHARDS, SLOTS, Server, Unit, slot_of};

use super::super::memory::{Seen, Standing, Verdict};
use super::super::value::History;

/// What kind of world it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// How far the second gateway's clock is ahead, in seconds.
    pub(super) skew: i64,
    /// How far `iat` is ahead of true time at most.
    pub(super) max_lead: i64,
    /// Gateways may end and start anew.
    pub(super) restarts: bool,
    /// Servers may be promoted, and change their replication id for other reasons.
    pub(super) failover: bool,
    /// An old primary may go on as one, and marks must be confirmed by a replica.
    pub(super) split: bool,
    /// Which gateways may ask for `INFO`.
    pub(super) told: [bool; 3],
    /// The store is a cluster of two shards, and slots move between them.
    pub(super) cluster: bool,
    /// Gateways may be cut off from shards.
    pub(super) cuts: bool,
}

#[derive(Clone, Debug, Default)]
struct Data {
    /// By unit.
    epochs: BTreeMap<usize, String>,
    marks: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    run: u64,
    replication: u64,
    replica: bool,
    data: Data,
    saved: Data,
}

/// Where one use of a mandate, or one look at the store, stands.
#[derive(Clone, Debug)]
enum Stage {
    /// The mark is to be sent.
    Send,
    Sent {
        created: bool,
        seen: Seen,
    },
    /// The epoch is to be read, after this change.
    Look(Option<(Seen, String)>),
    Looked(Seen),
}

#[derive(Clone, Debug)]
struct Walk {
    unit: usize,
    /// None for a look that no mandate asked for.
    mandate: Option<usize>,
    holder: u64,
    sent_before: bool,
    stage: Stage,
}

impl Walk {
    /// Whether it has the turn to judge the epoch.
    fn judges(&self) -> bool {
        matches!(self.stage, Stage::Look(_) | Stage::Looked(_))
    }
}

struct Gateway {
    /// What it knows of each shard, by the slot of its key; only one where there is no cluster.
    units: [Option<Unit>; SHARDS],
    /// Which shard serves each slot, as it was last heard.
    view: [usize; SLOTS],
    /// Which shards it cannot reach.
    cut: [bool; SHARDS],
    disk: BTreeMap<usize, String>,
    skew: i64,
    told: bool,
    walks: Vec<Walk>,
}

impl Gateway {
    /// Whether another walk has the turn to judge the same key.
    fn is_judging(&self, unit: usize) -> bool {
        self.walks.iter().any(|walk| walk.unit == unit && walk.judges())
    }
}

pub(super) struct World {
    setting: Setting,
    milliseconds: u64,
    /// For run ids, replication ids, holders and connections.
    numbers: u64,
    nodes: [[Node; 2]; SHARDS],
    /// Where new connections lead.
    primary: [usize; SHARDS],
    /// Which shard serves each slot.
    home: [usize; SLOTS],
    gateways: [Gateway; 3],
    /// Their `iat`, and how often each passed.
    pub(super) mandates: Vec<(i64, u32)>,
}

/// Long after 1970, so that clocks may be behind.
const START: u64 = 100_000_000;

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let skews = [0, setting.skew, 0];
        let mut world = Self {
            setting,
            milliseconds: START,
            numbers: 100,
            nodes: Default::default(),
            primary: [0; SHARDS],
            home: if setting.cluster { [0, 0, 1, 1] } else { [0; SLOTS] },
            gateways: [0, 1, 2].map(|gateway| Gateway {
                units: [None, None],
                view: [0; SLOTS],
                cut: [false; SHARDS],
                disk: BTreeMap::new(),
                skew: skews[gateway],
                told: setting.told[gateway],
                walks: Vec::new(),
            }),
            mandates: Vec::new(),
        };
        for [primary, replica] in &mut world.nodes {
            (primary.run, primary.replication) = (world.numbers + 1, world.numbers + 2);
            (replica.run, replica.replica) = (world.numbers + 3, true);
            world.numbers += 3;
        }
        for gateway in 0..3 {
            world.start(gateway, gateway == 0);
            world.look_up(gateway);
        }
        world
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn now(&self, gateway: usize) -> Moment {
        let skew = self.gateways[gateway].skew * 1000;
        Moment {
            unix: Duration::from_millis(self.milliseconds.checked_add_signed(skew).unwrap()),
            monotonic: Duration::from_millis(self.milliseconds),
        }
    }

    /// Time passes, and every gateway looks at the store, as it does each second.
    fn tick(&mut self, milliseconds: u64, first: usize) {
        self.milliseconds += milliseconds;
        self.look_up(first);
        for gateway in (0..3).filter(|gateway| *gateway != first) {
            self.look_up(gateway);
        }
    }

    fn look_up(&mut self, gateway: usize) {
        self.follow(gateway);
        for unit in 0..SHARDS {
            if self.gateways[gateway].units[unit].is_none() {
                continue;
            }
            // Whoever has the turn goes first.
            self.finish_judging(gateway, unit);
            self.begin(gateway, unit, None);
            let last = self.gateways[gateway].walks.len() - 1;
            while self.gateways[gateway].walks.get(last).is_some() {
                self.step(gateway, last);
            }
        }
    }

    fn begin(&mut self, gateway: usize, unit: usize, mandate: Option<usize>) {
        let holder = self.number();
        self.gateways[gateway].walks.push(Walk {
            unit,
            mandate,
            holder,
            sent_before: false,
            stage: Stage::Send,
        });
    }

    fn finish_judging(&mut self, gateway: usize, unit: usize) {
        let judges = |walk: &Walk| walk.unit == unit && walk.judges();
        while let Some(at) = self.gateways[gateway].walks.iter().position(judges) {
            self.step(gateway, at);
        }
    }

    fn present(&mut self, gateway: usize, mandate: usize, whole: bool) {
        let Some(unit) = self.unit_of(gateway, slot_of(mandate)) else {
            return;
        };
        let (iat, now) = (self.mandates[mandate].0, self.now(gateway));
        self.unit(gateway, unit).memory.expect(Some(iat), now.unix);
        self.begin(gateway, unit, Some(mandate));
        let last = self.gateways[gateway].walks.len() - 1;
        while whole && let Some(walk) = self.gateways[gateway].walks.get(last) {
            let turn = matches!(walk.stage, Stage::Sent { .. });
            let others = &self.gateways[gateway].walks[..last];
            if turn && others.iter().any(|other| other.unit == unit && other.judges()) {
                return;
            }
            self.step(gateway, last);
        }
    }

    /// One step of one walk: a round trip, or what follows from its answer.
    fn step(&mut self, gateway: usize, at: usize) {
        let now = self.now(gateway);
        let Some(walk) = self.gateways[gateway].walks.get(at).cloned() else {
            return;
        };
        let unit = walk.unit;
        let iat = walk.mandate.map(|mandate| self.mandates[mandate].0);
        let next = match walk.stage.clone() {
            Stage::Send => {
                let sent = self.send(gateway, &walk);
                sent.map(|(created, seen)| Stage::Sent { created, seen })
            }
            Stage::Sent { created, seen } => {
                let known = &mut self.unit(gateway, unit).memory;
                if walk.mandate.is_none() && known.is_judged(&seen, now) {
                    self.write_down(gateway, unit);
                }
                match self.unit(gateway, unit).memory.standing(iat, &seen, now) {
                    Standing::Unjudged if self.gateways[gateway].is_judging(unit) => return,
                    Standing::Unjudged => Some(Stage::Look(None)),
                    Standing::Vouched if created => {
                        self.pass(walk.mandate);
                        None
                    }
                    Standing::Vouched | Standing::Forgotten(_) => None,
                }
            }
            Stage::Look(change) => self.look(gateway, &walk, change).map(Stage::Looked),
            Stage::Looked(seen) => {
                let fresh = self.number().to_string();
                let known = &mut self.unit(gateway, unit).memory;
                match known.judge(&seen, &fresh, now) {
                    Verdict::Keep(_) => {
                        self.write_down(gateway, unit);
                        Some(Stage::Send)
                    }
                    Verdict::Write(next) => Some(Stage::Look(Some((seen, next)))),
                }
            }
        };
        match next {
            Some(stage) => {
                let walk = &mut self.gateways[gateway].walks[at];
                walk.sent_before |= matches!(stage, Stage::Sent { .. });
                walk.stage = stage;
            }
            None => drop(self.gateways[gateway].walks.remove(at)),
        }
    }

    fn write_down(&mut self, gateway: usize, unit: usize) {
        let note = self.unit(gateway, unit).memory.note();
        self.gateways[gateway].disk.extend(note.map(|note| (unit, note)));
    }

    fn pass(&mut self, mandate: Option<usize>) {
        if let Some(mandate) = mandate {
            self.mandates[mandate].1 += 1;
        }
    }

    fn seen(&self, gateway: usize, walk: &Walk, server: Server, whole: bool) -> Option<Seen> {
        let (told, node) = (
            self.gateways[gateway].told,
            &self.nodes[server.shard][server.node],
        );
        let say = |number: u64, said| {
            if told && said {
                format!("s{number}")
            } else {
                String::new()
            }
        };
        let slot = walk.mandate.map(slot_of);
        self.serves_key(server, walk.unit).then(|| Seen {
            text: node.data.epochs.get(&walk.unit).cloned(),
            history: History {
                run: say(node.run, whole),
                replication: say(node.replication, true),
            },
            link: self.gateways[gateway].units[walk.unit]
                .as_ref()
                .map_or(0, |unit| unit.link),
            slot: slot
                .filter(|_| self.setting.cluster)
                .and_then(|slot| u16::try_from(slot).ok()),
        })
    }

    fn send(&mut self, gateway: usize, walk: &Walk) -> Option<(bool, Seen)> {
        let server = self.server(gateway, walk.unit)?;
        let Server { shard, node } = server;
        let mut created = false;
        if let Some(mandate) = walk.mandate {
            if !self.serves(server, slot_of(mandate)) {
                return None;
            }
            let marks = &mut self.nodes[shard][node].data.marks;
            created = !marks.contains_key(&mandate);
            let holder = *marks.entry(mandate).or_insert(walk.holder);
            created |= walk.sent_before && holder == walk.holder;
            if self.setting.split {
                if !self.nodes[shard][1 - node].replica {
                    // Not confirmed: refused, and released again.
                    let marks = &mut self.nodes[shard][node].data.marks;
                    marks.retain(|_, kept| *kept != walk.holder);
                    return None;
                }
                self.nodes[shard][1 - node].data = self.nodes[shard][node].data.clone();
            }
        }
        Some((created, self.seen(gateway, walk, server, false)?))
    }

    fn look(&mut self, gateway: usize, walk: &Walk, change: Option<(Seen, String)>) -> Option<Seen> {
        let server = self.server(gateway, walk.unit)?;
        if let Some((judged, next)) = change
            && self.serves_key(server, walk.unit)
        {
            let epochs = &mut self.nodes[server.shard][server.node].data.epochs;
            if epochs.get(&walk.unit) == judged.text.as_ref() {
                epochs.insert(walk.unit, next);
            }
        }
        self.seen(gateway, walk, server, true)
    }
}
