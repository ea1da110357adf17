//! Whether the volume is sound where a segment cannot be read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rustix::io::Errno;

use super::INTERVAL;
use super::sim::{Crash, Sim};
use super::unreadable::{fill, run, start_at, until};
use crate::spool::log::Log;
use crate::spool::recovery::adopt;
use crate::spool::{Clock, Crossing, Spool, Unread};
use crate::testing::{DONE, MIB, Memory, Time, cross, event, home, open_by, ship_to_nobody};
use crate::timestamp::SECOND;

/// Begins or ends a fault.
type Fail = fn(&Sim, bool);

/// What a device does not do, where what the system has in memory can be read.
const FAULTS: [(&str, Fail); 5] = [
    ("sync", Sim::fail_syncs),
    ("take", Sim::refuse_writes),
    ("give", Sim::refuse_cold_reads),
    ("remove", Sim::refuse_removals),
    ("open", Sim::refuse_new_files),
];

/// Whether a segment that cannot be read is given up when it is looked at again after a while.
fn gives_up(spool: &Spool, time: &Time) -> bool {
    let (mut unread, bad) = (Unread::default(), Errno::IO.into());
    assert!(!spool.inner.gives_up(&mut unread, 0, &bad));
    time.advance(2 * SECOND);
    spool.inner.gives_up(&mut unread, 0, &bad)
}

#[tokio::test]
async fn what_another_process_left_waits_for_a_device_that_does_not_answer() {
    for (what, fail) in FAULTS {
        let sim = Sim::new();
        let (dead, _) = start_at(&sim);
        let first = fill(&dead, 0).await;
        fill(&dead, first.end).await;
        dead.inner.flush().unwrap();
        drop(dead);
        sim.crash(Crash::Kill);
        sim.make_unreadable(0);
        let (next, time) = start_at(&sim);
        fail(&sim, true);
        let mut unread = HashMap::new();
        let mut adopt = || {
            let orphans = adopt(&next.inner, &mut unread).unwrap();
            time.advance(2 * SECOND);
            orphans
        };
        for _ in 0..3 {
            assert!(adopt().is_empty(), "{what}");
        }
        fail(&sim, false);
        assert!(adopt().is_empty(), "{what}: it has been sound for a moment");
        sim.make_readable();
        let orphans = adopt();
        assert!(
            orphans[0].segments.iter().all(|segment| !segment.damaged),
            "{what}"
        );
        assert_eq!(next.stats().dropped, 0, "{what}");
    }
}

#[tokio::test]
async fn intents_of_live_requests_wait_for_a_device_that_does_not_answer() {
    for (what, fail) in FAULTS {
        let sim = Sim::new();
        let (spool, time) = start_at(&sim);
        let long = cross(&spool, 1_000_000).await;
        let mut first = 0;
        for _ in 0..3 {
            first = fill(&spool, first).await.end;
        }
        spool.inner.flush().unwrap();
        ship_to_nobody(&spool);
        sim.make_unreadable(0);
        fail(&sim, true);
        for now in [1, 3 * SECOND, 9 * SECOND] {
            time.set(now);
            // It may well say that it cannot.
            let _ = spool.inner.flush();
        }
        fail(&sim, false);
        sim.make_readable();
        spool.inner.flush().unwrap();
        assert_eq!(spool.stats().dropped, 0, "{what}");
        long.abandon();
    }
}

/// What was written a moment ago reads back from memory, and nothing is there to be synced.
#[tokio::test]
async fn our_own_events_wait_for_a_device_that_does_not_answer() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    let first = fill(&spool, 0).await;
    let rest = fill(&spool, first.end).await;
    spool.inner.flush().unwrap();
    sim.make_unreadable(0);
    sim.fail_syncs(true);
    let sink = Memory::new();
    let done = async {
        tokio::select! {
            () = until(|| sim.failed_reads() >= 3 || spool.stats().dropped > 0) => {}
            () = sim.passes_time_at_failed_reads(&time) => {}
        }
        sim.fail_syncs(false);
        sim.make_readable();
        sink.with_data(event(rest.end - 1, &DONE)).await;
    };
    run(&spool, &sink, done).await;
    assert_eq!((spool.stats().dropped, sink.data().len() as u128), (0, rest.end));
}

