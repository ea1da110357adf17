//! Replicas that confirm marks (`REPLAY_MIN_REPLICAS`).
//!
//! `WAIT` holds up its connection and covers what that connection wrote, so it cannot be sent behind a mark on the
//! connection that all marks share. But a primary replicates one stream, in order. On a connection of its own a round
//! looks that the marks are there, writes a key behind them, and waits until enough replicas confirm that key: they
//! have the marks then, whichever connection set them. One round serves all marks that wait when it begins, and several
//! go on at once, so that one that is stuck holds up no other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use admission::ports::{Cause, Clock, Mark};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::key;
use super::keys::Keys;
use crate::component::{Component, Stage};
use crate::redis::{Fault, LONGEST_WAIT, Link, RedisConnector, WAIT_SLACK, confirmed, write_and_wait};

/// How many rounds go on at once, each on a connection of its own.
const ROUNDS: [&str; 3] = [
    "redis: mark confirmations 1",
    "redis: mark confirmations 2",
    "redis: mark confirmations 3",
];
/// How many marks one round serves, and how many may wait for one.
const BATCH: usize = 256;
const MAX_WAITING: usize = 8192;
/// Has marks confirmed by replicas.
pub struct Confirmations {
    min_replicas: u32,
    /// Whose confirmation is asked for while no mark needs one.
    probe: String,
    queue: mpsc::Sender<Waiting>,
}

/// What is not confirmed yet: who holds a mark; nobody, where it is asked only whether the replicas follow.
struct Waiting {
    key: String,
    holder: Option<String>,
    deadline: Duration,
    outcome: oneshot::Sender<Result<(), Fault>>,
}

impl Confirmations {
    /// Confirmations by at least this many replicas, with their connections.
    pub fn component(
        redis: &RedisConnector,
        min_replicas: u32,
        clock: &Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        Self::of_server(redis, &Keys::single(), min_replicas, clock)
    }

    /// The same of the server with these keys.
    pub(super) fn of_server(
        redis: &RedisConnector,
        keys: &Keys,
        min_replicas: u32,
        clock: &Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let mut component = Component::new(Arc::new(Self {
            min_replicas,
            probe: keys.probe.clone(),
            queue,
        }));
        let links = ROUNDS.map(|name| {
            let link = Link::for_waits(name, redis.clone(), Arc::clone(clock));
            component.add(link.component())
        });
        let rounds = Rounds {
            server: Server {
                min_replicas,
                confirm: keys.confirm.clone(),
            },
            idle: links.into(),
            queue: waiting,
        };
        component.task("replay confirmations", Stage::Foundation, |stop| rounds.run(stop))
    }

    /// Returns when enough replicas have the mark.
    ///
    /// # Errors
    /// They did not confirm it before the deadline, a monotonic time, of which this much is left.
    pub(super) async fn confirmed(
        &self,
        mark: &Mark,
        deadline: Duration,
        left: Duration,
    ) -> Result<(), Fault> {
        self.wait(key(mark), Some(mark.holder.clone()), deadline, left)
            .await
    }

    /// Returns when enough replicas have what the primary took until now. Whatever keeps marks from being confirmed
    /// keeps this from returning too.
    ///
    /// # Errors
    /// As [`Confirmations::confirmed`].
    pub(super) async fn would_confirm(&self, deadline: Duration, left: Duration) -> Result<(), Fault> {
        self.wait(self.probe.clone(), None, deadline, left).await
    }

    async fn wait(
        &self,
        key: String,
        holder: Option<String>,
        deadline: Duration,
        left: Duration,
    ) -> Result<(), Fault> {
        let (outcome, confirmed) = oneshot::channel();
        let waiting = Waiting {
            key,
            holder,
            deadline,
            outcome,
        };
        if self.queue.try_send(waiting).is_err() {
            return Err(Fault::Failed(Cause::local(
                "too many replay marks wait for replicas",
            )));
        }
        match timeout(left, confirmed).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(Fault::Failed(Cause::new(format!(
                "fewer than {} replicas confirm replay marks in time (REPLAY_MIN_REPLICAS)",
                self.min_replicas
            )))),
        }
    }
}

