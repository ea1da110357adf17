//! Bindings from PostgreSQL, in every layout.

use std::sync::Arc;
use std::time::Duration;

use admission::binding::Application;
use admission::ports::{Bindings, ZoneStanding};
use testkit::postgres::{Database, Layout};
use testkit::wait::until;

use crate::contract::bindings::{Bench, bindings_contract, found};
use crate::support::{BindingsUnderTest, ON_DEMAND};

struct Stack {
    database: Database,
    under_test: BindingsUnderTest,
}

impl Stack {
    /// Starts with one binding, so that it is known when the first load is done.
    async fn start(layout: Layout, every: Duration) -> Self {
        let database = Database::create(layout).await;
        database
            .bind("zone-0", "resource://0", "https://zero.example", "app-0")
            .await;
        let under_test = BindingsUnderTest::start(&database.gateway_url(), every);
        let stack = Self { database, under_test };
        stack
            .settle("zone-0", "resource://0", Some("https://zero.example"))
            .await;
        stack
    }

    fn port(&self) -> &dyn Bindings {
        &*self.under_test.bindings
    }

    async fn settle(&self, zone: &str, resource: &str, url: Option<&str>) {
        until(&format!("{resource} of {zone} to be {url:?}"), async || {
            (found(self.port(), zone, resource).await.as_deref() == url).then_some(())
        })
        .await;
    }

    async fn notified(&self) {
        until("the database to tell of changes", async || {
            self.under_test.bindings.status().notified.then_some(())
        })
        .await;
    }
}

impl Bench for Stack {
    fn bindings(&self) -> Arc<dyn Bindings> {
        Arc::clone(&self.under_test.bindings) as Arc<dyn Bindings>
    }

    async fn bind(&self, zone: &str, resource: &str, upstream_url: &str) {
        self.database.bind(zone, resource, upstream_url, "app-1").await;
    }

    async fn unbind(&self, zone: &str, resource: &str) {
        self.database.unbind(zone, resource).await;
    }
}

#[tokio::test]
async fn postgres_bindings_keep_the_contract_in_every_layout() {
    for layout in Layout::ALL {
        bindings_contract(&Stack::start(layout, Duration::from_millis(50)).await).await;
    }
}

#[tokio::test]
async fn application_comes_from_the_binding_or_from_the_token() {
    for layout in Layout::ALL {
        let stack = Stack::start(layout, ON_DEMAND).await;
        let binding = stack.port().find("zone-0", "resource://0").await.unwrap();
        let expect = if layout.has_bindings() {
            Application::Bound("app-0".to_owned())
        } else {
            Application::FromToken
        };
        assert_eq!(binding.application, expect, "{layout:?}");
        assert_eq!(stack.under_test.bindings.status().loaded, 1);
    }
}

