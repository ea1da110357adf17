use std::time::Duration;

use admission::ports::{Clock as _, Mandate, Moment};
use admission::token::Anchors;
use testkit::clock::FixedClock;

use super::{Bounds, Full, Limits, Zones};

const HOUR: i64 = 3600;
const BOUNDS: Bounds = Bounds {
    all: 3,
    zone: 2,
    names: 3,
};

fn now() -> Moment {
    FixedClock::default().now()
}

/// A mandate of `zone-1` of this age and life in seconds.
fn mandate(age: i64, life: i64) -> Mandate<'static> {
    let issued = i64::try_from(now().unix.as_secs()).unwrap() - age;
    Mandate {
        zone: "zone-1",
        anchors: Anchors::default(),
        issued_at: Some(issued),
        expires_at: issued + life,
    }
}

#[test]
fn window_is_the_longest_life_seen_and_the_longest_possible_before() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let zones = Zones::new(BOUNDS);
    let zone = zones.named("zone-1");
    assert_eq!(zone.window(), hours(24));
    for (life, expect) in [(900, 1), (2 * HOUR, 2), (HOUR, 2), (48 * HOUR, 24)] {
        zones.learn(&mandate(0, life));
        assert_eq!(zone.window(), hours(expect), "{life}");
    }
    let zones = Zones::new(BOUNDS);
    let undated = Mandate {
        issued_at: None,
        ..mandate(0, 900)
    };
    zones.learn(&undated);
    assert_eq!(zones.named("zone-1").window(), hours(24));
}

#[test]
fn mandate_from_before_the_window_is_undecided_until_a_snapshot_of_a_longer_one() {
    let zones = Zones::new(BOUNDS);
    let zone = zones.named("zone-1");
    let decides = |mandate: &Mandate<'_>| zones.decides(mandate, now());
    zones.learn(&mandate(0, 900));
    assert!(
        decides(&mandate(7 * HOUR, 8 * HOUR)).is_ok(),
        "the last snapshot took everything"
    );
    zone.rows_since(now(), zone.window());
    assert!(decides(&mandate(HOUR, 8 * HOUR)).is_ok());
    let old = mandate(7 * HOUR, 8 * HOUR);
    assert!(decides(&old).unwrap_err().until_next_snapshot);
    let undated = Mandate {
        issued_at: None,
        ..mandate(0, 900)
    };
    assert!(decides(&undated).unwrap_err().until_next_snapshot);
    let elsewhere = Mandate {
        zone: "zone-2",
        ..old
    };
    assert!(decides(&elsewhere).is_ok());
    zones.learn(&old);
    zone.rows_since(now(), zone.window());
    assert!(decides(&old).is_ok());
    zones.learn(&undated);
    zone.rows_since(now(), zone.window());
    assert!(decides(&undated).is_ok());
}

#[test]
fn mandate_issued_longer_ago_than_rows_reach_back_is_never_decided() {
    let zones = Zones::new(BOUNDS);
    let last = mandate(24 * HOUR, 25 * HOUR);
    let old = mandate(24 * HOUR + 1, 25 * HOUR);
    let undated = Mandate {
        issued_at: None,
        ..old
    };
    for known in [false, true] {
        let undecided = zones.decides(&old, now()).unwrap_err();
        assert!(!undecided.until_next_snapshot, "{known}");
        assert!(
            undecided.cause.to_string().contains("24 hours"),
            "{}",
            undecided.cause
        );
        let before_time = Mandate {
            issued_at: Some(-1),
            ..old
        };
        assert!(zones.decides(&before_time, now()).is_err(), "{known}");
        for mandate in [&last, &undated] {
            assert!(zones.decides(mandate, now()).is_ok(), "{known}");
        }
        zones.learn(&old);
        let zone = zones.named("zone-1");
        zone.rows_since(now(), zone.window());
    }
}

