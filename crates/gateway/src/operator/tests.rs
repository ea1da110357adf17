//! The operator's endpoints as a client sees them.

mod ready;

use std::time::{Duration, SystemTime};

use admission::ports::Cause;
use backends::component::{Check, Health};
use bytes::Bytes;
use config::{Config, MapEnv, MetricsAccess};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, request};
use tokio_util::sync::CancellationToken;

use super::{Endpoint, ListenerRole, Operator, Readiness};
use crate::telemetry::metrics::tests::{metrics, page_of};

const ID: HeaderValue = HeaderValue::from_static("req-1");
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What `config` makes of an environment of development or of production.
fn configured(variables: &[(&str, &str)]) -> config::Operator {
    let env = MapEnv::new()
        .with("CARACAL_ENV", "dev")
        .with("INSECURE_HTTP", "true")
        .with("STS_URL", "http://sts:8080")
        .with("DATABASE_URL", "host=db")
        .with("REDIS_URL", "redis://redis")
        .with("STREAMS_HMAC_KEY", KEY)
        .with("AUDIT_HMAC_KEY", KEY)
        .with("GATEWAY_STS_HMAC_KEY", KEY);
    let env = variables
        .iter()
        .fold(env, |env, (name, value)| env.with(name, *value));
    Config::load(&env, SystemTime::UNIX_EPOCH).unwrap().0.operator
}

/// A dependency that works, as known for so long.
fn well(name: &'static str, reason: &'static str, age_seconds: Option<u64>) -> Check {
    Check::known(name, reason, move || {
        Health::well(age_seconds.map(Duration::from_secs))
    })
}

fn readiness() -> Readiness {
    Readiness {
        checks: vec![
            well("bindings", "bindings_unavailable", Some(1)),
            well("redis", "redis_unreachable", Some(2)),
            well("revocations", "revocation_snapshot_stale", Some(3)),
            well("audit", "audit_unavailable", None),
            well("sts", "sts_unreachable", Some(5)),
        ],
        draining: CancellationToken::new(),
    }
}

fn operator(config: config::Operator) -> Operator {
    Operator {
        metrics: Box::new(|| page_of(&metrics())),
        metrics_access: config.metrics,
        admin_token: config.admin_token,
        own_listener: config.address.is_some(),
        readiness: readiness(),
        reload: Box::new(|| Box::pin(std::future::ready(Ok(42)))),
    }
}

