//! Where the STS is, and which of its addresses may be dialled.

use std::net::{IpAddr, SocketAddr};

use admission::Scheme;
use admission::binding::Origin;
use admission::binding::address::{Reach, classify};
use admission::exchange::sign::TOKEN_PATH;
use admission::mode::DevOnly;
use admission::ports::Cause;
use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::StsSetupError;

/// How the connection to the STS must be protected. The addresses of its host are known only when
/// it is dialled, so the rule is applied to every answer of the resolver.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// TLS; the addresses do not matter.
    Https,
    /// Plain HTTP, only while every address of the host is loopback.
    PlainLoopback,
    /// Plain HTTP, only while every address of the host is loopback or private.
    PlainPrivate,
    /// Plain HTTP to any address. Development only, hence the proof.
    PlainAnywhere(DevOnly),
}

impl Transport {
    fn permits(self, address: IpAddr) -> bool {
        match self {
            Self::Https | Self::PlainAnywhere(_) => true,
            Self::PlainLoopback => address.to_canonical().is_loopback(),
            Self::PlainPrivate => classify(address) == Reach::Private,
        }
    }
}

/// The base address, taken apart.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    /// The address, where the URL names one and no resolver is needed.
    pub(super) literal: Option<IpAddr>,
    transport: Transport,
    pub(super) prefix: String,
    pub(super) token_target: Uri,
    pub(super) host_header: HeaderValue,
}

impl Endpoint {
    pub(super) fn new(url: &Url, transport: Transport) -> Result<Self, StsSetupError> {
        let no = StsSetupError::Url;
        let scheme = match (url.scheme(), transport) {
            ("https", Transport::Https) => Scheme::Https,
            ("http", Transport::PlainLoopback | Transport::PlainPrivate | Transport::PlainAnywhere(_)) => {
                Scheme::Http
            }
            _ => return Err(no("its scheme is not the one that its protection needs")),
        };
        let (host, literal) = match url.host().ok_or(no("it has no host"))? {
            Host::Domain(name) => (name.trim_end_matches('.').to_owned(), None),
            Host::Ipv4(address) => (address.to_string(), Some(address.into())),
            Host::Ipv6(address) => (address.to_string(), Some(address.into())),
        };
        let port = url.port_or_known_default().ok_or(no("it has no port"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(no("it has user info"));
        }
        let host_header =
            HeaderValue::from_str(url.authority()).map_err(|_| no("its host cannot be sent"))?;
        let prefix = url.path().trim_end_matches('/').to_owned();
        let token_target = format!("{prefix}{TOKEN_PATH}")
            .parse()
            .map_err(|_| no("its path cannot be requested"))?;
        Ok(Self {
            origin: Origin { scheme, host, port },
            literal,
            transport,
            prefix,
            token_target,
            host_header,
        })
    }

    /// The addresses as sockets, if all of them may be dialled.
    pub(super) fn judge(&self, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, Cause> {
        addresses
            .iter()
            .map(|&address| {
                if self.transport.permits(address) {
                    Ok(SocketAddr::new(address, self.origin.port))
                } else {
                    Err(Cause::new(format!(
                        "STS_URL is plain http and its host has the address {address}, which is not in a private network"
                    )))
                }
            })
            .collect()
    }
}
