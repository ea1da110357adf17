//! PostgreSQL: a fresh database per test in each layout that a gateway meets, and a private server to kill and pause.

mod bouncer;
mod layout;
mod server;

pub use bouncer::{PgBouncer, Pooling};
pub use layout::Layout;
pub use server::PrivatePostgres;

use crate::environment;
use crate::random;
use crate::wait::PATIENCE;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

/// An open connection. Closed when dropped.
pub struct Connection {
    /// For queries and statements.
    pub client: Client,
    _driver: JoinSet<()>,
}

/// Connects without TLS.
///
/// # Panics
/// When the server does not let us in.
pub async fn connect(url: &str) -> Connection {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("a connection to PostgreSQL");
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // An error here also fails the query that waits for an answer, which tells more.
        let _ = connection.await;
    });
    Connection {
        client,
        _driver: driver,
    }
}

/// The same URL on another loopback port, such as that of a [`FaultProxy`](crate::proxy::FaultProxy).
pub fn through(url: &str, port: u16) -> String {
    let (before, after) = url.split_once("@127.0.0.1:").expect("a URL with 127.0.0.1");
    let (_, database) = after.split_once('/').expect("a URL with a database");
    format!("{before}@127.0.0.1:{port}/{database}")
}

/// A database of one test's own, with two roles of its own. All three are dropped with it.
///
/// The owner owns the tables, so row-level security does not hold it (a June stack runs its gateway as the owner);
/// the gateway's role may only read what the layout grants and sees a row only after
/// `set_config('caracal.zone_id', ..)`.
pub struct Database {
    admin: String,
    name: String,
    password: String,
    layout: Layout,
}

impl Database {
    /// A new database on the server that all tests share.
    ///
    /// # Panics
    /// When the tests were not started by `scripts/test`.
    pub async fn create(layout: Layout) -> Self {
        Self::create_at(environment::required("TEST_DATABASE_URL"), layout).await
    }

    /// A new database on a private server.
    pub async fn create_on(server: &PrivatePostgres, layout: Layout) -> Self {
        Self::create_at(server.url(), layout).await
    }

    async fn create_at(admin: String, layout: Layout) -> Self {
        let name = format!("test_{}", random::hex());
        let password = random::hex();
        let database = Self {
            admin,
            name,
            password,
            layout,
        };
        let admin = connect(&database.admin).await;
        let (name, owner, gateway) = (&database.name, database.owner(), database.gateway());
        for role in [&owner, &gateway] {
            let sql = format!(
                "CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{}'",
                database.password
            );
            admin.client.batch_execute(&sql).await.expect("a new role");
        }
        let sql = format!("CREATE DATABASE {name} OWNER {owner}");
        admin.client.batch_execute(&sql).await.expect("a new database");
        database.execute(&layout.sql(&gateway)).await;
        database
    }

    fn owner(&self) -> String {
        format!("{}_owner", self.name)
    }

    fn gateway(&self) -> String {
        format!("{}_gateway", self.name)
    }

    fn url(&self, role: &str) -> String {
        let (_, server) = self.admin.rsplit_once('@').expect("a URL with user and password");
        let (address, _) = server.split_once('/').expect("a URL with a database");
        format!("postgres://{role}:{}@{address}/{}", self.password, self.name)
    }

    /// The URL for the role that owns the tables.
    pub fn owner_url(&self) -> String {
        self.url(&self.owner())
    }

    /// The URL for the gateway's role, which may read the layout's tables and nothing else.
    pub fn gateway_url(&self) -> String {
        self.url(&self.gateway())
    }

    /// The name of the gateway's role, for `GRANT` and `REVOKE`.
    pub fn gateway_role(&self) -> String {
        self.gateway()
    }

    /// The layout it was made with.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Runs statements as the owner.
    pub async fn execute(&self, sql: &str) {
        let connection = connect(&self.owner_url()).await;
        connection
            .client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{error:?} in {sql}"));
    }

