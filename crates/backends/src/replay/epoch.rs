//! The memory of the replay store.
//!
//! Replication is asynchronous and a flush is one command: a store can forget marks and go on
//! answering. A key in the same store, written at first use, forgets with it:
//!
//! ```text
//! caracal:gateway:replay-epoch = <random id>:<Unix second of its birth, 0 at first use>:<run id of the primary>
//! ```
//!
//! When it is missing although one was known, or the server is another process than the one that it
//! names, marks may be gone, and a new epoch is born at that moment. Mandates issued before the birth
//! of the epoch are refused until they have expired.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Pipeline, RedisResult};
use admission::limits::Limits;
use admission::ports::{Cause, Clock, Mark};
use arc_swap::ArcSwapOption;
use data_encoding::HEXLOWER;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::epoch_file::EpochFile;
use crate::redis::{Fault, Link};

pub(super) const EPOCH_KEY: &str = "caracal:gateway:replay-epoch";

/// Replaces the epoch if it is still the one that was judged.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end\n\
    return 0";

/// How often a change under our feet is followed before giving up.
const MAX_ROUNDS: usize = 5;

/// A loss of the store's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    at: u64,
}

impl Loss {
    /// When it was noticed, in Unix seconds.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.at
    }

    /// Whether the mark of this mandate may be among those that were lost. `iat` is in whole
    /// seconds, rounded down, so that the second of the loss counts as before it.
    pub(super) fn forgets(self, mark: &Mark) -> bool {
        mark.issued_at
            .and_then(|issued| u64::try_from(issued).ok())
            .is_none_or(|issued| issued <= self.at)
    }

    /// Whether a mandate from before it can still be valid.
    fn matters(self, now: Duration) -> bool {
        let longest = Limits::MAX_MANDATE_LIFE.as_secs() + 60;
        now.as_secs() <= self.at.saturating_add(longest)
    }
}

/// One value of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    id: String,
    birth: u64,
    primary: String,
}

impl Value {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        Some(Self {
            id: parts.next()?.to_owned(),
            birth: parts.next()?.parse().ok()?,
            primary: parts.next()?.to_owned(),
        })
    }

    fn text(&self) -> String {
        format!("{}:{}:{}", self.id, self.birth, self.primary)
    }
}

/// What to do about the epoch that the store holds.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is lost since its birth.
    Keep,
    /// None is known anywhere: the first use.
    First,
    /// Marks may be gone.
    Lost,
}

/// Judges the stored epoch against the server that answered and the id last seen. A server that may not
/// be asked for its run id is empty here, and tells nothing.
fn judge(stored: Option<&Value>, primary: &str, remembered: Option<&str>) -> Verdict {
    match (stored, remembered) {
        (None, None) => Verdict::First,
        (None, Some(_)) => Verdict::Lost,
        (Some(value), _) if !primary.is_empty() && value.primary != primary => Verdict::Lost,
        // Another gateway, which remembered nothing, took a forgetful store for a new one.
        (Some(value), Some(id)) if value.id != id && value.birth == 0 => Verdict::Lost,
        (Some(_), _) => Verdict::Keep,
    }
}

#[derive(Debug)]
struct Known {
    text: String,
    value: Value,
    generation: u64,
}

impl Known {
    fn loss(&self) -> Option<Loss> {
        (self.value.birth > 0).then_some(Loss { at: self.value.birth })
    }
}

pub(super) struct Epoch {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    file: EpochFile,
    known: ArcSwapOption<Known>,
    losses: AtomicU64,
    one_at_a_time: Semaphore,
}

impl Epoch {
    pub(super) fn new(link: Arc<Link>, clock: Arc<dyn Clock>, memory: Option<PathBuf>) -> Self {
        Self {
            link,
            clock,
            file: EpochFile::new(memory),
            known: ArcSwapOption::empty(),
            losses: AtomicU64::new(0),
            one_at_a_time: Semaphore::new(1),
        }
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.known.load().as_ref().and_then(|known| known.loss())
    }

    /// How often a loss was found that this gateway had not known.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// The loss that matters now, given the epoch that came with a mark over this connection.
    pub(super) async fn judge(
        &self,
        seen: Option<&str>,
        generation: u64,
        deadline: Duration,
    ) -> Result<Option<Loss>, Fault> {
        let loss = match self.settled(seen, generation) {
            Some(known) => known.loss(),
            None => self.settle(seen, generation, deadline).await?,
        };
        Ok(loss.filter(|loss| loss.matters(self.clock.now().unix)))
    }

