//! The anchors of every kind, and the requests that watch theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use admission::ports::{BoxFuture, Cause, Watch, WatchState};
use admission::token::Anchors;
use tokio_util::sync::CancellationToken;

use super::anchor::{Kind, PerKind, named};
use super::table::Table;

#[derive(Default)]
pub(super) struct Registry {
    pub(super) tables: PerKind<Table>,
    numbers: AtomicU64,
    watches: AtomicUsize,
}

impl Registry {
    /// Tells one announcement, or one watch, from every other.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_revoked(&self, anchors: &Anchors<'_>) -> bool {
        named(anchors).any(|(kind, id)| self.tables.of(kind).is_revoked(id))
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
        let number = self.number();
        let token = CancellationToken::new();
        let keys = named(anchors)
            .map(|(kind, id)| (kind, self.tables.of(kind).watch(id, number, &token)))
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
    keys: Vec<(Kind, Arc<str>)>,
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
