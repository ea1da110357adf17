//! More anchors than fit, and mandates older than what is known.

use super::{Anchors, Bench, Duration, Kind, RevocationConfig, Revocations as _, SESSION, Stream};

const NONE: Anchors<'static> = Anchors {
    sid: None,
    root_sid: None,
    agent_session_id: None,
    delegation_edge_id: None,
};

fn bounds(max_anchors: usize, max_zone_anchors: usize) -> RevocationConfig {
    RevocationConfig {
        max_anchors,
        max_zone_anchors,
        ..RevocationConfig::default()
    }
}

/// Rows of a zone, of every kind in turn.
fn rows<'a>(ids: &'a [String], zone: &'a str) -> Vec<(Kind, &'a str, &'a str)> {
    let kinds = Kind::ALL.into_iter().cycle();
    kinds
        .zip(ids)
        .map(|(kind, id)| (kind, id.as_str(), zone))
        .collect()
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("row-{number}")).collect()
}

impl Bench {
    fn zones(&self) -> [&'static str; 2] {
        ["zone-1", "zone-2"].map(|zone| self.standing_of(zone, NONE, 0))
    }
}

#[tokio::test]
async fn zone_with_too_many_rows_is_refused_alone_and_admitted_again_when_they_fit() {
    let bench = Bench::fresh(bounds(100, 9)).await;
    let (many, few) = (ids(10), ids(9));
    let watch = bench
        .state
        .watch(&Anchors {
            sid: Some("row-9"),
            ..NONE
        })
        .unwrap();
    let both = |ids| [rows(ids, "zone-1"), vec![(Kind::Edge, "theirs", "zone-2")]].concat();
    for _ in 0..3 {
        assert_eq!(bench.snapshot_of(&both(&many), &[]).await, 1);
        assert_eq!(bench.zones(), ["stale", "clear"]);
        assert_eq!(bench.state.status().zones_over, 1);
        assert!(bench.state.status().stale.is_none());
    }
    // The streams of a zone that is refused end all the same.
    watch.revoked().await;

    let ticket = bench.state.inner.ticket();
    bench.snapshot_of(&both(&few), &[]).await;
    assert_eq!(bench.zones(), ["stale", "clear"], "its rows were counted only");
    assert!(
        bench.state.inner.ticket() > ticket,
        "the next snapshot comes at once"
    );
    assert_eq!(bench.snapshot_of(&both(&few), &[]).await, 10);
    assert_eq!(bench.zones(), ["clear", "clear"]);
    assert_eq!(bench.state.status().zones_over, 0);
    let anchors = Anchors {
        sid: Some("row-0"),
        ..NONE
    };
    assert_eq!(bench.standing_of("zone-1", anchors, 0), "revoked");
}

#[tokio::test]
async fn bound_in_all_hits_the_zone_that_holds_most() {
    let bench = Bench::fresh(bounds(10, 10)).await;
    let (many, few) = (ids(9), ["a", "b"].map(String::from));
    for order in [["zone-1", "zone-2"], ["zone-2", "zone-1"]] {
        let of = |zone| match zone {
            "zone-1" => rows(&many, zone),
            _ => rows(&few, zone),
        };
        bench.snapshot_of(&order.map(of).concat(), &[]).await;
        assert_eq!(bench.zones(), ["stale", "clear"], "{order:?}");
        assert_eq!(bench.state.status().anchors, 2);
    }
}

#[tokio::test]
async fn zone_whose_rows_are_what_was_announced_is_admitted_again_when_they_fit() {
    let bench = Bench::fresh(bounds(100, 4)).await;
    let ids = ids(5);
    let rows = rows(&ids, "zone-1");
    for (kind, id, _) in &rows {
        bench.announce(*kind, id).await;
    }
    assert_eq!(bench.zones(), ["stale", "clear"]);
    // While it is refused, an announcement ends what rests on its anchor, and is held as little as the rows are.
    let watch = bench.state.watch(&SESSION).unwrap();
    bench.clock.advance(Duration::from_secs(60));
    bench.announce(Kind::Session, "session").await;
    watch.revoked().await;
    assert_eq!(bench.state.status().anchors, 0);
    for held in [0, 4] {
        assert_eq!(bench.snapshot_of(&rows[..4], &[]).await, held);
    }
    let anchors = Anchors {
        sid: Some("row-0"),
        ..NONE
    };
    assert_eq!(bench.standing_of("zone-1", anchors, 0), "revoked");
    assert_eq!(
        bench.zones(),
        ["stale", "clear"],
        "what it rests on may have been announced"
    );
    for (advance, expect) in [(300, "stale"), (1, "clear")] {
        bench.clock.advance(Duration::from_secs(advance));
        bench.state.inner.touch(Stream::ALL);
        bench.snapshot_of(&rows[..4], &[]).await;
        assert_eq!(bench.standing(), expect, "{advance}");
    }
    bench.announce(Kind::Session, "session").await;
    assert_eq!(bench.standing(), "stale", "it does not fit");
}

