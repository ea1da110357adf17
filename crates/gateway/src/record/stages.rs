//! How far a request came, and how long each stage took.

use std::time::{Duration, Instant};

use admission::denial::Stage;

use crate::clock;

/// Stages that gates make up.
const GATE_STAGES: usize = 4;

/// How long each stage took.
#[derive(Debug)]
pub(super) struct Stages {
    start: Instant,
    passed: [Option<(Stage, Instant)>; GATE_STAGES],
}

impl Stages {
    pub(super) fn new() -> Self {
        Self {
            start: clock::instant(),
            passed: [None; GATE_STAGES],
        }
    }

    /// Every gate of the stage let the request pass.
    pub(super) fn pass(&mut self, stage: Stage) {
        if let Some(free) = self.passed.iter_mut().find(|passed| passed.is_none()) {
            *free = Some((stage, clock::instant()));
        }
    }

    /// Time since the request arrived.
    pub(super) fn elapsed(&self) -> Duration {
        clock::instant().duration_since(self.start)
    }

    /// The stages that were passed and what each took.
    pub(super) fn took(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let mut before = self.start;
        self.passed.iter().flatten().map(move |&(stage, at)| {
            let took = at.saturating_duration_since(before);
            before = at;
            (stage, took)
        })
    }
}
