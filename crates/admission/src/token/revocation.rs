//! Gate 10: nothing that the mandate rests on is revoked.

use std::sync::Arc;

use super::Verified;
use crate::denial::Denial;
use crate::ports::{Moment, Revocations, Standing, Watch, WatchState};
use crate::refused::Refused;

/// A request whose authority stands, and is watched from now on.
pub struct Watched<'r> {
    verified: Verified<'r>,
    watch: Arc<dyn Watch>,
}

impl<'r> Watched<'r> {
    pub(crate) fn verified(&self) -> &Verified<'r> {
        &self.verified
    }

    pub(crate) fn into_parts(self) -> (Verified<'r>, Arc<dyn Watch>) {
        (self.verified, self.watch)
    }
}

/// Registers the watch first and reads the standing second: a revocation that arrives in
/// between is seen by one of the two.
///
/// # Errors
/// [`Denial::RevocationStale`], [`Denial::Revoked`].
pub fn check<'r>(
    verified: Verified<'r>,
    revocations: &dyn Revocations,
    now: Moment,
) -> Result<Watched<'r>, Refused> {
    let anchors = verified.claims().anchors();
    let stale = |cause| verified.refuse(Denial::RevocationStale).because(cause);
    let watch = revocations.watch(&anchors).map_err(stale)?;
    match revocations.standing(&anchors, now) {
        Standing::Revoked => Err(verified.refuse(Denial::Revoked)),
        Standing::Stale(cause) => Err(stale(cause)),
        Standing::Clear => match watch.poll_now() {
            WatchState::Revoked => Err(verified.refuse(Denial::Revoked)),
            WatchState::Quiet => Ok(Watched { verified, watch }),
        },
    }
}
