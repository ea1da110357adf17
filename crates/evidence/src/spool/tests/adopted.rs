//! What a dead process left, on a disk that fails now and then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::shipper::Shipper;
use crate::spool::Spool;
use crate::spool::segment::PREFACE;
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
