//! Who owns the tasks: the only module that spawns them.
//!
//! A background task is critical: when one ends before the process was asked to stop, be it by
//! a panic or by returning, the process says so loudly and stops. Connections
//! are many and short; they are tracked and waited for, and a panic in one ends only that one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns every task of the process. Dropping the last one without [`Supervisor::finish`], as a start that
/// failed does, cancels the background tasks silently.
#[derive(Clone)]
pub struct Supervisor {
    inbound: TaskTracker,
    outbound: TaskTracker,
    background: Group,
    delivery: Group,
    foundation: Group,
    /// Cancelled once the process ends: from then on a task may end because what it worked for has ended.
    stopping: CancellationToken,
    /// The background task that ended before that.
    failed: watch::Sender<Option<&'static str>>,
}

/// How long the tasks that leave something to deliver may take to end. The last flush takes two seconds at most.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(3);

/// Tasks that end together.
#[derive(Clone, Default)]
struct Group {
    tasks: Arc<Mutex<JoinSet<()>>>,
    stop: CancellationToken,
}

impl Group {
    async fn finish(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
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
            delivery: Group::default(),
            foundation: Group::default(),
            stopping: CancellationToken::new(),
            failed: watch::Sender::default(),
        }
    }

    /// Completes when a background task died, with its name. A start that fails takes tasks with it and asks nobody.
    pub async fn failure(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        let name = failed.wait_for(Option::is_some).await;
        // The sender is here, so that there is a name.
        name.ok().and_then(|name| *name).unwrap_or_default()
    }

    /// Spawns a task that must live as long as the process. It is given the token on which it ends.
    pub fn background<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(&self.background, name, task(self.background.stop.clone()));
    }

    /// Spawns a task that delivers what the background tasks leave at their ends. It is asked to end when they have.
    pub fn delivery<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(&self.delivery, name, task(self.delivery.stop.clone()));
    }

    /// Spawns a task that others need for their own ending, such as a connection to a store.
    /// It is asked to end when all others have.
    pub fn foundation<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(&self.foundation, name, task(self.foundation.stop.clone()));
    }

    fn spawn(&self, group: &Group, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (stopping, failed) = (self.stopping.clone(), self.failed.clone());
        group.tasks.lock().spawn(async move {
            // A panic has had its own log line by now.
            let _panicked = AssertUnwindSafe(task).catch_unwind().await;
            if !stopping.is_cancelled() {
                failed.send_replace(Some(name));
            }
        });
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

    /// The process begins to end: no end of a task is a failure any more.
    pub fn stopping(&self) {
        self.stopping.cancel();
    }

    /// Asks the background tasks to finish and waits for them, three seconds at most, then those that deliver, then the
    /// foundation's.
    pub async fn finish(&self) {
        self.stopping();
        if tokio::time::timeout(BACKGROUND_TIMEOUT, self.background.finish())
            .await
            .is_err()
        {
            tracing::warn!("background tasks did not end within 3 s, and are cut off");
        }
        self.delivery.finish().await;
        self.foundation.finish().await;
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
            assert_eq!(supervisor.failure().await, "short");
        }
    }

    #[tokio::test]
    async fn a_task_that_ends_with_the_process_or_with_a_failed_start_is_none() {
        let supervisor = Supervisor::new();
        supervisor.stopping();
        supervisor.background("short", |_stop| async {});
        supervisor.finish().await;
        assert_eq!(*supervisor.failed.borrow(), None);

        let dropped = Supervisor::new();
        dropped.background("long", |stop| stop.cancelled_owned());
        let failed = dropped.failed.subscribe();
        drop(dropped);
        tokio::task::yield_now().await;
        assert_eq!(*failed.borrow(), None);
    }

    #[tokio::test]
    async fn tasks_that_end_on_request_are_none_and_each_ends_before_what_it_needs() {
        let supervisor = Supervisor::new();
        let ended: Arc<Mutex<Vec<&str>>> = Arc::default();
        let journal = Arc::clone(&ended);
        supervisor.foundation("store", |stop| async move {
            stop.cancelled().await;
            journal.lock().push("store");
        });
        let journal = Arc::clone(&ended);
        supervisor.delivery("shipper", |stop| async move {
            stop.cancelled().await;
            journal.lock().push("shipper");
        });
        let journal = Arc::clone(&ended);
        supervisor.background("flusher", |stop| async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            journal.lock().push("flusher");
        });
        supervisor.finish().await;
        assert_eq!(*supervisor.failed.borrow(), None);
        assert_eq!(*ended.lock(), ["flusher", "shipper", "store"]);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_leaves_the_others_their_time() {
        let supervisor = Supervisor::new();
        supervisor.background("hangs", |_stop| std::future::pending());
        let (ended, end) = tokio::sync::oneshot::channel();
        supervisor.delivery("shipper", |stop| async move {
            stop.cancelled().await;
            let _ = ended.send(());
        });
        supervisor.finish().await;
        assert_eq!(end.await, Ok(()));
    }
}
