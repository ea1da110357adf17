//! The STS as a component.

use super::StsClient;
use crate::component::{Check, Component, Health, Samples, Stage};
use crate::http::{Stats, StatsNames};

const CONNECTIONS: StatsNames = StatsNames {
    idle: "caracal_gateway_sts_connections_idle",
    dialled: "caracal_gateway_sts_connections_dialled_total",
    reused: "caracal_gateway_sts_connections_reused_total",
    found_dead: "caracal_gateway_sts_connections_found_dead_total",
};

impl StsClient {
    /// This client with its check and its figures, and the task that closes idle connections.
    pub fn component(self) -> Component<Self> {
        let (asked, measured, swept) = (self.clone(), self.clone(), self.clone());
        Component::new(self)
            .check(Check {
                name: "sts",
                reason: "sts_unreachable",
                // The process starts without it: requests with a cached answer do not need it, and the circuit
                // says no to the others.
                awaited: None,
                is_advisory: false,
                probe: Box::new(move || {
                    let sts = asked.clone();
                    Box::pin(async move {
                        let (said, at) = sts.0.health.check(&sts).await;
                        Health {
                            fault: said.err(),
                            age: Some(sts.0.clock.now().monotonic.saturating_sub(at)),
                        }
                    })
                }),
            })
            .figures(move |out| samples(&measured.stats(), out))
            .task("sts connections", Stage::Background, |stop| swept.run(stop))
    }
}

/// Writes the figures of the connections to the STS.
pub fn samples(stats: &Stats, out: &mut dyn Samples) {
    out.section("STS");
    stats.samples(&CONNECTIONS, out);
}
