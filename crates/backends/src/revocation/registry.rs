//! The anchors of every kind, and the requests that watch theirs.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use admission::ports::{BoxFuture, Cause, Watch, WatchState};
use admission::token::Anchors;
use tokio_util::sync::CancellationToken;

use super::anchor::{AnchorId, Kind, PerKind, named};
use super::table::Table;

#[derive(Default)]
pub(super) struct Registry {
    pub(super) tables: PerKind<Table>,
    announcements: AtomicU32,
    numbers: AtomicU64,
    watches: AtomicUsize,
}

impl Registry {
    /// Tells one announcement from those before and after it.
    pub(super) fn announcement(&self) -> NonZeroU32 {
        let next = || self.announcements.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        // 0 comes once in four thousand million.
        NonZeroU32::new(next())
            .or_else(|| NonZeroU32::new(next()))
            .unwrap_or(NonZeroU32::MIN)
    }

    /// The number of the last announcement.
    pub(super) fn announced(&self) -> u32 {
        self.announcements.load(Ordering::Acquire)
    }

    pub(super) fn is_revoked(&self, anchors: &Anchors<'_>) -> bool {
        named(anchors).any(|(kind, id)| self.tables.of(kind).is_revoked(&id.into()))
    }

    /// How many requests are watched.
    pub(super) fn watches(&self) -> usize {
        self.watches.load(Ordering::Relaxed)
    }

    /// Registers a request's interest in its anchors, unless `max` requests are watched.
    pub(super) fn watch(self: &Arc<Self>, anchors: &Anchors<'_>, max: usize) -> Result<AnchorWatch, Cause> {
        if self.watches.fetch_add(1, Ordering::Relaxed) >= max {
            self.watches.fetch_sub(1, Ordering::Relaxed);
            return Err(Cause::new("revocation: too many requests are watched"));
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let token = CancellationToken::new();
        let keys = named(anchors)
            .map(|(kind, id)| (kind, AnchorId::from(id)))
            .inspect(|(kind, id)| self.tables.of(*kind).watch(id.clone(), number, &token))
            .collect();
        Ok(AnchorWatch {
            registry: Arc::clone(self),
            number,
            token,
            keys,
        })
    }
}

/// A registered interest. Dropping it takes it away everywhere.
pub(super) struct AnchorWatch {
    registry: Arc<Registry>,
    number: u64,
    token: CancellationToken,
    keys: Vec<(Kind, AnchorId)>,
}

impl Watch for AnchorWatch {
    fn revoked(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.token.clone().cancelled_owned())
    }

    fn poll_now(&self) -> WatchState {
        if self.token.is_cancelled() {
            WatchState::Revoked
        } else {
            WatchState::Quiet
        }
    }
}

impl Drop for AnchorWatch {
    fn drop(&mut self) {
        for (kind, key) in &self.keys {
            self.registry.tables.of(*kind).unwatch(key, self.number);
        }
        self.registry.watches.fetch_sub(1, Ordering::Relaxed);
    }
}
