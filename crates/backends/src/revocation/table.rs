//! The anchors of one kind: which are revoked, and who waits to hear of which.
//!
//! Both live under the same lock, so that a revocation either finds the watch or is found by it. A
//! revocation costs one lookup and the watches of its own anchor, whatever else is in flight. No lock is held for
//! longer than it takes to go through one shard.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Moment;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::anchor::AnchorId;
use super::zones::{Full, Place, Zone};

const SHARDS: usize = 256;
/// Shards that are gone through in one turn when a zone is let go: of a million anchors at most 16 000.
const SHARDS_AT_ONCE: usize = 4;
/// Stands for every snapshot but the last, as the number of one.
const EARLIER: u8 = 1;

pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// A tree, because its memory grows evenly, and not by doubling.
    revoked: BTreeMap<AnchorId, Revoked>,
    /// By anchor and the number of the watch: most anchors are watched once, and no map of their own is as small.
    watched: BTreeMap<(AnchorId, u64), CancellationToken>,
}

/// Why an anchor is revoked: it was announced, recorded, or both. There may be a million of these.
#[derive(Debug)]
pub(super) struct Revoked {
    place: Place,
    /// Tells its announcement from a later one, of the same anchor or of another; none where no stream said so.
    announced: Option<NonZeroU32>,
    /// The minute of the announcement by the monotonic clock, modulo 45 days.
    minute: u16,
    /// The snapshot that recorded it; 0 where none has.
    recorded: u8,
}

const _: () = assert!(size_of::<Revoked>() == 16);

/// A snapshot, as the table remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u8);

impl Mark {
    /// Of the snapshot of this number. The same mark comes again after 254 snapshots, which is safe: an anchor would
    /// be held for one snapshot too many.
    pub(super) fn of(number: u32) -> Self {
        let within = number % u32::from(u8::MAX - EARLIER);
        Self(u8::try_from(within).unwrap_or_default() + EARLIER + 1)
    }
}

impl Revoked {
    /// Announced before this number was given out, and not recorded by this snapshot.
    pub(super) fn is_announced_alone(&self, before: u32, mark: Mark) -> bool {
        let earlier = |number: NonZeroU32| before.wrapping_sub(number.get()) < u32::MAX / 2;
        self.recorded != mark.0 && self.announced.is_some_and(earlier)
    }

    /// No snapshot has ever recorded it.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.recorded == 0
    }

    /// Whether its announcement is older than this, by a minute at most. One from after `now` is not.
    pub(super) fn announced_longer_ago(&self, life: Duration, now: Duration) -> bool {
        let age = minute(now).wrapping_sub(self.minute).cast_signed();
        let minutes = u64::try_from(age).unwrap_or(0);
        self.announced.is_some() && minutes > life.as_secs() / 60
    }

    pub(super) fn zone(&self) -> &Arc<Zone> {
        self.place.zone()
    }
}

