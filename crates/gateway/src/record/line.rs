//! The log line of a request.

use std::time::Duration;

use admission::denial::Stage;
use admission::{Denial, Refused};

use super::{Closing, Known, Reached};
use crate::telemetry::RequestLine;

impl Known {
    pub(super) fn log(&self, reached: &Reached, ending: &Closing<'_>, status: u16, took: Duration) {
        let (outcome, error_kind) = match ending {
            Closing::Refused(refused) => (outcome_of(refused), None),
            Closing::Preflight => ("preflight", None),
            Closing::Ended(end) => (end.outcome_label(), end.error_kind()),
        };
        let refused = match ending {
            Closing::Refused(refused) => Some(*refused),
            Closing::Preflight | Closing::Ended(_) => None,
        };
        let cause = refused
            .and_then(|refused| refused.cause.as_ref())
            .map(ToString::to_string);
        if refused.is_some_and(|refused| refused.denial == Denial::StsRefusedGateway) {
            tracing::error!(
                cause = cause.as_deref(),
                "the STS does not accept this gateway's signature"
            );
        }
        let subject = self.identity.as_ref().map(|identity| &identity.subject);
        let application_id = self.identity.as_ref().map(super::Identity::application_id);
        let dispatched = reached.dispatched();
        self.recorder.lines.request(&RequestLine {
            request_id: self.request_id(),
            client_ip: self.client,
            client_certificate: self.client_certificate.as_deref(),
            method: self.method.as_str(),
            zone_id: subject.map(|subject| subject.zone_id.as_str()),
            application_id: application_id.filter(|id| !id.is_empty()),
            resource: subject.map(|subject| subject.resource.as_str()),
            session_id: subject.and_then(|subject| subject.session_id.as_deref()),
            agent_session_id: subject.and_then(|subject| subject.agent_session_id.as_deref()),
            subject_fp: self.bearer.as_ref().map(evidence::Fingerprint::as_str),
            upstream_host: dispatched.map(|dispatched| &*dispatched.upstream_host),
            auth_mode: dispatched.map(|dispatched| &*dispatched.auth_mode),
            trace_id: dispatched.and_then(|dispatched| dispatched.trace_id.as_deref()),
            status,
            outcome,
            denial: refused.map(|refused| refused.denial.label()),
            cause: cause.as_deref(),
            error_kind,
            bytes_out: match reached {
                Reached::Gates | Reached::Upstream(_) => 0,
                Reached::Answer(answered) => answered.bytes_out,
            },
            bytes_in: match reached {
                Reached::Gates | Reached::Upstream(_) => None,
                Reached::Answer(answered) => answered.bytes_in,
            },
            took,
        });
    }
}

fn outcome_of(refused: &Refused) -> &'static str {
    match refused.denial.row().stage {
        Stage::Crossing => "upstream_error",
        Stage::Ingress | Stage::Preflight | Stage::Token | Stage::Binding | Stage::Exchange => "denied",
    }
}
