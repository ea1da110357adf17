//! Segments that somebody removed, and what a power cut leaves of one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::spool::Spool;
use crate::spool::recovery::adopt;
use crate::testing::{DONE, MIB, cross, execute, open_on, ship_to_nobody};

fn start(sim: &Sim) -> Spool {
    open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL).0
}

#[tokio::test]
async fn what_was_shipped_from_a_newest_segment_that_is_missing_is_not_called_interrupted() {
    let sim = Sim::new();
    let spool = start(&sim);
    let ends = cross(&spool, 1_000_000).await;
    let (files, mut n) = (spool.stats().files, 0);
    while spool.stats().files == files {
        execute(&spool, n..n + 1).await;
        n += 1;
    }
    ends.outcome(&DONE);
    spool.inner.flush().unwrap();
    ship_to_nobody(&spool);
    drop(spool);
    sim.crash(Crash::Kill);
    assert!(sim.remove_segment(1));
    let next = start(&sim);
    let orphan = adopt(&next.inner, &mut HashMap::new()).unwrap().pop().unwrap();
    assert_eq!(orphan.finished, 0, "it was executed");
    assert!(next.stats().dropped > 0);
}

#[tokio::test]
async fn a_sector_that_a_power_cut_cost_behind_what_was_synced_is_no_damage() {
    let sim = Sim::new();
    let spool = start(&sim);
    cross(&spool, 1_000_000).await.abandon();
    spool.inner.flush().unwrap();
    let synced = usize::try_from(spool.inner.with_log(|log| log.head())).unwrap();
    execute(&spool, 0..4).await;
    drop(spool);
    sim.crash(Crash::KeepAll);
    let next_sector = synced.next_multiple_of(512);
    assert_ne!(synced, next_sector, "or there would be nothing to lose");
    sim.edit_segment(0, |bytes| bytes[synced..next_sector].fill(0));
    let next = start(&sim);
    let orphan = adopt(&next.inner, &mut HashMap::new()).unwrap().pop().unwrap();
    assert_eq!((orphan.finished, next.stats().dropped), (1, 0));
}
