use super::*;

const LIMIT: Duration = Duration::from_millis(100);

/// Looks at times in milliseconds, the delay of each, and the eighths of the greatest share that follow.
fn assert_shares(case: &str, looks: &[(u64, u64, u16)]) {
    let mut controller = Controller::new(LIMIT);
    for (at, delay, eighths) in looks {
        let share = controller.look(Duration::from_millis(*at), Duration::from_millis(*delay));
        assert_eq!(share, FIRST_SHARE * eighths, "{case}, at {at} ms");
    }
}

/// A queue that is late until requests are refused.
const LATE: [(u64, u64, u16); 5] = [
    (200, 101, 0),
    (400, 150, 0),
    (600, 150, 0),
    (800, 150, 0),
    (1000, 150, 1),
];

#[test]
fn overload_is_what_lasts_for_an_interval_and_grows_until_the_queue_is_on_time() {
    assert_shares("on time", &[(0, 0, 0), (600, 100, 0), (1200, 100, 0)]);
    assert_shares(
        "pauses of the machine",
        &[
            (0, 0, 0),
            (9000, 9000, 0),
            (9500, 450, 0),
            (10_000, 450, 0),
            (10_500, 450, 0),
            (10_550, 0, 0),
        ],
    );
    assert_shares(
        "late with breaks",
        &[
            (0, 101, 0),
            (160, 101, 0),
            (320, 101, 0),
            (480, 101, 0),
            (570, 60, 0),
            (730, 101, 0),
            (890, 101, 0),
        ],
    );
    let growing = [
        (1050, 150, 1),
        (1100, 150, 2),
        (1200, 150, 3),
        (1400, 150, 4),
        (1600, 150, 5),
        (1800, 150, 6),
        (2000, 150, 7),
        (2200, 150, 8),
        (2400, 150, 8),
        (2450, 50, 0),
    ];
    assert_shares("late for good", &[&LATE[..], &growing].concat());
    let held = [
        (1100, 100, 1),
        (1160, 51, 1),
        (1250, 101, 1),
        (1300, 101, 2),
        (1380, 50, 0),
        (1500, 100, 0),
    ];
    assert_shares("neither late nor on time", &[&LATE[..], &held].concat());
}

#[test]
fn overload_that_comes_back_soon_is_met_with_half_of_what_was_refused() {
    let refusing = [(1200, 150, 2), (1400, 150, 3), (1600, 150, 4), (1650, 0, 0)];
    let soon = [
        (1850, 101, 0),
        (2050, 101, 0),
        (2250, 101, 2),
        (2450, 101, 3),
        (2500, 0, 0),
    ];
    assert_shares("soon", &[&LATE[..], &refusing, &soon].concat());
    let late = [
        (6700, 101, 0),
        (6900, 101, 0),
        (7100, 101, 0),
        (7300, 101, 0),
        (7500, 101, 1),
    ];
    assert_shares("later", &[&LATE[..], &refusing, &late].concat());
    let without = [(200, 101, 0), (250, 0, 0)].iter().copied();
    let without: Vec<_> = without
        .chain(LATE.map(|(at, delay, eighths)| (at + 100, delay, eighths)))
        .collect();
    assert_shares("nothing was refused", &without);
}

#[test]
fn overload_that_no_refusal_helps_is_left_alone() {
    let full: Vec<_> = (2..=8)
        .map(|eighths| (800 + 200 * u64::from(eighths), 150, eighths))
        .collect();
    let stays = [(2600, 150, 8), (4300, 150, 8)];
    let left = [(4400, 150, 0), (60_000, 150, 0), (304_000, 150, 0)];
    let anew = LATE.map(|(at, delay, eighths)| (at + 304_400, delay, eighths));
    let ends = [(304_500, 150, 0)];
    assert_shares(
        "for a while",
        &[&LATE[..], &full, &stays, &left, &ends, &anew].concat(),
    );
    let on_time = [(4400, 150, 0), (5000, 0, 0)];
    let again = LATE.map(|(at, delay, eighths)| (at + 6000, delay, eighths));
    assert_shares(
        "until it is on time",
        &[&LATE[..], &full, &stays, &on_time, &again].concat(),
    );
    let helped = [(2600, 99, 8), (4500, 150, 8), (4700, 150, 0)];
    assert_shares("a little", &[&LATE[..], &full, &helped].concat());
}

#[test]
fn overload_refuses_its_share_of_requests_evenly_and_never_all() {
    let overload = Overload::new(Some(LIMIT));
    for share in [0, MAX_SHARE / 8, MAX_SHARE / 2, MAX_SHARE, 0] {
        overload.share.store(share, Ordering::Relaxed);
        let verdicts: Vec<_> = (0..3300).map(|_| overload.admit().is_err()).collect();
        let refused = verdicts.iter().filter(|refused| **refused).count();
        let expect = usize::from(share) * verdicts.len() / 65_536;
        assert!(refused.abs_diff(expect) <= 3, "{share}: {refused} of {expect}");
        let all = verdicts.chunks_exact(66).any(|chunk| !chunk.contains(&false));
        assert!(!all, "{share}: some of any 66 are admitted");
    }
    // Whoever sends every second request is refused no more than others.
    overload.share.store(MAX_SHARE / 2, Ordering::Relaxed);
    let verdicts: Vec<_> = (0..2000).map(|_| overload.admit().is_err()).collect();
    let refused = verdicts.iter().step_by(2).filter(|refused| **refused).count();
    assert!(refused.abs_diff(484) <= 10, "{refused} of 1000");
    overload.share.store(MAX_SHARE, Ordering::Relaxed);
    let refused = (0..66).find_map(|_| overload.admit().err()).unwrap();
    assert_eq!((refused.denial, refused.status()), (Denial::Overloaded, 503));
    assert!(refused.cause.unwrap().is_local());
}

#[test]
fn overload_is_seen_while_the_task_does_not_run_and_looked_for_until_it_ends() {
    let overload = Arc::new(Overload::new(Some(Duration::from_millis(1))));
    let (task, mut woken) = mpsc::channel(1);
    let watching = Arc::clone(&overload);
    let thread = std::thread::spawn(move || watching.watch(&task));
    while overload.admit().is_ok() {
        std::thread::yield_now();
    }
    // What it would have said had it run.
    overload.delay.store(0, Ordering::Relaxed);
    assert!(woken.blocking_recv().is_some());
    while overload.share.load(Ordering::Relaxed) > 0 {
        _ = woken.try_recv();
        std::thread::yield_now();
    }
    drop(woken);
    thread.join().unwrap();
}
