//! The anchors of one kind: which are revoked, and who waits to hear of which.
//!
//! Both live under the same lock, so that a revocation either finds the watch or is found by it. A
//! revocation costs one lookup and the watches of its own anchor, whatever else is in flight.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

const SHARDS: usize = 64;

pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    revoked: HashMap<Arc<str>, Revoked>,
    watched: HashMap<Arc<str>, BTreeMap<u64, CancellationToken>>,
}

/// Why an anchor is revoked: at least one of the two.
#[derive(Default)]
struct Revoked {
    announced: Option<Announced>,
    recorded: bool,
}

/// A stream said so.
#[derive(Clone, Copy)]
struct Announced {
    /// Tells one announcement from a later one of the same anchor.
    number: u64,
    /// When it runs out, in monotonic time.
    until: Duration,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Table {
    fn index(&self, id: &str) -> usize {
        usize::try_from(self.hasher.hash_one(id) % SHARDS as u64).unwrap_or_default()
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        // The remainder of a division by the number of shards is the number of a shard.
        self.shards[self.index(id)].lock()
    }

    pub(super) fn is_revoked(&self, id: &str) -> bool {
        self.shard(id).revoked.contains_key(id)
    }

    /// Registers a watch and returns the key to take it away with. An anchor that is revoked already
    /// ends the watch at once.
    pub(super) fn watch(&self, id: &str, number: u64, token: &CancellationToken) -> Arc<str> {
        let mut shard = self.shard(id);
        if shard.revoked.contains_key(id) {
            token.cancel();
        }
        let key = match shard.watched.get_key_value(id) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(id),
        };
        shard
            .watched
            .entry(Arc::clone(&key))
            .or_default()
            .insert(number, token.clone());
        key
    }

    pub(super) fn unwatch(&self, key: &Arc<str>, number: u64) {
        let mut shard = self.shard(key);
        if let Some(watches) = shard.watched.get_mut(key) {
            watches.remove(&number);
            if watches.is_empty() {
                shard.watched.remove(key);
            }
        }
    }

    /// A stream announced that this anchor is revoked. Returns whether it is new, unless there is no
    /// room for a new one; its watches end in any case.
    pub(super) fn announce(&self, id: &str, number: u64, until: Duration, room: bool) -> Announcement {
        let mut shard = self.shard(id);
        let announced = Some(Announced { number, until });
        let outcome = match shard.revoked.get_mut(id) {
            Some(revoked) => {
                revoked.announced = announced;
                Announcement::Known
            }
            None if room => {
                let recorded = false;
                shard
                    .revoked
                    .insert(Arc::from(id), Revoked { announced, recorded });
                Announcement::New
            }
            None => Announcement::NoRoom,
        };
        let watches = shard
            .watched
            .get(id)
            .map(|watches| watches.values().cloned().collect());
        drop(shard);
        end(watches.unwrap_or_default());
        outcome
    }

