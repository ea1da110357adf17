//! The public listener: where clients connect.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use admission::mode::{DevOnly, Mode};
use ipnet::IpNet;

use crate::cors;
use crate::keys::listener as keys;
use crate::reader::{Read, Reader, Reported};
use crate::server_tls::ServerTls;
use crate::violation::Violation;
use crate::warning::{LaxFlag, Warning};

/// The one port of production. Development listens on any, 0 included.
const PRODUCTION_PORT: u16 = 8081;

/// Loopback, RFC 1918 and unique-local (RFC 4193): whom `TRUST_PROXY=true` trusts.
const LOOPBACK_AND_PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

/// Where the gateway listens and whom it believes.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The public address. Port 0 (development) takes a free port.
    pub address: SocketAddr,
    /// Whether `BIND_ADDR` is unset or empty. Only then may the listener fall back to `0.0.0.0` where the kernel has
    /// no IPv6; an address that was asked for is taken or refused.
    pub address_is_default: bool,
    /// Whether other processes may bind it too (`SO_REUSEPORT`).
    pub reuses_port: bool,
    /// TLS or plain HTTP.
    pub transport: Transport,
    /// Peers whose `X-Forwarded-*` headers are honoured, right to left.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether these also say whose connection they pass on.
    pub proxy_protocol: ProxyProtocol,
    /// Origins whose web pages may read answers, as browsers send them.
    pub cors_origins: Vec<String>,
    /// Whether HTTP/1.1 callers get the upstreams' early hints.
    pub early_hints: bool,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// They may.
    Optional,
    /// They do, or are not served.
    Required,
}

/// What the public listener speaks.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TLS, with this certificate.
    Tls(Box<ServerTls>),
    /// Plain HTTP. Development only, hence the proof.
    Plain(DevOnly),
}

impl Listener {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let ip = reader.required(
            &keys::BIND_ADDR,
            "an IP address such as 0.0.0.0 or [::]",
            ip_address,
        );
        let port = reader.required(&keys::PORT, "a TCP port, 1-65535", |text| text.parse().ok());
        let port = port.and_then(|port| match mode {
            Ok(Mode::Production) if port != PRODUCTION_PORT => {
                Err(reader.report(Violation::Rule("PORT must be 8081 when CARACAL_ENV=production")))
            }
            Ok(_) | Err(_) => Ok(port),
        });
        let transport = Transport::read(reader, mode);
        let trusted_proxies = trusted_proxies(reader);
        let cors_origins = cors::origins(reader);
        let reuses_port = reader.required(&keys::REUSE_PORT, OFF_OR_ON, off_or_on);
        let early_hints = reader.required(&keys::EARLY_HINTS, OFF_OR_ON, off_or_on);
        let proxy_protocol = proxy_protocol(reader, trusted_proxies.as_deref());
        Ok(Self {
            address: SocketAddr::new(ip?, port?),
            address_is_default: !reader.is_set(&keys::BIND_ADDR),
            reuses_port: reuses_port?,
            transport: transport?,
            trusted_proxies: trusted_proxies?,
            cors_origins: cors_origins?,
            early_hints: early_hints?,
            proxy_protocol: proxy_protocol?,
        })
    }
}

impl Transport {
    /// The certificate pair is judged even where plain HTTP is asked for, so that both faults show at once.
    fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let plain = Self::read_plain(reader, mode);
        let server = ServerTls::read(reader, mode)?;
        match (plain, mode) {
            (Ok((_, Some(proof))), _) => Ok(Self::Plain(proof)),
            // Plain HTTP is asked for, and a valid mode might permit it: the mode alone is at fault.
            (Ok((true, None)), Err(unknown)) => Err(unknown),
            _ => Self::tls(reader, server),
        }
    }

    /// Whether plain HTTP was asked for, and the proof where the mode permits it.
    pub(crate) fn read_plain(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<(bool, Option<DevOnly>)> {
        reader.lax(mode, &keys::INSECURE_HTTP, LaxFlag::InsecureHttp)
    }

    /// TLS, which needs a certificate.
    pub(crate) fn tls(reader: &mut Reader<'_>, server: Option<ServerTls>) -> Read<Self> {
        reader.judge(server.map(Box::new).map(Self::Tls).ok_or(Violation::Rule(
            "TLS_CERT_FILE/TLS_KEY_FILE required; set INSECURE_HTTP=true to run plaintext",
        )))
    }
}