#[tokio::test]
async fn a_full_volume_is_sound_where_its_device_answers() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    sim.fill(0);
    assert!(
        !gives_up(&spool, &time),
        "it has nothing that only the device knows"
    );

    let faults: [(&str, Fail); 3] = [
        ("nothing", |_, _| {}),
        ("sync", Sim::fail_syncs),
        ("give", Sim::refuse_cold_reads),
    ];
    for (was_full_before, (what, fail)) in [false, true]
        .into_iter()
        .flat_map(|was| faults.map(|fault| (was, fault)))
    {
        let sim = Sim::new();
        let (dead, _) = start_at(&sim);
        fill(&dead, 0).await;
        dead.inner.flush().unwrap();
        drop(dead);
        sim.crash(Crash::Kill);
        if was_full_before {
            sim.fill(0);
        }
        let (spool, time) = start_at(&sim);
        sim.fill(0);
        let before = sim.tree();
        fail(&sim, true);
        assert_eq!(
            gives_up(&spool, &time),
            what == "nothing",
            "{was_full_before} {what}"
        );
        assert_eq!(sim.tree(), before);
    }
}

/// Two segments, all of it shipped, and an intent in the first, which cannot be read.
async fn pin(sim: &Sim, spool: &Spool) -> Crossing {
    let long = cross(spool, 1_000_000).await;
    let mut first = 0;
    for _ in 0..3 {
        first = fill(spool, first).await.end;
    }
    spool.inner.flush().unwrap();
    ship_to_nobody(spool);
    sim.make_unreadable(0);
    long
}

/// Each operation takes the disk a second.
#[tokio::test]
async fn no_request_is_refused_where_the_disk_answers_each_question_of_a_probe_in_time() {
    let (sim, looks) = (Sim::new(), Arc::<Mutex<Vec<i64>>>::default());
    let (disk, seen) = (sim.clone(), Arc::clone(&looks));
    let monotonic: Clock = Arc::new(move || {
        let now = 1 + disk.changes() as i64 * SECOND;
        seen.lock().unwrap().push(now);
        now
    });
    let root = Path::new("/");
    let (spool, _) = open_by(
        Arc::new(sim.clone()),
        root,
        MIB,
        INTERVAL,
        (Arc::new(|| 1), monotonic),
    );
    let long = pin(&sim, &spool).await;
    looks.lock().unwrap().clear();
    let before = sim.changes();
    spool.inner.flush().unwrap();
    assert!(sim.changes() >= before + 4, "it has probed");
    // It looks whenever it asks.
    let looks = looks.lock().unwrap();
    let longest = looks.iter().zip(&looks[1..]).map(|(one, next)| next - one).max();
    assert_eq!(longest, Some(SECOND));
    long.abandon();
}

#[tokio::test]
async fn the_flusher_does_not_wait_for_what_others_ask_of_the_disk() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    let long = pin(&sim, &spool).await;
    let (flush, dropped) = (|| spool.inner.flush().unwrap(), || spool.stats().dropped);
    let (over, flushed) = mpsc::channel();
    std::thread::scope(|scope| {
        let asking = spool.inner.probed.lock();
        scope.spawn(|| {
            flush();
            over.send(())
        });
        let ended = flushed.recv_timeout(Duration::from_secs(30));
        drop(asking);
        ended.unwrap();
    });
    // Nobody could tell that the volume was sound.
    time.advance(2 * SECOND);
    flush();
    assert_eq!(dropped(), 0);
    time.advance(2 * SECOND);
    flush();
    assert_eq!(dropped(), 1);
    long.abandon();
}

#[tokio::test]
async fn a_volume_is_sound_where_a_directory_can_be_made_in_the_place_of_one_that_is_gone() {
    let sim = Sim::new();
    let (spool, time) = start_at(&sim);
    sim.remove_tree(home(&spool).file_name().unwrap().to_str().unwrap());
    assert!(!gives_up(&spool, &time), "nobody has noticed that it is gone");
    spool.inner.with_log(Log::evict);
    for fails in [true, false] {
        sim.fail_syncs(fails);
        time.advance(SECOND);
        assert_eq!(gives_up(&spool, &time), !fails);
        assert!(sim.tree().is_empty(), "{fails}");
    }
    spool.inner.flush().unwrap();
    let before = sim.tree();
    time.advance(SECOND);
    assert!(gives_up(&spool, &time));
    assert_eq!((before.len(), sim.tree()), (1, before));
}
