//! The zones' verifying keys (RFC 7517), fetched from the STS and kept.
//!
//! Keys are fresh for five minutes and fetched again before that, in the background. While the
//! STS fails, or answers with anything but a key set, the old keys serve for up to an hour. A
//! `kid` that the fresh keys do not hold causes a fetch, under a budget per zone; who asks for
//! many unknown `kid`s makes the fetches that find a rotated key, but cannot make more of them.
//!
//! All fetches are made by the one [`Refresher`]; requests only wait for it, and only where the
//! kept keys do not answer. Nobody vouches yet for those that wait, so that nothing tells a good
//! one from a flood of bogus ones. Each connection has a place to wait that is its own, which no
//! flood can take; requests beyond it on one HTTP/2 connection share places that are bounded, and
//! are refused at once where there is none. Whoever shows a kept key neither waits nor takes a lock.

mod component;
mod refresher;
mod search;
mod unknown;
mod zone;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use admission::OwnPlace;
use admission::ports::{BoxFuture, Cause, Clock, KeyRefusal, SigningKeys};
use admission::token::VerifyingKey;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::sts::StsClient;
use search::{Place, Search};
use zone::{Step, Zone};

pub use refresher::Refresher;

/// How many zones' keys are kept.
const MAX_ZONES: usize = 10_000;
/// A zone that nobody asked for in this time is not refreshed ahead, and makes room for others.
const IN_USE: Duration = Duration::from_secs(600);
/// How long a request waits beyond the fetch itself: for its turn at the refresher and for the budget.
const EXTRA_WAIT: Duration = Duration::from_millis(2500);
/// How many steps one wait has; a handful is needed when fetches of others come in between.
const MAX_STEPS: usize = 8;
/// How many requests of one zone wait at the same time in places that are not their connection's own. Their tokens are
/// not verified yet, so that anybody can send them, and while the STS is slow each one stays for seconds.
const MAX_WAITING_PER_ZONE: usize = 64;
/// The same in all zones together: a tenth of the requests that a replica takes on (`MAX_INFLIGHT_REQUESTS`).
const MAX_WAITING: usize = 512;

type Outcome = Result<Arc<VerifyingKey>, KeyRefusal>;

/// The key store. Clones share the keys.
#[derive(Clone)]
pub struct KeyStore(Arc<Inner>);

struct Inner {
    zones: ArcSwap<HashMap<Arc<str>, Arc<Zone>>>,
    adding: Mutex<()>,
    to_fetch: mpsc::Sender<Arc<Zone>>,
    clock: Arc<dyn Clock>,
    /// How long one request waits at most.
    timeout: Duration,
    waiting: Semaphore,
    hasher: RandomState,
    counts: Mutex<KeyStats>,
}

/// What the store did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Zones whose keys are kept.
    pub zones: usize,
    /// Key sets fetched and taken over.
    pub fetched: u64,
    /// Fetches that brought no key set; the old keys stayed.
    pub failed: u64,
    /// Fetches that this process could not make, for want of descriptors, memory or local ports.
    pub local_faults: u64,
    /// Answers from keys past their time, because the STS failed.
    pub served_stale: u64,
    /// Answers that a zone has no such key.
    pub unknown: u64,
    /// Answers that keys cannot be had.
    pub unavailable: u64,
}

impl KeyStore {
    /// An empty store, and the refresher that must run for it.
    #[must_use]
    pub fn new(sts: StsClient, clock: Arc<dyn Clock>) -> (Self, Refresher) {
        // A zone is queued at most once, so the queue is never full.
        let (to_fetch, queue) = mpsc::channel(MAX_ZONES + 1);
        let store = Self(Arc::new(Inner {
            zones: ArcSwap::default(),
            adding: Mutex::default(),
            to_fetch,
            clock,
            timeout: sts.timeout() + EXTRA_WAIT,
            waiting: Semaphore::new(MAX_WAITING),
            hasher: RandomState::new(),
            counts: Mutex::default(),
        }));
        let refresher = Refresher::new(Arc::clone(&store.0), sts, queue);
        (store, refresher)
    }