/// What is written, and who must have it.
struct Server {
    min_replicas: u32,
    confirm: String,
}

struct Rounds {
    server: Server,
    /// Connections without a round; the one that rested longest is next.
    idle: VecDeque<Arc<Link>>,
    queue: mpsc::Receiver<Waiting>,
}

impl Rounds {
    async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.serve()).await;
    }

    async fn serve(&mut self) {
        let Self { server, idle, queue } = self;
        let mut rounds = FuturesUnordered::new();
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                received = queue.recv_many(&mut waiting, BATCH), if !idle.is_empty() => {
                    if received == 0 {
                        return;
                    }
                }
                Some((link, unconfirmed)) = rounds.next() => {
                    idle.push_back(link);
                    waiting.extend(unconfirmed);
                    while waiting.len() < BATCH && let Ok(next) = queue.try_recv() {
                        waiting.push(next);
                    }
                }
            }
            // Who gave up needs no round.
            waiting.retain(|mark| !mark.outcome.is_closed());
            if !waiting.is_empty()
                && let Some(link) = idle.pop_front()
            {
                rounds.push(round(link, server, std::mem::take(&mut waiting)));
            }
        }
    }
}

/// One round. Returns the connection, and the marks that too few replicas have so far.
async fn round(link: Arc<Link>, server: &Server, marks: Vec<Waiting>) -> (Arc<Link>, Vec<Waiting>) {
    let asked = match ask(&link, server, &marks).await {
        // An idle connection may have been closed.
        Err(Fault::Lost(_)) => ask(&link, server, &marks).await,
        other => other,
    };
    let unconfirmed = match asked {
        Ok((true, holders)) => {
            for (mark, holder) in marks.into_iter().zip(holders) {
                let held = holder.and_then(|holder| match &mark.holder {
                    Some(expected) if holder.as_ref() != Some(expected) => {
                        Err(Fault::Failed(Cause::new("the mark is gone from the primary")))
                    }
                    Some(_) | None => Ok(()),
                });
                answer(mark, held);
            }
            Vec::new()
        }
        Ok((false, _)) => marks,
        Err(fault) => {
            for mark in marks {
                answer(mark, Err(fault.clone()));
            }
            Vec::new()
        }
    };
    (link, unconfirmed)
}

/// Who holds a mark at the primary, or why that is not known: in a cluster its slot may be on its way elsewhere.
type Holder = Result<Option<String>, Fault>;

/// Whether enough replicas confirmed, and who holds each mark.
async fn ask(link: &Link, server: &Server, marks: &[Waiting]) -> Result<(bool, Vec<Holder>), Fault> {
    let latest = marks.iter().map(|mark| mark.deadline).max().unwrap_or_default();
    let wait = link.left(latest).min(LONGEST_WAIT);
    let mut commands = Pipeline::with_capacity(marks.len() + 2);
    commands.ignore_errors();
    for mark in marks {
        commands.cmd("GET").arg(&mark.key);
    }
    // Who still has time after it gets another round.
    write_and_wait(&mut commands, &server.confirm, server.min_replicas, wait);
    let deadline = link.deadline(wait + WAIT_SLACK);
    let (answers, generation) = link.ask::<Vec<RedisResult<Value>>>(&commands, deadline).await?;
    let mut answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map_err(|error| link.fault(generation, &error)))
        .collect();
    let replicas = answers.pop().transpose()?;
    let _written = answers.pop().transpose()?;
    let confirmed = confirmed(replicas.as_ref(), server.min_replicas);
    let holders = answers.into_iter().map(|holder| {
        holder.map(|holder| match holder {
            Value::BulkString(holder) => String::from_utf8(holder).ok(),
            _ => None,
        })
    });
    Ok((confirmed, holders.collect()))
}

fn answer(mark: Waiting, outcome: Result<(), Fault>) {
    // Nobody waits any more: the request was refused meanwhile.
    let _ = mark.outcome.send(outcome);
}
