//! Name resolution for the egress guard and the STS: the system's own configuration, hosts file
//! included, with answers remembered for as long as their TTL says, within bounds.

mod cache;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{BoxFuture, Cause, Clock, Resolver};
use futures_util::FutureExt as _;
use futures_util::future;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::timeout;

use crate::http::in_words;
use crate::single_flight::SingleFlight;
use cache::Cache;

/// How long one resolution may take, retries and search domains included.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one query to a name server may take.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1500);
/// How many names are resolved at the same time.
const MAX_RESOLUTIONS: usize = 1024;

type Answer = Result<Arc<[IpAddr]>, Cause>;

/// The resolver.
pub struct DnsResolver(Arc<Inner>);

struct Inner {
    source: Option<TokioResolver>,
    /// Why there is no name server, where there is none.
    without_servers: Option<Cause>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    under_way: SingleFlight<Box<str>, Answer>,
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

    /// Why only the hosts file is known, where that is so.
    #[must_use]
    pub fn without_servers(&self) -> Option<&Cause> {
        self.0.without_servers.as_ref()
    }

    /// A resolver that asks these name servers, if there are any, and knows `/etc/hosts`.
    #[must_use]
    pub fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        without_servers: Option<Cause>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = options.timeout.min(QUERY_TIMEOUT);
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
            under_way: SingleFlight::new(MAX_RESOLUTIONS),
        }))
    }
}

impl Resolver for DnsResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Answer> {
        if let Some(known) = self.0.cache.get(host, self.0.clock.now().monotonic) {
            return Box::pin(future::ready(known));
        }
        let resolution = || Arc::clone(&self.0).resolve(host.into()).boxed();
        match self.0.under_way.join(host.into(), resolution) {
            Some(resolution) => Box::pin(resolution),
            None => Box::pin(future::ready(Err(Cause::new(
                "too many names are being resolved",
            )))),
        }
    }
}

impl Inner {
    async fn resolve(self: Arc<Self>, host: Box<str>) -> Answer {
        let (answer, life) = self.ask(&host).await;
        let now = self.clock.now().monotonic;
        self.cache.put(&host, answer.clone(), now, life);
        answer
    }

    /// An answer and how long it holds.
    async fn ask(&self, host: &str) -> (Answer, Duration) {
        let failed = |cause| (Err(cause), Duration::ZERO);
        let Some(source) = &self.source else {
            let unknown = || Cause::new("name resolution cannot be set up");
            return failed(self.without_servers.clone().unwrap_or_else(unknown));
        };
        match timeout(RESOLVE_TIMEOUT, source.lookup_ip(host)).await {
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
}

fn unresolved(host: &str, error: &NetError) -> Cause {
    let what = format!("resolving {host:?}");
    // The library keeps the system's errors to itself: whether it could open a socket is tried here.
    match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
        Err(wanting) if matches!(error, NetError::NoConnections | NetError::Io(_)) => {
            in_words(&what, &wanting)
        }
        Ok(_) | Err(_) => in_words(&what, error),
    }
}
