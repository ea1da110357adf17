//! The stores of an installation: Redis and PostgreSQL.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use backends::audit_stream::RedisAuditStream;
use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::component::Component;
use backends::pem::{PemIdentity, PemTls};
use backends::postgres::{self, PostgresConfig, SslMode};
use backends::redis::{RedisConfig, RedisConnector, RedisServers};
use backends::replay::{RedisReplay, ReplayConfig};
use backends::revocation::{RevocationConfig, RevocationSources, RevocationState, StreamsKey};
use config::{ClientTls, Config, External, Warning};
use evidence::Spool;

use super::StartError;
use super::assemble::{Stores, start};
use super::listening::HandedListeners;
use super::runtime::Runtime;
use crate::process::{Server, Stop};
use crate::renewal::Shown;

/// How long one read of a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one batch of events may take.
const AUDIT_BATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway on Redis and PostgreSQL.
///
/// # Errors
/// [`StartError`]; also when a store does not come up, because then every request would be refused, and when it is asked
/// to stop before that.
pub async fn external(config: Config, warnings: &[Warning], stop: &mut Stop) -> Result<Server, StartError> {
    let config::Stores::External(external) = config.stores.clone() else {
        return Err(StartError::Stores);
    };
    let handed = HandedListeners::take(&config)?;
    let mut runtime = Runtime::new(config, warnings)?;
    let stores = stores(&mut runtime, &external)?;
    start(runtime, stores, handed, stop).await
}

fn stores(runtime: &mut Runtime, external: &External) -> Result<Stores, StartError> {
    let clock = Arc::clone(&runtime.clock);
    let redis = runtime.add(redis(&external.redis)?);
    let own_endpoints = redis.endpoints();
    let database = runtime.add(database(&external.database)?.component(external.database.max_connections));
    let (renewed, tls) = (redis.clone(), external.redis.tls.clone());
    runtime.renewal.watch(Shown::ToServers, tls, move |tls| {
        renewed.renew_tls(&pem(tls)).map_err(|cause| cause.to_string())
    });
    let (renewed, tls) = (database.clone(), external.database.tls.clone());
    runtime.renewal.watch(Shown::ToServers, tls, move |tls| {
        renewed.renew_tls(&pem(tls)).map_err(|cause| cause.to_string())
    });
    let keys = runtime.keys.clone();
    // In this order they are in `/ready`.
    let bindings = runtime.add(PostgresBindings::component(
        BindingsConfig::default(),
        database.clone(),
        Arc::clone(&clock),
    ));
    let min_replicas = external.redis.min_replicas;
    let replay = ReplayConfig {
        timeout: runtime.config.timeouts.replay,
        memory: Some(runtime.config.evidence.directory.join("replay-epoch")),
        min_replicas,
    };
    let replay = runtime.add(RedisReplay::component(redis.clone(), replay, Arc::clone(&clock)));
    let sources = RevocationSources {
        database,
        redis: redis.clone(),
        key: StreamsKey::new(runtime.config.signing.streams.as_bytes()),
        keys_invalidated: Box::new(move |zone| keys.invalidate(zone)),
    };
    let config = revocation_config(&runtime.config);
    let revocations = runtime.add(RevocationState::component(config, sources, Arc::clone(&clock)));
    let sink = runtime.add(RedisAuditStream::component(
        redis,
        AUDIT_BATCH_TIMEOUT,
        min_replicas,
        runtime.config.evidence.stream_max_len,
        clock,
    ));
    let reloaded = Arc::clone(&bindings);
    Ok(Stores {
        bindings,
        reload_bindings: Arc::new(move || reloaded.reload()),
        replay,
        revocations,
        sink,
        own_endpoints: Arc::new(move || own_endpoints.borrow().to_vec()),
    })
}

/// The bounds of the revocation state.
pub(super) fn revocation_config(config: &Config) -> RevocationConfig {
    RevocationConfig {
        max_snapshot_age: config.gates.revocation_snapshot_max_age,
        max_anchors: count(config.gates.revocation_max_anchors),
        max_zone_anchors: count(config.gates.revocation_max_zone_anchors),
        ..RevocationConfig::default()
    }
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

/// Whether a gateway with these stores could be started, as far as can be told without dialling them.
///
/// # Errors
/// [`StartError::Store`], [`StartError::Spool`], [`StartError::HandedOver`].
pub fn judge(config: &Config) -> Result<(), StartError> {
    HandedListeners::take(config)?;
    Spool::judge(&config.evidence.directory)?;
    if let config::Stores::External(external) = &config.stores {
        database(&external.database)?;
        let _unused = redis(&external.redis)?;
    }
    Ok(())
}

/// The way to PostgreSQL. Nothing is dialled.
///
/// # Errors
/// [`StartError::Store`].
pub fn database(database: &config::Database) -> Result<postgres::PostgresConnector, StartError> {
    let config = PostgresConfig {
        client: database.url.client.clone(),
        ssl_mode: match database.url.ssl_mode {
            config::SslMode::Disable => SslMode::Disable,
            config::SslMode::Prefer => SslMode::Prefer,
            config::SslMode::Require => SslMode::Require,
            config::SslMode::VerifyCa => SslMode::VerifyCa,
            config::SslMode::VerifyFull => SslMode::VerifyFull,
        },
        tls: pem(&database.tls),
        connect_timeout: database.connect_timeout,
        read_timeout: SNAPSHOT_TIMEOUT,
        max_lifetime: database.max_lifetime,
    };
    postgres::PostgresConnector::new(&config).map_err(|cause| StartError::Store {
        variable: "DATABASE_URL",
        cause,
    })
}

/// The way to Redis. Nothing is dialled.
///
/// # Errors
/// [`StartError::Store`].
pub fn redis(redis: &config::Redis) -> Result<Component<RedisConnector>, StartError> {
    let config = RedisConfig {
        servers: match redis.servers.clone() {
            config::RedisServers::Single(server) => RedisServers::Single(server),
            config::RedisServers::Sentinel {
                sentinels,
                service,
                primary,
            } => RedisServers::Sentinel {
                sentinels,
                service,
                primary,
            },
            config::RedisServers::Cluster { seeds } => RedisServers::Cluster { seeds },
        },
        tls: pem(&redis.tls),
        dial_timeout: redis.dial_timeout,
        answer_timeout: redis.read_timeout,
    };
    RedisConnector::component(&config).map_err(|cause| StartError::Store {
        variable: "REDIS_URL",
        cause,
    })
}

fn pem(tls: &ClientTls) -> PemTls {
    PemTls {
        authorities: tls
            .authorities
            .as_ref()
            .map(|authorities| authorities.pem.clone()),
        identity: tls.identity.as_ref().map(|identity| PemIdentity {
            certificate: identity.chain_pem().to_vec(),
            key: identity.expose_key_pem().to_vec(),
        }),
    }
}
