//! What can happen in the world of the model.

use super::super::Event;
use super::shards::{SHARDS, SLOTS, Server};
use super::{Data, Setting, Stage, World};

impl World {
    pub(in super::super) fn happen(&mut self, event: Event) {
        let Setting {
            failover, cluster, ..
        } = self.setting;
        let of = |shard: usize| if cluster { shard % SHARDS } else { 0 };
        match event {
            Event::Use { gateway, lead, whole } => {
                let lead = i64::from(lead) % (self.setting.max_lead + 1);
                let iat = i64::try_from(self.milliseconds / 1000).unwrap() + lead;
                self.mandates.push((iat, 0));
                self.present(gateway, self.mandates.len() - 1, whole);
            }
            Event::UseAgain { gateway, back, whole } => {
                if let Some(mandate) = self.mandates.len().checked_sub(1 + back) {
                    self.present(gateway, mandate, whole);
                }
            }
            Event::Step { gateway, walk } => {
                let walks = self.gateways[gateway].walks.len().max(1);
                self.step(gateway, walk % walks);
            }
            Event::Finish(gateway) => {
                for _ in 0..100 {
                    (0..SHARDS).for_each(|unit| self.finish_judging(gateway, unit));
                    self.step(gateway, 0);
                }
            }
            Event::Lose { gateway, walk } => {
                let walks = self.gateways[gateway].walks.len().max(1);
                self.lose_answer(gateway, walk % walks);
            }
            Event::Look(gateway) => self.look_up(gateway),
            Event::Tick { milliseconds, first } => self.tick(milliseconds, first),
            Event::Replicate(shard) => {
                let (shard, primary) = (of(shard), self.primary[of(shard)]);
                if self.nodes[shard][1 - primary].replica {
                    self.nodes[shard][1 - primary].data = self.nodes[shard][primary].data.clone();
                }
            }
            Event::Save(shard, node) => {
                let server = &mut self.nodes[of(shard)][node];
                server.saved = server.data.clone();
            }
            Event::Crash(shard, node) => self.crash(Server {
                shard: of(shard),
                node,
            }),
            Event::Flush(shard) => self.nodes[of(shard)][self.primary[of(shard)]].data = Data::default(),
            Event::Failover { shard, stays } if failover => self.fail_over(of(shard), stays),
            Event::Return(shard) if failover => self.come_back(of(shard)),
            Event::Resign(shard) => self.nodes[of(shard)][1 - self.primary[of(shard)]].replica = true,
            Event::Rename(shard) if failover => {
                let primary = self.primary[of(shard)];
                self.nodes[of(shard)][primary].replication = self.number();
            }
            Event::Move { slot, keys } if cluster => self.move_slot(slot % SLOTS, keys),
            Event::Break(gateway) => {
                let units = self.gateways[gateway].units.iter_mut().flatten();
                units.for_each(|unit| unit.server = None);
            }
            Event::Cut { gateway, shard } if self.setting.cuts => {
                let each = gateway >= self.gateways.len();
                for (index, other) in self.gateways.iter_mut().enumerate() {
                    other.cut[shard] ^= each || index == gateway;
                }
            }
            Event::Restart(gateway) if self.setting.restarts => self.start(gateway, false),
            Event::Failover { .. }
            | Event::Return(_)
            | Event::Rename(_)
            | Event::Restart(_)
            | Event::Cut { .. }
            | Event::Move { .. } => {}
        }
    }

    fn crash(&mut self, server: Server) {
        let (run, replication) = (self.number(), self.number());
        let crashed = &mut self.nodes[server.shard][server.node];
        (crashed.run, crashed.replication) = (run, replication);
        crashed.data = crashed.saved.clone();
        self.disconnect(server);
    }

    fn fail_over(&mut self, shard: usize, stays: bool) {
        let old = self.primary[shard];
        // The old primary resigns later, and loses what it took meanwhile. Without confirmations no gateway reaches it
        // until then.
        self.nodes[shard][old].replica = !stays;
        if !self.setting.split {
            self.disconnect(Server { shard, node: old });
        }
        let replication = self.number();
        let promoted = &mut self.nodes[shard][1 - old];
        (promoted.replica, promoted.replication) = (false, replication);
        self.primary[shard] = 1 - old;
    }

    fn come_back(&mut self, shard: usize) {
        let promoted = self.primary[shard];
        if self.nodes[shard][1 - promoted].replica {
            return;
        }
        self.primary[shard] = 1 - promoted;
        if !self.setting.split {
            self.disconnect(Server {
                shard,
                node: promoted,
            });
        }
    }

    /// The command of one walk is carried out, and its answer lost with the connection.
    fn lose_answer(&mut self, gateway: usize, at: usize) {
        let Some(walk) = self.gateways[gateway].walks.get(at).cloned() else {
            return;
        };
        let again = matches!(walk.stage, Stage::Send) && !walk.sent_before;
        match walk.stage.clone() {
            Stage::Sent { .. } | Stage::Looked(_) => return,
            Stage::Send => drop(self.send(gateway, &walk)),
            Stage::Look(change) => drop(self.look(gateway, &walk, change)),
        }
        self.unit(gateway, walk.unit).server = None;
        // A mark is sent again over the next connection.
        if again {
            self.gateways[gateway].walks[at].sent_before = true;
        } else {
            self.gateways[gateway].walks.remove(at);
        }
    }
}
