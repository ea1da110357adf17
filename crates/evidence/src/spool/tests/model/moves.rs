//! A directory that is removed, or only some of its files, and a process that dies while it makes another one.

use super::super::INTERVAL;
use super::super::sim::Crash;
use super::{Gap, Step, World};

impl World {
    /// What the living process has recorded may be lost.
    pub(super) fn risk(&mut self) {
        let facts = self.facts[self.first..].iter_mut();
        facts.for_each(|fact| fact.at_risk = true);
        self.removed = true;
    }

    pub(super) fn remove_segment(&mut self, number: u8) -> bool {
        let is_ours = self.sim.remove_a_segment(number);
        if is_ours {
            self.risk();
            // It may have died of the acknowledgement.
            let is_dead = self.sim.is_dead() || self.gap == Gap::Shipped;
            self.gap = if is_dead { Gap::Shipped } else { Gap::Open };
        }
        is_ours
    }

    /// The process finds that its directory is gone, ships on from its open files while it copies them, and perhaps moves in.
    fn move_while_shipping(&mut self, changes: u64) {
        let Some(inner) = self.inner() else { return };
        let moving = inner.with_log(|log| {
            log.evict();
            log.moving()
        });
        self.ship();
        self.sim.die_at(self.sim.changes() + changes);
        if let Ok(moved) = moving.unwrap().run() {
            inner.with_log(|log| log.move_in(moved));
        }
        self.ship();
    }
}

const CRASHES: [Crash; 5] = [
    Crash::Kill,
    Crash::LoseAll,
    Crash::KeepAll,
    Crash::Mixed(1),
    Crash::Mixed(2),
];

/// Some events that are shipped, some that wait, and requests under way, in several segments.
fn prepare() -> World {
    let mut world = World::new(INTERVAL);
    for step in [Step::Whole, Step::Whole, Step::Leave, Step::Flush, Step::Ship] {
        world.step(step);
    }
    for _ in 0..4 {
        world.step(Step::Whole);
    }
    for step in [Step::Intend, Step::Leave, Step::Flush] {
        world.step(step);
    }
    world
}

#[test]
fn a_process_that_dies_at_any_operation_of_a_move_leaves_one_chain() {
    for removed in [
        Step::Remove,
        Step::RemoveSegment(0),
        Step::RemoveSegment(1),
        Step::RemoveSegment(2),
    ] {
        let mut whole = prepare();
        assert!(whole.step(removed), "{removed:?}");
        let begin = whole.sim.changes();
        whole.step(Step::Flush);
        let operations = whole.sim.changes() - begin;
        assert!(operations > 10, "{removed:?}: {operations}");
        for change in 0..=operations {
            for crash in CRASHES {
                for again in (0..30).step_by(3) {
                    let mut world = prepare();
                    world.step(removed);
                    world.sim.die_at(begin + change);
                    world.step(Step::Flush);
                    world.die();
                    let again = (again > 0).then(|| (again, CRASHES[usize::try_from(again).unwrap() % 5]));
                    world.check(crash, again);
                }
            }
        }
    }
}

#[test]
fn what_is_shipped_during_a_move_has_one_place_in_its_chain_wherever_it_ends() {
    for change in 0..60 {
        for crash in CRASHES {
            let mut world = prepare();
            world.step(Step::Remove);
            world.move_while_shipping(change);
            world.check(crash, None);
        }
    }
}
