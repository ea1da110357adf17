//! The operator's endpoints.

use crate::report::{Report, refusal};
use crate::world::{NONE, World, parse_metrics};
use serde_json::{Value, json};
use std::net::SocketAddr;
use testkit::http::{self, Response};
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::until;

/// Names that scrapers, dashboards and alerts of existing installations use, without `caracal_gateway_`; counters
/// also without `_total`.
const COUNTERS: [&str; 27] = [
    "requests",
    "requests_allowed",
    "requests_denied",
    "denials_missing_auth",
    "denials_bad_bearer",
    "denials_expiring",
    "denials_bad_routing",
    "denials_path_traversal",
    "denials_signature",
    "denials_jti_replay",
    "denials_revoked",
    "denials_revocation_stale",
    "denials_binding",
    "sts_exchange_errors",
    "sts_circuit_opened",
    "sts_circuit_fast_fail",
    "upstream_errors",
    "audit_dropped",
    "audit_sink_errors",
    "audit_persisted",
    "audit_drained",
    "revocation_messages",
    "revocation_pending_replayed",
    "revocation_dead_letters",
    "revocation_invalid_signatures",
    "revocation_reloads",
    "revocation_reload_errors",
];
const GAUGES: [&str; 12] = [
    "sts_exchange_latency_ms",
    "sts_circuit_open",
    "audit_replay_files",
    "audit_replay_bytes",
    "audit_replay_oldest_age_seconds",
    "audit_queue_depth",
    "audit_queue_capacity",
    "bindings_loaded",
    "revocations_active",
    "revocation_snapshot_age_seconds",
    "revocation_snapshot_fresh",
    "revocation_propagation_seconds",
];
const POOL: [&str; 3] = ["in_use_ratio", "max_conns", "acquired_conns"];

#[tokio::test]
async fn health_and_readiness_answer_without_a_bearer_and_yield_to_a_named_resource() {
    let world = World::start().await;
    let mut report = Report::default();
    for path in ["/health", "/ready"] {
        report.status(path, &http::get(world.addr(), path, &[]).await, 200);
        let head = http::request(world.addr(), "HEAD", path, &[], b"").await;
        report.status(format!("HEAD {path}"), &head, 200);
        report.equal(format!("HEAD {path} body"), head.body.len(), 0);
    }
    let ready = http::get(world.addr(), "/ready", &[]).await;
    let told = ready.json();
    report.equal(
        "content type",
        ready.header("content-type"),
        Some("application/json"),
    );
    report.equal("ok", &told["ok"], &json!(true));
    report.equal("ready", &told["ready"], &json!(true));
    report.holds(
        format!("checks: {told}"),
        told["checks"].as_object().is_some_and(|checks| checks.len() >= 5),
    );

    // A request that names a resource is proxied, whatever its path.
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/metrics.json",
        "/internal/revocations/reload",
    ] {
        let before = world.dispatched();
        report.status(
            format!("upstream's own {path}"),
            &world.get(NONE, path).await,
            200,
        );
        report.equal(format!("{path} dispatched"), world.dispatched() - before, 1);
        let bare = http::get(world.addr(), path, &[("X-Caracal-Resource", NONE)]).await;
        report.refused(
            format!("{path} without a bearer"),
            &bare,
            refusal(401, "invalid_token", "missing bearer token"),
        );
    }
    // Other methods and other paths are requests like all others.
    for (method, path) in [
        ("POST", "/health"),
        ("DELETE", "/metrics"),
        ("GET", "/internal/revocations/reload"),
        ("GET", "/health/"),
    ] {
        let response = http::request(world.addr(), method, path, &[], b"").await;
        report.refused(
            format!("{method} {path}"),
            &response,
            refusal(401, "invalid_token", "missing bearer token"),
        );
    }
    report.finish();
}

#[tokio::test]
async fn metrics_are_for_the_bearer_that_is_set_and_for_everybody_only_in_dev() {
    let world = World::start().await;
    let guarded = world.replica_with(&[("METRICS_BEARER", "metrics-token")]).await;
    let mut report = Report::default();
    for path in ["/metrics", "/metrics.json"] {
        report.status(path, &http::get(world.addr(), path, &[]).await, 200);
        for (authorization, expect) in [
            (None, 401),
            (Some("Bearer wrong"), 401),
            (Some("Bearer metrics-token2"), 401),
            (Some("Bearer "), 401),
            (Some("metrics-token"), 401),
            (Some("Basic metrics-token"), 401),
            (Some("Bearer metrics-token"), 200),
        ] {
            let headers: Vec<_> = authorization
                .iter()
                .map(|value| ("Authorization", *value))
                .collect();
            let response = http::get(guarded.addr(), path, &headers).await;
            report.status(format!("{path} with {authorization:?}"), &response, expect);
        }
    }
    report.finish();
}

