//! What a dead process left, on a disk that fails now and then.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use super::unreadable::adopt_patiently;
use crate::shipper::{Batch, Shipper};
use crate::spool::recovery::adopt;
use crate::spool::segment::PREFACE;
use crate::spool::{Orphan, Spool};
use crate::testing::{DONE, MIB, Memory, Time, event, execute, open_on, ship_until};

fn start(sim: &Sim) -> (Spool, Time) {
    let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    (spool, time)
}

/// A process is killed with so many segments. How many events are in them.
async fn leave(sim: &Sim, segments: u64) -> u128 {
    let (spool, _) = start(sim);
    let mut n = 0;
    while spool.stats().files < segments {
        execute(&spool, n..n + 1).await;
        n += 1;
    }
    spool.inner.flush().unwrap();
    drop(spool);
    sim.crash(Crash::Kill);
    n
}

#[tokio::test]
async fn what_cannot_be_deleted_is_shipped_all_the_same_and_deleted_later() {
    for refuses_removals in [false, true] {
        let sim = Sim::new();
        let events = leave(&sim, 4).await;
        let (next, _) = start(&sim);
        let fail = |fails| {
            if refuses_removals {
                sim.refuse_removals(fails);
            } else {
                sim.fail_syncs(fails);
            }
        };
        let sink = Memory::new();
        sink.set_down(true);
        let done = async {
            sink.attempted(1).await;
            fail(true);
            sink.set_down(false);
            sink.with_data(event(events - 1, &DONE)).await;
            fail(false);
        };
        let run = Shipper::new(&next, None).run(sink.clone(), done);
        tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
        let data: Vec<_> = (0..events).map(|n| event(n, &DONE)).collect();
        assert_eq!(sink.data(), data, "{refuses_removals}");
        assert!(sim.tree().is_empty(), "{:?}", sim.tree());
    }
}

#[tokio::test]
async fn a_flipped_bit_before_the_records_costs_none_of_them() {
    for at in 0..PREFACE.len() - 1 {
        let sim = Sim::new();
        let events = leave(&sim, 2).await;
        sim.edit(|bytes| bytes[at] ^= 1);
        let (next, _) = start(&sim);
        let run = ship_until(&next, usize::try_from(events).unwrap());
        let sink = tokio::time::timeout(Duration::from_secs(5), run).await.unwrap();
        let data: Vec<_> = (0..events).map(|n| event(n, &DONE)).collect();
        assert_eq!((sink.data(), next.stats().dropped), (data, 0));
    }
}

/// Takes all but what is made at the end, and passes what cannot be read. Its bytes, by the ids.
fn take(orphan: &mut Orphan, spool: &Spool) -> HashMap<String, Bytes> {
    let mut taken = HashMap::new();
    while let Some((segment, from)) = orphan
        .next()
        .unwrap()
        .filter(|(segment, _)| segment.base < 1 << 62)
    {
        let (source, chain) = (orphan.source(segment.base), orphan.chain());
        let read = Batch::read(&source, &segment, from, None, chain.clone(), &orphan.rewritten());
        let batch = read.unwrap_or_else(|_| Batch::unreadable(from, chain));
        taken.extend(
            batch
                .shipments
                .into_iter()
                .map(|shipment| (shipment.id, shipment.data)),
        );
        let counters = &spool.inner.counters;
        orphan
            .ship(batch.until, batch.damaged, batch.chain, batch.last, counters)
            .unwrap();
    }
    taken
}

#[tokio::test]
async fn what_follows_a_segment_that_was_given_up_keeps_its_numbers_when_that_reads_back() {
    let sim = Sim::new();
    leave(&sim, 3).await;
    sim.make_unreadable(1);
    let (next, time) = start(&sim);
    let mut orphan = adopt_patiently(&next, &time).pop().unwrap();
    let first = take(&mut orphan, &next);
    drop((orphan, next));
    sim.crash(Crash::LoseAll);
    sim.make_readable();
    let (last, _) = start(&sim);
    let mut orphan = adopt(&last.inner, &mut HashMap::new()).unwrap().pop().unwrap();
    let second = take(&mut orphan, &last);
    assert!(!second.is_empty(), "nobody knew that it was shipped");
    for (id, data) in second {
        assert_eq!(first.get(&id), Some(&data));
    }
}

#[tokio::test]
async fn what_follows_a_segment_that_was_given_up_waits_until_its_numbers_are_kept() {
    for fails_on in [true, false] {
        let sim = Sim::new();
        let events = leave(&sim, 3).await;
        let flip = || sim.edit_segment(1, |bytes| bytes[100] ^= 1);
        flip();
        let (next, _) = start(&sim);
        let sink = Memory::new();
        sink.set_down(true);
        let last = event(events - 1, &DONE);
        let done = async {
            sink.attempted(1).await;
            sim.fail_syncs(true);
            sink.set_down(false);
            sink.with_data(event(0, &DONE)).await;
            if !fails_on {
                sim.fail_syncs(false);
                sink.with_data(last.clone()).await;
            }
        };
        let run = Shipper::new(&next, None).run(sink.clone(), done);
        tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
        assert_eq!(sink.data().contains(&last), !fails_on);
        drop(next);
        if !fails_on {
            continue;
        }
        sim.fail_syncs(false);
        sim.crash(Crash::LoseAll);
        flip();
        let (last, _) = start(&sim);
        let told = ship_until(&last, usize::try_from(events).unwrap()).await;
        let first: HashMap<_, _> = sink
            .shipments()
            .into_iter()
            .map(|one| (one.id, one.data))
            .collect();
        for shipment in told.shipments() {
            assert!(first.get(&shipment.id).is_none_or(|data| *data == shipment.data));
        }
    }
}
