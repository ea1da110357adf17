//! Gates 6 to 10: the mandate itself.

use crate::report::{Refusal, Report, refusal};
use crate::world::{NONE, World, ZONE};
use devstack::{RawAnswer, Scope};
use redis::AsyncCommands as _;
use serde_json::json;
use testkit::clock::real_unix_seconds;
use testkit::http;
use testkit::mint::{Breaks, Forgery, Key, Mandate, high_s_twin};
use testkit::wait::until;

const MALFORMED: Refusal = refusal(401, "invalid_token", "malformed bearer token");
const EXPIRING: Refusal = refusal(
    401,
    "credential_expired_not_renewable",
    "credential expiring within pre-flight window",
);
const TOO_EARLY: Refusal = refusal(401, "invalid_token", "bearer token not yet valid");
const NO_ZONE: Refusal = refusal(401, "invalid_token", "missing token zone");
const BAD_SIGNATURE: Refusal = refusal(401, "invalid_token", "bearer signature invalid");
const REVOKED: Refusal = refusal(401, "invalid_token", "session revoked");
const NOT_BOUND: Refusal = refusal(403, "access_denied", "resource not configured");
/// What the STS says to a mandate that it did not sign: proof that every gate before it has let it pass.
const AT_THE_STS: Refusal = refusal(401, "invalid_token", "invalid subject_token");

fn mandate() -> Mandate {
    Mandate::single_use(ZONE, real_unix_seconds())
}

/// How a mandate is made at this second.
type Made = fn(u64) -> Mandate;

#[tokio::test]
async fn token_of_every_forged_kind_is_refused_and_its_honest_twin_is_not() {
    let world = World::start().await;
    let mut report = Report::default();
    let honest = mandate();
    for forgery in Forgery::ALL {
        let token = forgery.forge(&honest, &world.rogue);
        let response = world.present(&token, NONE, "/x").await;
        let case = format!("{forgery:?}");
        match forgery.breaks() {
            Breaks::Form => report.refused(case, &response, MALFORMED),
            Breaks::Signature => report.refused(case, &response, BAD_SIGNATURE),
            Breaks::Either => {
                let found = MALFORMED
                    .found_in(&response)
                    .or_else(|_| BAD_SIGNATURE.found_in(&response));
                report.note(case, found);
            }
        }
    }
    report.equal("exchanges", world.stack.sts().counts().exchanges, 0);
    let marks: Vec<String> = world.redis().await.keys("seen:jti:*").await.expect("keys");
    report.equal("spent mandates", marks, Vec::<String>::new());
    let passed = world.present(&honest.sign(&world.rogue), NONE, "/x").await;
    report.refused("the honest twin", &passed, AT_THE_STS);
    report.finish();
}

