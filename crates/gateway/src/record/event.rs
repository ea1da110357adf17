//! The evidence of a request: the outcome of a crossing, or an event of its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::{CrossingFacts, Denial, Usage};
use backends::component::milliseconds;
use evidence::{Outcome, Refusal, Replay, Status};

use super::ending::evidence_labels;
use super::{Closing, Identity, Intended, Known, Reached};

impl Known {
    /// The evidence: the outcome of a crossing, or an event of its own once somebody vouched for the
    /// subject.
    pub(super) fn keep(&self, reached: Reached, ending: &Closing<'_>, gateway_status: u16, took: Duration) {
        let latency = match &reached {
            Reached::Answer(answered) if matches!(ending, Closing::Ended(_)) => answered.after,
            Reached::Gates | Reached::Upstream(_) | Reached::Answer(_) => took,
        };
        let latency_ms = milliseconds(latency);
        let (status, error_kind) = match ending {
            Closing::Refused(refused) => {
                let (status, kind) = evidence_labels(refused.denial, reached.dispatched().is_some());
                (status, Some(kind))
            }
            // Nobody vouched for it.
            Closing::Preflight => return,
            Closing::Ended(end) => (end.status(), end.error_kind()),
        };
        let (dispatched, upstream_status, response_bytes, request_bytes) = match reached {
            Reached::Gates => {
                return self.keep_undispatched(ending, error_kind, status, gateway_status, latency_ms);
            }
            Reached::Upstream(Intended(dispatched)) => (dispatched, None, 0, None),
            Reached::Answer(answered) => (
                answered.dispatched,
                Some(answered.status.as_u16()),
                answered.bytes_out,
                answered.bytes_in,
            ),
        };
        dispatched.evidence.outcome(&Outcome {
            error_kind,
            gateway_status: Some(gateway_status),
            latency_ms: Some(latency_ms),
            request_bytes,
            response_bytes: Some(response_bytes),
            upstream_status,
            revocation_interrupted: ending.is_revocation(),
            attempts: dispatched.attempts.load(Ordering::Relaxed),
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
        let Some(identity) = &self.identity else { return };
        // The response before it on the connection was revoked, not taken, and took this request along.
        let error_kind = error_kind.unwrap_or(Denial::Revoked.label());
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
                Closing::Preflight | Closing::Ended(_) => Status::Denied,
            },
            error_kind,
            gateway_status,
            latency_ms,
        };
        spool.denied(&self.event(identity, None), &refusal);
    }

    pub(super) fn event<'a>(
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
            client_certificate: self.client_certificate.as_deref(),
            agent_session_id: subject.agent_session_id.as_deref(),
            session_id: subject.session_id.as_deref(),
            path_fingerprint: Some(identity.path),
            trace_id: crossing.and_then(|crossing| crossing.trace_id),
            subject_kind: subject.subject_kind.as_deref(),
            upstream_host: crossing.map(|crossing| crossing.upstream_host),
            auth_mode: directive.map(|directive| directive.auth_mode.as_str()),
            provider_id: directive.and_then(|directive| directive.provider_id.as_deref()),
            connection_id: directive.and_then(|directive| directive.connection_id.as_deref()),
        }
    }
}
