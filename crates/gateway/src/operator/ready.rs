//! Whether this process can do its work.

use serde::Serialize;

use super::probe::{Health, Probe, State, bounded};

/// What the work depends on.
pub struct Readiness {
    /// There is a snapshot of the bindings, confirmed not long ago.
    pub bindings: Probe,
    /// Redis answers.
    pub redis: Probe,
    /// The revocation state is fresh enough to admit requests.
    pub revocations: Probe,
    /// New requests can be recorded.
    pub audit: Probe,
    /// The STS answers.
    pub sts: Probe,
    /// Whether the process was asked to stop.
    pub draining: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Readiness {
    /// Asks every dependency at the same time, for at most [`BUDGET`](super::probe::BUDGET).
    pub async fn report(&self) -> Report {
        let ask = |probe: &Probe| bounded(probe());
        let (bindings, redis, revocations, audit, sts) = futures_util::future::join5(
            ask(&self.bindings),
            ask(&self.redis),
            ask(&self.revocations),
            ask(&self.audit),
            ask(&self.sts),
        )
        .await;
        let checks = [
            ("bindings_unavailable", bindings),
            ("redis_unreachable", redis),
            ("revocation_snapshot_stale", revocations),
            ("audit_unavailable", audit),
            ("sts_unreachable", sts),
        ];
        let failing = checks
            .iter()
            .find(|(_, health)| health.state != State::Ok)
            .map(|(reason, _)| *reason);
        let reason = failing.or_else(|| (self.draining)().then_some("draining"));
        Report {
            ok: reason.is_none(),
            ready: reason.is_none(),
            reason,
            checks: Checks {
                bindings: bindings.into(),
                redis: redis.into(),
                revocations: revocations.into(),
                audit: audit.into(),
                sts: sts.into(),
            },
        }
    }
}

/// The answer of `/ready`. It names no address and repeats no error: anybody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    ok: bool,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    checks: Checks,
}

impl Report {
    /// Whether requests should be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Why not.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Checks {
    bindings: Check,
    redis: Check,
    revocations: Check,
    audit: Check,
    sts: Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Check {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
}

impl From<Health> for Check {
    fn from(health: Health) -> Self {
        Self {
            state: health.state,
            age_seconds: health.age.map(|age| age.as_secs()),
        }
    }
}
