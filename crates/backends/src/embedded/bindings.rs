//! Bindings in memory: a list that is replaced as a whole.

use std::sync::Arc;

use admission::binding::Binding;
use admission::mode::DevOnly;
use admission::ports::{Bindings, BoxFuture, Cause, NotBound, ZoneStanding};
use arc_swap::ArcSwap;

use crate::bindings::Snapshot;

/// The bindings.
pub struct MemoryBindings(ArcSwap<Snapshot>);

impl MemoryBindings {
    /// These bindings.
    #[must_use]
    pub fn new(_proof: DevOnly, bindings: impl IntoIterator<Item = Binding>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(Snapshot::of(bindings))))
    }

    /// These instead.
    pub fn set(&self, bindings: impl IntoIterator<Item = Binding>) {
        self.0.store(Arc::new(Snapshot::of(bindings)));
    }

    /// How many there are.
    #[must_use]
    pub fn loaded(&self) -> usize {
        self.0.load().len()
    }
}

impl Bindings for MemoryBindings {
    fn zone(&self, zone: &str) -> ZoneStanding {
        if self.0.load().has_zone(zone) {
            ZoneStanding::Known
        } else {
            ZoneStanding::Unknown
        }
    }

    fn find<'a>(&'a self, zone: &'a str, resource: &'a str) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        let found = self.0.load().find(zone, resource).cloned();
        Box::pin(std::future::ready(
            found.ok_or_else(|| NotBound(Cause::new("no such binding"))),
        ))
    }

    fn reread<'a>(
        &'a self,
        zone: &'a str,
        resource: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Binding>, NotBound>> {
        self.find(zone, resource)
    }
}
