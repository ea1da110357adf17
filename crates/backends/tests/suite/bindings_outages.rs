//! Bindings while PostgreSQL is away.

use std::time::Duration;

use admission::ports::{Bindings, ZoneStanding};
use futures_util::future::join_all;
use testkit::postgres::{Database, Layout, PrivatePostgres, connect, through};
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::{PATIENCE, until};
use tokio::time::timeout;

use crate::contract::bindings::found;
use crate::support::{BindingsUnderTest, ON_DEMAND};

const EVERY: Duration = Duration::from_millis(50);

struct Stack {
    server: PrivatePostgres,
    database: Database,
    under_test: BindingsUnderTest,
}

impl Stack {
    async fn start(layout: Layout) -> Self {
        let server = PrivatePostgres::start().await;
        let database = Database::create_on(&server, layout).await;
        database
            .bind("zone-0", "resource://0", "https://zero.example", "app-0")
            .await;
        let under_test = BindingsUnderTest::start(&database.gateway_url(), EVERY);
        let stack = Self {
            server,
            database,
            under_test,
        };
        until("the first load", async || stack.under_test.bindings.status().age).await;
        stack
    }

    async fn failed(&self) {
        until("a read to fail", async || self.under_test.bindings.status().error).await;
    }
}

#[tokio::test]
async fn last_bindings_are_served_while_the_database_is_down_and_new_ones_after_it() {
    for layout in [Layout::June, Layout::StandAlone] {
        let mut stack = Stack::start(layout).await;
        stack.server.kill().await;
        stack.failed().await;
        let bindings = &*stack.under_test.bindings;
        assert_eq!(bindings.zone("zone-0"), ZoneStanding::Known);
        assert_eq!(
            found(bindings, "zone-0", "resource://0").await.as_deref(),
            Some("https://zero.example")
        );
        stack.under_test.clock.advance(Duration::from_secs(60));
        assert!(bindings.status().age.unwrap() >= Duration::from_secs(60));
        stack.server.restart().await;
        stack
            .database
            .bind("zone-1", "resource://1", "https://one.example", "app-1")
            .await;
        until("the new binding", async || {
            found(bindings, "zone-1", "resource://1").await
        })
        .await;
        until("the error to be over", async || {
            bindings.status().error.is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn database_is_tried_at_the_same_pace_for_as_long_as_it_is_away() {
    let mut server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::StandAlone).await;
    let under_test = BindingsUnderTest::start(&database.gateway_url(), ON_DEMAND);
    let status = || under_test.bindings.status();
    until("the database to tell of changes", async || {
        status().notified.then_some(())
    })
    .await;
    server.kill().await;
    // With pauses that double these would take longer than a test may.
    under_test.bindings.reload();
    let (read, heard) = (status().reload_errors, status().unheard);
    until("many attempts", async || {
        let now = status();
        (now.reload_errors >= read + 12 && now.unheard >= heard + 12).then_some(())
    })
    .await;
    server.restart().await;
    until("the database to tell of changes again", async || {
        status().notified.then_some(())
    })
    .await;
    assert!(status().error.is_none());
}

#[tokio::test]
async fn lookups_of_a_hanging_database_end_in_time() {
    let mut stack = Stack::start(Layout::August).await;
    stack.server.pause();
    let bindings = &*stack.under_test.bindings;
    let other = timeout(PATIENCE, bindings.find("zone-0", "resource://other")).await;
    assert!(other.expect("an end").is_err());
    let reread = timeout(PATIENCE, bindings.reread("zone-0", "resource://0")).await;
    assert!(reread.expect("an end").is_err());
    assert!(
        found(bindings, "zone-0", "resource://0").await.is_some(),
        "still in memory"
    );
    stack.server.resume();
    until("the database to answer again", async || {
        stack.under_test.clock.advance(Duration::from_secs(1));
        bindings.reread("zone-0", "resource://0").await.ok()
    })
    .await;
}

#[tokio::test]
async fn lookups_that_nobody_waits_for_any_more_are_not_made() {
    let server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::August).await;
    database
        .bind("zone-0", "resource://0", "https://zero.example", "app-0")
        .await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await;
    let url = through(&database.gateway_url(), proxy.port());
    let before = transactions(&database).await;
    let under_test = BindingsUnderTest::start(&url, ON_DEMAND);
    let bindings = &*under_test.bindings;
    until("the first load", async || bindings.status().age).await;
    // A tenth of a second and more for each: only a few of them end within the second they may take.
    proxy.set(Fault::Delay(Duration::from_millis(25))).await;
    let resources: Vec<_> = (1..60).map(|n| format!("resource://{n}")).collect();
    join_all(resources.iter().map(|resource| bindings.find("zone-0", resource))).await;
    proxy.set(Fault::None).await;
    until("an answer after them", async || {
        under_test.clock.advance(Duration::from_secs(1));
        bindings.reread("zone-0", "resource://0").await.ok()
    })
    .await;
    drop(under_test);
    let made = transactions(&database).await - before;
    assert!(made < 40, "{made}");
}

#[tokio::test]
async fn failed_lookup_is_followed_by_another_look() {
    let server = PrivatePostgres::start().await;
    // Nothing tells of the connection that was lost, and nothing is read for long.
    let database = Database::create_on(&server, Layout::August).await;
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await;
    let under_test = BindingsUnderTest::start(&through(&database.gateway_url(), proxy.port()), ON_DEMAND);
    let bindings = &*under_test.bindings;
    until("the first load", async || bindings.status().age).await;
    proxy.set(Fault::Refuse).await;
    until("a lookup to fail", async || {
        under_test.clock.advance(Duration::from_secs(1));
        let _ = bindings.reread("zone-0", "resource://0").await;
        bindings.status().error
    })
    .await;
    proxy.set(Fault::None).await;
    until("the error to be over", async || {
        bindings.status().error.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn restored_database_that_counts_the_same_revision_is_read_again() {
    let server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::StandAlone).await;
    for (resource, url) in [
        ("resource://0", "https://zero.example"),
        ("resource://1", "https://one.example"),
    ] {
        database.bind("zone-0", resource, url, "app-0").await;
    }
    let admin = connect(&server.url()).await;
    let run = async |sql: &str| admin.client.batch_execute(sql).await.unwrap();
    let rows = database.query("SELECT current_database()::text", &[]).await;
    let name: String = rows[0].get(0);
    let copy = format!("CREATE DATABASE backup TEMPLATE {name} OWNER {name}_owner");
    until("nobody to be connected", async || {
        admin.client.batch_execute(&copy).await.ok()
    })
    .await;
    database.unbind("zone-0", "resource://1").await;
    let under_test = BindingsUnderTest::start(&database.gateway_url(), ON_DEMAND);
    let bindings = &*under_test.bindings;
    until("the database to tell of changes", async || {
        bindings.status().notified.then_some(())
    })
    .await;
    // One change is lost, and another made instead.
    run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    run(&format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
    ))
    .await;
    run(&format!("ALTER DATABASE {name} RENAME TO lost")).await;
    let backup = server.url().replace("/postgres", "/backup");
    let changed = connect(&backup).await;
    let removed = "DELETE FROM gateway_resource_bindings WHERE resource_identifier = 'resource://0'";
    changed.client.batch_execute(removed).await.unwrap();
    drop(changed);
    let rename = format!("ALTER DATABASE backup RENAME TO {name}");
    until("nobody to be connected", async || {
        admin.client.batch_execute(&rename).await.ok()
    })
    .await;
    until("the bindings of the restored database", async || {
        let gone = found(bindings, "zone-0", "resource://0").await.is_none();
        let back = found(bindings, "zone-0", "resource://1").await.is_some();
        (gone && back).then_some(())
    })
    .await;
}

/// How many transactions the database has seen. A connection tells its own when it ends.
async fn transactions(database: &Database) -> i64 {
    until("the gateway's connections to be closed", async || {
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database() AND NOT EXISTS \
                   (SELECT 1 FROM pg_stat_activity WHERE application_name = 'caracal-gateway')";
        database.query(sql, &[]).await.first().map(|row| row.get(0))
    })
    .await
}
