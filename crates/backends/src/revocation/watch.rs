//! The interest of one request in its anchors.

use std::sync::Arc;

use admission::ports::{BoxFuture, Watch, WatchState};
use tokio_util::sync::CancellationToken;

use super::anchor::Kind;
use super::state::Inner;

/// A registered interest. Dropping it takes it away everywhere.
pub(super) struct AnchorWatch {
    pub(super) state: Arc<Inner>,
    pub(super) number: u64,
    pub(super) token: CancellationToken,
    pub(super) keys: Vec<(Kind, Arc<str>)>,
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
            self.state.table(*kind).unwatch(key, self.number);
        }
        self.state.watch_ended();
    }
}
