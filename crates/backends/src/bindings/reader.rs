//! The loop that owns every read of the bindings.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::ports::Cause;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::changes::{Announced, Pending, Probe};
use super::config::BindingsConfig;
use super::listener::Listener;
use super::load::{self, Loaded, Revision};
use super::lookup::{Answer, Key, Lookup};
use crate::pause::{RETRY, spread};
use crate::postgres::{PostgresConnector, Reader};

/// How many lookups are answered together.
const BATCH: usize = 64;
/// The shortest time between two reads of everything.
const CHANGE_PAUSE: Duration = Duration::from_millis(50);

/// Keeps the bindings current.
pub struct BindingsReader {
    config: BindingsConfig,
    database: PostgresConnector,
    shared: Arc<Shared>,
    lookups: mpsc::Receiver<Lookup>,
}

impl BindingsReader {
    pub(super) fn new(
        config: BindingsConfig,
        database: PostgresConnector,
        shared: Arc<Shared>,
        lookups: mpsc::Receiver<Lookup>,
    ) -> Self {
        Self {
            config,
            database,
            shared,
            lookups,
        }
    }

    /// Runs until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let listener = Listener {
            database: self.database.clone(),
            config: self.config,
            shared: Arc::clone(&self.shared),
        };
        let keeper = Keeper {
            reader: Reader::new(self.database, Arc::clone(&self.shared.clock)),
            config: self.config,
            shared: self.shared,
            known: Known::Nothing,
            read_on: 0,
        };
        let both = async {
            tokio::join!(keeper.keep(self.lookups), listener.listen());
        };
        shutdown.run_until_cancelled(Box::pin(both)).await;
    }
}

struct Keeper {
    reader: Reader,
    config: BindingsConfig,
    shared: Arc<Shared>,
    known: Known,
    /// The number of the connection over which everything was read.
    read_on: u64,
}

/// What is known of the bindings in memory.
#[derive(Clone)]
enum Known {
    /// Nothing: they were not read yet, or something that was announced was not read.
    Nothing,
    /// That they were right when they were read. No trigger keeps a revision that would tell whether they still are.
    Unnumbered,
    /// Their revision.
    Revision(Revision),
}

