//! Whether changes of the bindings are heard, and what happens while they are not.

use std::time::Duration;

use admission::ports::{Bindings, ZoneStanding};
use backends::bindings::{BindingsConfig, BindingsStatus};
use testkit::postgres::{Database, Layout, PgBouncer, Pooling, PrivatePostgres};
use testkit::wait::until;

use crate::contract::bindings::found;
use crate::support::{BindingsUnderTest, ON_DEMAND};

const SOON: Duration = Duration::from_millis(50);

/// Nothing is read again but what is heard of, or looked for because nothing is heard.
fn config() -> BindingsConfig {
    BindingsConfig {
        reload_every: ON_DEMAND,
        look_unheard_every: SOON,
        probe_every: ON_DEMAND,
        probe_timeout: Duration::from_millis(500),
        ..BindingsConfig::default()
    }
}

async fn database() -> Database {
    let database = Database::create(Layout::StandAlone).await;
    database
        .bind("zone-0", "resource://0", "https://zero.example", "app-0")
        .await;
    database
}

async fn status(under_test: &BindingsUnderTest, what: &str, holds: impl Fn(&BindingsStatus) -> bool) {
    until(what, async || holds(&under_test.bindings.status()).then_some(())).await;
}

/// A new binding is found, and one that is gone is not served.
async fn changes_are_seen(database: &Database, under_test: &BindingsUnderTest) {
    let bindings = &*under_test.bindings;
    database
        .bind("zone-0", "resource://new", "https://new.example", "app-1")
        .await;
    until("the new binding", async || {
        under_test.clock.advance(Duration::from_secs(1));
        found(bindings, "zone-0", "resource://new").await
    })
    .await;
    database
        .bind("zone-1", "resource://1", "https://one.example", "app-1")
        .await;
    until("the zone that nobody asked for", async || {
        (bindings.zone("zone-1") == ZoneStanding::Known).then_some(())
    })
    .await;
    database.unbind("zone-0", "resource://0").await;
    until("the old binding to be gone", async || {
        found(bindings, "zone-0", "resource://0")
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn listener_behind_a_transaction_pool_is_not_trusted_and_changes_are_looked_for() {
    let database = database().await;
    let pool = PgBouncer::start(&database.gateway_url(), Pooling::Transaction).await;
    let under_test = BindingsUnderTest::with(&pool.url(), config());
    status(&under_test, "a notification waited for in vain", |status| {
        status.unheard > 0
    })
    .await;
    assert!(!under_test.bindings.status().notified);
    changes_are_seen(&database, &under_test).await;
    assert!(!under_test.bindings.status().notified);
}

#[tokio::test]
async fn listener_behind_a_session_pool_is_trusted() {
    let database = database().await;
    let pool = PgBouncer::start(&database.gateway_url(), Pooling::Session).await;
    let under_test = BindingsUnderTest::with(&pool.url(), config());
    status(&under_test, "the gateway to hear itself", |status| {
        status.notified
    })
    .await;
    changes_are_seen(&database, &under_test).await;
    assert_eq!(under_test.bindings.status().unheard, 0);
}

#[tokio::test]
async fn listener_that_does_not_hear_any_more_is_trusted_no_longer() {
    let mut server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::StandAlone).await;
    let config = BindingsConfig {
        probe_every: SOON,
        ..config()
    };
    let under_test = BindingsUnderTest::with(&database.gateway_url(), config);
    status(&under_test, "the gateway to hear itself", |status| {
        status.notified
    })
    .await;
    // Every connection stays open, and nothing comes over it.
    server.pause();
    status(&under_test, "silence to be noticed", |status| !status.notified).await;
    server.resume();
    status(&under_test, "the gateway to hear itself again", |status| {
        status.notified
    })
    .await;
}

#[tokio::test]
async fn standby_is_read_and_not_listened_to() {
    let mut server = PrivatePostgres::start().await;
    let database = Database::create_on(&server, Layout::StandAlone).await;
    database
        .bind("zone-0", "resource://0", "https://zero.example", "app-0")
        .await;
    server.restart_as_standby().await;
    let under_test = BindingsUnderTest::with(&database.gateway_url(), config());
    status(&under_test, "a refusal to listen", |status| status.unheard > 0).await;
    status(&under_test, "the bindings", |status| status.loaded == 1).await;
    assert!(!under_test.bindings.status().notified);
}
