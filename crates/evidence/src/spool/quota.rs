//! How many refusals are written one by one.
//!
//! A refused flood must not fill the spool: past its quota, a zone's refusals for one reason are only counted,
//! and the count becomes one event a second.

use std::collections::HashMap;

use uuid::Uuid;

use crate::event::Summary;
use crate::timestamp::SECOND;

/// Zones that are kept count of at the same time.
const MAX_ZONES: usize = 4096;

/// What to do with a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Write it.
    Write,
    /// It is counted.
    Sum,
    /// There is no place left to count it.
    Drop,
}

#[derive(Debug)]
struct Window {
    reason: &'static str,
    start: i64,
    written: u32,
    sum: Option<Summary>,
}

impl Window {
    const fn is_over(&self, now: i64) -> bool {
        // A clock that was set back also ends it.
        now < self.start || now - self.start >= SECOND
    }
}

/// The counts of the current second.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    zones: HashMap<String, Vec<Window>>,
}

impl Quota {
    /// Counts a refusal. Also returns the sum of the previous window, if it has one, to be written.
    pub(crate) fn admit(
        &mut self,
        zone: &str,
        reason: &'static str,
        allowed: u32,
        now: i64,
        (id, request_id): (Uuid, &str),
    ) -> (Verdict, Option<Summary>) {
        if self.zones.len() >= MAX_ZONES && !self.zones.contains_key(zone) {
            return (Verdict::Drop, None);
        }
        let windows = self.zones.entry(zone.to_owned()).or_default();
        let fresh = || Window {
            reason,
            start: now,
            written: 0,
            sum: None,
        };
        let known = windows.iter().position(|window| window.reason == reason);
        let at = known.unwrap_or_else(|| {
            windows.push(fresh());
            windows.len() - 1
        });
        let window = &mut windows[at];
        let due = if window.is_over(now) {
            std::mem::replace(window, fresh()).sum
        } else {
            None
        };
        if window.written < allowed {
            window.written += 1;
            return (Verdict::Write, due);
        }
        window
            .sum
            .get_or_insert_with(|| Summary {
                id,
                occurred_at: now,
                zone_id: zone.to_owned(),
                request_id: request_id.to_owned(),
                reason,
                suppressed: 0,
            })
            .suppressed += 1;
        (Verdict::Sum, due)
    }

    /// Takes the sums of the windows that are over, or of all, and forgets those windows.
    pub(crate) fn due(&mut self, now: i64, all: bool) -> Vec<Summary> {
        let mut due = Vec::new();
        self.zones.retain(|_, windows| {
            windows.retain_mut(|window| {
                let over = all || window.is_over(now);
                if over {
                    due.extend(window.sum.take());
                }
                !over
            });
            !windows.is_empty()
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{MAX_ZONES, Quota, Verdict};

    /// What a zone may have written for one reason in these tests.
    const PER_SECOND: u32 = 100;
    use crate::timestamp::SECOND;

    fn admit(quota: &mut Quota, reason: &'static str, now: i64) -> (Verdict, Option<u64>) {
        let (verdict, due) = quota.admit("z", reason, PER_SECOND, now, (Uuid::from_u128(1), "r"));
        (verdict, due.map(|summary| summary.suppressed))
    }

    #[test]
    fn past_the_quota_refusals_are_summed_into_one() {
        let mut quota = Quota::default();
        for n in 0..250 {
            let expected = if n < 100 { Verdict::Write } else { Verdict::Sum };
            assert_eq!(admit(&mut quota, "a", n), (expected, None));
        }
        assert!(quota.due(SECOND - 1, false).is_empty());
        let due = quota.due(SECOND, false);
        assert_eq!(
            due.iter().map(|summary| summary.suppressed).collect::<Vec<_>>(),
            [150]
        );
        assert!(quota.due(9 * SECOND, true).is_empty());
        assert!(quota.zones.is_empty());
    }

    #[test]
    fn the_next_window_brings_the_sum_along() {
        let mut quota = Quota::default();
        for _ in 0..101 {
            admit(&mut quota, "a", 5);
        }
        assert_eq!(admit(&mut quota, "a", 5 + SECOND), (Verdict::Write, Some(1)));
        assert_eq!(admit(&mut quota, "a", 6 + SECOND), (Verdict::Write, None));
    }

    #[test]
    fn reasons_do_not_share_a_quota() {
        let mut quota = Quota::default();
        for _ in 0..200 {
            admit(&mut quota, "a", 0);
        }
        assert_eq!(admit(&mut quota, "b", 0).0, Verdict::Write);
    }

    #[test]
    fn a_clock_set_back_starts_a_new_window() {
        let mut quota = Quota::default();
        for _ in 0..101 {
            admit(&mut quota, "a", 10 * SECOND);
        }
        assert_eq!(admit(&mut quota, "a", 0), (Verdict::Write, Some(1)));
    }

    #[test]
    fn the_number_of_zones_is_bounded() {
        let mut quota = Quota::default();
        let id = (Uuid::nil(), "r");
        for n in 0..MAX_ZONES {
            assert_eq!(
                quota.admit(&n.to_string(), "a", PER_SECOND, 0, id).0,
                Verdict::Write
            );
        }
        assert_eq!(quota.admit("one more", "a", PER_SECOND, 0, id).0, Verdict::Drop);
        assert!(quota.due(SECOND, false).is_empty());
        assert_eq!(
            quota.admit("one more", "a", PER_SECOND, SECOND, id).0,
            Verdict::Write
        );
    }
}
