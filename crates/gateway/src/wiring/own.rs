//! The gateway's own addresses, which are never an upstream.
//!
//! What the configuration names by host is resolved by the egress guard, whenever an upstream at that port is judged.
//! What only the system knows is listed here, and listed again while the gateway runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admission::limits::{EgressPolicy, OwnEndpoint};
use admission::ports::Egress;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the sources are asked again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Lists own endpoints as they are now, from memory or from the kernel.
pub(super) type Source = Arc<dyn Fn() -> Vec<OwnEndpoint> + Send + Sync>;

/// The egress policy with the gateway's own endpoints as they are now.
pub(super) struct OwnEndpoints {
    configured: EgressPolicy,
    sources: Vec<Source>,
    policy: ArcSwap<EgressPolicy>,
}

impl OwnEndpoints {
    /// The configured policy, in which the sources' endpoints are never an upstream.
    pub(super) fn new(configured: EgressPolicy, sources: Vec<Source>) -> Arc<Self> {
        let policy = ArcSwap::from_pointee(listed(&configured, &sources));
        Arc::new(Self {
            configured,
            sources,
            policy,
        })
    }

    /// Follows the sources until shutdown.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = interval(REFRESH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.refresh();
        }
    }

    fn refresh(&self) {
        let now = listed(&self.configured, &self.sources);
        if now.own_endpoints != self.policy.load().own_endpoints {
            tracing::info!(own = ?now.own_endpoints, "the gateway's own endpoints changed");
            self.policy.store(Arc::new(now));
        }
    }
}

impl Egress for OwnEndpoints {
    fn policy(&self) -> Arc<EgressPolicy> {
        self.policy.load_full()
    }
}

fn listed(configured: &EgressPolicy, sources: &[Source]) -> EgressPolicy {
    let mut policy = configured.clone();
    policy
        .own_endpoints
        .extend(sources.iter().flat_map(|list| list()));
    policy
}

/// A listener, at every address under which it can be reached.
pub(super) fn listener(address: SocketAddr) -> Vec<OwnEndpoint> {
    let at = |net| OwnEndpoint::Net(net, address.port());
    if !address.ip().is_unspecified() {
        return vec![at(IpNet::from(address.ip().to_canonical()))];
    }
    let loopback = ["127.0.0.0/8", "::1/128"];
    let loopback = loopback.iter().filter_map(|net| net.parse().ok());
    let interfaces = interface_addresses().into_iter().map(IpNet::from);
    loopback.chain(interfaces).map(at).collect()
}

/// The addresses of this machine's interfaces, as the kernel lists them.
fn interface_addresses() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut addresses: Vec<IpAddr> = local_v4(&v4)
        .map(IpAddr::V4)
        .chain(local_v6(&v6).map(IpAddr::V6))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
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

    #[test]
    fn own_endpoints_follow_their_sources() {
        let (here, there) = (Arc::new(Mutex::new(Vec::new())), "192.0.2.9:6379");
        let listed = Arc::clone(&here);
        let configured = EgressPolicy {
            private: PrivateUpstreams::Blocked,
            allowlist: vec![],
            own_endpoints: vec![OwnEndpoint::Host("redis".to_owned(), 6379)],
        };
        let named = configured.own_endpoints.clone();
        let own = OwnEndpoints::new(
            configured,
            vec![
                Arc::new(move || listed.lock().clone()),
                Arc::new(move || listener(there.parse().unwrap())),
            ],
        );
        let (before, second) = (own.policy(), listener(there.parse().unwrap()));
        assert_eq!(before.own_endpoints, [named.clone(), second.clone()].concat());
        own.refresh();
        assert!(Arc::ptr_eq(&before, &own.policy()), "nothing changed");
        let first = listener("192.0.2.8:6379".parse().unwrap());
        *here.lock() = first.clone();
        own.refresh();
        assert_eq!(
            own.policy().own_endpoints,
            [named.clone(), first, second.clone()].concat()
        );
        here.lock().clear();
        own.refresh();
        assert_eq!(own.policy().own_endpoints, [named, second].concat());
    }

    #[test]
    fn own_interface_addresses_are_read_from_the_kernels_tables() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
        assert_eq!(local_v4(trie).collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 0, 5)]);
        let table = "fe800000000000000000000000000001 02 40 20 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(local_v6(table).last(), Some(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn own_listener_on_every_address_includes_loopback() {
        for address in ["[::]:8081", "0.0.0.0:8081"] {
            let own = listener(address.parse().unwrap());
            for loopback in [IpAddr::from([127, 0, 0, 3]), Ipv6Addr::LOCALHOST.into()] {
                let holds =
                    |own: &OwnEndpoint| matches!(own, OwnEndpoint::Net(net, 8081) if net.contains(&loopback));
                assert!(own.iter().any(holds), "{address} {loopback}");
            }
        }
        let own = listener("10.0.0.1:9".parse().unwrap());
        assert_eq!(own, [OwnEndpoint::Net("10.0.0.1/32".parse().unwrap(), 9)]);
    }
}
