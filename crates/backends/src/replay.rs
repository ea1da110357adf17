//! Replay marks on Redis (gate 14).
//!
//! A mark is `SET seen:jti:<jti> <holder> NX PX <life>`, one round trip, shared by every replica. In
//! the same round trip the memory of the store is checked (see the `epoch` module): a store that forgot its
//! marks cannot vouch for mandates from before that. `docs/replay.md` has the whole design.

mod component;
mod confirm;
mod epoch;
mod release;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use admission::ports::{BoxFuture, Cause, Clock, Mark, MarkRefusal, ReplayMarks};
use tokio::sync::mpsc;

use crate::component::milliseconds;
use crate::redis::{Fault, Link};
pub use component::ReplayStats;
pub use confirm::Confirmations;
pub use epoch::Loss;
use epoch::{Epoch, Seen, Standing};
pub use release::Releases;
use watch::Watch;

/// How many releases may wait. Above it a mark simply stays until it expires.
const MAX_RELEASES: usize = 4096;

/// How often a mark is made again because the epoch was judged anew meanwhile.
const MAX_ROUNDS: usize = 5;

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
    watch: Watch,
    releases: mpsc::Sender<Mark>,
    errors: AtomicU64,
}

impl RedisReplay {
    /// The marks, and the future that gives released ones back. [`watch`](Self::watch) must run beside it.
    #[must_use]
    pub fn new(link: Arc<Link>, config: ReplayConfig, clock: Arc<dyn Clock>) -> (Arc<Self>, Releases) {
        let (sender, receiver) = mpsc::channel(MAX_RELEASES);
        let marks = Self {
            epoch: Epoch::new(Arc::clone(&link), clock, config.memory),
            watch: Watch::new(config.confirmations.is_some()),
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

    /// Why marks cannot be made, as far as the last look at the store or the last mark shows; none when they can.
    #[must_use]
    pub fn fault(&self) -> Option<Cause> {
        self.watch.fault().or_else(|| self.epoch.starting())
    }

    async fn mark(&self, mark: &Mark) -> Result<(), MarkRefusal> {
        let deadline = self.link.deadline(self.timeout);
        self.epoch.expect(mark);
        let mut first = First::Yes;
        for _ in 0..MAX_ROUNDS {
            let (set, seen) = match self.send(mark, first, deadline).await {
                // The connection broke under the command. The next one tells whose mark it is now.
                Err(Fault::Lost(_)) => self.send(mark, First::No, deadline).await,
                other => other,
            }
            .map_err(unavailable)?;
            match (self.epoch.standing(mark, &seen), set) {
                (Standing::Vouched, Outcome::Created) => return self.confirm(mark, deadline).await,
                (Standing::Vouched, Outcome::Exists) => {
                    return Err(MarkRefusal::Seen(Cause::new("the mark exists")));
                }
                (Standing::Forgotten(loss), _) => {
                    return Err(MarkRefusal::Seen(Cause::new(format!(
                        "the replay store lost its memory and cannot vouch for a mandate issued until {}",
                        loss.unix_seconds()
                    ))));
                }
                // The mark may belong to a memory that is gone: it must be there in one that was judged.
                (Standing::Unjudged, _) => {
                    self.epoch.settle(&seen, deadline).await.map_err(unavailable)?;
                    first = First::No;
                }
            }
        }
        Err(MarkRefusal::Unavailable(Cause::new(
            "the memory of the replay store changes too often",
        )))
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
    async fn send(&self, mark: &Mark, first: First, deadline: Duration) -> Result<(Outcome, Seen), Fault> {
        let key = key(mark);
        let life = milliseconds(mark.life).max(1);
        let mut commands = Pipeline::with_capacity(4);
        commands.ignore_errors();
        let set = commands.cmd("SET").arg(&key).arg(&mark.holder).arg("NX");
        set.arg("PX").arg(life);
        Epoch::ask(&mut commands);
        let (set, epoch, holder, link) = match first {
            First::Yes => {
                type Answers = (
                    RedisResult<Value>,
                    RedisResult<Option<String>>,
                    RedisResult<String>,
                );
                let ((set, key, info), link) = self.link.ask::<Answers>(&commands, deadline).await?;
                (set, (key, info), Ok(None), link)
            }
            First::No => {
                commands.cmd("GET").arg(&key);
                type Answers = (
                    RedisResult<Value>,
                    RedisResult<Option<String>>,
                    RedisResult<String>,
                    RedisResult<Option<String>>,
                );
                let ((set, key, info, holder), link) = self.link.ask::<Answers>(&commands, deadline).await?;
                (set, (key, info), holder, link)
            }
        };
        let refused = |error| self.link.fault(link, &error);
        let (set, holder): (Value, Option<String>) = (set.map_err(refused)?, holder.map_err(refused)?);
        let seen = self.epoch.read(epoch, link)?;
        let ours = holder.as_deref() == Some(mark.holder.as_str());
        let outcome = if ours { Outcome::Created } else { outcome(&set) };
        Ok((outcome, seen))
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
            if let Err(MarkRefusal::Unavailable(cause)) = &marked {
                self.watch.doubt();
                if !cause.is_local() {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                }
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