#[test]
fn room_is_bounded_per_zone_and_in_all_and_comes_back() {
    let zones = Zones::new(BOUNDS);
    let (one, two) = (zones.named("zone-1"), zones.named("zone-2"));
    let first = one.place().unwrap();
    let _second = one.place().unwrap();
    assert_eq!(one.place().unwrap_err(), Full::Zone);
    let _third = two.place().unwrap();
    assert_eq!(two.place().unwrap_err(), Full::All);
    assert_eq!(zones.held(), 3);
    assert_eq!(zones.largest().unwrap().name(), "zone-1");
    drop(first);
    assert!(two.place().is_ok());
    assert_eq!(zones.held(), 2, "a place that is not used is given back");
}

#[test]
fn zone_over_its_bound_is_refused_alone_until_a_snapshot_takes_its_rows_again() {
    let zones = Zones::new(BOUNDS);
    let zone = zones.named("zone-1");
    let refused = || zones.decides(&mandate(0, 900), now()).is_err();
    zone.overflow();
    let other = Mandate {
        zone: "zone-2",
        ..mandate(0, 900)
    };
    assert!(refused() && zones.decides(&other, now()).is_ok());
    assert!(zones.learn(&mandate(0, 900)), "its window is shorter now");
    assert!(!zones.learn(&mandate(0, 1000)));
    for (rows, fits) in [(3, false), (2, true)] {
        zone.begin_count();
        (0..rows).for_each(|_| zone.count());
        assert_eq!(zone.readmit(7, 0), fits.then_some(rows), "{rows}");
        zone.complete(6);
        assert!(refused(), "{rows}");
    }
    zone.complete(7);
    assert!(!refused());
}

#[test]
fn zones_are_readmitted_together_only_where_their_rows_fit_beside_each_other() {
    let zones = Zones::new(BOUNDS);
    let zones = ["zone-1", "zone-2", "zone-3"].map(|name| zones.named(name));
    let (mut granted, mut readmitted) = (0, vec![]);
    for (zone, rows) in zones.iter().zip([2, 2, 1]) {
        zone.overflow();
        zone.begin_count();
        (0..rows).for_each(|_| zone.count());
        let rows = zone.readmit(7, granted);
        granted += rows.unwrap_or(0);
        readmitted.push(rows);
    }
    assert_eq!(readmitted, [Some(2), None, Some(1)]);
}

#[test]
fn loss_is_the_last_one_in_whatever_order_they_are_heard_of() {
    let clock = FixedClock::default();
    let zones = Zones::new(BOUNDS);
    let earlier = clock.now();
    clock.advance(Duration::from_secs(3600));
    for when in [clock.now(), earlier] {
        zones.named("zone-1").lose(when);
    }
    assert!(zones.decides(&mandate(-1800, 900), clock.now()).is_err());
}

#[test]
fn lost_announcement_refuses_the_mandates_of_before_it() {
    let clock = FixedClock::default();
    for (name, elsewhere) in [("zone-1", true), ("", false)] {
        let zones = Zones::new(BOUNDS);
        zones.named(name).lose(now());
        let decides = |mandate: &Mandate<'_>, now| zones.decides(mandate, now).is_ok();
        assert!(
            !decides(&mandate(0, 900), now()),
            "issued by a clock that may be ahead"
        );
        assert!(decides(&mandate(-301, 900), now()));
        let other = Mandate {
            zone: "zone-2",
            ..mandate(0, 900)
        };
        zones.named("zone-2");
        assert_eq!(decides(&other, now()), elsewhere, "{name:?}");
        clock.advance(Limits::MAX_MANDATE_LIFE + Duration::from_secs(301));
        zones.tidy(clock.now());
        assert!(decides(&mandate(0, 900), now()) && decides(&other, now()));
        clock.set(now().unix.as_secs());
    }
}

#[test]
fn zones_are_bounded_and_one_too_many_is_treated_as_unknown() {
    let zones = Zones::new(BOUNDS);
    for name in ["a", "b", "c"] {
        let _place = zones.named(name).place().unwrap();
        zones.learn(&Mandate {
            zone: name,
            ..mandate(0, 900)
        });
    }
    assert_eq!(zones.named("d").name(), "");
    assert!(!zones.learn(&mandate(0, 900)));
    assert_eq!(zones.named("d").window(), Limits::MAX_MANDATE_LIFE);
    assert_eq!(zones.named("a").name(), "a");
}
