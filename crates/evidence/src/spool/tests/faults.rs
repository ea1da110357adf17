//! The disk fails, and comes back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::shipper::Batch;
use crate::spool::recovery::adopt;
use crate::spool::{NoRoom, Spool, SpoolError, flush, segment};
use crate::testing::{
    DONE, MIB, cross, event, execute, home, interrupted, kept, open, open_on, open_with, request, ship,
};

/// A spool on a disk that fails when it is told to.
fn simulated() -> (Sim, Spool) {
    let sim = Sim::new();
    let (spool, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    (sim, spool)
}

#[tokio::test]
async fn outcomes_survive_a_disk_that_cannot_be_written() {
    let (disk, spool) = simulated();
    let (first, second) = (cross(&spool, 1).await, cross(&spool, 2).await);
    let room = spool.reserve().unwrap();
    disk.refuse_writes(true);

    first.outcome(&DONE);
    drop(second);
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Unwritable);
    assert!(matches!(kept(room, &request(3)).await, Err(SpoolError::Write(_))));
    flush(&spool.inner).await;
    assert!(!spool.stats().available, "the probe failed as well");

    disk.refuse_writes(false);
    flush(&spool.inner).await;
    assert!(spool.stats().available);
    execute(&spool, 4..5).await;
    assert_eq!(spool.stats().dropped, 0);
    assert_eq!(
        ship(&spool).await.data(),
        [event(1, &DONE), interrupted(2), event(4, &DONE)]
    );
}

#[tokio::test]
async fn a_refusal_that_cannot_be_written_is_kept_for_a_while_and_then_counted() {
    let disk = Sim::new();
    let (spool, _, time) = open_on(Arc::new(disk.clone()), Path::new("/"), MIB, INTERVAL);
    disk.refuse_writes(true);
    let room = spool.reserve().unwrap();
    assert!(kept(room, &request(0)).await.is_err());
    // That request's mandate is spent.
    spool.denied(&request(0), &super::refusal("session_revoked"));
    assert_eq!((spool.stats().dropped, spool.stats().persisted), (0, 1));
    let mut n = 1;
    while spool.stats().dropped == 0 {
        time.set(i64::try_from(n).unwrap() * crate::timestamp::SECOND);
        spool.denied(&request(n), &super::refusal("session_revoked"));
        n += 1;
        assert!(n < 10_000, "kept without end");
    }
    disk.refuse_writes(false);
    flush(&spool.inner).await;
    let sent = ship(&spool).await.data();
    assert_eq!(
        sent[0],
        event(0, &crate::Outcome::from(super::refusal("session_revoked")))
    );
    assert_eq!(sent.len() as u128, n - 1);
}

#[tokio::test]
async fn after_a_failed_sync_everything_in_doubt_is_written_again() {
    let (disk, spool) = simulated();
    let early = cross(&spool, 0).await;
    execute(&spool, 1..3).await;
    flush(&spool.inner).await;
    let durable = spool.inner.with_log(|log| log.durable());

    let open = cross(&spool, 3).await;
    execute(&spool, 4..100).await;
    early.outcome(&DONE);
    disk.fail_syncs(true);
    flush(&spool.inner).await;
    assert!(!spool.stats().available);
    assert_eq!(
        spool.inner.with_log(|log| log.durable()),
        durable,
        "nothing more counts as durable"
    );
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Unwritable);

    disk.fail_syncs(false);
    flush(&spool.inner).await;
    let stats = spool.stats();
    assert!(
        stats.available && stats.waiting == 99 && stats.dropped == 0,
        "{stats:?}"
    );
    open.outcome(&DONE);
    let order = (1..3).chain(4..100).chain([0, 3]);
    assert_eq!(
        ship(&spool).await.data(),
        order.map(|n| event(n, &DONE)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_is_in_doubt_and_does_not_read_back_keeps_the_spool_shut() {
    let (disk, spool) = simulated();
    execute(&spool, 0..3).await;
    disk.fail_syncs(true);
    flush(&spool.inner).await;
    disk.fail_syncs(false);
    disk.edit(|bytes| bytes[100] ^= 1);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Unwritable);

    disk.edit(|bytes| bytes[100] ^= 1);
    flush(&spool.inner).await;
    assert_eq!(
        ship(&spool).await.data(),
        (0..3).map(|n| event(n, &DONE)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn only_what_is_durable_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..5).await;
    assert!(spool.inner.with_log(|log| log.unshipped()).is_none());
    flush(&spool.inner).await;
    execute(&spool, 5..6).await;
    let (segment, _) = spool.inner.with_log(|log| log.unshipped()).unwrap();
    assert!(segment.end() < spool.inner.with_log(|log| log.head()));
}

#[tokio::test]
async fn a_damaged_segment_costs_no_more_than_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, _) = open_with(dir.path(), MIB, INTERVAL);
    execute(&spool, 0..100).await;
    let own = home(&spool);
    let path = own.join(segment::name(0));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let data = ship(&spool).await.data();
    let lost = 100 - data.len();
    assert!(data.len() > 60 && lost > 0, "{lost} lost");
    assert_eq!(spool.stats().dropped, lost as u64);
    assert_eq!(
        (&data[0], data.last().unwrap()),
        (&event(0, &DONE), &event(99, &DONE))
    );
    assert!(
        own.join("0000000000000000.damaged").exists(),
        "the damaged file is kept"
    );
}

