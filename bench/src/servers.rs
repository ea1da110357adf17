//! What the gateway stands among: STS and upstream, a real Redis, a real PostgreSQL.

use admission::mode::Mode;
use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use devstack::{Devstack, Resource, StackConfig};
use redis::aio::MultiplexedConnection;
use testkit::postgres::{Database, Layout, PrivatePostgres};
use testkit::redis::PrivateRedis;

use crate::announcer::Announcer;
use crate::audit::AuditStream;
use crate::failure::Result;

/// All of it; ends when dropped.
pub(crate) struct Servers {
    stack: Devstack,
    redis: PrivateRedis,
    database: Database,
    streams_key: [u8; 32],
    // Last, because the database is dropped on it.
    _postgres: PrivatePostgres,
}

/// Starts STS and upstream, with further resources. They serve on the runtime that calls this.
pub(crate) async fn stack(resources: impl IntoIterator<Item = Resource>) -> Result<Devstack> {
    let Mode::Dev(proof) = Mode::parse("dev")? else {
        return Err("no proof of development mode".into());
    };
    let mut config = StackConfig {
        accept_session_mandates: true,
        recorded_requests: 0,
        ..StackConfig::standard()?
    };
    config.resources.extend(resources);
    Ok(Devstack::start(proof, config).await?)
}

impl Servers {
    /// Starts the servers beside a stack, and writes the stack's bindings into the database.
    pub(crate) async fn start(stack: Devstack) -> Result<Self> {
        let redis = PrivateRedis::start().await;
        let postgres = PrivatePostgres::start().await;
        let database = Database::create_on(&postgres, Layout::StandAlone).await;
        for row in stack.bindings() {
            database
                .bind(&row.zone, &row.resource, &row.upstream_url, &row.application_id)
                .await;
        }
        Ok(Self {
            stack,
            redis,
            database,
            streams_key: random_key()?,
            _postgres: postgres,
        })
    }

    /// STS and upstream.
    pub(crate) fn stack(&self) -> &Devstack {
        &self.stack
    }

    /// The stream to which the gateway delivers its evidence.
    pub(crate) async fn audit_stream(&self) -> AuditStream {
        AuditStream::new(self.redis.connection().await)
    }

    /// The database.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Where Redis is.
    pub(crate) fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// A connection to Redis.
    pub(crate) async fn redis(&self) -> MultiplexedConnection {
        self.redis.connection().await
    }

    /// Who revokes in the name of the services behind the revocation streams.
    pub(crate) async fn announcer(&self) -> Announcer {
        Announcer::new(self.redis.connection().await, self.streams_key)
    }

    /// The variables that lead a gateway to these servers.
    pub(crate) fn environment(&self) -> Result<[(&'static str, String); 6]> {
        Ok([
            ("STS_URL", self.stack.sts_url().to_owned()),
            ("REDIS_URL", self.redis.url()),
            ("DATABASE_URL", self.database.gateway_url()),
            (
                "GATEWAY_STS_HMAC_KEY",
                self.stack.gateway_hmac_key().expose().to_owned(),
            ),
            ("STREAMS_HMAC_KEY", HEXLOWER.encode(&self.streams_key)),
            ("AUDIT_HMAC_KEY", HEXLOWER.encode(&random_key()?)),
        ])
    }
}

fn random_key() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}
