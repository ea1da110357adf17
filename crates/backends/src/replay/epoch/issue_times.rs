//! What one gateway has seen of `iat`.

use std::time::Duration;

use super::value::MAX_LEAD;

/// What one gateway has seen of `iat`. In a cluster it is one for all shards: slots move between them.
#[derive(Debug, Default)]
pub(in crate::replay) struct IssueTimes {
    /// The greatest `iat` of a mandate that was, or may be, let pass.
    newest: u64,
    /// The greatest lead that was seen or learnt.
    lead: u64,
}

impl IssueTimes {
    /// A mandate may be let pass.
    pub(super) fn expect(&mut self, issued_at: Option<i64>, now: Duration) {
        if let Some(issued) = issued_at.and_then(|issued| u64::try_from(issued).ok()) {
            let now = now.as_secs();
            self.newest = self.newest.max(issued.min(now.saturating_add(MAX_LEAD)));
            self.learn(issued.saturating_sub(now).min(MAX_LEAD));
        }
    }

    /// Another gateway, or an earlier process, saw this lead.
    pub(super) fn learn(&mut self, lead: u64) {
        self.lead = self.lead.max(lead);
    }

    /// The newest `iat` and the greatest lead.
    pub(super) fn both(&self) -> (u64, u64) {
        (self.newest, self.lead)
    }
}
