//! Whether this process can do its work.

use std::time::Duration;

use admission::ports::Cause;
use backends::component::{Check, Health};
use futures_util::future::join_all;
use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

/// How long a dependency may take to answer.
pub const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// What the work depends on.
pub struct Readiness {
    /// The dependencies, in the order in which a failing one is the reason.
    pub checks: Vec<Check>,
    /// Cancelled when the process was asked to stop.
    pub draining: CancellationToken,
}

impl Readiness {
    /// Asks every dependency at the same time, for at most [`CHECK_TIMEOUT`].
    pub async fn report(&self) -> Report {
        let answers = self.checks.iter().map(async |check| {
            let answer = tokio::time::timeout(CHECK_TIMEOUT, (check.probe)()).await;
            let report = CheckReport::from(answer.ok());
            (
                check.name,
                if check.is_advisory {
                    report.advisory()
                } else {
                    report
                },
            )
        });
        let checks = join_all(answers).await;
        let failing = self
            .checks
            .iter()
            .zip(&checks)
            .find(|(_, (_, answer))| !matches!(answer.state, State::Ok | State::Degraded))
            .map(|(check, _)| check.reason);
        let reason = failing.or_else(|| self.draining.is_cancelled().then_some("draining"));
        Report {
            ok: reason.is_none(),
            ready: reason.is_none(),
            reason,
            checks,
        }
    }
}

/// The answer of `/ready`. It names no address and repeats no error: anybody may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    ok: bool,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(serialize_with = "as_object")]
    checks: Vec<(&'static str, CheckReport)>,
}

impl Report {
    /// Why not, in one word.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// Whether requests should be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct CheckReport {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// A part of the work cannot be done.
    Degraded,
    Failing,
    /// No answer in time.
    Timeout,
}

impl From<Option<Health>> for CheckReport {
    fn from(health: Option<Health>) -> Self {
        let state = match &health {
            None => State::Timeout,
            Some(Health { fault: Some(_), .. }) => State::Failing,
            Some(Health { fault: None, .. }) => State::Ok,
        };
        let fault = health.as_ref().and_then(|health| health.fault.as_ref());
        Self {
            state,
            cause: fault.and_then(Cause::label),
            age_seconds: health.and_then(|health| health.age).map(|age| age.as_secs()),
        }
    }
}

impl CheckReport {
    /// Of a check that does not decide whether the process is ready.
    fn advisory(self) -> Self {
        let state = match self.state {
            State::Ok => State::Ok,
            State::Degraded | State::Failing | State::Timeout => State::Degraded,
        };
        Self { state, ..self }
    }
}

fn as_object<S: Serializer>(
    checks: &[(&'static str, CheckReport)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(checks.iter().copied())
}
