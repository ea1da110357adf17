//! Which histories are tried: all short ones, and long ones at random.

use proptest::prelude::*;

use super::super::INTERVAL;
use super::super::sim::Crash;
use super::{Step, World};
use crate::spool::Fsync;

/// How many of all steps are tried in every order.
const DEPTH: usize = 5;

/// How many of those with which six requests go by.
const REQUESTS: usize = 6;

/// How many random histories are tried.
const CASES: u32 = 400;

/// A runtime for the time limits, none of which passes.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// Every step but those that need a disk to fail.
const STEPS: [Step; 7] = [
    Step::Whole,
    Step::Leave,
    Step::Intend,
    Step::End,
    Step::Drop,
    Step::Flush,
    Step::Ship,
];

/// Those that requests are made of which leave.
const LEAVING: [Step; 5] = [Step::Whole, Step::Leave, Step::End, Step::Flush, Step::Ship];

/// Those with which a volume fills and is freed.
const FILLING: [Step; 7] = [
    Step::Leave,
    Step::End,
    Step::Refuse,
    Step::Fill(0),
    Step::Free,
    Step::Flush,
    Step::Ship,
];

/// Kills and power cuts at each operation of the last of these steps; false where it changes nothing.
fn crash_in_the_last(steps: &[Step], fsync: Fsync, is_deepest: bool, runs: &mut u64) -> bool {
    let (last, before) = steps.split_last().unwrap();
    let prepare = || {
        let mut world = World::new(fsync);
        before.iter().for_each(|step| {
            world.step(*step);
        });
        world
    };
    let mut whole = prepare();
    let begin = whole.sim.changes();
    if !whole.step(*last) {
        return false;
    }
    // Behind the last operation is before the first one of the next step.
    let end = whole.sim.changes() + u64::from(is_deepest);
    for change in begin..end {
        let mut world = prepare();
        world.sim.die_at(change);
        world.step(*last);
        world.die();
        let some = if change % 4 == 0 {
            Crash::KeepAll
        } else {
            Crash::Mixed(*runs)
        };
        for crash in [Crash::Kill, Crash::LoseAll, some] {
            world.check(crash, None);
            *runs += 1;
        }
    }
    true
}

fn explore(of: &[Step], steps: &mut Vec<Step>, depth: usize, fsync: Fsync, runs: &mut u64) {
    for step in of {
        steps.push(*step);
        if crash_in_the_last(steps, fsync, depth == 1, runs) && depth > 1 {
            explore(of, steps, depth - 1, fsync, runs);
        }
        steps.pop();
    }
}

/// How often a process died on the way through all histories of these steps.
fn crashes(of: &[Step], depth: usize, fsync: Fsync) -> u64 {
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut runs = 0;
    explore(of, &mut Vec::new(), depth, fsync, &mut runs);
    runs
}

#[test]
fn every_crash_of_up_to_six_requests_leaves_the_truth() {
    assert!(crashes(&LEAVING, REQUESTS, INTERVAL) > 10_000);
}

#[test]
fn every_crash_between_all_steps_leaves_the_truth() {
    assert!(crashes(&STEPS, DEPTH, INTERVAL) > 10_000);
}

#[test]
fn every_crash_leaves_the_truth_where_each_intent_is_synced() {
    assert!(crashes(&STEPS, DEPTH - 1, Fsync::Always) > 1_000);
}

#[test]
fn every_crash_on_a_volume_that_fills_leaves_the_truth() {
    assert!(crashes(&FILLING, DEPTH - 1, INTERVAL) > 1_000);
}

