//! Which addresses may be dialled. The verdict is a type: the connector takes nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::cause::Cause;
use crate::limits::{EgressPolicy, OwnEndpoint, PrivateUpstreams};

/// An address and port that the egress guard let pass. Only [`judge_all`] makes one, so no
/// second resolution can put another address in its place.
///
/// ```compile_fail
/// use admission::binding::JudgedAddress;
/// use std::net::SocketAddr;
/// fn dial(_: JudgedAddress) {}
/// dial(SocketAddr::from(([169, 254, 169, 254], 80))); // nobody judged it
/// ```
///
/// ```compile_fail
/// use admission::binding::JudgedAddress;
/// let forged = JudgedAddress { socket: ([169, 254, 169, 254], 80).into() }; // private field
/// ```
///
/// ```
/// use admission::binding::{JudgedAddress, address};
/// use admission::limits::{EgressPolicy, PrivateUpstreams};
/// fn dial(_: JudgedAddress) {}
/// let policy = EgressPolicy { private: PrivateUpstreams::Blocked, allowlist: vec![], own_endpoints: vec![] };
/// let judged = address::judge_all(&[[8, 8, 8, 8].into()], 443, &policy).unwrap();
/// dial(judged[0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JudgedAddress {
    socket: SocketAddr,
}

impl JudgedAddress {
    /// Where to connect.
    #[must_use]
    pub fn socket(self) -> SocketAddr {
        self.socket
    }
}

/// What kind of network an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Never an upstream, whatever the flags.
    Never,
    /// Loopback and private networks: only with `ALLOW_PRIVATE_UPSTREAMS`.
    Private,
    /// Everything else.
    Public,
}

/// Judges every address of an answer: one bad address refuses them all.
///
/// # Errors
/// The cause, also when there is no address at all.
pub fn judge_all(
    addresses: &[IpAddr],
    port: u16,
    policy: &EgressPolicy,
) -> Result<Arc<[JudgedAddress]>, Cause> {
    if addresses.is_empty() {
        return Err(Cause::new("upstream host has no address"));
    }
    addresses
        .iter()
        .map(|address| judge(*address, port, policy))
        .collect()
}

fn judge(address: IpAddr, port: u16, policy: &EgressPolicy) -> Result<JudgedAddress, Cause> {
    let refuse = |why: &str| Err(Cause::new(format!("upstream address {address} {why}")));
    match (classify(address), policy.private) {
        (Reach::Never, _) => return refuse("is never reachable"),
        (Reach::Private, PrivateUpstreams::Blocked) => {
            return refuse("is private and ALLOW_PRIVATE_UPSTREAMS is not set");
        }
        (Reach::Private, PrivateUpstreams::Allowed) | (Reach::Public, _) => {}
    }
    let own = |own: &OwnEndpoint| match own {
        OwnEndpoint::Net(net, at) => {
            *at == port && spellings(address).any(|spelling| net.contains(&spelling))
        }
        // Compared by name, and by address once resolved: `super::judge`.
        OwnEndpoint::Host(..) | OwnEndpoint::Name(..) => false,
    };
    if policy.own_endpoints.iter().any(own) {
        return refuse("is an endpoint of the gateway's own");
    }
    Ok(JudgedAddress {
        socket: SocketAddr::new(address, port),
    })
}

/// Whether two addresses lead to the same listener.
pub(super) fn same_listener(one: IpAddr, other: IpAddr) -> bool {
    spellings(one).any(|one| spellings(other).any(|other| one == other))
}

/// An address, and the IPv4 address that it leads to.
fn spellings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match address {
        IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    std::iter::once(address).chain(inner)
}

/// The kind of network an address lies in, IPv4 embedded in IPv6 unwrapped.
#[must_use]
pub fn classify(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// IANA IPv4 special-purpose registry, and the metadata addresses of the clouds.
fn classify_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0, ..] => Reach::Never,
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Reach::Never,
        [169, 254, ..] | [224..=255, ..] => Reach::Never,
        [192, 0, 0, _] | [192, 0, 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Reach::Never
        }
        [127, ..] | [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Reach {
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Private;
    }
    let outer = match address.segments() {
        // Unspecified; the deprecated compatible form is judged by what it embeds.
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never,
        // Metadata and credentials over IPv6: of Amazon (instances, pods), Google and Oracle.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254] => {
            Reach::Never
        }
        [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Reach::Never,
        // Discard-only and dummy, documentation, benchmarking and ORCHID prefixes.
        [0x0100, 0, 0, 0 | 1, ..] | [0x2001, 0x0db8, ..] | [0x2001, 0x0002, 0, ..] => Reach::Never,
        [0x2001, 0x0010..=0x002f, ..] | [0x3fff, 0x0000..=0x0fff, ..] | [0x5f00, ..] => Reach::Never,
        [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => Reach::Never,
        [0xfec0..=0xfeff, ..] | [0xfc00..=0xfdff, ..] | [0x0064, 0xff9b, 1, ..] => Reach::Private,
        _ => Reach::Public,
    };
    match embedded(address) {
        None => outer,
        Some(inner) => stricter(
            stricter(outer, classify_v4(inner)),
            local_nat64(address).map_or(outer, classify_v4),
        ),
    }
}

/// What an address below the local NAT64 prefix means to a translator whose prefix is shorter
/// than /96: then the bytes behind the embedded address are zero (RFC 6052 §2.2, RFC 8215).
fn local_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 1, a, b, 0, c, d, 0, 0, 0, 0, 0] if (a, b) != (0, 0) => {
            Some([a, b, c, d].into())
        }
        [0, 0x64, 0xff, 0x9b, 0, 1, _, a, 0, b, c, d, 0, 0, 0, 0] if a != 0 => Some([a, b, c, d].into()),
        [0, 0x64, 0xff, 0x9b, 0, 1, _, _, 0, a, b, c, d, 0, 0, 0] if a != 0 => Some([a, b, c, d].into()),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64, 6to4, Teredo
/// and ISATAP.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => join(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => join(high, low),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x0064, 0xff9b, 1, _, _, _, high, low] => join(high, low),
        [0x2002, high, low, ..] => join(high, low),
        [0x2001, 0, _, _, _, _, high, low] => join(!high, !low),
        [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => join(high, low),
        _ => None,
    }
}

fn stricter(one: Reach, other: Reach) -> Reach {
    match (one, other) {
        (Reach::Never, _) | (_, Reach::Never) => Reach::Never,
        (Reach::Private, _) | (_, Reach::Private) => Reach::Private,
        (Reach::Public, Reach::Public) => Reach::Public,
    }
}

#[cfg(test)]
mod tests;
