//! What the rooms below the metrics would say.

use std::num::NonZeroU32;
use std::time::Duration;

use admission::exchange::circuit::CircuitFigures;
use backends::bindings::BindingsStatus;
use backends::component::Samples;
use backends::http::Stats;
use backends::jwks::KeyStats;
use backends::postgres::ConnectionStats;
use backends::replay::ReplayStats;
use backends::revocation::{self, RevocationCounters, RevocationStatus};
use backends::sts;

use crate::ingress::refused::RefusedFigures;
use crate::renewal::CertificateFigures;
use crate::telemetry::figures::{self, ProcessFigures};

/// Figures that are all different, so that none can stand in for another.
pub(super) fn write(out: &mut dyn Samples) {
    let circuit = CircuitFigures {
        open: 2,
        opened: 11,
        fast_failed: 12,
        inflight: 13,
    };
    figures::circuit(circuit, out);
    let connections = |first| Stats {
        idle: first,
        dialled: first as u64 + 1,
        reused: first as u64 + 2,
        found_dead: first as u64 + 3,
    };
    sts::samples(&connections(14), out);
    figures::upstream_connections(&connections(101), out);
    let evidence = evidence::Stats {
        files: 21,
        bytes: 22,
        waiting: 23,
        oldest_age_seconds: 24,
        dropped: 25,
        suppressed: 26,
        sink_errors: 27,
        stream_full: true,
        persisted: 28,
        drained: 29,
        recovered: 30,
        removed: 33,
        queue_depth: 31,
        queue_capacity: 32,
        available: true,
    };
    figures::evidence(&evidence, out);
    revocations(out);
    let bindings = BindingsStatus {
        age: Some(Duration::from_secs(52)),
        error: None,
        loaded: 51,
        notified: true,
        announced: 55,
        unheard: 56,
        reloads: 53,
        reload_errors: 54,
    };
    bindings.samples(out);
    let keys = KeyStats {
        zones: 61,
        fetched: 62,
        failed: 63,
        local_faults: 67,
        served_stale: 64,
        unknown: 65,
        unavailable: 66,
    };
    keys.samples(out);
    let (losses, errors) = (71, 72);
    ReplayStats { losses, errors }.samples(out);
    let max = NonZeroU32::new(8).unwrap();
    ConnectionStats { max, acquired: 2 }.samples(out);
    let process = ProcessFigures {
        connections: 81,
        requests: 82,
        refused: RefusedFigures {
            proxies: 83,
            headers: 84,
            certificates: 85,
        },
        log_lines_dropped: 91,
    };
    process.samples(out);
    let certificates = CertificateFigures {
        served_seconds_left: Some(-43_200),
        shown_seconds_left: Some(86_400),
        renewed: 92,
        refused: 93,
        unusable: 94,
    };
    certificates.samples(out);
}

fn revocations(out: &mut dyn Samples) {
    let status = RevocationStatus {
        stale: None,
        contact_age: Some(Duration::from_secs(43)),
        snapshot_age: Some(Duration::from_secs(42)),
        snapshot_error: None,
        anchors: 41,
        zones_over: 39,
        watches: 40,
    };
    let counters = RevocationCounters {
        messages: 44,
        invalid_signatures: 46,
        ambiguous: 20,
        nameless: 25,
        gaps: 33,
        reloads: 47,
        reload_errors: 48,
        stream_errors: 34,
        propagation_milliseconds: 49_999,
    };
    revocation::samples(&status, &counters, out);
}
