//! The real stores: Redis and PostgreSQL.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Cause;
use backends::audit_stream::RedisAuditStream;
use backends::bindings::{BindingsConfig, PostgresBindings};
use backends::pem::{PemIdentity, PemTls};
use backends::postgres::{self, PostgresConfig};
use backends::redis::{self, Link, RedisConfig};
use backends::replay::{RedisReplay, ReplayConfig};
use backends::revocation::{RevocationConfig, RevocationState, Snapshots, StreamReader, StreamsKey};
use config::{ClientTls, Config, External, Stores, Warning};

use super::StartError;
use super::assemble::{assemble, come_up};
use super::ground::Ground;
use super::world::{StoreFigures, World};
use crate::operator::probe::{self, Health, State};
use crate::process::Server;
use crate::telemetry::figures::{BindingFigures, DatabaseFigures, ReplayFigures, RevocationFigures};

/// How long the stores may take to come up at start.
const COME_UP: Duration = Duration::from_secs(30);
/// How long one read of a snapshot may take.
const SNAPSHOT_READ: Duration = Duration::from_secs(20);
/// How long one batch of events may take.
const AUDIT_BATCH: Duration = Duration::from_secs(5);
/// Without an answer for this long Redis counts as unreachable.
const REDIS_CONTACT: Duration = Duration::from_secs(15);

/// A gateway on Redis and PostgreSQL.
///
/// # Errors
/// [`StartError`]; also when a store does not come up, because then every request would be refused.
pub async fn real(config: Config, warnings: &[Warning]) -> Result<Server, StartError> {
    let Stores::External(external) = config.stores.clone() else {
        return Err(StartError::Stores);
    };
    let ground = Ground::lay(config, warnings)?;
    let database = database(&external)?;
    let redis = redis(&external)?;

    let (bindings, reader) = PostgresBindings::new(
        BindingsConfig::default(),
        database.clone(),
        Arc::clone(&ground.clock),
    );
    ground.supervisor.foundation("bindings", |stop| reader.run(stop));

    let state = RevocationState::new(
        RevocationConfig {
            max_snapshot_age: ground.config.gates.revocation_snapshot_max_age,
            ..RevocationConfig::default()
        },
        Arc::clone(&ground.clock),
    );
    let snapshots = Snapshots::new(&state, database.clone());
    let keys = ground.keys.clone();
    let streams = StreamReader::new(
        &state,
        redis.clone(),
        StreamsKey::new(ground.config.signing.streams.as_bytes()),
        Box::new(move |zone| keys.invalidate(zone)),
    );
    ground
        .supervisor
        .foundation("revocation snapshots", |stop| snapshots.run(stop));
    ground
        .supervisor
        .foundation("revocation streams", |stop| streams.run(stop));

    let link = |name| {
        let link = Link::new(name, redis.clone(), Arc::clone(&ground.clock));
        let running = Arc::clone(&link);
        ground.supervisor.foundation(name, |stop| running.run(stop));
        link
    };
    // The marks have a connection of their own: a batch of events must not delay them.
    let (marks_link, audit_link) = (link("redis: replay marks"), link("redis: audit stream"));
    let (replay, releases) = RedisReplay::new(
        Arc::clone(&marks_link),
        ReplayConfig {
            timeout: ground.config.timeouts.replay,
            memory: Some(ground.config.evidence.directory.join("replay-epoch")),
        },
        Arc::clone(&ground.clock),
    );
    ground
        .supervisor
        .background("replay releases", |stop| releases.run(stop));

    wait(&ground, &bindings, &state, &marks_link).await?;
    let world = World {
        revocations: Arc::new(state.clone()),
        bindings: Arc::clone(&bindings) as _,
        replay: Arc::clone(&replay) as _,
        sink: Arc::new(RedisAuditStream::new(audit_link, AUDIT_BATCH)),
        figures: figures(
            &bindings,
            &state,
            &replay,
            (database, external.database.max_connections),
        ),
        bindings_probe: {
            let bindings = Arc::clone(&bindings);
            probe::known(move || {
                let status = bindings.status();
                health(status.age.is_some() && status.error.is_none(), status.age)
            })
        },
        redis_probe: {
            let link = Arc::clone(&marks_link);
            probe::known(move || {
                let status = link.status();
                let fresh = status.contact_age.is_some_and(|age| age <= REDIS_CONTACT);
                health(status.down.is_none() && fresh, status.contact_age)
            })
        },
        revocations_probe: {
            let state = state.clone();
            probe::known(move || {
                let status = state.status();
                health(status.stale.is_none(), status.snapshot_age)
            })
        },
        reload: Box::new(move || {
            let state = state.clone();
            Box::pin(async move { state.reload().await.map(|anchors| anchors as u64) })
        }),
    };
    assemble(ground, world).await
}