#[tokio::test]
async fn long_lived_crossings_do_not_fill_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, _) = open_with(dir.path(), MIB, INTERVAL);
    let long = [cross(&spool, 1_000_000).await, cross(&spool, 1_000_001).await];
    let sink = crate::testing::Memory::new();
    for round in 0..20 {
        execute(&spool, round * 100..round * 100 + 100).await;
        let shipper = crate::Shipper::new(&spool, None);
        // The crossings that are under way keep the shipper from removing the spool.
        shipper.run(sink.clone(), std::future::ready(())).await;
        assert!(spool.stats().bytes < MIB / 2, "{:?}", spool.stats());
    }
    assert_eq!(sink.data().len(), 2_000);
    let base = spool
        .inner
        .with_log(|log| segment::list(&**log.home().unwrap().dir()).unwrap()[0]);
    assert!(
        base > 0,
        "the first segment is gone although its intents are open"
    );

    for crossing in long {
        crossing.abandon();
    }
    drop(spool);
    let next = open(dir.path());
    assert_eq!(
        crate::testing::ship_until(&next, 2).await.data(),
        [interrupted(1_000_000), interrupted(1_000_001)],
        "the copies stand for the intents"
    );
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_is_set_aside_and_the_rest_is_shipped() {
    for adopted in [false, true] {
        let disk = Sim::new();
        let open = || open_on(Arc::new(disk.clone()), Path::new("/"), MIB, INTERVAL);
        let (mut spool, _, mut time) = open();
        execute(&spool, 0..200).await;
        flush(&spool.inner).await;
        let name = disk.make_unreadable(1);
        if adopted {
            drop(spool);
            disk.crash(Crash::Kill);
            (spool, _, time) = open();
        }
        let sink = crate::testing::Memory::new();
        let shipped = sink.with_data(event(199, &DONE));
        let last = async {
            tokio::select! {
                () = shipped => {}
                () = disk.passes_time_at_failed_reads(&time) => {}
            }
        };
        let shipper = crate::Shipper::new(&spool, None).run(sink.clone(), last);
        let shipped = tokio::time::timeout(std::time::Duration::from_secs(60), shipper);
        shipped.await.unwrap();
        let data = sink.data();
        let lost = (0..200).filter(|n| !data.contains(&event(*n, &DONE))).count();
        assert!(data.len() > 100 && lost > 0, "{lost} lost");
        let counted = if adopted { 2 } else { lost as u64 };
        assert_eq!(
            spool.stats().dropped,
            counted,
            "the events that were known, or the file and a request that ended in it"
        );
        let aside = name.replace(".seg", ".damaged");
        let kept = disk.tree().into_values().any(|names| names.contains(&aside));
        assert!(kept, "{aside} in {:?}", disk.tree());
    }
}

#[tokio::test]
async fn a_disk_that_hangs_at_the_end_keeps_nothing_back_that_is_durable() {
    let (disk, spool) = simulated();
    execute(&spool, 0..3).await;
    flush(&spool.inner).await;
    execute(&spool, 3..4).await;
    disk.hang_syncs(true);
    let data = ship(&spool).await.data();
    disk.hang_syncs(false);
    assert_eq!(data, (0..3).map(|n| event(n, &DONE)).collect::<Vec<_>>());
}

