//! Gateways with their replay marks in a cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Mark;
use backends::component::Component;
use backends::redis::{RedisConnector, slot_of};
use backends::replay::{RedisReplay, ReplayConfig};
use testkit::clock::FixedClock;
use testkit::redis::Cluster;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use super::store::issued;
use super::{Background, cluster_config};
use crate::contract::replay::set;

/// Where an answer is expected, on a busy machine too, and where none is.
pub(crate) const UNHURRIED: Duration = Duration::from_secs(15);
pub(crate) const HASTY: Duration = Duration::from_millis(500);
/// The margin of a birth, and a second more.
pub(crate) const PAST_THE_MARGIN: Duration = Duration::from_secs(3);

static HOLDERS: AtomicU64 = AtomicU64::new(0);

/// One gateway's marks.
pub(crate) struct Gateway {
    pub(crate) marks: Arc<RedisReplay>,
    clock: FixedClock,
    _background: Background,
}

impl Gateway {
    pub(crate) fn start(cluster: &Cluster, clock: &FixedClock) -> Self {
        Self::with(cluster, clock, UNHURRIED, 0, None)
    }

    pub(crate) fn with(
        cluster: &Cluster,
        clock: &FixedClock,
        timeout: Duration,
        min_replicas: u32,
        memory: Option<PathBuf>,
    ) -> Self {
        let mut component = Component::new(());
        let redis = component.add(RedisConnector::component(&cluster_config(cluster, &[0])).unwrap());
        let replay = ReplayConfig {
            timeout,
            memory,
            min_replicas,
        };
        let marks = component.add(RedisReplay::component(redis, replay, Arc::new(clock.clone())));
        let mut background = Background::default();
        for task in component.tasks {
            background.run((task.run)(CancellationToken::new()));
        }
        Self {
            marks,
            clock: clock.clone(),
            _background: background,
        }
    }

    /// Two that begin together, once both can make marks.
    pub(crate) async fn two(cluster: &Cluster, clock: &FixedClock) -> [Self; 2] {
        let both = [Self::start(cluster, clock), Self::start(cluster, clock)];
        for gateway in &both {
            gateway.well().await;
        }
        both
    }

    pub(crate) async fn well(&self) {
        until("marks to be possible", async || {
            self.marks.fault().is_none().then_some(())
        })
        .await;
    }

    /// How one presentation of a mandate ends. Each has a holder of its own, as exchanges do: who has sent a mark before,
    /// and finds it, has it.
    pub(crate) async fn set(&self, mark: &Mark) -> &'static str {
        let holder = HOLDERS.fetch_add(1, Ordering::Relaxed).to_string();
        let mark = Mark {
            holder,
            ..mark.clone()
        };
        set(&*self.marks, &mark).await
    }

    /// How a mandate ends that was issued at this second, once the store answers.
    pub(crate) async fn outcome(&self, jti: &str, issued_at: u64) -> &'static str {
        until("the store to answer", async || {
            let outcome = self.set(&issued(jti, issued_at)).await;
            (outcome != "unavailable").then_some(outcome)
        })
        .await
    }

    /// Presents mandates of this slot that are issued now, seconds apart, until one passes. Its id.
    pub(crate) async fn next_that_passes(&self, name: &str, slot: u16) -> String {
        let mut number = 0;
        until("a mandate to pass", async || {
            number += 1;
            self.clock.advance(Duration::from_secs(5));
            let jti = in_slot(&format!("{name}-{number}"), slot);
            let now = self.clock.unix_seconds();
            (self.set(&issued(&jti, now)).await == "set").then_some(jti)
        })
        .await
    }
}

/// The id of a mandate whose mark lies in this slot.
pub(crate) fn in_slot(name: &str, slot: u16) -> String {
    let mut tags = (0..u32::MAX).map(|tag| tag.to_string());
    let tag = tags.find(|tag| slot_of(tag.as_bytes()) == slot).unwrap();
    format!("{name}{{{tag}}}")
}

/// A slot of the shard that this node serves at the beginning, which holds no other keys.
pub(crate) fn slot(cluster: &Cluster, node: usize) -> u16 {
    cluster.share(node).start() + 77
}

pub(crate) async fn flush(cluster: &Cluster, node: usize) {
    let () = cluster.ask(node, &["FLUSHALL"]).await;
}
