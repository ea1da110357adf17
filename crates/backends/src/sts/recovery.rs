//! When an STS that was away is back.

use std::sync::Arc;
use std::time::Duration;

use admission::exchange::{Circuit, Doubt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::StsClient;
use super::health::ask;
use crate::pause::spread;

/// How often it is asked while the circuit is open, and the longest that one answer may take.
const INTERVAL: Duration = Duration::from_millis(250);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

impl StsClient {
    /// Has the circuit probe at once when the STS answers as healthy after it did not, until shutdown. It is asked only
    /// while a breaker is open.
    ///
    /// A zone that alone gets no answers waits for its breaker: the health of the STS says nothing of it.
    pub async fn watch_recovery(self, circuit: Arc<Circuit>, shutdown: CancellationToken) {
        let watch = async {
            let mut unanswered = false;
            loop {
                sleep(spread(INTERVAL)).await;
                let away = match circuit.doubt(self.0.clock.now()) {
                    Doubt::None => continue,
                    Doubt::OfZones => unanswered || self.0.health.was_bad(),
                    Doubt::OfSts => true,
                };
                let answer = timeout(ANSWER_TIMEOUT, ask(self.clone())).await;
                unanswered = answer.is_err();
                if away && matches!(answer, Ok((Ok(()), _))) {
                    circuit.probe_now();
                }
            }
        };
        shutdown.run_until_cancelled(watch).await;
    }
}
