//! One connection to one server: timeouts, keepalive, TLS, and a note of the addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::ports::Cause;
use arc_swap::ArcSwap;
use futures_util::TryFutureExt as _;
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, SendError};
use redis::io::AsyncDNSResolver;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    PushInfo, RedisConnectionInfo, RedisFuture, TlsCertificates,
};
use tokio::sync::watch;

use super::config::RedisConfig;
use crate::keepalive;
use crate::local;
use crate::pause::within;
use crate::pem::PemTls;

/// Takes what a server says outside of answers, and the end of the connection.
pub(super) type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// Dials servers.
pub(super) struct Dialer {
    certificates: ArcSwap<TlsCertificates>,
    pub(super) dial_timeout: Duration,
    pub(super) answer_timeout: Duration,
    peers: Arc<Peers>,
}

impl Dialer {
    pub(super) fn new(config: &RedisConfig) -> Self {
        Self {
            certificates: ArcSwap::from_pointee(certificates(&config.tls)),
            dial_timeout: config.dial_timeout,
            answer_timeout: config.answer_timeout,
            peers: Arc::default(),
        }
    }

    /// From now on servers are dialled with these authorities and this certificate, if they can be used.
    pub(super) fn renew_tls(&self, tls: &PemTls) -> Result<(), Cause> {
        let certificates = certificates(tls);
        let judged = Client::build_with_tls("rediss://localhost", certificates.clone());
        judged.map_err(|error| Cause::new(format!("redis tls: {error}")))?;
        self.certificates.store(Arc::new(certificates));
        Ok(())
    }

    /// The client of one server.
    pub(super) fn client(&self, server: ConnectionInfo) -> Result<Client, Cause> {
        let settings = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive::settings());
        if let Some(host) = host(&server) {
            self.peers.add(host);
        }
        let server = server.set_tcp_settings(settings);
        self.with_certificates(server)
    }

    /// The client of a server, with the certificates of now, which a client cannot be given later.
    fn with_certificates(&self, server: ConnectionInfo) -> Result<Client, Cause> {
        let client = match server.addr() {
            ConnectionAddr::TcpTls { .. } => {
                Client::build_with_tls(server, TlsCertificates::clone(&self.certificates.load()))
            }
            _ => Client::open(server),
        };
        client.map_err(|error| Cause::new(format!("redis address: {error}")))
    }

    /// The client of a server that others name, with this login.
    pub(super) fn server(
        &self,
        (host, port): &Host,
        tls: bool,
        login: &RedisConnectionInfo,
    ) -> Result<Client, Cause> {
        let (host, port) = (host.clone(), *port);
        let address = if tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let server = address.into_connection_info();
        let server = server.map_err(|error| Cause::new(format!("redis address: {error}")))?;
        self.client(server.set_redis_settings(login.clone()))
    }

    /// Forgets a server that is dialled no more.
    pub(super) fn forget(&self, client: &Client) {
        if let Some(host) = host(client.get_connection_info()) {
            self.peers.remove(&host);
        }
    }

    pub(super) fn endpoints(&self) -> watch::Receiver<Arc<[OwnEndpoint]>> {
        self.peers.published.subscribe()
    }

    /// Connects and logs in. A server's messages need RESP3.
    pub(super) async fn dial(
        &self,
        client: &Client,
        on_push: Option<OnPush>,
    ) -> Result<MultiplexedConnection, Cause> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.dial_timeout))
            .set_response_timeout(None)
            .set_dns_resolver(Recorder(Arc::clone(&self.peers)));
        if let Some(on_push) = on_push {
            config = config.set_push_sender(move |push| {
                on_push(push);
                Ok::<(), SendError>(())
            });
        }
        let client = self.with_certificates(client.get_connection_info().clone())?;
        let dial = client.get_multiplexed_async_connection_with_config(&config);
        let dial = dial.map_err(|error| local::cause(format!("redis connect: {error}"), &error));
        within("redis connect", self.dial_timeout, dial).await
    }
}

fn certificates(tls: &PemTls) -> TlsCertificates {
    TlsCertificates {
        client_tls: tls.identity.as_ref().map(|identity| ClientTlsConfig {
            client_cert: identity.certificate.clone(),
            client_key: identity.key.clone(),
        }),
        root_cert: tls.authorities.clone(),
    }
}

