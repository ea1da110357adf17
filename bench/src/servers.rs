//! What the gateway stands among: STS and upstream, a real Redis, a real PostgreSQL.

use admission::mode::Mode;
use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use devstack::{Binding, Devstack, Resource, StackConfig};
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
    postgres: PrivatePostgres,
}

/// Starts STS and upstream, with further resources. They serve on the runtime that calls this.
pub(crate) async fn stack(resources: impl IntoIterator<Item = Resource>) -> Result<Devstack> {
    let mut config = StackConfig {
        accept_session_mandates: true,
        recorded_requests: 0,
        ..StackConfig::standard()?
    };
    config.resources.extend(resources);
    serve(config).await
}

/// Starts any STS and upstream, likewise.
pub(crate) async fn serve(config: StackConfig) -> Result<Devstack> {
    let Mode::Dev(proof) = Mode::parse("dev")? else {
        return Err("no proof of development mode".into());
    };
    Ok(Devstack::start(proof, config).await?)
}

impl Servers {
    /// Starts the servers beside a stack, and writes the stack's bindings into the database.
    pub(crate) async fn start(stack: Devstack) -> Result<Self> {
        let redis = PrivateRedis::start().await;
        let postgres = PrivatePostgres::start().await;
        let database = Database::create_on(&postgres, Layout::StandAlone).await;
        bind(&database, stack.bindings()).await;
        Ok(Self {
            stack,
            redis,
            database,
            streams_key: random_key()?,
            postgres,
        })
    }

    /// A further database, with these bindings.
    pub(crate) async fn database_with<'b>(
        &self,
        bindings: impl IntoIterator<Item = &'b Binding>,
    ) -> Database {
        let database = Database::create_on(&self.postgres, Layout::StandAlone).await;
        bind(&database, bindings).await;
        database
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

/// Writes bindings, all of one kind at a time.
async fn bind<'b>(database: &Database, bindings: impl IntoIterator<Item = &'b Binding>) {
    let (mut zones, mut resources, mut urls, mut applications) = (vec![], vec![], vec![], vec![]);
    for row in bindings {
        zones.push(row.zone.as_str());
        resources.push(row.resource.as_str());
        urls.push(row.upstream_url.as_str());
        applications.push(row.application_id.as_str());
    }
    let zone = "INSERT INTO zones (id, name) SELECT DISTINCT zone, zone FROM unnest($1::text[]) zone";
    database.query(zone, &[&zones]).await;
    let resource = "INSERT INTO resources (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
         SELECT gen_random_uuid()::text, zone, resource, resource, url, 'provider-1' \
         FROM unnest($1::text[], $2::text[], $3::text[]) AS row (zone, resource, url)";
    database.query(resource, &[&zones, &resources, &urls]).await;
    let binding = "INSERT INTO gateway_resource_bindings (zone_id, resource_identifier, application_id) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[])";
    database
        .query(binding, &[&zones, &resources, &applications])
        .await;
}

fn random_key() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}
