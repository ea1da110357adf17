//! Marks that are given back.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use admission::ports::Mark;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::shard::Shard;
use super::{MAX_RELEASES, Servers, key};
use crate::pause::Backoff;
use crate::redis::Fault;

/// Deletes the mark if it holds this holder. Answers 0: no mark, 1: deleted, 2: another holder's.
const DELETE_OWN: &str = "local holder = redis.call('GET', KEYS[1])\n\
    if not holder then return 0 end\n\
    if holder == ARGV[1] then return redis.call('DEL', KEYS[1]) end\n\
    return 2";

/// How many go in one round trip, how often one is tried, and how long one try takes.
const BATCH: usize = 64;
const MAX_TRIES: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Gives released marks back in the background.
pub struct Releases {
    servers: Servers,
    queue: mpsc::Receiver<Mark>,
}

impl Releases {
    pub(super) fn new(servers: Servers, queue: mpsc::Receiver<Mark>) -> Self {
        Self { servers, queue }
    }

    /// Runs until shutdown, or until the marks are dropped and the queue is empty. At shutdown what waits is tried once
    /// more. Each server has what waits for it to itself: one that does not answer holds up no other.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut waiting = Waiting::default();
        let mut busy = FuturesUnordered::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        let drain = async {
            while open || !busy.is_empty() {
                tokio::select! {
                    taken = self.queue.recv_many(&mut batch, BATCH), if open => {
                        open = taken > 0;
                        waiting.add(&self.servers, batch.drain(..));
                    }
                    Some(server) = busy.next() => waiting.is_free(&server),
                }
                busy.extend(waiting.start().map(|(server, marks)| release(server, marks)));
            }
        };
        shutdown.run_until_cancelled(drain).await;
        while let Ok(mark) = self.queue.try_recv() {
            waiting.add(&self.servers, [mark]);
        }
        let last = waiting.0.iter().map(|(server, queue)| async move {
            for some in queue.marks.chunks(BATCH) {
                if delete(server, some).await.contains(&None) {
                    return;
                }
            }
        });
        join_all(last).await;
    }
}

/// What waits for each server.
#[derive(Default)]
struct Waiting(Vec<(Arc<Shard>, Queue)>);

#[derive(Default)]
struct Queue {
    marks: Vec<Mark>,
    /// How many of them, the first ones, are under way. At shutdown they are tried again.
    busy: usize,
}

impl Waiting {
    fn add(&mut self, servers: &Servers, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            let Ok((server, _)) = servers.of(&key(&mark)) else {
                tracing::debug!("nobody serves a replay mark that is released: it stays until it expires");
                continue;
            };
            let known = self.0.iter().position(|(other, _)| Arc::ptr_eq(other, &server));
            let place = known.unwrap_or_else(|| {
                self.0.push((server, Queue::default()));
                self.0.len() - 1
            });
            let queue = &mut self.0[place].1;
            if queue.marks.len() < MAX_RELEASES {
                queue.marks.push(mark);
            } else {
                tracing::warn!("too many replay marks wait for release: one stays until it expires");
            }
        }
    }

    /// What can begin now: one batch for each server that has none under way.
    fn start(&mut self) -> impl Iterator<Item = (Arc<Shard>, Vec<Mark>)> {
        let idle = |(_, queue): &&mut (Arc<Shard>, Queue)| queue.busy == 0 && !queue.marks.is_empty();
        self.0.iter_mut().filter(idle).map(|(server, queue)| {
            queue.busy = queue.marks.len().min(BATCH);
            (
                Arc::clone(server),
                queue.marks.iter().take(queue.busy).cloned().collect(),
            )
        })
    }

    /// What was under way at this server is done with.
    fn is_free(&mut self, server: &Arc<Shard>) {
        self.0.retain_mut(|(other, queue)| {
            if Arc::ptr_eq(other, server) {
                queue.marks.drain(..std::mem::take(&mut queue.busy));
            }
            !queue.marks.is_empty()
        });
    }
}

/// Tries until every mark is gone or has another holder. No mark at all may mean that a `SET` whose answer was lost has
/// not arrived yet, so that is asked again too. Returns the server.
async fn release(server: Arc<Shard>, mut marks: Vec<Mark>) -> Arc<Shard> {
    let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    for _ in 0..MAX_TRIES {
        let mut answers = delete(&server, &marks).await.into_iter();
        marks.retain(|_| !matches!(answers.next(), Some(Some(1 | 2))));
        if marks.is_empty() {
            break;
        }
        sleep(pauses.pause()).await;
    }
    server
}

/// What became of each; none where nobody says.
async fn delete(server: &Shard, marks: &[Mark]) -> Vec<Option<i64>> {
    let deleted = delete_at(server, marks).await;
    deleted.unwrap_or_else(|fault| {
        tracing::debug!(cause = %fault.into_cause(), "replay marks are not released yet");
        vec![None; marks.len()]
    })
}

async fn delete_at(server: &Shard, marks: &[Mark]) -> Result<Vec<Option<i64>>, Fault> {
    let mut commands = ::redis::Pipeline::with_capacity(BATCH);
    commands.ignore_errors();
    for mark in marks {
        let script = commands.cmd("EVAL").arg(DELETE_OWN).arg(1);
        script.arg(key(mark)).arg(&mark.holder);
    }
    let deadline = server.link.deadline(TIMEOUT);
    let (answers, link) = server
        .link
        .ask::<Vec<RedisResult<i64>>>(&commands, deadline)
        .await?;
    let answers = answers.into_iter();
    Ok(answers
        .map(|answer| answer.map_err(|error| server.link.fault(link, &error)).ok())
        .collect())
}