    /// Runs one query as the owner.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let connection = connect(&self.owner_url()).await;
        connection
            .client
            .query(sql, parameters)
            .await
            .unwrap_or_else(|error| panic!("{error:?} in {sql}"))
    }

    /// Makes `resource` of `zone` reachable at `upstream_url`, for `application` where the layout has a binding
    /// table. The same resource again replaces what it had.
    pub async fn bind(&self, zone: &str, resource: &str, upstream_url: &str, application: &str) {
        self.query(
            "INSERT INTO zones (id, name) VALUES ($1, $1) ON CONFLICT DO NOTHING",
            &[&zone],
        )
        .await;
        self.query(
            "DELETE FROM resources WHERE zone_id = $1 AND identifier = $2",
            &[&zone, &resource],
        )
        .await;
        self.query(
            "INSERT INTO resources (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
             VALUES (gen_random_uuid()::text, $1, $2, $2, $3, 'provider-1')",
            &[&zone, &resource, &upstream_url],
        )
        .await;
        if self.layout.has_bindings() {
            self.query(
                "INSERT INTO gateway_resource_bindings (zone_id, resource_identifier, application_id) \
                 VALUES ($1, $2, $3) ON CONFLICT (zone_id, resource_identifier) \
                 DO UPDATE SET application_id = $3, updated_at = now()",
                &[&zone, &resource, &application],
            )
            .await;
        }
        self.announce().await;
    }

    /// Takes the binding away: its row where the layout has a binding table, else the resource is archived.
    pub async fn unbind(&self, zone: &str, resource: &str) {
        if self.layout.has_bindings() {
            let sql = "DELETE FROM gateway_resource_bindings WHERE zone_id = $1 AND resource_identifier = $2";
            self.query(sql, &[&zone, &resource]).await;
            self.announce().await;
        } else {
            self.archive(zone, resource).await;
        }
    }

    /// Archives a resource; a binding row stays.
    pub async fn archive(&self, zone: &str, resource: &str) {
        let sql = "UPDATE resources SET archived_at = now() WHERE zone_id = $1 AND identifier = $2";
        self.query(sql, &[&zone, &resource]).await;
        self.announce().await;
    }

    /// What the June stack does by hand in the transaction of each change; elsewhere triggers do it, or nobody does.
    async fn announce(&self) {
        if self.layout == Layout::June {
            self.execute("UPDATE gateway_binding_revision SET version = version + 1, updated_at = now()")
                .await;
        }
    }

    /// Writes the status of an authority record (claims `sid` and `root_sid`): `active`, `revoked` or `expired`.
    pub async fn set_authority(&self, zone: &str, id: &str, status: &str) {
        self.query(self.layout.set_authority(), &[&id, &zone, &status])
            .await;
    }

    /// Writes the status of a governed session (claim `agent_session_id`): `active`, `suspended`, `terminated` or
    /// `expired`.
    pub async fn set_session(&self, zone: &str, id: &str, status: &str) {
        self.query(self.layout.set_session(), &[&id, &zone, &status])
            .await;
    }

    /// Writes the status of a delegation edge (claim `delegation_edge_id`): `active`, `revoked` or `expired`.
    pub async fn set_edge(&self, zone: &str, id: &str, status: &str) {
        self.query(layout::SET_EDGE, &[&id, &zone, &status]).await;
    }
}

impl Drop for Database {
    /// Best effort: the server itself goes when the run ends.
    fn drop(&mut self) {
        let admin = self.admin.clone();
        let sql = [
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
            format!("DROP ROLE IF EXISTS {}", self.owner()),
            format!("DROP ROLE IF EXISTS {}", self.gateway()),
        ];
        let drop_all = async move {
            let (client, connection) = tokio_postgres::connect(&admin, NoTls).await?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                let _ = connection.await;
            });
            for statement in sql {
                client.batch_execute(&statement).await?;
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        // A runtime of its own, because the one of the test cannot wait inside a drop.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async { tokio::time::timeout(PATIENCE, drop_all).await.ok() })
        });
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests;