async fn wait(
    ground: &Ground,
    bindings: &PostgresBindings,
    state: &RevocationState,
    marks: &Link,
) -> Result<(), StartError> {
    let clock = &*ground.clock;
    let missing = |cause: Option<Cause>| cause.unwrap_or_else(|| Cause::new("no answer yet"));
    come_up("Redis (REDIS_URL)", COME_UP, clock, || {
        let status = marks.status();
        if status.contact_age.is_some() {
            Ok(())
        } else {
            Err(missing(status.down))
        }
    })
    .await?;
    come_up(
        "the bindings in PostgreSQL (DATABASE_URL)",
        COME_UP,
        clock,
        || {
            let status = bindings.status();
            if status.age.is_some() {
                Ok(())
            } else {
                Err(missing(status.error))
            }
        },
    )
    .await?;
    come_up("the revocation state", COME_UP, clock, || {
        let status = state.status();
        status
            .stale
            .map_or(Ok(()), |cause| Err(status.snapshot_error.unwrap_or(cause)))
    })
    .await
}

fn health(well: bool, age: Option<Duration>) -> Health {
    Health {
        state: if well { State::Ok } else { State::Failing },
        age,
    }
}

fn figures(
    bindings: &Arc<PostgresBindings>,
    state: &RevocationState,
    replay: &Arc<RedisReplay>,
    (database, most): (postgres::Connector, NonZeroU32),
) -> Box<dyn Fn() -> StoreFigures + Send + Sync> {
    let (bindings, state, replay) = (Arc::clone(bindings), state.clone(), Arc::clone(replay));
    let seconds = |age: Option<Duration>| age.map_or(u64::MAX, |age| age.as_secs());
    Box::new(move || {
        let (status, counters) = (state.status(), state.counters());
        let bound = bindings.status();
        StoreFigures {
            revocation: RevocationFigures {
                active: status.anchors as u64,
                snapshot_age_seconds: seconds(status.snapshot_age),
                stream_age_seconds: seconds(status.contact_age),
                fresh: status.stale.is_none(),
                messages: counters.messages,
                unusable: counters.ambiguous + counters.nameless,
                invalid_signatures: counters.invalid_signatures,
                reloads: counters.reloads,
                reload_errors: counters.reload_errors,
                propagation_seconds: counters.propagation_milliseconds / 1000,
            },
            bindings: BindingFigures {
                loaded: bound.loaded as u64,
                age_seconds: seconds(bound.age),
                reloads: bound.reloads,
                reload_errors: bound.reload_errors,
            },
            replay: ReplayFigures {
                losses: u64::from(replay.loss().is_some()),
                errors: replay.errors(),
            },
            database: Some(DatabaseFigures {
                max: u64::from(most.get()),
                acquired: database.open_connections(),
            }),
        }
    })
}

fn database(external: &External) -> Result<postgres::Connector, StartError> {
    let config = PostgresConfig {
        url: external.database.url.expose().to_owned(),
        tls: pem(&external.database.tls),
        connect_timeout: external.database.connect_timeout,
        read_timeout: SNAPSHOT_READ,
        max_lifetime: external.database.max_lifetime,
    };
    postgres::Connector::new(&config).map_err(|cause| StartError::Store {
        variable: "DATABASE_URL",
        cause,
    })
}

fn redis(external: &External) -> Result<redis::Connector, StartError> {
    let config = RedisConfig {
        url: external.redis.url.expose().to_owned(),
        tls: pem(&external.redis.tls),
        dial_timeout: external.redis.dial_timeout,
        answer_timeout: external.redis.read_timeout,
    };
    redis::Connector::new(&config).map_err(|cause| StartError::Store {
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
