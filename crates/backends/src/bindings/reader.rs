//! The loop that owns every read of the bindings.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::ports::Cause;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::config::BindingsConfig;
use super::load::{self, Loaded};
use super::lookup::{Answer, Key, Lookup};
use super::{Shared, Snapshot};
use crate::pause::{Backoff, spread};
use crate::postgres::{PostgresConnector, Reader, rows};

const CHANNEL: &str = "caracal_gateway_bindings";
/// How many lookups are answered together.
const BATCH: usize = 64;
/// How long the server may take to begin to notify.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest time between two reads that notifications cause.
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
            shared: Arc::clone(&self.shared),
        };
        let keeper = Keeper {
            reader: Reader::new(self.database, Arc::clone(&self.shared.clock)),
            config: self.config,
            shared: self.shared,
            triggers: false,
            revision: None,
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
    triggers: bool,
    revision: Option<i64>,
}

impl Keeper {
    async fn keep(mut self, mut lookups: mpsc::Receiver<Lookup>) {
        let mut failures = Backoff::new(Duration::from_millis(500), self.config.reload_every);
        let mut due = std::pin::pin!(sleep(Duration::ZERO));
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = &mut due => due.set(sleep(self.turn(&mut failures, false).await)),
                () = self.shared.changed.notified() => {
                    due.set(sleep(self.turn(&mut failures, true).await));
                    // Many changes in a row are read together.
                    sleep(CHANGE_PAUSE).await;
                }
                received = lookups.recv_many(&mut waiting, BATCH) => {
                    if received == 0 {
                        // Nobody asks any more: the bindings are dropped.
                        return;
                    }
                    self.answer(&mut waiting).await;
                }
            }
        }
    }

    /// One look at the database. Returns how long until the next.
    async fn turn(&mut self, failures: &mut Backoff, changed: bool) -> Duration {
        let began = self.shared.clock.now().monotonic;
        let listening = self.shared.listening.load(Ordering::Acquire);
        match self.refresh(changed).await {
            Ok(()) => {
                failures.reset();
                self.shared.confirm(began);
                match (self.triggers, changed) {
                    (true, true) => self.shared.heard.store(listening, Ordering::Release),
                    (true, false) => {}
                    (false, _) => self.shared.heard.store(0, Ordering::Release),
                }
                spread(self.config.reload_every)
            }
            Err(cause) => {
                self.shared.fail(cause);
                failures.pause()
            }
        }
    }

    async fn refresh(&mut self, changed: bool) -> Result<(), Cause> {
        let limit = self.config.max_bindings;
        if !changed && self.triggers && self.revision.is_some() {
            let now = self.reader.read(async |client| load::kept_revision(client).await);
            if now.await? == self.revision {
                return Ok(());
            }
        }
        let Loaded {
            triggers,
            revision,
            bindings,
        } = self
            .reader
            .read(async |client| load::all(client, limit).await)
            .await?;
        self.shared.snapshot.store(Arc::new(Snapshot::of(bindings)));
        self.shared.reloads.fetch_add(1, Ordering::Relaxed);
        (self.triggers, self.revision) = (triggers, revision);
        Ok(())
    }

    /// Answers questions, each binding read once, and none for which nobody waits any more: behind a slow
    /// database those would be all that is read.
    async fn answer(&mut self, waiting: &mut Vec<Lookup>) {
        let mut asked: HashMap<Key, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        for Lookup { key, answer } in waiting.drain(..) {
            asked.entry(key).or_default().push(answer);
        }
        for ((zone, resource), answers) in asked {
            if answers.iter().all(oneshot::Sender::is_closed) {
                continue;
            }
            let read = self
                .reader
                .read(async |client| load::one(client, &zone, &resource).await);
            let answer = read.await.map(|binding| binding.map(Arc::new));
            match &answer {
                Ok(found) => {
                    let snapshot = self.shared.snapshot.load();
                    if snapshot.find(&zone, &resource).as_deref() != found.as_deref() {
                        let next = snapshot.with(&zone, &resource, found.clone());
                        self.shared.snapshot.store(Arc::new(next));
                    }
                }
                Err(cause) => self.shared.fail(cause.clone()),
            }
            for asking in answers {
                // Whoever asked may be gone.
                let _ = asking.send(answer.clone());
            }
        }
    }
}

/// Hears of changes at once, where the database has triggers.
struct Listener {
    database: PostgresConnector,
    shared: Arc<Shared>,
}

impl Listener {
    async fn listen(&self) {
        let mut failures = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for number in 1.. {
            let Err(cause) = self.follow(number, &mut failures).await;
            self.shared.listening.store(0, Ordering::Release);
            tracing::debug!(%cause, "not listening for changes of bindings");
            sleep(failures.pause()).await;
        }
    }

    async fn follow(&self, number: u64, failures: &mut Backoff) -> Result<std::convert::Infallible, Cause> {
        let mut session = self.database.connect().await?;
        let limit = LISTEN_TIMEOUT;
        session
            .run(limit, async |client| {
                rows(client, &format!("LISTEN {CHANNEL}"), &[]).await?;
                Ok(())
            })
            .await?;
        failures.reset();
        self.shared.listening.store(number, Ordering::Release);
        loop {
            // What changed before we listened is read now, and from here on nothing is missed.
            self.shared.changed.notify_one();
            session.notified().await?;
        }
    }
}
