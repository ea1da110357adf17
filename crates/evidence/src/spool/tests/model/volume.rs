//! What may be expected while a volume is full, and once it is not.

use uuid::Uuid;

use super::super::refusal;
use super::fact::{Fact, REFUSED};
use super::{World, is_on_record};
use crate::Status;
use crate::testing::request;

impl World {
    pub(super) fn refuse(&mut self) {
        let n = self.facts.len();
        let mut fact = Fact {
            at_risk: self.removed,
            ..Fact::default()
        };
        if let Some(spool) = &self.spool {
            let before = spool.stats().persisted;
            spool.denied(&request(n as u128), &refusal(REFUSED));
            if spool.stats().persisted > before {
                fact.end = Some(Status::Denied);
                fact.intended = is_on_record(spool, n);
                fact.settled = fact.intended;
            }
        }
        self.facts.push(fact);
    }

    /// The disk is tried again and again.
    pub(super) fn wait(&mut self) {
        let head = |world: &Self| world.inner().map(|inner| inner.with_log(|log| log.head()));
        for _ in 0..4 {
            self.flush();
        }
        let stands = head(self);
        for _ in 0..4 {
            self.flush();
        }
        if let Some(inner) = self.inner().filter(|_| !self.sim.is_dead()) {
            assert_eq!(head(self), stands, "what is kept back is eaten");
            let owes = inner.with_log(|log| log.is_syncable() && log.owes_what_fits());
            assert!(!owes, "an outcome has a place and is not there");
        }
    }

    pub(super) fn recover(&mut self) {
        self.sim.set_capacity(u64::MAX / 2);
        self.sim.fail_syncs(false);
        for _ in 0..3 {
            self.flush();
        }
        self.ship();
        if let Some(spool) = self.spool.as_ref().filter(|_| !self.sim.is_dead()) {
            assert_eq!(spool.reserve().map(drop), Ok(()));
            let ended = (self.first..self.facts.len()).filter(|n| self.facts[*n].end.is_some());
            let told = |n: &usize| self.delivered.contains_key(&Uuid::from_u128(*n as u128));
            // A request may have ended before it was known that its intent was kept.
            let untold = ended.filter(|n| !told(n) && !self.facts[*n].at_risk).count();
            assert_eq!((spool.stats().waiting, untold), (0, 0));
        }
    }
}
