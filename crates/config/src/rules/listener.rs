//! Rules of the listeners and of certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use admission::mode::Mode;
use ipnet::IpNet;

use crate::tls::{Identity, Source};
use crate::violation::Violation;
use crate::warning::Warning;

/// The one port of production.
const PRODUCTION_PORT: u16 = 8081;

/// A certificate with less time left is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * DAY);

const DAY: u64 = 24 * 3600;

/// A certificate and its key come together or not at all.
pub(crate) fn certificate_pair(
    (cert, cert_file): (&'static str, Option<PathBuf>),
    (key, key_file): (&'static str, Option<PathBuf>),
) -> Result<Option<Source>, Violation> {
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Ok(Some(Source {
            certificate: (cert, cert_file),
            private_key: (key, key_file),
        })),
        (None, None) => Ok(None),
        _ => Err(Violation::HalfPair { cert, key }),
    }
}

/// Production refuses a certificate outside its period of validity; development warns of it.
pub(crate) fn certificate_period(
    mode: Option<Mode>,
    name: &'static str,
    identity: &Identity,
    now: SystemTime,
) -> Result<Option<Warning>, Violation> {
    let state = match (now.duration_since(identity.not_before()), identity.time_left(now)) {
        (Ok(_), Some(left)) if left >= EXPIRES_SOON => return Ok(None),
        (Ok(_), Some(left)) => {
            return Ok(Some(Warning::CertificateExpiresSoon {
                name,
                days: left.as_secs() / DAY,
            }));
        }
        (Ok(_), None) => {
            let ago = now.duration_since(identity.not_after()).unwrap_or_default();
            format!("expired {} days ago", ago.as_secs() / DAY)
        }
        (Err(early), _) => format!(
            "is not valid for another {} days",
            early.duration().as_secs().div_ceil(DAY)
        ),
    };
    match mode {
        Some(Mode::Dev(_)) | None => Ok(Some(Warning::CertificatePeriod { name, state })),
        Some(Mode::Production) => Err(Violation::CertificatePeriod { name, state }),
    }
}

/// Production listens on one port; development on any, 0 included.
pub(crate) fn port(mode: Option<Mode>, port: u16) -> Result<u16, Violation> {
    match mode {
        Some(Mode::Production) if port != PRODUCTION_PORT => Err(Violation::Port),
        Some(_) | None => Ok(port),
    }
}

/// The operator's listener has a port of its own, and a fixed one in production.
pub(crate) fn operator_address(
    mode: Option<Mode>,
    address: SocketAddr,
    public: Option<SocketAddr>,
) -> Result<SocketAddr, Violation> {
    if address.port() == 0 {
        return match mode {
            Some(Mode::Production) => Err(Violation::OperatorPort),
            Some(Mode::Dev(_)) | None => Ok(address),
        };
    }
    let overlaps = |public: SocketAddr| {
        let (a, b) = (address.ip(), public.ip());
        address.port() == public.port() && (a == b || a.is_unspecified() || b.is_unspecified())
    };
    if public.is_some_and(overlaps) {
        Err(Violation::OperatorOverlap)
    } else {
        Ok(address)
    }
}

/// The peers whose forwarding headers are believed, and what to say about them.
pub(crate) fn trusted_proxies(named: Vec<IpNet>, alias: bool) -> (Vec<IpNet>, Vec<Warning>) {
    match (named.is_empty(), alias) {
        (true, true) => (loopback_and_private(), vec![Warning::TrustProxyAlias]),
        (_, ignored) => {
            let mut warnings = Vec::new();
            if ignored {
                warnings.push(Warning::TrustProxyIgnored);
            }
            if named.iter().any(|net| net.prefix_len() == 0) {
                warnings.push(Warning::TrustsEveryPeer);
            }
            (named, warnings)
        }
    }
}

/// Loopback, RFC 1918 and unique-local (RFC 4193).
const LOOPBACK_AND_PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

fn loopback_and_private() -> Vec<IpNet> {
    LOOPBACK_AND_PRIVATE
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect()
}
