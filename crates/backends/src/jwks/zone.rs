//! One zone's keys, and what to do for a request that asks for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::{Cause, KeyRefusal};
use admission::token::VerifyingKey;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::search::Search;
use super::unknown::Unknown;
use super::{IN_USE, MAX_WAITING_PER_ZONE};

/// How long fetched keys are fresh.
const TTL: Duration = Duration::from_secs(300);
/// How long they serve while the STS fails.
const SERVE_STALE: Duration = Duration::from_secs(3600);
/// Keys are fetched again at this part of their time, in percent, a tenth spread over the zones.
const REFRESH_AT: u32 = 75;
/// How long a failed fetch is not repeated for those whom no key at hand can serve: they are served again within half a
/// second of the STS's return.
const RETRY: Duration = Duration::from_millis(500);
/// How long it is not repeated while keys at hand serve: doubled with each further failure of the STS.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(8);

pub(super) type Keys = HashMap<String, Arc<VerifyingKey>>;

struct KeySet {
    keys: Keys,
    fetched: Duration,
}

impl KeySet {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.fetched)
    }
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
    /// How many fetches have begun, and how many had when the last one that brought keys did.
    begun: u64,
    answered: u64,
    /// Set while the last fetch failed.
    failure: Option<Failure>,
    /// The next fetch ahead of time, and the next try while old keys serve.
    refresh_at: Duration,
    backoff: Duration,
    unknown: Unknown,
}

struct Failure {
    cause: Cause,
    retry_at: Duration,
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
                begun: 0,
                answered: 0,
                failure: None,
                refresh_at: Duration::MAX,
                backoff: FIRST_BACKOFF,
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
        let keys = self.keys.load();
        let set = keys.as_ref().filter(|set| set.age(now) < TTL)?;
        set.keys.get(kid).cloned()
    }

    /// What the keys at hand say, fresh or not; nothing where they are too old to tell.
    pub(super) fn at_hand(&self, kid: &str, now: Duration) -> Option<Result<Arc<VerifyingKey>, KeyRefusal>> {
        let keys = self.keys.load();
        let set = keys.as_ref().filter(|set| set.age(now) < SERVE_STALE)?;
        Some(set.keys.get(kid).cloned().ok_or(KeyRefusal::Unknown))
    }

    /// Places to wait that all requests for this zone's keys share.
    pub(super) fn waiting(&self) -> &Semaphore {
        &self.waiting
    }

    pub(super) fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    pub(super) fn in_use(&self, now: Duration) -> bool {
        let used = Duration::from_secs(self.used.load(Ordering::Relaxed));
        now.saturating_sub(used) < IN_USE
    }

    /// What to do for a request that looks for a key.
    pub(super) fn decide(&self, search: &mut Search<'_>, now: Duration) -> Step {
        self.touch(now);
        let mut state = self.state.lock();
        // Under the lock, so that a fetch that ends now is seen whole.
        let keys = self.keys.load();
        let age = keys.as_ref().map(|set| set.age(now));
        let key = keys.as_ref().and_then(|set| set.keys.get(search.kid)).cloned();
        match (age, key) {
            (Some(age), Some(key)) if age < TTL => Step::Key(key),
            (Some(age), None) if age < TTL => state.look_for(search, now),
            (Some(age), Some(key)) if age < SERVE_STALE => state.serve_stale(key, search, now),
            (Some(age), None) if age < SERVE_STALE => state.fetch(search, now, KeysAtHand::Others),
            (_, _) => state.fetch(search, now, KeysAtHand::None),
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
        state.begun += 1;
    }

    /// A fetch has ended. Whether the zone must be queued again.
    pub(super) fn finish(&self, outcome: Result<Keys, Cause>, now: Duration) -> bool {
        let mut state = self.state.lock();
        match outcome {
            Ok(keys) => {
                let spread = u32::try_from(self.spread % 10).unwrap_or_default();
                state.refresh_at = now + TTL * (REFRESH_AT + spread) / 100;
                state.backoff = FIRST_BACKOFF;
                state.failure = None;
                state.answered = state.begun;
                self.keys.store(Some(Arc::new(KeySet { keys, fetched: now })));
            }
            Err(cause) => {
                let mut pause = RETRY;
                // What this process lacked says nothing about the STS.
                if !cause.is_local() {
                    pause = state.backoff;
                    state.backoff = (pause * 2).min(MAX_BACKOFF);
                }
                state.refresh_at = now + pause;
                state.failure = Some(Failure {
                    cause,
                    retry_at: now + RETRY,
                });
            }
        }
        state.queued = std::mem::take(&mut state.again);
        let again = state.queued;
        drop(state);
        self.finished.send_modify(|count| *count += 1);
        again
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

    /// The key is past its time: others are fetched first, and it serves while that fails.
    fn serve_stale(&mut self, key: Arc<VerifyingKey>, search: &mut Search<'_>, now: Duration) -> Step {
        // However many wait for the fetch, they must not lock out who shows a key that may still serve.
        if self.failure.is_none() && search.place.take() {
            return Step::Fetch { queue: self.queue() };
        }
        Step::StaleKey {
            key,
            retry: (self.failure.is_none() || now >= self.refresh_at) && self.queue(),
        }
    }

    /// The keys at hand cannot tell: others are needed.
    fn fetch(&mut self, search: &mut Search<'_>, now: Duration, at_hand: KeysAtHand) -> Step {
        match self.still_failing(now, at_hand) {
            Some(refusal) => Step::Refuse(refusal),
            None if search.place.take() => {
                search.begun.get_or_insert(self.begun);
                Step::Fetch { queue: self.queue() }
            }
            None => Step::TooMany { queue: self.queue() },
        }
    }

    /// The keys are fresh and do not hold the key: it may be newer than they are. All who look for such a key wait for
    /// the same fetch.
    fn look_for(&mut self, search: &mut Search<'_>, now: Duration) -> Step {
        if self.unknown.is_refused(search.kid_hash, now) {
            return Step::Refuse(KeyRefusal::Unknown);
        }
        if search.begun.is_some_and(|begun| self.answered > begun) {
            self.unknown.refuse(search.kid_hash, now);
            return Step::Refuse(KeyRefusal::Unknown);
        }
        if let Some(refusal) = self.still_failing(now, KeysAtHand::Others) {
            return Step::Refuse(refusal);
        }
        if !search.place.take() {
            return Step::TooMany { queue: false };
        }
        search.begun.get_or_insert(self.begun);
        if self.queued {
            return Step::Fetch { queue: false };
        }
        match self.unknown.budget.take(now) {
            Ok(()) => Step::Fetch { queue: self.queue() },
            Err(wait) => Step::Budget(wait),
        }
    }

    /// The refusal of the time after a failed fetch in which no other is made. Keys at hand do not hold the key, and
    /// that decides, unless this process could not even ask for others.
    fn still_failing(&self, now: Duration, at_hand: KeysAtHand) -> Option<KeyRefusal> {
        let failure = self
            .failure
            .as_ref()
            .filter(|failure| now < failure.retry_at && !self.queued)?;
        Some(match at_hand {
            KeysAtHand::Others if !failure.cause.is_local() => KeyRefusal::Unknown,
            KeysAtHand::Others | KeysAtHand::None => KeyRefusal::Unavailable(failure.cause.clone()),
        })
    }
}

/// What there is instead of the key that a request looks for.
#[derive(Clone, Copy)]
enum KeysAtHand {
    None,
    Others,
}

#[cfg(test)]
mod tests;
