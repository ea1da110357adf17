//! Marks that are given back.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Mark;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::key;
use crate::pause::Backoff;
use crate::redis::{Fault, Link};

/// Deletes the mark if it holds this holder. Answers 0: no mark, 1: deleted, 2: another holder's.
const DELETE_OWN: &str = "local holder = redis.call('GET', KEYS[1])\n\
    if not holder then return 0 end\n\
    if holder == ARGV[1] then return redis.call('DEL', KEYS[1]) end\n\
    return 2";

/// How many go in one round trip, how often one is tried, and how long one try takes.
const BATCH: usize = 64;
const MAX_TRIES: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Gives released marks back in the background.
pub struct Releases {
    link: Arc<Link>,
    queue: mpsc::Receiver<Mark>,
}

impl Releases {
    pub(super) fn new(link: Arc<Link>, queue: mpsc::Receiver<Mark>) -> Self {
        Self { link, queue }
    }

    /// Runs until shutdown, or until the marks are dropped and the queue is empty. At shutdown what
    /// waits is tried once more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let drain = async {
            while self.queue.recv_many(&mut batch, BATCH).await > 0 {
                self.release(&mut batch).await;
            }
        };
        shutdown.run_until_cancelled(drain).await;
        while let Ok(mark) = self.queue.try_recv() {
            batch.push(mark);
        }
        for some in batch.chunks(BATCH) {
            if self.delete(some).await.is_err() {
                return;
            }
        }
    }

    /// Tries until every mark is gone or has another holder. No mark at all may mean that a `SET`
    /// whose answer was lost has not arrived yet, so that is asked again too. Leaves the batch empty.
    async fn release(&self, batch: &mut Vec<Mark>) {
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for _ in 0..MAX_TRIES {
            match self.delete(batch).await {
                Ok(answers) => {
                    let mut answers = answers.into_iter();
                    batch.retain(|_| !matches!(answers.next(), Some(1 | 2)));
                }
                Err(fault) => {
                    tracing::debug!(cause = %fault.into_cause(), "replay marks are not released yet");
                }
            }
            if batch.is_empty() {
                return;
            }
            sleep(pauses.pause()).await;
        }
        batch.clear();
    }

    async fn delete(&self, batch: &[Mark]) -> Result<Vec<i64>, Fault> {
        let mut commands = ::redis::Pipeline::with_capacity(batch.len());
        for mark in batch {
            let script = commands.cmd("EVAL").arg(DELETE_OWN).arg(1);
            script.arg(key(mark)).arg(&mark.holder);
        }
        let answers = self.link.ask(&commands, self.link.deadline(TIMEOUT)).await;
        answers.map(|(answers, _)| answers)
    }
}
