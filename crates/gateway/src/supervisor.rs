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
    inbound: TaskTracker,
    outbound: TaskTracker,
    background: Group,
    foundation: Group,
    /// Set when a background task ended unasked.
    failed: CancellationToken,
}

/// Tasks that end together.
#[derive(Clone, Default)]
struct Group {
    tasks: Arc<Mutex<JoinSet<()>>>,
    stop: CancellationToken,
}

impl Group {
    async fn finish(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }

    fn spawn(
        &self,
        name: &'static str,
        failed: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let watch = DeathWatch {
            name,
            stop: self.stop.clone(),
            failed: failed.clone(),
        };
        let watched = async move {
            let _watch = watch;
            task.await;
        };
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(watched);
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "owning the process's tasks is not a default value"
    )]
    pub fn new() -> Self {
        Self {
            inbound: TaskTracker::new(),
            outbound: TaskTracker::new(),
            background: Group::default(),
            foundation: Group::default(),
            failed: CancellationToken::new(),
        }
    }

    /// Completes when a background task died.
    pub async fn failure(&self) {
        self.failed.cancelled().await;
    }

    /// Spawns a task that must live as long as the process. It is given the token on which it ends.
    pub fn background<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background
            .spawn(name, &self.failed, task(self.background.stop.clone()));
    }

    /// Spawns a task that others need for their own ending, such as a connection to a store.
    /// It is asked to end when all others have.
    pub fn foundation<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.foundation
            .spawn(name, &self.failed, task(self.foundation.stop.clone()));
    }

    /// The tracker of callers' connections.
    #[must_use]
    pub fn inbound(&self) -> &TaskTracker {
        &self.inbound
    }

    /// The tracker of connections to upstreams and the STS.
    #[must_use]
    pub fn outbound(&self) -> &TaskTracker {
        &self.outbound
    }

    /// Asks the background tasks to finish and waits for them, then the foundation's.
    pub async fn finish(&self) {
        self.background.finish().await;
        self.foundation.finish().await;
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
            tracing::error!(
                task = self.name,
                "background task ended unasked, stopping the process"
            );
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
            supervisor.background("short", |_stop| async move { assert!(!panics, "on purpose") });
            supervisor.failure().await;
        }
    }

    #[tokio::test]
    async fn tasks_that_end_on_request_are_none_and_the_foundation_ends_last() {
        let supervisor = Supervisor::new();
        let ended: Arc<Mutex<Vec<&str>>> = Arc::default();
        let journal = Arc::clone(&ended);
        supervisor.foundation("store", |stop| async move {
            stop.cancelled().await;
            journal.lock().unwrap().push("store");
        });
        let journal = Arc::clone(&ended);
        supervisor.background("shipper", |stop| async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            journal.lock().unwrap().push("shipper");
        });
        supervisor.finish().await;
        assert!(!supervisor.failed.is_cancelled());
        assert_eq!(*ended.lock().unwrap(), ["shipper", "store"]);
    }
}
