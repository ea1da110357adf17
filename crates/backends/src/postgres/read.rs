//! Read transactions that see every zone, or fail.

use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, Clock};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, RowStream};

use super::{PostgresConnector, Session, cause};
use crate::component::milliseconds;

/// One reader's connection, made when it is needed and made again after a failure.
pub(crate) struct Reader {
    connector: PostgresConnector,
    clock: Arc<dyn Clock>,
    /// And the monotonic time at which it was made.
    open: Option<(Session, Duration)>,
    connections: u64,
}

impl Reader {
    pub(crate) fn new(connector: PostgresConnector, clock: Arc<dyn Clock>) -> Self {
        Self {
            connector,
            clock,
            open: None,
            connections: 0,
        }
    }

    /// How many connections were made so far. Another one may lead to another server.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// Runs `work` inside one read transaction on one connection, within the read timeout.
    pub(crate) async fn read<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        let limit = self.connector.read_timeout;
        let (mut session, since) = match self.usable() {
            Some(open) => open,
            None => {
                let session = self.connector.connect().await?;
                self.connections += 1;
                (session, self.clock.now().monotonic)
            }
        };
        let done = session
            .run(limit, async |client| read_transaction(client, limit, work).await)
            .await?;
        // Only after success: a failed one may be in the middle of anything.
        self.open = Some((session, since));
        Ok(done)
    }

    /// The connection of before, unless it is too old or the server has closed it.
    fn usable(&mut self) -> Option<(Session, Duration)> {
        let (mut session, since) = self.open.take()?;
        let age = self.clock.now().monotonic.saturating_sub(since);
        let young = age < self.connector.max_lifetime;
        (young && !session.closed()).then_some((session, since))
    }
}

/// Runs `work` inside one read-only transaction that sees every zone.
///
/// The zone is set inside the transaction and asked back, because a pooling proxy may give every
/// transaction another server connection and forget what was set before.
async fn read_transaction<T>(
    client: &Client,
    limit: Duration,
    work: impl AsyncFnOnce(&Client) -> Result<T, Cause>,
) -> Result<T, Cause> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
        milliseconds(limit)
    );
    client
        .batch_execute(&begin)
        .await
        .map_err(|error| cause("begin", &error))?;
    rows(client, "SELECT set_config('caracal.zone_id', '*', true)", &[]).await?;
    let set = rows(client, "SELECT current_setting('caracal.zone_id', true)", &[]).await?;
    let zone: Option<String> = match set.first() {
        Some(row) => row.try_get(0).map_err(|error| cause("zone", &error))?,
        None => None,
    };
    if zone.as_deref() != Some("*") {
        return Err(Cause::new(
            "postgres: caracal.zone_id does not hold within the transaction",
        ));
    }
    let done = work(client).await?;
    client
        .batch_execute("COMMIT")
        .await
        .map_err(|error| cause("commit", &error))?;
    Ok(done)
}

/// One query in one round trip, without a named statement that a pooling proxy would lose.
pub(crate) async fn rows(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Cause> {
    client
        .query_typed(sql, parameters)
        .await
        .map_err(|error| cause("query", &error))
}

/// The same, row by row as they come.
pub(crate) async fn row_stream(
    client: &Client,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<RowStream, Cause> {
    let parameters = parameters.iter().map(|(value, of)| (*value, of.clone()));
    client
        .query_typed_raw(sql, parameters)
        .await
        .map_err(|error| cause("query", &error))
}

/// Statements in one message, without parameters and answers.
pub(crate) async fn execute(client: &Client, sql: &str) -> Result<(), Cause> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| cause("statement", &error))
}

/// Fails when a table shows no row at all and row-level security may be the reason: it is in force for
/// our role, and no permissive policy of the table lets the zone `*` see everything, or a restrictive one keeps it out.
pub(crate) async fn expect_visible(client: &Client, tables: &[&str]) -> Result<(), Cause> {
    for table in tables {
        let sql = format!(
            "WITH policy AS ( \
                 SELECT p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS condition FROM pg_policy p \
                 WHERE p.polrelid = '{table}'::regclass AND p.polcmd IN ('*', 'r') \
                   AND (p.polroles = '{{0}}' OR EXISTS ( \
                       SELECT 1 FROM unnest(p.polroles) role WHERE pg_has_role(role, 'USAGE')))), \
             judged AS (SELECT polpermissive, condition = 'true' OR condition LIKE '%''*''%' AS lets, \
                 condition = 'false' OR condition ~* 'zone|user|role' AS by_role FROM policy) \
             SELECT 1 WHERE row_security_active('{table}') \
             AND NOT EXISTS (SELECT 1 FROM {table}) \
             AND (NOT EXISTS (SELECT 1 FROM judged WHERE polpermissive AND lets) \
                  OR EXISTS (SELECT 1 FROM judged WHERE NOT polpermissive AND NOT lets AND by_role))"
        );
        if !rows(client, &sql, &[]).await?.is_empty() {
            return Err(Cause::new(format!(
                "postgres: row-level security hides every row of {table} from this role"
            )));
        }
    }
    Ok(())
}
