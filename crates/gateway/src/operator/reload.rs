//! The reload of what can be loaded anew while the gateway runs: the revocation snapshot.

use std::time::Duration;

use admission::ports::{BoxFuture, Cause};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;

use super::answer;

/// Loads a fresh revocation snapshot and tells how many anchors it holds.
pub type Reload = Box<dyn Fn() -> BoxFuture<'static, Result<u64, Cause>> + Send + Sync>;

#[derive(Serialize)]
struct Reloaded {
    ok: bool,
    revocations: u64,
}

#[derive(Serialize)]
struct NotReloaded {
    ok: bool,
    ready: bool,
    reason: &'static str,
}

/// Reloads within the budget, and logs the outcome: the number of anchors, or why there is none.
pub(super) async fn run(reload: &Reload, budget: Duration) -> Option<u64> {
    let cause = match tokio::time::timeout(budget, reload()).await {
        Ok(Ok(revocations)) => {
            tracing::info!(revocations, "the revocation snapshot was reloaded");
            return Some(revocations);
        }
        Ok(Err(cause)) => cause,
        Err(_elapsed) => Cause::new(format!("no revocation snapshot within {budget:?}")),
    };
    tracing::warn!(cause = %cause, "the operator's reload of the revocation snapshot failed");
    None
}

/// The outcome as an answer. The cause of a failure stays in the log.
pub(super) fn answer(reloaded: Option<u64>) -> Response<Bytes> {
    match reloaded {
        Some(revocations) => {
            let reloaded = Reloaded {
                ok: true,
                revocations,
            };
            answer::json(StatusCode::OK, &reloaded)
        }
        None => {
            let failed = NotReloaded {
                ok: false,
                ready: false,
                reason: "revocation_reload_failed",
            };
            answer::json(StatusCode::SERVICE_UNAVAILABLE, &failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reload_that_takes_too_long_is_a_failure() {
        let stuck: Reload = Box::new(|| Box::pin(std::future::pending()));
        let response = answer(run(&stuck, Duration::from_millis(1)).await);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            response.body(),
            "{\"ok\":false,\"ready\":false,\"reason\":\"revocation_reload_failed\"}\n"
        );
    }
}
