//! The memory of the replay store.
//!
//! Replication is asynchronous and a flush is one command: a store can forget marks and go on
//! answering. A key in the same store, written at start where there is none, forgets with it (see
//! [`value`]). When it is missing although one was known, or the server has another history than the one that it names,
//! marks may be gone, and a new epoch is born. Mandates issued before the birth of the epoch are refused until they
//! have expired. `docs/replay.md` says what follows from it and what does not.

mod file;
mod first_use;
mod issue_times;
mod memory;
#[cfg(test)]
mod model;
mod slots;
mod value;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisResult};
use admission::ports::{Cause, Clock, Mark};
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::keys::Keys;
use crate::log_limit::LogLimit;
use crate::redis::{Fault, Info, Link};
use file::EpochFile;
pub(super) use first_use::FirstUse;
use issue_times::IssueTimes;
pub use memory::Loss;
use memory::{Beginning, Memory, Verdict};
pub(super) use memory::{Seen, Standing};
pub(super) use slots::Slots;
use value::History;

/// Replaces the epoch if it is still the one that was judged.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end\n\
    return 0";

/// How often a change under our feet is followed before giving up.
const MAX_ROUNDS: usize = 5;

/// The answers about the epoch that come with every mark: the key, and whose memory it is.
pub(super) type EpochAnswers = (RedisResult<Option<String>>, RedisResult<String>);

/// What one gateway keeps for all shards of its store.
pub(super) struct Store {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) file: EpochFile,
    issued: Arc<Mutex<IssueTimes>>,
    /// How often a loss was found that this gateway had not known.
    pub(super) losses: AtomicU64,
}

impl Store {
    pub(super) fn new(clock: Arc<dyn Clock>, memory: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            file: EpochFile::new(memory),
            issued: Arc::default(),
            losses: AtomicU64::new(0),
        })
    }
}

/// The memory of the only server, or of one shard.
pub(super) struct Epoch {
    link: Arc<Link>,
    store: Arc<Store>,
    key: String,
    /// In a cluster, the slot of the key.
    anchor: Option<u16>,
    /// Whether nothing was ever used, for a shard that is there at start.
    first_use: Option<Arc<FirstUse>>,
    memory: Mutex<Memory>,
    /// What is on disk.
    written: Mutex<Option<String>>,
    one_at_a_time: Semaphore,
    advice: LogLimit,
    disk_warnings: LogLimit,
    losses: LogLimit,
}

impl Epoch {
    /// That of the only server.
    pub(super) fn new(link: Arc<Link>, store: Arc<Store>, keys: &Keys) -> Self {
        Self {
            link,
            store,
            key: keys.epoch.clone(),
            anchor: None,
            first_use: None,
            memory: Mutex::default(),
            written: Mutex::default(),
            one_at_a_time: Semaphore::new(1),
            advice: LogLimit::default(),
            disk_warnings: LogLimit::default(),
            losses: LogLimit::default(),
        }
    }

    /// The same of a shard that serves these slots, and has its key in one of them. Without `first_use` it is one that
    /// others were in use before.
    pub(super) fn of_shard(self, anchor: u16, slots: Slots, first_use: Option<Arc<FirstUse>>) -> Self {
        let beginning = match first_use {
            Some(_) => Beginning::InUse,
            None => Beginning::Joined,
        };
        let issued = Arc::clone(&self.store.issued);
        Self {
            anchor: Some(anchor),
            first_use,
            memory: Mutex::new(Memory::of_shard(issued, slots, beginning)),
            ..self
        }
    }

    /// In a cluster, the slot of the key.
    pub(super) fn anchor(&self) -> Option<u16> {
        self.anchor
    }

    /// The shard serves these slots from now on.
    pub(super) fn serve(&self, slots: Slots) {
        self.memory.lock().serve(slots);
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.memory.lock().loss()
    }

    /// Why a gateway that has just started lets nothing pass yet.
    pub(super) fn starting(&self) -> Option<Cause> {
        let starting = self.memory.lock().is_starting(self.store.clock.now());
        starting.then(|| {
            Cause::new("redis: after a loss of replay marks a start waits until every replica looked")
        })
    }

