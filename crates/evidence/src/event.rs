//! The audit events and their exact bytes.
//!
//! An event is rendered once, when the intent is recorded, as it is shipped if no outcome follows. The outcome is
//! inserted into those bytes, so what was known of the request at dispatch is what is shipped.

use std::ops::Range;

use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::json::{flag, key, maybe_number, maybe_text, number, text};
use crate::timestamp::write_rfc3339;

/// No event is longer than this before it joins its chain, which adds at most 768 bytes, whatever the values in it: each is cut at 512 bytes.
pub const MAX_EVENT_BYTES: usize = 8 * 1024;

/// The most bytes by which an event with its outcome is longer than without.
pub(crate) const MAX_OUTCOME_BYTES: usize = 512;

/// Bytes that an event usually fits in.
pub(crate) const USUAL_EVENT_BYTES: usize = 1024;

/// What is known about a request when it is dispatched or refused.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The event's id, unique per request (UUIDv7).
    pub id: Uuid,
    /// When the request was dispatched or refused, in Unix microseconds.
    pub occurred_at: i64,
    /// The zone of the verified mandate.
    pub zone_id: &'a str,
    /// The request id that the client sees.
    pub request_id: &'a str,
    /// The application under which the exchange is made.
    pub application_id: &'a str,
    /// The resource identifier.
    pub resource: &'a str,
    /// The fingerprint of the inbound bearer.
    pub subject_fingerprint: Fingerprint,
    /// The request method.
    pub method: &'a str,
    /// The subject of the certificate that the caller showed over TLS.
    pub client_certificate: Option<&'a str>,
    /// The governed agent session that the mandate rests on.
    pub agent_session_id: Option<&'a str>,
    /// The authority record that the mandate rests on.
    pub session_id: Option<&'a str>,
    /// The fingerprint of the request path, without its query.
    pub path_fingerprint: Option<Fingerprint>,
    /// The trace id of the request's `traceparent`, 32 hex digits.
    pub trace_id: Option<&'a str>,
    /// What the mandate's subject is: `application`, `user`, …
    pub subject_kind: Option<&'a str>,
    /// The upstream's `host[:port]`, with the port where its URL has one.
    pub upstream_host: Option<&'a str>,
    /// How the upstream credential is carried.
    pub auth_mode: Option<&'a str>,
    /// The provider that issued the upstream credential.
    pub provider_id: Option<&'a str>,
    /// The connection (older STS: grant) that the upstream credential rests on.
    pub connection_id: Option<&'a str>,
}

/// Whether the request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It was dispatched.
    Allow,
    /// It was refused, and no byte of it went upstream.
    Deny,
}

impl Decision {
    /// The value of the event's `decision`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The response was relayed completely.
    Executed,
    /// The upstream failed, or the response broke off.
    UpstreamError,
    /// The upstream named by the directive may not be reached.
    UpstreamRejected,
    /// No request could be built from the directive.
    BuildFailed,
    /// A gate refused the request.
    Denied,
    /// The request was dispatched; how it ended is not known.
    Interrupted,
    /// The process ended, or the gateway stopped, when no byte of the request had left.
    NotDispatched,
}

impl Status {
    /// The value of the event's `evaluation_status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamRejected => "upstream_rejected",
            Self::BuildFailed => "build_failed",
            Self::Denied => "denied",
            Self::Interrupted => "interrupted",
            Self::NotDispatched => "not_dispatched",
        }
    }

    /// The decision that goes with this end.
    #[must_use]
    pub const fn decision(self) -> Decision {
        match self {
            Self::Executed | Self::UpstreamError | Self::Interrupted => Decision::Allow,
            Self::UpstreamRejected | Self::BuildFailed | Self::Denied | Self::NotDispatched => Decision::Deny,
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// The cause, when it did not end well: a label, never text from outside.
    pub error_kind: Option<&'static str>,
    /// The status code the client got, if it got one.
    pub gateway_status: Option<u16>,
    /// Milliseconds from the request's arrival to the response head.
    pub latency_ms: Option<u64>,
    /// Bytes that the caller sent over a connection whose protocol was switched; none where it was not.
    pub request_bytes: Option<u64>,
    /// Bytes of the upstream's response body, or behind its switch of protocols, that were relayed.
    pub response_bytes: Option<u64>,
    /// The status code of the upstream, if it answered.
    pub upstream_status: Option<u16>,
    /// A revocation ended the response.
    pub revocation_interrupted: bool,
    /// How many times the request was sent; the event says it where that was more than once.
    pub attempts: u8,
}

impl Outcome {
    /// An end about which no more is known than its status.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            error_kind: None,
            gateway_status: None,
            latency_ms: None,
            request_bytes: None,
            response_bytes: None,
            upstream_status: None,
            revocation_interrupted: false,
            attempts: 1,
        }
    }
}

