//! All bindings at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use admission::binding::Binding;

/// All bindings at one moment. A clone is cheap: it shares the zones.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    zones: HashMap<Box<str>, Arc<Zone>>,
    bindings: usize,
}

type Zone = HashMap<Box<str>, Arc<Binding>>;

impl Snapshot {
    pub(crate) fn of(bindings: impl IntoIterator<Item = Binding>) -> Self {
        let mut zones: HashMap<Box<str>, Zone> = HashMap::new();
        for binding in bindings {
            zones
                .entry(binding.zone_id.as_str().into())
                .or_default()
                .insert(binding.resource.as_str().into(), Arc::new(binding));
        }
        let bindings = zones.values().map(HashMap::len).sum();
        let zones = zones.into_iter().map(|(id, zone)| (id, Arc::new(zone))).collect();
        Self { zones, bindings }
    }

    pub(crate) fn len(&self) -> usize {
        self.bindings
    }

    pub(crate) fn has_zone(&self, zone: &str) -> bool {
        self.zones.contains_key(zone)
    }

    pub(crate) fn find(&self, zone: &str, resource: &str) -> Option<Arc<Binding>> {
        self.zones.get(zone)?.get(resource).cloned()
    }

    /// The same with one binding as it is now in the database: there, or not.
    pub(super) fn with(&self, zone: &str, resource: &str, binding: Option<Arc<Binding>>) -> Self {
        let mut next = self.clone();
        let mut changed: Zone = next
            .zones
            .get(zone)
            .map(|zone| Zone::clone(zone))
            .unwrap_or_default();
        let before = changed.len();
        match binding {
            Some(binding) => changed.insert(resource.into(), binding),
            None => changed.remove(resource),
        };
        next.bindings = next.bindings + changed.len() - before;
        if changed.is_empty() {
            next.zones.remove(zone);
        } else {
            next.zones.insert(zone.into(), Arc::new(changed));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;
    use admission::binding::{Application, Binding};
    use std::sync::Arc;

    fn binding(zone: &str, resource: &str, url: &str) -> Binding {
        Binding {
            zone_id: zone.to_owned(),
            resource: resource.to_owned(),
            application: Application::FromToken,
            upstream_url: url.into(),
        }
    }

    #[test]
    fn snapshot_finds_by_zone_and_resource() {
        let all = Snapshot::of([binding("z", "r", "u1"), binding("y", "r", "u2")]);
        assert_eq!(all.len(), 2);
        assert_eq!(all.find("y", "r").unwrap().upstream_url.as_str(), "u2");
        assert!(all.find("z", "other").is_none() && all.find("x", "r").is_none());
        assert!(all.has_zone("z") && !all.has_zone("x"));
    }

    #[test]
    fn snapshot_changes_one_binding_and_leaves_the_first_alone() {
        let first = Snapshot::of([binding("z", "r", "u1")]);
        let added = first.with("z", "s", Some(Arc::new(binding("z", "s", "u2"))));
        let replaced = added.with("z", "r", Some(Arc::new(binding("z", "r", "u3"))));
        let removed = replaced.with("z", "r", None).with("z", "s", None);
        assert_eq!(
            (first.len(), added.len(), replaced.len(), removed.len()),
            (1, 2, 2, 0)
        );
        assert_eq!(replaced.find("z", "r").unwrap().upstream_url.as_str(), "u3");
        assert!(first.find("z", "s").is_none());
        assert!(!removed.has_zone("z") && !removed.with("q", "r", None).has_zone("q"));
    }
}
