//! The revocation state as a component.

use std::sync::Arc;

use admission::ports::{Cause, Clock};

use super::{
    KeysInvalidated, RevocationConfig, RevocationCounters, RevocationState, RevocationStatus, Snapshots,
    StreamReader, StreamsKey,
};
use crate::component::{Check, Component, Health, Samples, Stage, age_in_seconds};
use crate::samples;
use crate::{postgres, redis};

/// Where the revocation state comes from.
pub struct RevocationSources {
    /// The snapshots' database.
    pub database: postgres::PostgresConnector,
    /// The streams' server.
    pub redis: redis::RedisConnector,
    /// What the streams are signed with.
    pub key: StreamsKey,
    /// Told of changed signing keys.
    pub keys_invalidated: KeysInvalidated,
}

impl RevocationState {
    /// The state, with the readers of snapshots and streams.
    pub fn component(
        config: RevocationConfig,
        sources: RevocationSources,
        clock: Arc<dyn Clock>,
    ) -> Component<Self> {
        let state = Self::new(config, clock);
        let snapshots = Snapshots::new(&state, sources.database);
        let streams = StreamReader::new(&state, sources.redis, sources.key, sources.keys_invalidated);
        state
            .observed()
            .task("revocation snapshots", Stage::Foundation, |stop| {
                snapshots.run(stop)
            })
            .task("revocation streams", Stage::Foundation, |stop| streams.run(stop))
    }

    /// The state with check and figures, whoever feeds it.
    pub(super) fn observed(self) -> Component<Self> {
        let (asked, measured, bounded) = (self.clone(), self.clone(), self.clone());
        let check = Check::known("revocations", "revocation_snapshot_stale", move || {
            let status = asked.status();
            Health {
                fault: status.stale.map(|stale| status.snapshot_error.unwrap_or(stale)),
                age: status.snapshot_age,
            }
        });
        let room = Check::known("revocation_anchors", "revocation_anchors_over_bound", move || {
            let zones = bounded.status().zones_over;
            let over = || {
                Cause::new(format!(
                    "more anchors are revoked than fit: {zones} zones are refused"
                ))
            };
            Health {
                fault: (zones > 0).then(over),
                age: None,
            }
        });
        Component::new(self)
            .check(check.awaited_as("the revocation state"))
            .check(room.advisory())
            .figures(move |out| samples(&measured.status(), &measured.counters(), out))
    }
}

/// Writes the figures of a revocation state.
pub fn samples(status: &RevocationStatus, counters: &RevocationCounters, out: &mut dyn Samples) {
    let RevocationStatus {
        stale,
        contact_age,
        snapshot_age,
        snapshot_error: _,
        anchors,
        zones_over,
        watches,
    } = status;
    let RevocationCounters {
        messages,
        invalid_signatures,
        ambiguous,
        nameless,
        gaps,
        reloads,
        reload_errors,
        stream_errors,
        propagation_milliseconds,
    } = *counters;
    out.section("Revocation");
    samples! { out,
        gauge "caracal_gateway_revocations_active", "Gateway revocation anchors loaded in memory", *anchors as u64;
        gauge "caracal_gateway_revocation_zones_over_bound", "Zones some or all of whose requests are refused because their revoked anchors do not fit into REVOCATION_MAX_ZONE_ANCHORS or REVOCATION_MAX_ANCHORS", *zones_over as u64;
        gauge "caracal_gateway_revocation_snapshot_age_seconds", "Seconds since the last successful reload of the revocation snapshot", age_in_seconds(*snapshot_age);
        gauge "caracal_gateway_revocation_snapshot_fresh", "Whether the revocation state is fresh enough to admit requests", u64::from(stale.is_none());
        counter "caracal_gateway_revocation_messages_total", "Gateway revocation stream messages applied", messages;
        counter "caracal_gateway_revocation_pending_replayed_total", "Always 0: every replica reads the whole stream, so no message is ever pending for another one", 0;
        counter "caracal_gateway_revocation_dead_letters_total", "Gateway revocation stream messages that verified but could not be applied; a snapshot was taken instead", ambiguous + nameless;
        counter "caracal_gateway_revocation_invalid_signatures_total", "Gateway revocation stream messages with a bad signature", invalid_signatures;
        counter "caracal_gateway_revocation_reloads_total", "Gateway revocation snapshots reloaded", reloads;
        counter "caracal_gateway_revocation_reload_errors_total", "Gateway revocation snapshots that failed to reload", reload_errors;
        gauge "caracal_gateway_revocation_propagation_seconds", "Age of the most recent applied revocation stream message", propagation_milliseconds / 1000;
        gauge "caracal_gateway_revocation_stream_age_seconds", "Seconds since the revocation streams last answered", age_in_seconds(*contact_age);
        counter "caracal_gateway_revocation_stream_gaps_total", "Times that a revocation stream may have lost messages before they were read; nothing passes until a snapshot was taken", gaps;
        counter "caracal_gateway_revocation_stream_errors_total", "Failures of the connection that reads the revocation streams", stream_errors;
        gauge "caracal_gateway_revocation_watches", "Requests whose authority is being watched for a revocation", *watches as u64;
    }
}
