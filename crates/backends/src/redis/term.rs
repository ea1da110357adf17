//! For how long a server is the primary.

use std::sync::Arc;

use tokio::sync::watch;

use super::primary::{Primary, Verdict};
use super::topology::Topology;

/// The time during which one server is the primary.
#[derive(Clone, Debug)]
pub(super) struct Term {
    primary: Primary,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    /// What the sentinels monitor.
    Service(watch::Receiver<Verdict>),
    /// A slot of a cluster.
    Slot {
        slot: u16,
        topology: watch::Receiver<Arc<Topology>>,
        doubts: watch::Sender<()>,
    },
}

impl Term {
    /// The term of a primary that the sentinels name.
    pub(super) fn named(primary: Primary, verdict: watch::Receiver<Verdict>) -> Self {
        let of = Of::Service(verdict);
        Self { primary, of }
    }

    /// The term of a primary that serves this slot. `doubts` have the cluster asked.
    pub(super) fn serving(
        primary: Primary,
        slot: u16,
        topology: watch::Receiver<Arc<Topology>>,
        doubts: watch::Sender<()>,
    ) -> Self {
        let of = Of::Slot {
            slot,
            topology,
            doubts,
        };
        Self { primary, of }
    }

    /// Completes when another server is named, or the same one after another failover.
    pub(super) async fn over(&self) {
        let over = match &self.of {
            Of::Service(verdict) => {
                let mut verdict = verdict.clone();
                let other = |verdict: &Verdict| verdict.primary.as_ref() != Some(&self.primary);
                verdict.wait_for(other).await.is_ok()
            }
            Of::Slot { slot, topology, .. } => {
                let mut topology = topology.clone();
                let other = |topology: &Arc<Topology>| {
                    topology
                        .shard_of(*slot)
                        .is_none_or(|shard| *shard.primary() != self.primary)
                };
                topology.wait_for(other).await.is_ok()
            }
        };
        if !over {
            // Nobody follows the servers any more: the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// What the server answered casts doubt on whether it is still the primary.
    pub(super) fn doubt(&self) {
        match &self.of {
            // They tell by themselves.
            Of::Service(_) => {}
            Of::Slot { doubts, .. } => doubts.send_replace(()),
        }
    }
}
