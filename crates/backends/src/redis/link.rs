//! One supervised connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use admission::ports::{Cause, Clock};
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::info::Info;
use super::replicas::{LONGEST_WAIT, WAIT_SLACK};
use super::{Connection, RedisConnector};
use crate::component::{Component, Stage};
use crate::last_seen::LastSeen;
use crate::local;
use crate::log_limit::LogLimit;
use crate::pause::{Backoff, spread, within};
use crate::token_bucket::TokenBucket;

/// How long an answer to a ping is waited for at least.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// How often a connection is tried. Shorter than the least `timeout` after which a server closes an idle one.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a failed attempt to connect, the first and the longest: nothing that needs the link works meanwhile.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));
/// How many lost connections in a row are renewed at once, without a pause.
const AT_ONCE: u32 = 4;

/// One supervised connection to Redis.
pub struct Link {
    name: &'static str,
    connector: RedisConnector,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
    /// How long an answer to a ping is waited for.
    patience: Duration,
    /// A command stayed without an answer: ping.
    doubted: Notify,
    /// The last answer.
    contact: LastSeen,
    warnings: LogLimit,
    /// A warning was written since the connection was made.
    warned: AtomicBool,
}

#[derive(Clone, Debug)]
enum State {
    /// A connection is being made, and the last attempt did not fail.
    Connecting,
    Up(Live),
    /// The last attempt failed. Another one follows.
    Down(Cause),
}

/// A connection that was up when it was handed out.
#[derive(Clone, Debug)]
pub struct Live {
    /// Counts the connections of this link, from 1.
    pub generation: u64,
    connection: Connection,
}

/// Follows the state of a link.
pub(crate) struct Changes(watch::Receiver<State>);

impl Changes {
    /// Waits for the next change.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How a link stands, for readiness and metrics.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// Why it is not up; none when it is.
    pub down: Option<Cause>,
    /// Time since the server last answered; none before the first answer.
    pub contact_age: Option<Duration>,
}

/// Why a command has no answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection broke: the command may have been carried out.
    Lost(Cause),
    /// The server refused it (`READONLY`, `OOM`, `LOADING`, no permission).
    Refused(Cause),
    /// There is no connection, no answer in time (the command may still be carried out), or this process could not do
    /// its own part.
    Failed(Cause),
}

impl Fault {
    /// The cause, for the log.
    #[must_use]
    pub fn into_cause(self) -> Cause {
        match self {
            Self::Lost(cause) | Self::Refused(cause) | Self::Failed(cause) => cause,
        }
    }
}

impl Link {
    /// A link that is down until [`Link::run`] is polled. `name` says in logs what it is for.
    #[must_use]
    pub fn new(name: &'static str, connector: RedisConnector, clock: Arc<dyn Clock>) -> Arc<Self> {
        let patience = connector.answer_timeout();
        Self::with_patience(name, connector, clock, patience)
    }

    /// The same, for commands that are of use within this limit alone: a server that vanished is found out as soon,
    /// and not only when its connection's other commands would be given up.
    #[must_use]
    pub fn for_answers_within(
        limit: Duration,
        name: &'static str,
        connector: RedisConnector,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let patience = limit.max(PING_PATIENCE).min(connector.answer_timeout());
        Self::with_patience(name, connector, clock, patience)
    }

    /// The same, for commands that wait for replicas: a ping queues behind them.
    #[must_use]
    pub fn for_waits(name: &'static str, connector: RedisConnector, clock: Arc<dyn Clock>) -> Arc<Self> {
        let patience = connector.answer_timeout().max(LONGEST_WAIT + WAIT_SLACK);
        Self::with_patience(name, connector, clock, patience)
    }

