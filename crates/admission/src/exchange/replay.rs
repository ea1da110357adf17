//! Gate 14: a single-use mandate is presented for the first time.

use std::sync::Arc;
use std::time::Duration;

use super::circuit::Slot;
use super::room::Roomed;
use crate::binding::Bound;
use crate::denial::Denial;
use crate::limits::OnReplayOutage;
use crate::moment::Moment;
use crate::ports::{Mark, MarkRefusal, ReplayMarks};
use crate::refused::Refused;

/// How much longer than its mandate a mark lives, for clocks that differ: this one may be behind that of the gateway which
/// takes the mandate next, or the issuer's ahead of both.
const MARGIN: Duration = Duration::from_secs(60);

/// A request that is the first of its mandate.
pub struct Marked<'r, R> {
    bound: Bound<'r>,
    slot: Slot,
    room: R,
    mark: HeldMark,
}

impl<'r, R> Marked<'r, R> {
    pub(crate) fn bound(&self) -> &Bound<'r> {
        &self.bound
    }

    pub(crate) fn into_parts(self) -> (Bound<'r>, Slot, R, HeldMark) {
        (self.bound, self.slot, self.room, self.mark)
    }
}

/// The mark of this attempt. Dropped before the exchange left, it gives the mandate back.
#[derive(Default)]
pub(crate) struct HeldMark(Option<(Arc<dyn ReplayMarks>, Mark)>);

impl HeldMark {
    /// The exchange may have left: the mandate is spent for good.
    pub(crate) fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for HeldMark {
    fn drop(&mut self) {
        if let Some((marks, mark)) = self.0.take() {
            marks.release(mark);
        }
    }
}

/// Sets the mark of a single-use mandate.
///
/// The mark counts as held before the store answers: when this future is dropped, or the
/// answer is lost, the mark is released again.
///
/// # Errors
/// [`Denial::Replayed`], [`Denial::ReplayUnavailable`].
pub async fn reserve<'r, R>(
    request: Roomed<'r, R>,
    marks: &Arc<dyn ReplayMarks>,
    on_outage: OnReplayOutage,
    now: Moment,
) -> Result<Marked<'r, R>, Refused> {
    let refuse = |denial, cause| Err(Refused::because(denial, cause));
    let held = match mark(request.bound(), now) {
        None => HeldMark::default(),
        Some(mark) => {
            let held = HeldMark(Some((Arc::clone(marks), mark.clone())));
            match (marks.set(&mark).await, on_outage) {
                (Ok(()), _) => held,
                (Err(MarkRefusal::Seen(cause)), _) => {
                    // Somebody else's mark, or this one's memory: nothing to give back.
                    held.spend();
                    return refuse(Denial::Replayed, cause);
                }
                (Err(MarkRefusal::Unavailable(cause)), OnReplayOutage::Refuse) => {
                    return refuse(Denial::ReplayUnavailable, cause);
                }
                (Err(MarkRefusal::Unavailable(_)), OnReplayOutage::Pass(_dev_only)) => {
                    held.spend();
                    HeldMark::default()
                }
            }
        }
    };
    let (bound, slot, room) = request.into_parts();
    Ok(Marked {
        bound,
        slot,
        room,
        mark: held,
    })
}

fn mark(bound: &Bound<'_>, now: Moment) -> Option<Mark> {
    let claims = bound.verified().claims();
    let jti = claims.single_use()?;
    // A mandate that passed gate 7 expires after 1970.
    let expires_at = claims.expires_at().unsigned_abs();
    let left = expires_at.saturating_sub(now.unix.as_secs());
    // By a clock that is ahead little is left of a mandate that others still take: of those the whole life is.
    let whole = claims
        .issued_at()
        .and_then(|issued| u64::try_from(issued).ok())
        .map_or(left, |issued| expires_at.saturating_sub(issued));
    Some(Mark {
        jti: jti.to_owned(),
        holder: bound.verified().request().head().exchange_id.to_owned(),
        life: Duration::from_secs(left.max(whole)) + MARGIN,
        issued_at: claims.issued_at(),
    })
}