    /// Asks for the epoch, in a pipeline that ignores errors, behind the command whose memory matters.
    pub(super) fn ask(&self, commands: &mut Pipeline) {
        let mut get = Cmd::with_capacity(2, "GET".len() + self.key.len());
        get.arg("GET").arg(&self.key);
        commands.add_command(get);
        Info::ask(commands, "replication");
    }

    /// The answers to it, and in a cluster the slot of the mark that the same server answered for. A server that is no
    /// primary is left at once.
    pub(super) fn read(
        &self,
        (stored, info): EpochAnswers,
        link: u64,
        slot: Option<u16>,
    ) -> Result<Seen, Fault> {
        let info = self.of_primary(info, link)?;
        let text = stored.map_err(|error| self.link.fault(link, &error))?;
        let replication = info.fact("master_replid").unwrap_or_default().to_owned();
        let run = String::new();
        let history = History { run, replication };
        Ok(Seen {
            text,
            history,
            link,
            slot,
        })
    }

    fn of_primary(&self, answer: RedisResult<String>, link: u64) -> Result<Info, Fault> {
        let info = Info::read(answer);
        if info.is_replica() {
            self.link.lose(link, Info::not_primary());
            return Err(Fault::Refused(Info::not_primary()));
        }
        Ok(info)
    }

    /// This mandate may be let pass. To be said before its mark is sent.
    pub(super) fn expect(&self, mark: &Mark) {
        self.memory
            .lock()
            .expect(mark.issued_at, self.store.clock.now().unix);
    }

    /// Whether the store can vouch for this mandate, given what came with its mark.
    pub(super) fn standing(&self, mark: &Mark, seen: &Seen) -> Standing {
        self.memory
            .lock()
            .standing(mark.issued_at, seen, self.store.clock.now())
    }

    fn is_judged(&self, seen: &Seen) -> bool {
        self.memory.lock().is_judged(seen, self.store.clock.now())
    }

    /// Agrees with the store, and through it with every other gateway, on one epoch, unless what was seen is agreed on.
    pub(super) async fn settle(&self, seen: &Seen, deadline: Duration) -> Result<(), Fault> {
        let late = |what| Fault::Failed(Cause::new(format!("replay epoch: {what}")));
        let Ok(Ok(_turn)) = timeout(self.link.left(deadline), self.one_at_a_time.acquire()).await else {
            return Err(late("not judged before the deadline"));
        };
        // Whoever had the turn before may have settled it for us.
        if self.is_judged(seen) {
            return Ok(());
        }
        // Without it nothing can be judged, and what every replica shares must not be written.
        self.recall(self.link.left(deadline) / 2)
            .await
            .map_err(Fault::Failed)?;
        let slot = seen.slot;
        let mut seen = self.look(None, slot, deadline).await?;
        self.begin(&seen)?;
        for _ in 0..MAX_ROUNDS {
            let fresh = random_id()?;
            let verdict = self.memory.lock().judge(&seen, &fresh, self.store.clock.now());
            match verdict {
                Verdict::Keep(news) => {
                    self.tell(news);
                    self.write_down(self.link.left(deadline) / 2).await;
                    return Ok(());
                }
                Verdict::Write(next) => seen = self.look(Some((&seen, next)), slot, deadline).await?,
            }
        }
        Err(late("it changes too often"))
    }

    /// Reads what an earlier process wrote down, where nothing was judged yet.
    async fn recall(&self, limit: Duration) -> Result<(), Cause> {
        if self.memory.lock().has_to_recall() {
            let recalled = self.store.file.recall(self.anchor, limit).await?;
            if let (Some(_), Some(first_use)) = (&recalled, &self.first_use) {
                first_use.is_over();
            }
            self.memory.lock().recall(recalled);
        }
        Ok(())
    }

    /// What it means if this first look at a shard shows no epoch depends on the others.
    fn begin(&self, seen: &Seen) -> Result<(), Fault> {
        let (Some(first_use), Some(anchor)) = (&self.first_use, self.anchor) else {
            return Ok(());
        };
        let mut memory = self.memory.lock();
        if memory.is_blank() {
            let now = self.store.clock.now().monotonic;
            let Some(beginning) = first_use.saw(anchor, seen.text.is_some(), now) else {
                return Err(Fault::Failed(Cause::new(
                    "replay epoch: not every shard of the cluster has one or was read yet",
                )));
            };
            memory.begin(beginning);
        }
        Ok(())
    }