    /// Fetches a zone's keys again, because the STS said that they changed. The old ones serve
    /// until the new ones are there. A zone whose keys are not kept is none to fetch.
    pub fn invalidate(&self, zone: &str) {
        if let Some(zone) = self.0.zones.load().get(zone)
            && zone.invalidate()
        {
            self.0.queue(zone);
        }
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> KeyStats {
        let zones = self.0.zones.load().len();
        KeyStats {
            zones,
            ..*self.0.counts.lock()
        }
    }
}

impl SigningKeys for KeyStore {
    fn find<'a>(&'a self, zone: &'a str, kid: &'a str, own_place: &'a OwnPlace) -> BoxFuture<'a, Outcome> {
        let now = self.0.clock.now().monotonic;
        let known = self
            .0
            .zones
            .load()
            .get(zone)
            .and_then(|zone| zone.fresh_key(kid, now));
        match known {
            Some(key) => Box::pin(std::future::ready(Ok(key))),
            None => Box::pin(self.0.find(zone, kid, own_place)),
        }
    }
}

impl Inner {
    async fn find(&self, zone: &str, kid: &str, own_place: &OwnPlace) -> Outcome {
        let outcome = match self.zone(zone) {
            Ok(zone) => match timeout(self.timeout, self.wait(&zone, kid, own_place)).await {
                Ok(Some(outcome)) => outcome,
                Ok(None) | Err(_) => zone
                    .at_hand(kid, self.clock.now().monotonic)
                    .unwrap_or_else(|| Err(late(self.timeout))),
            },
            Err(cause) => Err(KeyRefusal::Unavailable(cause)),
        };
        match &outcome {
            Ok(_) => {}
            Err(KeyRefusal::Unknown) => self.counts.lock().unknown += 1,
            Err(KeyRefusal::Unavailable(_)) => self.counts.lock().unavailable += 1,
        }
        outcome
    }

    /// Waits until there is an answer, or for too many fetches of others.
    async fn wait(&self, zone: &Arc<Zone>, kid: &str, own_place: &OwnPlace) -> Option<Outcome> {
        let mut search = Search {
            kid,
            kid_hash: self.hasher.hash_one(kid),
            place: Place::new(own_place, [zone.waiting(), &self.waiting]),
            begun: None,
        };
        let mut finished = zone.finished();
        for _ in 0..MAX_STEPS {
            finished.mark_unchanged();
            match zone.decide(&mut search, self.clock.now().monotonic) {
                Step::Key(key) => return Some(Ok(key)),
                Step::StaleKey { key, retry } => {
                    if retry {
                        self.queue(zone);
                    }
                    self.counts.lock().served_stale += 1;
                    return Some(Ok(key));
                }
                Step::Refuse(refusal) => return Some(Err(refusal)),
                Step::Fetch { queue } => {
                    if queue {
                        self.queue(zone);
                    }
                    // The zone holds the other end; it cannot have gone.
                    let _ = finished.changed().await;
                }
                Step::Budget(wait) => {
                    // Or until another cause of a fetch has brought the key.
                    let _ = timeout(wait, finished.changed()).await;
                }
                Step::TooMany { queue } => {
                    if queue {
                        self.queue(zone);
                    }
                    let cause = Cause::new("signing keys: too many requests wait for them");
                    return Some(Err(KeyRefusal::Unavailable(cause)));
                }
            }
        }
        None
    }

    fn queue(&self, zone: &Arc<Zone>) {
        // Without a refresher, who waits learns it from the deadline.
        let _ = self.to_fetch.try_send(Arc::clone(zone));
    }

    fn zone(&self, name: &str) -> Result<Arc<Zone>, Cause> {
        if let Some(zone) = self.zones.load().get(name) {
            return Ok(Arc::clone(zone));
        }
        let _adding = self.adding.lock();
        let zones = self.zones.load();
        if let Some(zone) = zones.get(name) {
            return Ok(Arc::clone(zone));
        }
        let now = self.clock.now().monotonic;
        let mut zones = HashMap::clone(&zones);
        if zones.len() >= MAX_ZONES {
            zones.retain(|_, zone| zone.in_use(now));
        }
        if zones.len() >= MAX_ZONES {
            return Err(Cause::new("the keys of too many zones are in use"));
        }
        let spread = self.hasher.hash_one(name);
        let zone = Arc::new(Zone::new(name, now, spread));
        zones.insert(Arc::clone(zone.name()), Arc::clone(&zone));
        self.zones.store(Arc::new(zones));
        Ok(zone)
    }
}

fn late(limit: Duration) -> KeyRefusal {
    KeyRefusal::Unavailable(Cause::new(format!("signing keys: not fetched within {limit:?}")))
}
