//! One connection is dialled at a time where many requests can share it.

use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The turn to dial an origin. Whoever waited for it meanwhile looks for a connection again, or shares the failure.
#[derive(Debug)]
pub(in super::super) struct Gate {
    turn: Semaphore,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    last: Option<Cause>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            failures: Mutex::default(),
        }
    }
}

impl Gate {
    /// Waits for the turn. How long is the caller's to bound.
    ///
    /// # Errors
    /// Why somebody else could not connect meanwhile.
    pub(in super::super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Cause> {
        let before = self.failures.lock().count;
        let turn = self.turn.acquire().await;
        let turn = turn.map_err(|_| Cause::new("connect: nobody dials any more"))?;
        let failures = self.failures.lock();
        match &failures.last {
            Some(cause) if failures.count != before => Err(cause.clone()),
            _ => Ok(turn),
        }
    }

    /// Who has the turn could not connect.
    pub(in super::super) fn fail(&self, cause: &Cause) {
        let mut failures = self.failures.lock();
        failures.count += 1;
        failures.last = Some(cause.clone());
    }
}
