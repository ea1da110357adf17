//! The replay marks as a component.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::ports::{Cause, Clock};

use super::cluster::Cluster;
use super::confirm::Confirmations;
use super::epoch::Store;
use super::{RedisReplay, ReplayConfig, Servers};
use crate::component::{Check, Component, Health, Samples, Stage};
use crate::redis::{Link, RedisConnector};
use crate::samples;

/// Without an answer for this long Redis counts as unreachable.
const CONTACT_MAX_AGE: Duration = Duration::from_secs(15);

/// What the marks count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayStats {
    /// Times that the store was found to have lost its memory.
    pub losses: u64,
    /// Marks that the store could not set or answer for in time.
    pub errors: u64,
}

impl RedisReplay {
    /// The marks, on connections of their own: a batch of events must not delay them.
    pub fn component(
        redis: RedisConnector,
        config: ReplayConfig,
        clock: Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let mut parts = Component::new(());
        let (marks, releases) = match redis.topology() {
            None => {
                let confirmations = (config.min_replicas > 0)
                    .then(|| parts.add(Confirmations::component(&redis, config.min_replicas, &clock)));
                let link = parts.add(Self::link(redis, config.timeout, Arc::clone(&clock)).component());
                Self::new(link, confirmations, config, clock)
            }
            Some(topology) => {
                let store = Store::new(Arc::clone(&clock), config.memory);
                let limits = (config.timeout, config.min_replicas);
                let cluster = Cluster::new(redis, topology, limits, clock, Arc::clone(&store));
                Self::on(Servers::Cluster(Arc::new(cluster)), store)
            }
        };
        let [measured, watched, watching] = [(); 3].map(|()| Arc::clone(&marks));
        let check = Check::known("redis", "redis_unreachable", move || watched.health());
        let mut component = Component::new(marks)
            .check(check.awaited_as("Redis (REDIS_URL)"))
            .figures(move |out| measured.stats().samples(out))
            .task("replay releases", Stage::Background, |stop| releases.run(stop))
            .task("replay watch", Stage::Foundation, |stop| watching.watch(stop));
        component.add(parts);
        component
    }

    /// A link for marks that must be made within this time.
    #[must_use]
    pub fn link(redis: RedisConnector, timeout: Duration, clock: Arc<dyn Clock>) -> Arc<Link> {
        Link::for_answers_within(timeout, "redis: replay marks", redis, clock)
    }

    /// How the store is. The connections come first: what else is wrong follows from theirs.
    fn health(&self) -> Health {
        let stand: Vec<_> = self.servers.all().iter().map(|server| server.status()).collect();
        let age = stand
            .iter()
            .map(|status| status.contact_age)
            .reduce(|one, other| Some(one?.max(other?)));
        let age = age.flatten();
        let down = stand.into_iter().find_map(|status| status.down);
        let silent = || {
            let fresh = age.is_some_and(|age| age <= CONTACT_MAX_AGE);
            (!fresh).then(|| Cause::new(format!("redis: no answer within {CONTACT_MAX_AGE:?}")))
        };
        Health {
            fault: down.or_else(|| self.fault()).or_else(silent),
            age,
        }
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> ReplayStats {
        ReplayStats {
            losses: self.store.losses.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}

impl ReplayStats {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self { losses, errors } = *self;
        out.section("Bindings, replay marks and PostgreSQL");
        samples! { out,
            counter "caracal_gateway_replay_store_losses_total", "Times the replay store was found to have lost its marks; older single-use mandates are refused since", losses;
            counter "caracal_gateway_replay_store_errors_total", "Replay marks that the store did not set or answer for in time", errors;
        }
    }
}
