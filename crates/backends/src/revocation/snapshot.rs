//! Everything that the database holds as revoked, read in one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use admission::ports::Cause;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::anchor::PerKind;
use crate::postgres::{expect_visible, rows, unexpected};

/// What the database says.
#[derive(Default)]
pub(super) struct Snapshot {
    /// What is revoked. Rows older than any mandate that rests on them are left out.
    pub(super) revoked: PerKind<Vec<String>>,
    /// Those of the anchors asked about that are active.
    pub(super) active: PerKind<HashSet<String>>,
}

/// An announced anchor, and the number of its announcement.
pub(super) type Announced = (Arc<str>, u64);

/// Announced anchors of which it matters whether they are active: all sessions, and those records and edges whose
/// announcement has run out.
pub(super) type Asked = PerKind<Vec<Announced>>;

/// What the two generations of the stack call their tables.
struct Names {
    records: &'static str,
    sessions: &'static str,
}

const AUGUST: Names = Names {
    records: "public.authority_records",
    sessions: "public.sessions",
};
const JUNE: Names = Names {
    records: "public.sessions",
    sessions: "public.agent_sessions",
};
const EDGES: &str = "public.delegation_edges";

/// Reads the snapshot; more than `limit` rows of one kind are an error.
pub(super) async fn read(client: &Client, asked: &Asked, limit: usize) -> Result<Snapshot, Cause> {
    let names = names(client).await?;
    expect_visible(client, &[names.records, names.sessions, EDGES]).await?;
    let Names { records, sessions } = names;
    let alive = format!("{records} WHERE status = 'active' AND expires_at > now()");
    let running = format!("{sessions} WHERE status = 'active'");
    let held = format!("{EDGES} WHERE status = 'active'");
    let active = PerKind {
        records: those(client, &alive, &asked.records).await?,
        sessions: those(client, &running, &asked.sessions).await?,
        edges: those(client, &held, &asked.edges).await?,
    };
    let records = format!("{records} WHERE status = 'revoked' AND expires_at > now() - interval '24 hours'");
    let sessions = format!(
        "{sessions} WHERE status IN ('suspended', 'terminated', 'expired') \
         AND updated_at > now() - interval '24 hours'"
    );
    let edges = format!("{EDGES} WHERE status = 'revoked' AND revoked_at > now() - interval '24 hours'");
    let revoked = PerKind {
        records: ids(client, &records, limit).await?,
        sessions: ids(client, &sessions, limit).await?,
        edges: ids(client, &edges, limit).await?,
    };
    Ok(Snapshot { revoked, active })
}

async fn names(client: &Client) -> Result<Names, Cause> {
    let sql = "SELECT to_regclass('public.authority_records') IS NOT NULL, \
               to_regclass('public.agent_sessions') IS NOT NULL";
    let found = rows(client, sql, &[]).await?;
    let row = found.first();
    let exists = |column| row.is_some_and(|row| row.try_get(column).unwrap_or(false));
    if exists(0) {
        Ok(AUGUST)
    } else if exists(1) {
        Ok(JUNE)
    } else {
        Err(Cause::new(
            "postgres: neither authority_records nor agent_sessions exists",
        ))
    }
}

async fn ids(client: &Client, from: &str, limit: usize) -> Result<Vec<String>, Cause> {
    let sql = format!("SELECT id FROM {from} LIMIT {}", limit.saturating_add(1));
    let found = rows(client, &sql, &[]).await?;
    if found.len() > limit {
        return Err(Cause::new(format!("more than {limit} revoked rows in {from}")));
    }
    first_column(&found)
}

async fn those(client: &Client, from: &str, asked: &[Announced]) -> Result<HashSet<String>, Cause> {
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let asked: Vec<&str> = asked.iter().map(|(id, _)| &**id).collect();
    let sql = format!("SELECT id FROM {from} AND id = ANY($1)");
    let found = rows(client, &sql, &[(&asked, Type::TEXT_ARRAY)]).await?;
    Ok(first_column(&found)?.into_iter().collect())
}

fn first_column(rows: &[tokio_postgres::Row]) -> Result<Vec<String>, Cause> {
    rows.iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()
        .map_err(unexpected)
}
