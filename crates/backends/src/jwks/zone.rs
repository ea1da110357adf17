//! One zone's keys, and what to do for a request that asks for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::{Cause, KeyRefusal};
use admission::token::VerifyingKey;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::unknown::Unknown;
use super::{IN_USE, MAX_WAITING_PER_ZONE};

/// How long fetched keys are fresh.
const TTL: Duration = Duration::from_secs(300);
/// How long they serve while the STS fails.
const SERVE_STALE: Duration = Duration::from_secs(3600);
/// Keys are fetched again at this part of their time, in percent, a tenth spread over the zones.
const REFRESH_AT: u32 = 75;
/// How long a failed fetch is not repeated: doubled with each further failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(8);

pub(super) type Keys = HashMap<String, Arc<VerifyingKey>>;

struct KeySet {
    keys: Keys,
    fetched: Duration,
}

pub(super) struct Zone {
    name: Arc<str>,
    keys: ArcSwapOption<KeySet>,
    /// Seconds of the monotonic clock at the last question.
    used: AtomicU64,
    /// A number that spreads the zones' refreshes.
    spread: u64,
    state: Mutex<State>,
    /// How many fetches have ended.
    finished: watch::Sender<u64>,
    waiting: Semaphore,
}

struct State {
    /// In the refresher's queue or hands.
    queued: bool,
    /// The keys changed while they were being fetched.
    again: bool,
    /// Set while the last fetch failed.
    failure: Option<Failure>,
    refresh_at: Duration,
    unknown: Unknown,
}

struct Failure {
    cause: Cause,
    backoff: Duration,
    until: Duration,
}

