//! The operator's endpoints: health, readiness, metrics, and the reload of the revocation state.
//!
//! A path is matched as it was sent, without decoding, and a request that names a resource is never for the
//! operator on the public listener: an upstream's own `/health` stays reachable through the gateway.

mod access;
mod answer;
mod negotiate;
pub mod ready;
mod reload;

#[cfg(test)]
mod tests;

use std::time::Duration;

use admission::fields::members;
use admission::subprotocols;
use bytes::Bytes;
use config::{MetricsAccess, Secret};
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Method, Response, StatusCode, Version, request};

use self::negotiate::TextFormat;
use self::ready::Readiness;
use crate::telemetry::metrics::Page;

pub use reload::Reload;

/// Names the resource of a proxied request.
const RESOURCE: &str = "x-caracal-resource";

/// How long a reload may take.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Which listener a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// The public one, which also proxies.
    Public,
    /// The operator's own (`OPERATOR_ADDR`).
    Operator,
}

/// What the operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /health`: the process answers.
    Health,
    /// `GET /ready`: the process can do its work.
    Ready,
    /// `GET /metrics`.
    Metrics,
    /// `GET /metrics.json`.
    MetricsJson,
    /// `POST /internal/revocations/reload`.
    Reload,
    /// Nothing is there, and nothing is proxied to.
    Missing,
}

/// Answers the operator.
pub struct Operator {
    /// Reads every metric, from memory.
    pub metrics: Box<dyn Fn() -> Page + Send + Sync>,
    /// Who may read metrics.
    pub metrics_access: MetricsAccess,
    /// The bearer of the reload; without one there is no reload.
    pub admin_token: Option<Secret>,
    /// Whether metrics and reload have a listener of their own and are gone from the public one.
    pub own_listener: bool,
    /// What the work depends on.
    pub readiness: Readiness,
    /// The reload.
    pub reload: Reload,
}

impl Operator {
    /// The endpoint that a request is for; `None` when it is to be proxied. Another method on the same path is not the
    /// operator's. On the operator's own listener everything is, and what moved there is missing on the public one.
    #[must_use]
    pub fn route(&self, role: ListenerRole, head: &request::Parts) -> Option<Endpoint> {
        let public = role == ListenerRole::Public;
        if public && is_proxied(head) {
            return None;
        }
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        match head.uri.path() {
            "/health" if reads => Some(Endpoint::Health),
            "/ready" if reads => Some(Endpoint::Ready),
            "/metrics" | "/metrics.json" if reads && public && self.own_listener => Some(Endpoint::Missing),
            "/metrics" if reads => Some(Endpoint::Metrics),
            "/metrics.json" if reads => Some(Endpoint::MetricsJson),
            "/internal/revocations/reload" if head.method == Method::POST => {
                Some(if public && self.own_listener {
                    Endpoint::Missing
                } else {
                    Endpoint::Reload
                })
            }
            _ => (!public).then_some(Endpoint::Missing),
        }
    }

    /// Reloads what can be loaded anew while the gateway runs, within five seconds, and logs the outcome: the number of
    /// revocation anchors, or none when there is no fresh snapshot.
    pub async fn reload(&self) -> Option<u64> {
        reload::run(&self.reload, RELOAD_TIMEOUT).await
    }

    /// The answer of an endpoint, within five seconds.
    pub async fn answer(
        &self,
        endpoint: Endpoint,
        head: &request::Parts,
        request_id: &HeaderValue,
    ) -> Response<Bytes> {
        let response = match endpoint {
            Endpoint::Health => answer::empty(),
            Endpoint::Ready => self.ready().await,
            Endpoint::Metrics | Endpoint::MetricsJson if !self.may_read_metrics(&head.headers) => {
                answer::text(StatusCode::UNAUTHORIZED, "unauthorized\n")
            }
            Endpoint::Metrics => self.metrics(&head.headers),
            Endpoint::MetricsJson => {
                answer::page(StatusCode::OK, answer::JSON, (self.metrics)().json().into())
            }
            Endpoint::Reload if self.may_reload(&head.headers) => reload::answer(self.reload().await),
            Endpoint::Reload | Endpoint::Missing => answer::text(StatusCode::NOT_FOUND, "not found\n"),
        };
        answer::finish(response, &head.method, request_id)
    }

    async fn ready(&self) -> Response<Bytes> {
        let report = self.readiness.report().await;
        let status = if report.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        answer::json(status, &report)
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Bytes> {
        let page = (self.metrics)();
        let format = TextFormat::preferred(headers.get_all(ACCEPT));
        let page = match format {
            TextFormat::Prometheus => page.prometheus(),
            TextFormat::OpenMetrics => page.openmetrics(),
        };
        answer::page(StatusCode::OK, format.content_type(), page.into())
    }

    fn may_read_metrics(&self, headers: &HeaderMap) -> bool {
        match &self.metrics_access {
            MetricsAccess::Bearer(token) => access::shows(headers.get_all(AUTHORIZATION), token),
            MetricsAccess::Open(_) => true,
            MetricsAccess::Closed => false,
        }
    }

    fn may_reload(&self, headers: &HeaderMap) -> bool {
        self.admin_token
            .as_ref()
            .is_some_and(|token| access::shows_trimmed(headers.get_all(AUTHORIZATION), token))
    }
}

/// Whether a request is the proxy's whatever its path: it names a resource, or is an extended `CONNECT` of HTTP/2, whose caller
/// would take an endpoint's answer for a switch of protocols.
fn is_proxied(head: &request::Parts) -> bool {
    let headers = &head.headers;
    let says_resource = || members(headers, &SEC_WEBSOCKET_PROTOCOL).any(subprotocols::names_resource);
    headers.contains_key(RESOURCE)
        || headers.contains_key(UPGRADE) && (head.version == Version::HTTP_2 || says_resource())
}
