//! What is read when the database announces a change, and that this is enough.

use backends::bindings::BindingsConfig;
use testkit::postgres::{Database, Layout, connect};
use testkit::wait::until;

use crate::contract::bindings::found;
use crate::support::{BindingsUnderTest, ON_DEMAND};

/// More than any read of a few bindings looks at.
const MANY: u64 = 5000;

struct Stack {
    database: Database,
    under_test: BindingsUnderTest,
}

impl Stack {
    /// With a binding `resource://0` and so on for each number, and the database heard.
    async fn start(bindings: u64) -> Self {
        let database = Database::create(Layout::StandAlone).await;
        insert(&database, 0, bindings).await;
        database.execute("ANALYZE").await;
        let config = BindingsConfig {
            reload_every: ON_DEMAND,
            probe_every: ON_DEMAND,
            ..BindingsConfig::default()
        };
        let under_test = BindingsUnderTest::with(&database.gateway_url(), config);
        until("the database to tell of changes", async || {
            under_test.bindings.status().notified.then_some(())
        })
        .await;
        Self { database, under_test }
    }

    async fn settle(&self, resource: u64, url: Option<&str>) {
        let resource = format!("resource://{resource}");
        until(&format!("{resource} to be {url:?}"), async || {
            let now = found(&*self.under_test.bindings, "zone", &resource).await;
            (now.as_deref() == url).then_some(())
        })
        .await;
    }

    /// The revision in the database.
    async fn revision(&self) -> i64 {
        let sql = "SELECT version FROM gateway_binding_revision";
        self.database.query(sql, &[]).await[0].get(0)
    }

    fn reloads(&self) -> u64 {
        self.under_test.bindings.status().reloads
    }
}

/// Inserts bindings with one statement for each table.
async fn insert(database: &Database, from: u64, to: u64) {
    let last = to - 1;
    let sql = format!(
        "INSERT INTO zones VALUES ('zone', 'zone') ON CONFLICT DO NOTHING; \
         INSERT INTO resources (id, zone_id, name, identifier, upstream_url, credential_provider_id) \
             SELECT n::text, 'zone', n::text, 'resource://' || n, 'https://first.example', 'p' \
             FROM generate_series({from}, {last}) n; \
         INSERT INTO gateway_resource_bindings (zone_id, resource_identifier, application_id) \
             SELECT 'zone', 'resource://' || n, 'app' FROM generate_series({from}, {last}) n"
    );
    database.execute(&sql).await;
}

fn moved(resource: u64, url: &str) -> String {
    format!("UPDATE resources SET upstream_url = '{url}' WHERE id = '{resource}'")
}

#[tokio::test]
async fn announced_bindings_are_read_and_no_others() {
    let stack = Stack::start(3).await;
    let reloads = stack.reloads();
    let (a, b) = ("https://a.example", "https://b.example");
    stack.database.execute(&moved(0, a)).await;
    stack.settle(0, Some(a)).await;
    // Several statements of one transaction, and transactions one after the other.
    stack
        .database
        .execute(&[moved(1, a), moved(1, b), moved(2, a)].join("; "))
        .await;
    stack.settle(1, Some(b)).await;
    stack.settle(2, Some(a)).await;
    stack
        .database
        .execute("DELETE FROM gateway_resource_bindings WHERE resource_identifier = 'resource://0'")
        .await;
    stack.settle(0, None).await;
    stack
        .database
        .execute("UPDATE resources SET identifier = 'resource://7' WHERE id = '2'")
        .await;
    stack.settle(2, None).await;
    insert(&stack.database, 10, 12).await;
    stack.settle(11, Some("https://first.example")).await;
    stack.settle(10, Some("https://first.example")).await;
    let status = stack.under_test.bindings.status();
    assert_eq!(status.reloads, reloads, "nothing else was read");
    assert_eq!(status.loaded, 3, "{status:?}");
    assert!(status.announced >= 7, "{status:?}");
}

