//! What each zone may hold of the revocation state, and which of its mandates can be decided.
//!
//! A mandate rests on anchors of its own zone, because no STS exchanges what another zone has signed. It can only be
//! decided when every revocation since it was issued is known. So each zone has a time since
//! which that is so, and a mandate issued earlier is refused. This makes two things safe that would not be otherwise:
//!
//! * **The window of a zone**, how far back its revoked rows are read, follows the longest life seen in its verified
//!   mandates. This replica has not seen every mandate; but one that was issued before the window is refused at its
//!   first use, and widens the window of the next snapshot, which is taken at once. Where nothing was seen yet, as
//!   after a start, the window is the longest there is, 24 hours, and a mandate from before that is refused for good.
//! * **The bounds.** A zone whose revoked anchors do not fit is refused as a whole, and all of them are let go, until a
//!   snapshot finds room for its rows again. An announcement is known from its message alone: where one is let go, or
//!   comes while there is no room, the mandates of its zone from before are refused until they have expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use admission::limits::Limits;
use admission::ports::{Cause, Mandate, Moment};
use parking_lot::RwLock;

/// What the clocks of STS, stores and gateway may differ by, and a mandate that is issued while its authority is
/// being revoked may be late.
pub(super) const SKEW: Duration = Duration::from_secs(300);
/// The least window: the longest life that the existing STS gives.
const MIN_WINDOW: Duration = Duration::from_secs(3600);
/// No snapshot completes the zone before its rows fit again.
const OVER: u32 = u32::MAX;

/// How many anchors may be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one zone.
    pub(super) zone: usize,
    /// How many zones are told apart.
    pub(super) names: usize,
}

/// The zones that hold anchors, or whose mandates were seen.
#[derive(Debug)]
pub(super) struct Zones {
    bounds: Bounds,
    /// The anchors of all zones.
    held: Arc<AtomicUsize>,
    /// Holds the announcements that do not say their zone, which may concern any.
    unnamed: Arc<Zone>,
    by_name: RwLock<HashMap<Box<str>, Arc<Zone>>>,
}

/// What is known of one zone.
#[derive(Debug)]
pub(super) struct Zone {
    name: Box<str>,
    bounds: Bounds,
    held_in_all: Arc<AtomicUsize>,
    held: AtomicUsize,
    /// The longest life of a verified mandate in seconds; 0 before the first one.
    life: AtomicU64,
    /// The revoked rows since this Unix second are known.
    rows_since: AtomicU64,
    /// The last announcement for which there was no room, in Unix seconds; 0 without one.
    lost_at: AtomicU64,
    /// The number of the snapshot that completes the zone; 0 while it is complete.
    needs: AtomicU32,
    /// The revoked rows that the snapshot under way has found and not taken.
    left_out: AtomicUsize,
}

/// The room of one held anchor. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Place(Arc<Zone>);

/// There is no room for an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Its zone holds as many as it may.
    Zone,
    /// All zones together do.
    All,
}

/// Why a mandate cannot be decided.
#[derive(Debug)]
pub(super) struct Undecided {
    pub(super) cause: Cause,
    /// Whether the next snapshot changes that.
    pub(super) until_next_snapshot: bool,
}

impl Zones {
    pub(super) fn new(bounds: Bounds) -> Self {
        let held = Arc::default();
        Self {
            bounds,
            unnamed: Arc::new(Zone::new("", bounds, &held)),
            held,
            by_name: RwLock::default(),
        }
    }

    /// Anchors held in all.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The zone of this name. An empty name stands for none, and so does a new one where there are too many.
    pub(super) fn named(&self, name: &str) -> Arc<Zone> {
        if name.is_empty() {
            return Arc::clone(&self.unnamed);
        }
        if let Some(zone) = self.by_name.read().get(name) {
            return Arc::clone(zone);
        }
        let mut by_name = self.by_name.write();
        if by_name.len() >= self.bounds.names {
            return Arc::clone(by_name.get(name).unwrap_or(&self.unnamed));
        }
        let new = || Arc::new(Zone::new(name, self.bounds, &self.held));
        Arc::clone(by_name.entry(name.into()).or_insert_with(new))
    }

    /// Takes note of a verified mandate. Returns whether a snapshot may now find room for a zone that had none.
    pub(super) fn learn(&self, mandate: &Mandate<'_>) -> bool {
        let seen = self.by_name.read().get(mandate.zone).cloned();
        let zone = match seen {
            Some(zone) => zone,
            None => self.named(mandate.zone),
        };
        // Of a zone too many nothing is learnt: its mandates may have the longest life.
        if zone.name() != mandate.zone {
            return false;
        }
        let life = life(mandate);
        if life <= zone.life.load(Ordering::Relaxed) {
            return false;
        }
        zone.life.fetch_max(life, Ordering::Relaxed) == 0 && zone.is_over()
    }

