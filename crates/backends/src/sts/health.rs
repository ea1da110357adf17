//! Whether the STS is up, asked seldom.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Cause;
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use super::StsClient;
use crate::single_flight::SingleFlight;

/// How long one answer holds: nobody can use the readiness endpoint to put load on the STS.
const HEALTH_LIFE: Duration = Duration::from_secs(1);

/// Whether the STS answered with a 2xx, or why not, and the monotonic time at which it was asked.
type Asked = (Result<(), Cause>, Duration);

pub(super) struct Health {
    known: Mutex<Option<Asked>>,
    asking: SingleFlight<(), Asked>,
    /// Exchanges that were answered so far.
    answered: AtomicU64,
    /// When a call over a connection that had answered before stayed without an answer for the last time, and no exchange
    /// was answered meanwhile.
    suspected: Mutex<Option<Duration>>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            asking: SingleFlight::new(1),
            answered: AtomicU64::new(0),
            suspected: Mutex::default(),
        }
    }

    /// Whether the last answer was none, or a bad one.
    pub(super) fn was_bad(&self) -> bool {
        self.known
            .lock()
            .as_ref()
            .is_some_and(|(result, _)| result.is_err())
    }

    /// An exchange was answered.
    pub(super) fn exchange_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many exchanges were answered so far.
    pub(super) fn exchanges_answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// A connection, and not the STS, may be why a call has no answer that began when so many exchanges had one: unless
    /// others were answered since.
    pub(super) fn suspect_connections(&self, answered: u64, now: Duration) {
        if self.exchanges_answered() == answered {
            *self.suspected.lock() = Some(now);
        }
    }

    /// Whether that happened since then, and was not asked about before.
    pub(super) fn connections_failed_since(&self, then: Duration) -> bool {
        self.suspected.lock().take().is_some_and(|at| at >= then)
    }

    pub(super) async fn check(&self, sts: &StsClient) -> Asked {
        let now = sts.0.clock.now().monotonic;
        let known = self.known.lock().clone();
        if let Some(known) = known.filter(|(_, at)| now.saturating_sub(*at) < HEALTH_LIFE) {
            return known;
        }
        match self.asking.join((), || ask(sts.clone()).boxed()) {
            Some(asking) => asking.await,
            None => (Err(Cause::new("sts health: too many questions")), now),
        }
    }
}

/// Asks, and remembers the answer.
pub(super) async fn ask(sts: StsClient) -> Asked {
    let at = sts.0.clock.now().monotonic;
    let result = match sts.get("sts health", "/health").await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(Cause::new(format!("sts health: status {}", answer.status))),
        Err(cause) => Err(cause),
    };
    let was_well = sts
        .0
        .health
        .known
        .lock()
        .as_ref()
        .map(|(result, _)| result.is_ok());
    match (was_well, &result) {
        (None | Some(true), Err(cause)) => {
            tracing::warn!(%cause, "the STS does not answer as healthy: see STS_URL, GET /health there has to be a 200");
        }
        (Some(false), Ok(())) => tracing::info!("the STS is back"),
        (None | Some(true), Ok(())) | (Some(false), Err(_)) => {}
    }
    let asked = (result, at);
    *sts.0.health.known.lock() = Some(asked.clone());
    asked
}
