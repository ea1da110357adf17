//! The record of one request: what is counted, logged and kept as evidence, exactly once, however
//! the request ends.
//!
//! A record goes through the request's life with it: received, intended (about to be dispatched, and on disk before the
//! request waits for a connection or leaves), answered. Each phase consumes the one before, and each can end the record. One that
//! is dropped ends too: as that of a caller who left, or of what the connection says ended it.

mod ending;
mod event;
mod journal;
mod line;
mod stages;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use admission::names::{self, X_CARACAL_CLIENT_ID};
use admission::{Denial, Refused, Subject};
use evidence::{Crossing, Fingerprint, Spool, Uuid};
use http::{HeaderValue, Method, StatusCode, Uri, request};

use crate::clock;
use crate::ingress::capacity::Capacity;
use crate::ingress::connection::InFlight;
use crate::telemetry::Metrics;
use crate::telemetry::log::LineSink;
pub use ending::End;
pub(crate) use ending::evidence_labels;
use stages::Stages;

/// The status in log and evidence where the caller saw none.
const NO_ANSWER: u16 = 499;

/// Where records end up.
pub struct Recorder {
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// The log.
    pub lines: Arc<LineSink>,
    /// The evidence.
    pub spool: Spool,
    /// Where verified requests take their place.
    pub capacity: Arc<Capacity>,
}

/// What identifies a request before anything is known of it.
pub struct Arrived<'a> {
    /// The gateway's own id of the request: the exchange's, and the evidence's.
    pub own_id: Uuid,
    /// The id that the caller sees.
    pub request_id: &'a HeaderValue,
    /// The caller, as the trusted proxies tell it.
    pub client: IpAddr,
    /// The subject of the certificate that the other end showed.
    pub client_certificate: Option<&'a Arc<str>>,
    /// The request on its connection.
    pub in_flight: &'a InFlight,
}

/// The record of a request in one phase of its life.
pub struct Record<P: Phase>(Option<(Box<Known>, P)>);

/// A phase of a request's life.
pub trait Phase: Into<Reached> {}

/// The request was received.
pub struct Received;

/// Its intent is on record, or will be before it waits for a connection or a byte of it is written: it may go upstream.
pub struct Intended(Dispatched);

/// The upstream answered, and the answer is on its way to the caller.
pub struct Answered {
    dispatched: Dispatched,
    status: StatusCode,
    /// What the caller is told, where it is something else.
    told: Option<StatusCode>,
    /// From the request's arrival to the answer's head.
    after: Duration,
    bytes_out: u64,
    /// What came from the caller behind a switch of protocols.
    bytes_in: Option<u64>,
}

/// How far the request came.
pub enum Reached {
    /// No byte of it left.
    Gates,
    /// It was dispatched.
    Upstream(Intended),
    /// It was answered.
    Answer(Answered),
}

impl From<Received> for Reached {
    fn from(_: Received) -> Self {
        Self::Gates
    }
}

impl From<Intended> for Reached {
    fn from(phase: Intended) -> Self {
        Self::Upstream(phase)
    }
}

impl From<Answered> for Reached {
    fn from(phase: Answered) -> Self {
        Self::Answer(phase)
    }
}

impl Phase for Received {}
impl Phase for Intended {}
impl Phase for Answered {}

/// What is known of a request, more with every gate.
struct Known {
    recorder: Arc<Recorder>,
    in_flight: InFlight,
    stages: Stages,
    occurred_at: i64,
    own_id: Uuid,
    request_id: HeaderValue,
    method: Method,
    client: IpAddr,
    client_certificate: Option<Arc<str>>,
    /// Until the signature held: nobody keeps evidence of what is refused before.
    uri: Option<Uri>,
    bearer: Option<Fingerprint>,
    identity: Option<Identity>,
}

/// Whose request it is, once its signature held.
struct Identity {
    bearer: Fingerprint,
    path: Fingerprint,
    subject: Subject,
    /// Once the binding is known.
    application_id: Option<String>,
}

/// What a dispatched request adds.
struct Dispatched {
    evidence: Crossing,
    /// How many times it was about to be sent.
    attempts: Arc<AtomicU8>,
    upstream_host: Box<str>,
    auth_mode: Box<str>,
    trace_id: Option<Box<str>>,
}

/// How a record ends.
enum Closing<'a> {
    Refused(&'a Refused),
    /// Answered as a preflight.
    Preflight,
    Ended(End),
}

impl Recorder {
    /// Opens the record of a request.
    pub fn open(self: &Arc<Self>, head: &request::Parts, arrived: &Arrived<'_>) -> Record<Received> {
        self.metrics.received();
        let is_client_id = |name| names::is_same(name, &X_CARACAL_CLIENT_ID);
        if head.headers.keys().any(is_client_id) {
            self.metrics.client_id_ignored();
        }
        let known = Known {
            recorder: Arc::clone(self),
            in_flight: arrived.in_flight.clone(),
            stages: Stages::new(),
            occurred_at: clock::unix_micros(),
            own_id: arrived.own_id,
            request_id: arrived.request_id.clone(),
            method: head.method.clone(),
            client: arrived.client,
            client_certificate: arrived.client_certificate.cloned(),
            uri: Some(head.uri.clone()),
            bearer: None,
            identity: None,
        };
        Record(Some((Box::new(known), Received)))
    }
}

