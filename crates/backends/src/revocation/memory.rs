//! The revocation state without streams and database, fed by hand. Development only.

use std::sync::Arc;

use admission::mode::DevOnly;
use admission::ports::Clock;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::anchor::Kind;
use super::message::Stream;
use super::pass::Pass;
use super::state::{CONTACT_MAX_AGE, RevocationConfig, RevocationState};
use crate::component::{Component, Stage};

/// Feeds a revocation state from this process alone. The state's own rules are the real ones.
#[derive(Clone)]
pub struct MemoryRevocations {
    state: RevocationState,
}

impl MemoryRevocations {
    /// A state in which nothing is revoked. It stays fresh while [`MemoryRevocations::run`] runs.
    #[must_use]
    pub fn new(_proof: DevOnly, config: RevocationConfig, clock: Arc<dyn Clock>) -> Self {
        let state = RevocationState::new(config, clock);
        state.inner.complete_from_here(Stream::ALL);
        Self { state }
    }

    /// Nothing is revoked, and this process alone can change that.
    pub fn component(proof: DevOnly, config: RevocationConfig, clock: Arc<dyn Clock>) -> Component<Self> {
        let revocations = Self::new(proof, config, clock);
        let running = revocations.clone();
        let mut component = Component::new(revocations.clone());
        component.add(revocations.state.observed());
        component.task("revocation state", Stage::Foundation, |stop| running.run(stop))
    }

    /// The state, as the gates see it.
    #[must_use]
    pub fn state(&self) -> &RevocationState {
        &self.state
    }

    /// Revokes an anchor.
    pub async fn revoke(&self, kind: Kind, id: &str) {
        self.state.inner.announce(kind, id, "").await;
    }

    /// Confirms the state now and then, and whenever a snapshot is asked for, until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tick = interval(CONTACT_MAX_AGE / 4);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
                () = self.state.inner.snapshot_wanted() => {}
            }
            self.confirm().await;
        }
    }

    /// There is nothing outside this process that could have revoked anything: what was announced
    /// here is everything.
    pub async fn confirm(&self) {
        let inner = &self.state.inner;
        let ticket = inner.ticket();
        inner.touch(Stream::ALL);
        let anchors = Pass::begin(inner).finish().await;
        inner.answer(ticket, Ok(anchors));
    }
}
