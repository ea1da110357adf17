//! The chain of a process through what befalls its files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use crate::Verifier;
use crate::shipper::{Batch, Shipment};
use crate::spool::flush;
use crate::spool::recovery::adopt;
use crate::testing::{MIB, cross, execute, open_on, ship, ship_to_nobody, ship_until};
use crate::timestamp::SECOND;

fn assert_whole(sent: &[Shipment]) {
    let mut verifier = Verifier::default();
    sent.iter()
        .for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
    let report = verifier.finish();
    let [chain] = &report.chains[..] else {
        panic!("{report:?}")
    };
    assert!(report.is_sound() && chain.is_complete, "{report:?}");
}

#[tokio::test]
async fn a_chain_or_a_key_that_somebody_removes_alone_is_made_anew() {
    for name in ["chain", "key"] {
        // After a power cut it goes on where it was made anew.
        for (crash, count) in [(Crash::Kill, 1), (Crash::LoseAll, 3)] {
            let sim = Sim::new();
            let (spool, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
            let open = cross(&spool, 9).await;
            execute(&spool, 0..2).await;
            let mut sent = ship(&spool).await.shipments();
            sim.remove_files(name);
            execute(&spool, 2..4).await;
            flush(&spool.inner).await;
            assert_eq!((spool.stats().removed, spool.stats().dropped), (1, 0), "{name}");
            sent.extend(ship(&spool).await.shipments());
            open.abandon();
            drop(spool);
            sim.crash(crash);
            let (next, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
            sent.extend(ship_until(&next, count).await.shipments());
            assert_whole(&sent);
        }
    }
}

#[tokio::test]
async fn a_chain_keeps_the_time_of_its_last_event_through_a_move() {
    let sim = Sim::new();
    let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    time.set(10 * SECOND);
    execute(&spool, 0..2).await;
    flush(&spool.inner).await;
    ship_to_nobody(&spool);
    sim.tree().keys().for_each(|name| sim.remove_tree(name));
    flush(&spool.inner).await;
    drop(spool);
    sim.crash(Crash::Kill);
    let (next, _, _) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, INTERVAL);
    let orphan = adopt(&next.inner, &mut HashMap::new()).unwrap().remove(0);
    let segment = *orphan.segments.back().unwrap();
    let source = orphan.source(segment.base);
    let batch = Batch::read(&source, &segment, segment.first(), None, orphan.chain(), &[]).unwrap();
    let last: serde_json::Value = serde_json::from_slice(&batch.shipments[0].data).unwrap();
    assert_eq!(last["occurred_at"], "1970-01-01T00:00:10.000000Z");
}