    /// What is known, if this is what the store holds.
    fn settled(&self, stored: Option<&str>, generation: u64) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        (known.generation == generation && Some(known.text.as_str()) == stored).then_some(known)
    }

    /// Agrees with the store, and through it with every other gateway, on one epoch.
    async fn settle(
        &self,
        seen: Option<&str>,
        generation: u64,
        deadline: Duration,
    ) -> Result<Option<Loss>, Fault> {
        let late = |what| Fault::Failed(Cause::new(format!("replay epoch: {what}")));
        let Ok(Ok(_turn)) = timeout(self.link.left(deadline), self.one_at_a_time.acquire()).await else {
            return Err(late("not judged before the deadline"));
        };
        // Whoever had the turn before may have settled it for us.
        if let Some(known) = self.settled(seen, generation) {
            return Ok(known.loss());
        }
        for _ in 0..MAX_ROUNDS {
            let (stored, primary, generation) = self.read(deadline).await?;
            if let Some(known) = self.settled(stored.as_deref(), generation) {
                return Ok(known.loss());
            }
            let remembered = match &*self.known.load() {
                Some(known) => Some(known.value.id.clone()),
                // Without it nothing can be judged, and what every replica shares must not be written.
                None => self.file.recall().await.map_err(Fault::Failed)?,
            };
            let value = stored.as_deref().and_then(Value::parse);
            let verdict = match (&stored, &value) {
                (Some(_), None) => Verdict::Lost,
                _ => judge(value.as_ref(), &primary, remembered.as_deref()),
            };
            match (verdict, stored, value) {
                (Verdict::Keep, Some(text), Some(value)) => {
                    return Ok(self.adopt(text, value, generation, remembered).await);
                }
                (verdict, stored, _) => {
                    let birth = match verdict {
                        Verdict::First => 0,
                        Verdict::Keep | Verdict::Lost => self.clock.now().unix.as_secs(),
                    };
                    let next = Value {
                        id: random_id()?,
                        birth,
                        primary,
                    };
                    self.write(stored.as_deref(), &next.text(), deadline).await?;
                }
            }
        }
        Err(late("it changes too often"))
    }

    /// The stored epoch, the run id of the server, and the connection that told.
    async fn read(&self, deadline: Duration) -> Result<(Option<String>, String, u64), Fault> {
        let mut commands = Pipeline::with_capacity(2);
        commands.ignore_errors();
        commands.cmd("GET").arg(EPOCH_KEY);
        commands.cmd("INFO");
        type Answers = (RedisResult<Option<String>>, RedisResult<String>);
        let ((stored, info), generation): (Answers, u64) = self.link.ask(&commands, deadline).await?;
        let stored = stored.map_err(|error| Fault::Refused(Cause::new(format!("replay epoch: {error}"))))?;
        // Where INFO is not permitted, only the key itself can tell.
        let info = info.unwrap_or_default();
        let primary = fact(&info, "run_id").unwrap_or_default().to_owned();
        if let Some(policy) = fact(&info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
            tracing::warn!(
                policy,
                "redis may evict replay marks: set maxmemory-policy to noeviction"
            );
        }
        Ok((stored, primary, generation))
    }

    async fn write(&self, judged: Option<&str>, next: &str, deadline: Duration) -> Result<(), Fault> {
        let mut commands = Pipeline::with_capacity(1);
        match judged {
            None => commands.cmd("SET").arg(EPOCH_KEY).arg(next).arg("NX").ignore(),
            Some(judged) => {
                let script = commands.cmd("EVAL").arg(REPLACE).arg(1).arg(EPOCH_KEY);
                script.arg(judged).arg(next).ignore()
            }
        };
        self.link.ask::<()>(&commands, deadline).await.map(|_| ())
    }

    async fn adopt(
        &self,
        text: String,
        value: Value,
        generation: u64,
        remembered: Option<String>,
    ) -> Option<Loss> {
        if remembered.as_ref() != Some(&value.id) {
            if value.birth > 0 {
                self.losses.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    since = value.birth,
                    "the replay store lost its memory: single-use mandates issued before are refused"
                );
            }
            self.file.remember(&value.id).await;
        }
        let known = Known {
            text,
            value,
            generation,
        };
        let loss = known.loss();
        self.known.store(Some(Arc::new(known)));
        loss
    }
}

/// One line of the answer of `INFO`.
fn fact<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn random_id() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Fault::Failed(Cause::local("replay epoch: no random bytes")))?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::{Loss, Value, Verdict, fact, judge};
    use admission::ports::Mark;
    use std::time::Duration;

    fn value(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn epoch_judgement_table() {
        for (stored, primary, remembered, expect) in [
            (None, "p1", None, Verdict::First),
            (None, "p1", Some("a"), Verdict::Lost),
            (Some("a:0:p1"), "p1", None, Verdict::Keep),
            (Some("a:0:p1"), "p1", Some("a"), Verdict::Keep),
            (Some("a:0:p1"), "p2", Some("a"), Verdict::Lost),
            (Some("a:0:p1"), "p2", None, Verdict::Lost),
            (Some("a:0:p1"), "", Some("a"), Verdict::Keep),
            (Some("a:0:"), "p1", Some("a"), Verdict::Lost),
            (Some("b:0:p1"), "p1", Some("a"), Verdict::Lost),
            (Some("b:77:p1"), "p1", Some("a"), Verdict::Keep),
        ] {
            let stored = stored.map(value);
            let got = judge(stored.as_ref(), primary, remembered);
            assert_eq!(got, expect, "{stored:?} {primary} {remembered:?}");
        }
    }

    #[test]
    fn value_survives_its_text_and_refuses_other_texts() {
        let epoch = value("id:1790000000:run:with:colons");
        assert_eq!(epoch.primary, "run:with:colons");
        assert_eq!(value(&epoch.text()), epoch);
        for text in ["", "id", "id:soon:p", "id:1"] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loss_forgets_mandates_up_to_its_own_second_and_without_a_date() {
        let loss = Loss { at: 100 };
        for (issued_at, expect) in [
            (Some(99), true),
            (Some(100), true),
            (Some(101), false),
            (Some(-1), true),
            (None, true),
        ] {
            let mark = Mark {
                jti: "j".to_owned(),
                holder: "h".to_owned(),
                life: Duration::from_secs(1),
                issued_at,
            };
            assert_eq!(loss.forgets(&mark), expect, "{issued_at:?}");
        }
        assert!(loss.matters(Duration::from_secs(100 + 86_400)));
        assert!(!loss.matters(Duration::from_secs(100 + 86_461)));
    }

    #[test]
    fn facts_are_found_in_the_answer_of_info() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\ntcp_port:1\r\n";
        assert_eq!(fact(info, "run_id"), Some("abc"));
        assert_eq!(fact(info, "run"), None);
    }
}
