//! Lookups in the database itself: after a miss where it does not tell of changes, and when the
//! binding in memory contradicts the STS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use admission::binding::Binding;
use admission::ports::{Cause, Clock, NotBound};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::BindingsConfig;

/// How long a miss is remembered.
const MISS_LIFE: Duration = Duration::from_secs(1);
/// How many misses are remembered. Above it they are looked up again.
const MISSES: usize = 4096;

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
    pub(super) zone: String,
    pub(super) resource: String,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<Option<Arc<Binding>>, Cause>;

type Misses = HashMap<(String, String), Duration>;

/// The way to the reader.
pub(super) struct Lookups {
    queue: mpsc::Sender<Lookup>,
    limit: Duration,
    clock: Arc<dyn Clock>,
    allowance: Mutex<Allowance>,
    misses: Mutex<Misses>,
}

impl Lookups {
    pub(super) fn new(queue: mpsc::Sender<Lookup>, config: &BindingsConfig, clock: Arc<dyn Clock>) -> Self {
        let allowance = Allowance::full(config.max_lookups_per_second, clock.now().monotonic);
        Self {
            queue,
            limit: config.lookup_timeout,
            clock,
            allowance: Mutex::new(allowance),
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
            && let Some(at) = lock(&self.misses).get(&key)
            && now.saturating_sub(*at) < MISS_LIFE
        {
            return refuse("looked up within the last second");
        }
        if !lock(&self.allowance).take(now) {
            return refuse("too many lookups");
        }
        let (answer, answered) = oneshot::channel();
        let lookup = Lookup {
            zone: zone.to_owned(),
            resource: resource.to_owned(),
            answer,
        };
        if self.queue.try_send(lookup).is_err() {
            return refuse("too many lookups wait");
        }
        match timeout(self.limit, answered).await {
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

    fn remember(&self, key: (String, String)) {
        let now = self.clock.now().monotonic;
        let mut misses = lock(&self.misses);
        if misses.len() >= MISSES {
            misses.retain(|_, at| now.saturating_sub(*at) < MISS_LIFE);
        }
        if misses.len() < MISSES {
            misses.insert(key, now);
        }
    }
}

/// A token bucket of one second's worth.
struct Allowance {
    per_second: f64,
    tokens: f64,
    since: Duration,
}

impl Allowance {
    fn full(per_second: u32, now: Duration) -> Self {
        Self {
            per_second: f64::from(per_second),
            tokens: f64::from(per_second),
            since: now,
        }
    }

    fn take(&mut self, now: Duration) -> bool {
        let earned = now.saturating_sub(self.since).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.per_second);
        self.since = self.since.max(now);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Allowance;
    use std::time::Duration;

    #[test]
    fn allowance_is_one_second_worth() {
        let at = Duration::from_millis;
        let mut allowance = Allowance::full(2, at(0));
        let mut taken = |now| allowance.take(at(now));
        assert_eq!([taken(0), taken(0), taken(0)], [true, true, false]);
        assert_eq!([taken(499), taken(500), taken(500)], [false, true, false]);
        assert_eq!([taken(60_000), taken(60_000), taken(60_000)], [true, true, false]);
        assert!(!taken(59_000), "a clock that went back earns nothing");
    }
}
