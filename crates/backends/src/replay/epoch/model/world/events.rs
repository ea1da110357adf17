//! What can happen in the world of the model.

use super::super::super::memory::Memory;
use super::super::super::value::Name;
use super::super::Event;
use super::{Data, Setting, Stage, World};

impl World {
    pub(in super::super) fn happen(&mut self, event: Event) {
        let Setting { failover, split, .. } = self.setting;
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
                    self.finish_judging(gateway);
                    self.step(gateway, 0);
                }
            }
            Event::Lose { gateway, walk } => {
                let walks = self.gateways[gateway].walks.len().max(1);
                self.lose_answer(gateway, walk % walks);
            }
            Event::Look(gateway) => self.look_up(gateway),
            Event::Tick { milliseconds, first } => self.tick(milliseconds, first),
            Event::Replicate => {
                let replica = 1 - self.primary;
                if self.nodes[replica].replica {
                    self.nodes[replica].data = self.nodes[self.primary].data.clone();
                }
            }
            Event::Save(node) => self.nodes[node].saved = self.nodes[node].data.clone(),
            Event::Crash(node) => {
                let (run, replication) = (self.number(), self.number());
                let server = &mut self.nodes[node];
                (server.run, server.replication) = (run, replication);
                server.data = server.saved.clone();
                self.disconnect(node);
            }
            Event::Flush => self.nodes[self.primary].data = Data::default(),
            Event::Failover { stays } if failover => {
                let old = self.primary;
                // The old primary resigns later, and loses what it took meanwhile. Without confirmations no gateway
                // reaches it until then.
                self.nodes[old].replica = !stays;
                if !split {
                    self.disconnect(old);
                }
                self.primary = 1 - old;
                self.nodes[self.primary].replica = false;
                self.nodes[self.primary].replication = self.number();
            }
            Event::Return if failover && !self.nodes[1 - self.primary].replica => {
                let promoted = self.primary;
                self.primary = 1 - promoted;
                if !split {
                    self.disconnect(promoted);
                }
            }
            Event::Resign => self.nodes[1 - self.primary].replica = true,
            Event::Rename if failover => self.nodes[self.primary].replication = self.number(),
            Event::Break(gateway) => self.gateways[gateway].node = None,
            Event::Restart(gateway) if self.setting.restarts => {
                let restarted = &mut self.gateways[gateway];
                restarted.memory = Memory::default();
                restarted
                    .memory
                    .recall(restarted.disk.as_deref().and_then(Name::parse));
                (restarted.node, restarted.walks) = (None, Vec::new());
            }
            Event::Failover { .. } | Event::Return | Event::Rename | Event::Restart(_) => {}
        }
    }

    /// The command of one walk is carried out, and its answer lost with the connection.
    fn lose_answer(&mut self, gateway: usize, at: usize) {
        let Some(walk) = self.gateways[gateway].walks.get(at).cloned() else {
            return;
        };
        let again = matches!(walk.stage, Stage::Send) && !walk.sent_before;
        match walk.stage {
            Stage::Sent { .. } | Stage::Looked(_) => return,
            Stage::Send => drop(self.send(gateway, &walk)),
            Stage::Look(change) => drop(self.look(gateway, change)),
        }
        self.gateways[gateway].node = None;
        // A mark is sent again over the next connection.
        if again {
            self.gateways[gateway].walks[at].sent_before = true;
        } else {
            self.gateways[gateway].walks.remove(at);
        }
    }
}
