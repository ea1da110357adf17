//! The loop that takes snapshots.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Cause;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::pass::Pass;
use super::retry::Retry;
use super::snapshot;
use super::state::{Inner, RevocationState};
use crate::pause::spread;
use crate::postgres::{PostgresConnector, Reader};

/// Takes snapshots at intervals and on demand, one at a time.
pub struct Snapshots {
    state: Arc<Inner>,
    reader: Reader,
}

impl Snapshots {
    /// Snapshots of this database for this state.
    #[must_use]
    pub fn new(state: &RevocationState, database: PostgresConnector) -> Self {
        Self {
            state: Arc::clone(&state.inner),
            reader: Reader::new(database, Arc::clone(&state.inner.clock)),
        }
    }

    /// Runs until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let state = Arc::clone(&self.state);
        let config = state.config;
        let mut retry = Retry::new(
            "the revocation snapshot",
            Duration::from_secs(1),
            config.snapshot_every,
        );
        // The streams ask for a snapshot once they are followed, and one that begins before would not count.
        let _ = timeout(config.snapshot_pause, state.snapshot_wanted()).await;
        loop {
            // Whoever asked until here is answered by the snapshot that begins here.
            let ticket = state.ticket();
            let result = self.take().await;
            match &result {
                Ok(_) => retry.succeeded(),
                Err(cause) => retry.failed(cause, state.clock.now().monotonic),
            }
            let failed = result.is_err();
            state.answer(ticket, result);
            if failed {
                let wish = async {
                    sleep(config.snapshot_pause).await;
                    state.snapshot_wanted().await;
                };
                tokio::select! {
                    () = retry.pause(&state) => {}
                    () = wish => {}
                }
                continue;
            }
            sleep(config.snapshot_pause).await;
            if state.ticket() == ticket {
                // A wish that comes in between has left its permit with the notifier. One from
                // before is answered already, and costs no more than one snapshot too many.
                let pause = spread(config.snapshot_every).saturating_sub(config.snapshot_pause);
                let _ = timeout(pause, state.snapshot_wanted()).await;
            }
        }
    }

    async fn take(&mut self) -> Result<usize, Cause> {
        let mut pass = Pass::begin(&self.state);
        let read = async |client: &_| snapshot::read(client, &mut pass).await;
        self.reader.read(read).await?;
        Ok(pass.finish().await)
    }
}
