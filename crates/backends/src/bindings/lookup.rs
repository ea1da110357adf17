//! Lookups in the database itself: after a miss where it does not tell of changes, and when the
//! binding in memory contradicts the STS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use admission::binding::Binding;
use admission::ports::{Cause, Clock, NotBound};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::config::BindingsConfig;
use crate::token_bucket::TokenBucket;

/// How long a miss is remembered.
const MISS_LIFE: Duration = Duration::from_secs(1);
/// How many misses are remembered. Above it they are looked up again.
const MAX_MISSES: usize = 4096;
/// Of how many zones it is remembered what they looked up within the last second. Others are refused.
const MAX_ZONES: usize = 4096;

/// Why the database is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The snapshot does not have it: a miss of the last second counts as one.
    AfterMiss,
    /// The snapshot has it and is doubted.
    Afresh,
}

/// One question to the reader. The questions for one binding that wait at the same time are answered
/// together.
pub(super) struct Lookup {
    pub(super) key: Key,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A zone and a resource.
pub(super) type Key = (String, String);

pub(super) type Answer = Result<Option<Arc<Binding>>, Cause>;

/// The way to the reader.
pub(super) struct Lookups {
    queue: mpsc::Sender<Lookup>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    allowance: Mutex<Allowance>,
    misses: Mutex<HashMap<Key, Duration>>,
}

impl Lookups {
    pub(super) fn new(queue: mpsc::Sender<Lookup>, config: &BindingsConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            timeout: config.lookup_timeout,
            clock,
            allowance: Mutex::new(Allowance::new(config.max_lookups_per_second)),
            misses: Mutex::default(),
        }
    }

    /// Asks the database, within the limits of time and rate.
    pub(super) async fn ask(
        &self,
        zone: &str,
        resource: &str,
        asked: Asked,
    ) -> Result<Arc<Binding>, NotBound> {
        let key = (zone.to_owned(), resource.to_owned());
        let now = self.clock.now().monotonic;
        let refuse = |why: &str| Err(NotBound(Cause::new(format!("no such binding: {why}"))));
        if asked == Asked::AfterMiss
            && let Some(at) = self.misses.lock().get(&key)
            && now.saturating_sub(*at) < MISS_LIFE
        {
            return refuse("looked up within the last second");
        }
        if !self.allowance.lock().take(zone, now) {
            return refuse("too many lookups");
        }
        let (answer, answered) = oneshot::channel();
        let lookup = Lookup {
            key: key.clone(),
            answer,
        };
        if self.queue.try_send(lookup).is_err() {
            return refuse("too many lookups wait");
        }
        match timeout(self.timeout, answered).await {
            Ok(Ok(Ok(Some(binding)))) => Ok(binding),
            Ok(Ok(Ok(None))) => {
                self.remember(key);
                refuse("looked up in the database")
            }
            Ok(Ok(Err(cause))) => Err(NotBound(cause)),
            Ok(Err(_)) => refuse("nobody looks it up"),
            Err(_) => refuse("the database did not answer in time"),
        }
    }

    fn remember(&self, key: Key) {
        let now = self.clock.now().monotonic;
        let mut misses = self.misses.lock();
        if misses.len() >= MAX_MISSES {
            misses.retain(|_, at| now.saturating_sub(*at) < MISS_LIFE);
        }
        if misses.len() < MAX_MISSES {
            misses.insert(key, now);
        }
    }
}

/// How many lookups there may be, in all and for one zone.
struct Allowance {
    all: TokenBucket,
    per_zone: u32,
    /// Every zone that does not have all of its own, and some that have.
    zones: HashMap<String, TokenBucket>,
}

impl Allowance {
    fn new(per_second: u32) -> Self {
        // One tenant's reusable mandate and names that it makes up leave half of them to the others.
        Self {
            all: bucket(per_second),
            per_zone: per_second / 2,
            zones: HashMap::new(),
        }
    }

    fn take(&mut self, zone: &str, now: Duration) -> bool {
        if !self.zones.contains_key(zone) {
            if self.zones.len() >= MAX_ZONES {
                self.zones.retain(|_, lookups| !lookups.is_full(now));
            }
            if self.zones.len() >= MAX_ZONES {
                return false;
            }
            self.zones.insert(zone.to_owned(), bucket(self.per_zone));
        }
        let zone = self.zones.get_mut(zone);
        zone.is_some_and(|lookups| lookups.take(now).is_ok()) && self.all.take(now).is_ok()
    }
}

/// At least one in each second.
fn bucket(per_second: u32) -> TokenBucket {
    let per_second = per_second.max(1);
    TokenBucket::full(per_second, Duration::from_secs(1) / per_second)
}

#[cfg(test)]
mod tests {
    use super::{Allowance, MAX_ZONES};
    use std::time::Duration;

    #[test]
    fn lookups_of_one_zone_leave_half_of_them_to_the_others() {
        let mut allowance = Allowance::new(100);
        let mut taken = |zone: &str, now| {
            let now = Duration::from_millis(now);
            (0..200).filter(|_| allowance.take(zone, now)).count()
        };
        assert_eq!([taken("a", 0), taken("b", 0), taken("c", 0)], [50, 50, 0]);
        assert_eq!(taken("a", 100), 5);
        assert_eq!([taken("a", 2000), taken("c", 2000)], [50, 50]);
    }

    #[test]
    fn zones_with_lookups_are_bounded_and_forgotten() {
        let mut allowance = Allowance::new(1_000_000);
        let mut takes = |zone: usize, now| allowance.take(&zone.to_string(), Duration::from_secs(now));
        assert!((0..MAX_ZONES).all(|zone| takes(zone, 0)));
        assert!(!takes(MAX_ZONES, 0));
        assert!(takes(0, 0), "one that is known");
        assert!(takes(MAX_ZONES, 2));
        assert_eq!(allowance.zones.len(), 1);
    }
}
