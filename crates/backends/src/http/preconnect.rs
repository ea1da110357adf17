//! Connections that are made while their requests still wait for a permit, so that both take their time at once.
//!
//! Nothing of a request, and nothing of HTTP, is written over one: TCP and TLS alone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use admission::binding::Origin;
use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::address::Dialable;
use super::dialler::Reached;
use super::http2::Protocol;

/// The most that are made at the same time, one for an origin.
const MAX_PRECONNECTS: usize = 64;

/// A request's interest in a connection that is made ahead of it. Nobody's any more, it ends if it is not made yet; what is
/// made is an idle connection like others, or, where HTTP/2 was chosen, closes.
#[must_use = "dropped, it takes the connection along"]
#[derive(Debug)]
pub struct Preconnect {
    _dial: Option<Arc<Dial>>,
}

impl Preconnect {
    pub(super) const fn new(dial: Option<Arc<Dial>>) -> Self {
        Self { _dial: dial }
    }
}

/// A connection that is being made, or waits.
#[derive(Debug)]
pub(super) struct Dial {
    addresses: Vec<SocketAddr>,
    state: Mutex<State>,
    /// Tells its task that nobody wants it any more.
    _wanted: DropGuard,
}

#[derive(Debug)]
enum State {
    /// No request waits for it.
    UnderWay,
    /// This one does.
    Claimed(oneshot::Sender<Result<Reached, Cause>>),
    /// It is made, and its server speaks HTTP/2, which has to be told so first.
    Ready(Box<Reached>),
    Over,
}

/// What a request takes over.
pub(super) enum Claim {
    /// What comes of it comes of the request. Without an answer there may be an idle connection instead.
    UnderWay {
        made: oneshot::Receiver<Result<Reached, Cause>>,
        _dial: Arc<Dial>,
    },
    Ready(Box<Reached>),
}

/// The connections that are made ahead.
#[derive(Debug, Default)]
pub(super) struct Preconnects(Mutex<HashMap<Arc<Origin>, Weak<Dial>>>);

impl Preconnects {
    /// The connection that is made for this origin, and, where that is only to begin, what ends it. None where it is made to
    /// other addresses, or too many are.
    pub(super) fn begin(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
    ) -> Option<(Arc<Dial>, Option<CancellationToken>)> {
        let live = |dial: &Weak<Dial>| dial.upgrade().filter(|dial| !dial.is_over());
        let mut dials = self.0.lock();
        if let Some(dial) = dials.get(origin).and_then(live) {
            return (dial.addresses == addresses).then_some((dial, None));
        }
        if dials.len() >= MAX_PRECONNECTS {
            dials.retain(|_, dial| live(dial).is_some());
            if dials.len() >= MAX_PRECONNECTS {
                return None;
            }
        }
        let unwanted = CancellationToken::new();
        let dial = Arc::new(Dial {
            addresses: addresses.to_vec(),
            state: Mutex::new(State::UnderWay),
            _wanted: unwanted.clone().drop_guard(),
        });
        dials.insert(Arc::new(origin.clone()), Arc::downgrade(&dial));
        Some((dial, Some(unwanted)))
    }

    /// Takes the connection that is made for this origin, if it leads to nothing but these addresses. Nobody else gets it then.
    pub(super) fn claim<A: Dialable>(&self, origin: &Origin, addresses: &[A]) -> Option<Claim> {
        let is_judged = |dialled: &SocketAddr| addresses.iter().any(|address| address.socket() == *dialled);
        let mut dials = self.0.lock();
        let dial = dials.get(origin)?.upgrade()?;
        if !dial.addresses.iter().all(is_judged) {
            return None;
        }
        dials.remove(origin);
        drop(dials);
        dial.claim()
    }
}

impl Dial {
    fn is_over(&self) -> bool {
        matches!(*self.state.lock(), State::Over)
    }

    fn claim(self: Arc<Self>) -> Option<Claim> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::UnderWay => {
                let (tell, made) = oneshot::channel();
                *state = State::Claimed(tell);
                drop(state);
                Some(Claim::UnderWay { made, _dial: self })
            }
            State::Ready(reached) => Some(Claim::Ready(reached)),
            claimed @ State::Claimed(_) => {
                *state = claimed;
                None
            }
            State::Over => None,
        }
    }

    /// It is made, or failed, which is nobody's failure unless a request waits for it. An HTTP/1.1 connection that no request
    /// waits for comes back: it is under way until [`end`](Self::end).
    pub(super) fn settle(&self, made: Result<Reached, Cause>) -> Option<Reached> {
        let mut state = self.state.lock();
        let unclaimed = match std::mem::replace(&mut *state, State::Over) {
            // It may have hung up.
            State::Claimed(tell) => tell.send(made).err()?.ok()?,
            _ => made.ok()?,
        };
        match unclaimed.speaks {
            Protocol::Http1 => {
                *state = State::UnderWay;
                Some(unclaimed)
            }
            Protocol::Http2 => {
                *state = State::Ready(Box::new(unclaimed));
                None
            }
        }
    }

    /// What came back is an idle connection now, or none: who waits for it since looks for one.
    pub(super) fn end(&self) {
        *self.state.lock() = State::Over;
    }
}

#[cfg(test)]
mod tests {
    use admission::Scheme;

    use super::*;

    fn origin(number: usize) -> Origin {
        let host = format!("h{number}.example");
        let (scheme, port) = (Scheme::Https, 443);
        Origin { scheme, host, port }
    }

    #[test]
    fn preconnects_are_one_for_an_origin_and_bounded_in_all() {
        let (preconnects, here) = (Preconnects::default(), [SocketAddr::from(([192, 0, 2, 1], 443))]);
        let begin = |number| preconnects.begin(&origin(number), &here);
        let mut begun: Vec<_> = (0..MAX_PRECONNECTS)
            .map(|number| begin(number).unwrap())
            .collect();
        assert!(begun.iter().all(|(_, unwanted)| unwanted.is_some()));
        assert!(begin(MAX_PRECONNECTS).is_none());
        let (same, unwanted) = begin(0).unwrap();
        assert!(unwanted.is_none() && Arc::ptr_eq(&same, &begun[0].0));
        let elsewhere = [SocketAddr::from(([192, 0, 2, 2], 443))];
        assert!(preconnects.begin(&origin(0), &elsewhere).is_none());

        // One that ended, or that nobody wants any more, makes room.
        begun[1].0.end();
        assert!(begin(MAX_PRECONNECTS).is_some_and(|(_, unwanted)| unwanted.is_some()));
        let (last, unwanted) = begun.pop().unwrap();
        drop(last);
        assert!(unwanted.unwrap().is_cancelled());
        assert!(begin(MAX_PRECONNECTS + 1).is_some());
    }

    #[test]
    fn preconnect_is_claimed_once_and_only_for_addresses_that_hold_its_own() {
        let address = |last| SocketAddr::from(([192, 0, 2, last], 443));
        let preconnects = Preconnects::default();
        let _begun = preconnects.begin(&origin(0), &[address(1), address(2)]).unwrap();
        let claim = |addresses: &[SocketAddr]| preconnects.claim(&origin(0), addresses).is_some();
        assert!(!claim(&[address(1)]) && !claim(&[address(3), address(2)]));
        assert!(claim(&[address(3), address(2), address(1)]));
        assert!(!claim(&[address(1), address(2)]));
    }
}
