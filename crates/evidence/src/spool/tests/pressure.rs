//! What is asked while the disk is slow, short of space, or not what it was.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::sim::{Crash, Sim};
use super::{INTERVAL, keep_all};
use crate::Shipper;
use crate::shipper::Batch;
use crate::spool::recovery::adopt;
use crate::spool::{Fsync, NoRoom, Spool, flush, segment};
use crate::testing::{
    self, DONE, MIB, Memory, cross, event, execute, home, intend, open, open_on, plain, request, ship,
    ship_to_nobody,
};

const GIB: u64 = 1024 * MIB;

fn on(sim: &Sim, max_bytes: u64, fsync: Fsync) -> Spool {
    open_on(Arc::new(sim.clone()), Path::new("/"), max_bytes, fsync).0
}

fn small(bytes: u64) -> (Sim, Spool) {
    let sim = Sim::new();
    sim.set_capacity(bytes);
    let spool = on(&sim, GIB, INTERVAL);
    (sim, spool)
}

async fn ship_on(spool: &Spool, sink: &Arc<Memory>) {
    Shipper::new(spool, None)
        .run(sink.clone(), std::future::ready(()))
        .await;
}

/// Whether the log can be had while a sync of this work does not return.
fn is_at_hand_during(sim: &Sim, spool: &Spool, work: impl FnOnce() + Send) -> bool {
    sim.hang_syncs(true);
    std::thread::scope(|scope| {
        scope.spawn(work);
        while !sim.is_hanging() {
            std::thread::yield_now();
        }
        let at_hand = spool.inner.is_at_hand();
        sim.hang_syncs(false);
        at_hand
    })
}

#[tokio::test]
async fn nobody_waits_for_a_sync_that_repairs_or_ends_the_spool() {
    let sim = Sim::new();
    let spool = on(&sim, MIB, INTERVAL);
    execute(&spool, 0..3).await;
    sim.fail_syncs(true);
    flush(&spool.inner).await;
    sim.fail_syncs(false);
    let repairing = || spool.inner.flush().unwrap();
    assert!(is_at_hand_during(&sim, &spool, repairing));
    assert!(spool.stats().available);
    let kept = cross(&spool, 3).await;
    assert_eq!(ship(&spool).await.data().len(), 3);
    kept.outcome(&DONE);
    flush(&spool.inner).await;
    ship_to_nobody(&spool);
    let ending = || assert!(spool.inner.close().unwrap());
    assert!(is_at_hand_during(&sim, &spool, ending));
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Closed);
}

#[tokio::test]
async fn a_spare_segment_that_somebody_removes_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let spare = home(&spool).join(segment::SPARE);
    fs::remove_file(&spare).unwrap();
    flush(&spool.inner).await;
    assert!(spare.exists());
    // Gone at the moment at which it is needed.
    fs::remove_file(&spare).unwrap();
    let refused = spool.inner.with_log(|log| log.use_spare());
    assert!(refused.is_err());
    flush(&spool.inner).await;
    assert!(spare.exists() && spool.stats().available);
    execute(&spool, 0..3).await;
    assert_eq!(spool.stats().removed, 0);
    assert_eq!(ship(&spool).await.data().len(), 3);
}

#[tokio::test]
async fn a_small_volume_that_its_own_data_fills_is_used_again() {
    for streams in 0..3 {
        let (_, spool) = small(200 * 1024);
        let mut long = Vec::new();
        for n in 0..streams {
            long.push(cross(&spool, 1_000_000 + n).await);
        }
        let kept = intend(&spool, 2_000_000).await;
        let sink = Memory::new();
        let mut done = 0;
        for _ in 0..5 {
            let mut live = Vec::new();
            // As many as fit at once, and none of them ends before the volume is full.
            while let Ok(room) = spool.reserve() {
                let Ok(crossing) = testing::kept(room, &request(done)).await else {
                    break;
                };
                done += 1;
                if crossing.departure().mark().is_ok() {
                    live.push(crossing);
                }
                if live.len() == 8 {
                    live.drain(..).for_each(|crossing| crossing.outcome(&DONE));
                }
            }
            live.into_iter().for_each(|crossing| crossing.outcome(&DONE));
            for _ in 0..3 {
                flush(&spool.inner).await;
                ship_on(&spool, &sink).await;
            }
            assert!(spool.reserve().is_ok(), "{streams}: {:?}", spool.stats());
        }
        assert!(done > 40, "{done}");
        assert_eq!(spool.stats().dropped, 0);
        long.into_iter().for_each(|crossing| crossing.outcome(&DONE));
        drop(kept);
        ship_on(&spool, &sink).await;
        let sent = sink.data().len() as u128;
        assert_eq!(sent, done + streams + 1, "{streams}");
    }
}

#[tokio::test]
async fn what_is_written_is_shipped_where_nothing_more_can_be() {
    let (sim, spool) = small(MIB);
    let kept = intend(&spool, 1_000_000).await;
    execute(&spool, 0..150).await;
    let room = spool.reserve().unwrap();
    // Nobody has synced yet, and somebody else takes all the rest.
    sim.remove_files(segment::SPARE);
    sim.fill(0);
    assert!(testing::kept(room, &request(150)).await.is_err());
    let sink = Memory::new();
    for _ in 0..5 {
        flush(&spool.inner).await;
        ship_on(&spool, &sink).await;
    }
    assert_eq!(sink.data().len(), 150);
    sim.set_capacity(MIB);
    flush(&spool.inner).await;
    assert!(spool.reserve().is_ok(), "{:?}", spool.stats());
    drop(kept);
}