#[tokio::test]
async fn archived_and_url_less_resources_are_unbound() {
    for layout in Layout::ALL {
        let stack = Stack::start(layout, Duration::from_millis(50)).await;
        stack.bind("zone-1", "resource://a", "https://a.example").await;
        stack.bind("zone-1", "resource://b", "https://b.example").await;
        stack
            .settle("zone-1", "resource://b", Some("https://b.example"))
            .await;
        stack.database.archive("zone-1", "resource://a").await;
        stack
            .database
            .execute("UPDATE resources SET upstream_url = NULL WHERE identifier = 'resource://b'")
            .await;
        stack.settle("zone-1", "resource://a", None).await;
        stack.settle("zone-1", "resource://b", None).await;
        until("the zone to be gone", async || {
            (stack.port().zone("zone-1") == ZoneStanding::Unknown).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn notification_changes_the_bindings_at_once() {
    let stack = Stack::start(Layout::StandAlone, ON_DEMAND).await;
    stack.notified().await;
    stack.bind("zone-1", "resource://a", "https://a.example").await;
    until("the zone to be known without a lookup", async || {
        (stack.port().zone("zone-1") == ZoneStanding::Known).then_some(())
    })
    .await;
    stack
        .settle("zone-1", "resource://a", Some("https://a.example"))
        .await;
    stack.database.archive("zone-1", "resource://a").await;
    stack.settle("zone-1", "resource://a", None).await;
}

#[tokio::test]
async fn miss_is_looked_up_where_there_are_no_triggers() {
    for layout in [Layout::June, Layout::August] {
        let stack = Stack::start(layout, ON_DEMAND).await;
        assert_eq!(found(stack.port(), "zone-0", "resource://new").await, None);
        stack
            .bind("zone-0", "resource://new", "https://new.example")
            .await;
        assert_eq!(
            found(stack.port(), "zone-0", "resource://new").await,
            None,
            "the miss is remembered for a second"
        );
        stack.under_test.clock.advance(Duration::from_secs(1));
        assert_eq!(
            found(stack.port(), "zone-0", "resource://new").await.as_deref(),
            Some("https://new.example"),
            "{layout:?}"
        );
        assert!(!stack.under_test.bindings.status().notified);
    }
}

#[tokio::test]
async fn misses_are_looked_up_at_a_bounded_rate() {
    let stack = Stack::start(Layout::August, ON_DEMAND).await;
    // The clock stands still, so the allowance of one second is all there is.
    for number in 0..200 {
        let _ = stack.port().find("zone-0", &format!("resource://{number}")).await;
    }
    stack
        .bind("zone-1", "resource://new", "https://new.example")
        .await;
    assert!(
        found(stack.port(), "zone-1", "resource://new").await.is_some(),
        "another zone has its share"
    );
    let refused = stack.port().find("zone-0", "resource://last").await.unwrap_err();
    assert!(
        refused.0.to_string().contains("too many lookups"),
        "{}",
        refused.0
    );
}

#[tokio::test]
async fn unchanged_revision_is_not_read_again_and_a_change_is() {
    let stack = Stack::start(Layout::StandAlone, Duration::from_millis(20)).await;
    stack.notified().await;
    let status = || stack.under_test.bindings.status();
    let settled = status().reloads;
    // Several looks at the revision confirm the snapshot without reading it.
    for _ in 0..3 {
        stack.under_test.clock.advance(Duration::from_secs(5));
        until("the revision to be looked at", async || {
            (status().age == Some(Duration::ZERO)).then_some(())
        })
        .await;
    }
    assert_eq!(status().reloads, settled);
    stack
        .database
        .execute(
            "ALTER TABLE resources DISABLE TRIGGER USER; \
             UPDATE resources SET upstream_url = 'https://changed.example'; \
             UPDATE gateway_binding_revision SET version = version + 1; \
             ALTER TABLE resources ENABLE TRIGGER USER",
        )
        .await;
    stack
        .settle("zone-0", "resource://0", Some("https://changed.example"))
        .await;
}

#[tokio::test]
async fn hidden_bindings_are_an_error_and_no_empty_world() {
    let hide = [
        "DROP POLICY zone_isolation ON resources",
        "CREATE POLICY nobody ON resources AS RESTRICTIVE USING (zone_id = current_user)",
    ];
    for (layout, hidden) in Layout::ALL
        .into_iter()
        .flat_map(|layout| hide.map(|sql| (layout, sql)))
    {
        let database = Database::create(layout).await;
        database
            .bind("zone-0", "resource://0", "https://zero.example", "app-0")
            .await;
        database.execute(hidden).await;
        let under_test = BindingsUnderTest::start(&database.gateway_url(), ON_DEMAND);
        let error = until("the load to fail", async || under_test.bindings.status().error).await;
        assert!(error.to_string().contains("row-level security"), "{error}");
        assert_eq!(under_test.bindings.status().age, None);
    }
}

#[tokio::test]
async fn empty_table_is_an_empty_world_and_no_error() {
    for layout in Layout::ALL {
        let database = Database::create(layout).await;
        let under_test = BindingsUnderTest::start(&database.gateway_url(), ON_DEMAND);
        until("the first load", async || under_test.bindings.status().age).await;
        assert_eq!(under_test.bindings.status().loaded, 0, "{layout:?}");
        assert!(under_test.bindings.status().error.is_none());
    }
}
