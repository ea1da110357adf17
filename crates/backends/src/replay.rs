//! Replay marks on Redis (gate 14).
//!
//! A mark is `SET seen:jti:<jti> <holder> NX PX <life>`, one round trip, shared by every replica. In
//! the same round trip the memory of the store is checked (see the `epoch` module): a store that forgot its
//! marks cannot vouch for mandates from before that. `docs/replay.md` has the whole design.

mod cluster;
mod component;
mod confirm;
mod epoch;
mod keys;
mod release;
mod shard;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::{BoxFuture, Cause, Clock, Mark, MarkRefusal, ReplayMarks};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::redis::Link;
use cluster::Cluster;
pub use component::ReplayStats;
pub use confirm::Confirmations;
pub use epoch::Loss;
use epoch::{Epoch, Store};
use keys::Keys;
pub use release::Releases;
use shard::Shard;

/// How many releases may wait. Above it a mark simply stays until it expires.
const MAX_RELEASES: usize = 4096;

/// How the replay marks are kept.
#[derive(Clone)]
pub struct ReplayConfig {
    /// `REPLAY_TIMEOUT`: the longest a request waits for its mark.
    pub timeout: Duration,
    /// A file, beside the spool, that remembers which memory of the store was last seen. Without one,
    /// a loss while every gateway was down goes unnoticed.
    pub memory: Option<PathBuf>,
    /// `REPLAY_MIN_REPLICAS`: how many replicas must confirm a mark before it counts.
    pub min_replicas: u32,
}

/// The replay marks on Redis.
pub struct RedisReplay {
    servers: Servers,
    store: Arc<Store>,
    releases: mpsc::Sender<Mark>,
    errors: AtomicU64,
}

/// Who has the marks.
#[derive(Clone)]
enum Servers {
    One(Arc<Shard>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Who has the mark with this key, and in a cluster its slot.
    fn of(&self, key: &str) -> Result<(Arc<Shard>, Option<u16>), Cause> {
        match self {
            Self::One(server) => Ok((Arc::clone(server), None)),
            Self::Cluster(cluster) => cluster.of(key),
        }
    }

    fn all(&self) -> Vec<Arc<Shard>> {
        match self {
            Self::One(server) => vec![Arc::clone(server)],
            Self::Cluster(cluster) => cluster.shards(),
        }
    }
}

impl RedisReplay {
    /// The marks on the only server, and the future that gives released ones back. [`watch`](Self::watch) must run beside
    /// it.
    #[must_use]
    pub fn new(
        link: Arc<Link>,
        confirmations: Option<Arc<Confirmations>>,
        config: ReplayConfig,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Releases) {
        let (store, keys) = (Store::new(clock, config.memory), Keys::single());
        let epoch = Epoch::new(Arc::clone(&link), Arc::clone(&store), &keys);
        let server = Shard::new(link, epoch, confirmations, keys, config.timeout);
        Self::on(Servers::One(Arc::new(server)), store)
    }

    fn on(servers: Servers, store: Arc<Store>) -> (Arc<Self>, Releases) {
        let (releases, receiver) = mpsc::channel(MAX_RELEASES);
        let marks = Self {
            servers: servers.clone(),
            store,
            releases,
            errors: AtomicU64::new(0),
        };
        (Arc::new(marks), Releases::new(servers, receiver))
    }

    /// Looks at the store on every new connection, every second, and when a mark fails, until shutdown. In a cluster it
    /// also makes the connections to the shards.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        match &self.servers {
            Servers::One(server) => server.watch(shutdown).await,
            Servers::Cluster(cluster) => Arc::clone(cluster).run(shutdown).await,
        }
    }

    /// The last loss of the store's memory that is known, for metrics and the log.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        let losses = self.servers.all().into_iter().filter_map(|server| server.loss());
        losses.max_by_key(|loss| loss.unix_seconds())
    }

    /// Why marks cannot be made, as far as the last look at the store or the last mark shows; none when they can.
    #[must_use]
    pub fn fault(&self) -> Option<Cause> {
        match &self.servers {
            Servers::One(server) => server.fault(),
            Servers::Cluster(cluster) => cluster.fault(),
        }
    }

    async fn mark(&self, mark: &Mark) -> Result<(), MarkRefusal> {
        let key = key(mark);
        let (server, slot) = self.servers.of(&key).map_err(MarkRefusal::Unavailable)?;
        let marked = server.mark(mark, &key, slot).await;
        if let Err(MarkRefusal::Unavailable(_)) = &marked {
            server.doubt();
        }
        marked
    }
}

fn key(mark: &Mark) -> String {
    format!("seen:jti:{}", mark.jti)
}

impl ReplayMarks for RedisReplay {
    fn set<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), MarkRefusal>> {
        Box::pin(async move {
            let marked = self.mark(mark).await;
            if let Err(MarkRefusal::Unavailable(cause)) = &marked
                && !cause.is_local()
            {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
            marked
        })
    }

    fn release(&self, mark: Mark) {
        if self.releases.try_send(mark).is_err() {
            tracing::warn!("too many replay marks wait for release: one stays until it expires");
        }
    }
}
