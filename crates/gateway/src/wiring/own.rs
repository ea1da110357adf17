//! The gateway's own addresses, which are never an upstream.
//!
//! What the configuration names by host is resolved by the egress guard, whenever an upstream at that port is judged.
//! What only the system knows is listed here, and listed again while the gateway runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use admission::limits::{EgressPolicy, OwnEndpoint};
use admission::ports::Egress;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often what is in memory is listed again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Every how many times the interfaces are read, too: the kernel's table is as long as the machine has routes.
const INTERFACES_EVERY: u64 = 5;
/// Where the kernel lists the addresses of this machine.
const TABLES: &str = "/proc/net";

/// Lists own endpoints as they are now, from memory.
pub(super) type Source = Arc<dyn Fn() -> Vec<OwnEndpoint> + Send + Sync>;

/// The egress policy with the gateway's own endpoints as they are now.
pub(super) struct OwnEndpoints {
    configured: EgressPolicy,
    listeners: Vec<SocketAddr>,
    peers: Source,
    /// `None` where no listener takes connections at every address of this machine.
    interfaces: Option<Interfaces>,
    policy: ArcSwap<EgressPolicy>,
}

/// The addresses of this machine's interfaces, as they were read last.
struct Interfaces {
    tables: Arc<Path>,
    known: ArcSwap<Vec<IpAddr>>,
}

impl OwnEndpoints {
    /// The configured policy, in which neither the listeners nor the peers are ever an upstream.
    ///
    /// # Errors
    /// A listener takes connections at every address of this machine, and these cannot be read.
    pub(super) fn new(
        configured: EgressPolicy,
        listeners: Vec<SocketAddr>,
        peers: Source,
    ) -> io::Result<Arc<Self>> {
        Self::reading(Path::new(TABLES), configured, listeners, peers)
    }

    fn reading(
        tables: &Path,
        configured: EgressPolicy,
        listeners: Vec<SocketAddr>,
        peers: Source,
    ) -> io::Result<Arc<Self>> {
        let everywhere = listeners.iter().any(|listener| listener.ip().is_unspecified());
        let interfaces = everywhere.then(|| Interfaces::read(tables)).transpose()?;
        let own = Self {
            policy: ArcSwap::from_pointee(configured.clone()),
            configured,
            listeners,
            peers,
            interfaces,
        };
        own.policy.store(Arc::new(own.listed()));
        Ok(Arc::new(own))
    }

    /// Follows what can change until shutdown.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = interval(REFRESH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let follow = async {
            for tick_number in 1_u64.. {
                tick.tick().await;
                if let Some(interfaces) = &self.interfaces
                    && tick_number.is_multiple_of(INTERFACES_EVERY)
                {
                    interfaces.read_again().await;
                }
                self.refresh();
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    fn refresh(&self) {
        let now = self.listed();
        if now.own_endpoints != self.policy.load().own_endpoints {
            tracing::info!(own = ?now.own_endpoints, "the gateway's own endpoints changed");
            self.policy.store(Arc::new(now));
        }
    }

    fn listed(&self) -> EgressPolicy {
        let interfaces = self.interfaces.as_ref().map(|interfaces| interfaces.known.load());
        let interfaces = interfaces.as_ref().map_or(&[][..], |known| known);
        let listeners = self.listeners.iter();
        let mut policy = self.configured.clone();
        policy
            .own_endpoints
            .extend(listeners.flat_map(|address| listener(*address, interfaces)));
        policy.own_endpoints.extend((self.peers)());
        policy
    }
}

impl Egress for OwnEndpoints {
    fn policy(&self) -> Arc<EgressPolicy> {
        self.policy.load_full()
    }
}

impl Interfaces {
    fn read(tables: &Path) -> io::Result<Self> {
        Ok(Self {
            known: ArcSwap::from_pointee(interface_addresses(tables)?),
            tables: tables.into(),
        })
    }

