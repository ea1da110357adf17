//! Whether marks can be made, found out while none is.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::RedisReplay;
use super::epoch::Epoch;
use crate::pause::spread;
use crate::redis::Fault;

/// How often the store is looked at, while marks can be made and while they cannot. Two seconds after a loss every gateway
/// must have looked.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_WHILE_DOWN: Duration = Duration::from_millis(250);

/// Makes a mark and releases it. The key is that of a mandate without an id, which does not exist, and nobody sees it: a
/// script is one step. Whatever keeps marks from being made or released keeps this from passing too.
const PROBE: &str =
    "redis.call('SET', KEYS[1], 'probe', 'NX', 'PX', 1000)\nreturn redis.call('DEL', KEYS[1])";
const PROBE_KEY: &str = "seen:jti:";

/// What was found out last.
#[derive(Default)]
pub(super) struct Watch {
    last: Mutex<Option<Result<(), Cause>>>,
    doubted: Notify,
}

impl Watch {
    /// Why marks cannot be made; none when they can.
    pub(super) fn fault(&self) -> Option<Cause> {
        match &*self.last.lock() {
            None => Some(Cause::new("redis: the replay epoch was not read yet")),
            Some(outcome) => outcome.as_ref().err().cloned(),
        }
    }

    /// A mark failed: look again now.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }
}

impl RedisReplay {
    /// Looks at the store on every new connection, every second, and when a mark fails, until shutdown. Agrees on the
    /// epoch before a mandate asks for it.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.keep_watch()).await;
    }

    async fn keep_watch(&self) {
        let mut changes = self.link.changes();
        loop {
            let outcome = self.look().await.map_err(Fault::into_cause);
            let pause = if outcome.is_ok() { EVERY } else { EVERY_WHILE_DOWN };
            *self.watch.last.lock() = Some(outcome);
            tokio::select! {
                () = sleep(spread(pause)) => {}
                () = self.watch.doubted.notified() => {}
                () = changes.next() => {}
            }
        }
    }

    /// As a mark is made, and in the same time.
    async fn look(&self) -> Result<(), Fault> {
        let deadline = self.link.deadline(self.timeout);
        let mut commands = Pipeline::with_capacity(3);
        commands.ignore_errors();
        commands.cmd("EVAL").arg(PROBE).arg(1).arg(PROBE_KEY);
        Epoch::ask(&mut commands);
        type Answers = (
            RedisResult<Value>,
            RedisResult<Option<String>>,
            RedisResult<String>,
        );
        let (answers, link) = self.link.ask::<Answers>(&commands, deadline).await?;
        let (probe, stored, info) = answers;
        probe.map_err(|error| self.link.fault(link, &error))?;
        let seen = self.epoch.read((stored, info), link)?;
        self.epoch.settle(&seen, deadline).await?;
        self.epoch.write_down_in_turn(self.link.left(deadline)).await;
        Ok(())
    }
}
