//! The gateway's own addresses, which are never an upstream.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::ports::Resolver;
use ipnet::IpNet;

/// How long the names of the gateway's own endpoints may take to resolve at start.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

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

/// Named endpoints, at the addresses that they have now: a name that points elsewhere later is
/// still refused as a name.
pub(super) async fn resolved(endpoints: &[OwnEndpoint], resolver: &dyn Resolver) -> Vec<OwnEndpoint> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let OwnEndpoint::Host(name, port) = endpoint else {
            continue;
        };
        match tokio::time::timeout(RESOLVE_TIMEOUT, resolver.resolve(name)).await {
            Ok(Ok(addresses)) => {
                found.extend(
                    addresses
                        .iter()
                        .map(|ip| OwnEndpoint::Net(IpNet::from(ip.to_canonical()), *port)),
                );
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(host = %name, "an own endpoint does not resolve; it is refused as an upstream by name only");
            }
        }
    }
    found
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