#[tokio::test]
async fn token_claims_are_judged_in_the_order_of_the_gates() {
    let world = World::start().await;
    let mut report = Report::default();
    let stranger = Key::generate("rogue");
    // Each is made when it is shown, so that it is still what it is called.
    let cases: [(&str, Made, Refusal); 20] = [
        ("33 s left", |now| mandate().claim("exp", now + 33), EXPIRING),
        ("long expired", |now| mandate().claim("exp", now - 3600), EXPIRING),
        ("expired in 1969", |_| mandate().claim("exp", -1), EXPIRING),
        ("60 s left", |now| mandate().claim("exp", now + 60), AT_THE_STS),
        (
            "nbf 45 s ahead",
            |now| mandate().claim("nbf", now + 45),
            TOO_EARLY,
        ),
        (
            "nbf 20 s ahead",
            |now| mandate().claim("nbf", now + 20),
            AT_THE_STS,
        ),
        ("no zone", |_| mandate().without("zone_id"), NO_ZONE),
        ("empty zone", |_| mandate().claim("zone_id", ""), NO_ZONE),
        (
            "zone with a blank",
            |_| mandate().claim("zone_id", "zone dev"),
            NO_ZONE,
        ),
        (
            "zone with a slash",
            |_| mandate().claim("zone_id", "../zone-dev"),
            NO_ZONE,
        ),
        (
            "long zone",
            |_| mandate().claim("zone_id", "z".repeat(129)),
            NO_ZONE,
        ),
        (
            "unknown zone",
            |_| mandate().claim("zone_id", "zone-unknown"),
            BAD_SIGNATURE,
        ),
        (
            "reusable, no jti",
            |_| mandate().claim("use", "session").without("jti"),
            AT_THE_STS,
        ),
        (
            "reusable, two days",
            |now| mandate().claim("use", "session").claim("exp", now + 172_800),
            MALFORMED,
        ),
        (
            "single-use, two days",
            |now| mandate().claim("exp", now + 172_800),
            MALFORMED,
        ),
        (
            "no use, no jti",
            |_| mandate().without("use").without("jti"),
            MALFORMED,
        ),
        (
            "session in other letters, no jti",
            |_| mandate().claim("use", "Session").without("jti"),
            MALFORMED,
        ),
        // Two faults: the earlier gate speaks.
        (
            "form before expiry",
            |now| mandate().claim("exp", now + 5).without("jti"),
            MALFORMED,
        ),
        (
            "expiry before zone",
            |now| mandate().claim("exp", now + 5).without("zone_id"),
            EXPIRING,
        ),
        (
            "nbf before zone",
            |now| mandate().claim("nbf", now + 99).without("zone_id"),
            TOO_EARLY,
        ),
    ];
    for (case, mandate, expect) in cases {
        let mandate = mandate(real_unix_seconds());
        let response = world.present(&mandate.sign(&world.rogue), NONE, "/x").await;
        report.refused(case, &response, expect);
    }
    let foreign = mandate().without("zone_id").sign(&stranger);
    report.refused(
        "zone before signature",
        &world.present(&foreign, NONE, "/x").await,
        NO_ZONE,
    );
    let foreign = mandate().sign(&stranger);
    let response = world.present(&foreign, "resource://unbound", "/x").await;
    report.refused("signature before binding", &response, BAD_SIGNATURE);
    let response = world
        .present(&mandate().sign(&world.rogue), "resource://unbound", "/x")
        .await;
    report.refused("binding", &response, NOT_BOUND);
    report.finish();
}

#[tokio::test]
async fn zone_that_is_unknown_causes_no_fetch_of_keys() {
    let world = World::start().await;
    let mut report = Report::default();
    // The keys of the known zone are there from now on.
    report.status("warm", &world.get(NONE, "/x").await, 200);
    let before = world.stack.sts().counts().jwks;
    for n in 0..20 {
        let stranger = mandate().claim("zone_id", format!("zone-{n}"));
        let response = world.present(&stranger.sign(&world.rogue), NONE, "/x").await;
        report.refused(format!("zone-{n}"), &response, BAD_SIGNATURE);
    }
    report.equal("fetches", world.stack.sts().counts().jwks, before);
    report.finish();
}

