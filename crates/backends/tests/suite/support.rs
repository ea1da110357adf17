//! Stores with their background futures running.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Clock, ReplayMarks};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::dns::DnsResolver;
use backends::pem::PemTls;
use backends::postgres::{self, PostgresConfig, SslMode};
use backends::redis::{self, Link, RedisConfig};
use backends::replay::{RedisReplay, ReplayConfig};
use backends::revocation::{RevocationConfig, RevocationState, Snapshots, StreamReader, StreamsKey};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use testkit::clock::FixedClock;
use testkit::wait::until;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::contract::revocations::{anchors, standing};

/// `REPLAY_TIMEOUT` where an answer is expected, on a busy machine too.
const UNHURRIED: Duration = Duration::from_secs(15);
/// `REPLAY_TIMEOUT` where none is.
const HASTY: Duration = Duration::from_millis(500);

pub(crate) mod store;

/// What runs in the background; all of it ends with this.
#[derive(Default)]
pub(crate) struct Background {
    tasks: JoinSet<()>,
}

impl Background {
    pub(crate) fn run(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }
}

pub(crate) fn redis_config(url: &str) -> RedisConfig {
    RedisConfig {
        url: url.to_owned(),
        tls: PemTls::default(),
        dial_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn redis(url: &str) -> redis::RedisConnector {
    redis::RedisConnector::new(&redis_config(url)).unwrap()
}

pub(crate) fn database(url: &str) -> postgres::PostgresConnector {
    postgres::PostgresConnector::new(&PostgresConfig {
        client: url.parse().unwrap(),
        ssl_mode: SslMode::Prefer,
        tls: PemTls::default(),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        max_lifetime: Duration::from_secs(1800),
    })
    .unwrap()
}

/// Replay marks with their link and their releases.
pub(crate) struct Replay {
    pub(crate) marks: Arc<RedisReplay>,
    pub(crate) link: Arc<Link>,
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
        Self::waiting(HASTY, redis(url), None, &FixedClock::default())
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
        let mut background = Background::default();
        let link = Link::new("replay", redis, Arc::new(clock.clone()));
        let config = ReplayConfig { timeout, memory };
        let (marks, releases) = RedisReplay::new(Arc::clone(&link), config, Arc::new(clock.clone()));
        background.run(Arc::clone(&link).run(CancellationToken::new()));
        background.run(releases.run(CancellationToken::new()));
        background.run(Arc::clone(&marks).watch(CancellationToken::new()));
        Self {
            marks,
            link,
            _background: background,
        }
    }

    pub(crate) fn port(&self) -> &dyn ReplayMarks {
        &*self.marks
    }

    /// Waits until marks can be made, as the start of a gateway does.
    pub(crate) async fn well(&self) {
        until("marks to be possible", async || {
            self.marks.fault().is_none().then_some(())
        })
        .await;
    }
}

/// `STREAMS_HMAC_KEY` in these tests.
pub(crate) const STREAMS_KEY: &[u8] = &[42; 32];

/// A revocation state with its streams and snapshots.
pub(crate) struct Revocation {
    pub(crate) state: RevocationState,
    pub(crate) clock: FixedClock,
    pub(crate) refetched: tokio::sync::mpsc::UnboundedReceiver<String>,
    _background: Background,
}

impl Revocation {
    /// How a request stands whose anchors have this name.
    pub(crate) fn standing(&self, name: &str) -> &'static str {
        standing(&self.state, &anchors(name), self.clock.now())
    }

    /// Waits until a request with these anchors stands so.
    pub(crate) async fn settle(&self, name: &str, expect: &str) {
        until(&format!("{name} to be {expect}"), async || {
            (self.standing(name) == expect).then_some(())
        })
        .await;
    }

    /// Snapshots come only on demand, unless `every` says otherwise.
    pub(crate) fn start(redis_url: &str, database_url: &str, every: Duration) -> Self {
        let clock = FixedClock::default();
        let config = RevocationConfig {
            snapshot_every: every,
            snapshot_pause: Duration::from_millis(10),
            ..RevocationConfig::default()
        };
        let state = RevocationState::new(config, Arc::new(clock.clone()));
        let mut background = Background::default();
        let (zones, refetched) = tokio::sync::mpsc::unbounded_channel();
        let keys_invalidated = Box::new(move |zone: &str| zones.send(zone.to_owned()).unwrap());
        let key = StreamsKey::new(STREAMS_KEY);
        let streams = StreamReader::new(&state, redis(redis_url), key, keys_invalidated);
        let snapshots = Snapshots::new(&state, database(database_url));
        background.run(streams.run(CancellationToken::new()));
        background.run(snapshots.run(CancellationToken::new()));
        Self {
            state,
            clock,
            refetched,
            _background: background,
        }
    }
}

/// An interval that never comes in a test.
pub(crate) const ON_DEMAND: Duration = Duration::from_secs(3600);

/// Writes a signed message; returns its id.
pub(crate) async fn publish(
    redis: &mut ::redis::aio::MultiplexedConnection,
    stream: &str,
    fields: &[(&str, &str)],
) -> String {
    let signature = signature(stream, fields);
    let mut signed = fields.to_vec();
    signed.push(("_sig", &signature));
    add(redis, stream, &signed).await
}

/// Writes a message as it is.
pub(crate) async fn add(
    redis: &mut ::redis::aio::MultiplexedConnection,
    stream: &str,
    fields: &[(&str, &str)],
) -> String {
    let mut command = ::redis::cmd("XADD");
    command.arg(stream).arg("*").arg(fields);
    command.query_async(redis).await.unwrap()
}

fn signature(stream: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut text = format!("{stream}\n");
    for (name, value) in sorted {
        text.push_str(&format!("{name}={value}\n"));
    }
    let tag = sign(&Key::new(HMAC_SHA256, STREAMS_KEY), text.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bindings with their reader.
pub(crate) struct BindingsUnderTest {
    pub(crate) bindings: Arc<PostgresBindings>,
    pub(crate) clock: FixedClock,
    _background: Background,
}

impl BindingsUnderTest {
    pub(crate) fn start(database_url: &str, every: Duration) -> Self {
        let clock = FixedClock::default();
        let config = BindingsConfig {
            reload_every: every,
            ..BindingsConfig::default()
        };
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

/// A resolver that asks these name servers, and knows `/etc/hosts`.
pub(crate) fn resolver(servers: &[SocketAddr], clock: Arc<dyn Clock>) -> DnsResolver {
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.into())
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    DnsResolver::new(config, ResolverOpts::default(), None, clock)
}