fn head(method: &str, target: &str, headers: &[(&'static str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(target).body(()).unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    request.into_parts().0
}

async fn ask(
    operator: &Operator,
    method: &str,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Response<Bytes> {
    let head = head(method, target, headers);
    let endpoint = operator.route(ListenerRole::Operator, &head).unwrap();
    operator.answer(endpoint, &head, &ID).await
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[test]
fn only_the_exact_path_and_method_are_the_operators() {
    let operator = operator(configured(&[]));
    for (method, target, expect) in [
        ("GET", "/health", Some(Endpoint::Health)),
        ("HEAD", "/health", Some(Endpoint::Health)),
        ("POST", "/health", None),
        ("GET", "/ready", Some(Endpoint::Ready)),
        ("HEAD", "/ready", Some(Endpoint::Ready)),
        ("GET", "/metrics", Some(Endpoint::Metrics)),
        ("GET", "/metrics?name=x", Some(Endpoint::Metrics)),
        ("HEAD", "/metrics", Some(Endpoint::Metrics)),
        ("OPTIONS", "/metrics", None),
        ("GET", "/metrics.json", Some(Endpoint::MetricsJson)),
        ("POST", "/internal/revocations/reload", Some(Endpoint::Reload)),
        ("GET", "/internal/revocations/reload", None),
        ("GET", "/%6detrics", None),
        ("GET", "/metrics/", None),
        ("GET", "//metrics", None),
        ("GET", "/./metrics", None),
        ("GET", "/METRICS", None),
        ("GET", "/metrics;x", None),
        ("GET", "/", None),
        ("GET", "/healthz", None),
    ] {
        for (role, expect) in [
            (ListenerRole::Public, expect),
            (ListenerRole::Operator, expect.or(Some(Endpoint::Missing))),
        ] {
            assert_eq!(
                operator.route(role, &head(method, target, &[])),
                expect,
                "{method} {target} {role:?}"
            );
        }
    }
}

#[test]
fn an_extended_connect_and_a_handshake_that_names_a_resource_are_proxied() {
    let operator = operator(configured(&[]));
    let upgrade = ("upgrade", "websocket");
    let resource = ("sec-websocket-protocol", "chat, caracal.resource.cjovL2E");
    for (version, fields, is_proxied) in [
        (http::Version::HTTP_2, &[upgrade][..], true),
        (http::Version::HTTP_11, &[upgrade, resource], true),
        (http::Version::HTTP_11, &[upgrade], false),
        (http::Version::HTTP_11, &[resource], false),
        (http::Version::HTTP_2, &[], false),
    ] {
        let mut head = head("GET", "/health", fields);
        head.version = version;
        let routed = operator.route(ListenerRole::Public, &head);
        assert_eq!(routed.is_none(), is_proxied, "{version:?} {fields:?}");
    }
}

#[test]
fn a_request_that_names_a_resource_is_proxied() {
    let operator = operator(configured(&[]));
    for resource in ["resource://a", ""] {
        for (method, target) in [
            ("GET", "/health"),
            ("GET", "/metrics"),
            ("POST", "/internal/revocations/reload"),
        ] {
            let head = head(method, target, &[("x-caracal-resource", resource)]);
            assert_eq!(operator.route(ListenerRole::Public, &head), None, "{target}");
            assert!(
                operator.route(ListenerRole::Operator, &head).is_some(),
                "{target}: there is nothing to proxy to"
            );
        }
    }
}

#[test]
fn a_listener_of_its_own_takes_metrics_and_reload_off_the_public_port() {
    let operator = operator(configured(&[("OPERATOR_ADDR", "127.0.0.1:9090")]));
    for (method, target, public) in [
        ("GET", "/health", true),
        ("GET", "/ready", true),
        ("GET", "/metrics", false),
        ("GET", "/metrics.json", false),
        ("POST", "/internal/revocations/reload", false),
    ] {
        let missing = |role| operator.route(role, &head(method, target, &[])) == Some(Endpoint::Missing);
        assert_eq!(missing(ListenerRole::Public), !public, "{target}");
        assert!(!missing(ListenerRole::Operator), "{target}");
        let named = head(method, target, &[("x-caracal-resource", "resource://a")]);
        assert_eq!(operator.route(ListenerRole::Public, &named), None, "{target}");
    }
}

#[tokio::test]
async fn metrics_ask_for_exactly_their_bearer() {
    let open = operator(configured(&[]));
    let guarded = operator(configured(&[("METRICS_BEARER", "s3cret")]));
    let closed = Operator {
        metrics_access: MetricsAccess::Closed,
        ..operator(configured(&[]))
    };
    for (operator, authorization, expect) in [
        (&open, &[][..], 200),
        (&open, &["Bearer wrong"], 200),
        (&guarded, &["Bearer s3cret"], 200),
        (&guarded, &[], 401),
        (&guarded, &["Bearer s3cre"], 401),
        (&guarded, &["Bearer s3cret "], 401),
        (&guarded, &["Bearer s3creT"], 401),
        (&guarded, &["Bearer  s3cret"], 401),
        (&guarded, &["bearer s3cret"], 401),
        (&guarded, &["s3cret"], 401),
        (&guarded, &["Bearer "], 401),
        (&guarded, &["B"], 401),
        (&guarded, &["Bearer s3cret", "Bearer s3cret"], 401),
        (&closed, &[], 401),
        (&closed, &["Bearer "], 401),
    ] {
        let headers: Vec<_> = authorization
            .iter()
            .map(|value| ("authorization", *value))
            .collect();
        for target in ["/metrics", "/metrics.json"] {
            let response = ask(operator, "GET", target, &headers).await;
            assert_eq!(response.status(), expect, "{target} {authorization:?}");
            if expect == 401 {
                assert_eq!(text(&response), "unauthorized\n");
                assert_eq!(response.headers()["x-content-type-options"], "nosniff");
                assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
                assert!(!response.headers().contains_key("www-authenticate"));
            }
        }
    }
}

#[tokio::test]
async fn the_reload_is_hidden_from_whoever_lacks_the_token() {
    let none = operator(configured(&[]));
    let guarded = operator(configured(&[("CARACAL_ADMIN_TOKEN", "adm1n")]));
    for (operator, authorization, expect) in [
        (&none, &[][..], 404),
        (&none, &["Bearer "], 404),
        (&none, &["Bearer adm1n"], 404),
        (&guarded, &[], 404),
        (&guarded, &["Bearer wrong"], 404),
        (&guarded, &["Bearer adm1n", "Bearer wrong"], 404),
        (&guarded, &["Bearer adm1n"], 200),
        (&guarded, &["\tBearer adm1n  "], 200),
    ] {
        let headers: Vec<_> = authorization
            .iter()
            .map(|value| ("authorization", *value))
            .collect();
        let response = ask(operator, "POST", "/internal/revocations/reload", &headers).await;
        assert_eq!(response.status(), expect, "{authorization:?}");
        let expect = if expect == 200 {
            "{\"ok\":true,\"revocations\":42}\n"
        } else {
            "not found\n"
        };
        assert_eq!(text(&response), expect, "{authorization:?}");
    }
}

#[tokio::test]
async fn a_reload_that_fails_does_not_say_why() {
    let operator = Operator {
        reload: Box::new(|| Box::pin(std::future::ready(Err(Cause::new("password of postgres"))))),
        ..operator(configured(&[("CARACAL_ADMIN_TOKEN", "adm1n")]))
    };
    let headers = [("authorization", "Bearer adm1n")];
    let response = ask(&operator, "POST", "/internal/revocations/reload", &headers).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        text(&response),
        "{\"ok\":false,\"ready\":false,\"reason\":\"revocation_reload_failed\"}\n"
    );
}

#[tokio::test]
async fn every_answer_carries_the_request_id_and_is_never_stored() {
    let operator = operator(configured(&[("CARACAL_ADMIN_TOKEN", "adm1n")]));
    for (method, target) in [
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/metrics.json"),
        ("POST", "/internal/revocations/reload"),
    ] {
        let response = ask(&operator, method, target, &[]).await;
        assert_eq!(response.headers()["x-request-id"], "req-1", "{target}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{target}");
        let length: usize = response.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, response.body().len(), "{target}");
    }
}

#[tokio::test]
async fn a_head_is_answered_like_a_get_without_the_body() {
    let operator = operator(configured(&[]));
    for target in ["/health", "/ready", "/metrics", "/metrics.json"] {
        let (get, head) = (
            ask(&operator, "GET", target, &[]).await,
            ask(&operator, "HEAD", target, &[]).await,
        );
        assert_eq!(
            (get.status(), get.headers()),
            (head.status(), head.headers()),
            "{target}"
        );
        assert!(head.body().is_empty(), "{target}");
    }
}

#[tokio::test]
async fn health_is_200_without_a_body() {
    let response = ask(&operator(configured(&[])), "GET", "/health", &[]).await;
    assert_eq!((response.status(), text(&response)), (StatusCode::OK, ""));
}

#[tokio::test]
async fn metrics_are_text_or_openmetrics_as_the_scraper_prefers() {
    let operator = operator(configured(&[]));
    let scraper = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, openmetrics) in [
        (&[][..], false),
        (&["*/*"], false),
        (&["text/plain"], false),
        (&["application/openmetrics-text"], true),
        (&["Application/OpenMetrics-Text; version=1.0.0"], true),
        (&[scraper], true),
        (&["text/plain;q=0.9, application/openmetrics-text;q=0.8"], false),
        (
            &["text/plain;q=0.5", "application/openmetrics-text; Q = 0.5"],
            true,
        ),
        (&["application/openmetrics-text;q=0"], false),
        (&["application/openmetrics-text;q=high"], false),
        (&["application/openmetrics-textual"], false),
    ] {
        let headers: Vec<_> = accept.iter().map(|value| ("accept", *value)).collect();
        let response = ask(&operator, "GET", "/metrics", &headers).await;
        let content_type = match openmetrics {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        };
        assert_eq!(response.headers()["content-type"], content_type, "{accept:?}");
        assert_eq!(text(&response).ends_with("# EOF\n"), openmetrics, "{accept:?}");
    }
}

#[tokio::test]
async fn metrics_json_is_json() {
    let response = ask(&operator(configured(&[])), "GET", "/metrics.json", &[]).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(json["revocations_active"], 41);
}