/// The power is cut at each operation of the end. What a successor ships goes on where this process ended.
#[tokio::test]
async fn a_clean_end_that_is_cut_off_leaves_a_chain_that_holds() {
    for change in 0.. {
        let (disk, spool) = simulated();
        let mut verifier = crate::Verifier::default();
        execute(&spool, 0..150).await;
        flush(&spool.inner).await;
        deliver(&spool, &mut verifier);
        let files = spool.stats().files;
        spool.inner.trim().unwrap();
        assert!(spool.stats().files < files, "an acknowledgement has been synced");
        execute(&spool, 150..153).await;
        flush(&spool.inner).await;
        deliver(&spool, &mut verifier);
        assert!(spool.inner.conclude());
        flush(&spool.inner).await;
        deliver(&spool, &mut verifier);
        disk.die_at(disk.changes() + change);
        let _ = spool.inner.close();
        let is_over = !disk.is_dead();
        drop(spool);
        disk.crash(Crash::LoseAll);

        let (next, _, _) = open_on(Arc::new(disk.clone()), Path::new("/"), MIB, INTERVAL);
        for mut orphan in adopt(&next.inner, &mut HashMap::new()).unwrap() {
            while let Some((segment, from)) = orphan.next().unwrap() {
                let (source, chain) = (orphan.source(segment.base), orphan.chain());
                let batch = Batch::read(&source, &segment, from, None, chain, &orphan.rewritten()).unwrap();
                let shipments = batch.shipments.iter();
                shipments.for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
                let (chain, counters) = (batch.chain, &next.inner.counters);
                orphan
                    .ship(batch.until, batch.damaged, chain, batch.last, counters)
                    .unwrap();
            }
        }
        let report = verifier.finish();
        assert!(report.is_sound(), "{change}: {report:?}");
        if is_over {
            break;
        }
    }
}

/// Ships what can be shipped, and deletes nothing.
fn deliver(spool: &Spool, verifier: &mut crate::Verifier) {
    let inner = &spool.inner;
    while let Some((segment, from)) = inner.with_log(|log| log.unshipped()) {
        let (source, chain) = inner.with_log(|log| (log.source(segment.base), log.chain().cloned()));
        let batch = Batch::read(&source, &segment, from, None, chain, &[]).unwrap();
        let shipments = batch.shipments.iter();
        shipments.for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
        let events = batch.shipments.len() as u64;
        inner.with_log(|log| log.ship(segment.base, batch.until, events, batch.last, batch.chain, 1));
    }
}

/// A checkpoint is not shipped without its signature: with it, it may be in the stream already.
#[tokio::test]
async fn a_spool_with_a_checkpoint_that_cannot_be_signed_waits_for_the_key() {
    let (disk, spool) = simulated();
    execute(&spool, 0..3).await;
    let id = uuid::Uuid::new_v4();
    let write = |out: &mut Vec<u8>| crate::chain::write_checkpoint(out, id, 1, false);
    assert!(spool.inner.standalone(id, write));
    drop(spool);
    disk.crash(Crash::Kill);
    let whole = disk.copy();
    disk.remove_files("key");
    for (disk, adopted) in [(disk, 0), (whole, 1)] {
        let (next, _, _) = open_on(Arc::new(disk), Path::new("/"), MIB, INTERVAL);
        let orphans = adopt(&next.inner, &mut HashMap::new()).unwrap();
        assert_eq!(orphans.len(), adopted);
    }
}

#[tokio::test]
async fn events_that_a_move_cannot_read_leave_their_numbers_unused() {
    let (disk, spool) = simulated();
    execute(&spool, 0..150).await;
    flush(&spool.inner).await;
    disk.make_unreadable(1);
    let name = disk.tree().into_keys().next().unwrap();
    disk.remove_tree(&name);
    flush(&spool.inner).await;
    assert_eq!(spool.stats().removed, 1);
    let lost = spool.stats().dropped;
    let sink = ship(&spool).await;
    assert!(lost > 0 && sink.data().len() as u64 + lost == 150);
    let mut verifier = crate::Verifier::default();
    let shipments = sink.shipments();
    shipments
        .iter()
        .for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
    let report = verifier.finish();
    let [crate::Fault::Lost { from, to, .. }] = report.faults.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(to - from + 1, lost);
}
