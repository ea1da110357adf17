//! The bindings as a component.

use std::sync::Arc;

use admission::ports::{Cause, Clock};

use super::{BindingsConfig, BindingsStatus, PostgresBindings};
use crate::component::{Check, Component, Health, Samples, Stage, age_in_seconds};
use crate::postgres::PostgresConnector;
use crate::samples;

impl PostgresBindings {
    /// The bindings of this database, with their reader.
    pub fn component(
        config: BindingsConfig,
        database: PostgresConnector,
        clock: Arc<dyn Clock>,
    ) -> Component<Arc<Self>> {
        let (bindings, reader) = Self::new(config, database, clock);
        let (asked, measured) = (Arc::clone(&bindings), Arc::clone(&bindings));
        let check = Check::known("bindings", "bindings_unavailable", move || {
            let BindingsStatus { age, error, .. } = asked.status();
            let unread = || age.is_none().then(|| Cause::new("bindings: not read yet"));
            Health {
                fault: error.or_else(unread),
                age,
            }
        });
        Component::new(bindings)
            .check(check.awaited_as("the bindings in PostgreSQL (DATABASE_URL)"))
            .figures(move |out| measured.status().samples(out))
            .task("bindings", Stage::Foundation, |stop| reader.run(stop))
    }
}

impl BindingsStatus {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self {
            age,
            error: _,
            loaded,
            notified,
            announced,
            unheard,
            reloads,
            reload_errors,
        } = *self;
        out.section("Bindings, replay marks and PostgreSQL");
        samples! { out,
            gauge "caracal_gateway_bindings_loaded", "Gateway bindings loaded in memory", loaded as u64;
            gauge "caracal_gateway_binding_snapshot_age_seconds", "Seconds since the bindings in memory were last confirmed by the database", age_in_seconds(age);
            gauge "caracal_gateway_binding_changes_notified", "Whether the database announces changed bindings at once and the gateway hears itself on the same connection; while not, they are found by polling", u64::from(notified);
            counter "caracal_gateway_binding_changes_read_total", "Bindings read one by one because the database announced that they changed", announced;
            counter "caracal_gateway_binding_listener_failures_total", "Times that the connection that listens for changed bindings was lost, or did not hear the gateway's own notification (as behind a proxy that pools transactions)", unheard;
            counter "caracal_gateway_binding_reloads_total", "Binding snapshots reloaded", reloads;
            counter "caracal_gateway_binding_reload_errors_total", "Binding snapshots that failed to reload; the last good one stays in use", reload_errors;
        }
    }
}
