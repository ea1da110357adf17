//! The gate in front of the circuit.

use std::sync::Arc;

use super::{Circuit, Slot};
use crate::binding::Bound;
use crate::ports::{Cause, Moment};
use crate::refused::Refused;

/// A request that may call the STS.
pub struct Slotted<'r> {
    bound: Bound<'r>,
    slot: Slot,
}

impl<'r> Slotted<'r> {
    pub(crate) fn bound(&self) -> &Bound<'r> {
        &self.bound
    }

    pub(crate) fn into_parts(self) -> (Bound<'r>, Slot) {
        (self.bound, self.slot)
    }
}

/// The gate.
///
/// # Errors
/// [`crate::Denial::CircuitOpen`], [`crate::Denial::ExchangesFull`].
pub fn enter<'r>(bound: Bound<'r>, circuit: &Arc<Circuit>, now: Moment) -> Result<Slotted<'r>, Refused> {
    match circuit.enter(&bound.binding().zone_id, now) {
        Ok(slot) => Ok(Slotted { bound, slot }),
        Err(denial) => Err(bound.refuse(denial).because(Cause::new("sts circuit"))),
    }
}
