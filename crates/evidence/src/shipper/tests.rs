use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shipper::Shipper;
use crate::signature::AuditKey;
use crate::spool::{Fsync, flush};
use crate::testing::{DONE, MIB, Memory, event, execute, open, open_with, plain, ship};
use crate::timestamp::SECOND;

#[tokio::test]
async fn events_are_shipped_in_order_while_serving() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, _) = open_with(dir.path(), 16 * MIB, Fsync::Interval(Duration::from_millis(1)));
    let sink = Memory::new();
    let (all, flushed) = (sink.holds(600), sink.holds(600));
    tokio::join!(
        flusher.run(flushed),
        Shipper::new(&spool, None).run(sink.clone(), all),
        execute(&spool, 0..600),
    );
    assert_eq!(sink.data(), (0..600).map(|n| event(n, &DONE)).collect::<Vec<_>>());
    assert_eq!(spool.stats().drained, 601, "they, and the last checkpoint");
}

#[tokio::test]
async fn an_outage_is_waited_out_and_nothing_is_lost_or_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, _) = open_with(dir.path(), 16 * MIB, Fsync::Interval(Duration::from_millis(1)));
    let sink = Memory::new();
    sink.set_down(true);
    let (all, flushed) = (sink.holds(40), sink.holds(40));
    let outage = async {
        execute(&spool, 0..20).await;
        sink.attempted(2).await;
        execute(&spool, 20..40).await;
        assert_eq!(spool.stats().waiting, 40);
        sink.set_down(false);
    };
    let shipper = Shipper::new(&spool, None).run(sink.clone(), all);
    tokio::join!(flusher.run(flushed), shipper, outage);
    assert_eq!(sink.data(), (0..40).map(|n| event(n, &DONE)).collect::<Vec<_>>());
    assert!(spool.stats().sink_errors >= 2);
}

#[tokio::test]
async fn an_outage_shows_within_a_second_and_only_while_events_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, time) = open_with(dir.path(), 16 * MIB, Fsync::Interval(Duration::from_millis(1)));
    let sink = Memory::new();
    sink.set_down(true);
    let (shipped, all, flushed) = (sink.holds(2), sink.holds(3), sink.holds(3));
    let outage = async {
        time.set(SECOND);
        assert!(!spool.is_stalled(), "nothing waits");
        execute(&spool, 0..2).await;
        sink.attempted(1).await;
        time.set(2 * SECOND);
        assert!(!spool.is_stalled(), "it may be on its way");
        time.set(2 * SECOND + 1);
        assert!(spool.is_stalled());
        sink.set_down(false);
        shipped.await;
        time.set(9 * SECOND);
        while spool.is_stalled() {
            tokio::task::yield_now().await;
        }
        execute(&spool, 2..3).await;
    };
    let shipper = Shipper::new(&spool, None).run(sink.clone(), all);
    tokio::join!(flusher.run(flushed), shipper, outage);
    assert!(!spool.is_stalled());
}

#[tokio::test]
async fn full_stream_is_waited_out_shows_and_is_no_error_of_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, time) = open_with(dir.path(), 16 * MIB, Fsync::Interval(Duration::from_millis(1)));
    let sink = Memory::new();
    sink.set_full(true);
    let (all, flushed) = (sink.holds(3), sink.holds(3));
    let pause = async {
        time.set(SECOND);
        execute(&spool, 0..2).await;
        sink.attempted(2).await;
        execute(&spool, 2..3).await;
        time.set(2 * SECOND + 1);
        assert!(spool.stats().stream_full && spool.is_stalled());
        assert_eq!(spool.stats().waiting, 3);
        sink.set_full(false);
    };
    let shipper = Shipper::new(&spool, None).run(sink.clone(), all);
    tokio::join!(flusher.run(flushed), shipper, pause);
    assert_eq!(sink.data(), (0..3).map(|n| event(n, &DONE)).collect::<Vec<_>>());
    let stats = spool.stats();
    assert_eq!((stats.stream_full, stats.sink_errors), (false, 0));
    assert!(!spool.is_stalled());
}

#[tokio::test]
async fn what_is_accepted_in_part_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..10).await;
    let sink = Memory::new();
    sink.at_once.store(3, Ordering::Relaxed);
    Shipper::new(&spool, None)
        .run(sink.clone(), std::future::ready(()))
        .await;
    assert_eq!(sink.data(), (0..10).map(|n| event(n, &DONE)).collect::<Vec<_>>());
    assert_eq!(
        (spool.stats().drained, spool.stats().sink_errors),
        (11, 0),
        "they, and the last checkpoint"
    );
}

#[tokio::test]
async fn batches_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..1000).await;
    let sink = ship(&spool).await;
    assert_eq!(sink.data().len(), 1000);
    let batches = sink.batches();
    assert!(
        batches.iter().all(|batch| *batch <= 256) && batches.len() < 8,
        "{batches:?}"
    );
}

#[tokio::test]
async fn shipments_are_signed_over_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 7..8).await;
    let key = AuditKey::new(&[9; 32]).unwrap();
    let sink = Memory::new();
    Shipper::new(&spool, Some(key.clone()))
        .run(sink.clone(), std::future::ready(()))
        .await;
    let shipment = sink.shipments().remove(0);
    assert_eq!(shipment.id, "00000000-0000-0000-0000-000000000007");
    assert_eq!(plain(&shipment.data), event(7, &DONE));
    assert_eq!(shipment.sig, Some(key.sign(&shipment.data)));
}

#[tokio::test]
async fn without_a_stream_the_end_comes_in_time_and_the_next_process_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..3).await;
    let down = Memory::new();
    down.set_down(true);
    Shipper::new(&spool, None)
        .run(down.clone(), std::future::ready(()))
        .await;
    assert!(down.data().is_empty());
    assert_eq!(spool.stats().waiting, 3);
    drop(spool);
    let next = open(dir.path());
    flush(&next.inner).await;
    assert_eq!(crate::testing::ship_until(&next, 3).await.data().len(), 3);
}