#[tokio::test]
async fn change_that_is_not_told_row_by_row_has_everything_read() {
    let stack = Stack::start(1).await;
    let mut reloads = stack.reloads();
    let mut grown = |what: &str| {
        assert!(stack.reloads() > reloads, "{what}");
        reloads = stack.reloads();
    };
    // More rows than a notification names.
    insert(&stack.database, 1, 200).await;
    stack.settle(199, Some("https://first.example")).await;
    grown("many rows");
    // A change that nobody tells of, and then one that somebody does: a revision is missing between them.
    let silent = moved(5, "https://silent.example");
    let silent = format!(
        "ALTER TABLE resources DISABLE TRIGGER USER; {silent}; \
         UPDATE gateway_binding_revision SET version = version + 1; \
         ALTER TABLE resources ENABLE TRIGGER USER; {}",
        moved(6, "https://told.example")
    );
    stack.database.execute(&silent).await;
    stack.settle(6, Some("https://told.example")).await;
    stack.settle(5, Some("https://silent.example")).await;
    grown("a revision that is missing");
    // Somebody else's trigger, which says nothing.
    let plain = format!(
        "ALTER TABLE resources DISABLE TRIGGER USER; {}; NOTIFY caracal_gateway_bindings; \
         ALTER TABLE resources ENABLE TRIGGER USER",
        moved(7, "https://plain.example")
    );
    stack.database.execute(&plain).await;
    stack.settle(7, Some("https://plain.example")).await;
    grown("an empty notification");
    stack.database.execute("TRUNCATE resources").await;
    stack.settle(0, None).await;
    grown("an empty table");
}

#[tokio::test]
async fn announced_bindings_are_found_by_index() {
    let stack = Stack::start(MANY).await;
    for resource in 0..20 {
        let url = format!("https://{resource}.example");
        stack.database.execute(&moved(resource, &url)).await;
        stack.settle(resource, Some(&url)).await;
    }
    let reloads = stack.reloads();
    let Stack { database, under_test } = stack;
    drop(under_test);
    // A connection tells what it has read when it ends.
    let admin = connect(&database.owner_url()).await;
    for table in ["resources", "gateway_resource_bindings"] {
        let sql = format!(
            "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = '{table}' AND NOT EXISTS \
             (SELECT 1 FROM pg_stat_activity WHERE application_name = 'caracal-gateway')"
        );
        let read: i64 = until("the gateway's connections to be closed", async || {
            let rows = admin.client.query(&sql, &[]).await.ok()?;
            rows.first().map(|row| row.get(0))
        })
        .await;
        let read = u64::try_from(read).unwrap();
        assert!(
            read < (reloads + 2) * MANY,
            "{table}: {read} rows, {reloads} reloads"
        );
    }
}

#[tokio::test]
async fn changes_in_a_row_end_with_what_the_database_holds() {
    let stack = Stack::start(50).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u64 {
        let url = stack.database.owner_url();
        writers.spawn(async move {
            let connection = connect(&url).await;
            for round in 0..50_u64 {
                let resource = (writer * 7 + round) % 50;
                let url = format!("https://{writer}-{round}.example");
                connection
                    .client
                    .batch_execute(&moved(resource, &url))
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
    let rows = stack
        .database
        .query("SELECT identifier, upstream_url FROM resources", &[])
        .await;
    for row in rows {
        let (resource, url): (String, String) = (row.get(0), row.get(1));
        until(&format!("{resource} to be {url}"), async || {
            let now = found(&*stack.under_test.bindings, "zone", &resource).await;
            (now.as_deref() == Some(url.as_str())).then_some(())
        })
        .await;
    }
    assert!(stack.under_test.bindings.status().notified);
    assert!(stack.under_test.bindings.status().error.is_none());
}

/// What a change of one binding would announce.
fn word(revision: i64, resource: u64) -> String {
    format!(
        "SELECT pg_notify('caracal_gateway_bindings', \
             '{{\"revision\": {revision}, \"changed\": [[\"zone\", \"resource://{resource}\"]]}}')"
    )
}

const REMOVED: &str = "DELETE FROM gateway_resource_bindings WHERE resource_identifier = 'resource://0'";

#[tokio::test]
async fn announced_revision_that_the_database_does_not_hold_hides_no_change() {
    let stack = Stack::start(2).await;
    let announced = stack.under_test.bindings.status().announced;
    let next = stack.revision().await + 1;
    // The role of the gateway may change nothing, and yet announce it.
    let stranger = connect(&stack.database.gateway_url()).await;
    stranger.client.batch_execute(&word(next, 1)).await.unwrap();
    until("the announced binding to be read", async || {
        (stack.under_test.bindings.status().announced > announced).then_some(())
    })
    .await;
    stack.database.execute(REMOVED).await;
    stack.settle(0, None).await;
}

#[tokio::test]
async fn revision_that_was_announced_before_with_other_bindings_hides_no_change() {
    let stack = Stack::start(2).await;
    let next = stack.revision().await + 1;
    // Both are heard after the commit, in this order.
    let both = format!("BEGIN; {}; {REMOVED}; COMMIT", word(next, 1));
    stack.database.execute(&both).await;
    stack.settle(0, None).await;
}
