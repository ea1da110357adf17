//! The one maker of fetches: on demand, and ahead of time.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::Cause;
use admission::token::jwks;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded::byte_serialize;

use super::Inner;
use super::zone::{Keys, Zone};
use crate::sts::StsClient;

/// How many fetches are made at the same time.
const MAX_FETCHES: usize = 32;
/// How often it is checked which keys are to be fetched ahead of time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Fetches keys for a [`super::KeyStore`].
pub struct Refresher {
    store: Arc<Inner>,
    sts: StsClient,
    queue: mpsc::Receiver<Arc<Zone>>,
}

impl Refresher {
    pub(super) fn new(store: Arc<Inner>, sts: StsClient, queue: mpsc::Receiver<Arc<Zone>>) -> Self {
        Self { store, sts, queue }
    }

    /// Runs until shutdown. Fetches under way are then given up.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut fetches = FuturesUnordered::new();
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = fetches.next() => {}
                Some(zone) = self.queue.recv(), if fetches.len() < MAX_FETCHES => {
                    fetches.push(fetch(&self.store, &self.sts, zone));
                }
                _ = check.tick() => self.store.queue_due(),
            }
        }
    }
}

async fn fetch(store: &Inner, sts: &StsClient, zone: Arc<Zone>) {
    zone.begin();
    let outcome = get(sts, zone.name()).await;
    match &outcome {
        Ok(_) => store.counts.lock().fetched += 1,
        Err(cause) => {
            let mut counts = store.counts.lock();
            match cause.is_local() {
                true => counts.local_faults += 1,
                false => counts.failed += 1,
            }
            drop(counts);
            tracing::warn!(zone = &**zone.name(), %cause, "signing keys could not be fetched");
        }
    }
    if zone.finish(outcome, store.clock.now().monotonic) {
        store.queue(&zone);
    }
}

async fn get(sts: &StsClient, zone: &str) -> Result<Keys, Cause> {
    let zone: String = byte_serialize(zone.as_bytes()).collect();
    let target = format!("/.well-known/jwks.json?zone_id={zone}");
    let answer = sts.get("signing keys", &target).await?;
    // An STS without its database answers 404, so that means nothing about the zone.
    if answer.status != 200 {
        return Err(Cause::new(format!("signing keys: status {}", answer.status)));
    }
    jwks::parse(&answer.body).map_err(|error| Cause::new(error.to_string()))
}

impl Inner {
    /// Queues the zones whose keys are to be fetched ahead of time.
    fn queue_due(&self) {
        let now = self.clock.now().monotonic;
        for zone in self.zones.load().values() {
            if zone.is_due(now) {
                self.queue(zone);
            }
        }
    }
}
