//! Faults on demand: what the STS answers instead of the truth.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The longest a [`Step`] may hold an answer back.
const MAX_DELAY: Duration = Duration::from_secs(120);

/// Which answers a [`Step`] changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every exchange that no [`Scope::Resource`] covers.
    Exchange,
    /// Exchanges for one resource identifier.
    Resource(String),
    /// Every key set that no [`Scope::ZoneJwks`] covers.
    Jwks,
    /// The key set of one zone.
    ZoneJwks(String),
    /// The health answer.
    Health,
}

/// A change to an answer. Lasts until it is replaced or cleared.
#[derive(Clone, Default)]
pub struct Step {
    /// Wait this long first (at most two minutes).
    pub delay: Duration,
    /// Then take one permit of this semaphore (two minutes at most), so that a test decides
    /// when to go on.
    pub hold: Option<Arc<Semaphore>>,
    /// Then answer so; `None` answers truthfully.
    pub answer: Option<Answer>,
}

/// What to answer.
#[derive(Clone)]
pub enum Answer {
    /// Exactly this.
    Raw(RawAnswer),
    /// Close the connection without a byte.
    Drop,
    /// Exchange truthfully, but send this JSON as the upstream directive.
    Directive(String),
}

/// A literal answer.
#[derive(Clone)]
pub struct RawAnswer {
    /// HTTP status; one outside 200–999 is sent as 500.
    pub status: u16,
    /// Header fields; those that HTTP does not permit are left out.
    pub headers: Vec<(String, String)>,
    /// The body, sent with its length.
    pub body: Bytes,
}

impl RawAnswer {
    /// An answer with a content type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
        }
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self {
            status,
            headers: vec![("location".into(), location.into())],
            body: Bytes::new(),
        }
    }

    /// A 200 with `length` bytes of JSON: one long string.
    #[must_use]
    pub fn oversized(length: usize) -> Self {
        let mut body = vec![b'x'; length.max(2)];
        if let [first, .., last] = body.as_mut_slice() {
            (*first, *last) = (b'"', b'"');
        }
        Self::new(200, "application/json", body)
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        Self {
            answer: Some(answer),
            ..Self::default()
        }
    }
}

impl From<RawAnswer> for Step {
    fn from(answer: RawAnswer) -> Self {
        Answer::Raw(answer).into()
    }
}

/// The faults in force.
#[derive(Default)]
pub struct Script(RwLock<HashMap<Scope, Step>>);

impl Script {
    /// Puts a step in force, in place of the one before.
    pub fn set(&self, scope: Scope, step: impl Into<Step>) {
        self.0.write().insert(scope, step.into());
    }

    /// Back to the truth for one scope.
    pub fn clear(&self, scope: &Scope) {
        self.0.write().remove(scope);
    }

    /// Plays the delay and the hold, and returns the answer to send, if any.
    pub(crate) async fn play(&self, scope: &Scope) -> Option<Answer> {
        let step = {
            let steps = self.0.read();
            if steps.is_empty() {
                return None;
            }
            let wider = match scope {
                Scope::Resource(_) => Some(Scope::Exchange),
                Scope::ZoneJwks(_) => Some(Scope::Jwks),
                _ => None,
            };
            let wider = wider.and_then(|wider| steps.get(&wider));
            steps.get(scope).or(wider).cloned()?
        };
        if !step.delay.is_zero() {
            tokio::time::sleep(step.delay.min(MAX_DELAY)).await;
        }
        if let Some(gate) = step.hold
            && let Ok(Ok(permit)) = timeout(MAX_DELAY, gate.acquire()).await
        {
            permit.forget();
        }
        step.answer
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_resource_step_goes_before_the_global_one() {
        let script = Script::default();
        let asked = Scope::Resource("r".into());
        assert!(script.play(&asked).await.is_none());
        script.set(Scope::Exchange, Answer::Drop);
        assert!(matches!(script.play(&asked).await, Some(Answer::Drop)));
        script.set(asked.clone(), RawAnswer::oversized(10));
        let Some(Answer::Raw(raw)) = script.play(&asked).await else {
            panic!("no answer")
        };
        assert_eq!(raw.body, "\"xxxxxxxx\"");
        script.clear(&asked);
        assert!(matches!(script.play(&asked).await, Some(Answer::Drop)));
        assert!(script.play(&Scope::Jwks).await.is_none());
    }

    #[tokio::test]
    async fn a_hold_waits_for_its_permit() {
        let script = Script::default();
        let gate = Arc::new(Semaphore::new(0));
        script.set(
            Scope::Exchange,
            Step {
                hold: Some(Arc::clone(&gate)),
                ..Step::from(Answer::Drop)
            },
        );
        let mut play = Box::pin(script.play(&Scope::Exchange));
        assert!((&mut play).now_or_never().is_none());
        gate.add_permits(1);
        assert!(matches!(play.await, Some(Answer::Drop)));
        assert_eq!(gate.available_permits(), 0);
    }
}
