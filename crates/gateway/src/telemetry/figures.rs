//! The figures of rooms that know nothing of metrics, and the list of all figures for the documentation.

use std::num::NonZeroU32;

use admission::exchange::circuit::CircuitFigures;
use backends::anchor::AnchorStats;
use backends::bindings::BindingsStatus;
use backends::component::Samples;
use backends::http::{Stats, StatsNames};
use backends::jwks::KeyStats;
use backends::postgres::ConnectionStats;
use backends::replay::ReplayStats;
use backends::revocation::{RevocationCounters, RevocationStatus};
use backends::{revocation, samples, sts};

use crate::ingress::refused::RefusedFigures;
use crate::renewal::CertificateFigures;

const UPSTREAM_CONNECTIONS: StatsNames = StatsNames {
    idle: "caracal_gateway_upstream_connections_idle",
    dialled: "caracal_gateway_upstream_connections_dialled_total",
    reused: "caracal_gateway_upstream_connections_reused_total",
    found_dead: "caracal_gateway_upstream_connections_found_dead_total",
};

/// The circuit of the STS.
pub fn circuit(figures: CircuitFigures, out: &mut dyn Samples) {
    let CircuitFigures {
        open,
        opened,
        fast_failed,
        inflight,
    } = figures;
    out.section("STS");
    samples! { out,
        gauge "caracal_gateway_sts_circuit_open", "Whether Gateway is currently fast-failing STS exchange calls, of one zone at least", u64::from(open > 0);
        counter "caracal_gateway_sts_circuit_opened_total", "Times Gateway opened its STS exchange circuit breaker", opened;
        counter "caracal_gateway_sts_circuit_fast_fail_total", "Gateway requests rejected while the STS exchange circuit was open", fast_failed;
        gauge "caracal_gateway_sts_circuit_breakers_open", "Breakers that are open: one for the STS as a whole and one for each zone", open as u64;
        gauge "caracal_gateway_sts_exchanges_in_flight", "Exchanges under way", inflight as u64;
    }
}

/// The connections to upstreams.
pub fn upstream_connections(stats: &Stats, out: &mut dyn Samples) {
    out.section("Upstreams");
    stats.samples(&UPSTREAM_CONNECTIONS, out);
}

/// The evidence spool and its shipper.
pub fn evidence(stats: &evidence::Stats, out: &mut dyn Samples) {
    let evidence::Stats {
        files,
        bytes,
        waiting,
        oldest_age_seconds,
        dropped,
        suppressed,
        sink_errors,
        stream_full,
        persisted,
        drained,
        recovered,
        removed,
        queue_depth,
        queue_capacity,
        available,
    } = *stats;
    out.section("Audit evidence");
    samples! { out,
        gauge "caracal_gateway_audit_replay_files", "Gateway audit files waiting on disk", files;
        gauge "caracal_gateway_audit_replay_bytes", "Gateway audit bytes waiting on disk", bytes;
        gauge "caracal_gateway_audit_replay_oldest_age_seconds", "Age of the oldest Gateway audit event waiting on disk", oldest_age_seconds;
        counter "caracal_gateway_audit_dropped_total", "Gateway audit events lost; only a damaged or removed file loses that of a request that crossed", dropped;
        counter "caracal_gateway_audit_sink_errors_total", "Gateway audit delivery errors", sink_errors;
        gauge "caracal_gateway_audit_stream_full", "Whether shipping pauses because the audit stream holds AUDIT_STREAM_MAX_LEN entries or more", u64::from(stream_full);
        gauge "caracal_gateway_audit_queue_depth", "How much of the spool is taken or promised, in records of the greatest size", queue_depth;
        gauge "caracal_gateway_audit_queue_capacity", "The bound of the spool, in records of the greatest size", queue_capacity;
        counter "caracal_gateway_audit_persisted_total", "Gateway audit events written to the spool", persisted;
        counter "caracal_gateway_audit_drained_total", "Gateway audit events that the audit stream took", drained;
        gauge "caracal_gateway_audit_waiting", "Gateway audit events of this process that wait to be taken by the audit stream", waiting;
        counter "caracal_gateway_audit_suppressed_total", "Refusals that were summed up in another event because their reason was over its quota", suppressed;
        counter "caracal_gateway_audit_recovered_total", "Events that a killed process left unfinished, finished as interrupted or not_dispatched", recovered;
        counter "caracal_gateway_audit_spool_removed_total", "How often the spool's directory, or a segment or the chain in it, was removed while it was in use", removed;
        gauge "caracal_gateway_audit_available", "Whether new requests can be recorded; while they cannot, they are refused", u64::from(available);
    }
}

/// What the process holds and has to say of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Open connections of callers.
    pub connections: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Connections that were refused before their first request.
    pub refused: RefusedFigures,
    /// Log lines that were dropped because the sink was full or broken.
    pub log_lines_dropped: u64,
}

impl ProcessFigures {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self {
            connections,
            requests,
            refused,
            log_lines_dropped,
        } = *self;
        let RefusedFigures {
            proxies,
            headers,
            certificates,
        } = refused;
        out.section("Process");
        samples! { out,
            gauge "caracal_gateway_connections", "Open connections of callers", connections as u64;
            counter "caracal_gateway_connections_refused_proxy_total", "Connections refused because PROXY_PROTOCOL requires a header and the peer is not among TRUSTED_PROXIES", proxies;
            counter "caracal_gateway_connections_refused_proxy_header_total", "Connections refused because their PROXY header was missing, malformed or late", headers;
            counter "caracal_gateway_connections_refused_certificate_total", "Connections refused because TLS_CLIENT_AUTH requires a certificate and none was shown, or because the one shown is not trusted", certificates;
            gauge "caracal_gateway_requests_in_flight", "Requests under way, streams included", requests as u64;
            counter "caracal_gateway_log_lines_dropped_total", "Log lines dropped because standard error did not take them", log_lines_dropped;
        }
    }
}

/// Every figure that any installation shows, at zero: what the documentation lists. A test compares the list with
/// what a running gateway shows.
pub fn zero(out: &mut dyn Samples) {
    let no_connections = Stats::default();
    circuit(CircuitFigures::default(), out);
    KeyStats::default().samples(out);
    sts::samples(&no_connections, out);
    upstream_connections(&no_connections, out);
    evidence(&evidence::Stats::default(), out);
    AnchorStats::default().samples(out);
    revocation::samples(&RevocationStatus::default(), &RevocationCounters::default(), out);
    BindingsStatus::default().samples(out);
    ReplayStats::default().samples(out);
    let (max, acquired) = (NonZeroU32::MIN, 0);
    ConnectionStats { max, acquired }.samples(out);
    ProcessFigures::default().samples(out);
    CertificateFigures::default().samples(out);
}
