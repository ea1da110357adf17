//! Which hosts and ports a backend's address names, so that none of them can be an upstream.

use std::fmt;
use std::net::IpAddr;

use admission::limits::OwnEndpoint;
use ipnet::IpNet;

/// Endpoints read from an address. `Debug` shows only how many: the address is a secret, and one that was
/// put together wrongly has its password where the host should be.
#[derive(Clone, Default)]
pub(crate) struct Endpoints(pub(crate) Vec<OwnEndpoint>);

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({})", self.0.len())
    }
}

/// An endpoint in the egress guard's normal form; `None` for a socket's path.
pub(crate) fn endpoint(host: &str, port: u16) -> Option<OwnEndpoint> {
    if host.is_empty() || host.starts_with('/') || host.starts_with('@') {
        return None;
    }
    Some(match host.parse::<IpAddr>() {
        Ok(address) => OwnEndpoint::Net(IpNet::from(address.to_canonical()), port),
        Err(_) => OwnEndpoint::Host(host.strip_suffix('.').unwrap_or(host).to_lowercase(), port),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Endpoints as text, for tables.
    pub(crate) fn show(endpoints: &[OwnEndpoint]) -> Vec<String> {
        let show = |endpoint: &OwnEndpoint| match endpoint {
            OwnEndpoint::Net(net, port) => format!("{net} {port}"),
            OwnEndpoint::Host(host, port) | OwnEndpoint::Name(host, port) => format!("{host} {port}"),
        };
        endpoints.iter().map(show).collect()
    }
}