    /// The epoch and the server's whole history, after the value that was judged is replaced by the next one.
    async fn look(
        &self,
        change: Option<(&Seen, String)>,
        slot: Option<u16>,
        deadline: Duration,
    ) -> Result<Seen, Fault> {
        let mut commands = Pipeline::with_capacity(5);
        commands.ignore_errors();
        match change {
            None => commands.cmd("PING"),
            Some((Seen { text: None, .. }, next)) => commands.cmd("SET").arg(&self.key).arg(next).arg("NX"),
            Some((
                Seen {
                    text: Some(judged), ..
                },
                next,
            )) => {
                let script = commands.cmd("EVAL").arg(REPLACE).arg(1).arg(&self.key);
                script.arg(judged).arg(next)
            }
        };
        self.ask(&mut commands);
        Info::ask(&mut commands, "server");
        Info::ask(&mut commands, "memory");
        type Answers = (
            RedisResult<::redis::Value>,
            RedisResult<Option<String>>,
            RedisResult<String>,
            RedisResult<String>,
            RedisResult<String>,
        );
        let (answers, link) = self.link.ask::<Answers>(&commands, deadline).await?;
        let (changed, stored, replication, server, memory) = answers;
        changed.map_err(|error| self.link.fault(link, &error))?;
        let mut seen = self.read((stored, replication), link, slot)?;
        let server = Info::read(server);
        seen.history.run = server.fact("run_id").unwrap_or_default().to_owned();
        self.advise(&seen, &Info::read(memory));
        Ok(seen)
    }

    /// What the operator should change. The epoch is looked at so closely on every new connection.
    fn advise(&self, seen: &Seen, memory: &Info) {
        let policy = memory
            .fact("maxmemory_policy")
            .filter(|policy| *policy != "noeviction");
        let hidden = !seen.history.is_told();
        if (policy.is_none() && !hidden) || self.advice.happened(self.store.clock.now().monotonic).is_none() {
            return;
        }
        if hidden {
            tracing::warn!(
                "redis: the user in REDIS_URL may not ask for INFO, so every new connection counts as a loss of the \
                 replay marks, and single-use mandates issued before it are refused: grant it +info"
            );
        }
        if let Some(policy) = policy {
            tracing::warn!(
                policy,
                "redis may evict replay marks: set maxmemory-policy to noeviction"
            );
        }
    }

    fn tell(&self, news: Option<Loss>) {
        if let Some(loss) = news {
            self.store.losses.fetch_add(1, Ordering::Relaxed);
            let until = loss.unix_seconds();
            let Some(times) = self.losses.happened(self.store.clock.now().monotonic) else {
                return;
            };
            match self.anchor {
                None => tracing::error!(
                    until,
                    times,
                    "the replay store lost its memory: single-use mandates issued until then are refused"
                ),
                Some(slot) => tracing::error!(
                    until,
                    times,
                    slot,
                    "a shard of the replay store lost its memory, or has taken over slots: single-use mandates issued \
                     until then are refused there"
                ),
            }
        }
    }

    /// Keeps on disk what is known, also where somebody removed it. Where that fails it is tried again with every look at
    /// the store.
    async fn write_down(&self, limit: Duration) {
        let Some(note) = self.memory.lock().note() else {
            return;
        };
        let is_written = self.written.lock().as_ref() == Some(&note);
        if is_written && self.store.file.is_there(limit).await {
            return;
        }
        match self.store.file.remember(self.anchor, note.clone(), limit).await {
            Ok(()) => *self.written.lock() = Some(note),
            Err(error) => {
                if let Some(times) = self.disk_warnings.happened(self.store.clock.now().monotonic) {
                    tracing::warn!(%error, times, "AUDIT_REPLAY_DIR: the replay epoch is not remembered on disk");
                }
            }
        }
    }

    /// The same, for whoever has no turn. Of a shard that was not judged yet it adds what is known to what is on disk.
    pub(super) async fn write_down_in_turn(&self, limit: Duration) {
        if let Ok(_turn) = self.one_at_a_time.try_acquire() {
            if self.anchor.is_some() && self.recall(limit).await.is_err() {
                // The next judgement says why.
                return;
            }
            self.write_down(limit).await;
        }
    }
}

fn random_id() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Fault::Failed(Cause::local("replay epoch: no random bytes")))?;
    Ok(HEXLOWER.encode(&bytes))
}
