//! `metrics.json`: whole numbers under the keys that its consumers know, in the order that they know.

use std::collections::HashMap;

/// The keys: a metric's name without `caracal_gateway_`, mostly also without `_total`.
const KEYS: [&str; 39] = [
    "requests_total",
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
    "sts_exchange_errors",
    "sts_exchange_latency_ms",
    "sts_circuit_open",
    "sts_circuit_opened",
    "sts_circuit_fast_fail",
    "upstream_errors",
    "audit_replay_files",
    "audit_replay_bytes",
    "audit_replay_oldest_age_seconds",
    "audit_dropped",
    "audit_sink_errors",
    "audit_queue_depth",
    "audit_queue_cap",
    "audit_persisted",
    "audit_drained",
    "revocations_active",
    "revocation_snapshot_age_seconds",
    "revocation_snapshot_fresh",
    "revocation_messages",
    "revocation_pending_replayed",
    "revocation_dead_letters",
    "revocation_invalid_signatures",
    "revocation_reloads",
    "revocation_reload_errors",
    "revocation_propagation_seconds",
    "denials_binding",
    "bindings_loaded",
];

/// The key of a metric; `None` for most.
pub(super) fn key(metric: &str) -> Option<&'static str> {
    let name = match metric.strip_prefix("caracal_gateway_")? {
        "audit_queue_capacity" => "audit_queue_cap",
        name => name,
    };
    let stem = name.strip_suffix("_total").unwrap_or(name);
    KEYS.into_iter().find(|key| *key == name || *key == stem)
}

/// The members of the object, in their order, from the metrics that are one whole number.
pub(super) fn members(
    integers: impl Iterator<Item = (&'static str, u64)>,
) -> impl Iterator<Item = (&'static str, u64)> {
    let values: HashMap<_, _> = integers
        .filter_map(|(name, value)| Some((key(name)?, value)))
        .collect();
    KEYS.into_iter()
        .filter_map(move |key| Some((key, *values.get(key)?)))
}
