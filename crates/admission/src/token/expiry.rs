//! Gate 7: the mandate is neither about to expire nor early.

use std::time::Duration;

use super::claims::Claims;
use crate::denial::Denial;
use crate::limits::Limits;
use crate::moment::Moment;

/// Demands at least the preflight window of remaining life, so that the mandate still holds
/// when the STS reads it (RFC 7519 §4.1.4), and an `nbf` that is at most 30 s ahead (§4.1.5).
pub(super) fn check(claims: &Claims<'_>, limits: &Limits, now: Moment) -> Result<(), Denial> {
    if since_epoch(claims.expires_at()) < now.unix.saturating_add(limits.preflight_window) {
        return Err(Denial::Expiring);
    }
    let latest_start = now.unix.saturating_add(Limits::NOT_BEFORE_LEEWAY);
    match claims.not_before() {
        Some(start) if since_epoch(start) > latest_start => Err(Denial::NotYetValid),
        Some(_) | None => Ok(()),
    }
}

/// A claim's instant; anything before 1970 is 1970.
fn since_epoch(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
