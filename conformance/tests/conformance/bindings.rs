//! Where bindings come from, and how soon a change of them counts.

use crate::report::{Refusal, Report, refusal};
use crate::world::{APP, NONE, World, ZONE, present_to};
use testkit::clock::real_unix_seconds;
use testkit::http;
use testkit::mint::Mandate;
use testkit::postgres::Layout;
use testkit::wait::until;

const NOT_BOUND: Refusal = refusal(403, "access_denied", "resource not configured");
const AT_THE_STS: Refusal = refusal(401, "invalid_token", "invalid subject_token");

fn probe() -> Mandate {
    Mandate::single_use(ZONE, real_unix_seconds())
}

#[tokio::test]
async fn binding_that_is_announced_is_added_changed_and_taken_away_at_once() {
    let world = World::start().await;
    let mut report = Report::default();
    let ask = async |resource: &str| world.present(&probe().sign(&world.rogue), resource, "/x").await;
    let becomes = async |what: &str, resource: &str, expect: Refusal| {
        until(what, async || {
            expect.found_in(&ask(resource).await).is_ok().then_some(())
        })
        .await;
    };
    report.refused("before", &ask("resource://new").await, NOT_BOUND);
    world
        .database
        .bind(ZONE, "resource://new", world.stack.upstream_url(), APP)
        .await;
    becomes("a new binding", "resource://new", AT_THE_STS).await;
    let private = refusal(502, "internal_error", "upstream not addressable");
    world
        .database
        .bind(ZONE, "resource://new", "http://169.254.169.254/", APP)
        .await;
    becomes("another upstream", "resource://new", private).await;
    world.database.unbind(ZONE, "resource://new").await;
    becomes("no binding any more", "resource://new", NOT_BOUND).await;
    world.database.archive(ZONE, NONE).await;
    becomes("an archived resource", NONE, NOT_BOUND).await;
    report.refused("another zone's name", &ask("resource://NONE").await, NOT_BOUND);
    report.finish();
}

#[tokio::test]
async fn binding_in_every_layout_is_served_found_on_a_miss_and_gone_when_archived() {
    let mut report = Report::default();
    for layout in Layout::ALL {
        let world = World::builder().layout(layout).start().await;
        report.status(format!("{layout:?}"), &world.get(NONE, "/x").await, 200);
        let ask = async |mandate: Mandate, resource: &str| {
            world.present(&mandate.sign(&world.rogue), resource, "/x").await
        };
        let unbound = ask(probe(), "resource://nobody").await;
        report.refused(format!("{layout:?}: unbound"), &unbound, NOT_BOUND);

        // The client id of the exchange: the binding's, or the mandate's where there is no binding table.
        let anonymous = ask(probe().without("client_id"), NONE).await;
        let expect = if layout.has_bindings() {
            AT_THE_STS
        } else {
            refusal(401, "invalid_token", "missing token client")
        };
        report.refused(format!("{layout:?}: no client"), &anonymous, expect);
        let stranger = ask(probe(), NONE).await;
        let expect = if layout.has_bindings() {
            AT_THE_STS
        } else {
            refusal(401, "access_denied", "invalid client credentials")
        };
        report.refused(format!("{layout:?}: another client"), &stranger, expect);

        // Without triggers a miss looks the row up; a miss is remembered for a second.
        world
            .database
            .bind(ZONE, "resource://late", world.stack.upstream_url(), APP)
            .await;
        until("a late binding", async || {
            let response = ask(probe().claim("client_id", APP), "resource://late").await;
            AT_THE_STS.found_in(&response).is_ok().then_some(())
        })
        .await;

        world.database.archive(ZONE, NONE).await;
        let replica = world.replica().await;
        let archived = present_to(replica.addr(), &world.token(NONE), NONE, "/x").await;
        report.refused(format!("{layout:?}: archived"), &archived, NOT_BOUND);
    }
    report.finish();
}

#[tokio::test]
async fn bindings_hidden_by_row_level_security_are_an_error_and_no_empty_world() {
    let world = World::start().await;
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/x").await, 200);
    world
        .database
        .execute(
            "ALTER POLICY zone_isolation ON resources USING (false); \
             ALTER POLICY zone_isolation ON gateway_resource_bindings USING (false); \
             UPDATE resources SET name = name;",
        )
        .await;
    // The running gateway says so and keeps what it knows.
    world
        .gateway
        .logged("a complaint about hidden rows", |line| {
            line.to_string().contains("row-level security")
        })
        .await;
    report.status("kept", &world.get(NONE, "/x").await, 200);
    until("/ready to tell", async || {
        let ready = http::get(world.addr(), "/ready", &[]).await;
        (ready.status() == 503 && ready.json()["reason"] == "bindings_unavailable").then_some(())
    })
    .await;
    report.finish();
}
