//! How much the gateway takes on at a time. What is above is refused at once, never queued.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refused::Refused;

/// Open files that connections of callers and requests leave to everything else: stores, the STS, idle connections, the
/// spool, the operator's listener.
const RESERVED_FILES: u64 = 512;
/// Of which for idle connections to upstreams, and as many to the STS.
const RESERVED_FOR_IDLE: u64 = 128;

/// The bounds, from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityLimits {
    /// `MAX_CONNECTIONS`.
    pub connections: usize,
    /// `MAX_CONNECTIONS_PER_SOURCE`.
    pub per_source: usize,
    /// `MAX_INFLIGHT_REQUESTS`.
    pub requests: usize,
}

impl CapacityLimits {
    /// Lowered until each connection and each request can have a file descriptor, with a warning for each bound that is.
    /// However few the process may open, some callers are served.
    #[must_use]
    pub fn within(self, open_files: Option<u64>) -> Self {
        let Some(open_files) = open_files else { return self };
        let free = open_files.saturating_sub(RESERVED_FILES).max(open_files / 8) as usize;
        let lower = |name, asked: usize, most: usize| {
            if asked > most {
                tracing::warn!(
                    "open files are limited to {open_files}: {name} is lowered from {asked} to {most}"
                );
            }
            asked.min(most)
        };
        let connections = lower("MAX_CONNECTIONS", self.connections, free / 2);
        // HTTP/2 carries more requests than there are connections.
        let requests = lower("MAX_INFLIGHT_REQUESTS", self.requests, free - connections);
        Self {
            connections,
            requests,
            ..self
        }
    }

    /// How many idle connections to upstreams, and as many to the STS, have room beside these limits.
    #[must_use]
    pub fn idle_connections(self, open_files: Option<u64>, most: usize) -> usize {
        let Some(open_files) = open_files else { return most };
        let held = (self.connections + self.requests) as u64 + RESERVED_FILES;
        most.min((RESERVED_FOR_IDLE + open_files.saturating_sub(held) / 2) as usize)
    }
}

/// Counts connections and requests.
#[derive(Debug)]
pub struct Capacity {
    /// What was refused for other reasons than a lack of room.
    pub refused: Refused,
    limits: CapacityLimits,
    connections: AtomicUsize,
    requests: Arc<Semaphore>,
    sources: Mutex<HashMap<IpAddr, usize>>,
}

/// No room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Capacity {
    /// An empty gateway.
    #[must_use]
    pub fn new(mut limits: CapacityLimits) -> Arc<Self> {
        limits.requests = limits.requests.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            refused: Refused::default(),
            limits,
            connections: AtomicUsize::new(0),
            requests: Arc::new(Semaphore::new(limits.requests)),
            sources: Mutex::default(),
        })
    }

    /// Takes a connection from this source.
    ///
    /// # Errors
    /// [`Full`].
    pub fn connection(self: &Arc<Self>, source: IpAddr) -> Result<ConnectionPlace, Full> {
        let source = counted_as(source);
        let mut sources = self.sources.lock();
        if self.connections.load(Ordering::Relaxed) >= self.limits.connections {
            return Err(Full);
        }
        let held = sources.entry(source).or_insert(0);
        if *held >= self.limits.per_source {
            return Err(Full);
        }
        *held += 1;
        self.connections.fetch_add(1, Ordering::Relaxed);
        drop(sources);
        Ok(ConnectionPlace {
            capacity: Arc::clone(self),
            source,
        })
    }

    /// Takes a request.
    ///
    /// # Errors
    /// [`Full`].
    pub fn request(&self) -> Result<RequestPlace, Full> {
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| Full)
    }

    /// Connections and requests held now.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let requests = self.limits.requests - self.requests.available_permits();
        (self.connections.load(Ordering::Relaxed), requests)
    }
}

/// The address that a source is counted under. An IPv6 host owns its whole /64 (RFC 4291 §2.5.4).
fn counted_as(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The place of one connection, given back on drop.
#[derive(Debug)]
pub struct ConnectionPlace {
    capacity: Arc<Capacity>,
    source: IpAddr,
}

impl ConnectionPlace {
    /// The same place, counted under another source.
    ///
    /// # Errors
    /// [`Full`]: that source holds too many; the place is given back.
    pub fn moved_to(mut self, source: IpAddr) -> Result<Self, Full> {
        let source = counted_as(source);
        let capacity = Arc::clone(&self.capacity);
        let mut sources = capacity.sources.lock();
        let held = sources.entry(source).or_insert(0);
        if source != self.source && *held >= capacity.limits.per_source {
            drop(sources);
            return Err(Full);
        }
        *held += 1;
        release(&mut sources, self.source);
        self.source = source;
        drop(sources);
        Ok(self)
    }
}

fn release(sources: &mut HashMap<IpAddr, usize>, source: IpAddr) {
    if let Entry::Occupied(mut entry) = sources.entry(source) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut sources = self.capacity.sources.lock();
        self.capacity.connections.fetch_sub(1, Ordering::Relaxed);
        release(&mut sources, self.source);
    }
}

/// The place of one request, given back on drop.
pub type RequestPlace = OwnedSemaphorePermit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_lowered_to_what_the_open_files_permit() {
        let limits = |connections, requests| CapacityLimits {
            connections,
            per_source: 2048,
            requests,
        };
        let told = limits(10_000, 5_000);
        for (open_files, expect, idle) in [
            (None, told, 1000),
            (Some(1_048_576), told, 1000),
            (Some(20_512), told, 1000),
            (Some(20_511), limits(9_999, 5_000), 1000),
            (Some(4_096), limits(1_792, 1_792), 128),
            (Some(1_024), limits(256, 256), 128),
            (Some(256), limits(16, 16), 128),
        ] {
            let lowered = told.within(open_files);
            assert_eq!(lowered, expect, "{open_files:?}");
            assert_eq!(lowered.idle_connections(open_files, 1000), idle, "{open_files:?}");
        }
        // HTTP/2 carries more requests than there are connections.
        assert_eq!(limits(10, 5_000).within(Some(1_024)), limits(10, 502));
    }

    #[test]
    fn capacity_is_bounded_in_all_and_by_source_and_given_back() {
        let capacity = Capacity::new(CapacityLimits {
            connections: 3,
            per_source: 2,
            requests: 1,
        });
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = capacity.connection(here).unwrap();
        let _second = capacity.connection("::ffff:127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(capacity.connection(here).err(), Some(Full), "one source");
        let third = capacity.connection(there).unwrap();
        assert_eq!(capacity.connection(there).err(), Some(Full), "all together");
        drop(first);
        assert!(capacity.connection(here).is_ok());
        // A place that turns out to be another source's counts there, if there is room, and is given back otherwise.
        let moved = third.moved_to(here).unwrap();
        assert_eq!(capacity.connection(here).err(), Some(Full), "one source");
        let fourth = capacity.connection(there).unwrap();
        assert_eq!(fourth.moved_to(here).err(), Some(Full), "one source");
        let _third = moved.moved_to(there).unwrap().moved_to(there).unwrap();
        assert_eq!(capacity.held().0, 2);

        let network = |last: &str| counted_as(format!("2001:db8:1:2::{last}").parse().unwrap());
        assert_eq!(network("1"), network("ffff:1"), "one /64 is one source");
        assert_ne!(network("1"), counted_as("2001:db8:1:3::1".parse().unwrap()));

        let request = capacity.request().unwrap();
        assert_eq!(capacity.request().err(), Some(Full));
        drop(request);
        assert!(capacity.request().is_ok());
        assert_eq!(capacity.held(), (2, 0));
    }
}
