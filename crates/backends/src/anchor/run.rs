//! The task that sends what waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::post::Post;
use super::queue::{Checkpoint, Queue};
use crate::pause::{Backoff, within};

/// How long one try may take, from name resolution on.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause after a try that failed.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long what waits may take when nothing more comes.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after the signal to end this may take in all: what ships has four seconds, and the stage of both a little more.
const STAGE_TIMEOUT: Duration = Duration::from_millis(4500);

/// Sends what waits, one after the other.
pub(super) struct Sender {
    post: Post,
    queue: Arc<Queue>,
    /// Nothing more comes.
    closed: CancellationToken,
    /// The log says that the anchor takes nothing.
    is_away: AtomicBool,
}

impl Sender {
    pub(super) fn new(post: Post, queue: Arc<Queue>, closed: CancellationToken) -> Self {
        Self {
            post,
            queue,
            closed,
            is_away: AtomicBool::new(false),
        }
    }

    /// Runs until nothing more comes, and what waits then has had its time.
    pub(super) async fn run(self, stop: CancellationToken) {
        let over = async {
            stop.cancelled().await;
            sleep(STAGE_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            () = self.deliver() => {}
            () = over => {}
        }
        let waiting = self.queue.stats().waiting;
        if waiting > 0 {
            let host = self.post.host();
            tracing::warn!(waiting, host, "the last checkpoints did not reach the anchor");
        }
    }

    async fn deliver(&self) {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        while let Some(next) = self.closed.run_until_cancelled(self.queue.next()).await {
            let mut trying = pin!(self.send(&next));
            let is_sent = tokio::select! {
                biased;
                is_sent = &mut trying => is_sent,
                () = self.closed.cancelled() => {
                    // It may be the last one, which has just been begun, or an older one that hangs.
                    let rest = async { tokio::join!(trying, self.send_rest(Some(&next))) };
                    let _late = timeout(END_TIMEOUT, rest).await;
                    return;
                }
            };
            if is_sent {
                backoff.reset();
            } else {
                self.closed.run_until_cancelled(sleep(backoff.pause())).await;
            }
        }
        let _late = timeout(END_TIMEOUT, self.send_rest(None)).await;
    }

    /// Tries each of those that wait once, but for the one that is under way.
    async fn send_rest(&self, but: Option<&Checkpoint>) {
        for checkpoint in self.queue.all() {
            if Some(&checkpoint) != but {
                self.send(&checkpoint).await;
            }
        }
    }

    /// True when the anchor took it.
    async fn send(&self, checkpoint: &Checkpoint) -> bool {
        let host = self.post.host();
        let tried = self.post.send(checkpoint.data.clone());
        let Err(cause) = within("anchor", TRY_TIMEOUT, tried).await else {
            self.queue.sent(checkpoint);
            if self.is_away.swap(false, Ordering::Relaxed) {
                tracing::info!(host, "the anchor takes checkpoints again");
            }
            return true;
        };
        self.queue.failed(checkpoint, &cause);
        self.post.forget_addresses();
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(host, %cause, "checkpoints do not reach the anchor: see AUDIT_ANCHOR_URL; nothing else waits for it");
        }
        false
    }
}
