//! Gate 10: nothing that the mandate rests on is revoked.

use std::sync::Arc;

use super::signature::Verified;
use crate::denial::Denial;
use crate::moment::Moment;
use crate::ports::{Mandate, Revocations, Standing, Watch, WatchState};
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

    pub(crate) fn into_watch(self) -> Arc<dyn Watch> {
        self.watch
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
    let claims = verified.claims();
    let mandate = Mandate {
        zone: verified.zone(),
        anchors: claims.anchors(),
        issued_at: claims.issued_at(),
        expires_at: claims.expires_at(),
    };
    let stale = |cause| Refused::because(Denial::RevocationStale, cause);
    let watch = revocations.watch(&mandate.anchors).map_err(stale)?;
    match revocations.standing(&mandate, now) {
        Standing::Revoked => Err(Denial::Revoked.into()),
        Standing::Stale(cause) => Err(stale(cause)),
        Standing::Clear => match watch.poll_now() {
            WatchState::Revoked => Err(Denial::Revoked.into()),
            WatchState::Quiet => Ok(Watched { verified, watch }),
        },
    }
}
