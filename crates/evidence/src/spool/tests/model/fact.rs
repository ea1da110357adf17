//! What is known of a request, and what may be said of it in the end.

use super::super::refusal;
use crate::{Outcome, Status};

/// Why requests are refused.
pub(super) const REFUSED: &str = "exchange_refused";

/// What is known of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Fact {
    /// It was admitted, and its intent is on record.
    pub(super) intended: bool,
    /// It may have left.
    pub(super) left: bool,
    /// The event with which it ended.
    pub(super) end: Option<Status>,
    /// That event is on record.
    pub(super) settled: bool,
    /// The intent, and the end, were said to be durable.
    pub(super) durable: (bool, bool),
    /// The directory was removed since, or damaged.
    pub(super) at_risk: bool,
    /// It was damaged.
    pub(super) harmed: bool,
    /// It was damaged before its process had shipped anything: all of it is shipped by those that see the damage.
    pub(super) is_exact: bool,
    /// The power was cut before its event was shipped.
    pub(super) cut: bool,
}

impl Fact {
    /// What it may be called if nothing more is known.
    const fn unfinished(&self) -> &[Status] {
        if matches!(self.end, Some(Status::Denied)) {
            return &[];
        }
        match (self.left, self.cut) {
            // Its mark may have stood in the last segment, which nobody misses.
            (true, true) if self.at_risk => &[Status::Interrupted, Status::NotDispatched],
            (true, _) => &[Status::Interrupted],
            (false, false) => &[Status::NotDispatched],
            // It may have been told from its mark before the power was cut.
            (false, true) => &[Status::Interrupted, Status::NotDispatched],
        }
    }

    pub(super) fn check(&self, n: u128, found: Option<&Vec<u8>>) {
        let (kept, settled) = if self.cut {
            self.durable
        } else {
            (self.intended, self.settled)
        };
        let mut allowed: Vec<_> = self.end.into_iter().collect();
        if !settled || self.at_risk {
            allowed.extend(self.unfinished());
        }
        match found {
            Some(found) => assert!(
                allowed.contains(&status(n, found)),
                "{n}: {:?} of {self:?}",
                status(n, found)
            ),
            None => assert!(!kept || self.at_risk, "{n} has no event: {self:?}"),
        }
    }
}

/// How a request ended according to its event.
fn status(n: u128, event: &[u8]) -> Status {
    let known = [
        crate::testing::DONE,
        Outcome::new(Status::Interrupted),
        Outcome::new(Status::NotDispatched),
        Outcome::from(refusal(REFUSED)),
    ];
    let event = crate::testing::plain(event);
    let told = known
        .iter()
        .find(|outcome| crate::testing::event(n, outcome) == event);
    told.expect("an event of this request").status
}