    /// Whether everything is known that may have revoked this mandate.
    pub(super) fn decides(&self, mandate: &Mandate<'_>, now: Moment) -> Result<(), Undecided> {
        let zone = self.by_name.read().get(mandate.zone).cloned();
        let earliest = now.unix.saturating_sub(Limits::MAX_MANDATE_LIFE).as_secs();
        // One that does not say when it was issued is taken for as old as one can be that is decided.
        let issued = match mandate.issued_at {
            Some(issued) => u64::try_from(issued).unwrap_or(0),
            None => earliest,
        };
        if issued < earliest {
            return Err(Undecided {
                cause: Cause::new(
                    "revocation: the mandate was issued more than 24 hours ago, and revocations of before are not known",
                ),
                until_next_snapshot: false,
            });
        }
        for zone in zone.iter().chain([&self.unnamed]) {
            zone.decides(issued)?;
        }
        Ok(())
    }

    /// Every zone.
    pub(super) fn all(&self) -> Vec<Arc<Zone>> {
        let zones = self.by_name.read();
        zones.values().chain([&self.unnamed]).cloned().collect()
    }

    /// The zone that holds most anchors; none where nobody holds any.
    pub(super) fn largest(&self) -> Option<Arc<Zone>> {
        let zones = self.by_name.read();
        let held = zones
            .values()
            .chain([&self.unnamed])
            .map(|zone| (zone.held.load(Ordering::Relaxed), zone));
        let (_, largest) = held.filter(|(held, _)| *held > 0).max_by_key(|(held, _)| *held)?;
        Some(Arc::clone(largest))
    }

    /// Forgets lost announcements once no mandate from before can be valid, and zones of which there is nothing to know.
    pub(super) fn tidy(&self, now: Moment) {
        for zone in self.all() {
            zone.forget_loss(now);
        }
        self.by_name.write().retain(|_, zone| {
            // One reference is the map's own.
            Arc::strong_count(zone) > 1 || zone.is_known()
        });
    }
}

impl Zone {
    fn new(name: &str, bounds: Bounds, held_in_all: &Arc<AtomicUsize>) -> Self {
        Self {
            name: name.into(),
            bounds,
            held_in_all: Arc::clone(held_in_all),
            held: AtomicUsize::new(0),
            life: AtomicU64::new(0),
            rows_since: AtomicU64::new(0),
            lost_at: AtomicU64::new(0),
            needs: AtomicU32::new(0),
            left_out: AtomicUsize::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a mandate of it was seen.
    pub(super) fn was_seen(&self) -> bool {
        self.life.load(Ordering::Relaxed) != 0
    }

    /// How far back the revoked rows of the zone matter.
    pub(super) fn window(&self) -> Duration {
        match self.life.load(Ordering::Relaxed) {
            0 => Limits::MAX_MANDATE_LIFE,
            life => Duration::from_secs(life).clamp(MIN_WINDOW, Limits::MAX_MANDATE_LIFE),
        }
    }

    /// Room for one more anchor; a zone that is over its bound has none.
    pub(super) fn place(self: &Arc<Self>) -> Result<Place, Full> {
        if self.is_over() {
            return Err(Full::Zone);
        }
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.bounds.zone {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Zone);
        }
        if self.held_in_all.fetch_add(1, Ordering::Relaxed) >= self.bounds.all {
            self.held.fetch_sub(1, Ordering::Relaxed);
            self.held_in_all.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::All);
        }
        Ok(Place(Arc::clone(self)))
    }

    /// Whether its revoked anchors do not fit.
    pub(super) fn is_over(&self) -> bool {
        self.needs.load(Ordering::Relaxed) == OVER
    }

    /// Whether its requests are refused until its rows fit.
    pub(super) fn is_refused(&self) -> bool {
        self.needs.load(Ordering::Acquire) != 0
    }

    /// Its anchors do not fit: its requests are refused until its rows do.
    pub(super) fn overflow(&self) {
        if self.needs.swap(OVER, Ordering::AcqRel) != OVER {
            tracing::error!(
                zone = &*self.name,
                per_zone = self.bounds.zone,
                in_all = self.bounds.all,
                "more anchors are revoked than fit: requests of this zone are refused until they do; raise \
                 REVOCATION_MAX_ZONE_ANCHORS or REVOCATION_MAX_ANCHORS"
            );
        }
    }

