//! Every row of the table of gates: condition and wire answer.

use admission::Denial;
use admission::limits::{OnReplayOutage, OwnEndpoint};
use admission::mode::Mode;
use serde_json::json;
use testkit::clock::START;
use testkit::mint::{Forgery, Key};

use crate::ports::{Exchange, Keys, RESOURCE, Revocation, Set, binding};
use crate::scene::{Scene, Walked, granting};

/// Walks a changed scene and compares the answer that the refusal gives.
fn refuses(change: impl FnOnce(&mut Scene), status: u16, error: &str, description: &str) -> Walked {
    let walked = Scene::with(change).walk();
    let row = walked.denial().expect("a refusal").row();
    assert_eq!(
        (row.status.as_u16(), row.error, row.description),
        (status, error, description)
    );
    walked
}

fn header(name: &'static str, value: &str) -> impl FnOnce(&mut Scene) {
    let value = value.to_owned();
    move |scene| scene.headers.push((name, value))
}

#[test]
fn framing_doubled_or_aliased_headers_are_refused() {
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("x-caracal-resource", "b"),
        ("x_caracal_resource", "b"),
        ("X_Caracal_Identity", "x"),
        ("x_real_ip", "1.1.1.1"),
        ("content-length", "x"),
    ] {
        refuses(
            header(name, value),
            400,
            "invalid_token",
            "ambiguous request headers",
        );
    }
}

#[test]
fn framing_declared_length_over_the_limit_is_refused() {
    refuses(
        header("content-length", "1001"),
        413,
        "payload_too_large",
        "request body too large",
    );
    assert!(
        Scene::with(header("content-length", "1000"))
            .walk()
            .result
            .is_ok()
    );
}

#[test]
fn framing_client_id_header_is_let_pass_and_never_used() {
    for name in [
        "x-caracal-client-id",
        "x_caracal_client_id",
        "X-Caracal_Client-ID",
    ] {
        let walked = Scene::with(header(name, "app-of-attacker")).walk();
        let permit = walked.result.unwrap();
        assert_eq!(
            permit.parts().subject.application_id.as_deref(),
            Some("app-of-binding")
        );
        assert!(!walked.world.journal.forms.lock().unwrap()[0].contains("attacker"));
    }
}

#[test]
fn bearer_missing_is_refused() {
    for scheme in ["", "Basic", "Bearer,", "DPoP"] {
        refuses(
            |scene| scene.scheme = scheme,
            401,
            "invalid_token",
            "missing bearer token",
        );
    }
    assert!(Scene::with(|scene| scene.scheme = "bEARER").walk().result.is_ok());
}

#[test]
fn bearer_over_4096_bytes_is_refused() {
    let large = |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("pad", "x".repeat(4096)));
    refuses(large, 401, "invalid_token", "bearer token too large");
}

#[test]
fn resource_missing_is_refused() {
    refuses(
        |scene| scene.resource = " ",
        400,
        "invalid_token",
        "missing routing headers",
    );
}

#[test]
fn path_traversal_is_refused() {
    for target in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/..;/x",
        "/a%5cb",
        "/a%00b",
        "/%252e%252e",
    ] {
        refuses(
            |scene| scene.target = target,
            400,
            "invalid_token",
            "path traversal not permitted",
        );
    }
    for target in ["/", "/a%2Fb.txt", "//a//", "/a?x=/../y"] {
        assert!(
            Scene::with(|scene| scene.target = target).walk().result.is_ok(),
            "{target}"
        );
    }
}

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

#[test]
fn binding_missing_is_refused() {
    refuses(
        |scene| scene.script.bound = None,
        403,
        "access_denied",
        "resource not configured",
    );
}

#[test]
fn binding_without_application_takes_the_verified_client() {
    use admission::binding::Application;
    let from_token = |client: Option<&'static str>| {
        move |scene: &mut Scene| {
            let bound = scene.script.bound.as_mut().unwrap();
            bound.application = Application::FromToken;
            scene.mandate(|mandate| match client {
                Some(client) => mandate.claim("client_id", client),
                None => mandate.without("client_id"),
            });
        }
    };
    let permit = Scene::with(from_token(Some("app-7"))).walk().result.unwrap();
    assert_eq!(permit.parts().subject.application_id.as_deref(), Some("app-7"));
    for client in [None, Some(""), Some("a/b")] {
        refuses(from_token(client), 401, "invalid_token", "missing token client");
    }
}

