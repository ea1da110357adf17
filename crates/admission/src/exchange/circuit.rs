//! Gate 12: the STS circuit is closed and an exchange slot is free.

mod breaker;
mod gate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use breaker::{Breaker, Ticket, Verdict};
pub use gate::{Slotted, enter};
use parking_lot::Mutex;

use crate::denial::Denial;
use crate::moment::Moment;

/// Zones whose state is kept although it says nothing.
const IDLE_ZONES: usize = 256;

/// Bounds of the exchanges in flight.
#[derive(Clone, Copy, Debug)]
pub struct CircuitLimits {
    /// Most exchanges at a time (`STS_MAX_INFLIGHT`); one zone may hold half of them.
    pub max_inflight: usize,
}

/// The circuit breaker of the STS: one breaker for the STS as a whole, which counts failures to
/// connect, and one per zone, which counts timeouts and server errors, so that one tenant's
/// slow provider does not close the others' door. It has no clock: time is an argument.
#[derive(Debug)]
pub struct Circuit {
    limits: CircuitLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sts: Breaker,
    inflight: usize,
    zones: HashMap<String, Zone>,
    /// Twice the zones that the last sweep had to keep, so that sweeps stay rare.
    forget_above: usize,
    opened: u64,
    fast_failed: u64,
}

#[derive(Debug, Default)]
struct Zone {
    breaker: Breaker,
    inflight: usize,
}

/// How an exchange ended, as far as the STS's availability is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// The STS answered, with a refusal: it is available, and that is all it says.
    Answered,
    /// A timeout, a server error without a policy code, or an unusable answer.
    ZoneFault,
    /// No connection to the STS.
    StsFault,
    /// It was never asked.
    Unused,
}

/// What the open breakers say of the STS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// None is open.
    None,
    /// It does not answer some zones as it should.
    OfZones,
    /// It could not be connected to.
    OfSts,
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CircuitFigures {
    /// Breakers that are not closed now, the STS's and the zones' together.
    pub open: usize,
    /// Times that a breaker opened.
    pub opened: u64,
    /// Exchanges refused because of an open breaker.
    pub fast_failed: u64,
    /// Exchanges in flight.
    pub inflight: usize,
}

impl Circuit {
    /// A closed circuit.
    #[must_use]
    pub fn new(limits: CircuitLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
        })
    }

    /// Enters the circuit for one exchange of a zone.
    ///
    /// # Errors
    /// [`Denial::CircuitOpen`], [`Denial::ExchangesFull`].
    pub fn enter(self: &Arc<Self>, zone: &str, now: Moment) -> Result<Slot, Denial> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.inflight >= self.limits.max_inflight {
            return Err(Denial::ExchangesFull);
        }
        if state.zones.len() > state.forget_above.max(IDLE_ZONES) {
            state
                .zones
                .retain(|_, zone| zone.inflight > 0 || !zone.breaker.is_pristine(now.monotonic));
            state.forget_above = state.zones.len() * 2;
        }
        let entry = state.zones.entry(zone.to_owned()).or_default();
        if entry.inflight >= self.limits.max_inflight.div_ceil(2) {
            return Err(Denial::ExchangesFull);
        }
        let Some(zone_ticket) = entry.breaker.enter(now.monotonic) else {
            state.fast_failed += 1;
            return Err(Denial::CircuitOpen);
        };
        let Some(sts_ticket) = state.sts.enter(now.monotonic) else {
            entry
                .breaker
                .settle(zone_ticket, Verdict::Unused, now.monotonic, Duration::ZERO);
            state.fast_failed += 1;
            return Err(Denial::CircuitOpen);
        };
        entry.inflight += 1;
        state.inflight += 1;
        Ok(Slot {
            circuit: Arc::clone(self),
            zone: zone.to_owned(),
            sts_ticket,
            zone_ticket,
            outcome: None,
        })
    }

    /// What the open breakers say of the STS.
    #[must_use]
    pub fn doubt(&self, now: Moment) -> Doubt {
        let state = self.state.lock();
        let mut zones = state.zones.values();
        if state.sts.is_open(now.monotonic) {
            Doubt::OfSts
        } else if zones.any(|zone| zone.breaker.is_open(now.monotonic)) {
            Doubt::OfZones
        } else {
            Doubt::None
        }
    }

    /// The STS is seen to be back: every open breaker lets its probe through at once, and not only when its time has
    /// come. What the probe meets decides, as ever.
    pub fn probe_now(&self) {
        let mut state = self.state.lock();
        state.sts.probe_now();
        for zone in state.zones.values_mut() {
            zone.breaker.probe_now();
        }
    }

    /// Figures for the metrics.
    #[must_use]
    pub fn figures(&self, now: Moment) -> CircuitFigures {
        let state = self.state.lock();
        let zones = state
            .zones
            .values()
            .filter(|zone| zone.breaker.is_open(now.monotonic))
            .count();
        CircuitFigures {
            open: zones + usize::from(state.sts.is_open(now.monotonic)),
            opened: state.opened,
            fast_failed: state.fast_failed,
            inflight: state.inflight,
        }
    }
}

/// One exchange in flight. Dropping it returns it: uncounted, unless it was settled.
#[derive(Debug)]
pub struct Slot {
    circuit: Arc<Circuit>,
    zone: String,
    sts_ticket: Ticket,
    zone_ticket: Ticket,
    outcome: Option<(Outcome, Moment)>,
}

impl Slot {
    /// Reports how the exchange ended and returns the slot.
    pub fn settle(mut self, outcome: Outcome, now: Moment) {
        self.outcome = Some((outcome, now));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut guard = self.circuit.state.lock();
        let state = &mut *guard;
        state.inflight = state.inflight.saturating_sub(1);
        let (sts, zone) = match self.outcome {
            None | Some((Outcome::Unused, _)) => (Verdict::Unused, Verdict::Unused),
            Some((Outcome::Success, _)) => (Verdict::Success, Verdict::Success),
            Some((Outcome::Answered, _)) => (Verdict::Answered, Verdict::Answered),
            Some((Outcome::ZoneFault, _)) => (Verdict::Answered, Verdict::Failure),
            Some((Outcome::StsFault, _)) => (Verdict::Failure, Verdict::Unused),
        };
        let now = self.outcome.map_or(Duration::ZERO, |(_, now)| now.monotonic);
        // Replicas that saw the same outage must not return at the same instant: the clock's
        // sub-second part spreads them over two seconds.
        let jitter = self.outcome.map_or(0, |(_, now)| now.unix.subsec_millis());
        let jitter = Duration::from_millis(u64::from(jitter) * 2);
        let mut opened = u64::from(state.sts.settle(self.sts_ticket, sts, now, jitter));
        if let Some(entry) = state.zones.get_mut(&self.zone) {
            entry.inflight = entry.inflight.saturating_sub(1);
            opened += u64::from(entry.breaker.settle(self.zone_ticket, zone, now, jitter));
        }
        state.opened += opened;
    }
}

#[cfg(test)]
mod tests;