#[tokio::test]
async fn zones_full_of_announcements_shut_nobody_else_out() {
    for [one, two] in [["zone-3", "zone-4"], ["", ""]] {
        let bench = Bench::fresh(bounds(4, 4)).await;
        for (zone, id) in [(one, "a"), (one, "b"), (two, "c"), (two, "d")] {
            bench.announce_in(zone, Kind::Edge, id).await;
        }
        let row = [(Kind::Session, "session", "zone-1")];
        for _ in 0..2 {
            bench.snapshot_of(&row, &[]).await;
        }
        // Whom the announcements of no zone concern, nobody knows.
        let expect = if one.is_empty() { "stale" } else { "clear" };
        assert_eq!(bench.zones(), [expect; 2], "{one:?}");
        assert_eq!(bench.standing(), "revoked", "{one:?}");
        bench.clock.advance(Duration::from_secs(301));
        bench.state.inner.touch(Stream::ALL);
        bench.snapshot_of(&row, &[]).await;
        assert_eq!(bench.zones(), ["clear"; 2], "{one:?}");
        assert_eq!(bench.state.status().zones_over, 1, "{one:?}");
    }
}

#[tokio::test]
async fn zones_beyond_the_bound_of_anchors_have_room_of_their_own() {
    let bench = Bench::fresh(bounds(2, 2)).await;
    for zone in ["a", "b", "c"] {
        assert_eq!(bench.standing_of(zone, NONE, 0), "clear");
    }
    bench.snapshot_of(&rows(&ids(3), "zone-1"), &[]).await;
    assert_eq!(bench.zones(), ["stale", "clear"]);
}

#[tokio::test]
async fn announcement_without_room_refuses_the_mandates_of_before_until_they_have_expired() {
    for (zone, expect) in [("zone-1", ["stale", "clear"]), ("", ["stale", "stale"])] {
        let bench = Bench::fresh(bounds(100, 1)).await;
        for id in ["one", "two"] {
            bench.announce_in(zone, Kind::Edge, id).await;
        }
        // A zone that holds announcements alone gets its requests back; those of before the loss stay refused.
        for _ in 0..2 {
            bench.snapshot().await;
        }
        assert_eq!(bench.zones(), expect, "{zone:?}");
        bench.clock.advance(Duration::from_secs(301));
        bench.state.inner.touch(Stream::ALL);
        bench.snapshot().await;
        assert_eq!(bench.zones(), ["clear", "clear"], "{zone:?}");
        assert_eq!(bench.standing_of("zone-1", NONE, 302), "stale", "{zone:?}");
    }
}

#[tokio::test]
async fn mandate_older_than_any_seen_waits_for_one_snapshot() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    assert_eq!(bench.zones(), ["clear", "clear"]);
    bench.snapshot().await;
    // The last one may live no longer.
    for age in [2 * 3600, 10 * 3600, 24 * 3600 - 600] {
        let ticket = bench.state.inner.ticket();
        assert_eq!(bench.standing_of("zone-1", NONE, age), "stale", "{age}");
        assert!(bench.state.inner.ticket() > ticket, "it is asked for");
        assert_eq!(bench.zones(), ["clear", "clear"]);
        bench.snapshot().await;
        assert_eq!(bench.standing_of("zone-1", NONE, age), "clear", "{age}");
    }
    assert_eq!(bench.standing_of("zone-2", NONE, 2 * 3600), "stale");
}

#[tokio::test]
async fn announced_anchor_that_was_recorded_goes_with_the_window_of_its_zone() {
    let bench = Bench::fresh(RevocationConfig::default()).await;
    bench.zones();
    for (kind, id) in [(Kind::Record, "record"), (Kind::Edge, "elsewhere")] {
        bench.announce(kind, id).await;
    }
    bench
        .snapshot_of(&[(Kind::Record, "record", "zone-1")], &[])
        .await;
    let hour = Duration::from_secs(3600);
    for (advance, expect) in [(hour, ("revoked", 2)), (hour, ("clear", 1))] {
        bench.clock.advance(advance);
        bench.state.inner.touch(Stream::ALL);
        // The row is older than the window, or says otherwise.
        bench.snapshot().await;
        assert_eq!((bench.standing(), bench.state.status().anchors), expect);
    }
}
