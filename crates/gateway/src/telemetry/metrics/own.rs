//! The metrics that this room counts itself, as they are written to a page.

use std::sync::atomic::Ordering;

use admission::Denial;
use admission::denial::Stage;
use backends::component::Samples as _;
use backends::samples;
use config::LaxFlag;

use super::legacy::{Cause, cause};
use super::page::{Encodable, Page, Value};
use super::{Counter, Metrics};

impl Metrics {
    /// Writes everything that is counted here.
    pub fn write(&self, page: &mut Page) {
        self.requests(page);
        self.exchanges(page);
        self.upstreams(page);
        self.process(page);
    }

    fn requests(&self, page: &mut Page) {
        page.section("Requests and refusals");
        samples! { page,
            counter "caracal_gateway_requests_total", "Gateway requests received", self.received.get();
            counter "caracal_gateway_requests_allowed_total", "Gateway requests allowed upstream whose answer ended whole", self.allowed.get();
            counter "caracal_gateway_requests_denied_total", "Gateway requests denied before upstream dispatch", self.sum_of_denials(|denial| denial.row().stage != Stage::Crossing);
            counter "caracal_gateway_denials_missing_auth_total", "Gateway denials caused by missing bearer credentials", self.caused_by(Cause::MissingAuth);
            counter "caracal_gateway_denials_bad_bearer_total", "Gateway denials caused by malformed bearer credentials", self.caused_by(Cause::BadBearer);
            counter "caracal_gateway_denials_expiring_total", "Gateway denials caused by nearly expired mandates", self.caused_by(Cause::Expiring);
            counter "caracal_gateway_denials_bad_routing_total", "Gateway denials caused by invalid route targets", self.caused_by(Cause::BadRouting);
            counter "caracal_gateway_denials_path_traversal_total", "Gateway denials caused by unsafe upstream paths", self.caused_by(Cause::PathTraversal);
            counter "caracal_gateway_denials_signature_total", "Gateway denials caused by invalid JWT signatures", self.caused_by(Cause::Signature);
            counter "caracal_gateway_denials_jti_replay_total", "Gateway denials caused by replayed token identifiers", self.caused_by(Cause::JtiReplay);
            counter "caracal_gateway_denials_revoked_total", "Gateway denials caused by revoked authority records, Sessions, or Delegations", self.caused_by(Cause::Revoked);
            counter "caracal_gateway_denials_revocation_stale_total", "Gateway denials caused by stale revocation state", self.caused_by(Cause::RevocationStale);
            counter "caracal_gateway_denials_binding_total", "Gateway denials caused by missing Gateway bindings", self.caused_by(Cause::Binding);
        }
        let by_reason = Denial::ALL.map(|denial| (denial.label(), self.denials(denial)));
        page.metric(
            "caracal_gateway_denials_total",
            "Every refusal by its reason, those after dispatch included; docs/denials.md explains the reasons",
            Value::Counters("reason", by_reason.into()),
        );
        page.counter(
            "caracal_gateway_client_id_headers_ignored_total",
            "Requests that brought an X-Caracal-Client-ID, which is never used",
            self.client_ids_ignored.get(),
        );
        page.counter(
            "caracal_gateway_cors_preflights_total",
            "Preflights of the origins in CORS_ALLOWED_ORIGINS, which the gateway answers itself",
            self.preflights.get(),
        );
        page.counter(
            "caracal_gateway_upgrades_total",
            "Requests that are answered by a switch of protocols which ALLOW_UPGRADES names (WebSocket)",
            self.switched.get(),
        );
        let stages = [
            ("preflight", &self.stages.preflight),
            ("token", &self.stages.token),
            ("binding", &self.stages.binding),
            ("exchange", &self.stages.exchange),
        ];
        let stages = stages.map(|(stage, times)| (stage, times.reading() as Encodable));
        page.metric(
            "caracal_gateway_gate_stage_seconds",
            "Time that a request spent in a stage of the gates, for requests that passed it",
            Value::Histograms("stage", stages.into()),
        );
        page.metric(
            "caracal_gateway_request_seconds",
            "Time from a request's head to the end of its response, refusals included; exemplars name the trace",
            Value::Histogram(Box::new(self.request.clone())),
        );
    }

    fn exchanges(&self, page: &mut Page) {
        page.section("STS");
        samples! { page,
            counter "caracal_gateway_sts_exchange_errors_total", "Gateway STS token exchange failures: timeouts, failed connections, unusable answers, server errors and refusals of the gateway itself", self.sts_server_errors.get() + self.caused_by(Cause::StsFault);
            gauge "caracal_gateway_sts_exchange_latency_ms", "Latency of the most recent Gateway STS token exchange", self.last_exchange_millis.load(Ordering::Relaxed);
        }
        page.metric(
            "caracal_gateway_sts_exchange_seconds",
            "Time of an exchange, however it ended",
            Value::Histogram(self.exchange.reading()),
        );
    }

    fn upstreams(&self, page: &mut Page) {
        page.section("Upstreams");
        page.counter(
            "caracal_gateway_upstream_errors_total",
            "Gateway upstream request failures",
            self.upstream_errors.get() + self.caused_by(Cause::UpstreamFault),
        );
        page.metric(
            "caracal_gateway_upstream_first_byte_seconds",
            "Time from a request's head to its upstream's response head; exemplars name the trace",
            Value::Histogram(Box::new(self.first_byte.clone())),
        );
    }

    fn process(&self, page: &mut Page) {
        page.section("Process");
        let lax = LaxFlag::ALL.map(|flag| (flag.variable(), u64::from(self.lax.contains(&flag))));
        page.metric(
            "caracal_gateway_lax_flag",
            "Whether an option that trades safety for convenience is on; all are 0 in a hardened installation",
            Value::Gauges("flag", lax.into()),
        );
        page.metric(
            "caracal_gateway_build_info",
            "The constant 1, with the version and the mode as labels",
            Value::Info(vec![("version", self.about.version), ("mode", self.about.mode)]),
        );
        page.metric(
            "caracal_gateway_run_queue_delay_seconds",
            "How much later than it should a task ran, seen twenty times a second; above OVERLOAD_DELAY requests are refused",
            Value::Histogram(self.run_queue_delay.reading()),
        );
    }

    fn caused_by(&self, wanted: Cause) -> u64 {
        self.sum_of_denials(|denial| cause(denial) == wanted)
    }

    fn sum_of_denials(&self, counts: impl Fn(Denial) -> bool) -> u64 {
        let counted = Denial::ALL.into_iter().filter(|denial| counts(*denial));
        counted.map(|denial| self.denials(denial)).sum()
    }

    /// Refusals of one kind.
    fn denials(&self, denial: Denial) -> u64 {
        self.denials.get(denial as usize).map_or(0, Counter::get)
    }
}
