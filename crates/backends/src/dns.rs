//! Name resolution for the egress guard and the STS: the system's own configuration, hosts file
//! included, with answers remembered for as long as their TTL says, within bounds.
//!
//! Both files are looked at once a second while names are asked for. When one has changed it is read
//! again, and nothing that was remembered counts any more.

mod cache;
mod records;
mod system;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::{BoxFuture, Cause, Clock, Resolver};
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use tokio::time::timeout;

use crate::component::milliseconds;
use crate::http::in_words;
use crate::single_flight::SingleFlight;
use cache::Cache;
use system::System;

pub use system::SystemFiles;

/// How long one resolution may take, retries and search domains included.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one query to a name server may take.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1500);
/// How many names are resolved at the same time.
const MAX_RESOLUTIONS: usize = 1024;
/// The most addresses of one name, which bounds what is remembered. A message holds some 8,000.
const MAX_ADDRESSES: usize = 1000;
/// How often it is looked whether the system's files have changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

type Answer = Result<Arc<[IpAddr]>, Cause>;

/// The resolver.
pub struct DnsResolver(Arc<Inner>);

struct Inner {
    files: SystemFiles,
    clock: Arc<dyn Clock>,
    /// The files' contents and what was answered under them.
    current: ArcSwap<Current>,
    /// When the files are looked at next, in milliseconds of the monotonic clock.
    check_at: AtomicU64,
}

struct Current {
    system: System,
    cache: Cache,
    under_way: SingleFlight<Box<str>, Answer>,
}

impl DnsResolver {
    /// A resolver that asks the name servers of `/etc/resolv.conf` and knows `/etc/hosts`.
    ///
    /// Where the system names no server, it still knows the hosts file and `localhost`, and every
    /// other name fails with that cause.
    #[must_use]
    pub fn system(clock: Arc<dyn Clock>) -> Self {
        Self::reading(SystemFiles::default(), clock)
    }

    /// The same with files of its own.
    #[must_use]
    pub fn reading(files: SystemFiles, clock: Arc<dyn Clock>) -> Self {
        let current = Current::of(System::read(&files));
        Self(Arc::new(Inner {
            files,
            current: ArcSwap::from_pointee(current),
            check_at: AtomicU64::new(milliseconds(clock.now().monotonic + CHECK_INTERVAL)),
            clock,
        }))
    }

    /// Why only the hosts file is known, where that is so.
    #[must_use]
    pub fn without_servers(&self) -> Option<Cause> {
        self.0.current.load().system.without_servers().cloned()
    }
}

impl Resolver for DnsResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Answer> {
        let now = self.0.clock.now().monotonic;
        let current = self.0.current(now);
        if let Some(known) = current.cache.get(host, now) {
            return Box::pin(future::ready(known));
        }
        let resolution = || {
            let (current, clock) = (Arc::clone(&current), Arc::clone(&self.0.clock));
            let host: Box<str> = host.into();
            async move { current.resolve(&host, &*clock).await }.boxed()
        };
        match current.under_way.join(host.into(), resolution) {
            Some(resolution) => Box::pin(resolution),
            None => Box::pin(future::ready(Err(Cause::new(
                "too many names are being resolved",
            )))),
        }
    }

    fn forget(&self, host: &str) {
        self.0.current.load().cache.forget(host);
    }
}

impl Inner {
    /// What the files say and what was answered since they say it.
    fn current(&self, now: Duration) -> Arc<Current> {
        let (check_at, next) = (
            self.check_at.load(Ordering::Relaxed),
            milliseconds(now + CHECK_INTERVAL),
        );
        let is_due = milliseconds(now) >= check_at;
        let exchange = |from| {
            self.check_at
                .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        // One of those who come at that time looks; the files are small and local.
        if is_due
            && exchange(check_at).is_ok()
            && let Some(changed) = self.current.load().system.if_changed(&self.files)
        {
            self.current.store(Arc::new(Current::of(changed)));
        }
        self.current.load_full()
    }
}

impl Current {
    fn of(system: System) -> Self {
        Self {
            system,
            cache: Cache::default(),
            under_way: SingleFlight::new(MAX_RESOLUTIONS),
        }
    }

    async fn resolve(&self, host: &str, clock: &dyn Clock) -> Answer {
        let (answer, life) = self.ask(host).await;
        self.cache.put(host, answer.clone(), clock.now().monotonic, life);
        answer
    }

    /// An answer and how long it holds.
    async fn ask(&self, host: &str) -> (Answer, Duration) {
        let failed = |cause| (Err(cause), Duration::ZERO);
        // As it is: the library's other ways to read a name refuse `_`, which DNS allows (RFC 2181 §11). Who asks has
        // the name in A-labels.
        let name = match Name::from_ascii(host) {
            Ok(name) => name,
            Err(error) => return failed(in_words(&format!("resolving {host:?}"), &error)),
        };
        if let Some(pinned) = self.system.pinned(&name) {
            return (Ok(pinned), Duration::MAX);
        }
        let found = match &self.system.resolver {
            Ok(resolver) => timeout(RESOLVE_TIMEOUT, records::find(resolver, self.system.names(name))).await,
            Err(cause) => return failed(cause.clone()),
        };
        match found {
            Err(_) => failed(Cause::new(format!("resolving {host:?}: no answer within 5 s"))),
            Ok(Err(error)) => failed(match self.system.without_servers() {
                Some(cause) => cause.clone(),
                None => unresolved(host, &error),
            }),
            Ok(Ok(found)) if found.addresses.is_empty() => {
                failed(Cause::new(format!("resolving {host:?}: no address")))
            }
            Ok(Ok(found)) if found.addresses.len() > MAX_ADDRESSES => failed(Cause::new(format!(
                "resolving {host:?}: more than {MAX_ADDRESSES} addresses"
            ))),
            Ok(Ok(found)) => (Ok(found.addresses.into()), found.life),
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
