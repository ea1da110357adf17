//! One connection is dialled at a time where many requests can share it.

use std::net::SocketAddr;

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
    /// With the addresses that were tried.
    last: Option<(Cause, Vec<SocketAddr>)>,
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
    /// Why somebody else could not connect to the same addresses meanwhile.
    pub(in super::super) async fn enter(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<SemaphorePermit<'_>, Cause> {
        let before = self.failures.lock().count;
        let turn = self.turn.acquire().await;
        let turn = turn.map_err(|_| Cause::new("connect: nobody dials any more"))?;
        let failures = self.failures.lock();
        match &failures.last {
            Some((cause, tried)) if failures.count != before && tried == addresses => Err(cause.clone()),
            _ => Ok(turn),
        }
    }

    /// Who has the turn could not connect to these addresses. What this process lacks, the next one may have.
    pub(in super::super) fn fail(&self, cause: &Cause, addresses: Vec<SocketAddr>) {
        if cause.is_local() {
            return;
        }
        let mut failures = self.failures.lock();
        failures.count += 1;
        failures.last = Some((cause.clone(), addresses));
    }
}
