//! The shards of a cluster, each with marks, connections and an epoch of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{BoxFuture, Cause, Clock};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::RedisReplay;
use super::confirm::Confirmations;
use super::epoch::{Epoch, FirstUse, Slots, Store};
use super::keys::{Keys, anchor};
use super::shard::Shard;
use crate::component::Component;
use crate::redis::{RedisConnector, SLOTS, Topology, slot_of};

/// How many ranges of slots a shard may serve: they are in its epoch, which is read with every mark.
const MAX_RANGES: usize = 256;

/// The shards of a cluster.
pub(super) struct Cluster {
    redis: RedisConnector,
    topology: watch::Receiver<Arc<Topology>>,
    timeout: Duration,
    min_replicas: u32,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    known: Mutex<Known>,
}

/// What follows from what the cluster was last heard to say.
#[derive(Default)]
struct Known {
    topology: Arc<Topology>,
    /// By the slot of their keys.
    shards: BTreeMap<u16, Running>,
    /// Of the shards that were there at start.
    first_use: Option<Arc<FirstUse>>,
    /// Why some slots take no marks; nothing where all do.
    unserved: String,
}

struct Running {
    shard: Arc<Shard>,
    stop: CancellationToken,
    slots: Slots,
}

/// What runs for one shard.
type Run = BoxFuture<'static, ()>;

impl Cluster {
    pub(super) fn new(
        redis: RedisConnector,
        topology: watch::Receiver<Arc<Topology>>,
        (timeout, min_replicas): (Duration, u32),
        clock: Arc<dyn Clock>,
        store: Arc<Store>,
    ) -> Self {
        Self {
            redis,
            topology,
            timeout,
            min_replicas,
            clock,
            store,
            known: Mutex::default(),
        }
    }