/// The right to wait, taken once and kept until the request has its answer.
pub(super) struct Place<'a> {
    bounds: [&'a Semaphore; 2],
    taken: Option<[SemaphorePermit<'a>; 2]>,
}

impl<'a> Place<'a> {
    pub(super) fn new(all: &'a Semaphore, zone: &'a Zone) -> Self {
        Self {
            bounds: [&zone.waiting, all],
            taken: None,
        }
    }

    /// Whether the request may wait.
    fn take(&mut self) -> bool {
        if self.taken.is_none() {
            let [zone, all] = self.bounds.map(Semaphore::try_acquire);
            self.taken = zone.ok().zip(all.ok()).map(Into::into);
        }
        self.taken.is_some()
    }
}

/// What to do next.
pub(super) enum Step {
    /// Here it is.
    Key(Arc<VerifyingKey>),
    /// Here it is, past its time. `retry`: fetch in the background.
    StaleKey { key: Arc<VerifyingKey>, retry: bool },
    /// There is none, or it cannot be told.
    Refuse(KeyRefusal),
    /// Wait until a fetch has ended. `queue`: it must be asked for first.
    Fetch { queue: bool },
    /// Wait this long for the budget.
    Budget(Duration),
    /// Too many wait already. `queue`: the fetch that they wait for must be asked for first.
    TooMany { queue: bool },
}

impl Zone {
    pub(super) fn new(name: &str, now: Duration, spread: u64) -> Self {
        Self {
            name: name.into(),
            keys: ArcSwapOption::empty(),
            used: AtomicU64::new(now.as_secs()),
            spread,
            state: Mutex::new(State {
                queued: false,
                again: false,
                failure: None,
                refresh_at: Duration::MAX,
                unknown: Unknown::new(),
            }),
            finished: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING_PER_ZONE),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The key, if the keys are fresh and hold it.
    pub(super) fn fresh_key(&self, kid: &str, now: Duration) -> Option<Arc<VerifyingKey>> {
        self.touch(now);
        self.key_younger_than(TTL, kid, now)
    }

    /// The key, if the keys hold it and may still serve.
    pub(super) fn stale_key(&self, kid: &str, now: Duration) -> Option<Arc<VerifyingKey>> {
        self.key_younger_than(SERVE_STALE, kid, now)
    }

    pub(super) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    pub(super) fn in_use(&self, now: Duration) -> bool {
        let used = Duration::from_secs(self.used.load(Ordering::Relaxed));
        now.saturating_sub(used) < IN_USE
    }

    /// What to do for a request that wants this key. `kid_hash` stands for it in memory.
    pub(super) fn decide(&self, kid: &str, kid_hash: u64, now: Duration, place: &mut Place<'_>) -> Step {
        self.touch(now);
        let mut state = self.state.lock();
        // Under the lock, so that a fetch that ends now is seen whole.
        let keys = self.keys.load();
        let age = keys.as_ref().map(|set| now.saturating_sub(set.fetched));
        let key = keys.as_ref().and_then(|set| set.keys.get(kid)).cloned();
        match (age, key) {
            (Some(age), Some(key)) if age < TTL => Step::Key(key),
            (Some(age), None) if age < TTL => state.look_for(kid_hash, now, place),
            (Some(age), Some(key)) if age < SERVE_STALE => {
                let retry = state.failure.as_ref().map(|failure| now >= failure.until);
                match retry {
                    // However many wait for the fetch, they must not lock out who shows a key that may still serve.
                    None if place.take() => state.fetch(now, place),
                    retry => Step::StaleKey {
                        key,
                        retry: retry.unwrap_or(true) && state.queue(),
                    },
                }
            }
            (_, _) => state.fetch(now, place),
        }
    }

    /// The keys changed. Whether the zone must be queued.
    pub(super) fn invalidate(&self) -> bool {
        let mut state = self.state.lock();
        state.again = state.queued;
        state.queue()
    }

    /// Whether it is time to fetch ahead. If so, the zone must be queued.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        now >= state.refresh_at && self.in_use(now) && state.queue()
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.again = false;
        state.unknown.begin();
    }

    /// A fetch has ended. Whether the zone must be queued again.
    pub(super) fn finish(&self, outcome: Result<Keys, Cause>, now: Duration) -> bool {
        let mut state = self.state.lock();
        match outcome {
            Ok(keys) => {
                let spread = u32::try_from(self.spread % 10).unwrap_or_default();
                state.refresh_at = now + TTL * (REFRESH_AT + spread) / 100;
                state.failure = None;
                state.unknown.settle(now);
                self.keys.store(Some(Arc::new(KeySet { keys, fetched: now })));
            }
            Err(cause) => {
                let last = state.failure.take().map(|failure| failure.backoff * 2);
                let backoff = last.unwrap_or(FIRST_BACKOFF).min(MAX_BACKOFF);
                let until = now + backoff;
                state.refresh_at = until;
                state.failure = Some(Failure {
                    cause,
                    backoff,
                    until,
                });
            }
        }
        state.queued = std::mem::take(&mut state.again);
        let again = state.queued;
        drop(state);
        self.finished.send_modify(|count| *count += 1);
        again
    }

    fn key_younger_than(&self, age: Duration, kid: &str, now: Duration) -> Option<Arc<VerifyingKey>> {
        let keys = self.keys.load();
        let set = keys.as_ref()?;
        if now.saturating_sub(set.fetched) >= age {
            return None;
        }
        set.keys.get(kid).cloned()
    }

    fn touch(&self, now: Duration) {
        // Written once a second at most: the line is shared by all requests of the zone.
        if self.used.load(Ordering::Relaxed) != now.as_secs() {
            self.used.store(now.as_secs(), Ordering::Relaxed);
        }
    }
}

impl State {
    /// Marks the zone as queued; whether it was not.
    fn queue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// The keys at hand cannot tell: others are needed.
    fn fetch(&mut self, now: Duration, place: &mut Place<'_>) -> Step {
        match self.still_failing(now) {
            Some(refusal) if !self.queued => Step::Refuse(refusal),
            _ if place.take() => Step::Fetch { queue: self.queue() },
            _ => Step::TooMany { queue: self.queue() },
        }
    }

    /// The keys are fresh and do not hold the key: it may be newer than they are.
    fn look_for(&mut self, kid: u64, now: Duration, place: &mut Place<'_>) -> Step {
        if self.unknown.is_refused(kid, now) {
            return Step::Refuse(KeyRefusal::Unknown);
        }
        if let Some(refusal) = self.still_failing(now).filter(|_| !self.queued) {
            return Step::Refuse(refusal);
        }
        if !place.take() {
            return Step::TooMany { queue: false };
        }
        self.unknown.ask(kid);
        if self.queued {
            return Step::Fetch { queue: false };
        }
        match self.unknown.budget.take(now) {
            Ok(()) => Step::Fetch { queue: self.queue() },
            Err(wait) => Step::Budget(wait),
        }
    }

    /// The refusal of the time after a failed fetch in which no other is made.
    fn still_failing(&self, now: Duration) -> Option<KeyRefusal> {
        let failure = self.failure.as_ref().filter(|failure| now < failure.until)?;
        Some(KeyRefusal::Unavailable(failure.cause.clone()))
    }
}

#[cfg(test)]
mod tests;