const OFF_OR_ON: &str = "off or on";

fn off_or_on(text: &str) -> Option<bool> {
    match text {
        "off" => Some(false),
        "on" => Some(true),
        _ => None,
    }
}

fn proxy_protocol(reader: &mut Reader<'_>, trusted: Result<&[IpNet], &Reported>) -> Read<ProxyProtocol> {
    let expected = "off, optional or required";
    let protocol = reader.required(&keys::PROXY_PROTOCOL, expected, |text| match text {
        "off" => Some(ProxyProtocol::Off),
        "optional" => Some(ProxyProtocol::Optional),
        "required" => Some(ProxyProtocol::Required),
        _ => None,
    })?;
    match (protocol, trusted) {
        (ProxyProtocol::Optional | ProxyProtocol::Required, Ok([])) => Err(reader.report(Violation::Rule(
            "PROXY_PROTOCOL needs TRUSTED_PROXIES: only a proxy named there is believed",
        ))),
        _ => Ok(protocol),
    }
}

/// The peers whose forwarding headers are believed: those that are named, or those of the alias.
fn trusted_proxies(reader: &mut Reader<'_>) -> Read<Vec<IpNet>> {
    let named = reader.list(&keys::TRUSTED_PROXIES);
    let named = named.and_then(|entries| {
        let nets = entries.iter().map(|entry| {
            network(entry).ok_or_else(|| {
                let expected = "networks such as 10.0.0.0/8 or single addresses";
                Violation::invalid("value", &keys::TRUSTED_PROXIES, entry, expected)
            })
        });
        reader.judge(nets.collect::<Result<Vec<_>, _>>())
    });
    let alias = reader.flag(&keys::TRUST_PROXY);
    let (named, alias) = (named?, alias?);
    if alias && named.is_empty() {
        reader.warn(Warning::TrustProxyAlias);
        return Ok(LOOPBACK_AND_PRIVATE
            .iter()
            .filter_map(|net| network(net))
            .collect());
    }
    if alias {
        reader.warn(Warning::TrustProxyIgnored);
    }
    if named.iter().any(|net| net.prefix_len() == 0) {
        reader.warn(Warning::TrustsEveryPeer);
    }
    Ok(named)
}

/// A network in CIDR notation, its host bits cleared, or a single address.
fn network(text: &str) -> Option<IpNet> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.ok().map(|net| net.trunc())
}

/// An IP address; an IPv6 address may stand in brackets.
fn ip_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_brackets() {
        for (text, expect) in [
            ("[::]", Some("::")),
            ("::", Some("::")),
            ("[::1]", Some("::1")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("127.0.0.9", Some("127.0.0.9")),
            ("[127.0.0.1]", None),
            ("[::", None),
            ("localhost", None),
            ("127.0.0.1:80", None),
            ("127.1", None),
        ] {
            assert_eq!(
                ip_address(text).map(|ip| ip.to_string()).as_deref(),
                expect,
                "{text:?}"
            );
        }
    }

    #[test]
    fn networks_lose_their_host_bits() {
        for (text, expect) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("fd00::1", Some("fd00::1/128")),
            ("10.0.0.0/33", None),
            ("10.0.0", None),
            ("proxy.example", None),
        ] {
            assert_eq!(
                network(text).map(|net| net.to_string()).as_deref(),
                expect,
                "{text:?}"
            );
        }
    }
}
