//! The database of a stand-alone installation: its schema, and its bindings as an operator writes them.
//!
//! The gateway itself only reads. These run as a role that owns the tables, from the commands `migrate` and `binding`.

use std::time::Duration;

use admission::binding::{Application, Binding};
use admission::ports::Cause;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::postgres::{PostgresConnector, execute, rows, unexpected};

/// How long one command may wait for the database.
const TIMEOUT: Duration = Duration::from_secs(60);
const SCHEMA: &str = include_str!("stand_alone/schema.sql");
/// What the schema holds, besides the table that says whose it is.
const TABLES: [&str; 7] = [
    "zones",
    "resources",
    "gateway_resource_bindings",
    "gateway_binding_revision",
    "authority_records",
    "sessions",
    "delegation_edges",
];

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StandAloneError {
    /// Tables are there that `migrate` did not make.
    #[error(
        "this database has tables that `caracal-gateway migrate` did not make ({}): a Caracal stack owns it, and its \
         own migrations and console change it; give the gateway a database of its own",
        .0.join(", ")
    )]
    Foreign(Vec<String>),
    /// The schema is not there.
    #[error("this database has no schema yet: run `caracal-gateway migrate` first")]
    NotMigrated,
    /// A name that no request could ever use.
    #[error("{0}")]
    Name(Cause),
    /// The database failed, or refused.
    #[error("{0}")]
    Database(Cause),
}

impl From<Cause> for StandAloneError {
    fn from(cause: Cause) -> Self {
        Self::Database(cause)
    }
}

/// Makes the schema, or brings it up to date; where `reader` is given, that role may read what the gateway reads.
///
/// # Errors
/// [`StandAloneError::Foreign`], [`StandAloneError::Database`].
pub async fn migrate(database: &PostgresConnector, reader: Option<&str>) -> Result<(), StandAloneError> {
    transaction(database, async |client| {
        match owner(client).await? {
            Owner::Stack(tables) => return Err(StandAloneError::Foreign(tables)),
            Owner::Nobody | Owner::Gateway => {}
        }
        execute(client, SCHEMA).await?;
        if let Some(reader) = reader {
            let tables: Vec<_> = TABLES.iter().map(|table| format!("public.{table}")).collect();
            let role = reader.replace('"', "\"\"");
            let grant = format!("GRANT SELECT ON {} TO \"{role}\"", tables.join(", "));
            execute(client, &grant).await?;
        }
        Ok(())
    })
    .await
}

/// Adds a binding, or replaces the one of its zone and resource. Whether its upstream may be dialled is for the caller to
/// judge first.
///
/// # Errors
/// [`StandAloneError`].
pub async fn add(database: &PostgresConnector, binding: &Binding) -> Result<(), StandAloneError> {
    binding.nameable().map_err(StandAloneError::Name)?;
    let Application::Bound(application) = &binding.application else {
        return Err(StandAloneError::Name(Cause::new("the application is missing")));
    };
    let (zone, resource, url) = (&binding.zone_id, &binding.resource, binding.upstream_url.as_str());
    transaction(database, async |client| {
        ours(client).await?;
        let add = "INSERT INTO public.zones (id, name) VALUES ($1, $1) ON CONFLICT DO NOTHING";
        texts(client, add, &[zone]).await?;
        let add = "INSERT INTO public.resources \
                (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
             VALUES (gen_random_uuid()::text, $1, $2, $2, $3, 'stand-alone') \
             ON CONFLICT (zone_id, identifier) WHERE archived_at IS NULL \
             DO UPDATE SET upstream_url = EXCLUDED.upstream_url, updated_at = now()";
        texts(client, add, &[zone, resource, url]).await?;
        let add = "INSERT INTO public.gateway_resource_bindings (zone_id, resource_identifier, application_id) \
             VALUES ($1, $2, $3) ON CONFLICT (zone_id, resource_identifier) \
             DO UPDATE SET application_id = EXCLUDED.application_id, updated_at = now()";
        texts(client, add, &[zone, resource, application]).await?;
        Ok(())
    })
    .await
}

