//! The key store as a component.

use std::sync::Arc;

use admission::ports::Clock;

use super::{KeyStats, KeyStore};
use crate::component::{Component, Samples, Stage};
use crate::samples;
use crate::sts::StsClient;

impl KeyStore {
    /// The store, with its refresher.
    pub fn component(sts: StsClient, clock: Arc<dyn Clock>) -> Component<Self> {
        let (keys, refresher) = Self::new(sts, clock);
        let measured = keys.clone();
        Component::new(keys)
            .figures(move |out| measured.stats().samples(out))
            .task("signing keys", Stage::Background, |stop| refresher.run(stop))
    }
}

impl KeyStats {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self {
            zones,
            fetched,
            failed,
            local_faults,
            served_stale,
            unknown,
            unavailable,
        } = *self;
        out.section("STS");
        samples! { out,
            gauge "caracal_gateway_jwks_zones", "Zones whose signing keys are in memory", zones as u64;
            counter "caracal_gateway_jwks_fetches_total", "Key sets fetched from the STS", fetched;
            counter "caracal_gateway_jwks_fetch_errors_total", "Key sets that could not be fetched or were not usable; the keys at hand stay in use for up to an hour", failed;
            counter "caracal_gateway_jwks_local_faults_total", "Key sets that this process could not fetch for want of file descriptors, memory or local ports", local_faults;
            counter "caracal_gateway_jwks_served_stale_total", "Signatures checked with keys that are past their time, because the STS did not give newer ones", served_stale;
            counter "caracal_gateway_jwks_unknown_total", "Requests whose zone has no key of the name that the token gives", unknown;
            counter "caracal_gateway_jwks_unavailable_total", "Requests whose signature could not be checked because there were no keys", unavailable;
        }
    }
}
