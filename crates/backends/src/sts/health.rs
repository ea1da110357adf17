//! Whether the STS is up, asked seldom.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use admission::ports::{Cause, ExchangeFailure};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::StsClient;

/// How long one answer holds.
const HOLDS: Duration = Duration::from_secs(3);

/// What the STS said, and when.
type Verdict = (Result<(), Cause>, Duration);
type Probe = BoxFuture<'static, Verdict>;

#[derive(Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    known: Option<Verdict>,
    /// The probe under way, driven by those who wait for it.
    probe: Option<WeakShared<Probe>>,
}

impl Health {
    pub(super) async fn check(&self, sts: &StsClient) -> Verdict {
        let probe: Shared<Probe> = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = sts.0.clock.now().monotonic;
            match &state.known {
                Some(known) if now.saturating_sub(known.1) < HOLDS => return known.clone(),
                _ => {}
            }
            if let Some(probe) = state.probe.as_ref().and_then(WeakShared::upgrade) {
                probe
            } else {
                let probe = ask(sts.clone()).boxed().shared();
                state.probe = probe.downgrade();
                probe
            }
        };
        probe.await
    }
}

async fn ask(sts: StsClient) -> Verdict {
    let said = match sts.get("/health").await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(Cause::new(format!("sts health: status {}", answer.status))),
        Err(ExchangeFailure::Oversized) => Err(Cause::new("sts health: answer larger than 256 KiB")),
        Err(
            ExchangeFailure::Connect(cause)
            | ExchangeFailure::Timeout(cause)
            | ExchangeFailure::Transport(cause),
        ) => Err(cause),
    };
    let verdict = (said, sts.0.clock.now().monotonic);
    let mut state = sts.0.health.0.lock().unwrap_or_else(PoisonError::into_inner);
    state.known = Some(verdict.clone());
    state.probe = None;
    drop(state);
    verdict
}
