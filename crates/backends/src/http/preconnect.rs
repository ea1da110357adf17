//! Connections that are made while their requests still wait for a permit, so that both take their time at once.
//!
//! Nothing of a request, and nothing of HTTP, is written over one: TCP and TLS alone.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use admission::binding::Origin;
use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::address::{Dialable, in_order};
use super::dialler::Reached;
use crate::tls::MadeWith;

/// The most that are made or wait at the same time, one for an origin.
const MAX_PRECONNECTS: usize = 64;
/// The most origins that are remembered.
const MAX_REMEMBERED: usize = 1024;
/// How long one waits for its request: its server expects one.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// From the beginning of one that no request took to the next one for its origin.
const PAUSE: Duration = Duration::from_secs(10);
/// What fails and began longer before its request came proves nothing of the time since.
const MAX_LEAD: Duration = Duration::from_secs(1);

/// A request's interest in a connection that is made ahead of it. When it is nobody's any more, the connection closes, or is
/// not made.
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
pub(super) struct Dial {
    addresses: Vec<SocketAddr>,
    /// How it is made; none without TLS.
    tls: Option<MadeWith>,
    /// Monotonic time.
    begun: Duration,
    state: Mutex<State>,
    /// Tells its task that nobody wants it any more.
    _wanted: DropGuard,
}

enum State {
    /// No request waits for it.
    UnderWay(OwnedSemaphorePermit),
    /// This one does.
    Claimed(oneshot::Sender<Result<Reached, Cause>>),
    /// It is made, and waits since then.
    Ready {
        reached: Box<Reached>,
        since: Duration,
        _place: OwnedSemaphorePermit,
    },
    Over,
}

/// What a request takes over.
pub(super) enum Claim {
    UnderWay {
        made: oneshot::Receiver<Result<Reached, Cause>>,
        dial: Arc<Dial>,
    },
    /// Its peer may have hung up meanwhile.
    Ready(Box<Reached>),
}

/// The connections that are made ahead.
pub(super) struct Preconnects {
    places: Arc<Semaphore>,
    /// Of each origin the last one that no request took.
    untaken: Mutex<HashMap<Arc<Origin>, Untaken>>,
}

struct Untaken {
    begun: Duration,
    dial: Weak<Dial>,
}

impl Untaken {
    /// The connection, while a request may take it.
    fn live(&self, now: Duration) -> Option<Arc<Dial>> {
        self.dial.upgrade().filter(|dial| dial.is_live(now))
    }

    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.begun) < PAUSE
    }

    fn counts(&self, now: Duration) -> bool {
        self.live(now).is_some() || self.is_recent(now)
    }
}

impl Default for Preconnects {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_PRECONNECTS)),
            untaken: Mutex::default(),
        }
    }
}

impl Preconnects {
    /// The connection that is made for this origin, and, where that is only to begin, what ends it. None where it is made to
    /// other addresses, the last one was made for nothing, or too many are.
    pub(super) fn begin<A: Dialable>(
        &self,
        origin: &Origin,
        addresses: &[A],
        tls: impl FnOnce() -> Option<MadeWith>,
        now: Duration,
    ) -> Option<(Arc<Dial>, Option<CancellationToken>)> {
        let mut untaken = self.untaken.lock();
        if let Some(last) = untaken.get(origin) {
            if let Some(dial) = last.live(now) {
                return dial.leads_only_to(addresses).then_some((dial, None));
            }
            if last.is_recent(now) {
                return None;
            }
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        if untaken.len() >= MAX_REMEMBERED {
            untaken.retain(|_, last| last.counts(now));
            if untaken.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let unwanted = CancellationToken::new();
        let dial = Arc::new(Dial {
            addresses: in_order(addresses),
            tls: tls(),
            begun: now,
            state: Mutex::new(State::UnderWay(place)),
            _wanted: unwanted.clone().drop_guard(),
        });
        let last = Untaken {
            begun: now,
            dial: Arc::downgrade(&dial),
        };
        untaken.insert(Arc::new(origin.clone()), last);
        Some((dial, Some(unwanted)))
    }

    /// Takes the connection that is made for this origin, if it leads to nothing but these addresses. Nobody else gets it then.
    pub(super) fn claim<A: Dialable>(
        &self,
        origin: &Origin,
        addresses: &[A],
        now: Duration,
    ) -> Option<Claim> {
        let mut untaken = self.untaken.lock();
        let dial = untaken.get(origin)?.live(now)?;
        let claim = dial.leads_only_to(addresses).then(|| dial.claim()).flatten()?;
        untaken.remove(origin);
        Some(claim)
    }

    /// Closes what waits for too long, and forgets what is long past.
    pub(super) fn sweep(&self, now: Duration) {
        self.untaken.lock().retain(|_, last| last.counts(now));
    }
}

impl Dial {
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn leads_only_to<A: Dialable>(&self, addresses: &[A]) -> bool {
        let is_judged = |dialled: &SocketAddr| addresses.iter().any(|address| address.socket() == *dialled);
        self.addresses.iter().all(is_judged)
    }

    /// Whether a request may take it. One that waited for too long closes.
    fn is_live(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        match &*state {
            State::UnderWay(_) => true,
            State::Ready { since, .. } if now.saturating_sub(*since) < MAX_WAIT => true,
            State::Ready { .. } => {
                *state = State::Over;
                false
            }
            State::Claimed(_) | State::Over => false,
        }
    }

    fn claim(self: Arc<Self>) -> Option<Claim> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::UnderWay(_) => {
                let (tell, made) = oneshot::channel();
                *state = State::Claimed(tell);
                drop(state);
                Some(Claim::UnderWay { made, dial: self })
            }
            State::Ready { reached, .. } => Some(Claim::Ready(reached)),
            claimed @ State::Claimed(_) => {
                *state = claimed;
                None
            }
            State::Over => None,
        }
    }

