//! The queries.

use admission::binding::{Application, Binding};
use admission::ports::Cause;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::postgres::{expect_visible, rows, unexpected};

/// What the database has besides bindings.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// `gateway_resource_bindings`: the binding names the application.
    table: bool,
    /// `gateway_binding_revision`.
    revision: bool,
    /// Triggers on both tables that keep the revision and notify.
    triggers: bool,
}

/// Everything, as of one moment.
pub(super) struct Loaded {
    /// Whether triggers tell of every change.
    pub(super) triggers: bool,
    pub(super) revision: Option<i64>,
    pub(super) bindings: Vec<Binding>,
}

const BOUND: &str = "SELECT b.zone_id, b.resource_identifier, r.upstream_url, b.application_id \
     FROM public.gateway_resource_bindings b \
     JOIN public.resources r ON r.zone_id = b.zone_id AND r.identifier = b.resource_identifier \
     WHERE r.archived_at IS NULL AND r.upstream_url IS NOT NULL AND r.upstream_url <> ''";
const FROM_TOKEN: &str = "SELECT r.zone_id, r.identifier, r.upstream_url, NULL \
     FROM public.resources r \
     WHERE r.archived_at IS NULL AND r.upstream_url IS NOT NULL AND r.upstream_url <> ''";

/// Reads everything; more than `limit` bindings are an error.
pub(super) async fn all(client: &Client, limit: usize) -> Result<Loaded, Cause> {
    let shape = shape(client).await?;
    let (tables, query): (&[&str], _) = if shape.table {
        (&["public.gateway_resource_bindings", "public.resources"], BOUND)
    } else {
        (&["public.resources"], FROM_TOKEN)
    };
    expect_visible(client, tables).await?;
    let sql = format!("{query} LIMIT {}", limit.saturating_add(1));
    let found = rows(client, &sql, &[]).await?;
    if found.len() > limit {
        return Err(Cause::new(format!("more than {limit} bindings")));
    }
    Ok(Loaded {
        triggers: shape.triggers,
        revision: revision(client, shape).await?,
        bindings: found.iter().map(binding).collect::<Result<_, _>>()?,
    })
}

/// Reads one binding.
pub(super) async fn one(client: &Client, zone: &str, resource: &str) -> Result<Option<Binding>, Cause> {
    let query = if shape(client).await?.table {
        format!("{BOUND} AND b.zone_id = $1 AND b.resource_identifier = $2")
    } else {
        format!("{FROM_TOKEN} AND r.zone_id = $1 AND r.identifier = $2")
    };
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&zone, Type::TEXT), (&resource, Type::TEXT)];
    let found = rows(client, &query, &parameters).await?;
    found.first().map(binding).transpose()
}

/// The revision, if it exists and triggers keep it: only then it tells whether anything changed.
pub(super) async fn kept_revision(client: &Client) -> Result<Option<i64>, Cause> {
    let shape = shape(client).await?;
    if shape.triggers {
        revision(client, shape).await
    } else {
        Ok(None)
    }
}

async fn revision(client: &Client, shape: Shape) -> Result<Option<i64>, Cause> {
    if !shape.revision {
        return Ok(None);
    }
    let found = rows(
        client,
        "SELECT version FROM public.gateway_binding_revision WHERE id",
        &[],
    )
    .await?;
    found
        .first()
        .map(|row| row.try_get(0).map_err(unexpected))
        .transpose()
}

async fn shape(client: &Client) -> Result<Shape, Cause> {
    let sql = "SELECT to_regclass('public.gateway_resource_bindings') IS NOT NULL, \
         to_regclass('public.gateway_binding_revision') IS NOT NULL, \
         2 = (SELECT count(DISTINCT tgrelid) FROM pg_trigger \
              WHERE tgrelid IN (to_regclass('public.gateway_resource_bindings'), to_regclass('public.resources')) \
                AND tgname = 'gateway_bindings_changed' AND tgenabled IN ('O', 'A'))";
    let found = rows(client, sql, &[]).await?;
    let row = found.first().ok_or_else(|| Cause::new("postgres: no answer"))?;
    let fact = |column: usize| row.try_get::<_, bool>(column).map_err(unexpected);
    Ok(Shape {
        table: fact(0)?,
        revision: fact(1)?,
        triggers: fact(2)?,
    })
}

fn binding(row: &Row) -> Result<Binding, Cause> {
    let application: Option<String> = row.try_get(3).map_err(unexpected)?;
    Ok(Binding {
        zone_id: row.try_get(0).map_err(unexpected)?,
        resource: row.try_get(1).map_err(unexpected)?,
        upstream_url: row.try_get::<_, &str>(2).map_err(unexpected)?.into(),
        application: application.map_or(Application::FromToken, Application::Bound),
    })
}
