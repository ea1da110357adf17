//! Whether marks can be made, found out while none is.

use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::shard::Shard;
use crate::log_limit::LogLimit;
use crate::pause::spread;
use crate::redis::Fault;

/// How often the store is looked at, while marks can be made and while they cannot. Two seconds after a loss every gateway
/// must have looked.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_WHILE_DOWN: Duration = Duration::from_millis(250);

/// Makes a mark and releases it, and nobody sees it: a script is one step. A mark that is there stays. Whatever keeps
/// marks from being made or released keeps this from passing too.
const PROBE: &str = "if redis.call('SET', KEYS[1], 'probe', 'NX', 'PX', 1000) then redis.call('DEL', KEYS[1]) end\n\
    return 0";

/// What was found out last. The replicas are asked apart: they may be slow, and the store's memory must be looked at in time.
pub(super) struct Watch {
    store: Question,
    /// Where marks must be confirmed.
    replicas: Option<Question>,
    warnings: LogLimit,
}

/// One thing that is asked again and again.
struct Question {
    last: Mutex<Result<(), Cause>>,
    doubted: Notify,
}

impl Question {
    fn unasked(why: &str) -> Self {
        Self {
            last: Mutex::new(Err(Cause::new(why))),
            doubted: Notify::new(),
        }
    }
}

impl Watch {
    pub(super) fn new(are_confirmed: bool) -> Self {
        let replicas = || Question::unasked("redis: no replica was asked yet (REPLAY_MIN_REPLICAS)");
        Self {
            store: Question::unasked("redis: the replay epoch was not read yet"),
            replicas: are_confirmed.then(replicas),
            warnings: LogLimit::default(),
        }
    }

    fn questions(&self) -> impl Iterator<Item = &Question> {
        [&self.store].into_iter().chain(&self.replicas)
    }

    /// Why marks cannot be made; none when they can.
    pub(super) fn fault(&self) -> Option<Cause> {
        self.questions()
            .find_map(|question| question.last.lock().as_ref().err().cloned())
    }

    /// A mark failed: look again now.
    pub(super) fn doubt(&self) {
        for question in self.questions() {
            question.doubted.notify_one();
        }
    }
}

impl Shard {
    /// Looks at the store on every new connection, every second, and when a mark fails, until shutdown. Agrees on the
    /// epoch before a mandate asks for it. Has the replicas confirm something as often, where they must confirm marks.
    pub(super) async fn watch(&self, shutdown: CancellationToken) {
        let store = self.keep_asking(&self.watch.store, || self.look());
        let replicas = async {
            if let (Some(question), Some(confirmations)) = (&self.watch.replicas, &self.confirmations) {
                self.keep_asking(question, || {
                    confirmations.would_confirm(self.link.deadline(self.timeout), self.timeout)
                })
                .await;
            }
        };
        shutdown
            .run_until_cancelled(async { tokio::join!(store, replicas) })
            .await;
    }

    async fn keep_asking<F>(&self, question: &Question, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let mut changes = self.link.changes();
        loop {
            let outcome = ask().await.map_err(Fault::into_cause);
            let pause = if outcome.is_ok() { EVERY } else { EVERY_WHILE_DOWN };
            if let Err(cause) = &outcome {
                self.warn(cause);
            }
            *question.last.lock() = outcome;
            tokio::select! {
                () = sleep(spread(pause)) => {}
                () = question.doubted.notified() => {}
                () = changes.next() => {}
            }
        }
    }

    fn warn(&self, cause: &Cause) {
        // Of a connection that is missing the link tells itself.
        if self.link.status().down.is_none()
            && let Some(times) = self.watch.warnings.happened(self.link.deadline(Duration::ZERO))
        {
            let cause = self.here(cause.clone());
            tracing::warn!(%cause, times, "replay marks cannot be made");
        }
    }

    /// As a mark is made, and in the same time. What is known is written down before, also where the store does not
    /// answer: of a shard that is which slots have left.
    async fn look(&self) -> Result<(), Fault> {
        self.epoch.write_down_in_turn(self.timeout / 2).await;
        let deadline = self.link.deadline(self.timeout);
        let mut commands = Pipeline::with_capacity(3);
        commands.ignore_errors();
        commands.cmd("EVAL").arg(PROBE).arg(1).arg(&self.keys.probe);
        self.epoch.ask(&mut commands);
        type Answers = (
            RedisResult<Value>,
            RedisResult<Option<String>>,
            RedisResult<String>,
        );
        let (answers, link) = self.link.ask::<Answers>(&commands, deadline).await?;
        let (probe, stored, info) = answers;
        probe.map_err(|error| self.link.fault(link, &error))?;
        let seen = self.epoch.read((stored, info), link, None)?;
        self.epoch.settle(&seen, deadline).await
    }
}
