//! The memory of the replay store.
//!
//! Replication is asynchronous and a flush is one command: a store can forget marks and go on
//! answering. A key in the same store, written at start where there is none, forgets with it (see
//! [`value`]). When it is missing although one was known, or the server has another history than the one that it names,
//! marks may be gone, and a new epoch is born. Mandates issued before the birth of the epoch are refused until they
//! have expired. `docs/replay.md` says what follows from it and what does not.

mod file;
mod memory;
#[cfg(test)]
mod model;
mod value;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Pipeline, RedisResult};
use admission::ports::{Cause, Clock, Mark};
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::log_limit::LogLimit;
use crate::redis::{Fault, Info, Link, not_primary};
use file::EpochFile;
pub use memory::Loss;
use memory::{Memory, Verdict};
pub(super) use memory::{Seen, Standing};
use value::History;

const EPOCH_KEY: &str = "caracal:gateway:replay-epoch";

/// Replaces the epoch if it is still the one that was judged.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end\n\
    return 0";

/// How often a change under our feet is followed before giving up.
const MAX_ROUNDS: usize = 5;

/// The answers about the epoch that come with every mark: the key, and whose memory it is.
pub(super) type EpochAnswers = (RedisResult<Option<String>>, RedisResult<String>);

pub(super) struct Epoch {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    file: EpochFile,
    memory: Mutex<Memory>,
    /// What is on disk.
    written: Mutex<Option<String>>,
    losses: AtomicU64,
    one_at_a_time: Semaphore,
    advice: LogLimit,
    disk_warnings: LogLimit,
}

impl Epoch {
    pub(super) fn new(link: Arc<Link>, clock: Arc<dyn Clock>, memory: Option<PathBuf>) -> Self {
        Self {
            link,
            clock,
            file: EpochFile::new(memory),
            memory: Mutex::default(),
            written: Mutex::default(),
            losses: AtomicU64::new(0),
            one_at_a_time: Semaphore::new(1),
            advice: LogLimit::default(),
            disk_warnings: LogLimit::default(),
        }
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.memory.lock().loss()
    }

    /// Why a gateway that has just started lets nothing pass yet.
    pub(super) fn starting(&self) -> Option<Cause> {
        let starting = self.memory.lock().is_starting(self.clock.now());
        starting.then(|| {
            Cause::new("redis: after a loss of replay marks a start waits until every replica looked")
        })
    }

    /// How often a loss was found that this gateway had not known.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Asks for the epoch, in a pipeline that ignores errors, behind the command whose memory matters.
    pub(super) fn ask(commands: &mut Pipeline) {
        commands.cmd("GET").arg(EPOCH_KEY);
        Info::ask(commands, "replication");
    }

    /// The answers to it. A server that is no primary is left at once.
    pub(super) fn read(&self, (stored, info): EpochAnswers, link: u64) -> Result<Seen, Fault> {
        let info = self.of_primary(info, link)?;
        let text = stored.map_err(|error| self.link.fault(link, &error))?;
        let replication = info.fact("master_replid").unwrap_or_default().to_owned();
        let run = String::new();
        let history = History { run, replication };
        Ok(Seen { text, history, link })
    }

    fn of_primary(&self, answer: RedisResult<String>, link: u64) -> Result<Info, Fault> {
        let info = Info::read(answer);
        if info.is_replica() {
            self.link.lose(link, not_primary());
            return Err(Fault::Refused(not_primary()));
        }
        Ok(info)
    }

    /// This mandate may be let pass. To be said before its mark is sent.
    pub(super) fn expect(&self, mark: &Mark) {
        self.memory.lock().expect(mark.issued_at, self.clock.now().unix);
    }

    /// Whether the store can vouch for this mandate, given what came with its mark.
    pub(super) fn standing(&self, mark: &Mark, seen: &Seen) -> Standing {
        self.memory
            .lock()
            .standing(mark.issued_at, seen, self.clock.now())
    }

    fn is_judged(&self, seen: &Seen) -> bool {
        self.memory.lock().standing(None, seen, self.clock.now()) != Standing::Unjudged
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
        if self.memory.lock().is_blank() {
            // Without it nothing can be judged, and what every replica shares must not be written.
            let recalled = self
                .file
                .recall(self.link.left(deadline) / 2)
                .await
                .map_err(Fault::Failed)?;
            self.memory.lock().recall(recalled);
        }
        let mut seen = self.look(None, deadline).await?;
        for _ in 0..MAX_ROUNDS {
            let fresh = random_id()?;
            let verdict = self.memory.lock().judge(&seen, &fresh, self.clock.now());
            match verdict {
                Verdict::Keep(news) => {
                    self.tell(news);
                    self.write_down(self.link.left(deadline) / 2).await;
                    return Ok(());
                }
                Verdict::Write(next) => seen = self.look(Some((&seen, next)), deadline).await?,
            }
        }
        Err(late("it changes too often"))
    }

    /// The epoch and the server's whole history, after the value that was judged is replaced by the next one.
    async fn look(&self, change: Option<(&Seen, String)>, deadline: Duration) -> Result<Seen, Fault> {
        let mut commands = Pipeline::with_capacity(5);
        commands.ignore_errors();
        match change {
            None => commands.cmd("PING"),
            Some((Seen { text: None, .. }, next)) => commands.cmd("SET").arg(EPOCH_KEY).arg(next).arg("NX"),
            Some((
                Seen {
                    text: Some(judged), ..
                },
                next,
            )) => {
                let script = commands.cmd("EVAL").arg(REPLACE).arg(1).arg(EPOCH_KEY);
                script.arg(judged).arg(next)
            }
        };
        Self::ask(&mut commands);
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
        let mut seen = self.read((stored, replication), link)?;
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
        if (policy.is_none() && !hidden) || self.advice.happened(self.clock.now().monotonic).is_none() {
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
            self.losses.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                until = loss.unix_seconds(),
                "the replay store lost its memory: single-use mandates issued until then are refused"
            );
        }
    }

    /// Keeps on disk what is known. Where that fails it is tried again with every look at the store.
    async fn write_down(&self, limit: Duration) {
        let Some(note) = self.memory.lock().note() else {
            return;
        };
        if self.written.lock().as_ref() == Some(&note) {
            return;
        }
        match self.file.remember(note.clone(), limit).await {
            Ok(()) => *self.written.lock() = Some(note),
            Err(error) => {
                if let Some(times) = self.disk_warnings.happened(self.clock.now().monotonic) {
                    tracing::warn!(%error, times, "AUDIT_REPLAY_DIR: the replay epoch is not remembered on disk");
                }
            }
        }
    }

    /// The same, for whoever has no turn.
    pub(super) async fn write_down_in_turn(&self, limit: Duration) {
        if let Ok(_turn) = self.one_at_a_time.try_acquire() {
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
