//! Stores with their background futures running.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, ReplayMarks};
use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::component::{Component, Task};
use backends::dns::{DnsResolver, SystemFiles};
use backends::redis::{self, Link};
use backends::replay::{Confirmations, RedisReplay, Releases, ReplayConfig};
use tempfile::TempDir;
use testkit::clock::FixedClock;
use testkit::wait::until;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::contract::replay::set;

/// `REPLAY_TIMEOUT` where an answer is expected, on a busy machine too.
const UNHURRIED: Duration = Duration::from_secs(15);
/// `REPLAY_TIMEOUT` where none is.
const HASTY: Duration = Duration::from_millis(500);

pub(crate) mod cluster;
mod revocation;
mod servers;
pub(crate) mod store;

pub(crate) use revocation::*;
pub(crate) use servers::{cluster_config, database, redis, redis_config, sentinel_config};

/// What runs in the background; all of it ends with this.
#[derive(Default)]
pub(crate) struct Background {
    tasks: JoinSet<()>,
}

impl Background {
    pub(crate) fn run(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }

    pub(crate) fn run_tasks(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            self.run((task.run)(CancellationToken::new()));
        }
    }
}

/// Replay marks with their link and their releases.
pub(crate) struct Replay {
    pub(crate) marks: Arc<RedisReplay>,
    pub(crate) link: Arc<Link>,
    clock: FixedClock,
    _background: Background,
}

impl Replay {
    pub(crate) fn start(url: &str) -> Self {
        Self::remembering(url, None, &FixedClock::default())
    }

    pub(crate) fn remembering(url: &str, memory: Option<PathBuf>, clock: &FixedClock) -> Self {
        Self::over(redis(url), memory, clock)
    }

    /// Waits no longer than a moment for each answer.
    pub(crate) fn hasty(url: &str) -> Self {
        Self::hasty_over(redis(url))
    }

    pub(crate) fn hasty_over(redis: redis::RedisConnector) -> Self {
        Self::waiting(HASTY, redis, None, &FixedClock::default())
    }

    pub(crate) fn hasty_remembering(url: &str, memory: Option<PathBuf>, clock: &FixedClock) -> Self {
        Self::waiting(HASTY, redis(url), memory, clock)
    }

    pub(crate) fn over(redis: redis::RedisConnector, memory: Option<PathBuf>, clock: &FixedClock) -> Self {
        Self::waiting(UNHURRIED, redis, memory, clock)
    }

    fn waiting(
        timeout: Duration,
        redis: redis::RedisConnector,
        memory: Option<PathBuf>,
        clock: &FixedClock,
    ) -> Self {
        Self::complete(timeout, Component::new(redis), None, memory, clock)
    }

    /// Marks that this many replicas must confirm, without a hurry or in one.
    pub(crate) fn confirmed(redis: Component<redis::RedisConnector>, min_replicas: u32, hasty: bool) -> Self {
        let timeout = if hasty { HASTY } else { UNHURRIED };
        let clock = FixedClock::default();
        Self::complete(timeout, redis, Some(min_replicas), None, &clock)
    }

    /// Marks at whatever the sentinels name.
    pub(crate) fn at_sentinels(redis: Component<redis::RedisConnector>) -> Self {
        Self::complete(UNHURRIED, redis, None, None, &FixedClock::default())
    }

    fn complete(
        timeout: Duration,
        redis: Component<redis::RedisConnector>,
        min_replicas: Option<u32>,
        memory: Option<PathBuf>,
        clock: &FixedClock,
    ) -> Self {
        let mut background = Background::default();
        let ports: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut component = Component::new(());
        let redis = component.add(redis);
        let confirmations =
            min_replicas.map(|replicas| component.add(Confirmations::component(&redis, replicas, &ports)));
        background.run_tasks(component.tasks);
        let link = RedisReplay::link(redis, timeout, Arc::new(clock.clone()));
        let config = ReplayConfig {
            timeout,
            memory,
            min_replicas: min_replicas.unwrap_or_default(),
        };
        let (marks, releases) =
            RedisReplay::new(Arc::clone(&link), confirmations, config, Arc::new(clock.clone()));
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        background.run(releases.run(CancellationToken::new()));
        background.run(Arc::clone(&marks).watch(CancellationToken::new()));
        Self {
            marks,
            link,
            clock: clock.clone(),
            _background: background,
        }
    }

