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

use ::redis::{Pipeline, Value};
use admission::ports::{Cause, Clock, Mark};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::key;
use super::watch::PROBE_KEY;
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
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let mut component = Component::new(Arc::new(Self { min_replicas, queue }));
        let links = ROUNDS.map(|name| {
            let link = Link::for_waits(name, redis.clone(), Arc::clone(clock));
            component.add(link.component())
        });
        let rounds = Rounds {
            min_replicas,
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
        self.wait(PROBE_KEY.to_owned(), None, deadline, left).await
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

struct Rounds {
    min_replicas: u32,
    /// Connections without a round; the one that rested longest is next.
    idle: VecDeque<Arc<Link>>,
    queue: mpsc::Receiver<Waiting>,
}

impl Rounds {
    async fn run(mut self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.serve()).await;
    }

    async fn serve(&mut self) {
        let mut rounds = FuturesUnordered::new();
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                received = self.queue.recv_many(&mut waiting, BATCH), if !self.idle.is_empty() => {
                    if received == 0 {
                        return;
                    }
                }
                Some((link, unconfirmed)) = rounds.next() => {
                    self.idle.push_back(link);
                    waiting.extend(unconfirmed);
                    while waiting.len() < BATCH && let Ok(next) = self.queue.try_recv() {
                        waiting.push(next);
                    }
                }
            }
            // Who gave up needs no round.
            waiting.retain(|mark| !mark.outcome.is_closed());
            if !waiting.is_empty()
                && let Some(link) = self.idle.pop_front()
            {
                rounds.push(round(link, self.min_replicas, std::mem::take(&mut waiting)));
            }
        }
    }
}

/// One round. Returns the connection, and the marks that too few replicas have so far.
async fn round(link: Arc<Link>, min_replicas: u32, marks: Vec<Waiting>) -> (Arc<Link>, Vec<Waiting>) {
    let asked = match ask(&link, min_replicas, &marks).await {
        // An idle connection may have been closed.
        Err(Fault::Lost(_)) => ask(&link, min_replicas, &marks).await,
        other => other,
    };
    let unconfirmed = match asked {
        Ok((true, holders)) => {
            for (mark, holder) in marks.into_iter().zip(holders) {
                let held = holder == mark.holder;
                let gone = || Fault::Failed(Cause::new("the mark is gone from the primary"));
                answer(mark, if held { Ok(()) } else { Err(gone()) });
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

/// Whether enough replicas confirmed, and who holds each mark at the primary.
async fn ask(
    link: &Link,
    min_replicas: u32,
    marks: &[Waiting],
) -> Result<(bool, Vec<Option<String>>), Fault> {
    let latest = marks.iter().map(|mark| mark.deadline).max().unwrap_or_default();
    let wait = link.left(latest).min(LONGEST_WAIT);
    let mut commands = Pipeline::with_capacity(marks.len() + 2);
    for mark in marks {
        commands.cmd("GET").arg(&mark.key);
    }
    // Who still has time after it gets another round.
    write_and_wait(&mut commands, "marks", min_replicas, wait);
    let deadline = link.deadline(wait + WAIT_SLACK);
    let (mut answers, _) = link.ask::<Vec<Value>>(&commands, deadline).await?;
    let confirmed = confirmed(answers.pop().as_ref(), min_replicas);
    let holders = answers.into_iter().map(|holder| match holder {
        Value::BulkString(holder) => String::from_utf8(holder).ok(),
        _ => None,
    });
    Ok((confirmed, holders.collect()))
}

fn answer(mark: Waiting, outcome: Result<(), Fault>) {
    // Nobody waits any more: the request was refused meanwhile.
    let _ = mark.outcome.send(outcome);
}
