//! The STS, the evidence, the revocation state and the stores.

use std::sync::atomic::Ordering;

use crate::telemetry::metrics::legacy::Cause;
use crate::telemetry::metrics::metric::{Read, Section, metric};

pub(super) const STS: Section = Section {
    title: "STS",
    metrics: &[
        metric(
            "caracal_gateway_sts_exchange_errors_total",
            "Gateway STS token exchange failures: timeouts, failed connections, unusable answers, server errors and refusals of the gateway itself",
            Read::Counter(|s| s.metrics.sts_server_errors.get() + s.caused_by(Cause::StsFault)),
        )
        .json("sts_exchange_errors"),
        metric(
            "caracal_gateway_sts_exchange_latency_ms",
            "Latency of the most recent Gateway STS token exchange",
            Read::Gauge(|s| s.metrics.last_exchange_millis.load(Ordering::Relaxed)),
        )
        .json("sts_exchange_latency_ms"),
        metric(
            "caracal_gateway_sts_circuit_open",
            "Whether Gateway is currently fast-failing STS exchange calls, of one zone at least",
            Read::Gauge(|s| u64::from(s.figures.circuit.open > 0)),
        )
        .json("sts_circuit_open"),
        metric(
            "caracal_gateway_sts_circuit_opened_total",
            "Times Gateway opened its STS exchange circuit breaker",
            Read::Counter(|s| s.figures.circuit.opened),
        )
        .json("sts_circuit_opened"),
        metric(
            "caracal_gateway_sts_circuit_fast_fail_total",
            "Gateway requests rejected while the STS exchange circuit was open",
            Read::Counter(|s| s.figures.circuit.fast_failed),
        )
        .json("sts_circuit_fast_fail"),
        metric(
            "caracal_gateway_sts_circuit_breakers_open",
            "Breakers that are open: one for the STS as a whole and one for each zone",
            Read::Gauge(|s| s.figures.circuit.open as u64),
        ),
        metric(
            "caracal_gateway_sts_exchanges_in_flight",
            "Exchanges under way",
            Read::Gauge(|s| s.figures.circuit.inflight as u64),
        ),
        metric(
            "caracal_gateway_sts_exchange_seconds",
            "Time of an exchange, however it ended",
            Read::Histogram(|s| &s.metrics.exchange),
        ),
        metric(
            "caracal_gateway_jwks_zones",
            "Zones whose signing keys are in memory",
            Read::Gauge(|s| s.figures.keys.zones),
        ),
        metric(
            "caracal_gateway_jwks_fetches_total",
            "Key sets fetched from the STS",
            Read::Counter(|s| s.figures.keys.fetches),
        ),
        metric(
            "caracal_gateway_jwks_fetch_errors_total",
            "Key sets that could not be fetched or were not usable; the keys at hand stay in use for up to an hour",
            Read::Counter(|s| s.figures.keys.fetch_errors),
        ),
    ],
};

pub(super) const EVIDENCE: Section = Section {
    title: "Audit evidence",
    metrics: &[
        metric(
            "caracal_gateway_audit_replay_files",
            "Gateway audit files waiting on disk",
            Read::Gauge(|s| s.figures.evidence.files),
        )
        .json("audit_replay_files"),
        metric(
            "caracal_gateway_audit_replay_bytes",
            "Gateway audit bytes waiting on disk",
            Read::Gauge(|s| s.figures.evidence.bytes),
        )
        .json("audit_replay_bytes"),
        metric(
            "caracal_gateway_audit_replay_oldest_age_seconds",
            "Age of the oldest Gateway audit event waiting on disk",
            Read::Gauge(|s| s.figures.evidence.oldest_age_seconds),
        )
        .json("audit_replay_oldest_age_seconds"),
        metric(
            "caracal_gateway_audit_dropped_total",
            "Gateway audit events lost; only a damaged file loses that of a request that crossed",
            Read::Counter(|s| s.figures.evidence.dropped),
        )
        .json("audit_dropped"),
        metric(
            "caracal_gateway_audit_sink_errors_total",
            "Gateway audit delivery errors",
            Read::Counter(|s| s.figures.evidence.sink_errors),
        )
        .json("audit_sink_errors"),
        metric(
            "caracal_gateway_audit_queue_depth",
            "How much of the spool is taken or promised, in records of the greatest size",
            Read::Gauge(|s| s.figures.evidence.queue_depth),
        )
        .json("audit_queue_depth"),
        metric(
            "caracal_gateway_audit_queue_capacity",
            "The bound of the spool, in records of the greatest size",
            Read::Gauge(|s| s.figures.evidence.queue_capacity),
        )
        .json("audit_queue_cap"),
        metric(
            "caracal_gateway_audit_persisted_total",
            "Gateway audit events written to the spool",
            Read::Counter(|s| s.figures.evidence.persisted),
        )
        .json("audit_persisted"),
        metric(
            "caracal_gateway_audit_drained_total",
            "Gateway audit events that the audit stream took",
            Read::Counter(|s| s.figures.evidence.drained),
        )
        .json("audit_drained"),
        metric(
            "caracal_gateway_audit_suppressed_total",
            "Refusals that were summed up in another event because their reason was over its quota",
            Read::Counter(|s| s.figures.evidence.suppressed),
        ),
        metric(
            "caracal_gateway_audit_recovered_total",
            "Events that a killed process left unfinished, finished as interrupted",
            Read::Counter(|s| s.figures.evidence.recovered),
        ),
        metric(
            "caracal_gateway_audit_available",
            "Whether new requests can be recorded; while they cannot, they are refused",
            Read::Gauge(|s| u64::from(s.figures.evidence.available)),
        ),
    ],
};

