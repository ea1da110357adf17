use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Moment {
    Moment {
        unix: Duration::from_millis(1_790_000_000_000),
        monotonic: Duration::from_millis(millis),
    }
}

fn circuit(max_inflight: usize) -> Arc<Circuit> {
    Circuit::new(CircuitLimits { max_inflight })
}

fn run(circuit: &Arc<Circuit>, zone: &str, outcome: Outcome, millis: u64) {
    circuit
        .enter(zone, at(millis))
        .unwrap()
        .settle(outcome, at(millis));
}

#[test]
fn circuit_five_connect_failures_close_the_door_for_every_zone() {
    let circuit = circuit(512);
    for _ in 0..5 {
        run(&circuit, "a", Outcome::StsFault, 1000);
    }
    assert_eq!(circuit.enter("a", at(1000)).err(), Some(Denial::CircuitOpen));
    assert_eq!(circuit.enter("b", at(9_999)).err(), Some(Denial::CircuitOpen));
    assert!(circuit.enter("b", at(10_000)).is_ok(), "the probe");
}

#[test]
fn circuit_of_an_sts_that_is_back_lets_one_probe_through_which_decides() {
    let circuit = circuit(512);
    let open = |zone, millis| circuit.enter(zone, at(millis)).err() == Some(Denial::CircuitOpen);
    for _ in 0..5 {
        run(&circuit, "z", Outcome::ZoneFault, 0);
    }
    assert_eq!(circuit.doubt(at(0)), Doubt::OfZones);
    for _ in 0..5 {
        run(&circuit, "a", Outcome::StsFault, 0);
    }
    assert_eq!(circuit.doubt(at(0)), Doubt::OfSts);
    circuit.probe_now();
    let probe = circuit.enter("z", at(1)).unwrap();
    assert!(open("a", 1), "one at a time");
    probe.settle(Outcome::StsFault, at(1));
    assert!(open("a", 2) && open("z", 2), "it was not back");
    circuit.probe_now();
    run(&circuit, "z", Outcome::Success, 2);
    assert_eq!(circuit.doubt(at(3)), Doubt::None);
    assert!(!open("a", 3) && !open("z", 3));
}

#[test]
fn circuit_zone_faults_leave_other_zones_alone() {
    let circuit = circuit(512);
    for _ in 0..5 {
        run(&circuit, "a", Outcome::ZoneFault, 0);
    }
    assert_eq!(circuit.enter("a", at(1)).err(), Some(Denial::CircuitOpen));
    assert!(circuit.enter("b", at(1)).is_ok());
    assert_eq!(
        circuit.figures(at(1)),
        CircuitFigures {
            open: 1,
            opened: 1,
            fast_failed: 1,
            inflight: 0
        }
    );
}

#[test]
fn circuit_refusals_never_count_and_a_success_resets_the_row() {
    let circuit = circuit(512);
    for _ in 0..50 {
        run(&circuit, "a", Outcome::Answered, 0);
    }
    for second in 0..50 {
        // Four failures, then a success: never five in a row, and 4 of 5 only once 20 were made.
        run(
            &circuit,
            "a",
            if second % 5 == 4 {
                Outcome::Success
            } else {
                Outcome::ZoneFault
            },
            second * 11_000,
        );
    }
    assert!(circuit.enter("a", at(600_000)).is_ok());
}

#[test]
fn circuit_more_than_half_of_twenty_calls_opens_it() {
    let circuit = circuit(512);
    for call in 0..20 {
        let outcome = if call % 2 == 0 {
            Outcome::Success
        } else {
            Outcome::ZoneFault
        };
        run(&circuit, "a", outcome, call * 100);
    }
    assert!(
        circuit.enter("a", at(2000)).is_ok(),
        "exactly half does not open it"
    );
    run(&circuit, "a", Outcome::ZoneFault, 2000);
    assert_eq!(circuit.enter("a", at(2001)).err(), Some(Denial::CircuitOpen));
}

/// Two failures and a success, again and again: two thirds fail, never five in a row.
fn run_two_thirds(circuit: &Arc<Circuit>, calls: usize, millis: u64) {
    for outcome in [Outcome::ZoneFault, Outcome::ZoneFault, Outcome::Success]
        .into_iter()
        .cycle()
        .take(calls)
    {
        run(circuit, "a", outcome, millis);
    }
}

#[test]
fn circuit_ratio_counts_from_the_twentieth_call() {
    for millis in [0, 25_000] {
        let circuit = circuit(512);
        run_two_thirds(&circuit, 19, millis);
        run(&circuit, "a", Outcome::ZoneFault, millis);
        assert_eq!(circuit.enter("a", at(millis)).err(), Some(Denial::CircuitOpen));
    }
}

#[test]
fn circuit_ratio_forgets_what_lies_ten_seconds_back() {
    for (millis, opens) in [
        (0, true),
        (9_999, true),
        (10_000, false),
        (11_000, false),
        (25_000, false),
    ] {
        let circuit = circuit(512);
        run_two_thirds(&circuit, 18, 0);
        run_two_thirds(&circuit, 2, millis);
        assert_eq!(
            circuit.enter("a", at(millis)).is_err(),
            opens,
            "{millis} ms later"
        );
    }
}

