//! Segments that cannot be read, for a while or for good.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::shipper::Shipper;
use crate::spool::recovery::adopt;
use crate::spool::{Orphan, Spool, segment};
use crate::testing::{
    DONE, MIB, Memory, Time, cross, event, execute, home, intend, interrupted, open_on, ship, ship_to_nobody,
    ship_until,
};
use crate::timestamp::SECOND;

fn start(sim: &Sim) -> Spool {
    start_at(sim).0
}

fn start_at(sim: &Sim) -> (Spool, Time) {
    let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    (spool, time)
}

/// Adopts what can be read, and what cannot when it has been tried long enough.
fn adopt_patiently(next: &Spool, time: &Time) -> Vec<Orphan> {
    let mut unread = HashMap::new();
    assert!(adopt(&next.inner, &mut unread).unwrap().is_empty() && !unread.is_empty());
    time.advance(2 * SECOND);
    adopt(&next.inner, &mut unread).unwrap()
}

/// Requests for a segment and more.
async fn fill(spool: &Spool, first: u128) -> std::ops::Range<u128> {
    let (files, mut n) = (spool.stats().files, first);
    while spool.stats().files == files {
        execute(spool, n..n + 1).await;
        n += 1;
    }
    first..n
}

/// What a killed process left: in its second segment stands how a request of the first one ended.
async fn leave(sim: &Sim) {
    let spool = start(sim);
    let ends = cross(&spool, 1_000_000).await;
    cross(&spool, 1_000_001).await.abandon();
    fill(&spool, 0).await;
    ends.outcome(&DONE);
    assert!(ship(&spool).await.data().contains(&event(1_000_000, &DONE)));
    drop(spool);
    sim.crash(Crash::Kill);
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn run(spool: &Spool, sink: &Arc<Memory>, done: impl Future<Output = ()> + Send) {
    let run = Shipper::new(spool, None).run(sink.clone(), done);
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}

fn names(sim: &Sim) -> Vec<String> {
    sim.tree().into_values().flatten().collect()
}

#[tokio::test]
async fn what_ended_in_a_segment_that_cannot_be_read_is_not_called_interrupted() {
    let sim = Sim::new();
    leave(&sim).await;
    let name = sim.make_unreadable(1);
    let (next, time) = start_at(&sim);
    let orphan = adopt_patiently(&next, &time).pop().unwrap();
    assert_eq!(orphan.finished, 0, "all of them may have ended");
    assert_eq!(
        next.stats().dropped,
        4,
        "the file, two intents, and the one that ended behind the edge"
    );
    drop((orphan, next));

    // Nobody deleted anything yet.
    sim.make_readable();
    assert!(names(&sim).contains(&name));
    let data = ship_until(&start(&sim), 1).await.data();
    assert_eq!(data, [interrupted(1_000_001)], "it reads back, and is told once");
}

#[tokio::test]
async fn a_mark_behind_a_segment_that_cannot_be_read_shows_that_a_request_had_not_ended() {
    let sim = Sim::new();
    let spool = start(&sim);
    let leaves = intend(&spool, 1_000_000).await;
    cross(&spool, 1_000_001).await.abandon();
    let first = fill(&spool, 0).await;
    fill(&spool, first.end).await;
    leaves.departure().mark().unwrap();
    leaves.abandon();
    drop(spool);
    sim.crash(Crash::Kill);
    sim.make_unreadable(1);
    let (next, time) = start_at(&sim);
    let orphans = adopt_patiently(&next, &time);
    assert_eq!((orphans[0].finished, next.stats().dropped), (1, 3));
}

#[tokio::test]
async fn a_read_that_fails_for_a_moment_costs_nothing() {
    let sim = Sim::new();
    leave(&sim).await;
    let name = sim.make_unreadable(1);
    let next = start(&sim);
    let mut unread = HashMap::new();
    let orphans = adopt(&next.inner, &mut unread).unwrap();
    assert!(orphans.is_empty() && !unread.is_empty(), "it is tried again");
    sim.make_readable();
    let orphans = adopt(&next.inner, &mut unread).unwrap();
    assert!(orphans[0].segments.iter().all(|segment| !segment.damaged) && unread.is_empty());
    assert!(names(&sim).contains(&name));
    assert_eq!(next.stats().dropped, 0);
}

#[tokio::test]
async fn a_volume_that_cannot_be_read_or_written_is_not_a_matter_of_its_files() {
    for read_only in [true, false] {
        let sim = Sim::new();
        leave(&sim).await;
        let (next, time) = start_at(&sim);
        let before = names(&sim);
        let fail = |fails| {
            if read_only {
                sim.make_read_only(fails);
            } else {
                sim.refuse_reads(fails);
            }
        };
        fail(true);
        let mut unread = HashMap::new();
        for _ in 0..3 {
            assert!(adopt(&next.inner, &mut unread).unwrap().is_empty());
            time.advance(2 * SECOND);
        }
        fail(false);
        assert_eq!((names(&sim), next.stats().dropped), (before, 0), "{read_only}");
        let data = ship_until(&next, 1).await.data();
        assert_eq!(data, [interrupted(1_000_001)]);
    }
}

#[tokio::test]
async fn a_backlog_that_cannot_be_read_at_all_waits_for_the_volume() {
    let sim = Sim::new();
    let spool = start(&sim);
    let first = fill(&spool, 0).await;
    let rest = fill(&spool, first.end).await;
    spool.inner.flush().unwrap();
    sim.refuse_reads(true);
    let sink = Memory::new();
    let tried = async {
        // One more than it takes where others can be read.
        until(|| sim.failed_reads() >= 6).await;
    };
    Shipper::new(&spool, None).run(sink.clone(), tried).await;
    assert_eq!((spool.stats().dropped, sink.data().len()), (0, 0));
    sim.refuse_reads(false);
    assert_eq!(ship(&spool).await.data().len() as u128, rest.end);
}

#[tokio::test]
async fn intents_that_cannot_be_moved_on_are_tried_for_a_while_and_then_named() {
    for (for_good, is_cut) in [(false, false), (true, false), (true, true)] {
        let sim = Sim::new();
        let (spool, time) = start_at(&sim);
        let long = cross(&spool, 1_000_000).await;
        let first = fill(&spool, 0).await;
        let second = fill(&spool, first.end).await;
        fill(&spool, second.end).await;
        spool.inner.flush().unwrap();
        ship_to_nobody(&spool);
        let name = if is_cut {
            sim.edit(|bytes| bytes.truncate(100));
            segment::name(0)
        } else {
            sim.make_unreadable(0)
        };
        for now in [1, 3 * SECOND / 2] {
            time.set(now);
            spool.inner.flush().unwrap();
            assert!(names(&sim).contains(&name), "{now}");
        }
        if for_good {
            time.set(3 * SECOND / 2 + 1);
        } else {
            sim.make_readable();
        }
        spool.inner.flush().unwrap();
        assert!(!names(&sim).contains(&name));
        let aside = names(&sim).iter().any(|name| name.ends_with(".damaged"));
        assert_eq!(aside, for_good);
        assert_eq!(spool.stats().dropped, u64::from(for_good), "the intent");
        if for_good {
            long.outcome(&DONE);
            assert_eq!(ship(&spool).await.data(), [event(1_000_000, &DONE)]);
            continue;
        }
        long.abandon();
        drop(spool);
        sim.crash(Crash::Kill);
        let data = ship_until(&start(&sim), 1).await.data();
        assert_eq!(data, [interrupted(1_000_000)]);
    }
}

/// What a process left in two segments is on its way, and the second one cannot be read any more.
#[tokio::test]
async fn our_own_events_do_not_wait_for_what_another_process_left_and_cannot_be_read() {
    let sim = Sim::new();
    let dead = start(&sim);
    fill(&dead, 0).await;
    dead.inner.flush().unwrap();
    drop(dead);
    sim.crash(Crash::Kill);
    let (next, time) = start_at(&sim);
    let sink = Memory::new();
    sink.set_down(true);
    let own = event(1_000_000, &DONE);
    let done = async {
        sink.attempted(1).await;
        let name = sim.make_unreadable(1);
        sink.set_down(false);
        until(|| sim.failed_reads() > 0).await;
        execute(&next, 1_000_000..1_000_001).await;
        next.inner.flush().unwrap();
        sink.with_data(own.clone()).await;
        assert_eq!(next.stats().dropped, 0);
        assert!(names(&sim).contains(&name));
        time.set(2 * SECOND);
        until(|| next.stats().dropped > 0).await;
    };
    run(&next, &sink, done).await;
    assert!(names(&sim).iter().any(|name| name.ends_with(".damaged")));
    assert_eq!(next.stats().dropped, 1, "the file");
}

#[tokio::test]
async fn the_only_segment_that_a_process_left_is_set_aside_where_ours_can_be_read() {
    let sim = Sim::new();
    let dead = start(&sim);
    execute(&dead, 0..3).await;
    drop(dead);
    sim.crash(Crash::Kill);
    sim.make_unreadable(0);
    let (next, time) = start_at(&sim);
    let sink = Memory::new();
    let done = async {
        tokio::select! {
            () = until(|| names(&sim).iter().any(|name| name.ends_with(".damaged"))) => {}
            () = sim.passes_time_at_failed_reads(&time) => {}
        }
    };
    run(&next, &sink, done).await;
    assert!(!names(&sim).iter().any(|name| name.ends_with(".seg")));
    assert_eq!(next.stats().dropped, 1, "the file");
}

#[tokio::test]
async fn what_ended_in_a_part_that_does_not_read_back_is_not_called_interrupted() {
    for harm in ["one flipped", "one missing", "the last flipped"] {
        let sim = Sim::new();
        let spool = start(&sim);
        let ends = cross(&spool, 1_000_000).await;
        cross(&spool, 1_000_001).await.abandon();
        let first = fill(&spool, 0).await;
        ends.outcome(&DONE);
        if !harm.starts_with("the last") {
            fill(&spool, first.end).await;
        }
        spool.inner.flush().unwrap();
        ship_to_nobody(&spool);
        drop(spool);
        sim.crash(Crash::Kill);
        let segments = names(&sim).iter().filter(|name| name.ends_with(".seg")).count();
        assert_eq!(segments, if harm.starts_with("the last") { 2 } else { 3 });
        if harm.ends_with("missing") {
            sim.remove_files(&names(&sim)[1]);
        } else {
            // The first record of it, which says in which run it was written.
            sim.edit_segment(1, |bytes| bytes[20] ^= 1);
        }
        let (next, time) = start_at(&sim);
        let data = ship_adopted(&sim, &next, &time).await;
        let told = [1_000_000, 1_000_001].map(|n| data.contains(&interrupted(n)));
        assert_eq!(
            told, [false; 2],
            "{harm}: one was executed, of the other nobody can tell"
        );
        assert!(next.stats().dropped >= 2, "{harm}: {:?}", next.stats());
    }
}

#[tokio::test]
async fn a_chain_whose_state_cannot_be_read_keeps_its_events_back_for_a_while_alone() {
    let sim = Sim::new();
    let dead = start(&sim);
    execute(&dead, 0..3).await;
    drop(dead);
    sim.crash(Crash::Kill);
    assert_eq!(sim.make_unreadable(1), "chain");
    let (next, time) = start_at(&sim);
    let orphans = adopt_patiently(&next, &time);
    assert!(orphans[0].unshipped().is_some() && orphans[0].chain().is_none());
}

/// Two segments whose intents move on, all of it shipped, and the older one fails once.
#[tokio::test]
async fn a_read_that_failed_once_says_nothing_of_another_segment_hours_later() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    let mut first = 0;
    let mut next_one = async |long: u128| {
        let long = cross(&spool, long).await;
        for _ in 0..3 {
            first = fill(&spool, first).await.end;
        }
        spool.inner.flush().unwrap();
        ship_to_nobody(&spool);
        long
    };
    time.set(1);
    let long = next_one(1_000_000).await;
    sim.make_unreadable(0);
    spool.inner.flush().unwrap();
    sim.make_readable();
    // It goes without having been read again.
    long.outcome(&DONE);
    spool.inner.flush().unwrap();
    ship_to_nobody(&spool);
    time.set(3600 * SECOND);
    let long = next_one(1_000_001).await;
    let name = sim.make_unreadable(0);
    spool.inner.flush().unwrap();
    assert!(names(&sim).contains(&name), "it is tried for a while as well");
    assert!(!names(&sim).iter().any(|name| name.ends_with(".damaged")));
    sim.make_readable();
    spool.inner.flush().unwrap();
    assert_eq!(spool.stats().dropped, 0);
    long.abandon();
}

