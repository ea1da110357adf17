use super::{Database, Layout, PrivatePostgres, connect};
use crate::proxy::{Fault, FaultProxy};
use std::time::Duration;

async fn count(url: &str, sql: &str) -> i64 {
    connect(url)
        .await
        .client
        .query_one(sql, &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn every_layout_takes_bindings_and_revocations() {
    for layout in Layout::ALL {
        let database = Database::create(layout).await;
        database
            .bind("zone-1", "resource://a", "https://a.example", "app-1")
            .await;
        database
            .bind("zone-1", "resource://a", "https://b.example", "app-2")
            .await;
        let rows = database.query("SELECT upstream_url FROM resources", &[]).await;
        assert_eq!(
            rows.iter().map(|row| row.get(0)).collect::<Vec<&str>>(),
            ["https://b.example"],
            "{layout:?}"
        );
        for status in ["active", "revoked"] {
            database.set_authority("zone-1", "record-1", status).await;
            database.set_edge("zone-1", "edge-1", status).await;
        }
        for status in ["active", "suspended", "terminated", "active"] {
            database.set_session("zone-1", "session-1", status).await;
        }
        database.unbind("zone-1", "resource://a").await;
        let left = if layout.has_bindings() {
            "SELECT count(*) FROM gateway_resource_bindings"
        } else {
            "SELECT count(*) FROM resources WHERE archived_at IS NULL"
        };
        assert_eq!(count(&database.owner_url(), left).await, 0, "{layout:?}");
    }
}

#[tokio::test]
async fn gateway_role_sees_rows_only_with_the_zone_setting() {
    let database = Database::create(Layout::August).await;
    database
        .bind("zone-1", "resource://a", "https://a.example", "app-1")
        .await;
    let sql = "SELECT count(*) FROM resources";
    assert_eq!(count(&database.owner_url(), sql).await, 1);
    let gateway = connect(&database.gateway_url()).await;
    assert_eq!(
        gateway.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
    gateway
        .client
        .batch_execute("SET caracal.zone_id = '*'")
        .await
        .unwrap();
    assert_eq!(
        gateway.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0),
        1
    );
    assert!(
        gateway
            .client
            .batch_execute("DELETE FROM resources")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn revision_grows_with_every_change() {
    for layout in [Layout::June, Layout::StandAlone] {
        let database = Database::create(layout).await;
        let sql = "SELECT version FROM gateway_binding_revision";
        let before = count(&database.owner_url(), sql).await;
        database
            .bind("zone-1", "resource://a", "https://a.example", "app-1")
            .await;
        assert!(count(&database.owner_url(), sql).await > before, "{layout:?}");
    }
}

#[tokio::test]
async fn private_server_keeps_rows_over_a_kill_and_stands_still_when_paused() {
    let mut server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::StandAlone).await;
    database
        .bind("zone-1", "resource://a", "https://a.example", "app-1")
        .await;
    let open = connect(&database.owner_url()).await;
    server.pause();
    let query = open.client.query_one("SELECT 1", &[]);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), query)
            .await
            .is_err()
    );
    server.resume();
    server.kill().await;
    assert!(open.client.query_one("SELECT 1", &[]).await.is_err());
    server.restart().await;
    assert_eq!(
        count(&database.owner_url(), "SELECT count(*) FROM resources").await,
        1
    );
}

#[tokio::test]
async fn database_is_reached_through_a_proxy_and_dropped_with_its_owner() {
    let database = Database::create(Layout::Empty).await;
    let (admin, name) = (database.admin.clone(), database.name.clone());
    let (_, port) = database
        .owner_url()
        .rsplit_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let port: u16 = port.split('/').next().unwrap().parse().unwrap();
    let proxy = FaultProxy::start(([127, 0, 0, 1], port).into()).await;
    let url = super::through(&database.owner_url(), proxy.port());
    assert_eq!(count(&url, "SELECT 7::bigint").await, 7);
    proxy.set(Fault::Refuse).await;
    assert!(
        tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .is_err()
    );
    drop(database);
    assert_eq!(
        count(
            &admin,
            &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")
        )
        .await,
        0
    );
}
