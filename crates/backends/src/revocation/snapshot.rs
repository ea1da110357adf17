//! Everything that the database holds as revoked, read in one transaction.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::pin;

use admission::ports::Cause;
use futures_util::TryStreamExt as _;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::anchor::{AnchorId, Kind};
use super::pass::{MAX_WINDOW, Pass};
use crate::postgres::{expect_visible, row_stream, rows, unexpected};

/// Rows between two turns of everybody else on this thread. The runtime looks for what is due every 61 turns only, so
/// that many pieces are what a request may wait for: a millisecond.
const PIECE: usize = 32;
/// Anchors that are asked about in one query.
const ASKED_AT_ONCE: usize = 10_000;

/// What the two generations of the stack call their tables.
struct Names {
    records: &'static str,
    sessions: &'static str,
    /// Whether a record says when it was revoked.
    dated: bool,
}

const AUGUST: Names = Names {
    records: "public.authority_records",
    sessions: "public.sessions",
    dated: true,
};
const JUNE: Names = Names {
    records: "public.sessions",
    sessions: "public.agent_sessions",
    dated: false,
};
const EDGES: &str = "public.delegation_edges";

impl Names {
    fn table(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Record => self.records,
            Kind::Session => self.sessions,
            Kind::Edge => EDGES,
        }
    }

    /// The revoked rows on which a mandate may rest still: of the zones of the JSON object `$1` for so many seconds, of
    /// all others for `$2`. No join, because a planner that expects few rows would make it a loop over both.
    fn revoked(&self, kind: Kind) -> String {
        let window = "make_interval(secs => coalesce(($1::jsonb ->> zone_id)::float8, $2))";
        let since = |column: &str| {
            // The first condition follows from the second, but is cheap, and an index may serve it.
            format!("{column} > now() - make_interval(secs => $2) AND {column} > now() - {window}")
        };
        let condition = match kind {
            Kind::Record if self.dated => {
                let dated = format!("(revoked_at IS NULL OR revoked_at > now() - {window})");
                format!("status = 'revoked' AND {} AND {dated}", since("expires_at"))
            }
            Kind::Record => format!("status = 'revoked' AND {}", since("expires_at")),
            Kind::Session => format!(
                "status IN ('suspended', 'terminated', 'expired') AND {}",
                since("updated_at")
            ),
            Kind::Edge => format!("status = 'revoked' AND {}", since("revoked_at")),
        };
        let table = self.table(kind);
        format!("SELECT id, coalesce(zone_id, '') FROM {table} WHERE {condition}")
    }

    /// Those of the anchors `$1` that are active.
    fn active(&self, kind: Kind) -> String {
        let alive = match kind {
            Kind::Record => " AND expires_at > now()",
            Kind::Session | Kind::Edge => "",
        };
        let table = self.table(kind);
        format!("SELECT id FROM {table} WHERE status = 'active'{alive} AND id = ANY($1)")
    }
}

/// Reads the snapshot into `pass`.
pub(super) async fn read(client: &Client, pass: &mut Pass) -> Result<(), Cause> {
    // Promoted while it is read, it still shows what it knew as a standby.
    let began_as_standby = is_standby(client).await?;
    let names = names(client).await?;
    expect_visible(client, &[names.records, names.sessions, EDGES]).await?;
    for kind in Kind::ALL {
        revoked(client, &names.revoked(kind), kind, pass).await?;
    }
    let is_standby = began_as_standby || is_standby(client).await?;
    for kind in Kind::ALL {
        // It may not have heard yet of what was announced, so it takes no announcement back; it may well renew one.
        if kind != Kind::Session || !is_standby {
            active(client, &names.active(kind), kind, pass).await?;
        }
    }
    Ok(())
}

/// Whether this server follows another one.
async fn is_standby(client: &Client) -> Result<bool, Cause> {
    let found = rows(client, "SELECT pg_is_in_recovery()", &[]).await?;
    let row = found.first();
    row.map_or(Ok(true), |row| row.try_get(0)).map_err(unexpected)
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

async fn revoked(client: &Client, sql: &str, kind: Kind, pass: &mut Pass) -> Result<(), Cause> {
    let (windows, longest) = (pass.windows(), MAX_WINDOW.as_secs_f64());
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&windows, Type::TEXT), (&longest, Type::FLOAT8)];
    let mut found = pin!(row_stream(client, sql, &parameters).await?);
    let mut taken = 0;
    while let Some(row) = found.try_next().await.map_err(unexpected)? {
        pass.row(kind, text(&row, 0)?, text(&row, 1)?).await;
        taken += 1;
        if taken % PIECE == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn active(client: &Client, sql: &str, kind: Kind, pass: &Pass) -> Result<(), Cause> {
    let mut asked = HashMap::new();
    for shard in 0.. {
        let part = pass.asked(kind, shard);
        let is_last = part.is_none();
        asked.extend(part.into_iter().flatten());
        if asked.len() >= ASKED_AT_ONCE || is_last && !asked.is_empty() {
            those(client, sql, kind, &asked, pass).await?;
            asked.clear();
        }
        if is_last {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn those(
    client: &Client,
    sql: &str,
    kind: Kind,
    asked: &HashMap<AnchorId, NonZeroU32>,
    pass: &Pass,
) -> Result<(), Cause> {
    let ids: Vec<String> = asked.keys().map(ToString::to_string).collect();
    for row in rows(client, sql, &[(&ids, Type::TEXT_ARRAY)]).await? {
        let id = text(&row, 0)?.into();
        if let Some(number) = asked.get(&id) {
            pass.active(kind, &id, *number);
        }
    }
    Ok(())
}

fn text(row: &Row, column: usize) -> Result<&str, Cause> {
    row.try_get(column).map_err(unexpected)
}
