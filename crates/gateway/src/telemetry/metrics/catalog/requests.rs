//! Requests, refusals and upstreams.

use admission::Denial;

use crate::telemetry::metrics::legacy::Cause;
use crate::telemetry::metrics::metric::{Read, Section, metric};

pub(super) const REQUESTS: Section = Section {
    title: "Requests and refusals",
    metrics: &[
        metric(
            "caracal_gateway_requests_total",
            "Gateway requests received",
            Read::Counter(|s| s.metrics.received.get()),
        )
        .json("requests_total"),
        metric(
            "caracal_gateway_requests_allowed_total",
            "Gateway requests allowed upstream",
            Read::Counter(|s| s.metrics.allowed.get()),
        )
        .json("requests_allowed"),
        metric(
            "caracal_gateway_requests_denied_total",
            "Gateway requests denied before upstream dispatch",
            Read::Counter(|s| s.before_dispatch()),
        )
        .json("requests_denied"),
        metric(
            "caracal_gateway_denials_missing_auth_total",
            "Gateway denials caused by missing bearer credentials",
            Read::Counter(|s| s.caused_by(Cause::MissingAuth)),
        )
        .json("denials_missing_auth"),
        metric(
            "caracal_gateway_denials_bad_bearer_total",
            "Gateway denials caused by malformed bearer credentials",
            Read::Counter(|s| s.caused_by(Cause::BadBearer)),
        )
        .json("denials_bad_bearer"),
        metric(
            "caracal_gateway_denials_expiring_total",
            "Gateway denials caused by nearly expired mandates",
            Read::Counter(|s| s.caused_by(Cause::Expiring)),
        )
        .json("denials_expiring"),
        metric(
            "caracal_gateway_denials_bad_routing_total",
            "Gateway denials caused by invalid route targets",
            Read::Counter(|s| s.caused_by(Cause::BadRouting)),
        )
        .json("denials_bad_routing"),
        metric(
            "caracal_gateway_denials_path_traversal_total",
            "Gateway denials caused by unsafe upstream paths",
            Read::Counter(|s| s.caused_by(Cause::PathTraversal)),
        )
        .json("denials_path_traversal"),
        metric(
            "caracal_gateway_denials_signature_total",
            "Gateway denials caused by invalid JWT signatures",
            Read::Counter(|s| s.caused_by(Cause::Signature)),
        )
        .json("denials_signature"),
        metric(
            "caracal_gateway_denials_jti_replay_total",
            "Gateway denials caused by replayed token identifiers",
            Read::Counter(|s| s.caused_by(Cause::JtiReplay)),
        )
        .json("denials_jti_replay"),
        metric(
            "caracal_gateway_denials_revoked_total",
            "Gateway denials caused by revoked authority records, Sessions, or Delegations",
            Read::Counter(|s| s.caused_by(Cause::Revoked)),
        )
        .json("denials_revoked"),
        metric(
            "caracal_gateway_denials_revocation_stale_total",
            "Gateway denials caused by stale revocation state",
            Read::Counter(|s| s.caused_by(Cause::RevocationStale)),
        )
        .json("denials_revocation_stale"),
        metric(
            "caracal_gateway_denials_binding_total",
            "Gateway denials caused by missing Gateway bindings",
            Read::Counter(|s| s.caused_by(Cause::Binding)),
        )
        .json_appended("denials_binding"),
        metric(
            "caracal_gateway_denials_total",
            "Every refusal by its reason, those after dispatch included; docs/denials.md explains the reasons",
            Read::Counters("reason", |s| {
                Denial::ALL
                    .into_iter()
                    .map(|denial| (denial.label(), s.metrics.denials(denial)))
                    .collect()
            }),
        ),
        metric(
            "caracal_gateway_client_id_headers_ignored_total",
            "Requests that brought an X-Caracal-Client-ID, which is never used",
            Read::Counter(|s| s.metrics.client_ids_ignored.get()),
        ),
        metric(
            "caracal_gateway_gate_stage_seconds",
            "Time that a request spent in a stage of the gates, for requests that passed it",
            Read::Histograms("stage", |s| {
                let stages = &s.metrics.stages;
                [
                    ("preflight", &stages.preflight),
                    ("token", &stages.token),
                    ("binding", &stages.binding),
                    ("exchange", &stages.exchange),
                ]
            }),
        ),
        metric(
            "caracal_gateway_request_seconds",
            "Time from a request's head to the end of its response, refusals included; exemplars name the trace",
            Read::Histogram(|s| &s.metrics.request),
        ),
    ],
};

pub(super) const UPSTREAM: Section = Section {
    title: "Upstreams",
    metrics: &[
        metric(
            "caracal_gateway_upstream_errors_total",
            "Gateway upstream request failures",
            Read::Counter(|s| s.metrics.upstream_errors.get() + s.caused_by(Cause::UpstreamFault)),
        )
        .json("upstream_errors"),
        metric(
            "caracal_gateway_upstream_first_byte_seconds",
            "Time from a request's head to its upstream's response head; exemplars name the trace",
            Read::Histogram(|s| &s.metrics.first_byte),
        ),
    ],
};
