//! The group commit.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::config::Fsync;
use super::inner::Inner;

/// How often sums are written and a failing disk is tried again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The least time between a flush that failed and the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the last flush may take.
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes what is written durable, writes the sums of refusals, and brings the spool back after the disk failed.
#[derive(Debug)]
pub struct Flusher {
    inner: Arc<Inner>,
}

impl Flusher {
    pub(super) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Runs until `shutdown` resolves, then writes all sums and flushes once more, for at most two seconds. The shipper's end should come
    /// after this one: it would not ship those sums.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.serve() => {}
        }
        self.inner.summarise_due(true);
        if timeout(LAST_FLUSH_TIMEOUT, flush(&self.inner)).await.is_err() {
            tracing::error!("the last flush of the evidence spool did not end in time");
        }
    }

    async fn serve(&self) {
        loop {
            self.next().await;
            self.inner.summarise_due(false);
            self.inner.checkpoint_due();
            if !flush(&self.inner).await {
                sleep(PAUSE).await;
            }
        }
    }

    /// Waits until a flush is due.
    async fn next(&self) {
        tokio::select! {
            () = self.inner.dirty.notified() => {
                if let Fsync::Interval(pause) = self.inner.fsync {
                    sleep(pause).await;
                }
            }
            () = sleep(INTERVAL) => {}
        }
    }
}

/// Flushes on a thread that may block. False where something failed.
pub(crate) async fn flush(inner: &Arc<Inner>) -> bool {
    let worker = Arc::clone(inner);
    let flushed = blocking(move || worker.flush()).await;
    if let Err(error) = &flushed {
        tracing::error!(%error, "the evidence spool cannot be written");
    }
    flushed.is_ok()
}

/// Works on a thread that may block. An error also when the work panicked or the runtime ends.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|broken_off| Err(io::Error::other(broken_off)))
}
