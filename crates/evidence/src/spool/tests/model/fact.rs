//! What is known of a request, and what may be said of it in the end.

use crate::{Outcome, Status};

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
    /// The power was cut before its event was shipped.
    pub(super) cut: bool,
}

impl Fact {
    /// What it may be called if nothing more is known.
    const fn unfinished(&self) -> &[Status] {
        match (self.left, self.cut) {
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
    let known = [Status::Executed, Status::Interrupted, Status::NotDispatched];
    let is_it = |status: &Status| {
        let gateway_status = (*status == Status::Executed).then_some(200);
        crate::testing::plain(event)
            == crate::testing::event(
                n,
                &Outcome {
                    gateway_status,
                    ..Outcome::new(*status)
                },
            )
    };
    known.into_iter().find(is_it).expect("an event of this request")
}
