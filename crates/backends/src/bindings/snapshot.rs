//! All bindings at one moment.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use admission::binding::Binding;

use super::shards::Shards;

/// All bindings at one moment. A clone is cheap, and so is a clone with one binding changed: they share the rest.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    hasher: RandomState,
    bindings: Shards<Arc<Binding>>,
    /// Each zone with the number of its bindings.
    zones: Shards<(Arc<str>, usize)>,
    len: usize,
}

impl Snapshot {
    pub(crate) fn of(bindings: impl IntoIterator<Item = Binding>) -> Self {
        let mut all = Self::default();
        for binding in bindings {
            all.add(Arc::new(binding));
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn has_zone(&self, zone: &str) -> bool {
        let hash = self.hasher.hash_one(zone);
        self.zones.get(hash, |(known, _)| (**known).cmp(zone)).is_some()
    }

    pub(crate) fn find(&self, zone: &str, resource: &str) -> Option<&Arc<Binding>> {
        let hash = self.hasher.hash_one((zone, resource));
        self.bindings.get(hash, |known| by_key(known, zone, resource))
    }

    /// Adds a binding, or replaces the one of its zone and resource.
    pub(super) fn add(&mut self, binding: Arc<Binding>) {
        let shared = Arc::clone(&binding);
        self.set(&shared.zone_id, &shared.resource, Some(binding));
    }

    /// One binding as it is now in the database: there, or not.
    pub(super) fn set(&mut self, zone: &str, resource: &str, binding: Option<Arc<Binding>>) {
        let hash = self.hasher.hash_one((zone, resource));
        let order = |known: &Arc<Binding>| by_key(known, zone, resource);
        let there = binding.is_some();
        let was_there = self.bindings.set(hash, order, binding).is_some();
        if there != was_there {
            self.count(zone, there);
        }
    }

    /// One binding of the zone more, or one less.
    fn count(&mut self, zone: &str, more: bool) {
        let hash = self.hasher.hash_one(zone);
        let order = |(known, _): &(Arc<str>, usize)| (**known).cmp(zone);
        let known = self.zones.get(hash, order).cloned();
        let (name, before) = known.unwrap_or_else(|| (zone.into(), 0));
        let step = |number: usize| {
            if more {
                number + 1
            } else {
                number.saturating_sub(1)
            }
        };
        let now = step(before);
        self.zones.set(hash, order, (now > 0).then_some((name, now)));
        self.len = step(self.len);
    }
}

fn by_key(binding: &Arc<Binding>, zone: &str, resource: &str) -> Ordering {
    (binding.resource.as_str(), binding.zone_id.as_str()).cmp(&(resource, zone))
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

    fn url<'a>(all: &'a Snapshot, zone: &str, resource: &str) -> Option<&'a str> {
        Some(all.find(zone, resource)?.upstream_url.as_str())
    }

    #[test]
    fn snapshot_finds_by_zone_and_resource() {
        let all = Snapshot::of([binding("z", "r", "u1"), binding("y", "r", "u2")]);
        assert_eq!(all.len(), 2);
        assert_eq!(url(&all, "y", "r"), Some("u2"));
        assert!(all.find("z", "other").is_none() && all.find("x", "r").is_none());
        assert!(all.has_zone("z") && !all.has_zone("x"));
    }

    #[test]
    fn snapshot_changes_one_binding_and_leaves_the_first_alone() {
        let first = Snapshot::of([binding("z", "r", "u1")]);
        let mut next = first.clone();
        next.add(Arc::new(binding("z", "s", "u2")));
        next.add(Arc::new(binding("z", "r", "u3")));
        assert_eq!((first.len(), next.len()), (1, 2));
        assert_eq!(
            (url(&first, "z", "r"), url(&next, "z", "r")),
            (Some("u1"), Some("u3"))
        );
        assert!(first.find("z", "s").is_none());
        for resource in ["r", "s", "never"] {
            next.set("z", resource, None);
        }
        assert_eq!(next.len(), 0);
        assert!(!next.has_zone("z") && first.has_zone("z"));
    }

    #[test]
    fn snapshot_of_many_is_what_a_map_of_them_is() {
        let names = |n: usize| (format!("zone-{}", n % 37), format!("resource-{}", n % 5000));
        let mut all = Snapshot::default();
        let mut expect = std::collections::HashMap::new();
        for n in 0..20_000 {
            let (zone, resource) = names(n);
            if n % 3 == 0 {
                all.set(&zone, &resource, None);
                expect.remove(&(zone, resource));
            } else {
                let text = format!("u{n}");
                all.add(Arc::new(binding(&zone, &resource, &text)));
                expect.insert((zone, resource), text);
            }
        }
        assert_eq!(all.len(), expect.len());
        for n in 0..20_000 {
            let (zone, resource) = names(n);
            let there = expect.get(&(zone.clone(), resource.clone()));
            assert_eq!(
                url(&all, &zone, &resource),
                there.map(String::as_str),
                "{zone} {resource}"
            );
        }
    }
}
