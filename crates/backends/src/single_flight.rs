//! One piece of work for all who want the same at the same time.

use std::collections::HashMap;
use std::hash::Hash;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

/// The work under way. It is driven by those who wait for it, and ends with the last of them.
pub(crate) struct SingleFlight<K, T: Clone> {
    max: usize,
    under_way: Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>,
}

impl<K: Eq + Hash, T: Clone + Send + Sync + 'static> SingleFlight<K, T> {
    /// At most `max` pieces at the same time.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            under_way: Mutex::default(),
        }
    }

    /// Joins the work under way for this key, or begins it; none when too much else is under way.
    pub(crate) fn join(
        &self,
        key: K,
        work: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Option<Shared<BoxFuture<'static, T>>> {
        // Work that is done is not joined, even if somebody has not picked up its result yet.
        let running = |work: &WeakShared<_>| work.upgrade().filter(|work| work.peek().is_none());
        let mut under_way = self.under_way.lock();
        if let Some(work) = under_way.get(&key).and_then(running) {
            return Some(work);
        }
        if under_way.len() >= self.max {
            under_way.retain(|_, work| running(work).is_some());
        }
        let room = under_way.len() < self.max;
        room.then(|| {
            let work = work().shared();
            under_way.extend(work.downgrade().map(|weak| (key, weak)));
            work
        })
    }
}