    /// An announcement could not be held.
    pub(super) fn lose(&self, now: Moment) {
        if self.lost_at.fetch_max(now.unix.as_secs(), Ordering::Relaxed) == 0 {
            tracing::error!(
                zone = &*self.name,
                "an announced revocation does not fit: mandates issued before it are refused until they expire; raise \
                 REVOCATION_MAX_ZONE_ANCHORS or REVOCATION_MAX_ANCHORS"
            );
        }
    }

    fn forget_loss(&self, now: Moment) {
        let lost_at = self.lost_at.load(Ordering::Relaxed);
        if now.unix > Duration::from_secs(lost_at) + Limits::MAX_MANDATE_LIFE + SKEW {
            // Not where another one was lost meanwhile.
            let _ = self
                .lost_at
                .compare_exchange(lost_at, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether some of its requests are refused because an anchor does not fit.
    pub(super) fn is_short(&self) -> bool {
        self.is_refused() || self.has_lost()
    }

    /// Whether an announcement is lost.
    pub(super) fn has_lost(&self) -> bool {
        self.lost_at.load(Ordering::Relaxed) != 0
    }

    /// A snapshot begins; it does not take the zone's rows.
    pub(super) fn begin_count(&self) {
        self.left_out.store(0, Ordering::Relaxed);
    }

    pub(super) fn count(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot that did not take the zone's rows is over. Returns how many the one of this number is to take, where
    /// they fit beside those that it takes of other zones.
    pub(super) fn readmit(&self, next: u32, granted: usize) -> Option<usize> {
        let rows = self.left_out.load(Ordering::Relaxed);
        let fits = self.held.load(Ordering::Relaxed) + rows <= self.bounds.zone
            && self.held_in_all.load(Ordering::Relaxed) + granted + rows <= self.bounds.all;
        let readmits = fits
            && self
                .needs
                .compare_exchange(OVER, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        readmits.then_some(rows)
    }

    /// The snapshot of this number has taken the zone's rows of this window.
    pub(super) fn complete(&self, number: u32) {
        let needs = self.needs.load(Ordering::Relaxed);
        if needs == 0 || needs == OVER || needs > number {
            return;
        }
        // Not where it has overflowed meanwhile: what was taken is gone then.
        let fits = self
            .needs
            .compare_exchange(needs, 0, Ordering::Release, Ordering::Relaxed);
        if fits.is_ok() {
            tracing::info!(zone = &*self.name, "the revoked anchors of this zone fit again");
        }
    }

    /// Before rows of before this window are let go, and after those of it are held.
    pub(super) fn rows_since(&self, began: Moment, window: Duration) {
        let since = began.unix.saturating_sub(window).as_secs();
        self.rows_since.store(since, Ordering::Release);
    }

    fn decides(&self, issued: u64) -> Result<(), Undecided> {
        let undecided = |cause: &str, until_next_snapshot| {
            Err(Undecided {
                cause: Cause::new(format!("revocation: zone {:?}: {cause}", self.name)),
                until_next_snapshot,
            })
        };
        if self.is_refused() {
            return undecided("more anchors are revoked than fit", false);
        }
        if issued < self.rows_since.load(Ordering::Acquire) {
            return undecided("the mandate is older than any seen before", true);
        }
        let lost_at = self.lost_at.load(Ordering::Relaxed);
        if lost_at != 0 && issued <= lost_at + SKEW.as_secs() {
            return undecided(
                "the mandate was issued before a revocation that did not fit",
                false,
            );
        }
        Ok(())
    }

    /// Whether anything was learnt of it.
    fn is_known(&self) -> bool {
        let numbers = [&self.life, &self.lost_at];
        self.is_refused() || numbers.iter().any(|number| number.load(Ordering::Relaxed) != 0)
    }
}

impl Place {
    pub(super) fn zone(&self) -> &Arc<Zone> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.held_in_all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The life of a mandate in seconds, at least 1; one that does not say when it was issued may have the longest.
fn life(mandate: &Mandate<'_>) -> u64 {
    let longest = Limits::MAX_MANDATE_LIFE.as_secs();
    let seconds = |issued| u64::try_from(mandate.expires_at.saturating_sub(issued)).unwrap_or(0);
    mandate.issued_at.map_or(longest, seconds).clamp(1, longest)
}

#[cfg(test)]
mod tests;
