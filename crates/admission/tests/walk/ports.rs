//! The ports in memory: each answers as the script says and writes the call into the journal.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admission::binding::{Application, Binding, JudgedUpstream};
use admission::denial::Stage;
use admission::exchange::{Circuit, CircuitLimits, SignedExchange};
use admission::ports::{
    Bindings, BoxFuture, Cause, Clock as _, Departure, ExchangeFailure, KeyRefusal, Mandate, Mark,
    MarkRefusal, Moment, NotBound, ReplayMarks, Resolver, Revocations, SigningKeys, Standing, Sts, StsAnswer,
    Watch, WatchState, ZoneStanding,
};
use admission::token::{Anchors, VerifyingKey};
use admission::{CrossingFacts, Denial, OwnPlace, Subject};
use testkit::clock::FixedClock;
use testkit::mint::Key;

pub(crate) const ZONE: &str = "zone-1";
pub(crate) const RESOURCE: &str = "resource://pipernet";

/// What the key store answers.
#[derive(Clone, Copy)]
pub(crate) enum Keys {
    Known,
    Unavailable,
    /// They could not even be asked for.
    Lacking,
}

/// What the revocation state answers.
#[derive(Clone, Copy)]
pub(crate) enum Revocation {
    Clear,
    Revoked,
    Stale,
    /// The registry of watches is full.
    Full,
    /// A revocation that arrives after the watch is registered, and that the set does not show.
    Meanwhile,
}

/// What the replay store does.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    Created,
    Seen,
    Unavailable,
    /// It never answers.
    Hangs,
}

/// What becomes of an exchange.
#[derive(Clone)]
pub(crate) enum Exchange {
    Answers(u16, String),
    /// An answer of a transport that forgot to note the departure.
    AnswersUnnoticed(u16, String),
    /// This process lacks the means to ask: nothing left.
    Local,
    Connect,
    /// The wait for a free connection was too long: nothing left.
    PoolTimeout,
    Timeout,
    Broken,
    Oversized,
    /// An endless answer of a transport that forgot to note the departure.
    OversizedUnnoticed,
    /// Nothing has left, and nothing happens any more.
    HangsBefore,
    /// Everything has left, and nothing happens any more.
    HangsAfter,
}

/// How the world answers.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) keys: Keys,
    /// How long the key store takes.
    pub(crate) keys_take: Duration,
    pub(crate) revocation: Revocation,
    pub(crate) bound: Option<Binding>,
    pub(crate) reread: Option<Binding>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether there is a place in flight.
    pub(crate) place: bool,
    pub(crate) room: bool,
    pub(crate) set: Set,
    pub(crate) exchange: Exchange,
}

/// Everything outside the gates.
pub(crate) struct World {
    pub(crate) key: Key,
    pub(crate) clock: FixedClock,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) script: Script,
    pub(crate) journal: Arc<Journal>,
}

/// What was called, in order, and with what.
#[derive(Default)]
pub(crate) struct Journal {
    calls: Mutex<Vec<&'static str>>,
    pub(crate) marks: Mutex<Vec<Mark>>,
    pub(crate) released: Mutex<Vec<Mark>>,
    pub(crate) forms: Mutex<Vec<String>>,
    pub(crate) standing_read_at: Mutex<Option<Moment>>,
    pub(crate) watch: Mutex<Option<Arc<Flag>>>,
}

impl Journal {
    fn write(&self, call: &'static str) {
        self.calls.lock().unwrap().push(call);
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, call: &str) -> bool {
        self.calls.lock().unwrap().contains(&call)
    }
}

impl World {
    pub(crate) fn new(clock: FixedClock, key: Key, script: Script) -> Arc<Self> {
        Arc::new(Self {
            key,
            clock,
            circuit: Circuit::new(CircuitLimits { max_inflight: 8 }),
            script,
            journal: Arc::default(),
        })
    }

