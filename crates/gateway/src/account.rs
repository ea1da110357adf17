//! The account of one request: what is counted, logged and kept as evidence, given exactly
//! once, however the request ends.

mod end;
mod stages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::denial::Stage;
use admission::exchange::directive::DirectiveMetadata;
use admission::{Denial, Permit, Refused, Subject};
use evidence::{Fingerprint, Outcome, Refusal, Replay, Spool, SpoolError, Uuid};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, request};

use crate::clock;
use crate::telemetry::log::LineSink;
use crate::telemetry::{Metrics, RequestLine};
pub use end::End;
use end::evidence_labels;
pub use stages::Stages;

/// What a caller may not choose: bound by the gateway's configuration, ignored, and counted.
static CLIENT_ID: HeaderName = HeaderName::from_static("x-caracal-client-id");

/// Where accounts are given.
pub struct Accounts {
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// The log.
    pub lines: Arc<LineSink>,
    /// The evidence.
    pub spool: Spool,
}

/// The account of one request.
pub struct Account {
    accounts: Arc<Accounts>,
    stages: Stages,
    occurred_at: i64,
    own_id: Uuid,
    request_id: HeaderValue,
    method: Method,
    client: IpAddr,
    subject_fingerprint: Option<Fingerprint>,
    path_fingerprint: Fingerprint,
    subject: Option<Box<Subject>>,
    upstream_host: Option<String>,
    directive: Option<DirectiveMetadata>,
    trace_id: Option<Box<str>>,
    crossing: Option<evidence::Crossing>,
    upstream_status: Option<StatusCode>,
    first_byte: Option<Duration>,
    bytes_out: u64,
    given: bool,
}

impl Accounts {
    /// Opens the account of a request.
    pub fn open(
        self: &Arc<Self>,
        head: &request::Parts,
        client: IpAddr,
        request_id: HeaderValue,
        own_id: Uuid,
    ) -> Account {
        self.metrics.received();
        if head
            .headers
            .keys()
            .any(|name| forwarding::reserved::is_same_name(name, &CLIENT_ID))
        {
            self.metrics.client_id_ignored();
        }
        let bearer = head.headers.get(AUTHORIZATION).and_then(|value| {
            let bytes = value.as_bytes();
            bytes
                .iter()
                .position(|byte| *byte == b' ')
                .and_then(|blank| bytes.get(blank + 1..))
        });
        Account {
            accounts: Arc::clone(self),
            stages: Stages::new(),
            occurred_at: clock::unix_micros(),
            own_id,
            request_id,
            method: head.method.clone(),
            client,
            subject_fingerprint: bearer.map(|bearer| evidence::fingerprint(bearer.trim_ascii())),
            path_fingerprint: evidence::fingerprint(head.uri.path().as_bytes()),
            subject: None,
            upstream_host: None,
            directive: None,
            trace_id: None,
            crossing: None,
            upstream_status: None,
            first_byte: None,
            bytes_out: 0,
            given: false,
        }
    }
}

