//! What is kept back on a full volume, and for what.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::sim::{Crash, Sim};
use super::{INTERVAL, refusal};
use crate::Shipper;
use crate::spool::{NoRoom, Spool, flush};
use crate::testing::{
    DONE, MIB, Memory, cross, event, execute, intend, not_dispatched, open_on, request, ship, ship_until,
};

const GIB: u64 = 1024 * MIB;

fn on(sim: &Sim) -> Spool {
    open_on(Arc::new(sim.clone()), Path::new("/"), GIB, INTERVAL).0
}

fn small(bytes: u64) -> (Sim, Spool) {
    let sim = Sim::new();
    sim.set_capacity(bytes);
    let spool = on(&sim);
    (sim, spool)
}

async fn ship_on(spool: &Spool, sink: &Arc<Memory>) {
    Shipper::new(spool, None)
        .run(sink.clone(), std::future::ready(()))
        .await;
}

/// Flushes, and ships what there is while something is under way.
async fn work_off(spool: &Spool, sink: &Arc<Memory>) {
    for _ in 0..3 {
        flush(&spool.inner).await;
        ship_on(spool, sink).await;
    }
}

/// Whether the flusher was told of something since this was asked before.
fn was_told(spool: &Spool) -> bool {
    let mut news = pin!(spool.inner.dirty.notified());
    news.as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

fn head(spool: &Spool) -> u64 {
    spool.inner.with_log(|log| log.head())
}

fn denied(n: u128) -> Vec<u8> {
    event(n, &crate::Outcome::from(refusal("exchange_refused")))
}

#[tokio::test]
async fn a_refusal_without_a_place_holds_up_no_outcome_and_eats_nothing_that_is_kept_back() {
    let (sim, spool) = small(512 * 1024);
    let (before, after) = (cross(&spool, 0).await, cross(&spool, 1).await);
    let room = spool.reserve().unwrap();
    flush(&spool.inner).await;
    sim.fill(0);
    before.outcome(&DONE);
    assert!(room.intent(&request(2)).await.is_err());
    spool.denied(&request(2), &refusal("exchange_refused"));
    after.outcome(&DONE);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    assert_eq!(spool.stats().waiting, 2, "both outcomes are on record");
    assert_eq!(spool.inner.with_log(|log| log.durable()), head(&spool));
    was_told(&spool);
    let stood = head(&spool);
    for _ in 0..10 {
        flush(&spool.inner).await;
        assert!(!was_told(&spool), "or it would be tried again at once");
    }
    assert_eq!(head(&spool), stood);

    drop(spool);
    sim.crash(Crash::LoseAll);
    let next = on(&sim);
    let sent = ship_until(&next, 2).await.data();
    assert_eq!(sent, [event(0, &DONE), event(1, &DONE)]);
}

#[tokio::test]
async fn what_a_disk_did_not_take_is_written_once_it_does_though_the_volume_is_full() {
    let (sim, spool) = small(512 * 1024);
    let crossing = cross(&spool, 0).await;
    flush(&spool.inner).await;
    sim.refuse_writes(true);
    spool.denied(&request(1), &refusal("exchange_refused"));
    crossing.outcome(&DONE);
    flush(&spool.inner).await;
    assert_eq!(spool.stats().waiting, 0);
    sim.fill(0);
    sim.refuse_writes(false);
    flush(&spool.inner).await;
    assert_eq!(spool.stats().waiting, 1, "what was promised comes first");
    sim.set_capacity(512 * 1024);
    flush(&spool.inner).await;
    assert_eq!(ship(&spool).await.data(), [event(0, &DONE), denied(1)]);
}

#[tokio::test]
async fn to_see_whether_there_is_space_takes_nothing_of_what_is_kept_back() {
    let (sim, spool) = small(512 * 1024);
    let long = cross(&spool, 0).await;
    let room = spool.reserve().unwrap();
    flush(&spool.inner).await;
    sim.fill(0);
    assert!(room.intent(&request(1)).await.is_err());
    let kept_back = || spool.inner.with_log(|log| log.kept_back());
    let before = (kept_back(), head(&spool));
    for _ in 0..10 {
        flush(&spool.inner).await;
    }
    assert_eq!((kept_back(), head(&spool)), before);
    sim.set_capacity(512 * 1024);
    flush(&spool.inner).await;
    assert!(spool.reserve().is_ok());
    drop(long);
}

#[tokio::test]
async fn what_had_no_place_is_written_and_shipped_once_there_is_space() {
    let (sim, spool) = small(64 * MIB);
    let crossing = cross(&spool, 0).await;
    let rooms = [spool.reserve().unwrap(), spool.reserve().unwrap()];
    sim.fill(0);
    for (n, room) in (1..).zip(rooms) {
        assert!(room.intent(&request(n)).await.is_err());
        spool.denied(&request(n), &refusal("exchange_refused"));
    }
    crossing.outcome(&DONE);
    for _ in 0..3 {
        flush(&spool.inner).await;
    }
    sim.set_capacity(64 * MIB);
    flush(&spool.inner).await;
    assert!(spool.reserve().is_ok());
    execute(&spool, 3..4).await;
    let sent = ship(&spool).await.data();
    assert_eq!(sent, [event(0, &DONE), denied(1), denied(2), event(3, &DONE)]);
    assert_eq!(spool.stats().dropped, 0);
}

#[tokio::test]
async fn outcomes_that_fit_are_written_beside_one_that_does_not() {
    let (sim, spool) = small(512 * 1024);
    let long = "\\".repeat(600);
    let big = |n| crate::Request {
        zone_id: &long,
        request_id: &long,
        resource: &long,
        agent_session_id: Some(&long),
        ..request(n)
    };
    let mut crossings = Vec::new();
    for n in 0..25 {
        crossings.push(spool.reserve().unwrap().intent(&big(n)).await.unwrap());
    }
    let little = cross(&spool, 100).await;
    sim.fill(0);
    let held = crossings.pop();
    crossings.into_iter().for_each(|crossing| crossing.outcome(&DONE));
    flush(&spool.inner).await;
    let waiting = spool.stats().waiting;
    assert_eq!(waiting, 0, "the intents under way keep their place");
    little.outcome(&DONE);
    flush(&spool.inner).await;
    assert_eq!(spool.stats().waiting, waiting + 1);
    sim.set_capacity(512 * 1024);
    for _ in 0..2 {
        flush(&spool.inner).await;
    }
    drop(held);
    assert_eq!(ship(&spool).await.data().len(), 26);
}

#[tokio::test]
async fn a_volume_of_which_others_leave_less_is_used_as_a_new_process_would() {
    for left in [7 * MIB / 2, MIB, 300 * 1024, 0] {
        let (sim, spool) = small(100 * MIB);
        let kept = intend(&spool, 1_000_000).await;
        cross(&spool, 0).await.outcome(&DONE);
        let full = cross(&spool, 1).await;
        sim.fill(0);
        full.outcome(&DONE);
        let sink = Memory::new();
        work_off(&spool, &sink).await;
        // Somebody takes what the first segment had been, and leaves this much.
        sim.fill(left);
        let mut n = 2;
        for _ in 0..40 {
            work_off(&spool, &sink).await;
            assert!(spool.reserve().is_ok(), "{left} {n}: {:?}", spool.stats());
            execute(&spool, n..n + 10).await;
            n += 10;
        }
        // What they took comes back.
        sim.set_capacity(100 * MIB);
        work_off(&spool, &sink).await;
        assert_eq!(spool.inner.with_log(|log| log.site().segment_bytes), 4 * MIB);
        execute(&spool, n..n + 1).await;
        drop(kept);
        ship_on(&spool, &sink).await;
        let mut expected: Vec<_> = (0..=n).map(|n| event(n, &DONE)).collect();
        expected.push(not_dispatched(1_000_000));
        assert_eq!(sink.data(), expected, "{left}");
    }
}

#[tokio::test]
async fn a_spare_that_cannot_be_made_keeps_the_gate_shut_whatever_the_reason() {
    let (sim, spool) = small(64 * MIB);
    let kept = intend(&spool, 1_000_000).await;
    let crossing = cross(&spool, 0).await;
    sim.fill(0);
    crossing.outcome(&DONE);
    assert_eq!(
        spool.reserve().unwrap_err(),
        NoRoom::NoSpace,
        "before anybody looks"
    );
    sim.set_capacity(64 * MIB);
    sim.refuse_new_files(true);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Unwritable);
    assert!(!spool.stats().available);
    sim.refuse_new_files(false);
    flush(&spool.inner).await;
    execute(&spool, 1..2).await;
    drop(kept);
    assert_eq!(ship(&spool).await.data().len(), 3);
}

