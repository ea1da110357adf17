//! Gates 6 to 10.

use admission::Denial;
use serde_json::json;
use testkit::clock::START;
use testkit::mint::{Forgery, Key};

use super::refuses;
use crate::ports::{Keys, Revocation};
use crate::scene::Scene;

#[test]
fn token_malformed_is_refused() {
    let malformed = |change: fn(&mut Scene)| {
        refuses(change, 401, "invalid_token", "malformed bearer token");
    };
    malformed(|scene| scene.mandate(|mandate| mandate.header("alg", "none")));
    malformed(|scene| scene.mandate(|mandate| mandate.header("alg", "es256")));
    malformed(|scene| scene.mandate(|mandate| mandate.header("kid", "")));
    malformed(|scene| scene.mandate(|mandate| mandate.header("crit", json!([]))));
    malformed(|scene| scene.mandate(|mandate| mandate.claim("exp", 1.5)));
    malformed(|scene| scene.mandate(|mandate| mandate.claim("ZONE_ID", "zone-1")));
    malformed(|scene| scene.mandate(|mandate| mandate.without("jti")));
    malformed(|scene| scene.mandate(|mandate| mandate.claim("exp", START + 86_401)));
}

#[test]
fn token_session_class_is_single_use_when_no_class_is_reusable() {
    let session = |reusable| {
        Scene::with(|scene| {
            scene.reusable = reusable;
            scene.mandate(|mandate| mandate.claim("use", "session"));
        })
        .walk()
    };
    let (reusable, single) = (session("session"), session("none"));
    assert!(reusable.result.is_ok() && single.result.is_ok());
    assert!(
        !reusable.world.journal.has("set"),
        "a session mandate needs no mark"
    );
    assert!(single.world.journal.has("set"));
}

#[test]
fn expiry_inside_the_preflight_window_is_refused() {
    let expires =
        |expiry: u64| move |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("exp", expiry));
    for expiry in [START + 34, START, START - 1, 0] {
        refuses(
            expires(expiry),
            401,
            "credential_expired_not_renewable",
            "credential expiring within pre-flight window",
        );
    }
    assert!(Scene::with(expires(START + 35)).walk().result.is_ok());
}

#[test]
fn expiry_not_before_ahead_is_refused() {
    let starts = |start: u64| move |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("nbf", start));
    refuses(
        starts(START + 31),
        401,
        "invalid_token",
        "bearer token not yet valid",
    );
    assert!(Scene::with(starts(START + 30)).walk().result.is_ok());
}

#[test]
fn zone_missing_is_refused() {
    for zone in ["", "a/b", "a b"] {
        let change = |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("zone_id", zone));
        refuses(change, 401, "invalid_token", "missing token zone");
    }
}

#[test]
fn zone_unknown_answers_as_a_bad_signature_and_fetches_nothing() {
    let change = |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("zone_id", "zone-2"));
    let walked = refuses(change, 401, "invalid_token", "bearer signature invalid");
    assert_eq!(walked.world.journal.calls(), ["zone"]);
}

#[test]
fn signature_that_does_not_verify_is_refused() {
    let unknown = |scene: &mut Scene| scene.mandate(|mandate| mandate.header("kid", "other"));
    refuses(unknown, 401, "invalid_token", "bearer signature invalid");
    let good = Scene::good();
    let forged = Forgery::OtherKey.forge(&good.mandate, &good.key);
    assert_ne!(forged, good.mandate.sign(&Key::generate("key-1")));
    let walked = good.walk_with_token(&forged);
    assert_eq!(walked.denial(), Some(Denial::BadSignature));
}

#[test]
fn signature_keys_unavailable_is_503() {
    refuses(
        |scene| scene.script.keys = Keys::Unavailable,
        503,
        "authority_unavailable",
        "signing keys unavailable",
    );
}

#[test]
fn signature_keys_that_this_process_could_not_ask_for_are_its_own_fault() {
    let change = |scene: &mut Scene| scene.script.keys = Keys::Lacking;
    refuses(change, 503, "overloaded", "gateway overloaded");
}

#[test]
fn revocation_state_unavailable_is_503() {
    for state in [Revocation::Stale, Revocation::Full] {
        refuses(
            |scene| scene.script.revocation = state,
            503,
            "authority_unavailable",
            "revocation state unavailable",
        );
    }
}

#[test]
fn revocation_of_an_anchor_is_refused() {
    let revoked = |scene: &mut Scene| scene.script.revocation = Revocation::Revoked;
    refuses(revoked, 401, "invalid_token", "session revoked");
}

#[test]
fn revocation_between_watch_and_standing_is_refused() {
    let change = |scene: &mut Scene| scene.script.revocation = Revocation::Meanwhile;
    let walked = refuses(change, 401, "invalid_token", "session revoked");
    assert_eq!(
        walked.world.journal.calls(),
        ["zone", "key", "watch", "standing"],
        "the watch is registered before the set is read"
    );
}
