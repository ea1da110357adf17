//! The record of one request: what is counted, logged and kept as evidence, exactly once, however
//! the request ends.
//!
//! A record goes through the request's life with it: received, intended (on disk, about to be
//! dispatched), answered. Each phase consumes the one before, and each can end the record. One that
//! is dropped ends too: as that of a caller who left, or of what the connection says ended it.

mod ending;
mod line;
mod stages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::denial::Stage;
use admission::names::{self, X_CARACAL_CLIENT_ID};
use admission::ports::Cause;
use admission::{CrossingFacts, Denial, Journal, Refused, Subject, Usage};
use evidence::{Crossing, Fingerprint, Outcome, Refusal, Replay, Room, Spool, Status, Uuid};
use http::{HeaderValue, Method, StatusCode, request};

use crate::clock;
use crate::ingress::capacity::Capacity;
use crate::ingress::connection::InFlight;
use crate::telemetry::Metrics;
use crate::telemetry::log::LineSink;
pub use ending::End;
use ending::evidence_labels;
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
    /// The request on its connection.
    pub in_flight: &'a InFlight,
}

/// The record of a request in one phase of its life.
pub struct Record<P: Phase>(Option<(Box<Known>, P)>);

/// A phase of a request's life.
pub trait Phase: Into<Reached> {}

/// The request was received.
pub struct Received;

/// Its intent is on record: bytes of it may go upstream.
pub struct Intended(Dispatched);

/// The upstream answered, and the answer is on its way to the caller.
pub struct Answered {
    dispatched: Dispatched,
    status: StatusCode,
    /// From the request's arrival to the answer's head.
    after: Duration,
    bytes_out: u64,
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
    path_fingerprint: Fingerprint,
    bearer: Option<Fingerprint>,
    identity: Option<Identity>,
}

/// Whose request it is, once its signature held.
struct Identity {
    bearer: Fingerprint,
    subject: Subject,
    /// Once the binding is known.
    application_id: Option<String>,
}

/// What a dispatched request adds.
struct Dispatched {
    evidence: Crossing,
    upstream_host: Box<str>,
    auth_mode: Box<str>,
    trace_id: Option<Box<str>>,
}

/// How a record ends.
enum Closing<'a> {
    Refused(&'a Refused),
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
            path_fingerprint: evidence::fingerprint(head.uri.path().as_bytes()),
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

impl Journal for Record<Received> {
    type Room = Room;
    type Intent = Record<Intended>;

    fn passed(&mut self, stage: Stage) {
        if let Some((known, _)) = &mut self.0 {
            known.stages.pass(stage);
        }
    }

    fn bearer(&mut self, token: &str) {
        if let Some((known, _)) = &mut self.0 {
            known.bearer = Some(evidence::fingerprint(token.as_bytes()));
        }
    }

    fn identified(&mut self, subject: Subject) -> Result<(), Denial> {
        let Some((known, _)) = &mut self.0 else {
            return Err(Denial::Overloaded);
        };
        // Gates 2 and 3 found the bearer before gate 9 verified it.
        let bearer = known.bearer.ok_or(Denial::MissingBearer)?;
        known.identity = Some(Identity {
            bearer,
            subject,
            application_id: None,
        });
        let place = known
            .recorder
            .capacity
            .request()
            .map_err(|_| Denial::Overloaded)?;
        known.in_flight.keep(place);
        Ok(())
    }

    fn bound(&mut self, application_id: &str) {
        if let Some((known, _)) = &mut self.0
            && let Some(identity) = &mut known.identity
        {
            identity.application_id = Some(application_id.to_owned());
        }
    }

    fn reserve(&mut self) -> Result<Room, Cause> {
        match &self.0 {
            Some((known, _)) => known
                .recorder
                .spool
                .reserve()
                .map_err(|no_room| Cause::new(no_room.to_string())),
            None => Err(Cause::new("the record has ended")),
        }
    }

    async fn intent(
        mut self,
        room: Room,
        crossing: &CrossingFacts<'_>,
    ) -> Result<Record<Intended>, (Self, Cause)> {
        let Some((known, identity)) = self
            .0
            .as_ref()
            .and_then(|(known, _)| Some((known, known.identity.as_ref()?)))
        else {
            return Err((self, Cause::new("the record has no subject")));
        };
        let evidence = match room.intent(&known.event(identity, Some(crossing))).await {
            Ok(evidence) => evidence,
            Err(error) => return Err((self, Cause::new(error.to_string()))),
        };
        let dispatched = Dispatched {
            evidence,
            upstream_host: crossing.upstream_host.into(),
            auth_mode: crossing.directive.auth_mode.as_str().into(),
            trace_id: crossing.trace_id.map(Box::from),
        };
        Ok(Record(
            self.0
                .take()
                .map(|(known, Received)| (known, Intended(dispatched))),
        ))
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
                after,
                bytes_out: 0,
            };
            (known, answered)
        }))
    }
}