/// A request that crossed nothing although its signature was verified: a gate refused it, or the client left
/// (`client_cancelled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// [`Status::Denied`], or the status that says why no request could be made.
    pub status: Status,
    /// The label of the denial or of the leaving, also the key of its quota.
    pub error_kind: &'static str,
    /// The status code the client got; 499 when it left before there was one.
    pub gateway_status: u16,
    /// Milliseconds from the request's arrival to the answer.
    pub latency_ms: u64,
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self {
            error_kind: Some(refusal.error_kind),
            gateway_status: Some(refusal.gateway_status),
            latency_ms: Some(refusal.latency_ms),
            response_bytes: Some(0),
            ..Self::new(refusal.status)
        }
    }
}

/// A mandate that was used a second time.
#[derive(Debug, Clone, Copy)]
pub struct Replay<'a> {
    /// The event's id.
    pub id: Uuid,
    /// When the second use was seen, in Unix microseconds.
    pub occurred_at: i64,
    /// The zone of the verified mandate.
    pub zone_id: &'a str,
    /// The request id that the client sees.
    pub request_id: &'a str,
    /// The mandate's id.
    pub jti: &'a str,
    /// The resource identifier.
    pub resource: &'a str,
    /// The binding's client id.
    pub client_id: &'a str,
    /// The fingerprint of the bearer.
    pub subject_fingerprint: Fingerprint,
}

/// Appends a `replay_detected` event.
pub(crate) fn write_replay(out: &mut Vec<u8>, replay: &Replay<'_>) {
    open(out, replay.id, replay.zone_id, REPLAY, replay.request_id);
    judge(out, Decision::Deny, ANOMALY);
    text(out, "client_id", replay.client_id);
    text(out, "jti", replay.jti);
    text(out, "request_id", replay.request_id);
    text(out, "resource", replay.resource);
    text(out, "subject_fp", replay.subject_fingerprint.as_str());
    close(out, replay.occurred_at);
}

/// Refusals of one zone and reason that were not written one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) id: Uuid,
    pub(crate) occurred_at: i64,
    pub(crate) zone_id: String,
    /// The request id of the first one, as an example.
    pub(crate) request_id: String,
    pub(crate) reason: &'static str,
    pub(crate) suppressed: u64,
}

/// The reason under which second uses are counted, and their event type.
pub(crate) const REPLAY: &str = "replay_detected";
const REQUEST: &str = "gateway_resource_request";
const ANOMALY: &str = "anomaly";

/// Appends the event that stands for many refusals.
pub(crate) fn write_summary(out: &mut Vec<u8>, summary: &Summary) {
    let replay = summary.reason == REPLAY;
    let event_type = if replay { REPLAY } else { REQUEST };
    open(out, summary.id, &summary.zone_id, event_type, &summary.request_id);
    judge(
        out,
        Decision::Deny,
        if replay { ANOMALY } else { Status::Denied.as_str() },
    );
    text(out, "error_kind", summary.reason);
    key(out, "suppressed");
    number(out, summary.suppressed);
    close(out, summary.occurred_at);
}

/// Where the members of the outcome belong in a `gateway_resource_request` event that has none yet.
#[derive(Debug)]
pub(crate) struct Template {
    /// After `request_id`.
    judgement: usize,
    /// The members of `metadata_json`, in five runs; members of the outcome follow each.
    runs: [Range<usize>; 5],
}