#[test]
fn a_process_that_dies_taking_over_leaves_the_truth() {
    let mut world = World::new(INTERVAL);
    for step in [
        Step::Whole,
        Step::Leave,
        Step::Intend,
        Step::Flush,
        Step::Whole,
        Step::Whole,
        Step::Ship,
    ] {
        world.step(step);
    }
    world.die();
    for changes in 0..40 {
        let crashes = [
            Crash::Kill,
            Crash::LoseAll,
            Crash::KeepAll,
            Crash::Mixed(changes),
            Crash::Mixed(changes + 40),
        ];
        for first in crashes {
            for second in crashes {
                world.check(first, Some((changes, second)));
            }
        }
    }
}

#[test]
fn what_is_missing_leaves_the_same_numbers_unused_whoever_ships_it() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (is_open, removed) in [
        (true, 0),
        (true, 1),
        (true, 2),
        (false, 0),
        (false, 1),
        (false, 2),
    ] {
        let mut world = World::new(INTERVAL);
        if is_open {
            world.step(Step::Leave);
        }
        for _ in 0..REQUESTS + 3 {
            world.step(Step::Whole);
        }
        world.step(Step::Flush);
        world.die();
        assert!(world.sim.remove_segment(removed));
        world.is_harmed(true);
        for changes in 0..60 {
            for first in [Crash::Kill, Crash::LoseAll] {
                for second in [Crash::Kill, Crash::LoseAll, Crash::Mixed(changes)] {
                    world.check(first, Some((changes, second)));
                }
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Whole),
        3 => Just(Step::Leave),
        3 => Just(Step::Intend),
        3 => Just(Step::End),
        2 => Just(Step::Drop),
        3 => Just(Step::Flush),
        3 => Just(Step::Ship),
        1 => Just(Step::Remove),
        1 => any::<u8>().prop_map(Step::RemoveSegment),
        1 => Just(Step::RemoveSpare),
        1 => any::<bool>().prop_map(Step::FailSyncs),
        1 => (0_u16..8192).prop_map(Step::Fill),
        1 => Just(Step::Free),
        2 => Just(Step::Refuse),
        1 => Just(Step::Wait),
        1 => Just(Step::Recover),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        2 => Just(Crash::Kill),
        1 => Just(Crash::LoseAll),
        1 => Just(Crash::KeepAll),
        4 => any::<u64>().prop_map(Crash::Mixed),
    ]
}

/// When and how a process dies.
type Death = (u64, Crash);

/// One process: what it does, how it dies, what becomes of its files, and whether the next one dies early as well.
fn life() -> impl Strategy<Value = (Vec<Step>, Death, Option<u64>, Option<Death>)> {
    let steps = proptest::collection::vec(step(), 1..40);
    let early = proptest::option::of((0_u64..40, crash()));
    let damage = proptest::option::weighted(0.3, any::<u64>());
    (steps, (0_u64..200, crash()), damage, early)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_processes_leave_the_truth(
        lives in proptest::collection::vec(life(), 1..4),
        always: bool,
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mut world = World::new(if always { Fsync::Always } else { INTERVAL });
        for (steps, (changes, crash), damage, early) in lives {
            world.sim.die_at(world.sim.changes() + changes);
            for step in steps {
                world.step(step);
            }
            world.crash(crash);
            if let Some(seed) = damage {
                // After a power cut it would look as if it had never been synced.
                let is_cut = early.is_some_and(|(_, crash)| crash != Crash::Kill);
                world.damage(seed, crash == Crash::Kill && !is_cut);
            }
            if let Some((changes, crash)) = early {
                world.die_taking_over(changes, crash);
            }
            world.sim.fail_syncs(false);
            world.start();
            world.check_events();
        }
    }
}

#[test]
fn a_crash_while_what_is_in_doubt_is_written_again_leaves_the_truth() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for changes in 0..40 {
        for crash in [Crash::Kill, Crash::LoseAll, Crash::KeepAll] {
            let mut world = World::new(Fsync::Always);
            world.sim.die_at(world.sim.changes() + changes);
            for step in [Step::Leave, Step::FailSyncs(true), Step::Whole, Step::Recover] {
                world.step(step);
            }
            world.check(crash, None);
        }
    }
}