#[tokio::test]
async fn metrics_have_the_known_names_in_three_formats_and_count() {
    let world = World::start().await;
    let mut report = Report::default();
    report.status("allowed", &world.get(NONE, "/x").await, 200);
    report.status("denied", &http::get(world.addr(), "/x", &[]).await, 401);
    report.status("traversal", &world.get(NONE, "/../x").await, 400);

    let text = http::get(world.addr(), "/metrics", &[]).await;
    report.equal(
        "text",
        text.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8"),
    );
    let samples = parse_metrics(&text.text());
    let sample = |name: &str| samples.get(&format!("caracal_gateway_{name}")).copied();
    let page = text.text();
    for name in COUNTERS {
        report.holds(
            format!("{name} exists"),
            sample(&format!("{name}_total")).is_some(),
        );
        let kind = format!("# TYPE caracal_gateway_{name}_total counter\n");
        report.holds(format!("{name} is a counter"), page.contains(&kind));
    }
    for name in GAUGES {
        report.holds(format!("{name} exists"), sample(name).is_some());
        let kind = format!("# TYPE caracal_gateway_{name} gauge\n");
        report.holds(format!("{name} is a gauge"), page.contains(&kind));
    }
    for name in POOL {
        let value = samples.get(&format!("caracal_db_pool_{name}"));
        report.holds(
            format!("pool's {name}: {value:?}"),
            value.is_some_and(|value| *value > 0.0),
        );
    }
    report.equal("requests_total", sample("requests_total"), Some(3.0));
    report.equal(
        "requests_allowed_total",
        sample("requests_allowed_total"),
        Some(1.0),
    );
    report.equal(
        "requests_denied_total",
        sample("requests_denied_total"),
        Some(2.0),
    );
    report.equal(
        "denials_missing_auth_total",
        sample("denials_missing_auth_total"),
        Some(1.0),
    );
    report.equal(
        "denials_path_traversal_total",
        sample("denials_path_traversal_total"),
        Some(1.0),
    );
    report.equal("bindings_loaded", sample("bindings_loaded"), Some(5.0));
    report.equal(
        "by reason",
        sample(r#"denials_total{reason="path_traversal"}"#),
        Some(1.0),
    );
    let reasons = samples
        .keys()
        .filter(|name| name.starts_with("caracal_gateway_denials_total{"))
        .count();
    report.holds(
        format!("{reasons} reasons registered before they occur"),
        reasons >= 25,
    );
    let histograms = samples
        .keys()
        .filter(|name| name.contains("_seconds_bucket{"))
        .count();
    report.holds("histograms", histograms > 0);

    let open = http::get(
        world.addr(),
        "/metrics",
        &[("Accept", "application/openmetrics-text;version=1.0.0")],
    )
    .await;
    let kind = open.header("content-type").unwrap_or_default();
    report.holds(
        format!("OpenMetrics: {kind}"),
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
    );
    report.holds("OpenMetrics ends", open.text().ends_with("# EOF\n"));

    let told = http::get(world.addr(), "/metrics.json", &[]).await.json();
    for (name, value) in [
        ("requests_total", 3),
        ("requests_allowed", 1),
        ("requests_denied", 2),
        ("denials_missing_auth", 1),
        ("denials_binding", 0),
        ("bindings_loaded", 5),
    ] {
        report.equal(format!("{name} in JSON"), told[name].as_u64(), Some(value));
    }
    let numbers = told
        .as_object()
        .is_some_and(|all| all.values().all(|value| value.as_u64().is_some()));
    report.holds(format!("only whole numbers: {told}"), numbers);
    report.finish();
}

async fn reload(addr: SocketAddr, authorization: Option<&str>) -> Response {
    let headers: Vec<_> = authorization
        .iter()
        .map(|value| ("Authorization", *value))
        .collect();
    http::request(addr, "POST", "/internal/revocations/reload", &headers, b"").await
}

#[tokio::test]
async fn reload_is_for_the_admin_token_alone() {
    let world = World::start().await;
    let without = world.replica_with(&[("CARACAL_ADMIN_TOKEN", "")]).await;
    let mut report = Report::default();
    let token = world.variable("CARACAL_ADMIN_TOKEN").to_owned();
    for wrong in [
        None,
        Some("Bearer wrong"),
        Some("Bearer"),
        Some("Bearer "),
        Some(token.as_str()),
    ] {
        let response = reload(world.addr(), wrong).await;
        report.status(format!("{wrong:?}"), &response, 404);
        report.equal(format!("{wrong:?}"), response.text().as_str(), "not found\n");
    }
    let right = reload(world.addr(), Some(&format!("Bearer {token}"))).await;
    report.status("the token", &right, 200);
    report.equal("answer", right.json(), json!({ "ok": true, "revocations": 0 }));
    report.status(
        "no token set",
        &reload(without.addr(), Some("Bearer ")).await,
        404,
    );
    report.status(
        "no token set, one shown",
        &reload(without.addr(), Some(&format!("Bearer {token}"))).await,
        404,
    );
    report.finish();
}

#[tokio::test]
async fn readiness_names_the_first_failing_dependency() {
    let mut proxy = None;
    let mut world = World::builder()
        .env("DRAIN_DELAY", "600s")
        .start_with(async |stack, mut variables| {
            let target = stack.sts_url()["http://".len()..].parse().expect("an address");
            let started = FaultProxy::start(target).await;
            variables.insert("STS_URL".to_owned(), format!("http://{}", started.addr()));
            proxy = Some(started);
            variables
        })
        .await;
    let proxy = proxy.expect("a proxy");
    let addr = world.addr();
    let becomes = async |reason: Option<&str>| {
        until(&format!("/ready to say {reason:?}"), async || {
            let ready = http::get(addr, "/ready", &[]).await;
            let told: Value = ready.json();
            let right = match reason {
                None => ready.status() == 200 && told.get("reason").is_none(),
                Some(reason) => ready.status() == 503 && told["reason"] == reason && told["ready"] == false,
            };
            right.then_some(())
        })
        .await;
    };
    becomes(None).await;
    proxy.set(Fault::Refuse).await;
    becomes(Some("sts_unreachable")).await;
    world.redis.pause();
    becomes(Some("redis_unreachable")).await;
    world.redis.resume();
    becomes(Some("sts_unreachable")).await;
    proxy.set(Fault::None).await;
    becomes(None).await;
    world.gateway.terminate();
    becomes(Some("draining")).await;
}

#[tokio::test]
async fn operator_address_moves_metrics_and_reload_off_the_public_port() {
    let world = World::builder().env("OPERATOR_ADDR", "127.0.0.1:0").start().await;
    let mut report = Report::default();
    let address = |line: &Value| line["addr"].as_str()?.parse().ok();
    let second = world.gateway.logged("a second address", |line| {
        address(line).is_some_and(|addr: SocketAddr| addr != world.addr())
    });
    let own = address(&second.await).expect("an address");
    for path in ["/metrics", "/metrics.json"] {
        report.status(
            format!("public {path}"),
            &http::get(world.addr(), path, &[]).await,
            404,
        );
        report.status(format!("own {path}"), &http::get(own, path, &[]).await, 200);
        // Where a resource is named, the path is the upstream's.
        report.status(format!("proxied {path}"), &world.get(NONE, path).await, 200);
    }
    let token = format!("Bearer {}", world.variable("CARACAL_ADMIN_TOKEN"));
    report.status("public reload", &reload(world.addr(), Some(&token)).await, 404);
    report.status("own reload", &reload(own, Some(&token)).await, 200);
    for path in ["/", "/x", "/metrics/", "/internal/revocations"] {
        let response = http::get(own, path, &[]).await;
        report.status(format!("own {path}"), &response, 404);
        report.equal(format!("own {path}"), response.text().as_str(), "not found\n");
    }
    for addr in [world.addr(), own] {
        report.status("health", &http::get(addr, "/health", &[]).await, 200);
        report.status("ready", &http::get(addr, "/ready", &[]).await, 200);
    }
    let dispatched = world.dispatched();
    let proxied = crate::world::present_to(own, &world.token(NONE), NONE, "/x").await;
    report.status("nothing is proxied there", &proxied, 404);
    report.equal("nothing is proxied there", world.dispatched(), dispatched);
    report.finish();
}
