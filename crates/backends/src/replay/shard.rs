//! The marks at one server: the only one, or a shard of a cluster.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisResult, Value};
use admission::ports::{Cause, Mark, MarkRefusal};

use super::confirm::Confirmations;
use super::epoch::{Epoch, Loss, Seen, Slots, Standing};
use super::keys::Keys;
use super::watch::Watch;
use crate::component::milliseconds;
use crate::redis::{Fault, Link, LinkStatus};

/// How often a mark is made again because the epoch was judged anew meanwhile.
const MAX_ROUNDS: usize = 5;

/// What the command of a mark takes besides its key and its value: three words and a number.
const SET_BYTES: usize = 7 + 20;

/// One server and its marks.
pub(super) struct Shard {
    pub(super) link: Arc<Link>,
    pub(super) timeout: Duration,
    pub(super) keys: Keys,
    pub(super) epoch: Epoch,
    pub(super) confirmations: Option<Arc<Confirmations>>,
    pub(super) watch: Watch,
}

impl Shard {
    pub(super) fn new(
        link: Arc<Link>,
        epoch: Epoch,
        confirmations: Option<Arc<Confirmations>>,
        keys: Keys,
        timeout: Duration,
    ) -> Self {
        Self {
            link,
            timeout,
            keys,
            epoch,
            watch: Watch::new(confirmations.is_some()),
            confirmations,
        }
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.epoch.loss()
    }

    /// Why marks cannot be made; none when they can.
    pub(super) fn fault(&self) -> Option<Cause> {
        let fault = self.watch.fault().or_else(|| self.epoch.starting());
        fault.map(|cause| self.here(cause))
    }

    /// How its connection stands.
    pub(super) fn status(&self) -> LinkStatus {
        let status = self.link.status();
        LinkStatus {
            down: status.down.map(|cause| self.here(cause)),
            ..status
        }
    }

    /// A cause, with the shard that it is about.
    pub(super) fn here(&self, cause: Cause) -> Cause {
        let Some(slot) = self.epoch.anchor() else {
            return cause;
        };
        let words = format!("{cause} (the shard of slot {slot})");
        match cause.is_local() {
            true => Cause::local(words),
            false => Cause::new(words),
        }
    }

    /// Look again now.
    pub(super) fn doubt(&self) {
        self.watch.doubt();
    }

    /// It serves these slots of the cluster from now on.
    pub(super) fn serve(&self, slots: Slots) {
        self.epoch.serve(slots);
        self.doubt();
    }

    /// Makes a mark with this key, which in a cluster is in this slot.
    pub(super) async fn mark(&self, mark: &Mark, key: &str, slot: Option<u16>) -> Result<(), MarkRefusal> {
        let deadline = self.link.deadline(self.timeout);
        self.epoch.expect(mark);
        let sending = |first| self.send(mark, key, slot, first, deadline);
        let mut first = First::Yes;
        for _ in 0..MAX_ROUNDS {
            let (set, seen) = match sending(first).await {
                // The connection broke under the command. The next one tells whose mark it is now.
                Err(Fault::Lost(_)) => sending(First::No).await,
                other => other,
            }
            .map_err(|fault| self.unavailable(fault))?;
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
                    self.epoch
                        .settle(&seen, deadline)
                        .await
                        .map_err(|fault| self.unavailable(fault))?;
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
        confirmed.await.map_err(|fault| self.unavailable(fault))
    }

    fn unavailable(&self, fault: Fault) -> MarkRefusal {
        MarkRefusal::Unavailable(self.here(fault.into_cause()))
    }

    /// One round trip: the mark, and the epoch as it stands after it.
    async fn send(
        &self,
        mark: &Mark,
        key: &str,
        slot: Option<u16>,
        first: First,
        deadline: Duration,
    ) -> Result<(Outcome, Seen), Fault> {
        let life = milliseconds(mark.life).max(1);
        let mut commands = Pipeline::with_capacity(4);
        commands.ignore_errors();
        let mut set = Cmd::with_capacity(6, key.len() + mark.holder.len() + SET_BYTES);
        set.arg("SET").arg(key).arg(&mark.holder).arg("NX");
        set.arg("PX").arg(life);
        commands.add_command(set);
        self.epoch.ask(&mut commands);
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
                commands.cmd("GET").arg(key);
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
        let seen = self.epoch.read(epoch, link, slot)?;
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
