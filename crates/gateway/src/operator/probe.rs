//! Asking one dependency how it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admission::ports::{BoxFuture, Clock};
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use serde::Serialize;

/// How long a dependency may take to answer.
pub const BUDGET: Duration = Duration::from_millis(1500);

/// How a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it works.
    pub state: State,
    /// How old this knowledge is, where it has an age.
    pub age: Option<Duration>,
}

/// Whether a dependency works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works.
    Ok,
    /// It does not.
    Failing,
    /// It did not answer in time.
    Timeout,
}

/// Asks one dependency. [`Readiness`](super::ready::Readiness) bounds the answer by [`BUDGET`].
pub type Probe = Box<dyn Fn() -> BoxFuture<'static, Health> + Send + Sync>;

/// Asks for what is known in memory.
#[must_use]
pub fn known(read: impl Fn() -> Health + Send + Sync + 'static) -> Probe {
    Box::new(move || Box::pin(std::future::ready(read())))
}

/// Asks at most once in `life`, however often and by however many it is asked: nobody can use the readiness
/// endpoint to put load on a dependency. The age of the answer is that of the question.
#[must_use]
pub fn cached(life: Duration, clock: Arc<dyn Clock>, probe: Probe) -> Probe {
    let latest: Arc<Mutex<Option<Question>>> = Arc::default();
    Box::new(move || {
        let now = clock.now().monotonic;
        let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        let question = match latest.as_ref().filter(|question| question.is_good_for(life, now)) {
            Some(question) => question.clone(),
            None => latest
                .insert(Question {
                    at: now,
                    health: bounded(probe()).shared(),
                })
                .clone(),
        };
        let clock = Arc::clone(&clock);
        Box::pin(async move {
            let health = question.health.await;
            Health {
                age: Some(clock.now().monotonic.saturating_sub(question.at)),
                ..health
            }
        })
    })
}

/// A question that is being asked, or its answer.
#[derive(Clone)]
struct Question {
    at: Duration,
    health: Shared<BoxFuture<'static, Health>>,
}

impl Question {
    /// A question whose askers have all left does not move on; past its budget it is worth nothing.
    fn is_good_for(&self, life: Duration, now: Duration) -> bool {
        let life = if self.health.peek().is_some() {
            life
        } else {
            BUDGET
        };
        now.saturating_sub(self.at) < life
    }
}

/// The answer, or [`State::Timeout`] when it does not come within [`BUDGET`].
pub(super) fn bounded(answer: BoxFuture<'static, Health>) -> BoxFuture<'static, Health> {
    Box::pin(async move {
        let late = Health {
            state: State::Timeout,
            age: None,
        };
        tokio::time::timeout(BUDGET, answer).await.unwrap_or(late)
    })
}