    pub(crate) fn port(&self) -> &dyn ReplayMarks {
        &*self.marks
    }

    /// Other marks over the same connection, whose releases are not given back by themselves.
    pub(crate) fn again(&self) -> (Arc<RedisReplay>, Releases) {
        let config = ReplayConfig {
            timeout: UNHURRIED,
            memory: None,
            min_replicas: 0,
        };
        RedisReplay::new(Arc::clone(&self.link), None, config, Arc::new(self.clock.clone()))
    }

    /// Presents mandates that are issued now, seconds apart, until one passes: after a loss that is not at once. Its id.
    pub(crate) async fn next_that_passes(&self, name: &str) -> String {
        let mut number = 0;
        until("a mandate to pass", async || {
            number += 1;
            let jti = format!("{name}-{number}");
            (self.present_next(&jti).await == "set").then_some(jti)
        })
        .await
    }

    /// Presents a mandate that is issued now, some seconds after the one before.
    pub(crate) async fn present_next(&self, jti: &str) -> &'static str {
        self.clock.advance(Duration::from_secs(5));
        set(self.port(), &store::issued(jti, self.clock.now().unix.as_secs())).await
    }

    /// Presents a mandate again that was issued when the last one was.
    pub(crate) async fn present_again(&self, jti: &str) -> &'static str {
        set(self.port(), &store::issued(jti, self.clock.now().unix.as_secs())).await
    }

    /// Waits until marks can be made, as the start of a gateway does.
    pub(crate) async fn well(&self) {
        until("marks to be possible", async || {
            self.marks.fault().is_none().then_some(())
        })
        .await;
    }
}

/// Bindings with their reader.
pub(crate) struct BindingsUnderTest {
    pub(crate) bindings: Arc<PostgresBindings>,
    pub(crate) clock: FixedClock,
    _background: Background,
}

impl BindingsUnderTest {
    pub(crate) fn start(database_url: &str, every: Duration) -> Self {
        let config = BindingsConfig {
            reload_every: every,
            ..BindingsConfig::default()
        };
        Self::with(database_url, config)
    }

    pub(crate) fn with(database_url: &str, config: BindingsConfig) -> Self {
        let clock = FixedClock::default();
        let (bindings, reader) =
            PostgresBindings::new(config, database(database_url), Arc::new(clock.clone()));
        let mut background = Background::default();
        background.run(reader.run(CancellationToken::new()));
        Self {
            bindings,
            clock,
            _background: background,
        }
    }
}

/// The files of a system of its own, whose name servers listen on one port.
pub(crate) struct PrivateSystem {
    pub(crate) files: SystemFiles,
    _directory: TempDir,
}

impl PrivateSystem {
    /// Without names of its own. Without a name server, it has none.
    pub(crate) fn new(server: Option<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = SystemFiles {
            resolv_conf: directory.path().join("resolv.conf"),
            hosts: directory.path().join("hosts"),
            port: server.map_or(53, |server| server.port()),
        };
        let system = Self {
            files,
            _directory: directory,
        };
        system.name_servers(&server.map(|server| server.ip()).into_iter().collect::<Vec<_>>());
        system.hosts("127.0.0.1 localhost\n");
        system
    }

    /// Writes the file of name servers anew.
    pub(crate) fn name_servers(&self, servers: &[IpAddr]) {
        let lines: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
        fs::write(&self.files.resolv_conf, lines).unwrap();
    }

    /// Writes the hosts file anew.
    pub(crate) fn hosts(&self, lines: &str) {
        fs::write(&self.files.hosts, lines).unwrap();
    }

    pub(crate) fn resolver(&self, clock: &FixedClock) -> DnsResolver {
        DnsResolver::reading(self.files.clone(), Arc::new(clock.clone()))
    }
}