#[tokio::test]
async fn signing_keys_that_cannot_be_had_are_unavailable_until_they_can() {
    let world = World::builder()
        .without_waiting()
        .start_with(async |stack, variables| {
            stack
                .script()
                .set(Scope::Jwks, RawAnswer::new(500, "application/json", "{}"));
            variables
        })
        .await;
    let mut report = Report::default();
    let unavailable = refusal(503, "authority_unavailable", "signing keys unavailable");
    let token = world.token(NONE);
    for answer in [
        RawAnswer::new(500, "application/json", "{}"),
        RawAnswer::new(404, "application/json", r#"{"error":"resource_not_found"}"#),
        RawAnswer::new(200, "text/html", "<html>"),
        RawAnswer::new(200, "application/json", r#"{"keys":[]}"#),
        RawAnswer::redirect(302, "/elsewhere"),
    ] {
        let case = format!("{} {:?}", answer.status, answer.headers);
        world.stack.script().set(Scope::Jwks, answer);
        report.refused(case, &world.present(&token, NONE, "/x").await, unavailable);
    }
    world.stack.script().clear(&Scope::Jwks);
    until("the keys to be fetched again", async || {
        let response = world.present(&token, NONE, "/x").await;
        (response.status() == 200).then_some(())
    })
    .await;
    report.finish();
}

#[tokio::test]
async fn signing_key_after_a_rotation_is_fetched_at_once() {
    let world = World::start().await;
    let mut report = Report::default();
    // Here the STS's own key set is wanted, as it changes.
    world.stack.script().clear(&Scope::Jwks);
    report.status("before", &world.get(NONE, "/x").await, 200);
    let old = world.token(NONE);
    world.stack.sts().rotate_key(ZONE).expect("a new key");
    report.status("with the new key", &world.get(NONE, "/x").await, 200);
    report.status("with the one before", &world.present(&old, NONE, "/x").await, 200);
    report.finish();
}

#[tokio::test]
async fn signing_keys_at_hand_decide_about_an_unknown_key_while_the_sts_fails() {
    let world = World::start().await;
    let mut report = Report::default();
    report.status("before", &world.get(NONE, "/x").await, 200);
    let failing = RawAnswer::new(500, "application/json", "{}");
    world.stack.script().set(Scope::Jwks, failing);
    for name in ["unknown", "unknown", "another"] {
        let forged = mandate().sign(&Key::generate(name));
        report.refused(name, &world.present(&forged, NONE, "/x").await, BAD_SIGNATURE);
    }
    report.status("a known key", &world.get(NONE, "/x").await, 200);
    report.finish();
}

#[tokio::test]
async fn anchor_that_is_revoked_in_the_database_is_refused_after_a_reload() {
    let world = World::start().await;
    let mut report = Report::default();
    let admin = format!("Bearer {}", world.variable("CARACAL_ADMIN_TOKEN"));
    let (sid, session, edge) = ("record-9", "session-9", "edge-9");
    world.database.set_authority(ZONE, sid, "revoked").await;
    world.database.set_session(ZONE, session, "terminated").await;
    world.database.set_edge(ZONE, edge, "revoked").await;
    let reload = http::request(
        world.addr(),
        "POST",
        "/internal/revocations/reload",
        &[("Authorization", &admin)],
        b"",
    )
    .await;
    report.status("reload", &reload, 200);
    report.equal("anchors", reload.json(), json!({ "ok": true, "revocations": 3 }));
    for (claim, id) in [
        ("sid", sid),
        ("root_sid", sid),
        ("agent_session_id", session),
        ("delegation_edge_id", edge),
    ] {
        let token = world.mandate_with(NONE, |claims| {
            claims.insert(claim.to_owned(), json!(id));
        });
        report.refused(claim, &world.present(&token, NONE, "/x").await, REVOKED);
        let response = world.present(&token, "resource://unbound", "/x").await;
        report.refused(format!("{claim} before binding"), &response, REVOKED);
        let forged = mandate().claim(claim, id).sign(&Key::generate("rogue"));
        let response = world.present(&forged, NONE, "/x").await;
        report.refused(format!("signature before {claim}"), &response, BAD_SIGNATURE);
    }
    report.equal("exchanges", world.stack.sts().counts().exchanges, 0);
    report.status("another mandate", &world.get(NONE, "/x").await, 200);
    report.finish();
}

#[tokio::test]
async fn mandate_of_a_reusable_class_passes_again_and_others_do_not() {
    let world = World::builder()
        .stack(|stack| stack.accept_session_mandates = true)
        .start()
        .await;
    let strict = world.replica_with(&[("REUSABLE_MANDATE_USES", "none")]).await;
    let mut report = Report::default();
    let replayed = refusal(401, "invalid_token", "token replay detected");
    let session = world.mandate_with(NONE, |claims| {
        claims.insert("use".to_owned(), json!("session"));
    });
    for time in ["first", "second", "third"] {
        report.status(
            format!("session, {time}"),
            &world.present(&session, NONE, "/x").await,
            200,
        );
    }
    let first = crate::world::present_to(strict.addr(), &session, NONE, "/x").await;
    report.status("session where none is reusable", &first, 200);
    let second = crate::world::present_to(strict.addr(), &session, NONE, "/x").await;
    report.refused("session again where none is reusable", &second, replayed);

    let single = world.token(NONE);
    report.status("single-use", &world.present(&single, NONE, "/x").await, 200);
    report.refused(
        "single-use again",
        &world.present(&single, NONE, "/x").await,
        replayed,
    );
    let twin = high_s_twin(&single);
    report.refused(
        "its signature twin",
        &world.present(&twin, NONE, "/x").await,
        replayed,
    );
    report.finish();
}
