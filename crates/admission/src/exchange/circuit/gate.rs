//! The gate in front of the circuit.

use std::sync::Arc;

use super::{Circuit, Slot};
use crate::binding::Bound;
use crate::cause::Cause;
use crate::moment::Moment;
use crate::refused::Refused;

/// A request that may call the STS.
pub struct Slotted<'r> {
    bound: Bound<'r>,
    slot: Slot,
}

impl<'r> Slotted<'r> {
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
        Err(denial) => Err(Refused::because(denial, Cause::new("sts circuit"))),
    }
}
