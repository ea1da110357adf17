use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::event::{Outcome, Refusal, Replay, Status};
use crate::fingerprint::fingerprint;
use crate::spool::{Fsync, NoRoom, Room, Spool, SpoolConfig, SpoolError};
use crate::testing::{
    DONE, MIB, cross, event, execute, interrupted, open, open_with, request, ship, ship_until,
};
use crate::timestamp::SECOND;

mod adopted;
mod chain;
mod faults;
mod full;
mod missing;
mod model;
mod pressure;
mod recovery;
pub(crate) mod sim;
mod space;
mod unreadable;

const INTERVAL: Fsync = Fsync::Interval(Duration::from_millis(1));

#[tokio::test]
async fn a_crossing_leaves_one_event_with_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    cross(&spool, 1).await.outcome(&DONE);
    assert_eq!(ship(&spool).await.data(), [event(1, &DONE)]);
}

#[tokio::test]
async fn a_dropped_crossing_is_interrupted_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    drop(cross(&spool, 1).await);
    assert_eq!(spool.stats().waiting, 1);
    assert_eq!(ship(&spool).await.data(), [interrupted(1)]);
}

#[tokio::test]
async fn a_room_without_intent_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let before = spool.stats();
    let room = spool.reserve().unwrap();
    assert!(spool.stats().queue_depth > before.queue_depth);
    drop(room);
    assert_eq!(spool.stats(), before);
    assert!(ship(&spool).await.data().is_empty());
}

#[tokio::test]
async fn an_empty_spool_is_removed_at_the_end_and_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..3).await;
    let room = spool.reserve().unwrap();
    ship(&spool).await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(spool.reserve().unwrap_err(), NoRoom::Closed);
    assert!(matches!(
        room.intent(&request(9)).await,
        Err(SpoolError::Write(_))
    ));
}

#[tokio::test]
async fn an_id_that_is_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let first = cross(&spool, 1).await;
    let second = spool.reserve().unwrap().intent(&request(1)).await;
    assert!(matches!(second, Err(SpoolError::DuplicateId)));
    first.outcome(&DONE);
    assert_eq!(ship(&spool).await.data(), [event(1, &DONE)]);
}

#[tokio::test]
async fn under_always_an_intent_waits_for_the_flusher() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, _) = open_with(dir.path(), MIB, Fsync::Always);
    {
        // Nobody flushes: the intent is given up, as by a client that has gone.
        let request = request(1);
        let mut intent = std::pin::pin!(spool.reserve().unwrap().intent(&request));
        tokio::select! {
            biased;
            _ = &mut intent => panic!("an intent was durable without a flush"),
            () = std::future::ready(()) => {}
        }
    }
    let crossing = async {
        let crossing = cross(&spool, 2).await;
        assert!(spool.inner.with_log(|log| log.durable()) > 0);
        crossing.outcome(&DONE);
    };
    let (done, stop) = tokio::sync::oneshot::channel();
    tokio::join!(flusher.run(async { stop.await.unwrap() }), async {
        crossing.await;
        done.send(()).unwrap();
    });
    assert_eq!(
        ship(&spool).await.data(),
        [event(2, &DONE)],
        "what was given up leaves no event"
    );
}

#[tokio::test]
async fn a_full_spool_refuses_until_something_is_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, _) = open_with(dir.path(), MIB, INTERVAL);
    let mut n = 0;
    let refused = loop {
        match spool.reserve() {
            Ok(room) => room.intent(&request(n)).await.unwrap().outcome(&DONE),
            Err(refused) => break refused,
        }
        n += 1;
    };
    assert_eq!(refused, NoRoom::Full);
    let full = spool.stats();
    assert!(n > 500 && full.bytes <= MIB && full.dropped == 0, "{n} {full:?}");
    assert!(full.queue_depth + 2 >= full.queue_capacity, "{full:?}");

    let open = async {
        // A crossing that is under way keeps the spool from being removed at the end.
        while spool.reserve().is_err() {
            tokio::task::yield_now().await;
        }
        cross(&spool, n).await
    };
    let count = usize::try_from(n).unwrap();
    let (sink, crossing) = tokio::join!(ship_until_flushed(&spool, count), open);
    assert_eq!(sink.data().len(), count);
    assert!(spool.stats().bytes < full.bytes / 2, "{:?}", spool.stats());
    crossing.outcome(&DONE);
}

async fn ship_until_flushed(spool: &Spool, count: usize) -> std::sync::Arc<crate::testing::Memory> {
    crate::spool::flush(&spool.inner).await;
    ship_until(spool, count).await
}

/// Uses each of these rooms, for events as long as they may be.
async fn keep_all(rooms: Vec<Room>) {
    let long = "\\".repeat(600);
    for (n, room) in rooms.into_iter().enumerate() {
        let request = crate::Request {
            zone_id: &long,
            request_id: &long,
            resource: &long,
            agent_session_id: Some(&long),
            ..request(n as u128)
        };
        room.intent(&request).await.unwrap().outcome(&DONE);
    }
}

