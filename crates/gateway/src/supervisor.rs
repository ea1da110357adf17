//! Who owns the tasks: the only room that spawns.
//!
//! A background task is critical: when one ends before the process was asked to stop, be it by
//! a panic or by returning, the supervisor says so loudly and the process stops. Connections
//! are many and short; they are tracked and waited for, and a panic in one ends only that one.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns every task of the process.
#[derive(Clone)]
pub struct Supervisor {
    background: Arc<Mutex<JoinSet<&'static str>>>,
    connections: TaskTracker,
    /// Asks the background tasks to finish.
    stop: CancellationToken,
    /// Set when a background task ended unasked.
    failed: CancellationToken,
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "owning the process's tasks is not a default value")]
    pub fn new() -> Self {
        Self {
            background: Arc::default(),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: CancellationToken::new(),
        }
    }

    /// The token that a background task takes and ends on.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Completes when a background task died.
    pub async fn failure(&self) {
        self.failed.cancelled().await;
    }

    /// Spawns a task that must live as long as the process.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor")]
    pub fn background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guard = DeathWatch { name, stop: self.stop.clone(), failed: self.failed.clone() };
        let watched = async move {
            let guard = guard;
            task.await;
            guard.name
        };
        self.background.lock().unwrap_or_else(PoisonError::into_inner).spawn(watched);
    }

    /// The tracker of connections, inbound and outbound.
    #[must_use]
    pub fn connections(&self) -> &TaskTracker {
        &self.connections
    }

    /// Asks the background tasks to finish and waits for them.
    pub async fn finish(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.background.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

/// Notices the end of a background task, however it comes.
struct DeathWatch {
    name: &'static str,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!(task = self.name, "background task ended unasked, stopping the process");
            self.failed.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_task_that_ends_unasked_is_a_failure() {
        for panics in [false, true] {
            let supervisor = Supervisor::new();
            supervisor.background("short", async move { assert!(!panics, "on purpose") });
            supervisor.failure().await;
        }
    }

    #[tokio::test]
    async fn a_background_task_that_ends_on_request_is_none() {
        let supervisor = Supervisor::new();
        let stop = supervisor.stop_token();
        supervisor.background("patient", async move { stop.cancelled().await });
        supervisor.finish().await;
        assert!(!supervisor.failed.is_cancelled());
    }
}
