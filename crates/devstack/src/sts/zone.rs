//! A zone: its keys, its clients, its resources.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::value::RawValue;

use super::directive;
use super::keys::{KeyRing, SigningKey};
use crate::config::{Binding, StackConfig};
use crate::{Error, Secret};

pub(super) struct Zone {
    keys: RwLock<KeyRing>,
    clients: HashMap<String, Secret>,
    /// The directive of each resource, written once.
    directives: HashMap<String, Box<RawValue>>,
}

impl Zone {
    pub(super) fn signing_key(&self) -> Arc<SigningKey> {
        Arc::clone(self.keys.read().newest())
    }

    pub(super) fn verifying_key(&self, kid: &str, now: u64) -> Option<Arc<SigningKey>> {
        self.keys.read().find(kid, now)
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> KeyRing {
        self.keys.read().clone()
    }

    pub(super) fn rotate(&self, now: u64) -> Result<String, Error> {
        let mut keys = self.keys.write();
        *keys = keys.rotated(now)?;
        Ok(keys.newest().kid.clone())
    }

    pub(super) fn client(&self, id: &str) -> Option<&Secret> {
        self.clients.get(id)
    }

    pub(super) fn directive(&self, resource: &str) -> Option<&RawValue> {
        self.directives.get(resource).map(AsRef::as_ref)
    }
}

/// Makes every zone of a configuration; `bindings` are its resources with their URLs, in
/// the same order.
pub(super) fn assemble(
    config: &StackConfig,
    bindings: &[Binding],
    now: u64,
) -> Result<HashMap<String, Zone>, Error> {
    let mut zones = HashMap::new();
    for id in &config.zones {
        let keys = RwLock::new(KeyRing::random(now)?);
        let zone = Zone {
            keys,
            clients: HashMap::new(),
            directives: HashMap::new(),
        };
        insert_new(&mut zones, id, zone)?;
    }
    let unknown_zone = |id: &String| Error::UnknownZone(id.clone());
    for client in &config.clients {
        let zone = zones
            .get_mut(&client.zone)
            .ok_or_else(|| unknown_zone(&client.zone))?;
        insert_new(&mut zone.clients, &client.id, client.secret.clone())?;
    }
    for (resource, binding) in config.resources.iter().zip(bindings) {
        let zone = zones
            .get_mut(&resource.zone)
            .ok_or_else(|| unknown_zone(&resource.zone))?;
        if !zone.clients.contains_key(&resource.application_id) {
            return Err(Error::UnknownClient(resource.application_id.clone()));
        }
        let directive = directive::write(resource, &binding.upstream_url)?;
        insert_new(&mut zone.directives, &resource.identifier, directive)?;
    }
    Ok(zones)
}

fn insert_new<T>(map: &mut HashMap<String, T>, name: &str, value: T) -> Result<(), Error> {
    match map.entry(name.to_owned()) {
        Entry::Occupied(_) => Err(Error::Duplicate(name.to_owned())),
        Entry::Vacant(vacant) => {
            vacant.insert(value);
            Ok(())
        }
    }
}