    /// It is made now, or failed, which is nobody's failure unless a request waits for it.
    pub(super) fn settle(&self, made: Result<Reached, Cause>, now: Duration) {
        let mut state = self.state.lock();
        *state = match (std::mem::replace(&mut *state, State::Over), made) {
            (State::Claimed(tell), made) => {
                // It may have hung up: then the connection closes.
                let _ = tell.send(made);
                State::Over
            }
            (State::UnderWay(place), Ok(reached)) => State::Ready {
                reached: Box::new(reached),
                since: now,
                _place: place,
            },
            _ => State::Over,
        };
    }

    /// Whether its failure is that of a request that claimed it then: its own try could not have ended otherwise.
    pub(super) fn decides(&self, failed: &Cause, claimed: Duration) -> bool {
        !failed.is_local()
            && claimed.saturating_sub(self.begun) <= MAX_LEAD
            && self.tls.as_ref().is_none_or(MadeWith::is_current)
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use admission::Scheme;

    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn origin(number: usize) -> Origin {
        let host = format!("h{number}.example");
        let (scheme, port) = (Scheme::Https, 443);
        Origin { scheme, host, port }
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 443))
    }

    fn failed() -> Result<Reached, Cause> {
        Err(Cause::new("connect: refused"))
    }

    #[test]
    fn preconnects_are_one_for_an_origin_and_bounded_in_all() {
        let (preconnects, here) = (Preconnects::default(), [address(1)]);
        let begin = |number| preconnects.begin(&origin(number), &here, || None, START);
        let mut begun: Vec<_> = (0..MAX_PRECONNECTS)
            .map(|number| begin(number).unwrap())
            .collect();
        assert!(begun.iter().all(|(_, unwanted)| unwanted.is_some()));
        assert!(begin(MAX_PRECONNECTS).is_none());
        let (same, unwanted) = begin(0).unwrap();
        assert!(unwanted.is_none() && Arc::ptr_eq(&same, &begun[0].0));
        assert!(
            preconnects
                .begin(&origin(0), &[address(2)], || None, START)
                .is_none()
        );

        // One that ended, that a request took, or that nobody wants any more, makes room.
        begun[1].0.settle(failed(), START);
        assert!(begin(MAX_PRECONNECTS).is_some_and(|(_, unwanted)| unwanted.is_some()));
        let claimed = preconnects.claim(&origin(2), &here, START);
        assert!(claimed.is_some());
        assert!(begin(MAX_PRECONNECTS + 1).is_some_and(|(_, unwanted)| unwanted.is_some()));
        let (last, unwanted) = begun.pop().unwrap();
        drop(last);
        assert!(unwanted.unwrap().is_cancelled());
        assert!(begin(MAX_PRECONNECTS + 2).is_some());
    }

    #[test]
    fn preconnect_is_claimed_once_and_only_for_addresses_that_hold_its_own() {
        let preconnects = Preconnects::default();
        let both = [address(1), address(2)];
        let _begun = preconnects.begin(&origin(0), &both, || None, START).unwrap();
        let claim = |addresses: &[SocketAddr]| preconnects.claim(&origin(0), addresses, START).is_some();
        assert!(!claim(&[address(1)]) && !claim(&[address(3), address(2)]));
        assert!(claim(&[address(3), address(2), address(1)]));
        assert!(!claim(&both));
    }

    #[test]
    fn preconnect_that_no_request_took_is_followed_by_none_for_ten_seconds_and_they_are_bounded() {
        let (preconnects, here) = (Preconnects::default(), [address(1)]);
        let begin = |number, now| preconnects.begin(&origin(number), &here, || None, now);
        for number in 0..MAX_REMEMBERED {
            drop(begin(number, START).unwrap());
        }
        let before = START + PAUSE - Duration::from_millis(1);
        assert!(begin(0, before).is_none() && begin(MAX_REMEMBERED, before).is_none());
        assert!(begin(MAX_REMEMBERED, START + PAUSE).is_some());
        assert_eq!(preconnects.untaken.lock().len(), 1);
        assert!(begin(0, START + PAUSE).is_some());
        // One that failed was of no use, either; one that a request took was.
        let (failing, _unwanted) = begin(1, START + PAUSE).unwrap();
        failing.settle(failed(), START + PAUSE);
        assert!(begin(1, START + PAUSE).is_none());
        let _taken = begin(2, START + PAUSE).unwrap();
        assert!(preconnects.claim(&origin(2), &here, START + PAUSE).is_some());
        assert!(begin(2, START + PAUSE).is_some());
        preconnects.sweep(START + 2 * PAUSE);
        assert_eq!(preconnects.untaken.lock().len(), 0);
    }

    #[test]
    fn preconnects_failure_decides_a_request_only_where_it_is_its_own_try_in_substance() {
        let (preconnects, here) = (Preconnects::default(), [address(1)]);
        let (dial, _unwanted) = preconnects.begin(&origin(0), &here, || None, START).unwrap();
        let refused = Cause::new("connect: refused");
        assert!(dial.decides(&refused, START + MAX_LEAD));
        assert!(!dial.decides(&refused, START + MAX_LEAD + Duration::from_millis(1)));
        assert!(!dial.decides(&Cause::local("connect: no local port is free"), START));
    }
}