impl Template {
    /// Appends the event of a request whose outcome is not known.
    pub(crate) fn write(out: &mut Vec<u8>, request: &Request<'_>) -> Self {
        let base = out.len();
        open(out, request.id, request.zone_id, REQUEST, request.request_id);
        let judgement = out.len() - base;
        judge(out, Status::Interrupted.decision(), Status::Interrupted.as_str());
        let first = out.len() - base;
        maybe_text(out, "agent_session_id", request.agent_session_id);
        text(out, "application_id", request.application_id);
        let second = out.len() - base;
        maybe_text(out, "auth_mode", request.auth_mode);
        maybe_text(out, "client_certificate", request.client_certificate);
        maybe_text(out, "connection_id", request.connection_id);
        let third = out.len() - base;
        text(out, "method", request.method);
        let fingerprint = request.path_fingerprint.as_ref().map(Fingerprint::as_str);
        maybe_text(out, "path_fingerprint", fingerprint);
        maybe_text(out, "provider_id", request.provider_id);
        let fourth = out.len() - base;
        text(out, "resource", request.resource);
        let fifth = out.len() - base;
        maybe_text(out, "session_id", request.session_id);
        text(out, "subject_fingerprint", request.subject_fingerprint.as_str());
        maybe_text(out, "subject_kind", request.subject_kind);
        maybe_text(out, "trace_id", request.trace_id);
        maybe_text(out, "upstream_host", request.upstream_host);
        let end = out.len() - base;
        close(out, request.occurred_at);
        Self {
            judgement,
            runs: [
                first..second,
                second..third,
                third..fourth,
                fourth..fifth,
                fifth..end,
            ],
        }
    }

    /// Appends the event with its outcome, given the bytes that [`Template::write`] appended.
    pub(crate) fn complete(&self, template: &[u8], outcome: &Outcome, out: &mut Vec<u8>) {
        let copy = |out: &mut Vec<u8>, run: Range<usize>| {
            out.extend_from_slice(template.get(run).unwrap_or_default());
        };
        let [first, second, third, fourth, fifth] = self.runs.clone();
        copy(out, 0..self.judgement);
        judge(out, outcome.status.decision(), outcome.status.as_str());
        copy(out, first);
        let attempts = (outcome.attempts > 1).then(|| outcome.attempts.into());
        maybe_number(out, "attempts", attempts);
        copy(out, second);
        maybe_text(out, "error_kind", outcome.error_kind);
        maybe_number(out, "gateway_status", outcome.gateway_status.map(u64::from));
        maybe_number(out, "latency_ms", outcome.latency_ms);
        copy(out, third);
        maybe_number(out, "request_bytes", outcome.request_bytes);
        copy(out, fourth);
        maybe_number(out, "response_bytes", outcome.response_bytes);
        maybe_text(out, "result_class", result_class(outcome));
        if outcome.revocation_interrupted {
            flag(out, "revocation_interrupted", true);
        }
        copy(out, fifth.clone());
        maybe_number(out, "upstream_status", outcome.upstream_status.map(u64::from));
        copy(out, fifth.end..template.len());
    }
}

/// Makes the event of a request that was not dispatched of the event that its [`Template`] is.
///
/// What comes before the judgement are texts, in which a quotation mark is escaped, so nothing in them looks like it.
pub(crate) fn not_dispatched(template: &[u8]) -> Vec<u8> {
    let mut unknown = Vec::new();
    judge(
        &mut unknown,
        Status::Interrupted.decision(),
        Status::Interrupted.as_str(),
    );
    let at = template.windows(unknown.len()).position(|bytes| bytes == unknown);
    let Some((before, rest)) = at.and_then(|at| template.split_at_checked(at)) else {
        return template.to_vec();
    };
    let mut out = before.to_vec();
    judge(
        &mut out,
        Status::NotDispatched.decision(),
        Status::NotDispatched.as_str(),
    );
    out.extend_from_slice(rest.get(unknown.len()..).unwrap_or_default());
    out
}

pub(crate) fn open(out: &mut Vec<u8>, id: Uuid, zone_id: &str, event_type: &str, request_id: &str) {
    out.push(b'{');
    text(
        out,
        "id",
        id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()),
    );
    text(out, "zone_id", zone_id);
    text(out, "event_type", event_type);
    text(out, "request_id", request_id);
}

pub(crate) fn judge(out: &mut Vec<u8>, decision: Decision, status: &str) {
    text(out, "decision", decision.as_str());
    text(out, "evaluation_status", status);
    out.extend_from_slice(br#","determining_policies_json":[],"diagnostics_json":[],"metadata_json":{"#);
}

pub(crate) fn close(out: &mut Vec<u8>, occurred_at: i64) {
    out.extend_from_slice(b"},\"occurred_at\":\"");
    write_rfc3339(out, occurred_at);
    out.extend_from_slice(b"\"}");
}

fn result_class(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome.upstream_status? {
        101 if outcome.request_bytes.is_some() => "success",
        200..=299 => "success",
        300..=399 => "redirect",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unknown",
    })
}

#[cfg(test)]
mod tests;