#[tokio::test]
async fn a_sync_that_failed_on_a_full_volume_leaves_the_intents_their_place() {
    let (sim, spool) = small(512 * 1024);
    let mut long = Vec::new();
    for n in 0..12 {
        long.push(cross(&spool, 1_000 + n).await);
    }
    flush(&spool.inner).await;
    let mut live = Vec::new();
    for n in 0..40 {
        live.push(cross(&spool, n).await);
    }
    sim.fill(0);
    sim.fail_syncs(true);
    flush(&spool.inner).await;
    live.into_iter().for_each(|crossing| crossing.outcome(&DONE));
    sim.fail_syncs(false);
    flush(&spool.inner).await;
    let (left, open) = spool.inner.with_log(|log| log.kept_back());
    assert!(left >= open, "{left} bytes are left for {open} bytes of intents");
    drop(long);
}

#[tokio::test]
async fn a_refusal_is_written_where_only_what_is_promised_takes_the_space() {
    let (sim, spool) = small(4 * MIB);
    let mut rooms = Vec::new();
    while let Ok(room) = spool.reserve() {
        rooms.push(room);
    }
    // Somebody else writes as well.
    sim.fill(3 * MIB);
    flush(&spool.inner).await;
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::NoSpace);
    spool.denied(&request(0), &refusal("exchange_refused"));
    assert_eq!((spool.stats().dropped, spool.stats().waiting), (0, 1));
    drop(rooms);
    assert_eq!(ship(&spool).await.data(), [denied(0)]);
}

#[tokio::test]
async fn the_spool_is_not_available_while_a_request_would_be_refused() {
    let full = Sim::new();
    let full = open_on(Arc::new(full), Path::new("/"), MIB, INTERVAL).0;
    for spool in [full, small(512 * 1024).1] {
        let mut rooms = Vec::new();
        while let Ok(room) = spool.reserve() {
            assert!(spool.stats().available || spool.reserve().is_err());
            rooms.push(room);
        }
        assert!(!spool.stats().available);
        rooms.pop();
        assert!(spool.stats().available);
    }
}

#[tokio::test]
async fn a_live_stream_is_promised_no_more_than_its_outcome_takes() {
    let (_, spool) = small(4 * MIB);
    let mut live = Vec::new();
    while let Ok(room) = spool.reserve() {
        live.push(room.intent(&request(live.len() as u128)).await.unwrap());
    }
    assert!(live.len() > 1500, "{}", live.len());
    live.into_iter().for_each(|crossing| crossing.outcome(&DONE));
    assert_eq!(spool.stats().dropped, 0);
}
