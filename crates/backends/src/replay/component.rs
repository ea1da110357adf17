//! The replay marks as a component.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::ports::{Cause, Clock};

use super::{RedisReplay, ReplayConfig};
use crate::component::{Check, Component, Health, Samples, Stage};
use crate::redis::{Link, LinkStatus, RedisConnector};
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
    /// The marks, on a connection of their own: a batch of events must not delay them.
    pub fn component(
        redis: RedisConnector,
        config: ReplayConfig,
        clock: Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let link = RedisReplay::link(redis, &config, Arc::clone(&clock)).component();
        let asked = Arc::clone(&link.port);
        let (marks, releases) = Self::new(Arc::clone(&asked), config, clock);
        let [measured, watched, watching] = [(); 3].map(|()| Arc::clone(&marks));
        let check = Check::known("redis", "redis_unreachable", move || {
            let LinkStatus { down, contact_age } = asked.status();
            let silent = || {
                let fresh = contact_age.is_some_and(|age| age <= CONTACT_MAX_AGE);
                (!fresh).then(|| Cause::new(format!("redis: no answer within {CONTACT_MAX_AGE:?}")))
            };
            Health {
                fault: down.or_else(|| watched.fault()).or_else(silent),
                age: contact_age,
            }
        });
        let mut component = Component::new(marks)
            .check(check.awaited_as("Redis (REDIS_URL)"))
            .figures(move |out| measured.stats().samples(out))
            .task("replay releases", Stage::Background, |stop| releases.run(stop))
            .task("replay watch", Stage::Foundation, |stop| watching.watch(stop));
        component.add(link);
        component
    }

    /// A link for marks that are kept in this way.
    #[must_use]
    pub fn link(redis: RedisConnector, config: &ReplayConfig, clock: Arc<dyn Clock>) -> Arc<Link> {
        Link::for_answers_within(config.timeout, "redis: replay marks", redis, clock)
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> ReplayStats {
        ReplayStats {
            losses: self.epoch.losses(),
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