#[tokio::test]
async fn rooms_are_promised_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, _) = open_with(dir.path(), MIB, INTERVAL);
    let mut rooms = Vec::new();
    while let Ok(room) = spool.reserve() {
        rooms.push(room);
    }
    assert_eq!(rooms.len() as u64, spool.stats().queue_capacity / 2);
    // Every promise can be kept, however long the events are.
    keep_all(rooms).await;
    let stats = spool.stats();
    assert!(stats.dropped == 0 && stats.bytes <= MIB, "{stats:?}");
}

#[tokio::test]
async fn files_and_directories_are_for_this_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir.path().join("replay"));
    execute(&spool, 0..1).await;
    let own = crate::testing::home(&spool);
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(own).unwrap() {
        assert_eq!(
            file.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_spool_needs_a_megabyte_and_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let config = |dir: &std::path::Path, max_bytes| SpoolConfig {
        dir: dir.to_owned(),
        max_bytes,
        fsync: INTERVAL,
        fsync_timeout: Duration::from_secs(2),
        denials_per_second: 100,
        checkpoint_key: None,
        clock: std::sync::Arc::new(|| 0),
        monotonic: std::sync::Arc::new(|| 1),
    };
    assert!(matches!(
        Spool::open(config(dir.path(), MIB - 1)),
        Err(SpoolError::TooSmall)
    ));
    assert!(matches!(
        Spool::open(config(&file, MIB)),
        Err(SpoolError::Directory { .. })
    ));
}

fn refusal(error_kind: &'static str) -> Refusal {
    Refusal {
        status: Status::Denied,
        error_kind,
        gateway_status: 401,
        latency_ms: 1,
    }
}

#[tokio::test]
async fn refusals_past_the_quota_become_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, flusher, time) = open_with(dir.path(), 64 * MIB, INTERVAL);
    for n in 0..250 {
        spool.denied(&request(n), &refusal("session_revoked"));
    }
    spool.denied(&request(999), &refusal("not_bound"));
    spool.replay_detected(&Replay {
        id: uuid::Uuid::from_u128(1000),
        occurred_at: 0,
        zone_id: "zone-1",
        request_id: "r",
        jti: "j",
        resource: "res",
        client_id: "c",
        subject_fingerprint: fingerprint(b"b"),
    });
    let stats = spool.stats();
    assert_eq!((stats.waiting, stats.suppressed, stats.dropped), (102, 150, 0));
    time.set(request(0).occurred_at + SECOND);
    flusher.run(std::future::ready(())).await;
    let data = ship(&spool).await.data();
    assert_eq!(data[0], event(0, &Outcome::from(refusal("session_revoked"))));
    let sum: serde_json::Value = serde_json::from_slice(data.last().unwrap()).unwrap();
    assert_eq!(sum["metadata_json"]["suppressed"], 150);
    assert_eq!(data.len(), 103);
}

/// One is refused at once, the next after two and a half seconds, and so on.
#[tokio::test]
async fn refusals_are_counted_when_they_are_written_whenever_they_began() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, time) = open_with(dir.path(), 64 * MIB, INTERVAL);
    for step in 0..45 {
        let now = 100 * SECOND + step * SECOND / 10;
        time.set(now);
        for n in 0..40 {
            let request = crate::Request {
                occurred_at: if n % 2 == 0 { now } else { now - 5 * SECOND / 2 },
                ..request(n)
            };
            spool.denied(&request, &refusal("exchange_refused"));
        }
    }
    let stats = spool.stats();
    assert_eq!(
        (stats.persisted, stats.suppressed),
        (500 + 4, 45 * 40 - 500),
        "and a sum each second"
    );
}

#[tokio::test]
async fn refusals_leave_the_last_quarter_to_crossings() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, time) = open_with(dir.path(), MIB, INTERVAL);
    for second in 0..100 {
        time.set(second * SECOND);
        for n in 0..100 {
            spool.denied(&request(n), &refusal("session_revoked"));
        }
    }
    let stats = spool.stats();
    assert!(stats.suppressed > 0 && stats.dropped == 0, "{stats:?}");
    assert!(stats.bytes < MIB * 3 / 4 + MIB / 8, "{stats:?}");
    assert!(spool.reserve().is_ok());
}

#[tokio::test]
async fn the_age_is_that_of_the_oldest_waiting_event() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, time) = open_with(dir.path(), MIB, INTERVAL);
    time.set(10 * SECOND);
    let open = cross(&spool, 1).await;
    time.set(40 * SECOND);
    assert_eq!(
        spool.stats().oldest_age_seconds,
        0,
        "an intent under way does not wait to be shipped"
    );
    open.outcome(&DONE);
    time.set(350 * SECOND);
    execute(&spool, 2..3).await;
    assert_eq!(spool.stats().oldest_age_seconds, 310);
    let kept = cross(&spool, 3).await;
    ship(&spool).await;
    assert_eq!((spool.stats().oldest_age_seconds, spool.stats().waiting), (0, 0));
    kept.outcome(&DONE);
}