#[test]
fn circuit_late_failures_of_calls_under_way_change_nothing() {
    let circuit = circuit(512);
    let under_way = || -> Vec<_> { (0..20).map(|_| circuit.enter("a", at(0)).unwrap()).collect() };
    let (mut early, late) = (under_way(), under_way());
    let latest = early.split_off(10);
    let fail = |slots: Vec<Slot>, millis| {
        for slot in slots {
            slot.settle(Outcome::ZoneFault, at(millis));
        }
    };
    fail(early, 0);
    fail(late, 8_000);
    assert_eq!(
        circuit.figures(at(8_000)).opened,
        1,
        "it was open when they came back"
    );
    let probe = circuit.enter("a", at(9_000)).unwrap();
    fail(latest, 9_000);
    probe.settle(Outcome::Success, at(9_000));
    assert_eq!(circuit.figures(at(9_000)).open, 0, "the probe alone decides");
}

#[test]
fn circuit_half_open_lets_one_probe_through() {
    let circuit = circuit(512);
    for _ in 0..5 {
        run(&circuit, "a", Outcome::ZoneFault, 0);
    }
    let probe = circuit.enter("a", at(11_000)).unwrap();
    assert_eq!(
        circuit.enter("a", at(11_000)).err(),
        Some(Denial::CircuitOpen),
        "one probe at a time"
    );
    drop(probe);
    let probe = circuit.enter("a", at(11_000)).unwrap();
    probe.settle(Outcome::ZoneFault, at(11_000));
    assert_eq!(
        circuit.enter("a", at(19_000)).err(),
        Some(Denial::CircuitOpen),
        "open again"
    );
    circuit
        .enter("a", at(22_000))
        .unwrap()
        .settle(Outcome::Answered, at(22_000));
    let _one = circuit.enter("a", at(22_000)).unwrap();
    assert!(circuit.enter("a", at(22_000)).is_ok(), "closed");
}

#[test]
fn circuit_of_replicas_that_saw_the_same_outage_returns_at_different_instants() {
    for (subsecond, returns) in [(0, 9_000), (500, 10_000), (999, 10_998)] {
        let circuit = circuit(512);
        let failed = Moment {
            unix: Duration::from_millis(1_790_000_000_000 + subsecond),
            monotonic: Duration::ZERO,
        };
        for _ in 0..5 {
            circuit
                .enter("a", failed)
                .unwrap()
                .settle(Outcome::ZoneFault, failed);
        }
        assert_eq!(
            circuit.enter("a", at(returns - 1)).err(),
            Some(Denial::CircuitOpen)
        );
        assert!(circuit.enter("a", at(returns)).is_ok(), "{returns}");
    }
}

#[test]
fn circuit_slots_are_bounded_and_one_zone_takes_half() {
    let circuit = circuit(4);
    let held: Vec<_> = ["a", "a", "b", "b"]
        .map(|zone| circuit.enter(zone, at(0)).unwrap())
        .into();
    assert_eq!(circuit.enter("c", at(0)).err(), Some(Denial::ExchangesFull));
    drop(held);
    let _held = [
        circuit.enter("a", at(0)).unwrap(),
        circuit.enter("a", at(0)).unwrap(),
    ];
    assert_eq!(circuit.enter("a", at(0)).err(), Some(Denial::ExchangesFull));
    assert!(circuit.enter("b", at(0)).is_ok());
}

#[test]
fn circuit_forgets_idle_zones() {
    let circuit = circuit(512);
    for zone in 0..2 * IDLE_ZONES {
        run(&circuit, &zone.to_string(), Outcome::Success, 0);
    }
    assert!(circuit.state.lock().zones.len() <= IDLE_ZONES + 1);
}

#[test]
fn circuit_remembers_a_failing_zone_among_many_good_ones() {
    let circuit = circuit(512);
    let mut opened = 0;
    for round in 0..20 {
        for outcome in [Outcome::ZoneFault, Outcome::ZoneFault, Outcome::Success] {
            match circuit.enter("a", at(round * 400)) {
                Ok(slot) => slot.settle(outcome, at(round * 400)),
                Err(_) => opened += 1,
            }
        }
        // A last success says nothing about the failures before it.
        for zone in 0..2 * IDLE_ZONES {
            run(&circuit, &zone.to_string(), Outcome::Success, round * 400);
        }
    }
    assert!(opened > 0, "two calls of three failed");
    assert!(circuit.state.lock().zones.len() <= IDLE_ZONES + 2);
}

proptest! {
    /// Whatever the order of events, nothing stays in flight and a circuit that is left alone
    /// for 12 s lets a call through.
    #[test]
    fn circuit_always_recovers(steps in prop::collection::vec((0_usize..3, 0_u8..5, 0_u64..3000), 0..200)) {
        let circuit = circuit(64);
        let mut now = 0;
        let mut held = Vec::new();
        for (zone, action, wait) in steps {
            now += wait;
            if let Ok(slot) = circuit.enter(["a", "b", "c"][zone], at(now)) {
                match action {
                    0 => slot.settle(Outcome::Success, at(now)),
                    1 => slot.settle(Outcome::Answered, at(now)),
                    2 => slot.settle(Outcome::ZoneFault, at(now)),
                    3 => slot.settle(Outcome::StsFault, at(now)),
                    _ => held.push(slot),
                }
            }
        }
        held.clear();
        prop_assert_eq!(circuit.figures(at(now)).inflight, 0);
        for zone in ["a", "b", "c"] {
            prop_assert!(circuit.enter(zone, at(now + 12_000)).is_ok());
        }
    }
}