impl Keeper {
    async fn keep(mut self, mut lookups: mpsc::Receiver<Lookup>) {
        let shared = Arc::clone(&self.shared);
        let mut due = std::pin::pin!(sleep(Duration::ZERO));
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = &mut due => due.set(sleep(self.turn(Pending::default()).await)),
                pending = shared.changes.next() => match (pending.changed(), &self.known) {
                    (false, Known::Unnumbered) => self.send(pending.probe).await,
                    _ => {
                        let everything = pending.everything;
                        due.set(sleep(self.turn(pending).await));
                        if everything {
                            // Many changes in a row are read together.
                            sleep(CHANGE_PAUSE).await;
                        }
                    }
                },
                received = lookups.recv_many(&mut waiting, BATCH) => {
                    if received == 0 {
                        // Nobody asks any more: the bindings are dropped.
                        return;
                    }
                    let again = Instant::now() + spread(RETRY);
                    if !self.answer(&mut waiting).await && again < due.deadline() {
                        // Whether that is over should not wait for the next look.
                        due.as_mut().reset(again);
                    }
                }
            }
        }
    }

    /// One look at the database. Returns how long until the next.
    async fn turn(&mut self, pending: Pending) -> Duration {
        let began = self.shared.clock.now().monotonic;
        let listening = self.shared.listening.load(Ordering::Acquire);
        let is_new = self.shared.heard.load(Ordering::Acquire) != listening;
        match self.refresh(&pending, is_new).await {
            Ok(complete) => {
                self.shared.confirm(began);
                match self.known {
                    // Up to here nothing was missed, and from the beginning of the listening on nothing is.
                    Known::Revision(_) if complete => self.shared.heard.store(listening, Ordering::Release),
                    Known::Revision(_) => {}
                    Known::Nothing | Known::Unnumbered => self.shared.heard.store(0, Ordering::Release),
                }
            }
            Err(cause) => {
                if pending.changed() {
                    // What was announced is not announced again.
                    self.known = Known::Nothing;
                }
                self.shared.fail(cause);
                return spread(RETRY);
            }
        }
        let is_behind = self.is_behind(&pending);
        self.send(pending.probe).await;
        if is_behind {
            return spread(RETRY);
        }
        let unheard = matches!(self.known, Known::Revision(_)) && !self.shared.notified();
        spread(if unheard {
            self.config.look_unheard_every.min(self.config.reload_every)
        } else {
            self.config.reload_every
        })
    }

    /// Reads what may have changed: nothing where the revision is as before, what was announced where that is all.
    /// Whether everything is now as it is in the database, and not only what was announced. Where the listening is new,
    /// what was announced says nothing of what came before, perhaps in another database.
    async fn refresh(&mut self, pending: &Pending, is_new: bool) -> Result<bool, Cause> {
        let Known::Revision(known) = self.known.clone() else {
            return self.read_everything().await;
        };
        if pending.everything || (is_new && pending.changed()) {
            return self.read_everything().await;
        }
        let complete = if pending.changed() {
            self.read_announced(known.version, &pending.announced).await?
        } else {
            let now = self.reader.read(async |client| load::kept_revision(client).await);
            (now.await?.as_ref() == Some(&known)).then_some(true)
        };
        match complete {
            Some(complete) if self.reader.connections() == self.read_on => Ok(complete),
            _ => self.read_everything().await,
        }
    }

    /// Reads what was announced. None where that is not enough; otherwise not everything is known, hence false.
    async fn read_announced(&mut self, known: i64, announced: &[Announced]) -> Result<Option<bool>, Cause> {
        let Some((version, keys)) = follow(known, announced) else {
            return Ok(None);
        };
        let Some(now) = self.read_some(&keys).await? else {
            return Ok(None);
        };
        // Whoever may log in can announce anything: what was not seen is not known.
        if now.version >= version {
            self.known = Known::Revision(Revision { version, ..now });
        }
        Ok(Some(false))
    }

    /// Whether a revision was announced that the database has not shown yet: a server that lags, or nobody's.
    fn is_behind(&self, pending: &Pending) -> bool {
        let Known::Revision(known) = &self.known else {
            return false;
        };
        pending.announced.iter().any(|one| one.revision > known.version)
    }

    async fn read_everything(&mut self) -> Result<bool, Cause> {
        let (limit, before) = (self.config.max_bindings, self.shared.snapshot.load_full());
        let all = self
            .reader
            .read(async |client| load::all(client, limit, &before).await);
        let Loaded {
            kept_revision,
            snapshot,
        } = all.await?;
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.reloads.fetch_add(1, Ordering::Relaxed);
        self.known = kept_revision.map_or(Known::Unnumbered, Known::Revision);
        self.read_on = self.reader.connections();
        Ok(true)
    }

    /// Reads these bindings and no others, and the revision as of which they are; none where triggers do not tell of
    /// every change any more.
    async fn read_some(&mut self, keys: &[Key]) -> Result<Option<Revision>, Cause> {
        let before = self.shared.snapshot.load_full();
        let some = self.reader.read(async |client| {
            let found = load::some(client, keys, &before).await?;
            Ok((found, load::kept_revision(client).await?))
        });
        let (mut found, revision) = some.await?;
        let mut next = (*before).clone();
        for key in keys {
            next.set(&key.0, &key.1, found.remove(key));
        }
        self.shared
            .announced
            .fetch_add(keys.len() as u64, Ordering::Relaxed);
        self.shared.snapshot.store(Arc::new(next));
        Ok(revision)
    }

    /// The gateway hears itself, or does not: the listener waits for it, and says so.
    async fn send(&mut self, probe: Option<Probe>) {
        let Some(probe) = probe else { return };
        let sent = self
            .reader
            .read(async |client| load::notify(client, &probe).await);
        if let Err(cause) = sent.await {
            tracing::debug!(%cause, "no notification sent");
        }
    }

    /// Answers questions, each binding read once, and none for which nobody waits any more: behind a slow
    /// database those would be all that is read. Whether all of them were read.
    async fn answer(&mut self, waiting: &mut Vec<Lookup>) -> bool {
        let mut all_read = true;
        let mut asked: HashMap<Key, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        for Lookup { key, answer } in waiting.drain(..) {
            asked.entry(key).or_default().push(answer);
        }
        for (key, answers) in asked {
            if answers.iter().all(oneshot::Sender::is_closed) {
                continue;
            }
            let answer = self.look_up(key).await;
            if let Err(cause) = &answer {
                self.shared.fail(cause.clone());
                all_read = false;
            }
            for asking in answers {
                // Whoever asked may be gone.
                let _ = asking.send(answer.clone());
            }
        }
        all_read
    }

    async fn look_up(&mut self, key: Key) -> Answer {
        let before = self.shared.snapshot.load_full();
        let keys = [key];
        let read = self
            .reader
            .read(async |client| load::some(client, &keys, &before).await);
        let mut found = read.await?;
        let [key] = keys;
        let now = found.remove(&key);
        let (zone, resource) = key;
        if before.find(&zone, &resource) != now.as_ref() {
            let mut next = (*before).clone();
            next.set(&zone, &resource, now.clone());
            self.shared.snapshot.store(Arc::new(next));
        }
        Ok(now)
    }
}

/// What must be read to get from one revision to the last that was announced, and that one; none where one in between
/// was not announced. What was announced under a revision that is known already is read too: somebody else may have
/// announced it before, and said that something else changed.
fn follow(known: i64, announced: &[Announced]) -> Option<(i64, Vec<Key>)> {
    let mut reached = known;
    let mut keys = Vec::new();
    for Announced { revision, changed } in announced {
        if *revision > reached + 1 {
            return None;
        }
        reached = reached.max(*revision);
        keys.extend(changed.iter().cloned());
    }
    keys.sort_unstable();
    keys.dedup();
    Some((reached, keys))
}

#[cfg(test)]
mod tests {
    use super::{Announced, follow};

    fn announced(revision: i64, resources: &[&str]) -> Announced {
        let key = |resource: &&str| ("z".to_owned(), (*resource).to_owned());
        Announced {
            revision,
            changed: resources.iter().map(key).collect(),
        }
    }

    #[test]
    fn announced_revisions_are_followed_only_without_a_gap() {
        let resources = |known, list: &[Announced]| {
            let (revision, keys) = follow(known, list)?;
            let resources: Vec<_> = keys.into_iter().map(|(_, resource)| resource).collect();
            Some((revision, resources.join(" ")))
        };
        let list = [announced(4, &["b", "a"]), announced(5, &["a", "c"])];
        assert_eq!(resources(3, &list), Some((5, "a b c".to_owned())));
        let all = |revision| Some((revision, "a b c".to_owned()));
        assert_eq!(
            resources(4, &list),
            all(5),
            "somebody's word for 4 may have come before"
        );
        assert_eq!(resources(7, &list), all(7), "no step back");
        assert_eq!(resources(2, &list), None, "one is missing");
        assert_eq!(resources(3, &[announced(4, &[]), announced(6, &["a"])]), None);
    }
}