pub(super) const REVOCATION: Section = Section {
    title: "Revocation",
    metrics: &[
        metric(
            "caracal_gateway_revocations_active",
            "Gateway revocation anchors loaded in memory",
            Read::Gauge(|s| s.figures.revocation.active),
        )
        .json("revocations_active"),
        metric(
            "caracal_gateway_revocation_snapshot_age_seconds",
            "Seconds since the last successful reload of the revocation snapshot",
            Read::Gauge(|s| s.figures.revocation.snapshot_age_seconds),
        )
        .json("revocation_snapshot_age_seconds"),
        metric(
            "caracal_gateway_revocation_snapshot_fresh",
            "Whether the revocation state is fresh enough to admit requests",
            Read::Gauge(|s| u64::from(s.figures.revocation.fresh)),
        )
        .json("revocation_snapshot_fresh"),
        metric(
            "caracal_gateway_revocation_messages_total",
            "Gateway revocation stream messages applied",
            Read::Counter(|s| s.figures.revocation.messages),
        )
        .json("revocation_messages"),
        metric(
            "caracal_gateway_revocation_pending_replayed_total",
            "Always 0: every replica reads the whole stream, so no message is ever pending for another one",
            Read::Counter(|_| 0),
        )
        .json("revocation_pending_replayed"),
        metric(
            "caracal_gateway_revocation_dead_letters_total",
            "Gateway revocation stream messages that verified but could not be applied; a snapshot was taken instead",
            Read::Counter(|s| s.figures.revocation.unusable),
        )
        .json("revocation_dead_letters"),
        metric(
            "caracal_gateway_revocation_invalid_signatures_total",
            "Gateway revocation stream messages with a bad signature",
            Read::Counter(|s| s.figures.revocation.invalid_signatures),
        )
        .json("revocation_invalid_signatures"),
        metric(
            "caracal_gateway_revocation_reloads_total",
            "Gateway revocation snapshots reloaded",
            Read::Counter(|s| s.figures.revocation.reloads),
        )
        .json("revocation_reloads"),
        metric(
            "caracal_gateway_revocation_reload_errors_total",
            "Gateway revocation snapshots that failed to reload",
            Read::Counter(|s| s.figures.revocation.reload_errors),
        )
        .json("revocation_reload_errors"),
        metric(
            "caracal_gateway_revocation_propagation_seconds",
            "Age of the most recent applied revocation stream message",
            Read::Gauge(|s| s.figures.revocation.propagation_seconds),
        )
        .json("revocation_propagation_seconds"),
        metric(
            "caracal_gateway_revocation_stream_age_seconds",
            "Seconds since the revocation streams last answered",
            Read::Gauge(|s| s.figures.revocation.stream_age_seconds),
        ),
    ],
};

pub(super) const STORES: Section = Section {
    title: "Bindings, replay marks and PostgreSQL",
    metrics: &[
        metric(
            "caracal_gateway_bindings_loaded",
            "Gateway bindings loaded in memory",
            Read::Gauge(|s| s.figures.bindings.loaded),
        )
        .json_appended("bindings_loaded"),
        metric(
            "caracal_gateway_binding_snapshot_age_seconds",
            "Seconds since the bindings in memory were last confirmed by the database",
            Read::Gauge(|s| s.figures.bindings.age_seconds),
        ),
        metric(
            "caracal_gateway_binding_reloads_total",
            "Binding snapshots reloaded",
            Read::Counter(|s| s.figures.bindings.reloads),
        ),
        metric(
            "caracal_gateway_binding_reload_errors_total",
            "Binding snapshots that failed to reload; the last good one stays in use",
            Read::Counter(|s| s.figures.bindings.reload_errors),
        ),
        metric(
            "caracal_gateway_replay_store_losses_total",
            "Times the replay store was found to have lost its marks; older single-use mandates are refused since",
            Read::Counter(|s| s.figures.replay.losses),
        ),
        metric(
            "caracal_gateway_replay_store_errors_total",
            "Replay marks that the store did not set or answer for in time",
            Read::Counter(|s| s.figures.replay.errors),
        ),
        metric(
            "caracal_db_pool_in_use_ratio",
            "PostgreSQL connections in use, as a share of the most that are opened",
            Read::Number(|s| {
                let database = s.figures.database.filter(|database| database.max > 0)?;
                Some(database.acquired as f64 / database.max as f64)
            }),
        ),
        metric(
            "caracal_db_pool_max_conns",
            "Most PostgreSQL connections that are opened",
            Read::Number(|s| s.figures.database.map(|database| database.max as f64)),
        ),
        metric(
            "caracal_db_pool_acquired_conns",
            "PostgreSQL connections in use",
            Read::Number(|s| s.figures.database.map(|database| database.acquired as f64)),
        ),
    ],
};