impl<P: Phase> Record<P> {
    /// The request was refused, before or after its dispatch.
    pub fn refused(mut self, refused: &Refused) {
        self.close(Closing::Refused(refused));
    }

    /// The request is a preflight of a listed origin, and answered as such.
    pub fn preflight(mut self) {
        self.close(Closing::Preflight);
    }

    /// The request ended otherwise.
    pub fn end(mut self, end: End) {
        self.close(Closing::Ended(end));
    }

    /// The response was handed over to its end. Whether it ended before the caller took it, the
    /// connection knows.
    pub fn complete(mut self) {
        self.close_by_connection(End::Complete);
    }

    /// Ends as the connection or the stream was ended, or otherwise like this.
    fn close_by_connection(&mut self, otherwise: End) {
        if let Some((known, _)) = &self.0 {
            let end = known.in_flight.ended_by().map_or(otherwise, End::from);
            self.close(Closing::Ended(end));
        }
    }

    fn close(&mut self, ending: Closing<'_>) {
        if let Some((known, phase)) = self.0.take() {
            known.close(phase.into(), ending);
        }
    }
}

impl<P: Phase> Drop for Record<P> {
    fn drop(&mut self) {
        self.close_by_connection(End::CallerLeft);
    }
}

impl Record<Intended> {
    /// The upstream's head arrived.
    #[must_use]
    pub fn answered(mut self, status: StatusCode) -> Record<Answered> {
        Record(self.0.take().map(|(known, Intended(dispatched))| {
            let after = known.stages.elapsed();
            let metrics = &known.recorder.metrics;
            metrics.first_byte(after, dispatched.trace_id.as_deref());
            let answered = Answered {
                dispatched,
                status,
                told: None,
                after,
                bytes_out: 0,
                bytes_in: None,
            };
            (known, answered)
        }))
    }
}

impl Record<Answered> {
    /// The protocol is switched, of which this status tells the caller.
    pub fn switched(&mut self, told: StatusCode) {
        if let Some((known, answered)) = &mut self.0 {
            known.recorder.metrics.switched();
            (answered.told, answered.bytes_in) = (Some(told), Some(0));
        }
    }

    /// So many bytes of the caller's were handed to the upstream behind the switch.
    pub fn sent(&mut self, bytes: u64) {
        if let Some((_, answered)) = &mut self.0 {
            answered.bytes_in = answered.bytes_in.map(|before| before.saturating_add(bytes));
        }
    }

    /// So many bytes of the body, or behind the switch, were handed to the caller.
    pub fn relayed(&mut self, bytes: u64) {
        if let Some((_, answered)) = &mut self.0 {
            answered.bytes_out = answered.bytes_out.saturating_add(bytes);
        }
    }
}

impl Known {
    fn close(&self, reached: Reached, ending: Closing<'_>) {
        let gateway_status = match (&reached, &ending) {
            (_, Closing::Refused(refused)) => refused.status(),
            (_, Closing::Preflight) => StatusCode::NO_CONTENT.as_u16(),
            (Reached::Answer(answered), Closing::Ended(_)) => {
                answered.told.unwrap_or(answered.status).as_u16()
            }
            (Reached::Gates | Reached::Upstream(_), Closing::Ended(_)) => NO_ANSWER,
        };
        let took = self.stages.elapsed();
        self.count(&reached, &ending, gateway_status, took);
        self.log(&reached, &ending, gateway_status, took);
        self.keep(reached, &ending, gateway_status, took);
    }

    fn count(&self, reached: &Reached, ending: &Closing<'_>, status: u16, elapsed: Duration) {
        let metrics = &self.recorder.metrics;
        match (ending, reached) {
            (Closing::Refused(refused), _) if refused.sts.is_some() => metrics.denied_by_sts(status),
            (Closing::Refused(refused), _) => metrics.denied(refused.denial),
            (Closing::Preflight, _) => metrics.preflight(),
            (Closing::Ended(End::Complete), Reached::Answer(_)) => metrics.allowed(),
            (Closing::Ended(End::UpstreamBroke | End::UpstreamSilent), _) => metrics.upstream_error(),
            (Closing::Ended(_), _) => {}
        }
        for (stage, took) in self.stages.took() {
            metrics.passed(stage, took);
        }
        let trace_id = reached
            .dispatched()
            .and_then(|dispatched| dispatched.trace_id.as_deref());
        metrics.request(elapsed, trace_id);
    }

    fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

impl Identity {
    /// The application under which the exchange is made; before the binding is known, the one that
    /// asked for the mandate, if it says so.
    fn application_id(&self) -> &str {
        let known = self
            .application_id
            .as_deref()
            .or(self.subject.client_id.as_deref());
        known.unwrap_or_default()
    }
}

impl Reached {
    fn dispatched(&self) -> Option<&Dispatched> {
        match self {
            Self::Gates => None,
            Self::Upstream(Intended(dispatched)) => Some(dispatched),
            Self::Answer(answered) => Some(&answered.dispatched),
        }
    }
}

impl Closing<'_> {
    fn is_revocation(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.denial == Denial::Revoked,
            Self::Ended(end) => *end == End::Revoked,
            Self::Preflight => false,
        }
    }
}
