//! A server of the gateway's own that is spoken to over HTTP, and which of its addresses may be dialled.

use std::net::{IpAddr, SocketAddr};

use admission::Scheme;
use admission::binding::Origin;
use admission::binding::address::{Reach, classify};
use admission::mode::DevOnly;
use admission::ports::{Cause, Resolver};
use http::HeaderValue;
use url::{Host, Url};

/// How the connection must be protected. The addresses of the host are known only when it is dialled, so the rule is
/// applied to every answer of the resolver.
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

/// Where the server is.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// What names the server in the configuration, for errors.
    variable: &'static str,
    pub(crate) origin: Origin,
    /// The address, where the URL names one and no resolver is needed.
    literal: Option<IpAddr>,
    transport: Transport,
    pub(crate) host_header: HeaderValue,
}

impl Endpoint {
    /// Takes the URL apart, or says what is wrong with it. Its path and query are not looked at.
    pub(crate) fn new(variable: &'static str, url: &Url, transport: Transport) -> Result<Self, &'static str> {
        let scheme = match (url.scheme(), transport) {
            ("https", Transport::Https) => Scheme::Https,
            ("http", Transport::PlainLoopback | Transport::PlainPrivate | Transport::PlainAnywhere(_)) => {
                Scheme::Http
            }
            _ => return Err("its scheme is not the one that its protection needs"),
        };
        let (host, literal) = match url.host().ok_or("it has no host")? {
            Host::Domain(name) => (name.trim_end_matches('.').to_owned(), None),
            Host::Ipv4(address) => (address.to_string(), Some(address.into())),
            Host::Ipv6(address) => (address.to_string(), Some(address.into())),
        };
        let port = url.port_or_known_default().ok_or("it has no port")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has user info");
        }
        let host_header = HeaderValue::from_str(url.authority()).map_err(|_| "its host cannot be sent")?;
        Ok(Self {
            variable,
            origin: Origin { scheme, host, port },
            literal,
            transport,
            host_header,
        })
    }

    /// The addresses as sockets, if all of them may be dialled.
    pub(crate) async fn addresses(&self, resolver: &dyn Resolver) -> Result<Vec<SocketAddr>, Cause> {
        match self.literal {
            Some(address) => self.judge(&[address]),
            None => self.judge(&resolver.resolve(&self.origin.host).await?),
        }
    }

    fn judge(&self, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, Cause> {
        addresses
            .iter()
            .map(|&address| {
                if self.transport.permits(address) {
                    Ok(SocketAddr::new(address, self.origin.port))
                } else {
                    Err(Cause::new(format!(
                        "{} is plain http and its host has the address {address}, which is not in a private network",
                        self.variable
                    )))
                }
            })
            .collect()
    }
}