impl Account {
    /// Where the gates report.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// The request was admitted and has its upstream form.
    pub fn outbound<R>(&mut self, permit: &Permit<R>, headers: &HeaderMap) {
        let parts = permit.parts();
        self.subject = Some(Box::new(parts.subject.clone()));
        self.upstream_host = Some(parts.upstream.url().host().to_owned());
        self.directive = Some(parts.directive.clone());
        // `00-<trace id>-<parent id>-<flags>`, as forwarding left it.
        self.trace_id = headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.get(3..35))
            .map(Box::from);
    }

    /// Records the intent: from here on the evidence knows of the crossing.
    ///
    /// # Errors
    /// The spool cannot take it.
    pub async fn intent(&self, room: evidence::Room) -> Result<evidence::Crossing, SpoolError> {
        room.intent(&self.evidence_request()).await
    }

    /// The request is dispatched under this evidence.
    pub fn dispatched(&mut self, crossing: evidence::Crossing) {
        self.crossing = Some(crossing);
    }

    /// The upstream's head arrived.
    pub fn answered(&mut self, status: StatusCode) {
        let took = self.elapsed();
        self.first_byte = Some(took);
        self.upstream_status = Some(status);
        self.accounts.metrics.first_byte(took, self.trace_id.as_deref());
    }

    /// So many bytes of the body were handed to the caller.
    pub fn relayed(&mut self, bytes: u64) {
        self.bytes_out = self.bytes_out.saturating_add(bytes);
    }

    /// The response ended.
    pub fn end(&mut self, end: End) {
        if self.given {
            return;
        }
        let status = self.upstream_status.map(|status| status.as_u16());
        if let Some(crossing) = self.crossing.take() {
            crossing.outcome(&Outcome {
                error_kind: end.error_kind(),
                gateway_status: status.or(Some(499)),
                latency_ms: Some(millis(self.first_byte.unwrap_or_else(|| self.elapsed()))),
                response_bytes: Some(self.bytes_out),
                upstream_status: status,
                revocation_interrupted: end == End::Revoked,
                ..Outcome::new(end.status())
            });
        }
        match (end, self.upstream_status) {
            (End::Complete, Some(_)) => self.accounts.metrics.allowed(),
            (End::UpstreamBroke | End::UpstreamSilent, _) => self.accounts.metrics.upstream_error(),
            _ => {}
        }
        self.give(
            status.unwrap_or(499),
            end.outcome_label(),
            None,
            None,
            end.error_kind(),
        );
    }

    /// The request was refused, before or after its dispatch.
    pub fn refused(&mut self, refused: &Refused) {
        let denial = refused.denial;
        let status = refused
            .sts
            .as_ref()
            .map_or(denial.row().status.as_u16(), |sts| sts.status);
        if let Some(subject) = &refused.subject {
            self.subject = Some(subject.clone());
        }
        self.keep_refusal(denial, status);
        let metrics = &self.accounts.metrics;
        match refused.sts {
            Some(_) => metrics.denied_by_sts(status),
            None => metrics.denied(denial),
        }
        let cause = refused.cause.as_ref().map(ToString::to_string);
        if denial == Denial::StsRefusedGateway {
            tracing::error!(
                cause = cause.as_deref(),
                "the STS does not accept this gateway's signature"
            );
        }
        let outcome = if denial.row().stage == Stage::Crossing {
            "upstream_error"
        } else {
            "denied"
        };
        self.give(status, outcome, Some(denial), cause.as_deref(), None);
    }

    /// The upstream's head has no form in which it could reach the caller.
    pub fn unusable_answer(&mut self, upstream: StatusCode, cause: &str) {
        self.upstream_status = Some(upstream);
        let denial = Denial::UpstreamUnreachable;
        self.keep_refusal(denial, denial.row().status.as_u16());
        self.accounts.metrics.denied(denial);
        self.give(
            denial.row().status.as_u16(),
            "upstream_error",
            Some(denial),
            Some(cause),
            None,
        );
    }

    /// The evidence of a refusal: the outcome of a crossing that was under way, or an event of
    /// its own once somebody vouched for the subject.
    fn keep_refusal(&mut self, denial: Denial, gateway_status: u16) {
        let latency_ms = millis(self.elapsed());
        let (status, error_kind) = evidence_labels(denial);
        if let Some(crossing) = self.crossing.take() {
            return crossing.outcome(&Outcome {
                error_kind: Some(error_kind),
                gateway_status: Some(gateway_status),
                latency_ms: Some(latency_ms),
                response_bytes: Some(0),
                upstream_status: self.upstream_status.map(|status| status.as_u16()),
                revocation_interrupted: denial == Denial::Revoked,
                ..Outcome::new(status)
            });
        }
        let Some(subject) = &self.subject else { return };
        if let (Denial::Replayed, Some(subject_fingerprint)) = (denial, self.subject_fingerprint) {
            return self.accounts.spool.replay_detected(&Replay {
                id: self.own_id,
                occurred_at: self.occurred_at,
                zone_id: &subject.zone_id,
                request_id: self.request_id.to_str().unwrap_or_default(),
                jti: subject.jti.as_deref().unwrap_or_default(),
                resource: &subject.resource,
                client_id: subject.application_id.as_deref().unwrap_or_default(),
                subject_fingerprint,
            });
        }
        let refusal = Refusal {
            status,
            error_kind,
            gateway_status,
            latency_ms,
        };
        self.accounts.spool.denied(&self.evidence_request(), &refusal);
    }

    fn evidence_request(&self) -> evidence::Request<'_> {
        let subject = self.subject.as_deref();
        let text = |pick: fn(&Subject) -> Option<&String>| subject.and_then(pick).map(String::as_str);
        let directive = self.directive.as_ref();
        evidence::Request {
            id: self.own_id,
            occurred_at: self.occurred_at,
            zone_id: subject.map_or("", |subject| &subject.zone_id),
            request_id: self.request_id.to_str().unwrap_or_default(),
            application_id: text(|subject| subject.application_id.as_ref()).unwrap_or_default(),
            resource: subject.map_or("", |subject| &subject.resource),
            subject_fingerprint: self.subject_fingerprint.unwrap_or(self.path_fingerprint),
            method: self.method.as_str(),
            agent_session_id: text(|subject| subject.agent_session_id.as_ref()),
            session_id: text(|subject| subject.session_id.as_ref()),
            path_fingerprint: Some(self.path_fingerprint),
            trace_id: self.trace_id.as_deref(),
            subject_kind: text(|subject| subject.subject_kind.as_ref()),
            upstream_host: self.upstream_host.as_deref(),
            auth_mode: directive.map(|directive| directive.auth_mode.as_str()),
            provider_id: directive.and_then(|directive| directive.provider_id.as_deref()),
            connection_id: directive.and_then(|directive| directive.connection_id.as_deref()),
        }
    }

    fn give(
        &mut self,
        status: u16,
        outcome: &'static str,
        denial: Option<Denial>,
        cause: Option<&str>,
        error_kind: Option<&'static str>,
    ) {
        self.given = true;
        let took = self.elapsed();
        let metrics = &self.accounts.metrics;
        for (stage, took) in self.stages.took() {
            metrics.passed(stage, took);
        }
        metrics.request(took, self.trace_id.as_deref());
        let subject = self.subject.as_deref();
        self.accounts.lines.request(&RequestLine {
            request_id: self.request_id.to_str().unwrap_or_default(),
            client_ip: self.client,
            method: self.method.as_str(),
            zone_id: subject.map(|subject| subject.zone_id.as_str()),
            application_id: subject.and_then(|subject| subject.application_id.as_deref()),
            resource: subject.map(|subject| subject.resource.as_str()),
            session_id: subject.and_then(|subject| subject.session_id.as_deref()),
            agent_session_id: subject.and_then(|subject| subject.agent_session_id.as_deref()),
            subject_fp: self.subject_fingerprint.as_ref().map(Fingerprint::as_str),
            upstream_host: self.upstream_host.as_deref(),
            auth_mode: self
                .directive
                .as_ref()
                .map(|directive| directive.auth_mode.as_str()),
            trace_id: self.trace_id.as_deref(),
            status,
            outcome,
            denial: denial.map(Denial::label),
            cause,
            error_kind,
            bytes_out: self.bytes_out,
            took,
        });
    }

    fn elapsed(&self) -> Duration {
        self.stages.elapsed()
    }
}

impl Drop for Account {
    /// The caller left while its request was under way.
    fn drop(&mut self) {
        self.end(End::CallerLeft);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
