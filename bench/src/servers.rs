//! What the gateway stands among: STS and upstream, a real Redis, a real PostgreSQL.

use admission::mode::Mode;
use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use devstack::{Devstack, StackConfig};
use testkit::postgres::{Database, Layout, PrivatePostgres};
use testkit::redis::PrivateRedis;

use crate::audit::AuditStream;
use crate::failure::Result;

/// All of it; ends when dropped.
pub(crate) struct Servers {
    stack: Devstack,
    redis: PrivateRedis,
    database: Database,
    // Last, because the database is dropped on it.
    _postgres: PrivatePostgres,
}

/// Starts STS and upstream. They serve on the runtime that calls this.
pub(crate) async fn stack() -> Result<Devstack> {
    let Mode::Dev(proof) = Mode::parse("dev")? else {
        return Err("no proof of development mode".into());
    };
    let config = StackConfig {
        recorded_requests: 0,
        ..StackConfig::standard()?
    };
    Ok(Devstack::start(proof, config).await?)
}

impl Servers {
    /// Starts the servers beside a stack, and writes the stack's bindings into the database.
    pub(crate) async fn start(stack: Devstack) -> Self {
        let redis = PrivateRedis::start().await;
        let postgres = PrivatePostgres::start().await;
        let database = Database::create_on(&postgres, Layout::StandAlone).await;
        for row in stack.bindings() {
            database
                .bind(&row.zone, &row.resource, &row.upstream_url, &row.application_id)
                .await;
        }
        Self {
            stack,
            redis,
            database,
            _postgres: postgres,
        }
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
            ("STREAMS_HMAC_KEY", random_key()?),
            ("AUDIT_HMAC_KEY", random_key()?),
        ])
    }
}

/// 32 random bytes in hexadecimal.
fn random_key() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}
