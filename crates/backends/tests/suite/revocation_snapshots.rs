//! What the database says, in every layout.

use std::time::Duration;

use backends::revocation::RevocationConfig;
use testkit::postgres::{Database, Layout, PrivatePostgres};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use crate::support::{ON_DEMAND, Revocation, publish};

struct Stack {
    _server: PrivateRedis,
    revocation: Revocation,
}

impl Stack {
    async fn start(database_url: &str, every: Duration) -> Self {
        let server = PrivateRedis::start().await;
        let revocation = Revocation::start(&server.url(), database_url, every);
        Self {
            _server: server,
            revocation,
        }
    }
}

#[tokio::test]
async fn snapshot_holds_what_each_layout_calls_revoked() {
    for layout in Layout::ALL {
        let database = Database::create(layout).await;
        for status in ["active", "revoked", "expired"] {
            database
                .set_authority("zone-1", &format!("sid-{status}"), status)
                .await;
            database
                .set_authority("zone-1", &format!("root-r-{status}"), status)
                .await;
            database
                .set_edge("zone-1", &format!("edge-{status}"), status)
                .await;
        }
        for status in ["active", "suspended", "terminated", "expired"] {
            database
                .set_session("zone-2", &format!("session-s-{status}"), status)
                .await;
        }
        // The role of the June stack may not read these tables, so that stack connects as the owner.
        let url = match layout {
            Layout::June => database.owner_url(),
            _ => database.gateway_url(),
        };
        let stack = Stack::start(&url, ON_DEMAND).await;
        stack.revocation.settle("nobody", "clear").await;
        for (name, expect) in [
            ("active", "clear"),
            ("revoked", "revoked"),
            ("expired", "clear"),
            ("r-revoked", "revoked"),
            ("r-active", "clear"),
            ("s-active", "clear"),
            ("s-suspended", "revoked"),
            ("s-terminated", "revoked"),
            ("s-expired", "revoked"),
        ] {
            assert_eq!(stack.revocation.standing(name), expect, "{layout:?} {name}");
        }
        // Three sessions, two records, one edge.
        assert_eq!(stack.revocation.state.reload().await.unwrap(), 6, "{layout:?}");
        assert_eq!(stack.revocation.state.status().anchors, 6);

        database
            .set_session("zone-2", "session-s-suspended", "active")
            .await;
        database.set_edge("zone-1", "edge-active", "revoked").await;
        assert_eq!(stack.revocation.state.reload().await.unwrap(), 6);
        assert_eq!(stack.revocation.standing("s-suspended"), "clear", "{layout:?}");
        assert_eq!(stack.revocation.standing("active"), "revoked", "{layout:?}");
    }
}

#[tokio::test]
async fn standby_takes_no_announcement_back() {
    let (redis, mut server) = (PrivateRedis::start().await, PrivatePostgres::start().await);
    let database = Database::create_on(&server, Layout::August).await;
    database.set_session("zone-1", "session-a", "active").await;
    let revocation = Revocation::start(&redis.url(), &database.gateway_url(), ON_DEMAND);
    revocation.settle("other", "clear").await;
    let suspend = [
        ("zone_id", "zone-1"),
        ("event", "suspend"),
        ("agent_session_id", "session-a"),
    ];
    publish(
        &mut redis.connection().await,
        "caracal.agents.lifecycle",
        &suspend,
    )
    .await;
    revocation.settle("a", "revoked").await;

    // It may not have heard yet of what was announced.
    server.restart_as_standby().await;
    revocation.state.reload().await.unwrap();
    assert_eq!(revocation.standing("a"), "revoked");
    assert_eq!(revocation.standing("other"), "clear");
}

#[tokio::test]
async fn rows_older_than_any_mandate_are_left_out() {
    let database = Database::create(Layout::August).await;
    database.set_session("zone-1", "session-a", "terminated").await;
    database.set_edge("zone-1", "edge-a", "revoked").await;
    database.set_authority("zone-1", "sid-a", "revoked").await;
    database
        .execute(
            "UPDATE sessions SET updated_at = now() - interval '25 hours'; \
             UPDATE delegation_edges SET revoked_at = now() - interval '25 hours'; \
             UPDATE authority_records SET expires_at = now() - interval '25 hours'",
        )
        .await;
    let stack = Stack::start(&database.gateway_url(), ON_DEMAND).await;
    stack.revocation.settle("a", "clear").await;
    assert_eq!(stack.revocation.state.reload().await.unwrap(), 0);
}

#[tokio::test]
async fn snapshots_are_taken_at_intervals() {
    let database = Database::create(Layout::August).await;
    let stack = Stack::start(&database.gateway_url(), Duration::from_millis(50)).await;
    stack.revocation.settle("a", "clear").await;
    database.set_edge("zone-1", "edge-a", "revoked").await;
    stack.revocation.settle("a", "revoked").await;
}

#[tokio::test]
async fn reload_sees_what_was_committed_before_it() {
    let database = Database::create(Layout::August).await;
    let stack = Stack::start(&database.gateway_url(), ON_DEMAND).await;
    for number in 1..=5 {
        database
            .set_edge("zone-1", &format!("edge-{number}"), "revoked")
            .await;
        assert_eq!(stack.revocation.state.reload().await.unwrap(), number);
    }
}

