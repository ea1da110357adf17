//! What is told about a request that leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use admission::ports::Cause;

use super::failure::SendFailure;
use super::socket::Guard;

/// Told when bytes of a request may leave, which is after a connection was found, a used one or a new one, and before
/// the first of them is written, and when it is certain that none did.
pub(crate) trait Leaving: Sync {
    fn mark(&self, reused: bool);
    fn take_back(&self);
    /// What has to know that it departs.
    fn guard(&self) -> Option<Guard> {
        None
    }
    /// Whether a request with a safe method and without a body is sent once more where its used connection ended without
    /// a byte of an answer.
    fn may_repeat(&self) -> bool {
        false
    }
}

/// Nobody needs to know.
impl Leaving for () {
    fn mark(&self, _reused: bool) {}
    fn take_back(&self) {}
}

/// To be called before anything is waited for that comes before the departure.
pub(super) fn keep(leaving: &impl Leaving) -> Result<(), SendFailure> {
    let kept = leaving.guard().map_or(Ok(()), |guard| guard.keep());
    kept.map_err(|error| SendFailure::Barred(Cause::new(format!("intent: {error}"))))
}

/// A recorded intent that wants to know when its request departs.
pub trait Departs {
    /// What the client and the connection tell.
    fn departure(&self) -> Guard;
}

/// A dispatch on its way.
pub(super) struct Departing {
    pub(super) guard: Guard,
    /// Whether it leaves over a connection that answered before, or that waited for it.
    pub(super) reused: Arc<AtomicBool>,
}

impl Leaving for Departing {
    fn mark(&self, reused: bool) {
        self.reused.store(reused, Ordering::Relaxed);
    }
    fn take_back(&self) {}
    fn guard(&self) -> Option<Guard> {
        Some(Arc::clone(&self.guard))
    }
    fn may_repeat(&self) -> bool {
        true
    }
}