#[tokio::test]
async fn a_volume_that_gives_nothing_for_a_while_costs_no_intent() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    let long = cross(&spool, 1_000_000).await;
    let mut first = 0;
    for _ in 0..3 {
        first = fill(&spool, first).await.end;
    }
    spool.inner.flush().unwrap();
    ship_to_nobody(&spool);
    sim.refuse_reads(true);
    for now in [1, 3 * SECOND, 9 * SECOND] {
        time.set(now);
        spool.inner.flush().unwrap();
    }
    sim.refuse_reads(false);
    spool.inner.flush().unwrap();
    assert_eq!(spool.stats().dropped, 0);
    long.abandon();
    drop(spool);
    sim.crash(Crash::Kill);
    let data = ship_until(&start(&sim), 1).await.data();
    assert_eq!(data, [interrupted(1_000_000)]);
}

/// What others left, until nothing of it is left to be read.
async fn ship_adopted(sim: &Sim, spool: &Spool, time: &Time) -> Vec<Vec<u8>> {
    let sink = Memory::new();
    let own = home(spool);
    let done = async {
        let is_over = |(dir, files): (String, Vec<String>)| {
            own.ends_with(dir) || files.iter().all(|file| file.ends_with(".damaged"))
        };
        while !sim.tree().into_iter().all(is_over) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            // What is missing is looked for.
            time.advance(SECOND / 10);
        }
    };
    run(spool, &sink, done).await;
    sink.data()
}
