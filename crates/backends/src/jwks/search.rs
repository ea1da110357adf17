//! One request's search for a key, and its right to wait.

use admission::{OwnPlace, OwnPlaceTaken};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A request that looks for a key.
pub(super) struct Search<'a> {
    pub(super) kid: &'a str,
    /// Stands for the `kid` in memory.
    pub(super) kid_hash: u64,
    pub(super) place: Place<'a>,
    /// How many of the zone's fetches had begun when it was first told to wait for one that looks for its key.
    pub(super) begun: Option<u64>,
}

/// The right to wait, taken once and kept until the request has its answer.
///
/// Nobody vouches for those that wait, so that whoever sends many bogus tokens holds whatever is shared. Each connection
/// therefore has a place of its own; what it carries beyond that, over HTTP/2, shares places that are bounded.
pub(super) struct Place<'a> {
    own: &'a OwnPlace,
    shared: [&'a Semaphore; 2],
    taken: Option<Taken<'a>>,
}

#[expect(dead_code, reason = "they are held, and nothing else")]
enum Taken<'a> {
    Own(OwnPlaceTaken),
    Shared([SemaphorePermit<'a>; 2]),
}

impl<'a> Place<'a> {
    pub(super) fn new(own: &'a OwnPlace, shared: [&'a Semaphore; 2]) -> Self {
        Self {
            own,
            shared,
            taken: None,
        }
    }

    /// Whether the request may wait.
    pub(super) fn take(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.own.take().map(Taken::Own).or_else(|| {
                let [zone, all] = self.shared.map(Semaphore::try_acquire);
                Some(Taken::Shared([zone.ok()?, all.ok()?]))
            });
        }
        self.taken.is_some()
    }
}
