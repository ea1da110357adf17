//! The world of the model: servers, gateways, and every step that either can take.

mod events;

use std::collections::BTreeMap;
use std::time::Duration;

use admission::ports::Moment;

use super::super::memory::{Memory, Seen, Standing, Verdict};
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
}

#[derive(Clone, Debug, Default)]
struct Data {
    epoch: Option<String>,
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
    memory: Memory,
    disk: Option<String>,
    skew: i64,
    told: bool,
    link: u64,
    node: Option<usize>,
    walks: Vec<Walk>,
}

pub(super) struct World {
    setting: Setting,
    milliseconds: u64,
    /// For run ids, replication ids, holders and connections.
    numbers: u64,
    nodes: [Node; 2],
    /// Where new connections lead.
    primary: usize,
    gateways: [Gateway; 3],
    /// Their `iat`, and how often each passed.
    pub(super) mandates: Vec<(i64, u32)>,
}

/// Long after 1970, so that clocks may be behind.
const START: u64 = 100_000_000;

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let gateway = |told, skew| Gateway {
            memory: Memory::default(),
            disk: None,
            skew,
            told,
            link: 0,
            node: None,
            walks: Vec::new(),
        };
        let mut world = Self {
            setting,
            milliseconds: START,
            numbers: 100,
            nodes: Default::default(),
            primary: 0,
            gateways: [
                gateway(setting.told[0], 0),
                gateway(setting.told[1], setting.skew),
                gateway(setting.told[2], 0),
            ],
            mandates: Vec::new(),
        };
        world.nodes[1].replica = true;
        world.nodes[1].run = 1;
        world.tick(1, 0);
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
        // Whoever has the turn goes first.
        self.finish_judging(gateway);
        self.begin(gateway, None);
        let last = self.gateways[gateway].walks.len() - 1;
        while self.gateways[gateway].walks.get(last).is_some() {
            self.step(gateway, last);
        }
    }

    fn begin(&mut self, gateway: usize, mandate: Option<usize>) {
        let holder = self.number();
        self.gateways[gateway].walks.push(Walk {
            mandate,
            holder,
            sent_before: false,
            stage: Stage::Send,
        });
    }

    fn finish_judging(&mut self, gateway: usize) {
        while let Some(at) = self.gateways[gateway].walks.iter().position(Walk::judges) {
            self.step(gateway, at);
        }
    }

    fn present(&mut self, gateway: usize, mandate: usize, whole: bool) {
        let (iat, now) = (self.mandates[mandate].0, self.now(gateway));
        self.gateways[gateway].memory.expect(Some(iat), now.unix);
        self.begin(gateway, Some(mandate));
        let last = self.gateways[gateway].walks.len() - 1;
        while whole && self.gateways[gateway].walks.get(last).is_some() {
            if self.gateways[gateway].walks[..last].iter().any(Walk::judges) {
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
        let iat = walk.mandate.map(|mandate| self.mandates[mandate].0);
        let next = match walk.stage {
            Stage::Send => {
                let sent = self.send(gateway, &walk);
                sent.map(|(created, seen)| Stage::Sent { created, seen })
            }
            Stage::Sent { created, seen } => match self.gateways[gateway].memory.standing(iat, &seen, now) {
                Standing::Unjudged if self.gateways[gateway].walks.iter().any(Walk::judges) => return,
                Standing::Unjudged => Some(Stage::Look(None)),
                Standing::Vouched if created => {
                    self.pass(walk.mandate);
                    None
                }
                Standing::Vouched | Standing::Forgotten(_) => None,
            },
            Stage::Look(change) => self.look(gateway, change).map(Stage::Looked),
            Stage::Looked(seen) => {
                let fresh = self.number().to_string();
                let known = &mut self.gateways[gateway];
                match known.memory.judge(&seen, &fresh, now) {
                    Verdict::Keep(_) => {
                        known.disk = known.memory.note();
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

    fn pass(&mut self, mandate: Option<usize>) {
        if let Some(mandate) = mandate {
            self.mandates[mandate].1 += 1;
        }
    }

    /// The server at the end of the connection, made anew where there is none. None where it takes no writes.
    fn server(&mut self, gateway: usize) -> Option<usize> {
        let node = match self.gateways[gateway].node {
            Some(node) => node,
            None => {
                self.gateways[gateway].link = self.number();
                self.primary
            }
        };
        let takes_writes = !self.nodes[node].replica;
        self.gateways[gateway].node = takes_writes.then_some(node);
        self.gateways[gateway].node
    }

    fn seen(&self, gateway: usize, node: usize, whole: bool) -> Seen {
        let (told, node) = (self.gateways[gateway].told, &self.nodes[node]);
        let say = |number: u64, said| {
            if told && said {
                format!("s{number}")
            } else {
                String::new()
            }
        };
        Seen {
            text: node.data.epoch.clone(),
            history: History {
                run: say(node.run, whole),
                replication: say(node.replication, true),
            },
            link: self.gateways[gateway].link,
        }
    }

    fn send(&mut self, gateway: usize, walk: &Walk) -> Option<(bool, Seen)> {
        let node = self.server(gateway)?;
        let mut created = false;
        if let Some(mandate) = walk.mandate {
            let marks = &mut self.nodes[node].data.marks;
            created = !marks.contains_key(&mandate);
            let holder = *marks.entry(mandate).or_insert(walk.holder);
            created |= walk.sent_before && holder == walk.holder;
            if self.setting.split {
                if !self.nodes[1 - node].replica {
                    // Not confirmed: refused, and released again.
                    self.nodes[node].data.marks.retain(|_, kept| *kept != walk.holder);
                    return None;
                }
                self.nodes[1 - node].data = self.nodes[node].data.clone();
            }
        }
        Some((created, self.seen(gateway, node, false)))
    }

    fn look(&mut self, gateway: usize, change: Option<(Seen, String)>) -> Option<Seen> {
        let node = self.server(gateway)?;
        if let Some((judged, next)) = change
            && self.nodes[node].data.epoch == judged.text
        {
            self.nodes[node].data.epoch = Some(next);
        }
        Some(self.seen(gateway, node, true))
    }

    fn disconnect(&mut self, node: usize) {
        for gateway in &mut self.gateways {
            if gateway.node == Some(node) {
                gateway.node = None;
            }
        }
    }
}
