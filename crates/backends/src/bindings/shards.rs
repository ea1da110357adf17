//! An ordered set in many small pieces, of which a changed copy shares all but one.

use std::cmp::Ordering;
use std::sync::Arc;

/// How many pieces. A million items make pieces of a thousand, and to copy one takes microseconds.
const SHARDS: usize = 1024;

/// Items in pieces, each sorted by the caller's order. A clone shares the pieces; what is changed in it is copied first.
#[derive(Clone)]
pub(super) struct Shards<T>(Box<[Arc<Vec<T>>]>);

impl<T: Clone> Default for Shards<T> {
    fn default() -> Self {
        let empty = Arc::new(Vec::new());
        Self((0..SHARDS).map(|_| Arc::clone(&empty)).collect())
    }
}

impl<T: Clone> Shards<T> {
    /// The item that `order` finds equal, in the piece of this hash.
    pub(super) fn get(&self, hash: u64, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let shard = self.0.get(index(hash))?;
        let at = shard.binary_search_by(order).ok()?;
        shard.get(at)
    }

    /// Puts an item where `order` says, in place of an equal one, or takes the equal one away. Returns what was there.
    pub(super) fn set(&mut self, hash: u64, order: impl Fn(&T) -> Ordering, item: Option<T>) -> Option<T> {
        let shard = self.0.get_mut(index(hash))?;
        match (shard.binary_search_by(order), item) {
            (Ok(at), Some(item)) => Arc::make_mut(shard)
                .get_mut(at)
                .map(|old| std::mem::replace(old, item)),
            (Ok(at), None) => Some(Arc::make_mut(shard).remove(at)),
            (Err(at), Some(item)) => {
                Arc::make_mut(shard).insert(at, item);
                None
            }
            (Err(_), None) => None,
        }
    }
}

fn index(hash: u64) -> usize {
    // The remainder is below the number of pieces, so nothing is lost.
    usize::try_from(hash % SHARDS as u64).unwrap_or_default()
}
