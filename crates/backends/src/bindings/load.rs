//! The queries.

use std::collections::HashMap;
use std::sync::Arc;

use admission::binding::{Application, Binding};
use admission::ports::Cause;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::changes::Probe;
use super::lookup::Key;
use super::snapshot::Snapshot;
use crate::postgres::{execute, expect_visible, rows, unexpected};

/// How many rows are read and taken in at a time: they do not all lie in memory, and others on this thread have their
/// turn in between.
const PIECE: usize = 1000;
/// Row-level security hides from the planner how many rows there are, and row by row takes twice as long.
const WHOLE: &str = "SET LOCAL enable_nestloop = off; SET LOCAL cursor_tuple_fraction = 1;";

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

/// Which state the tables are in. A number alone would not tell: a standby that was promoted and a backup that was
/// restored may have lost some, and count on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) version: i64,
    /// When it was made; none where the table does not say.
    pub(super) made_at: Option<String>,
}

/// Everything, as of one moment.
pub(super) struct Loaded {
    /// The revision, where triggers keep it and tell of every change.
    pub(super) kept_revision: Option<Revision>,
    pub(super) snapshot: Snapshot,
}

const BOUND: &str = "SELECT b.zone_id, b.resource_identifier, r.upstream_url, b.application_id \
     FROM public.gateway_resource_bindings b \
     JOIN public.resources r ON r.zone_id = b.zone_id AND r.identifier = b.resource_identifier \
     WHERE r.archived_at IS NULL AND r.upstream_url IS NOT NULL AND r.upstream_url <> ''";
const FROM_TOKEN: &str = "SELECT r.zone_id, r.identifier, r.upstream_url, NULL \
     FROM public.resources r \
     WHERE r.archived_at IS NULL AND r.upstream_url IS NOT NULL AND r.upstream_url <> ''";
/// What follows either, for some of the resources.
const OF: &str = " AND (r.zone_id, r.identifier) IN (SELECT * FROM unnest($1, $2))";
/// Whether every kind of change of both tables has a trigger; the bits are PostgreSQL's for them.
const SHAPE: &str = "SELECT to_regclass('public.gateway_resource_bindings') IS NOT NULL, \
     to_regclass('public.gateway_binding_revision') IS NOT NULL, \
     2 = (SELECT count(*) FROM (SELECT 1 FROM pg_trigger \
          WHERE tgrelid IN (to_regclass('public.gateway_resource_bindings'), to_regclass('public.resources')) \
            AND tgname LIKE 'gateway\\_bindings\\_changed%' AND tgenabled IN ('O', 'A') \
          GROUP BY tgrelid HAVING bit_or(tgtype) & 60 = 60) told)";
const REVISION: &str =
    "SELECT version, to_jsonb(kept) ->> 'updated_at' FROM public.gateway_binding_revision kept WHERE id";

/// Reads everything; more than `limit` bindings are an error. What is as it was `before` is shared with it.
pub(super) async fn all(client: &Client, limit: usize, before: &Snapshot) -> Result<Loaded, Cause> {
    let shape = shape(client).await?;
    let query = visible(client, shape).await?;
    let declare = format!("{WHOLE} DECLARE bindings NO SCROLL CURSOR FOR {query}");
    execute(client, &declare).await?;
    let fetch = format!("FETCH {PIECE} FROM bindings");
    let mut snapshot = Snapshot::default();
    loop {
        let piece = rows(client, &fetch, &[]).await?;
        for row in &piece {
            snapshot.add(binding(row, before)?);
        }
        if snapshot.len() > limit {
            return Err(Cause::new(format!("more than {limit} bindings")));
        }
        if piece.len() < PIECE {
            break;
        }
    }
    Ok(Loaded {
        kept_revision: kept(client, shape).await?,
        snapshot,
    })
}

/// Reads some of the bindings.
pub(super) async fn some(
    client: &Client,
    keys: &[Key],
    before: &Snapshot,
) -> Result<HashMap<Key, Arc<Binding>>, Cause> {
    let shape = shape(client).await?;
    let query = visible(client, shape).await?;
    let (zones, resources): (Vec<&str>, Vec<&str>) = keys
        .iter()
        .map(|(zone, resource)| (zone.as_str(), resource.as_str()))
        .unzip();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&zones, Type::TEXT_ARRAY), (&resources, Type::TEXT_ARRAY)];
    let mut found = HashMap::new();
    for row in rows(client, &format!("{query}{OF}"), &parameters).await? {
        let binding = binding(&row, before)?;
        found.insert((binding.zone_id.clone(), binding.resource.clone()), binding);
    }
    Ok(found)
}

/// The revision, if it exists and triggers keep it: only then it tells whether anything changed.
pub(super) async fn kept_revision(client: &Client) -> Result<Option<Revision>, Cause> {
    kept(client, shape(client).await?).await
}

/// Sends a notification; a read-only transaction may, a standby may not.
pub(super) async fn notify(client: &Client, probe: &Probe) -> Result<(), Cause> {
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&probe.channel, Type::TEXT), (&probe.payload, Type::TEXT)];
    rows(client, "SELECT pg_notify($1, $2)", &parameters).await?;
    Ok(())
}

async fn kept(client: &Client, shape: Shape) -> Result<Option<Revision>, Cause> {
    if !(shape.triggers && shape.revision) {
        return Ok(None);
    }
    let found = rows(client, REVISION, &[]).await?;
    let revision = |row: &Row| {
        Ok(Revision {
            version: row.try_get(0).map_err(unexpected)?,
            made_at: row.try_get(1).map_err(unexpected)?,
        })
    };
    found.first().map(revision).transpose()
}

async fn shape(client: &Client) -> Result<Shape, Cause> {
    let found = rows(client, SHAPE, &[]).await?;
    let row = found.first().ok_or_else(|| Cause::new("postgres: no answer"))?;
    let fact = |column: usize| row.try_get::<_, bool>(column).map_err(unexpected);
    Ok(Shape {
        table: fact(0)?,
        revision: fact(1)?,
        triggers: fact(2)?,
    })
}

/// The query for all bindings, where no table is hidden from us.
async fn visible(client: &Client, shape: Shape) -> Result<&'static str, Cause> {
    let (tables, query): (&[&str], _) = if shape.table {
        (&["public.gateway_resource_bindings", "public.resources"], BOUND)
    } else {
        (&["public.resources"], FROM_TOKEN)
    };
    expect_visible(client, tables).await?;
    Ok(query)
}

/// The binding of a row: the one of `before` where nothing of it changed, with its URL parsed.
fn binding(row: &Row, before: &Snapshot) -> Result<Arc<Binding>, Cause> {
    let text = |column: usize| row.try_get::<_, &str>(column).map_err(unexpected);
    let (zone, resource, url) = (text(0)?, text(1)?, text(2)?);
    let application: Option<&str> = row.try_get(3).map_err(unexpected)?;
    let same = |known: &&Arc<Binding>| {
        let bound = match &known.application {
            Application::Bound(id) => Some(id.as_str()),
            Application::FromToken => None,
        };
        known.upstream_url.as_str() == url && bound == application
    };
    if let Some(known) = before.find(zone, resource).filter(same) {
        return Ok(Arc::clone(known));
    }
    Ok(Arc::new(Binding {
        zone_id: zone.to_owned(),
        resource: resource.to_owned(),
        upstream_url: url.into(),
        application: application.map_or(Application::FromToken, |id| Application::Bound(id.to_owned())),
    }))
}