    /// What is told to be dialled while the exchange is under way.
    pub(crate) fn expect(&self, upstream: &JudgedUpstream) {
        self.journal.write("expect");
        assert!(!upstream.addresses().is_empty(), "judged");
    }

    /// Exchanges in flight.
    pub(crate) fn inflight(&self) -> usize {
        self.circuit.figures(self.clock.now()).inflight
    }
}

/// A binding of the zone's resource.
pub(crate) fn binding(url: &str) -> Binding {
    Binding {
        zone_id: ZONE.to_owned(),
        resource: RESOURCE.to_owned(),
        application: Application::Bound("app-of-binding".to_owned()),
        upstream_url: url.into(),
    }
}

impl SigningKeys for World {
    fn find<'a>(
        &'a self,
        _: &'a str,
        kid: &'a str,
        _: &'a OwnPlace,
    ) -> BoxFuture<'a, Result<Arc<VerifyingKey>, KeyRefusal>> {
        self.journal.write("key");
        self.clock.advance(self.script.keys_take);
        let point = self.key.public_point();
        let answer = match self.script.keys {
            Keys::Unavailable => Err(KeyRefusal::Unavailable(Cause::new("scripted"))),
            Keys::Lacking => Err(KeyRefusal::Unavailable(Cause::local("scripted"))),
            Keys::Known if kid != self.key.kid() => Err(KeyRefusal::Unknown),
            Keys::Known => {
                let (x, y) = (point[1..33].try_into().unwrap(), point[33..].try_into().unwrap());
                Ok(Arc::new(VerifyingKey::new(x, y).unwrap()))
            }
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A watch on one request's anchors.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Watch for Flag {
    fn revoked(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn poll_now(&self) -> WatchState {
        if self.0.load(Ordering::SeqCst) {
            WatchState::Revoked
        } else {
            WatchState::Quiet
        }
    }
}

impl Revocations for World {
    fn watch(&self, anchors: &Anchors<'_>) -> Result<Arc<dyn Watch>, Cause> {
        self.journal.write("watch");
        assert!(anchors.sid.is_some() && anchors.delegation_edge_id.is_some());
        if matches!(self.script.revocation, Revocation::Full) {
            return Err(Cause::new("scripted"));
        }
        let flag = Arc::new(Flag::default());
        *self.journal.watch.lock().unwrap() = Some(Arc::clone(&flag));
        Ok(flag)
    }

    fn standing(&self, mandate: &Mandate<'_>, now: Moment) -> Standing {
        self.journal.write("standing");
        assert_eq!(mandate.zone, ZONE);
        assert!(
            mandate
                .issued_at
                .is_some_and(|issued| issued < mandate.expires_at)
        );
        *self.journal.standing_read_at.lock().unwrap() = Some(now);
        match self.script.revocation {
            Revocation::Revoked => Standing::Revoked,
            Revocation::Stale => Standing::Stale(Cause::new("scripted")),
            Revocation::Meanwhile => {
                self.journal.watch.lock().unwrap().as_ref().unwrap().raise();
                Standing::Clear
            }
            Revocation::Clear | Revocation::Full => Standing::Clear,
        }
    }
}

impl Bindings for World {
    fn zone(&self, zone: &str) -> ZoneStanding {
        self.journal.write("zone");
        if zone == ZONE {
            ZoneStanding::Known
        } else {
            ZoneStanding::Unknown
        }
    }

    fn find<'a>(&'a self, zone: &'a str, resource: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        self.journal.write("find");
        assert_eq!((zone, resource), (ZONE, RESOURCE));
        Box::pin(std::future::ready(found(self.script.bound.as_ref())))
    }

    fn reread<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        self.journal.write("reread");
        Box::pin(std::future::ready(found(self.script.reread.as_ref())))
    }
}

fn found(binding: Option<&Binding>) -> Result<Arc<Binding>, NotBound> {
    binding
        .cloned()
        .map(Arc::new)
        .ok_or_else(|| NotBound(Cause::new("scripted")))
}

