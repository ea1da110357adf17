//! What befalls the files of a dead process before the next one reads them.

use uuid::Uuid;

use super::World;

impl World {
    /// A segment is removed, or a byte of one changes, before the next process reads it. What stood there may then be missing,
    /// which is counted, or unfinished if it is known that it had not ended; but what was shipped is not told in different words.
    pub(super) fn damage(&mut self, seed: u64, may_remove: bool) {
        let segments = self.sim.segments().len();
        if self.sim.damage(seed, may_remove) {
            self.is_harmed(self.sim.segments().len() < segments);
        }
    }

    /// What this process left is damaged, or a segment of it is missing.
    pub(super) fn is_harmed(&mut self, misses: bool) {
        self.damaged = true;
        self.misses |= misses;
        let is_told = |n: &usize| self.delivered.contains_key(&Uuid::from_u128(*n as u128));
        let is_new = !(self.first..self.facts.len()).any(|n| is_told(&n));
        for fact in &mut self.facts[self.first..] {
            fact.is_exact = is_new && !fact.at_risk;
            fact.harmed |= !fact.at_risk;
            fact.at_risk = true;
            fact.cut = true;
        }
    }
}
