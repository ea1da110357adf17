//! Segments that cannot be read, for a while or for good.

use std::path::Path;
use std::sync::Arc;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::shipper::Shipper;
use crate::spool::recovery::adopt;
use crate::spool::{Spool, segment};
use crate::testing::{
    DONE, MIB, Memory, cross, event, execute, intend, interrupted, open_on, ship, ship_to_nobody, ship_until,
};
use crate::timestamp::SECOND;

fn start(sim: &Sim) -> Spool {
    open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL).0
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

fn names(sim: &Sim) -> Vec<String> {
    sim.tree().into_values().flatten().collect()
}

#[tokio::test]
async fn what_ended_in_a_segment_that_cannot_be_read_is_not_called_interrupted() {
    let sim = Sim::new();
    leave(&sim).await;
    let name = sim.make_unreadable(1);
    let next = start(&sim);
    let (mut orphans, _) = adopt(&next.inner, true).unwrap();
    let orphan = orphans.pop().unwrap();
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
    let next = start(&sim);
    let (orphans, _) = adopt(&next.inner, true).unwrap();
    assert_eq!((orphans[0].finished, next.stats().dropped), (1, 3));
}

#[tokio::test]
async fn a_read_that_fails_for_a_moment_costs_nothing() {
    let sim = Sim::new();
    leave(&sim).await;
    let name = sim.make_unreadable(1);
    let next = start(&sim);
    let (orphans, unread) = adopt(&next.inner, false).unwrap();
    assert!(orphans.is_empty() && unread, "it is tried again");
    sim.make_readable();
    let (orphans, unread) = adopt(&next.inner, false).unwrap();
    assert!(orphans[0].segments.iter().all(|segment| !segment.damaged) && !unread);
    assert!(names(&sim).contains(&name));
    assert_eq!(next.stats().dropped, 0);
}

#[tokio::test]
async fn a_volume_that_cannot_be_read_or_written_is_not_a_matter_of_its_files() {
    for read_only in [true, false] {
        let sim = Sim::new();
        leave(&sim).await;
        let next = start(&sim);
        let before = names(&sim);
        let fail = |fails| {
            if read_only {
                sim.make_read_only(fails);
            } else {
                sim.refuse_reads(fails);
            }
        };
        fail(true);
        assert!(adopt(&next.inner, true).unwrap().0.is_empty());
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
        while sim.failed_reads() < 6 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
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
        let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
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
        for now in [1, 2 * SECOND + 1] {
            time.set(now);
            spool.inner.flush().unwrap();
            assert!(names(&sim).contains(&name), "{now}");
        }
        if for_good {
            time.set(2 * SECOND + 2);
        } else {
            sim.make_readable();
        }
        spool.inner.flush().unwrap();
        assert!(!names(&sim).contains(&name));
        let aside = names(&sim).iter().any(|name| name.ends_with(".damaged"));
        assert_eq!(aside, for_good);
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
