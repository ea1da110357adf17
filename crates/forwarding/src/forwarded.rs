//! Who called, over what, under which name: what `X-Forwarded-*` says to the upstream.
//!
//! A caller can write anything into these headers, so they count only when the connection comes from a trusted proxy.
//! Then they are read from the right, where the nearest proxy wrote, and never past the first address that is not a
//! trusted proxy itself.

use std::net::{IpAddr, SocketAddr};

use admission::Scheme;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use ipnet::{IpNet, Ipv4Net};

use crate::reserved::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};

/// The networks whose `X-Forwarded-*` headers are believed. Empty by default: then nobody's are.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts the given networks. IPv4 networks written as IPv4-mapped IPv6 are read as IPv4.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().map(unmapped).collect())
    }

    /// Whether an address belongs to a trusted proxy. IPv4-mapped IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn unmapped(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96))
            .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
            .map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}

/// The caller's address: the peer, or what trusted proxies say about it.
///
/// `X-Forwarded-For` is read right to left over all its lines while the address on the right is trusted. An entry that is
/// no address ends the walk at the last good one. Ports and brackets (`[::1]:8080`) are ignored.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut entries = entries_from_the_right(headers, &X_FORWARDED_FOR);
    while trusted.contains(client)
        && let Some(address) = entries.next().and_then(parse_address)
    {
        client = address;
    }
    client
}

/// What the gateway states to the upstream about the caller's side.
pub(crate) struct CallerSide {
    address: Option<HeaderValue>,
    scheme: HeaderValue,
    host: Option<HeaderValue>,
}

impl CallerSide {
    /// Reads the caller's head. Must run before the caller's own `X-Forwarded-*` and `Host` are removed.
    pub(crate) fn read(parts: &Parts, peer: IpAddr, scheme: Scheme, trusted: &TrustedProxies) -> Self {
        let (mut told_scheme, mut told_host) = (None, None);
        if trusted.contains(peer) {
            // The entry on the right is the one that a trusted proxy wrote last.
            told_scheme = entries_from_the_right(&parts.headers, &X_FORWARDED_PROTO)
                .next()
                .and_then(|entry| Scheme::parse(std::str::from_utf8(entry).ok()?));
            told_host = entries_from_the_right(&parts.headers, &X_FORWARDED_HOST)
                .next()
                .filter(|host| is_host(host))
                .and_then(|host| HeaderValue::from_bytes(host).ok());
        }
        Self {
            address: HeaderValue::try_from(client_address(peer, &parts.headers, trusted).to_string()).ok(),
            scheme: HeaderValue::from_static(told_scheme.unwrap_or(scheme).as_str()),
            host: told_host.or_else(|| own_host(parts)),
        }
    }

    pub(crate) fn state(self, headers: &mut HeaderMap) {
        if let Some(address) = self.address {
            headers.insert(&X_FORWARDED_FOR, address);
        }
        headers.insert(&X_FORWARDED_PROTO, self.scheme);
        if let Some(host) = self.host {
            headers.insert(&X_FORWARDED_HOST, host);
        }
    }
}

/// HTTP/2 and absolute-form targets name the host in the target, which then wins over `Host` (RFC 9112 §3.2.2).
fn own_host(parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts
            .headers
            .get(http::header::HOST)
            .filter(|host| !host.is_empty())
            .cloned(),
    }
}

fn entries_from_the_right<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn parse_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

/// `host [":" port]` in the characters of RFC 3986 §3.2, without user information.
fn is_host(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
}

#[cfg(test)]
mod tests;