    /// Those that are known stay where they cannot be read: none would make the gateway an upstream of its own.
    async fn read_again(&self) {
        let tables = Arc::clone(&self.tables);
        let read = spawn_blocking(move || interface_addresses(&tables)).await;
        match read.map_err(io::Error::from).flatten() {
            Ok(addresses) => self.known.store(Arc::new(addresses)),
            Err(error) => {
                tracing::warn!(%error, "the addresses of this machine cannot be read; those known so far stay the gateway's own");
            }
        }
    }
}

/// A listener, at every address under which it can be reached.
fn listener(address: SocketAddr, interfaces: &[IpAddr]) -> Vec<OwnEndpoint> {
    let at = |net| OwnEndpoint::Net(net, address.port());
    if !address.ip().is_unspecified() {
        return vec![at(IpNet::from(address.ip().to_canonical()))];
    }
    let loopback = ["127.0.0.0/8", "::1/128"];
    let loopback = loopback.iter().filter_map(|net| net.parse().ok());
    let interfaces = interfaces.iter().copied().map(IpNet::from);
    loopback.chain(interfaces).map(at).collect()
}

/// The addresses of this machine's interfaces, as the kernel lists them.
fn interface_addresses(tables: &Path) -> io::Result<Vec<IpAddr>> {
    let v4 = std::fs::read_to_string(tables.join("fib_trie"))?;
    let v6 = match std::fs::read_to_string(tables.join("if_inet6")) {
        // A kernel without IPv6 has no such table.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let mut addresses: Vec<IpAddr> = local_v4(&v4)
        .map(IpAddr::V4)
        .chain(local_v6(&v6).map(IpAddr::V6))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// `|-- 10.0.0.5` followed by `/32 host LOCAL`.
fn local_v4(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    trie.lines()
        .zip(trie.lines().skip(1))
        .filter_map(|(address, kind)| {
            let address = address.trim_start().strip_prefix("|-- ")?;
            (kind.trim() == "/32 host LOCAL").then(|| address.trim().parse().ok())?
        })
}

/// 32 hex digits, then columns.
fn local_v6(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    table.lines().filter_map(|line| {
        let digits = line
            .split_whitespace()
            .next()
            .filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use admission::limits::PrivateUpstreams;
    use parking_lot::Mutex;
    use std::fs;

    const TRIE: &str = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n        /32 host LOCAL\n";

    fn configured() -> EgressPolicy {
        EgressPolicy {
            private: PrivateUpstreams::Blocked,
            allowlist: vec![],
            own_endpoints: vec![OwnEndpoint::Host("redis".to_owned(), 6379)],
        }
    }

    fn at(address: &str, port: u16) -> OwnEndpoint {
        OwnEndpoint::Net(IpNet::from(address.parse::<IpAddr>().unwrap()), port)
    }

    #[test]
    fn own_endpoints_follow_their_sources() {
        let here = Arc::new(Mutex::new(Vec::new()));
        let peers = Arc::clone(&here);
        let listeners = vec!["192.0.2.9:8081".parse().unwrap()];
        let own = OwnEndpoints::new(configured(), listeners, Arc::new(move || peers.lock().clone())).unwrap();
        let fixed = [configured().own_endpoints, vec![at("192.0.2.9", 8081)]].concat();
        let before = own.policy();
        assert_eq!(before.own_endpoints, fixed);
        own.refresh();
        assert!(Arc::ptr_eq(&before, &own.policy()), "nothing changed");
        let peer = vec![at("192.0.2.8", 6379)];
        *here.lock() = peer.clone();
        own.refresh();
        assert_eq!(own.policy().own_endpoints, [fixed.clone(), peer].concat());
        here.lock().clear();
        own.refresh();
        assert_eq!(own.policy().own_endpoints, fixed);
    }

    #[tokio::test]
    async fn own_interface_addresses_stay_while_they_cannot_be_read() {
        let tables = tempfile::tempdir().unwrap();
        let trie = tables.path().join("fib_trie");
        let start = || {
            let listeners = vec!["0.0.0.0:8081".parse().unwrap()];
            OwnEndpoints::reading(tables.path(), configured(), listeners, Arc::new(Vec::new))
        };
        assert!(start().is_err(), "none were ever known");
        fs::write(&trie, TRIE).unwrap();
        let own = start().unwrap();
        let interfaces = own.interfaces.as_ref().unwrap();
        let is_own = |address| own.policy().own_endpoints.contains(&at(address, 8081));
        assert!(is_own("10.0.0.5"));
        for table in ["fib_trie", "if_inet6"] {
            let table = tables.path().join(table);
            let _absent = fs::remove_file(&table);
            fs::create_dir(&table).unwrap();
            interfaces.read_again().await;
            own.refresh();
            assert!(is_own("10.0.0.5"), "{}", table.display());
            fs::remove_dir(&table).unwrap();
            fs::write(&trie, TRIE).unwrap();
        }
        fs::write(&trie, TRIE.replace("10.0.0.5", "10.0.0.6")).unwrap();
        interfaces.read_again().await;
        own.refresh();
        assert!(is_own("10.0.0.6") && !is_own("10.0.0.5"));
    }

    #[test]
    fn own_interface_addresses_are_read_from_the_kernels_tables() {
        assert_eq!(local_v4(TRIE).collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 0, 5)]);
        let table = "fe800000000000000000000000000001 02 40 20 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(local_v6(table).last(), Some(Ipv6Addr::LOCALHOST));
        let addresses = interface_addresses(Path::new(TABLES)).unwrap();
        assert!(addresses.contains(&Ipv4Addr::LOCALHOST.into()), "{addresses:?}");
    }

    #[test]
    fn own_listener_on_every_address_includes_loopback() {
        for address in ["[::]:8081", "0.0.0.0:8081"] {
            let own = listener(address.parse().unwrap(), &[]);
            for loopback in [IpAddr::from([127, 0, 0, 3]), Ipv6Addr::LOCALHOST.into()] {
                let holds =
                    |own: &OwnEndpoint| matches!(own, OwnEndpoint::Net(net, 8081) if net.contains(&loopback));
                assert!(own.iter().any(holds), "{address} {loopback}");
            }
        }
        assert_eq!(listener("10.0.0.1:9".parse().unwrap(), &[]), [at("10.0.0.1", 9)]);
    }
}