    /// Who has the mark with this key, and its slot.
    pub(super) fn of(&self, key: &str) -> Result<(Arc<Shard>, Option<u16>), Cause> {
        let slot = slot_of(key.as_bytes());
        let known = self.known.lock();
        let served = known.topology.shard_of(slot).map(|shard| shard.slots());
        let running = served
            .and_then(anchor)
            .and_then(|anchor| known.shards.get(&anchor));
        match running {
            Some(running) => Ok((Arc::clone(&running.shard), Some(slot))),
            None => Err(Cause::new(format!(
                "redis: no shard of the cluster takes marks in slot {slot}"
            ))),
        }
    }

    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        let known = self.known.lock();
        known
            .shards
            .values()
            .map(|running| Arc::clone(&running.shard))
            .collect()
    }

    /// Why marks cannot be made at a shard; none where they can at all of them. Of slots that take none the log tells:
    /// whoever asks another gateway would hear the same.
    pub(super) fn fault(&self) -> Option<Cause> {
        let known = self.known.lock();
        if known.shards.is_empty() {
            return Some(Cause::new("redis: no shard of the cluster is known yet"));
        }
        known.shards.values().find_map(|running| running.shard.fault())
    }

    /// Follows the cluster, and runs what its shards need, until shutdown.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut topology = self.topology.clone();
        let mut running: FuturesUnordered<Run> = FuturesUnordered::new();
        while !shutdown.is_cancelled() {
            let now = Arc::clone(&topology.borrow_and_update());
            running.extend(self.adopt(now, &shutdown));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = next(&mut topology) => {}
                () = ended(&mut running) => {}
            }
        }
        while running.next().await.is_some() {}
    }

    /// Draws the conclusions from what the cluster says. Returns what must run from now on.
    fn adopt(&self, topology: Arc<Topology>, shutdown: &CancellationToken) -> Vec<Run> {
        let mut known = self.known.lock();
        if known.topology == topology {
            return Vec::new();
        }
        let wanted = wanted(&topology);
        // What nobody serves at the moment is the same shard's again, or comes to another one.
        known.shards.retain(|anchor, running| {
            let keep = wanted.contains_key(anchor) || topology.shard_of(*anchor).is_none();
            if !keep {
                running.stop.cancel();
            } else if !wanted.contains_key(anchor) {
                running.serve(Slots::default());
            }
            keep
        });
        let first_use = match &known.first_use {
            None => Some(Arc::new(FirstUse::of(wanted.keys().copied().collect()))),
            Some(begun) => {
                if !wanted.keys().eq(known.shards.keys()) {
                    begun.is_over();
                }
                None
            }
        };
        self.store
            .file
            .keep(wanted.keys().chain(known.shards.keys()).copied().collect());
        let mut runs = Vec::new();
        for (anchor, slots) in wanted {
            if let Some(running) = known.shards.get_mut(&anchor) {
                running.serve(slots);
                continue;
            }
            let stop = shutdown.child_token();
            let (shard, run) = self.begin(anchor, slots.clone(), first_use.clone(), &stop);
            runs.push(run);
            known.shards.insert(anchor, Running { shard, stop, slots });
        }
        known.first_use = known.first_use.take().or(first_use);
        let unserved = unserved(&topology).unwrap_or_default();
        if known.unserved != unserved && !unserved.is_empty() {
            tracing::error!("redis: some slots of the cluster take no replay marks: {unserved}");
        }
        known.unserved = unserved;
        known.topology = topology;
        runs
    }

    /// A shard, and what runs for it until it is stopped.
    fn begin(
        &self,
        anchor: u16,
        slots: Slots,
        first_use: Option<Arc<FirstUse>>,
        stop: &CancellationToken,
    ) -> (Arc<Shard>, Run) {
        let (redis, keys) = (self.redis.for_slot(anchor), Keys::in_slot(anchor));
        let mut component = Component::new(());
        let confirmations = (self.min_replicas > 0).then(|| {
            component.add(Confirmations::of_server(
                &redis,
                &keys,
                self.min_replicas,
                &self.clock,
            ))
        });
        let link = component.add(RedisReplay::link(redis, self.timeout, Arc::clone(&self.clock)).component());
        let epoch = Epoch::new(Arc::clone(&link), Arc::clone(&self.store), &keys);
        let epoch = epoch.of_shard(anchor, slots, first_use);
        let shard = Arc::new(Shard::new(link, epoch, confirmations, keys, self.timeout));
        let (watched, stop) = (Arc::clone(&shard), stop.clone());
        let run = async move {
            let tasks = component.tasks.into_iter().map(|task| (task.run)(stop.clone()));
            tokio::join!(join_all(tasks), watched.watch(stop.clone()));
        };
        (shard, Box::pin(run))
    }
}

impl Running {
    fn serve(&mut self, slots: Slots) {
        if self.slots != slots {
            self.slots = slots.clone();
            self.shard.serve(slots);
        }
    }
}

/// The shards that can take marks, by the slot of their keys.
fn wanted(topology: &Topology) -> BTreeMap<u16, Slots> {
    let shards = topology
        .shards()
        .iter()
        .filter(|shard| shard.slots().len() <= MAX_RANGES);
    let shards = shards.filter_map(|shard| {
        let anchor = anchor(shard.slots())?;
        Some((anchor, Slots::of(shard.slots().iter().cloned())))
    });
    shards.collect()
}

/// Why some slots take no marks.
fn unserved(topology: &Topology) -> Option<String> {
    let mut scattered = topology
        .shards()
        .iter()
        .filter(|shard| shard.slots().len() > MAX_RANGES);
    if let Some((host, port)) = scattered.next().map(|shard| shard.address()) {
        return Some(format!(
            "{host}:{port} serves more than {MAX_RANGES} ranges of slots, so single-use mandates are refused there"
        ));
    }
    let unserved = (0..SLOTS).find(|slot| topology.shard_of(*slot).is_none());
    unserved.map(|slot| format!("nobody serves slot {slot}, so single-use mandates are refused there"))
}

async fn next(topology: &mut watch::Receiver<Arc<Topology>>) {
    if topology.changed().await.is_err() {
        // Nobody follows the cluster any more: the process ends.
        std::future::pending::<()>().await;
    }
}

/// Waits until something that ran has ended; for ever where nothing runs.
async fn ended(running: &mut FuturesUnordered<Run>) {
    if running.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}
