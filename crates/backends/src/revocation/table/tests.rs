use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Clock as _;
use testkit::clock::FixedClock;
use tokio_util::sync::CancellationToken;

use super::{AnchorId, Mark, Revoked, Table};
use crate::revocation::zones::{Bounds, Full, Zone, Zones};

const NOW: Duration = Duration::from_secs(600);
const ROOMY: Bounds = Bounds {
    all: 100,
    zone: 100,
    names: 100,
};

fn zone(bounds: Bounds) -> Arc<Zone> {
    Zones::new(bounds).named("zone-1")
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn id(text: &str) -> AnchorId {
    text.into()
}

impl Table {
    /// A whole snapshot of these anchors, at this time, after which announcements hold for ten minutes.
    async fn snapshot(&self, zone: &Arc<Zone>, pass: u32, ids: &[&str], now: Duration) {
        let mark = Mark::of(pass);
        for text in ids {
            self.record(&id(text), zone, mark).unwrap();
        }
        let life = Duration::from_secs(600);
        let holds = |revoked: &Revoked| !revoked.announced_longer_ago(life, now);
        self.sweep(mark, holds).await;
    }

    fn holds(&self, text: &str) -> bool {
        self.is_revoked(&id(text))
    }

    fn announced_alone(&self, before: u32, mark: Mark) -> Vec<(String, u32)> {
        let wanted = |revoked: &Revoked| revoked.is_announced_alone(before, mark);
        let all = (0..).map_while(|shard| self.announced(shard, wanted)).flatten();
        let mut all: Vec<_> = all.map(|(id, number)| (id.to_string(), number.get())).collect();
        all.sort();
        all
    }
}

#[test]
fn announcement_ends_its_watches_and_no_others() {
    let (table, zone) = (Table::default(), zone(ROOMY));
    let (mine, other) = (CancellationToken::new(), CancellationToken::new());
    table.watch(id("a"), 1, &mine);
    table.watch(id("b"), 2, &other);
    table.announce(&id("a"), &zone, number(1), NOW).unwrap();
    table.announce(&id("a"), &zone, number(2), NOW).unwrap();
    assert!(mine.is_cancelled() && !other.is_cancelled());
    assert!(table.holds("a") && !table.holds("b"));
    table.unwatch(&id("a"), 1);
    assert_eq!(table.watched(), 1);
}

#[tokio::test]
async fn watch_of_a_revoked_anchor_ends_at_once_and_a_row_ends_those_before_it() {
    let (table, zone) = (Table::default(), zone(ROOMY));
    let (before, after) = (CancellationToken::new(), CancellationToken::new());
    table.watch(id("a"), 1, &before);
    table.snapshot(&zone, 1, &["a"], NOW).await;
    table.watch(id("a"), 2, &after);
    assert!(before.is_cancelled() && after.is_cancelled());
}

#[test]
fn full_table_still_ends_watches() {
    let (table, zone) = (Table::default(), zone(Bounds { zone: 0, ..ROOMY }));
    let (announced, recorded) = (CancellationToken::new(), CancellationToken::new());
    table.watch(id("a"), 1, &announced);
    table.watch(id("b"), 2, &recorded);
    assert_eq!(table.announce(&id("a"), &zone, number(1), NOW), Err(Full::Zone));
    assert_eq!(table.record(&id("b"), &zone, Mark::of(1)), Err(Full::Zone));
    assert!(announced.is_cancelled() && recorded.is_cancelled());
    assert!(!table.holds("a") && !table.holds("b"));
}

#[tokio::test]
async fn snapshot_replaces_what_was_recorded_and_keeps_what_was_announced() {
    let (table, zone) = (Table::default(), zone(ROOMY));
    table.announce(&id("announced"), &zone, number(1), NOW).unwrap();
    table.snapshot(&zone, 1, &["old"], NOW).await;
    assert!(table.holds("old"));
    table.snapshot(&zone, 2, &["new"], NOW).await;
    assert!(!table.holds("old") && table.holds("new") && table.holds("announced"));
}

#[tokio::test]
async fn announcement_runs_out_and_is_renewed_by_its_number() {
    let (table, zone) = (Table::default(), zone(ROOMY));
    for (text, given) in [("a", 1), ("b", 2)] {
        table.announce(&id(text), &zone, number(given), NOW).unwrap();
    }
    let last = NOW + Duration::from_secs(600);
    table.snapshot(&zone, 1, &[], last).await;
    assert!(table.holds("a") && table.holds("b"));
    table.renew(&id("a"), number(1), last);
    table.renew(&id("b"), number(1), last);
    table
        .snapshot(&zone, 2, &[], last + Duration::from_secs(60))
        .await;
    assert!(table.holds("a") && !table.holds("b"));
}

#[tokio::test]
async fn withdrawal_spares_a_later_announcement_and_one_that_was_not_asked_about() {
    let (table, zone) = (Table::default(), zone(ROOMY));
    for (text, given) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        table.announce(&id(text), &zone, number(given), NOW).unwrap();
    }
    table.record(&id("d"), &zone, Mark::of(1)).unwrap();
    let asked = table.announced_alone(2, Mark::of(1));
    assert_eq!(asked, [("a".into(), 1), ("b".into(), 2)]);
    table.announce(&id("b"), &zone, number(5), NOW).unwrap();
    for (text, given) in asked {
        table.withdraw(&id(&text), number(given));
    }
    table.snapshot(&zone, 1, &[], NOW).await;
    assert!(!table.holds("a") && table.holds("b") && table.holds("c"));
    // Numbers start over.
    table.announce(&id("e"), &zone, number(u32::MAX), NOW).unwrap();
    let asked = table.announced_alone(1, Mark::of(2));
    assert_eq!(asked, [("e".into(), u32::MAX)]);
}

#[tokio::test]
async fn purge_takes_everything_of_one_zone_while_that_is_over_its_bound() {
    let zones = Zones::new(ROOMY);
    let (table, mine, other) = (Table::default(), zones.named("zone-1"), zones.named("zone-2"));
    let now = FixedClock::default().now();
    table.snapshot(&mine, 1, &["recorded"], NOW).await;
    table.record(&id("theirs"), &other, Mark::of(1)).unwrap();
    mine.overflow();
    table.purge(&mine, now).await;
    assert!(!table.holds("recorded") && table.holds("theirs"));
    assert!(mine.is_over() && !mine.has_lost(), "a row can be read again");

    mine.readmit(2, 0);
    table.announce(&id("announced"), &mine, number(1), NOW).unwrap();
    table.announce(&id("both"), &mine, number(2), NOW).unwrap();
    table.record(&id("both"), &mine, Mark::of(2)).unwrap();
    table.purge(&mine, now).await;
    assert_eq!(zones.held(), 3, "a purge that comes late takes nothing");

    mine.overflow();
    table.purge(&mine, now).await;
    assert!(!table.holds("announced") && !table.holds("both") && table.holds("theirs"));
    assert!(mine.has_lost());
    assert_eq!(
        table.announce(&id("announced"), &mine, number(3), NOW),
        Err(Full::Zone)
    );
    assert_eq!(zones.held(), 1);
}

#[test]
fn marks_of_successive_snapshots_differ_and_none_stands_for_earlier_or_never() {
    for pass in [1, 2, 253, 254, 255, 508, u32::MAX - 1] {
        let mark = Mark::of(pass);
        assert_ne!(mark, Mark::of(pass + 1), "{pass}");
        assert!(mark.0 > super::EARLIER, "{pass}");
    }
}