impl Record<Answered> {
    /// So many bytes of the body were handed to the caller.
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
            (Reached::Answer(answered), Closing::Ended(_)) => answered.status.as_u16(),
            (Reached::Gates | Reached::Upstream(_), Closing::Ended(_)) => NO_ANSWER,
        };
        self.count(&reached, &ending, gateway_status);
        self.log(&reached, &ending, gateway_status);
        self.keep(reached, &ending, gateway_status);
    }

    fn count(&self, reached: &Reached, ending: &Closing<'_>, status: u16) {
        let metrics = &self.recorder.metrics;
        match (ending, reached) {
            (Closing::Refused(refused), _) if refused.sts.is_some() => metrics.denied_by_sts(status),
            (Closing::Refused(refused), _) => metrics.denied(refused.denial),
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
        metrics.request(self.stages.elapsed(), trace_id);
    }

    /// The evidence: the outcome of a crossing, or an event of its own once somebody vouched for the
    /// subject.
    fn keep(&self, reached: Reached, ending: &Closing<'_>, gateway_status: u16) {
        let latency = match &reached {
            Reached::Answer(answered) if matches!(ending, Closing::Ended(_)) => answered.after,
            Reached::Gates | Reached::Upstream(_) | Reached::Answer(_) => self.stages.elapsed(),
        };
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let (status, error_kind) = match ending {
            Closing::Refused(refused) => {
                let (status, kind) = evidence_labels(refused.denial);
                (status, Some(kind))
            }
            Closing::Ended(end) => (end.status(), end.error_kind()),
        };
        let (dispatched, upstream_status, response_bytes) = match reached {
            Reached::Gates => {
                return self.keep_undispatched(ending, error_kind, status, gateway_status, latency_ms);
            }
            Reached::Upstream(Intended(dispatched)) => (dispatched, None, 0),
            Reached::Answer(answered) => (
                answered.dispatched,
                Some(answered.status.as_u16()),
                answered.bytes_out,
            ),
        };
        dispatched.evidence.outcome(&Outcome {
            error_kind,
            gateway_status: Some(gateway_status),
            latency_ms: Some(latency_ms),
            response_bytes: Some(response_bytes),
            upstream_status,
            revocation_interrupted: ending.is_revocation(),
            ..Outcome::new(status)
        });
    }

    fn keep_undispatched(
        &self,
        ending: &Closing<'_>,
        error_kind: Option<&'static str>,
        status: Status,
        gateway_status: u16,
        latency_ms: u64,
    ) {
        let (Some(identity), Some(error_kind)) = (&self.identity, error_kind) else {
            return;
        };
        let spool = &self.recorder.spool;
        if let (Closing::Refused(refused), Usage::SingleUse { jti }) = (ending, &identity.subject.usage)
            && refused.denial == Denial::Replayed
        {
            return spool.replay_detected(&Replay {
                id: self.own_id,
                occurred_at: self.occurred_at,
                zone_id: &identity.subject.zone_id,
                request_id: self.request_id(),
                jti,
                resource: &identity.subject.resource,
                client_id: identity.application_id(),
                subject_fingerprint: identity.bearer,
            });
        }
        let refusal = Refusal {
            status: match ending {
                Closing::Refused(_) => status,
                // Nothing crossed, whatever ended it.
                Closing::Ended(_) => Status::Denied,
            },
            error_kind,
            gateway_status,
            latency_ms,
        };
        spool.denied(&self.event(identity, None), &refusal);
    }

    fn event<'a>(
        &'a self,
        identity: &'a Identity,
        crossing: Option<&CrossingFacts<'a>>,
    ) -> evidence::Request<'a> {
        let subject = &identity.subject;
        let directive = crossing.map(|crossing| crossing.directive);
        evidence::Request {
            id: self.own_id,
            occurred_at: self.occurred_at,
            zone_id: &subject.zone_id,
            request_id: self.request_id(),
            application_id: identity.application_id(),
            resource: &subject.resource,
            subject_fingerprint: identity.bearer,
            method: self.method.as_str(),
            agent_session_id: subject.agent_session_id.as_deref(),
            session_id: subject.session_id.as_deref(),
            path_fingerprint: Some(self.path_fingerprint),
            trace_id: crossing.and_then(|crossing| crossing.trace_id),
            subject_kind: subject.subject_kind.as_deref(),
            upstream_host: crossing.map(|crossing| crossing.upstream_host),
            auth_mode: directive.map(|directive| directive.auth_mode.as_str()),
            provider_id: directive.and_then(|directive| directive.provider_id.as_deref()),
            connection_id: directive.and_then(|directive| directive.connection_id.as_deref()),
        }
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
        }
    }
}