#[tokio::test]
async fn what_is_promised_on_a_small_volume_fits() {
    let (_, spool) = small(400 * 1024);
    let mut rooms = Vec::new();
    while let Ok(room) = spool.reserve() {
        rooms.push(room);
    }
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    assert!(rooms.len() > 10, "{}", rooms.len());
    keep_all(rooms).await;
    assert_eq!(spool.stats().dropped, 0);
}

#[tokio::test]
async fn a_spare_that_is_not_whole_keeps_the_gate_shut() {
    let (sim, spool) = small(8 * MIB);
    flush(&spool.inner).await;
    assert!(spool.reserve().is_ok());
    sim.remove_files(segment::SPARE);
    sim.fill(50 * 1024);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    sim.set_capacity(8 * MIB);
    flush(&spool.inner).await;
    assert!(spool.reserve().is_ok());
}

#[tokio::test]
async fn a_directory_that_cannot_be_looked_at_shuts_the_gate_until_it_can() {
    let sim = Sim::new();
    let spool = on(&sim, MIB, INTERVAL);
    execute(&spool, 0..3).await;
    sim.refuse_looks(true);
    for _ in 0..2 {
        flush(&spool.inner).await;
        assert_eq!(spool.reserve().unwrap_err(), NoRoom::Unwritable);
        assert!(!spool.stats().available);
    }
    sim.refuse_looks(false);
    flush(&spool.inner).await;
    execute(&spool, 3..4).await;
    assert_eq!(ship(&spool).await.data().len(), 4);
    assert_eq!((spool.stats().removed, spool.stats().dropped), (0, 0));
}

#[tokio::test]
async fn a_request_whose_intent_was_lost_in_a_move_does_not_leave() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let waiting = intend(&spool, 0).await;
    flush(&spool.inner).await;
    let path = home(&spool).join(segment::name(0));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(60).unwrap();
    fs::remove_file(&path).unwrap();
    flush(&spool.inner).await;
    assert!(waiting.departure().mark().is_err());
    let moved = intend(&spool, 1).await;
    moved.departure().mark().unwrap();
    moved.outcome(&DONE);
    drop(waiting);
    let sent = ship(&spool).await.data();
    assert_eq!(sent, [event(1, &DONE), crate::testing::not_dispatched(0)]);
}

#[tokio::test]
async fn what_damage_made_of_a_request_stays_so() {
    let sim = Sim::new();
    let dead = on(&sim, MIB, INTERVAL);
    execute(&dead, 0..100).await;
    intend(&dead, 1000).await.abandon();
    drop(dead);
    sim.crash(Crash::Kill);
    // The first record, so that no outcome is missing behind it.
    sim.edit(|bytes| bytes[100] ^= 1);
    let mut told = Vec::new();
    for _ in 0..2 {
        let next = on(&sim, MIB, INTERVAL);
        let mut orphans = adopt(&next.inner, &mut HashMap::new()).unwrap();
        let orphan = orphans
            .iter_mut()
            .find(|orphan| orphan.unshipped().is_some())
            .unwrap();
        while let Some((segment, from)) = orphan.next().unwrap() {
            let (source, chain) = (orphan.source(segment.base), orphan.chain());
            let batch = Batch::read(&source, &segment, from, None, chain, &orphan.rewritten()).unwrap();
            if orphan.segments.back().unwrap().base == segment.base {
                // Shipped, and killed before that could be noted.
                told.push(batch.shipments);
                break;
            }
            orphan
                .ship(
                    batch.until,
                    batch.damaged,
                    batch.chain,
                    batch.last,
                    &next.inner.counters,
                )
                .unwrap();
        }
        drop(orphans);
        next.inner.close().unwrap();
        drop(next);
        sim.crash(Crash::Kill);
    }
    assert_eq!(plain(&told[0][0].data), crate::testing::interrupted(1000));
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_mark_asks_for_no_sync_of_its_own() {
    let sim = Sim::new();
    let spool = on(&sim, MIB, INTERVAL);
    let crossing = intend(&spool, 0).await;
    let asked = || {
        let mut news = pin!(spool.inner.dirty.notified());
        news.as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    };
    flush(&spool.inner).await;
    assert!(asked());
    assert!(!asked());
    crossing.departure().mark().unwrap();
    assert!(!asked(), "it goes along with the outcome");
    crossing.outcome(&DONE);
    assert!(asked());
    flush(&spool.inner).await;
    assert_eq!(ship(&spool).await.data(), [event(0, &DONE)]);
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_keeps_no_spare_from_being_made() {
    let sim = Sim::new();
    let spool = on(&sim, MIB, INTERVAL);
    let long = cross(&spool, 1_000_000).await;
    let sink = Memory::new();
    execute(&spool, 0..200).await;
    flush(&spool.inner).await;
    ship_to_nobody(&spool);
    sim.remove_files(segment::SPARE);
    sim.refuse_reads(true);
    flush(&spool.inner).await;
    assert!(sim.tree().values().flatten().any(|name| name == segment::SPARE));
    assert!(spool.stats().available);
    sim.refuse_reads(false);
    flush(&spool.inner).await;
    assert!(spool.stats().files < 3, "{:?}", spool.stats());
    long.outcome(&DONE);
    ship_on(&spool, &sink).await;
    assert_eq!(sink.data(), [event(1_000_000, &DONE)]);
}