fn minute(monotonic: Duration) -> u16 {
    u16::try_from(monotonic.as_secs() / 60 % (u64::from(u16::MAX) + 1)).unwrap_or_default()
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
    fn shard(&self, id: &AnchorId) -> MutexGuard<'_, Shard> {
        // The remainder of a division by the number of shards is the number of a shard.
        let index = usize::try_from(self.hasher.hash_one(id) % SHARDS as u64).unwrap_or_default();
        self.shards[index].lock()
    }

    pub(super) fn is_revoked(&self, id: &AnchorId) -> bool {
        self.shard(id).revoked.contains_key(id)
    }

    /// Registers a watch. An anchor that is revoked already ends the watch at once.
    pub(super) fn watch(&self, id: AnchorId, number: u64, token: &CancellationToken) {
        let mut shard = self.shard(&id);
        if shard.revoked.contains_key(&id) {
            token.cancel();
        }
        shard.watched.insert((id, number), token.clone());
    }

    pub(super) fn unwatch(&self, id: &AnchorId, number: u64) {
        self.shard(id).watched.remove(&(id.clone(), number));
    }

    /// A stream announced that this anchor is revoked. Its watches end, even where there is no room to hold it.
    pub(super) fn announce(
        &self,
        id: &AnchorId,
        zone: &Arc<Zone>,
        number: NonZeroU32,
        now: Duration,
    ) -> Result<(), Full> {
        let (announced, minute) = (Some(number), minute(now));
        let mut shard = self.shard(id);
        let outcome = match shard.revoked.get_mut(id) {
            Some(revoked) => {
                (revoked.announced, revoked.minute) = (announced, minute);
                Ok(())
            }
            None => zone.place().map(|place| {
                let revoked = Revoked {
                    place,
                    announced,
                    minute,
                    recorded: 0,
                };
                shard.revoked.insert(id.clone(), revoked);
            }),
        };
        end_watches(shard, id);
        outcome
    }

    /// A snapshot records that this anchor is revoked. Its watches end, even where there is no room to hold it.
    pub(super) fn record(&self, id: &AnchorId, zone: &Arc<Zone>, mark: Mark) -> Result<(), Full> {
        let mut shard = self.shard(id);
        if let Some(revoked) = shard.revoked.get_mut(id) {
            revoked.recorded = mark.0;
            if !Arc::ptr_eq(revoked.zone(), zone) {
                // The message named no zone, or another.
                revoked.place = zone.place()?;
            }
            return Ok(());
        }
        let outcome = zone.place().map(|place| {
            let revoked = Revoked {
                place,
                announced: None,
                minute: 0,
                recorded: mark.0,
            };
            shard.revoked.insert(id.clone(), revoked);
        });
        end_watches(shard, id);
        outcome
    }

    /// Ends the watches of an anchor that is not held.
    pub(super) fn end_watches(&self, id: &AnchorId) {
        end_watches(self.shard(id), id);
    }

    /// The anchors of one shard of which this holds, with the numbers of their announcements; none past the last shard.
    pub(super) fn announced(
        &self,
        shard: usize,
        wanted: impl Fn(&Revoked) -> bool,
    ) -> Option<Vec<(AnchorId, NonZeroU32)>> {
        let shard = self.shards.get(shard)?.lock();
        let numbered = |(id, revoked): (&AnchorId, &Revoked)| Some((id.clone(), revoked.announced?));
        let wanted = shard.revoked.iter().filter(|(_, revoked)| wanted(revoked));
        Some(wanted.filter_map(numbered).collect())
    }

    /// The database shows this anchor active again; that does away with the announcement of this number, and with no
    /// later one.
    pub(super) fn withdraw(&self, id: &AnchorId, number: NonZeroU32) {
        self.change(id, number, |revoked| revoked.announced = None);
    }

    /// The announcement of this number, and no later one, holds as if it were made now.
    pub(super) fn renew(&self, id: &AnchorId, number: NonZeroU32, now: Duration) {
        self.change(id, number, |revoked| revoked.minute = minute(now));
    }

    fn change(&self, id: &AnchorId, number: NonZeroU32, change: impl FnOnce(&mut Revoked)) {
        if let Some(revoked) = self.shard(id).revoked.get_mut(id)
            && revoked.announced == Some(number)
        {
            change(revoked);
        }
    }

    /// A snapshot is complete: what neither it records nor an announcement that still holds goes.
    ///
    /// The shards change one after the other, and the runtime gets its turn in between.
    pub(super) async fn sweep(&self, mark: Mark, holds: impl Fn(&Revoked) -> bool) {
        for shard in &self.shards {
            shard.lock().revoked.retain(|_, revoked| {
                if revoked.recorded == mark.0 {
                    return true;
                }
                if revoked.recorded != 0 {
                    revoked.recorded = EARLIER;
                }
                revoked.announced.is_some() && holds(revoked)
            });
            tokio::task::yield_now().await;
        }
    }

    /// Lets go everything of a zone that is over its bound. What was announced of it is lost then.
    ///
    /// The runtime gets its turn in between. A snapshot may take the zone's rows again meanwhile: they stay.
    pub(super) async fn purge(&self, zone: &Arc<Zone>, now: Moment) {
        for shards in self.shards.chunks(SHARDS_AT_ONCE) {
            for shard in shards {
                let mut shard = shard.lock();
                if !zone.is_over() {
                    return;
                }
                let mut loses = false;
                shard.revoked.retain(|_, revoked| {
                    let goes = Arc::ptr_eq(revoked.zone(), zone);
                    loses |= goes && revoked.announced.is_some();
                    !goes
                });
                if loses {
                    // Under the lock, which every snapshot needs before it completes the zone.
                    zone.lose(now);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().watched.len()).sum()
    }
}

fn end_watches(shard: MutexGuard<'_, Shard>, id: &AnchorId) {
    let of_anchor = (id.clone(), 0)..=(id.clone(), u64::MAX);
    let watches: Vec<_> = shard
        .watched
        .range(of_anchor)
        .map(|(_, token)| token.clone())
        .collect();
    drop(shard);
    for watch in watches {
        watch.cancel();
    }
}

#[cfg(test)]
mod tests;
