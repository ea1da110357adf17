//! Gate 13: there is room for the records of this request. No dispatch without evidence.

use super::circuit::{Slot, Slotted};
use crate::binding::Bound;
use crate::denial::Denial;
use crate::journal::Journal;
use crate::refused::Refused;

/// A request whose evidence has room.
pub struct Roomed<'r, R> {
    bound: Bound<'r>,
    slot: Slot,
    room: R,
}

impl<'r, R> Roomed<'r, R> {
    pub(crate) fn bound(&self) -> &Bound<'r> {
        &self.bound
    }

    pub(crate) fn into_parts(self) -> (Bound<'r>, Slot, R) {
        (self.bound, self.slot, self.room)
    }
}

/// Reserves the room.
///
/// # Errors
/// [`Denial::EvidenceUnavailable`].
pub fn reserve<'r, J: Journal>(
    request: Slotted<'r>,
    journal: &mut J,
) -> Result<Roomed<'r, J::Room>, Refused> {
    let room = journal
        .reserve()
        .map_err(|cause| Refused::because(Denial::EvidenceUnavailable, cause))?;
    let (bound, slot) = request.into_parts();
    Ok(Roomed { bound, slot, room })
}
