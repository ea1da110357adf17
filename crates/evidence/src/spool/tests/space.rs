//! Somebody removes the spool, the volume is full, or the disk does not answer.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::sim::{Crash, Sim};
use super::{INTERVAL, refusal};
use crate::spool::{NoRoom, Spool, flush, segment};
use crate::testing::{
    DONE, FSYNC_TIMEOUT, MIB, Memory, cross, event, execute, home, intend, interrupted, kept, not_dispatched,
    open, open_on, request, ship, ship_until,
};
use crate::{Outcome, Shipper};

const GIB: u64 = 1024 * MIB;

fn events(numbers: impl IntoIterator<Item = u128>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|n| event(n, &DONE)).collect()
}

/// Ships what there is while something is under way, so that the spool is not removed.
async fn ship_on(spool: &Spool, sink: &Arc<Memory>) {
    Shipper::new(spool, None)
        .run(sink.clone(), std::future::ready(()))
        .await;
}

#[tokio::test]
async fn a_removed_directory_is_noticed_and_what_it_held_is_saved() {
    for what in ["directory", "segment", "root", "moved"] {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        let spool = open(&root);
        execute(&spool, 0..3).await;
        let live = cross(&spool, 3).await;
        let killed = [cross(&spool, 4).await, intend(&spool, 5).await];
        flush(&spool.inner).await;
        let old = home(&spool);
        let kept = parent.path().join("kept");
        match what {
            "directory" => fs::remove_dir_all(&old).unwrap(),
            "segment" => fs::remove_file(old.join(segment::name(0))).unwrap(),
            "root" => fs::remove_dir_all(&root).unwrap(),
            _ => fs::rename(&old, &kept).unwrap(),
        }
        // Nobody has looked yet.
        execute(&spool, 6..8).await;
        flush(&spool.inner).await;
        let stats = spool.stats();
        assert_eq!((stats.removed, stats.dropped, stats.waiting), (1, 0, 5), "{what}");
        assert!(stats.available && home(&spool).is_dir(), "{what}");
        execute(&spool, 8..9).await;
        live.outcome(&DONE);
        let sink = Memory::new();
        ship_on(&spool, &sink).await;
        assert_eq!(sink.data(), events([0, 1, 2, 6, 7, 8, 3]), "{what}");

        killed.into_iter().for_each(crate::Crossing::abandon);
        drop(spool);
        let next = open(&root);
        let rest = ship_until(&next, 2).await;
        assert_eq!(rest.data(), [interrupted(4), not_dispatched(5)], "{what}");
        if what == "moved" {
            let left: Vec<_> = fs::read_dir(kept)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left, ["spare"], "what was moved away cannot be told twice");
        }
    }
}

#[tokio::test]
async fn without_a_new_directory_nothing_is_accepted_and_outcomes_wait() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    let spool = open(&root);
    let live = cross(&spool, 0).await;
    fs::remove_dir_all(&root).unwrap();
    fs::write(&root, "in the way").unwrap();
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Removed);
    live.outcome(&DONE);
    fs::remove_file(&root).unwrap();
    flush(&spool.inner).await;
    execute(&spool, 1..2).await;
    assert_eq!(ship(&spool).await.data(), events(0..2));
    assert_eq!((spool.stats().removed, spool.stats().dropped), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_saved_of_a_removed_directory_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..3).await;
    flush(&spool.inner).await;
    let path = home(&spool).join(segment::name(0));
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    fs::remove_file(&path).unwrap();
    flush(&spool.inner).await;
    let stats = spool.stats();
    assert_eq!((stats.removed, stats.dropped, stats.waiting), (1, 3, 0));
    assert!(stats.available);
}

fn small(bytes: u64) -> (Sim, Spool) {
    let sim = Sim::new();
    sim.set_capacity(bytes);
    let (spool, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), GIB, INTERVAL);
    (sim, spool)
}

#[tokio::test]
async fn a_small_volume_is_used_again_and_again_with_and_without_a_long_request() {
    for (size, streams) in [(11 * MIB, 1), (11 * MIB, 0), (3 * MIB, 1), (MIB / 4, 1)] {
        let (_, spool) = small(size);
        let mut long = Vec::new();
        for n in 0..streams {
            long.push(cross(&spool, 1_000_000 + n).await);
        }
        // Keeps the spool from being removed where there is no stream.
        let kept = intend(&spool, 2_000_000).await;
        let sink = Memory::new();
        let per_round = size / 16 / 1024;
        for round in 0..48 {
            let first = u128::from(round * per_round);
            execute(&spool, first..first + u128::from(per_round)).await;
            flush(&spool.inner).await;
            ship_on(&spool, &sink).await;
        }
        assert_eq!(sink.data().len() as u64, 48 * per_round, "{size} {streams}");
        assert_eq!(spool.stats().dropped, 0);
        long.into_iter().for_each(|crossing| crossing.outcome(&DONE));
        drop(kept);
    }
}

#[tokio::test]
async fn a_volume_that_fills_up_refuses_until_something_is_shipped() {
    let (sim, spool) = small(64 * MIB);
    let long = cross(&spool, 1_000_000).await;
    execute(&spool, 0..10).await;
    flush(&spool.inner).await;
    // Somebody else takes the rest.
    sim.fill(20 * 1024);
    let mut n = 10;
    let refused = loop {
        match spool.reserve() {
            Ok(room) => match kept(room, &request(n)).await {
                Ok(crossing) => crossing.outcome(&DONE),
                Err(_) => break spool.reserve().unwrap_err(),
            },
            Err(refused) => break refused,
        }
        n += 1;
        if n.is_multiple_of(16) {
            flush(&spool.inner).await;
        }
        assert!(n < 100_000, "accepted without end");
    };
    assert_eq!(refused, NoRoom::NoSpace);
    assert!(n > 10);
    let sink = Memory::new();
    for _ in 0..3 {
        ship_on(&spool, &sink).await;
        flush(&spool.inner).await;
    }
    assert!(spool.reserve().is_ok(), "{:?}", spool.stats());
    execute(&spool, 500_000..500_001).await;
    long.outcome(&DONE);
    ship_on(&spool, &sink).await;
    assert_eq!(sink.data(), events((0..n).chain([500_000, 1_000_000])));
    assert_eq!(spool.stats().dropped, 0);
}

