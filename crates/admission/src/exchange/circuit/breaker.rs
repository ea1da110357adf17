//! One breaker, as a state machine without a clock.

use std::time::Duration;

/// Failures in a row that open the breaker.
const CONSECUTIVE: u32 = 5;
/// Least calls in the window before their ratio counts.
const WINDOW_CALLS: u32 = 20;
/// Seconds in the window.
const WINDOW: usize = 10;
/// How long the breaker stays open, less the most that jitter may add or take.
const OPEN_FOR: Duration = Duration::from_secs(9);

/// Closed: calls pass and are counted. Open: none passes. Half-open: one probe is out.
#[derive(Debug)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    consecutive: u32,
    /// Calls and failures by second; the first member says which second it is.
    window: [(u64, u32, u32); WINDOW],
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            consecutive: 0,
            window: [(0, 0, 0); WINDOW],
        }
    }
}

/// The right to make one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    Call,
    Probe,
}

/// What a call said about availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    /// Available, but neither a success nor a failure.
    Answered,
    Failure,
    /// The call was never made.
    Unused,
}

impl Breaker {
    /// A ticket, unless the breaker is open.
    pub(super) fn enter(&mut self, now: Duration) -> Option<Ticket> {
        match self.state {
            State::Closed => Some(Ticket::Call),
            State::Open { until } if now >= until => {
                self.state = State::HalfOpen;
                Some(Ticket::Probe)
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    /// Hands a ticket back. `jitter` is 0 to 2 s. Returns whether the breaker opened.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        now: Duration,
        jitter: Duration,
    ) -> bool {
        match (ticket, verdict) {
            // The next caller may probe at once.
            (Ticket::Probe, Verdict::Unused) => {
                self.state = State::Open {
                    until: Duration::ZERO,
                }
            }
            (Ticket::Probe, Verdict::Success | Verdict::Answered) => *self = Self::default(),
            (Ticket::Probe, Verdict::Failure) => return self.open(now, jitter),
            (Ticket::Call, Verdict::Success) => {
                self.consecutive = 0;
                self.count(now, 0);
            }
            (Ticket::Call, Verdict::Answered | Verdict::Unused) => {}
            (Ticket::Call, Verdict::Failure) => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.count(now, 1);
                let (calls, failures) = self.recent(now);
                let tripped = self.consecutive >= CONSECUTIVE
                    || (calls >= WINDOW_CALLS && failures.saturating_mul(2) > calls);
                // A call that was under way when the breaker opened says nothing new.
                if tripped && matches!(self.state, State::Closed) {
                    return self.open(now, jitter);
                }
            }
        }
        false
    }

    /// An open breaker lets its probe through from now on.
    pub(super) fn probe_now(&mut self) {
        if let State::Open { until } = &mut self.state {
            *until = Duration::ZERO;
        }
    }

    pub(super) fn is_open(&self, now: Duration) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until } => now < until,
            State::HalfOpen => true,
        }
    }

    /// Closed, and no failure counted that could still matter.
    pub(super) fn is_pristine(&self, now: Duration) -> bool {
        matches!(self.state, State::Closed) && self.consecutive == 0 && self.recent(now).1 == 0
    }

    fn open(&mut self, now: Duration, jitter: Duration) -> bool {
        *self = Self {
            state: State::Open {
                until: now + OPEN_FOR + jitter,
            },
            ..Self::default()
        };
        true
    }

    fn count(&mut self, now: Duration, failures: u32) {
        let second = now.as_secs();
        let slot = usize::try_from(second).unwrap_or_default() % WINDOW;
        if let Some(entry) = self.window.get_mut(slot) {
            if entry.0 != second {
                *entry = (second, 0, 0);
            }
            entry.1 = entry.1.saturating_add(1);
            entry.2 = entry.2.saturating_add(failures);
        }
    }

    fn recent(&self, now: Duration) -> (u32, u32) {
        let oldest = now.as_secs().saturating_sub(WINDOW as u64 - 1);
        self.window.iter().filter(|(second, ..)| *second >= oldest).fold(
            (0, 0),
            |(calls, failures), (_, c, f)| {
                (u32::saturating_add(calls, *c), u32::saturating_add(failures, *f))
            },
        )
    }
}
