//! Name resolution for the egress guard and the STS: the system's own configuration, hosts file
//! included, with answers remembered for as long as their TTL says, within bounds.

mod cache;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admission::ports::{BoxFuture, Cause, Clock, Resolver};
use futures_util::FutureExt as _;
use futures_util::future::{self, Shared, WeakShared};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::timeout;

use crate::http::in_words;
use cache::Cache;

/// How long one resolution may take, retries and search domains included.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// How long one query to a name server may take.
const QUERY_WITHIN: Duration = Duration::from_millis(1500);
/// Most names that are resolved at the same time.
const MOST_FLIGHTS: usize = 1024;

type Answer = Result<Arc<[IpAddr]>, Cause>;
type Flight = future::BoxFuture<'static, Answer>;

/// The resolver.
pub struct DnsResolver(Arc<Inner>);

struct Inner {
    source: Option<TokioResolver>,
    /// Why there is no name server, where there is none.
    without_servers: Option<Cause>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    /// Resolutions under way. They are driven by whoever waits for them, and end with the last one.
    flights: Mutex<std::collections::HashMap<Box<str>, WeakShared<Flight>>>,
}

impl DnsResolver {
    /// A resolver that asks the name servers of `/etc/resolv.conf` and knows `/etc/hosts`, both as
    /// they are now.
    ///
    /// Where the system names no server, it still knows the hosts file and `localhost`, and every
    /// other name fails with that cause.
    #[must_use]
    pub fn system(clock: Arc<dyn Clock>) -> Self {
        match hickory_resolver::system_conf::read_system_conf() {
            Ok((config, options)) => Self::new(config, options, None, clock),
            Err(error) => {
                let cause = in_words("no name server is configured", &error);
                let nothing = ResolverConfig::from_name_servers(Vec::new());
                Self::new(nothing, ResolverOpts::default(), Some(cause), clock)
            }
        }
    }

    /// A resolver that asks these name servers, and knows `/etc/hosts`.
    #[must_use]
    pub fn with_servers(servers: &[SocketAddr], clock: Arc<dyn Clock>) -> Self {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Self::new(config, ResolverOpts::default(), None, clock)
    }

    /// Why only the hosts file is known, where that is so.
    #[must_use]
    pub fn without_servers(&self) -> Option<&Cause> {
        self.0.without_servers.as_ref()
    }

    fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        without_servers: Option<Cause>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = options.timeout.min(QUERY_WITHIN);
        options.attempts = options.attempts.min(1);
        // Answers are remembered here; the aliases on the way to them bound for how long.
        options.cache_size = 0;
        options.preserve_intermediates = true;
        let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build();
        let (source, without_servers) = match built {
            Ok(source) => (Some(source), without_servers),
            Err(error) => (None, Some(in_words("name resolution cannot be set up", &error))),
        };
        Self(Arc::new(Inner {
            source,
            without_servers,
            clock,
            cache: Cache::default(),
            flights: Mutex::default(),
        }))
    }
}

impl Resolver for DnsResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Answer> {
        match self.0.cache.get(host, self.0.clock.now().monotonic) {
            Some(known) => Box::pin(future::ready(known)),
            None => match Inner::board(&self.0, host) {
                Ok(flight) => Box::pin(flight),
                Err(cause) => Box::pin(future::ready(Err(cause))),
            },
        }
    }
}

impl Inner {
    /// The resolution of this name that is under way, or a new one.
    fn board(inner: &Arc<Self>, host: &str) -> Result<Shared<Flight>, Cause> {
        let mut flights = inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(host).and_then(WeakShared::upgrade) {
            return Ok(flight);
        }
        if flights.len() >= MOST_FLIGHTS {
            flights.retain(|_, flight| flight.upgrade().is_some());
            if flights.len() >= MOST_FLIGHTS {
                return Err(Cause::new("too many names are being resolved"));
            }
        }
        let host: Box<str> = host.into();
        let flight = Arc::clone(inner).fly(host.clone()).boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(host, weak);
        }
        Ok(flight)
    }

    async fn fly(self: Arc<Self>, host: Box<str>) -> Answer {
        let (answer, life) = self.ask(&host).await;
        let now = self.clock.now().monotonic;
        self.cache.put(&host, answer.clone(), now, life);
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&host);
        answer
    }

    /// An answer and how long it holds.
    async fn ask(&self, host: &str) -> (Answer, Duration) {
        let failed = |cause| (Err(cause), Duration::ZERO);
        let Some(source) = &self.source else {
            return failed(self.cause("name resolution cannot be set up"));
        };
        match timeout(RESOLVE_WITHIN, source.lookup_ip(host)).await {
            Err(_) => failed(Cause::new(format!("resolving {host:?}: no answer within 5 s"))),
            Ok(Err(error)) => failed(match &self.without_servers {
                Some(cause) => cause.clone(),
                None => unresolved(host, &error),
            }),
            Ok(Ok(found)) => {
                let addresses: Arc<[IpAddr]> = found.iter().collect();
                if addresses.is_empty() {
                    return failed(Cause::new(format!("resolving {host:?}: no address")));
                }
                let answers = found.as_lookup().answers().iter();
                let seconds = answers.map(|record| record.ttl).min().unwrap_or_default();
                (Ok(addresses), Duration::from_secs(seconds.into()))
            }
        }
    }

    fn cause(&self, otherwise: &str) -> Cause {
        self.without_servers
            .clone()
            .unwrap_or_else(|| Cause::new(otherwise))
    }
}

fn unresolved(host: &str, error: &NetError) -> Cause {
    in_words(&format!("resolving {host:?}"), error)
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver").finish_non_exhaustive()
    }
}
