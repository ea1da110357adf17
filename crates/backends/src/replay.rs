//! Replay marks on Redis (gate 14).
//!
//! A mark is `SET seen:jti:<jti> <holder> NX PX <life>`, one round trip, shared by every replica. In
//! the same round trip the memory of the store is checked (see the `epoch` module): a store that forgot its
//! marks cannot vouch for mandates from before that.

mod component;
mod confirm;
mod epoch;
mod epoch_file;
mod release;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Pipeline, Value};
use admission::ports::{BoxFuture, Cause, Clock, Mark, MarkRefusal, ReplayMarks};
use tokio::sync::mpsc;

use crate::component::milliseconds;
use crate::redis::{Fault, Link};
pub use component::ReplayStats;
pub use confirm::Confirmations;
pub use epoch::Loss;
use epoch::{EPOCH_KEY, Epoch};
pub use release::Releases;

/// How many releases may wait. Above it a mark simply stays until it expires.
const MAX_RELEASES: usize = 4096;

/// How the replay marks are kept.
#[derive(Clone)]
pub struct ReplayConfig {
    /// `REPLAY_TIMEOUT`: the longest a request waits for its mark.
    pub timeout: Duration,
    /// A file, beside the spool, that remembers which memory of the store was last seen. Without one,
    /// a loss while every gateway was down goes unnoticed.
    pub memory: Option<PathBuf>,
    /// Has marks confirmed by replicas before they count, where that is wanted.
    pub confirmations: Option<Arc<Confirmations>>,
}

/// The replay marks on Redis.
pub struct RedisReplay {
    link: Arc<Link>,
    timeout: Duration,
    epoch: Epoch,
    confirmations: Option<Arc<Confirmations>>,
    releases: mpsc::Sender<Mark>,
    errors: AtomicU64,
}

impl RedisReplay {
    /// The marks, and the future that gives released ones back.
    #[must_use]
    pub fn new(link: Arc<Link>, config: ReplayConfig, clock: Arc<dyn Clock>) -> (Arc<Self>, Releases) {
        let (sender, receiver) = mpsc::channel(MAX_RELEASES);
        let marks = Self {
            epoch: Epoch::new(Arc::clone(&link), clock, config.memory),
            link: Arc::clone(&link),
            timeout: config.timeout,
            confirmations: config.confirmations,
            releases: sender,
            errors: AtomicU64::new(0),
        };
        (Arc::new(marks), Releases::new(link, receiver))
    }

    /// The last loss of the store's memory that is known, for metrics and the log.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.epoch.loss()
    }

    async fn mark(&self, mark: &Mark) -> Result<(), MarkRefusal> {
        let deadline = self.link.deadline(self.timeout);
        let (set, seen_epoch, generation) = match self.send(mark, First::Yes, deadline).await {
            // The connection broke under the command. The next one tells whose mark it is now.
            Err(Fault::Lost(_)) => self.send(mark, First::No, deadline).await,
            other => other,
        }
        .map_err(unavailable)?;
        let loss = self
            .epoch
            .judge(seen_epoch.as_deref(), generation, deadline)
            .await
            .map_err(unavailable)?;
        if let Some(loss) = loss.filter(|loss| loss.forgets(mark)) {
            return Err(MarkRefusal::Seen(Cause::new(format!(
                "the replay store lost its memory at {} and cannot vouch for an earlier mandate",
                loss.unix_seconds()
            ))));
        }
        match set {
            Outcome::Created => self.confirm(mark, deadline).await,
            Outcome::Exists => Err(MarkRefusal::Seen(Cause::new("the mark exists"))),
        }
    }

    /// A mark that too few replicas have may be forgotten, so it does not count.
    async fn confirm(&self, mark: &Mark, deadline: Duration) -> Result<(), MarkRefusal> {
        let Some(confirmations) = &self.confirmations else {
            return Ok(());
        };
        let confirmed = confirmations.confirmed(mark, deadline, self.link.left(deadline));
        confirmed.await.map_err(unavailable)
    }

    /// One round trip: the mark, and the epoch as it stands after it.
    async fn send(
        &self,
        mark: &Mark,
        first: First,
        deadline: Duration,
    ) -> Result<(Outcome, Option<String>, u64), Fault> {
        let key = key(mark);
        let life = milliseconds(mark.life).max(1);
        let mut commands = Pipeline::with_capacity(3);
        let set = commands.cmd("SET").arg(&key).arg(&mark.holder).arg("NX");
        set.arg("PX").arg(life);
        commands.cmd("GET").arg(EPOCH_KEY);
        match first {
            First::Yes => {
                let ((set, epoch), generation): ((Value, _), _) = self.link.ask(&commands, deadline).await?;
                Ok((outcome(&set), epoch, generation))
            }
            First::No => {
                commands.cmd("GET").arg(&key);
                let ((set, epoch, holder), generation): ((Value, _, Option<String>), _) =
                    self.link.ask(&commands, deadline).await?;
                let ours = holder.as_deref() == Some(mark.holder.as_str());
                let outcome = if ours { Outcome::Created } else { outcome(&set) };
                Ok((outcome, epoch, generation))
            }
        }
    }
}

/// Whether this attempt sent the mark before.
#[derive(Clone, Copy)]
enum First {
    Yes,
    No,
}

enum Outcome {
    Created,
    Exists,
}

fn outcome(set: &Value) -> Outcome {
    match set {
        Value::Okay => Outcome::Created,
        _ => Outcome::Exists,
    }
}

fn key(mark: &Mark) -> String {
    format!("seen:jti:{}", mark.jti)
}

fn unavailable(fault: Fault) -> MarkRefusal {
    MarkRefusal::Unavailable(fault.into_cause())
}

impl ReplayMarks for RedisReplay {
    fn set<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), MarkRefusal>> {
        Box::pin(async move {
            let marked = self.mark(mark).await;
            if let Err(MarkRefusal::Unavailable(cause)) = &marked
                && !cause.is_local()
            {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
            marked
        })
    }

    fn release(&self, mark: Mark) {
        if self.releases.try_send(mark).is_err() {
            tracing::warn!("too many replay marks wait for release: one stays until it expires");
        }
    }
}