impl Resolver for World {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<[IpAddr]>, Cause>> {
        self.journal.write("resolve");
        Box::pin(std::future::ready(Ok(self.script.addresses.as_slice().into())))
    }
}

/// A reserved room, which notes its return.
pub(crate) struct Room(Arc<Journal>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.write("room returned");
    }
}

/// What is kept of the one request.
pub(crate) struct Kept {
    pub(crate) world: Arc<World>,
    pub(crate) bearer: Option<String>,
    pub(crate) subject: Option<Subject>,
    pub(crate) application_id: Option<String>,
}

impl admission::Journal for Kept {
    type Room = Room;
    type Intent = ();

    fn passed(&mut self, _: Stage) {}

    fn bearer(&mut self, token: &str) {
        self.bearer = Some(token.to_owned());
    }

    fn identified(&mut self, subject: Subject) -> Result<(), Denial> {
        self.subject = Some(subject);
        if self.world.script.place {
            Ok(())
        } else {
            Err(Denial::Overloaded)
        }
    }

    fn bound(&mut self, application_id: &str) {
        self.application_id = Some(application_id.to_owned());
    }

    fn reserve(&mut self) -> Result<Room, Cause> {
        let journal = &self.world.journal;
        journal.write("room");
        if self.world.script.room {
            Ok(Room(Arc::clone(journal)))
        } else {
            Err(Cause::new("scripted"))
        }
    }

    async fn intent(self, _: Room, _: &CrossingFacts<'_>) -> Result<(), (Self, Cause)> {
        Ok(())
    }
}

impl ReplayMarks for World {
    fn set<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), MarkRefusal>> {
        self.journal.write("set");
        self.journal.marks.lock().unwrap().push(mark.clone());
        let answer = match self.script.set {
            Set::Created => Ok(()),
            Set::Seen => Err(MarkRefusal::Seen(Cause::new("scripted"))),
            Set::Unavailable => Err(MarkRefusal::Unavailable(Cause::new("scripted"))),
            Set::Hangs => return Box::pin(std::future::pending()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn release(&self, mark: Mark) {
        self.journal.write("release");
        self.journal.released.lock().unwrap().push(mark);
    }
}

impl Sts for World {
    fn exchange<'a>(
        &'a self,
        call: &'a SignedExchange,
        departure: &'a Departure,
    ) -> BoxFuture<'a, Result<StsAnswer, ExchangeFailure>> {
        self.journal.write("exchange");
        self.journal.forms.lock().unwrap().push(call.body.clone());
        let answer = |status, body: String| {
            Ok(StsAnswer {
                status,
                content_type: "application/json".to_owned(),
                body: body.into(),
            })
        };
        let cause = || Cause::new("scripted");
        let departed = |result| {
            departure.mark();
            result
        };
        let answer = match self.script.exchange.clone() {
            Exchange::Answers(status, body) => departed(answer(status, body)),
            Exchange::AnswersUnnoticed(status, body) => answer(status, body),
            Exchange::Local => Err(ExchangeFailure::Local(Cause::local("scripted"))),
            Exchange::Connect => Err(ExchangeFailure::Connect(cause())),
            Exchange::PoolTimeout => Err(ExchangeFailure::Timeout(cause())),
            Exchange::Timeout => departed(Err(ExchangeFailure::Timeout(cause()))),
            Exchange::Broken => departed(Err(ExchangeFailure::Transport(cause()))),
            Exchange::Oversized => departed(Err(ExchangeFailure::Oversized)),
            Exchange::OversizedUnnoticed => Err(ExchangeFailure::Oversized),
            Exchange::HangsBefore => return Box::pin(std::future::pending()),
            Exchange::HangsAfter => {
                departure.mark();
                return Box::pin(std::future::pending());
            }
        };
        Box::pin(std::future::ready(answer))
    }
}