#[tokio::test]
async fn hidden_missing_and_forbidden_tables_are_errors_and_nothing_passes() {
    let hidden = Database::create(Layout::August).await;
    hidden.set_authority("zone-1", "sid-a", "revoked").await;
    hidden
        .execute("ALTER POLICY zone_isolation ON authority_records USING (zone_id = current_setting('caracal.zone_id', true))")
        .await;
    let closed = Database::create(Layout::August).await;
    closed
        .execute("DROP POLICY zone_isolation ON delegation_edges")
        .await;
    let empty = Database::create(Layout::Empty).await;
    let forbidden = Database::create(Layout::June).await;
    for (url, expect) in [
        (hidden.gateway_url(), "row-level security"),
        (closed.gateway_url(), "row-level security"),
        (
            empty.gateway_url(),
            "neither authority_records nor agent_sessions",
        ),
        (forbidden.gateway_url(), "permission denied"),
    ] {
        let stack = Stack::start(&url, ON_DEMAND).await;
        let cause = stack.revocation.state.reload().await.unwrap_err().to_string();
        assert!(cause.contains(expect), "{cause}");
        assert_eq!(stack.revocation.standing("b"), "stale");
        let status = stack.revocation.state.status();
        assert!(status.snapshot_error.is_some() && status.stale.is_some());
        assert!(stack.revocation.state.counters().reload_errors > 0);
    }
}

#[tokio::test]
async fn owner_is_not_held_by_row_level_security() {
    let database = Database::create(Layout::August).await;
    database
        .execute("DROP POLICY zone_isolation ON delegation_edges")
        .await;
    database.set_edge("zone-1", "edge-a", "revoked").await;
    let stack = Stack::start(&database.owner_url(), ON_DEMAND).await;
    assert_eq!(stack.revocation.state.reload().await.unwrap(), 1);
}

#[tokio::test]
async fn rows_that_no_mandate_of_their_zone_can_rest_on_are_let_go_and_come_back_for_an_older_mandate() {
    for layout in Layout::ALL {
        let database = Database::create(layout).await;
        for zone in ["zone-1", "zone-2"] {
            database
                .set_session(zone, &format!("session-{zone}-s"), "terminated")
                .await;
            database
                .set_edge(zone, &format!("edge-{zone}-e"), "revoked")
                .await;
            database
                .set_authority(zone, &format!("sid-{zone}-r"), "revoked")
                .await;
        }
        let (records, sessions) = match layout {
            Layout::June => ("sessions", "agent_sessions"),
            _ => ("authority_records", "sessions"),
        };
        let dated = match layout {
            Layout::June => "expires_at",
            _ => "revoked_at",
        };
        database
            .execute(&format!(
                "UPDATE {sessions} SET updated_at = now() - interval '2 hours'; \
                 UPDATE delegation_edges SET revoked_at = now() - interval '2 hours'; \
                 UPDATE {records} SET {dated} = now() - interval '2 hours'"
            ))
            .await;
        let stack = Stack::start(&database.owner_url(), ON_DEMAND).await;
        let look = |age| {
            let names = [
                "zone-1-s", "zone-1-e", "zone-1-r", "zone-2-s", "zone-2-e", "zone-2-r",
            ];
            names.map(|name| stack.revocation.standing_in(&name[..6], name, age))
        };
        // Nothing is known of any mandate at first: everything is held.
        assert_eq!(stack.revocation.state.reload().await.unwrap(), 6, "{layout:?}");
        stack.revocation.settle("nobody", "clear").await;
        stack.revocation.state.reload().await.unwrap();
        assert_eq!(look(0)[3..], ["revoked"; 3], "{layout:?}");
        // By now mandates of both zones were seen; those of a quarter of an hour do not need what is two hours old.
        assert_eq!(stack.revocation.state.reload().await.unwrap(), 0, "{layout:?}");
        assert_eq!(look(0), ["clear"; 6], "{layout:?}");
        // One that is older than the gateway thought they get is decided by what it rests on.
        assert_eq!(
            stack.revocation.standing_in("zone-2", "zone-2-e", 3 * 3600),
            "stale"
        );
        until("the rows of an older mandate", async || {
            (stack.revocation.standing_in("zone-2", "zone-2-e", 3 * 3600) == "revoked").then_some(())
        })
        .await;
        assert_eq!(look(0)[..3], ["clear"; 3], "{layout:?}");
    }
}

#[tokio::test]
async fn zone_whose_rows_do_not_fit_is_refused_alone_until_they_do() {
    let (server, database) = (
        PrivateRedis::start().await,
        Database::create(Layout::August).await,
    );
    for number in 0..4 {
        database
            .set_edge("zone-1", &format!("edge-{number}"), "revoked")
            .await;
    }
    database.set_edge("zone-2", "edge-theirs", "revoked").await;
    let bounds = RevocationConfig {
        max_zone_anchors: 3,
        ..RevocationConfig::default()
    };
    let revocation = Revocation::bounded(&server.url(), &database.gateway_url(), ON_DEMAND, bounds);
    until("the other zone to pass", async || {
        (revocation.standing_in("zone-2", "other", 0) == "clear").then_some(())
    })
    .await;
    assert_eq!(revocation.standing_in("zone-2", "theirs", 0), "revoked");
    assert_eq!(revocation.standing_in("zone-1", "other", 0), "stale");
    revocation.state.reload().await.unwrap();
    assert_eq!(revocation.standing_in("zone-1", "other", 0), "stale");
    let status = revocation.state.status();
    assert_eq!(
        (status.zones_over, status.anchors, status.stale.is_none()),
        (1, 1, true)
    );

    database.set_edge("zone-1", "edge-3", "active").await;
    revocation.state.reload().await.unwrap();
    until("the zone to pass", async || {
        (revocation.standing_in("zone-1", "other", 0) == "clear").then_some(())
    })
    .await;
    assert_eq!(revocation.standing_in("zone-1", "0", 0), "revoked");
    assert_eq!(revocation.state.status().zones_over, 0);
}
