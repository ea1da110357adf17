//! How far a request came, and how long each stage took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use admission::denial::Stage;
use admission::received::Progress;

use crate::clock;

/// How long each stage took, written by the gates as they pass.
#[derive(Debug)]
pub struct Stages {
    start: Instant,
    /// Nanoseconds since `start` at which the stage was passed; 0 for not yet.
    passed: [AtomicU64; 4],
}

const GATE_STAGES: [Stage; 4] = [Stage::Preflight, Stage::Token, Stage::Binding, Stage::Exchange];

impl Progress for Stages {
    fn passed(&self, stage: Stage) {
        let position = GATE_STAGES.iter().position(|gate| *gate == stage);
        if let Some(slot) = position.and_then(|position| self.passed.get(position)) {
            let nanos = clock::instant().duration_since(self.start).as_nanos();
            slot.store(u64::try_from(nanos).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
    }
}

impl Stages {
    pub(super) fn new() -> Self {
        Self {
            start: clock::instant(),
            passed: Default::default(),
        }
    }

    /// Time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        clock::instant().duration_since(self.start)
    }

    /// The stages that were passed and what each took.
    pub(super) fn took(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let mut before = 0;
        let passed = self.passed.iter().map(|nanos| nanos.load(Ordering::Relaxed));
        GATE_STAGES
            .into_iter()
            .zip(passed)
            .take_while(|(_, nanos)| *nanos > 0)
            .map(move |(stage, nanos)| {
                let took = Duration::from_nanos(nanos.saturating_sub(before));
                before = nanos;
                (stage, took)
            })
    }
}
