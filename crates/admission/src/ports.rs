//! What the gates ask of the world, as traits. `backends` makes them real.
//!
//! Every port answers within a deadline of its own and every answer that is not a clear
//! yes is an error: a port that cannot decide never says that a request may pass.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::binding::entry::Binding;
pub use crate::cause::Cause;
use crate::exchange::sign::SignedExchange;
use crate::limits::EgressPolicy;
pub use crate::moment::Moment;
use crate::token::claims::Anchors;
use crate::token::key::VerifyingKey;
use crate::waiting::OwnPlace;

/// A future that a port returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The only source of time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Moment;
}

/// The verifying keys of the zones (gate 9).
pub trait SigningKeys: Send + Sync {
    /// The key `kid` of a zone that is known to have a binding. Who has to wait for it takes the place of the request's
    /// own connection, or one of those that all share.
    fn find<'a>(
        &'a self,
        zone: &'a str,
        kid: &'a str,
        own_place: &'a OwnPlace,
    ) -> BoxFuture<'a, Result<Arc<VerifyingKey>, KeyRefusal>>;
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyRefusal {
    /// The zone's current key set does not hold this `kid`.
    Unknown,
    /// The zone's keys cannot be had.
    Unavailable(Cause),
}

/// The revocation state (gate 10).
pub trait Revocations: Send + Sync {
    /// Registers interest in the anchors, before their standing is read, so that no
    /// revocation can fall between the reading and the dispatch.
    ///
    /// # Errors
    /// When the registry is full.
    fn watch(&self, anchors: &Anchors<'_>) -> Result<Arc<dyn Watch>, Cause>;

    /// Whether any anchor of a verified mandate is revoked, as far as is known at `now`.
    fn standing(&self, mandate: &Mandate<'_>, now: Moment) -> Standing;
}

/// A verified mandate, as far as it matters for revocation.
#[derive(Clone, Copy, Debug)]
pub struct Mandate<'a> {
    /// The zone that signed it.
    pub zone: &'a str,
    /// What it rests on.
    pub anchors: Anchors<'a>,
    /// `iat` in Unix seconds.
    pub issued_at: Option<i64>,
    /// `exp` in Unix seconds.
    pub expires_at: i64,
}

/// What is known of a mandate's anchors.
#[derive(Debug)]
#[must_use]
pub enum Standing {
    /// None of them is revoked and the state is fresh.
    Clear,
    /// At least one is revoked.
    Revoked,
    /// The state is too old, or does not hold enough of this zone, to tell.
    Stale(Cause),
}

/// A registered interest in the anchors of one request. Dropping it ends the interest.
pub trait Watch: Send + Sync {
    /// Completes when one of the anchors is revoked, and never otherwise.
    /// Each waiter takes a future of its own.
    fn revoked(&self) -> BoxFuture<'static, ()>;
    /// Completed or still pending, without waiting.
    fn poll_now(&self) -> WatchState;
}

/// What a watch has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum WatchState {
    /// No revocation since the watch was registered.
    Quiet,
    /// An anchor was revoked.
    Revoked,
}

/// The bindings (gates 8 and 11). Lookups are served from memory.
pub trait Bindings: Send + Sync {
    /// Whether a zone has at least one binding.
    fn zone(&self, zone: &str) -> ZoneStanding;

    /// The binding of (zone, resource).
    fn find<'a>(&'a self, zone: &'a str, resource: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>>;

    /// The same, read afresh from the source because the one in memory contradicts the STS.
    fn reread<'a>(
        &'a self,
        zone: &'a str,
        resource: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>>;
}

/// Whether a zone exists for this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ZoneStanding {
    /// It has at least one binding.
    Known,
    /// It has none; nothing is fetched for it.
    Unknown,
}

/// There is no binding, or it cannot be told.
#[derive(Debug)]
pub struct NotBound(pub Cause);

/// The egress policy (gate 11), which changes when the gateway's own endpoints do.
pub trait Egress: Send + Sync {
    /// The policy in force now. A request asks once and keeps to it.
    fn policy(&self) -> Arc<EgressPolicy>;
}

/// Name resolution for the egress guard (gate 11).
pub trait Resolver: Send + Sync {
    /// Every address of a host name; never empty on success.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Arc<[IpAddr]>, Cause>>;

    /// The addresses of a host turned out wrong: where they are remembered, the host is soon asked for again.
    fn forget(&self, host: &str) {
        let _nothing_is_remembered = host;
    }
}

/// The replay marks of single-use mandates (gate 14).
pub trait ReplayMarks: Send + Sync {
    /// Sets the mark if, and only if, it does not exist.
    fn set<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), MarkRefusal>>;

    /// Deletes the mark if it still holds this holder. Must not block: it is called from drops,
    /// and a mark that cannot be released merely stays until it expires.
    fn release(&self, mark: Mark);
}

/// One replay mark, `seen:jti:<jti>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The mandate's `jti`.
    pub jti: String,
    /// Who set it: the exchange id of this attempt, never a value that a client chose.
    pub holder: String,
    /// How long the mark lives: the mandate's whole life, or what remains of it if that is more, plus 60 s.
    pub life: Duration,
    /// The mandate's `iat` in Unix seconds, to judge it against a loss of the store.
    pub issued_at: Option<i64>,
}

/// Why no mark was set.
#[derive(Debug)]
pub enum MarkRefusal {
    /// The mandate was used before, or the store cannot rule it out because it lost its memory.
    Seen(Cause),
    /// The store did not answer. The mark may or may not exist.
    Unavailable(Cause),
}

/// The security token service (gate 15).
pub trait Sts: Send + Sync {
    /// Sends one exchange and returns the raw answer. `departure` is marked before the first
    /// byte may have left, and stays unmarked when it is certain that none did.
    fn exchange<'a>(
        &'a self,
        call: &'a SignedExchange,
        departure: &'a Departure,
    ) -> BoxFuture<'a, Result<StsAnswer, ExchangeFailure>>;
}

/// Whether bytes of an exchange may have reached the STS.
#[derive(Debug, Default)]
pub struct Departure(AtomicBool);

impl Departure {
    /// From here on bytes may have left.
    pub fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The transport proved that no byte left after all.
    pub fn take_back(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether bytes may have left.
    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The raw answer of the STS, at most 256 KiB.
pub struct StsAnswer {
    /// The HTTP status code.
    pub status: u16,
    /// The `Content-Type`, empty when absent.
    pub content_type: String,
    /// The body. It holds secrets.
    pub body: Bytes,
}

impl fmt::Debug for StsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsAnswer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer of the STS.
#[derive(Debug)]
pub enum ExchangeFailure {
    /// This process could not try, for want of descriptors, memory or local ports: it says nothing about the STS.
    Local(Cause),
    /// No connection could be made: a fault of the whole STS.
    Connect(Cause),
    /// `STS_TIMEOUT` passed.
    Timeout(Cause),
    /// The connection failed after it was made.
    Transport(Cause),
    /// The answer was larger than 256 KiB.
    Oversized,
}
