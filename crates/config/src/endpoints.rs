//! Which hosts and ports a backend's address names, so that none of them can be an upstream.

use std::fmt;
use std::net::IpAddr;

use admission::limits::OwnEndpoint;
use ipnet::IpNet;
use url::Url;

const REDIS_PORT: u16 = 6379;

/// Endpoints read from an address. `Debug` shows only how many: the address is a secret, and one that was
/// put together wrongly has its password where the host should be.
#[derive(Clone, Default)]
pub(crate) struct Endpoints(pub(crate) Vec<OwnEndpoint>);

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({})", self.0.len())
    }
}

/// A Redis address: whether it asks for TLS, and the endpoints (none for a Unix socket).
/// `None` when it is not one that the gateway can use.
///
/// The client reads `db` from the query of a Unix socket's address only, and elsewhere passes it over in silence.
pub(crate) fn redis(address: &str) -> Option<(bool, Vec<OwnEndpoint>)> {
    let (scheme, rest) = address.split_once("://")?;
    match scheme {
        "redis" | "rediss" => {
            // The client reads it with the same library, so this is the endpoint that is dialled.
            let url = Url::parse(address).ok()?;
            if url.query_pairs().any(|(name, _)| name == "db") {
                return None;
            }
            let host = url.host_str().filter(|host| !host.contains(','))?;
            let port = url.port().unwrap_or(REDIS_PORT);
            let endpoint = endpoint(host.trim_matches(['[', ']']), port).filter(|_| port != 0)?;
            Some((scheme == "rediss", vec![endpoint]))
        }
        "unix" | "redis+unix" if !rest.is_empty() => Some((false, Vec::new())),
        _ => None,
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
            OwnEndpoint::Host(host, port) => format!("{host} {port}"),
        };
        endpoints.iter().map(show).collect()
    }

    #[test]
    fn redis_addresses_name_one_endpoint_or_a_socket() {
        for (address, expect) in [
            ("redis://redis", Some((false, vec!["redis 6379"]))),
            (
                "redis://:p@ss@Redis.Example.:6380/1",
                Some((false, vec!["redis.example 6380"])),
            ),
            (
                "rediss://user:p@10.0.0.9/0?x=1",
                Some((true, vec!["10.0.0.9/32 6379"])),
            ),
            ("rediss://[fd00::1]:7000", Some((true, vec!["fd00::1/128 7000"]))),
            (
                "redis://[::ffff:10.0.0.1]",
                Some((false, vec!["10.0.0.1/32 6379"])),
            ),
            ("unix:///run/redis.sock", Some((false, vec![]))),
            ("redis://redis/?protocol=resp3&db=5", None),
            ("redis://", None),
            ("redis://a,b", None),
            ("redis://host:port", None),
            ("redis://host:0", None),
            ("redis://[::1", None),
            ("redis://[zz]", None),
            ("redis://[::1]x", None),
            ("http://redis", None),
            ("redis", None),
            ("", None),
        ] {
            let got = redis(address).map(|(tls, endpoints)| (tls, show(&endpoints)));
            let expect = expect.map(|(tls, list)| (tls, list.into_iter().map(String::from).collect()));
            assert_eq!(got, expect, "{address:?}");
        }
    }
}
