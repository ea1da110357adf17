//! The stores in memory as components. They are always well, and show the figures that the real ones do.

use std::sync::Arc;
use std::time::Duration;

use admission::binding::Binding;
use admission::mode::DevOnly;
use admission::ports::Clock;

use super::{MemoryBindings, MemoryReplay};
use crate::bindings::BindingsStatus;
use crate::component::{Check, Component, Health};
use crate::replay::ReplayStats;

impl MemoryBindings {
    /// These bindings.
    pub fn component(proof: DevOnly, bindings: impl IntoIterator<Item = Binding>) -> Component<Arc<Self>> {
        let bindings = Self::new(proof, bindings);
        let measured = Arc::clone(&bindings);
        let well = || Health::well(None);
        Component::new(bindings)
            .check(Check::known("bindings", "bindings_unavailable", well))
            .figures(move |out| {
                let status = BindingsStatus {
                    age: Some(Duration::ZERO),
                    loaded: measured.loaded(),
                    notified: true,
                    ..BindingsStatus::default()
                };
                status.samples(out);
            })
    }
}

impl MemoryReplay {
    /// No marks yet.
    pub fn component(proof: DevOnly, clock: Arc<dyn Clock>) -> Component<Arc<Self>> {
        let well = || Health::well(None);
        Component::new(Self::new(proof, clock))
            .check(Check::known("redis", "redis_unreachable", well))
            .figures(|out| ReplayStats::default().samples(out))
    }
}
