//! Gate 7: the mandate is neither about to expire nor early.

use super::Claims;
use crate::denial::Denial;
use crate::limits::Limits;
use crate::ports::Moment;

/// Demands at least the preflight window of remaining life, so that the mandate still holds
/// when the STS reads it (RFC 7519 §4.1.4), and an `nbf` that is at most 30 s ahead (§4.1.5).
pub(super) fn check(claims: &Claims<'_>, limits: &Limits, now: Moment) -> Result<(), Denial> {
    let now = seconds(now.unix);
    if claims.expires_at().saturating_sub(now) < seconds(limits.preflight_window) {
        return Err(Denial::Expiring);
    }
    match claims.not_before() {
        Some(start) if start.saturating_sub(now) > seconds(Limits::NOT_BEFORE_LEEWAY) => {
            Err(Denial::NotYetValid)
        }
        Some(_) | None => Ok(()),
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