#[tokio::test]
async fn a_start_on_a_full_volume_ships_what_was_left_and_recovers() {
    let (sim, dead) = small(4 * MIB);
    execute(&dead, 0..20).await;
    cross(&dead, 20).await.abandon();
    execute(&dead, 21..30).await;
    intend(&dead, 30).await.abandon();
    drop(dead);
    sim.crash(Crash::Kill);
    // Where the spare one was, somebody else is now.
    sim.fill(0);
    let (spool, flusher, _) = open_on(Arc::new(sim.clone()), Path::new("/"), GIB, INTERVAL);
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    let sink = Memory::new();
    let done = sink.holds(31);
    let run = Shipper::new(&spool, None).run(sink.clone(), done);
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
    let mut expected = events((0..20).chain(21..30));
    expected.extend([interrupted(20), not_dispatched(30)]);
    assert_eq!(sink.data(), expected);
    let (spool, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), GIB, INTERVAL);
    execute(&spool, 40..41).await;
    drop(flusher);
    assert_eq!(ship(&spool).await.data(), events([40]));
}

#[tokio::test]
async fn a_volume_without_space_at_the_start_is_used_once_it_has_some() {
    let sim = Sim::new();
    sim.set_capacity(0);
    let (spool, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), GIB, INTERVAL);
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    sim.set_capacity(MIB);
    flush(&spool.inner).await;
    execute(&spool, 0..1).await;
    assert_eq!(spool.stats().removed, 0);
    assert_eq!(ship(&spool).await.data(), events([0]));
}

#[tokio::test]
async fn an_fsync_that_does_not_return_closes_the_gate_until_it_does() {
    let sim = Sim::new();
    let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    execute(&spool, 0..1).await;
    time.set(1);
    sim.hang_syncs(true);
    let timeout = i64::try_from(FSYNC_TIMEOUT.as_micros()).unwrap();
    let (early, late, available) = std::thread::scope(|scope| {
        scope.spawn(|| spool.inner.flush().unwrap());
        while !sim.is_hanging() {
            std::thread::yield_now();
        }
        time.set(1 + timeout);
        let early = spool.reserve().map(drop);
        time.set(2 + timeout);
        let seen = (early, spool.reserve().map(drop), spool.stats().available);
        sim.hang_syncs(false);
        seen
    });
    assert_eq!(early, Ok(()), "it may take as long as this");
    assert_eq!((late, available), (Err(NoRoom::Stuck), false));
    execute(&spool, 1..2).await;
    assert_eq!(ship(&spool).await.data(), events(0..2));
}

#[tokio::test]
async fn while_the_disk_does_not_answer_nobody_else_asks_it_for_anything() {
    let sim = Sim::new();
    let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    let (ends, left) = (cross(&spool, 0).await, cross(&spool, 1).await);
    let held = spool.reserve().unwrap().intent(&request(2)).await.unwrap();
    let waits = spool.reserve().unwrap().intent(&request(3)).await.unwrap();
    time.set(1);
    sim.hang_syncs(true);
    let timeout = i64::try_from(FSYNC_TIMEOUT.as_micros()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| spool.inner.flush().unwrap());
        while !sim.is_hanging() {
            std::thread::yield_now();
        }
        time.set(2 + timeout);
        let written = sim.changes();
        ends.outcome(&DONE);
        drop(left);
        assert!(held.departure().mark().is_err(), "it may not leave");
        assert!(waits.departure().keep().is_err(), "nor be dialled for");
        held.outcome(&DONE);
        drop(waits);
        spool.denied(&request(4), &refusal("exchange_refused"));
        assert_eq!(sim.changes(), written, "nothing is written");
        sim.hang_syncs(false);
    });
    let mut sent = ship(&spool).await.data();
    let mut expected = vec![
        event(0, &DONE),
        interrupted(1),
        event(2, &DONE),
        not_dispatched(3),
        event(4, &Outcome::from(refusal("exchange_refused"))),
    ];
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_request_that_never_left_is_not_interrupted_and_cannot_leave_later() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let stopped = intend(&spool, 0).await;
    let departure = stopped.departure();
    stopped.outcome(&crate::Outcome::new(crate::Status::Interrupted));
    assert!(departure.mark().is_err(), "its end is on record");
    drop(intend(&spool, 1).await);
    drop(cross(&spool, 2).await);
    assert_eq!(
        ship(&spool).await.data(),
        [not_dispatched(0), not_dispatched(1), interrupted(2)]
    );
}

#[tokio::test]
async fn a_mark_that_the_power_may_have_cost_counts_as_made() {
    let sim = Sim::new();
    let open = || open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL).0;
    let spool = open();
    let crossing = intend(&spool, 0).await;
    flush(&spool.inner).await;
    crossing.departure().mark().unwrap();
    crossing.abandon();
    drop(spool);
    sim.crash(Crash::LoseAll);
    assert_eq!(ship_until(&open(), 1).await.data(), [interrupted(0)]);
}