/// Takes a binding away. Whether there was one.
///
/// # Errors
/// [`StandAloneError`].
pub async fn remove(
    database: &PostgresConnector,
    zone: &str,
    resource: &str,
) -> Result<bool, StandAloneError> {
    transaction(database, async |client| {
        ours(client).await?;
        let bound = "DELETE FROM public.gateway_resource_bindings WHERE zone_id = $1 AND resource_identifier = $2 \
             RETURNING 1";
        let removed = texts(client, bound, &[zone, resource]).await?;
        let served = "DELETE FROM public.resources \
             WHERE zone_id = $1 AND identifier = $2 AND archived_at IS NULL";
        texts(client, served, &[zone, resource]).await?;
        Ok(removed > 0)
    })
    .await
}

/// Every binding, by zone and resource.
///
/// # Errors
/// [`StandAloneError`].
pub async fn list(database: &PostgresConnector) -> Result<Vec<Binding>, StandAloneError> {
    transaction(database, async |client| {
        ours(client).await?;
        let sql = "SELECT b.zone_id, b.resource_identifier, coalesce(r.upstream_url, ''), b.application_id \
             FROM public.gateway_resource_bindings b LEFT JOIN public.resources r \
                 ON r.zone_id = b.zone_id AND r.identifier = b.resource_identifier AND r.archived_at IS NULL \
             ORDER BY b.zone_id, b.resource_identifier";
        let found = rows(client, sql, &[]).await?;
        let binding = |row: &tokio_postgres::Row| {
            Ok(Binding {
                zone_id: row.try_get(0)?,
                resource: row.try_get(1)?,
                upstream_url: row.try_get::<_, &str>(2)?.into(),
                application: Application::Bound(row.try_get(3)?),
            })
        };
        let all: Result<_, _> = found.iter().map(binding).collect();
        Ok(all.map_err(unexpected)?)
    })
    .await
}

/// Whose the database is.
enum Owner {
    Nobody,
    Gateway,
    /// The tables that say so.
    Stack(Vec<String>),
}

async fn owner(client: &Client) -> Result<Owner, Cause> {
    // The table of a stack's secrets is in no database of ours.
    let sql = "SELECT to_regclass('public.gateway_schema') IS NOT NULL AND to_regclass('public.secrets') IS NULL, \
         ARRAY(SELECT name FROM unnest($1) name WHERE to_regclass('public.' || name) IS NOT NULL)";
    let tables: Vec<&str> = TABLES.iter().copied().chain(["secrets"]).collect();
    let found = rows(client, sql, &[(&tables, Type::TEXT_ARRAY)]).await?;
    let row = found.first().ok_or_else(|| Cause::new("postgres: no answer"))?;
    let (ours, there): (bool, Vec<String>) = (
        row.try_get(0).map_err(unexpected)?,
        row.try_get(1).map_err(unexpected)?,
    );
    Ok(match (ours, there.is_empty()) {
        (true, _) => Owner::Gateway,
        (false, true) => Owner::Nobody,
        (false, false) => Owner::Stack(there),
    })
}

async fn ours(client: &Client) -> Result<(), StandAloneError> {
    match owner(client).await? {
        Owner::Gateway => Ok(()),
        Owner::Nobody => Err(StandAloneError::NotMigrated),
        Owner::Stack(tables) => Err(StandAloneError::Foreign(tables)),
    }
}

/// Runs one statement with text parameters; how many rows it returned.
async fn texts(client: &Client, sql: &str, parameters: &[&str]) -> Result<usize, Cause> {
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> = parameters
        .iter()
        .map(|text| (text as &(dyn ToSql + Sync), Type::TEXT))
        .collect();
    Ok(rows(client, sql, &parameters).await?.len())
}

/// Does some work in one transaction, one such at a time in this database, for every zone.
async fn transaction<T>(
    database: &PostgresConnector,
    work: impl AsyncFnOnce(&Client) -> Result<T, StandAloneError>,
) -> Result<T, StandAloneError> {
    let mut session = database.connect().await?;
    let all = session.run(TIMEOUT, async |client| {
        let begin = "BEGIN; SELECT pg_advisory_xact_lock(hashtext('caracal-gateway')); \
             SELECT set_config('caracal.zone_id', '*', true)";
        execute(client, begin).await?;
        let done = work(client).await;
        // Without this the end of the connection undoes everything.
        if done.is_ok() {
            execute(client, "COMMIT").await?;
        }
        Ok(done)
    });
    all.await?
}
