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
    allowance: Mutex<TokenBucket>,
    misses: Mutex<HashMap<Key, Duration>>,
}

impl Lookups {
    pub(super) fn new(queue: mpsc::Sender<Lookup>, config: &BindingsConfig, clock: Arc<dyn Clock>) -> Self {
        let per_second = config.max_lookups_per_second.max(1);
        let allowance = TokenBucket::full(per_second, Duration::from_secs(1) / per_second);
        Self {
            queue,
            timeout: config.lookup_timeout,
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
            && let Some(at) = self.misses.lock().get(&key)
            && now.saturating_sub(*at) < MISS_LIFE
        {
            return refuse("looked up within the last second");
        }
        if self.allowance.lock().take(now).is_err() {
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
