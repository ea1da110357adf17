//! Marks that are given back.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use admission::ports::Mark;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::shard::Shard;
use super::{Servers, key};
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

    /// Runs until shutdown, or until the marks are dropped and the queue is empty. At shutdown what
    /// waits is tried once more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let drain = async {
            while self.queue.recv_many(&mut batch, BATCH).await > 0 {
                self.release(&mut batch).await;
            }
        };
        shutdown.run_until_cancelled(drain).await;
        while let Ok(mark) = self.queue.try_recv() {
            batch.push(mark);
        }
        for some in batch.chunks(BATCH) {
            if self.delete(some).await.contains(&None) {
                return;
            }
        }
    }

    /// Tries until every mark is gone or has another holder. No mark at all may mean that a `SET`
    /// whose answer was lost has not arrived yet, so that is asked again too. Leaves the batch empty.
    async fn release(&self, batch: &mut Vec<Mark>) {
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for _ in 0..MAX_TRIES {
            let mut answers = self.delete(batch).await.into_iter();
            batch.retain(|_| !matches!(answers.next(), Some(Some(1 | 2))));
            if batch.is_empty() {
                return;
            }
            sleep(pauses.pause()).await;
        }
        batch.clear();
    }

    /// What became of each; none where nobody says.
    async fn delete(&self, batch: &[Mark]) -> Vec<Option<i64>> {
        let mut outcomes = vec![None; batch.len()];
        let mut groups: Vec<(Arc<Shard>, Vec<usize>)> = Vec::new();
        for (place, mark) in batch.iter().enumerate() {
            let Ok((server, _)) = self.servers.of(&key(mark)) else {
                continue;
            };
            match groups.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &server)) {
                Some((_, places)) => places.push(place),
                None => groups.push((server, vec![place])),
            }
        }
        let deleted = groups.iter().map(|(server, places)| {
            let marks = places.iter().filter_map(|place| batch.get(*place));
            delete_at(server, marks)
        });
        for ((_, places), answers) in groups.iter().zip(join_all(deleted).await) {
            match answers {
                Ok(answers) => {
                    for (place, answer) in places.iter().zip(answers) {
                        outcomes[*place] = answer;
                    }
                }
                Err(fault) => {
                    tracing::debug!(cause = %fault.into_cause(), "replay marks are not released yet");
                }
            }
        }
        outcomes
    }
}

async fn delete_at(server: &Shard, marks: impl Iterator<Item = &Mark>) -> Result<Vec<Option<i64>>, Fault> {
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