    /// The anchors whose announcement runs out by then, with its number.
    pub(super) fn announced(&self, by: Duration) -> Vec<(Arc<str>, u64)> {
        let of = |shard: &Mutex<Shard>| -> Vec<_> {
            let shard = shard.lock();
            let announced = shard.revoked.iter();
            announced
                .filter_map(|(id, revoked)| Some((id, revoked.announced?)))
                .filter(|(_, announced)| announced.until <= by)
                .map(|(id, announced)| (Arc::clone(id), announced.number))
                .collect()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// The database shows this anchor active again; that does away with the announcement that was
    /// known when it was asked, and with no later one.
    pub(super) fn withdraw(&self, id: &str, number: u64) {
        if let Some(revoked) = self.shard(id).revoked.get_mut(id)
            && revoked
                .announced
                .is_some_and(|announced| announced.number == number)
        {
            revoked.announced = None;
        }
    }

    /// The announcement that was known when the database was asked, and no later one, holds until then.
    pub(super) fn renew(&self, id: &str, number: u64, until: Duration) {
        if let Some(revoked) = self.shard(id).revoked.get_mut(id)
            && let Some(announced) = &mut revoked.announced
            && announced.number == number
        {
            announced.until = until;
        }
    }

    /// A snapshot: exactly these anchors are recorded as revoked. Announcements that have run out are
    /// forgotten. Returns how many anchors are revoked now.
    ///
    /// The shards change one after the other, and the runtime gets its turn in between.
    pub(super) async fn record(&self, ids: Vec<String>, now: Duration) -> usize {
        let mut parts: Vec<HashSet<String>> = std::iter::repeat_with(HashSet::new).take(SHARDS).collect();
        for id in ids {
            if let Some(part) = parts.get_mut(self.index(&id)) {
                part.insert(id);
            }
        }
        let mut total = 0;
        for (shard, part) in self.shards.iter().zip(parts) {
            total += record_shard(shard, part, now);
            tokio::task::yield_now().await;
        }
        total
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().watched.len()).sum()
    }
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    New,
    Known,
    NoRoom,
}

fn record_shard(shard: &Mutex<Shard>, mut recorded: HashSet<String>, now: Duration) -> usize {
    let mut guard = shard.lock();
    let Shard { revoked, watched } = &mut *guard;
    revoked.retain(|id, state| {
        state.recorded = recorded.remove(&**id);
        state.announced = state.announced.filter(|announced| announced.until > now);
        state.recorded || state.announced.is_some()
    });
    let mut watches = Vec::new();
    for id in recorded {
        if let Some(waiting) = watched.get(id.as_str()) {
            watches.extend(waiting.values().cloned());
        }
        let state = Revoked {
            announced: None,
            recorded: true,
        };
        revoked.insert(Arc::from(id), state);
    }
    let total = revoked.len();
    drop(guard);
    end(watches);
    total
}

fn end(watches: Vec<CancellationToken>) {
    for watch in watches {
        watch.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Table};
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    const LATER: Duration = Duration::from_secs(100);
    const NOW: Duration = Duration::from_secs(1);

    fn recorded(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[tokio::test]
    async fn table_announcement_ends_its_watches_and_no_others() {
        let table = Table::default();
        let (mine, other) = (CancellationToken::new(), CancellationToken::new());
        let key = table.watch("a", 1, &mine);
        table.watch("b", 2, &other);
        assert_eq!(table.announce("a", 1, LATER, true), Announcement::New);
        assert_eq!(table.announce("a", 2, LATER, true), Announcement::Known);
        assert!(mine.is_cancelled() && !other.is_cancelled());
        assert!(table.is_revoked("a") && !table.is_revoked("b"));
        table.unwatch(&key, 1);
        assert_eq!(table.watched(), 1);
    }

    #[tokio::test]
    async fn table_watch_of_a_revoked_anchor_ends_at_once() {
        let table = Table::default();
        table.record(recorded(&["a"]), NOW).await;
        let token = CancellationToken::new();
        table.watch("a", 1, &token);
        assert!(token.is_cancelled());
    }

    #[tokio::test]
    async fn table_full_still_ends_watches() {
        let table = Table::default();
        let token = CancellationToken::new();
        table.watch("a", 1, &token);
        assert_eq!(table.announce("a", 1, LATER, false), Announcement::NoRoom);
        assert!(token.is_cancelled());
    }

    #[tokio::test]
    async fn table_snapshot_replaces_what_was_recorded_and_keeps_what_was_announced() {
        let table = Table::default();
        table.announce("announced", 1, LATER, true);
        let token = CancellationToken::new();
        table.watch("new", 1, &token);
        assert_eq!(table.record(recorded(&["old"]), NOW).await, 2);
        assert_eq!(table.record(recorded(&["new"]), NOW).await, 2);
        assert!(token.is_cancelled());
        assert!(!table.is_revoked("old") && table.is_revoked("new") && table.is_revoked("announced"));
    }

    #[tokio::test]
    async fn table_announcement_runs_out() {
        let table = Table::default();
        table.announce("a", 1, LATER, true);
        assert_eq!(table.record(Vec::new(), LATER - NOW).await, 1);
        assert_eq!(table.record(Vec::new(), LATER).await, 0);
        assert!(!table.is_revoked("a"));
    }

    #[tokio::test]
    async fn table_renewal_is_of_one_announcement() {
        let table = Table::default();
        table.announce("a", 1, NOW, true);
        table.announce("b", 2, NOW, true);
        table.announce("later", 3, LATER, true);
        let mut known = table.announced(NOW);
        known.sort();
        assert_eq!(known, [("a".into(), 1), ("b".into(), 2)]);
        table.renew("a", 1, LATER);
        table.renew("b", 1, LATER);
        assert_eq!(table.record(Vec::new(), NOW).await, 2);
        assert!(table.is_revoked("a") && !table.is_revoked("b"));
    }

    #[tokio::test]
    async fn table_withdrawal_spares_a_later_announcement() {
        let table = Table::default();
        table.announce("a", 1, LATER, true);
        table.announce("b", 2, LATER, true);
        let mut known = table.announced(LATER);
        known.sort();
        assert_eq!(known.len(), 2);
        table.announce("b", 3, LATER, true);
        for (id, number) in known {
            table.withdraw(&id, number);
        }
        table.record(Vec::new(), NOW).await;
        assert!(!table.is_revoked("a") && table.is_revoked("b"));
    }
}