    fn with_patience(
        name: &'static str,
        connector: RedisConnector,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            connector,
            patience,
            clock,
            state: watch::Sender::new(State::Connecting),
            doubted: Notify::new(),
            contact: LastSeen::never(),
            warnings: LogLimit::default(),
            warned: AtomicBool::new(false),
        })
    }

    /// The link, with the task that runs it.
    pub fn component(self: Arc<Self>) -> Component<Arc<Self>> {
        let running = Arc::clone(&self);
        Component::new(Arc::clone(&self)).task(self.name, Stage::Foundation, |stop| running.run(stop))
    }

    /// Makes the connection, watches it and makes it again, until shutdown.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.supervise()).await;
    }

    async fn supervise(&self) {
        let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
        let mut renewals = TokenBucket::full(AT_ONCE, PAUSE.1);
        let mut generation = 0;
        loop {
            match self.dial().await {
                Ok(connection) => {
                    pauses.reset();
                    generation += 1;
                    self.touch();
                    self.state.send_replace(State::Up(Live {
                        generation,
                        connection,
                    }));
                    if self.warned.swap(false, Ordering::Relaxed) {
                        tracing::info!(link = self.name, "redis connection is back");
                    }
                    self.watch_over(generation).await;
                    if let Err(wait) = renewals.take(self.clock.now().monotonic) {
                        sleep(wait).await;
                    }
                }
                Err(cause) => {
                    self.warn("redis connection failed", &cause);
                    self.state.send_replace(State::Down(cause));
                    sleep(pauses.pause()).await;
                }
            }
        }
    }

    /// A connection to a primary. One to a replica would lose, or refuse, what is written, and a node of a cluster would
    /// refuse the keys of others.
    async fn dial(&self) -> Result<Connection, Cause> {
        let mut connection = self.connector.connect().await?;
        let asked = async {
            let mut commands = Info::question();
            Info::ask(&mut commands, "cluster");
            let answer = commands.query_async(&mut connection).await;
            answer.map_err(|error| local::cause(format!("redis: {error}"), &error))
        };
        type Answers = (RedisResult<String>, RedisResult<String>);
        let (replication, cluster): Answers = within("redis", self.connector.answer_timeout(), asked).await?;
        let is_node = Info::read(cluster)
            .fact("cluster_enabled")
            .map(|enabled| enabled == "1");
        let in_cluster = self.connector.is_cluster();
        if is_node.is_some_and(|is_node| is_node != in_cluster) {
            return Err(Cause::new(if in_cluster {
                "redis: the server is no node of a cluster, and REDIS_URL says redis-cluster://; for one server it is \
                 redis://"
            } else {
                "redis: the server is a node of a cluster: REDIS_URL must begin with redis-cluster://, or lead to a server \
                 that is none (cluster-enabled no)"
            }));
        }
        match Info::read(replication).is_replica() {
            false => Ok(connection),
            true => Err(self.not_primary()),
        }
    }

    /// The cause where a connection leads to a replica. In a cluster that has it asked who the primary is.
    fn not_primary(&self) -> Cause {
        self.connector.doubt();
        Info::not_primary()
    }

    /// Returns when the connection is lost.
    async fn watch_over(&self, generation: u64) {
        let mut state = self.state.subscribe();
        loop {
            let Some(live) = self.up() else { return };
            tokio::select! {
                () = live.connection.replaced() => {
                    self.lose(generation, Cause::new("redis: another server is the primary now"));
                    return;
                }
                _ = state.wait_for(|state| !matches!(state, State::Up(_))) => return,
                () = self.doubted.notified() => {}
                () = sleep(spread(PING_INTERVAL)) => {}
            }
            let limit = self.patience;
            match timeout(
                limit,
                self.send::<(RedisResult<String>,)>(&live, &Info::question()),
            )
            .await
            {
                Ok(Ok((answer,))) => {
                    if Info::read(answer).is_replica() {
                        self.lose(generation, self.not_primary());
                    }
                }
                Ok(Err(Fault::Refused(cause))) => self.warn("redis answers, but refuses", &cause),
                Ok(Err(_lost)) => {}
                Err(_) => {
                    let cause = Cause::new(format!("redis: no answer within {limit:?}"));
                    self.lose(generation, cause);
                }
            }
        }
    }

    /// The connection, at once: none while there is none.
    fn up(&self) -> Option<Live> {
        match &*self.state.borrow() {
            State::Up(live) => Some(live.clone()),
            State::Connecting | State::Down(_) => None,
        }
    }

    /// The connection; waits while one is being made, without a deadline.
    async fn live(&self) -> Result<Live, Fault> {
        if let Some(live) = self.up() {
            return Ok(live);
        }
        let mut state = self.state.subscribe();
        let settled = state
            .wait_for(|state| !matches!(state, State::Connecting))
            .await
            .map(|state| state.clone());
        match settled {
            Ok(State::Up(live)) => Ok(live),
            Ok(State::Down(cause)) => Err(Fault::Failed(cause)),
            Ok(State::Connecting) | Err(_) => Err(Fault::Failed(Cause::new("redis: no connection"))),
        }
    }

    /// The monotonic time after this limit from now.
    pub(crate) fn deadline(&self, limit: Duration) -> Duration {
        self.clock.now().monotonic + limit
    }

    /// How much time is left until a deadline.
    pub(crate) fn left(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.clock.now().monotonic)
    }

    /// Sends commands in one piece and returns their answers, before the deadline in any case.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
        deadline: Duration,
    ) -> Result<(T, u64), Fault> {
        let asked = async {
            let live = self.live().await?;
            let answer = self.send(&live, commands).await?;
            Ok((answer, live.generation))
        };
        match timeout(self.left(deadline), asked).await {
            Ok(result) => result,
            Err(_) => {
                // The connection may be slow or a black hole: a ping will tell.
                self.doubted.notify_one();
                Err(Fault::Failed(Cause::new("redis: no answer before the deadline")))
            }
        }
    }

    async fn send<T: FromRedisValue>(&self, live: &Live, commands: &Pipeline) -> Result<T, Fault> {
        let mut connection = live.connection.clone();
        match commands.query_async(&mut connection).await {
            Ok(answer) => {
                self.touch();
                Ok(answer)
            }
            Err(error) => Err(self.fault(live.generation, &error)),
        }
    }

    /// What this error of a command says, also of the connection that it came over.
    pub(crate) fn fault(&self, generation: u64, error: &RedisError) -> Fault {
        let cause = local::cause(format!("redis: {error}"), error);
        if error.is_unrecoverable_error() || error.is_io_error() || error.is_connection_dropped() {
            self.lose(generation, cause.clone());
            return Fault::Lost(cause);
        }
        if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
            // Demoted: the name or the address may lead to the new primary by now.
            self.lose(generation, cause.clone());
        }
        Fault::Refused(cause)
    }

    /// Gives up this connection, unless a newer one is there already. Another one is made at once.
    pub(crate) fn lose(&self, generation: u64, cause: Cause) {
        let lost = self.state.send_if_modified(|state| match state {
            State::Up(live) if live.generation == generation => {
                *state = State::Connecting;
                true
            }
            _ => false,
        });
        if lost {
            self.warn("redis connection lost", &cause);
        }
    }

    /// Tells when the connection is made, lost, or cannot be made.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.state.subscribe())
    }

    fn warn(&self, what: &'static str, cause: &Cause) {
        if let Some(times) = self.warnings.happened(self.clock.now().monotonic) {
            self.warned.store(true, Ordering::Relaxed);
            tracing::warn!(link = self.name, %cause, times, "{what}");
        }
    }

    fn touch(&self) {
        self.contact.set(self.clock.now().monotonic);
    }

    /// Where the link stands, from memory.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let down = match &*self.state.borrow() {
            State::Up(_) => None,
            State::Connecting => Some(Cause::new("redis: connecting")),
            State::Down(cause) => Some(cause.clone()),
        };
        LinkStatus {
            down,
            contact_age: self.contact.age(self.clock.now().monotonic),
        }
    }
}