#[test]
fn binding_upstream_that_the_guard_refuses_is_502() {
    let not_addressable = |change: &dyn Fn(&mut Scene)| {
        refuses(
            |scene| change(scene),
            502,
            "internal_error",
            "upstream not addressable",
        )
    };
    for url in [
        "https://169.254.169.254/",
        "http://metadata/",
        "https://u@api.example",
        "https://api.example/../x",
    ] {
        let walked = not_addressable(&|scene| scene.script.bound = Some(binding(url)));
        assert!(
            !walked.world.journal.has("resolve"),
            "{url} is judged before any query"
        );
    }
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "64:ff9b::a9fe:a9fe",
    ] {
        let addresses = vec![[8, 8, 8, 8].into(), address.parse().unwrap()];
        not_addressable(&|scene| scene.script.addresses.clone_from(&addresses));
    }
    not_addressable(&|scene| scene.script.addresses.clear());
    not_addressable(&|scene| scene.egress.allowlist = vec!["other.example".to_owned()]);
    not_addressable(&|scene| {
        scene.egress.own_endpoints = vec![OwnEndpoint::Host("sts.example".to_owned(), 443)];
    });
}

#[test]
fn circuit_open_is_503() {
    refuses(
        |scene| scene.circuit_faults = 5,
        503,
        "sts_unavailable",
        "sts unavailable",
    );
    assert!(
        Scene::with(|scene| scene.circuit_faults = 4)
            .walk()
            .result
            .is_ok()
    );
}

#[test]
fn evidence_without_room_is_503() {
    refuses(
        |scene| scene.script.room = false,
        503,
        "authority_unavailable",
        "audit evidence unavailable",
    );
}

#[test]
fn replay_second_use_is_refused() {
    refuses(
        |scene| scene.script.set = Set::Seen,
        401,
        "invalid_token",
        "token replay detected",
    );
}

#[test]
fn replay_store_down_is_503() {
    refuses(
        |scene| scene.script.set = Set::Unavailable,
        503,
        "authority_unavailable",
        "replay store unavailable",
    );
}

#[test]
fn replay_store_down_passes_only_with_the_proof_of_development() {
    let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
        unreachable!()
    };
    let open = |set| {
        Scene::with(|scene| {
            scene.on_outage = OnReplayOutage::Pass(proof);
            scene.script.set = set;
        })
        .walk()
    };
    let walked = open(Set::Unavailable);
    assert!(walked.result.is_ok());
    assert!(
        !walked.world.journal.has("release"),
        "the mandate is used: nothing is given back"
    );
    assert_eq!(
        open(Set::Seen).denial(),
        Some(Denial::Replayed),
        "a known replay stays one"
    );
}

#[test]
fn exchange_refused_passes_on_the_stss_own_words() {
    let body =
        json!({ "error": "access_denied", "error_description": "policy denied", "challenge_secret": "s" });
    let walked = Scene::with(|scene| scene.script.exchange = Exchange::Answers(403, body.to_string())).walk();
    let refused = walked.result.err().unwrap();
    let words = refused.sts.unwrap();
    assert_eq!(refused.denial, Denial::ExchangeRefused);
    assert_eq!(
        (words.status, words.error.as_str(), words.description.as_str()),
        (403, "access_denied", "policy denied")
    );
}

#[test]
fn exchange_failures_are_of_the_stss_making() {
    let unreachable = (502, "sts_unavailable", "sts unavailable");
    let timeout = (504, "sts_unavailable", "sts timeout");
    let invalid = (502, "sts_unavailable", "sts response invalid");
    let signature = r#"{"error":"access_denied","error_description":"invalid gateway exchange signature"}"#;
    let ours = (503, "sts_unavailable", "sts refused the gateway");
    for (exchange, (status, error, description)) in [
        (Exchange::Connect, unreachable),
        (Exchange::Broken, unreachable),
        (Exchange::Timeout, timeout),
        (Exchange::PoolTimeout, timeout),
        (Exchange::Oversized, invalid),
        (Exchange::Answers(302, String::new()), invalid),
        (Exchange::Answers(200, "<html>".to_owned()), invalid),
        (
            Exchange::Answers(200, r#"{"access_token":""}"#.to_owned()),
            invalid,
        ),
        (Exchange::Answers(401, signature.to_owned()), ours),
    ] {
        let walked = refuses(
            |scene| scene.script.exchange = exchange,
            status,
            error,
            description,
        );
        assert_eq!(
            walked.world.journal.forms.lock().unwrap().len(),
            1,
            "never retried"
        );
    }
}

#[test]
fn exchange_without_directive_is_refused_by_the_caracal_dialect() {
    let body = json!({ "access_token": "a.b.c" }).to_string();
    let walked = refuses(
        |scene| scene.script.exchange = Exchange::Answers(200, body),
        403,
        "access_denied",
        "resource upstream not configured",
    );
    assert!(!walked.world.journal.has("release"), "the mandate is spent");
    let elsewhere =
        json!({ "access_token": "a.b.c", "upstreams": { format!("{RESOURCE}/x"): {} } }).to_string();
    refuses(
        |scene| scene.script.exchange = Exchange::Answers(200, elsewhere),
        403,
        "access_denied",
        "resource upstream not configured",
    );
}

#[test]
fn exchange_with_a_bad_directive_is_502() {
    let directive = json!({ "url": "https://api.example", "auth_mode": "magic" });
    refuses(
        |scene| scene.script.exchange = granting(&directive),
        502,
        "internal_error",
        "upstream directive invalid",
    );
}