/// A host name or address, and a port.
pub(super) type Host = (String, u16);

/// Whether a server is reached over TLS.
pub(super) fn is_tls(server: &ConnectionInfo) -> bool {
    matches!(server.addr(), ConnectionAddr::TcpTls { .. })
}

pub(super) fn host(server: &ConnectionInfo) -> Option<Host> {
    match server.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// The servers, and the addresses that each had when it was dialled last.
struct Peers {
    hosts: Mutex<BTreeMap<Host, Vec<IpAddr>>>,
    published: watch::Sender<Arc<[OwnEndpoint]>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            hosts: Mutex::default(),
            published: watch::Sender::new(Arc::from([])),
        }
    }
}

impl Peers {
    fn add(&self, host: Host) {
        self.change(|hosts| {
            hosts.entry(host).or_default();
        });
    }

    fn remove(&self, host: &Host) {
        self.change(|hosts| {
            hosts.remove(host);
        });
    }

    /// What a server's name means now. One that was forgotten meanwhile stays forgotten.
    fn resolved(&self, host: &str, port: u16, addresses: &[SocketAddr]) {
        self.change(|hosts| {
            if let Some(known) = hosts.get_mut(&(host.to_owned(), port)) {
                *known = addresses.iter().map(SocketAddr::ip).collect();
                known.sort_unstable();
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Host, Vec<IpAddr>>)) {
        let mut hosts = self.hosts.lock();
        change(&mut hosts);
        let mut all = Vec::new();
        for ((host, port), addresses) in &*hosts {
            let at = |ip: IpAddr| OwnEndpoint::Net(ip.to_canonical().into(), *port);
            match host.parse::<IpAddr>() {
                Ok(address) => all.push(at(address)),
                Err(_) => {
                    let name = host.strip_suffix('.').unwrap_or(host).to_lowercase();
                    all.push(OwnEndpoint::Host(name, *port));
                    all.extend(addresses.iter().copied().map(at));
                }
            }
        }
        self.published.send_if_modified(|published| {
            let changed = **published != *all;
            if changed {
                *published = all.into();
            }
            changed
        });
    }
}

/// The system's resolver, whose answers are noted.
struct Recorder(Arc<Peers>);

impl AsyncDNSResolver for Recorder {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            self.0.resolved(host, port, &found);
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{OwnEndpoint, Peers};

    fn published(peers: &Peers) -> Vec<String> {
        let show = |endpoint: &OwnEndpoint| match endpoint {
            OwnEndpoint::Net(net, port) => format!("{net} {port}"),
            OwnEndpoint::Host(host, port) | OwnEndpoint::Name(host, port) => format!("{host} {port}"),
        };
        peers.published.borrow().iter().map(show).collect()
    }

    #[test]
    fn peers_are_names_with_their_last_addresses_until_they_are_forgotten() {
        let peers = Peers::default();
        let mut changes = peers.published.subscribe();
        peers.add(("Redis.".to_owned(), 6379));
        peers.add(("10.0.0.9".to_owned(), 7));
        assert_eq!(published(&peers), ["10.0.0.9/32 7", "redis 6379"]);
        peers.resolved("Redis.", 6379, &["10.0.0.1:6379".parse().unwrap()]);
        assert_eq!(
            published(&peers),
            ["10.0.0.9/32 7", "redis 6379", "10.0.0.1/32 6379"]
        );
        changes.mark_unchanged();
        peers.resolved("Redis.", 6379, &["10.0.0.1:6379".parse().unwrap()]);
        assert!(!changes.has_changed().unwrap());
        peers.resolved("Redis.", 6379, &["[::ffff:10.0.0.2]:6379".parse().unwrap()]);
        assert_eq!(
            published(&peers),
            ["10.0.0.9/32 7", "redis 6379", "10.0.0.2/32 6379"]
        );
        peers.remove(&("10.0.0.9".to_owned(), 7));
        peers.resolved("10.0.0.9", 7, &["10.0.0.9:7".parse().unwrap()]);
        assert_eq!(published(&peers), ["redis 6379", "10.0.0.2/32 6379"]);
    }
}
