//! The requests of the demo that stand alone, gate by gate.

use http::Method;
use serde_json::json;

use super::client::{Ask, Payload};
use super::judge::Expect;
use super::scene::{APP, HIJACKED, MANDATE, METADATA, NONE, Scene, now};
use crate::commands::local::LocalError;

/// One request and what must come of it.
pub(super) struct Case {
    pub(super) gate: &'static str,
    pub(super) sent: &'static str,
    pub(super) ask: Ask,
    pub(super) expect: Expect,
}

type Cases = Result<Vec<Case>, LocalError>;

/// Cases, a row each: gate, what is sent in words, the request, what must come of it.
macro_rules! cases {
    ($($gate:literal, $sent:expr, $ask:expr => $expect:expr;)*) => {
        vec![$(Case { gate: $gate, sent: $sent, ask: $ask, expect: $expect }),*]
    };
}

pub(super) fn refused(status: u16, error: &'static str, description: &'static str) -> Expect {
    Expect::Refused {
        status,
        error,
        description,
    }
}

/// What may cross, in each way to carry a credential.
pub(super) fn crossings(scene: &Scene) -> Cases {
    let get = |target, resource| {
        scene
            .mandate(resource)
            .map(|mandate| Ask::get(target, &mandate, resource))
    };
    let crosses = |resource, means| Expect::Crosses {
        resource,
        means,
        hidden: &[],
    };
    let spoofed = get("/report", MANDATE)?
        .method(Method::POST)
        .payload(Payload::Text("{\"amount\":12}"))
        .header("x-caracal-client-id", "somebody-else")
        .header("x_caracal_client_id", "somebody-else")
        .header("x-forwarded-for", "203.0.113.9");
    Ok(cases! {
        "all", "GET /a%2Fb//c;v=1?q=%20, mode none",
            get("/a%2Fb//c;v=1?q=%20", NONE)? => crosses(NONE, "path byte for byte, no credential");
        "all", "GET /report, mode caracal_jwt",
            get("/report", MANDATE)? => crosses(MANDATE, "the resource mandate as bearer");
        "all", "GET /report, mode provider_oauth",
            get("/report", "resource://oauth")? => crosses("resource://oauth", "the provider's token as bearer");
        "all", "GET /report, mode provider_apikey",
            get("/report", "resource://key-header")?
                => crosses("resource://key-header", "the provider's key in X-Api-Key");
        "all", "GET /report?month=7&api_key=guess",
            get("/report?month=7&api_key=guess", "resource://key-query")?
                => Expect::Crosses { resource: "resource://key-query", means: "the provider's key replaces the guess", hidden: &["guess"] };
        "all", "POST, forged client id and address",
            spoofed
                => Expect::Crosses { resource: MANDATE, means: "body intact, forgeries gone", hidden: &["somebody-else", "203.0.113.9"] };
    })
}

/// What is refused before the mandate is looked into.
pub(super) fn preflight(scene: &Scene) -> Cases {
    let get = |target| {
        scene
            .mandate(MANDATE)
            .map(|mandate| Ask::get(target, &mandate, MANDATE))
    };
    let ambiguous = || refused(400, "invalid_token", "ambiguous request headers");
    let traversal = || refused(400, "invalid_token", "path traversal not permitted");
    let not_allowed = || refused(405, "invalid_request", "method not allowed");
    let too_long = Payload::Declared(10 * 1024 * 1024 + 1);
    Ok(cases! {
        "listener", "CONNECT 127.0.0.1:22", get("127.0.0.1:22")?.method(Method::CONNECT) => not_allowed();
        "listener", "TRACE /report", get("/report")?.method(Method::TRACE) => not_allowed();
        " 1 framing", "two Authorization headers", get("/report")?.bearer("another") => ambiguous();
        " 1 framing", "X_Caracal_Resource beside the real one",
            get("/report")?.header("x_caracal_resource", NONE) => ambiguous();
        " 1 framing", "a declared body one byte too long",
            get("/report")?.method(Method::POST).payload(too_long)
                => refused(413, "payload_too_large", "request body too large");
        " 2 bearer", "no mandate",
            Ask::bare("/report").resource(MANDATE) => refused(401, "invalid_token", "missing bearer token");
        " 3 bearer", "a bearer of 4097 bytes",
            Ask::get("/report", &"x".repeat(4097), MANDATE)
                => refused(401, "invalid_token", "bearer token too large");
        " 4 resource", "no X-Caracal-Resource",
            Ask::bare("/report").bearer(&scene.mandate(MANDATE)?)
                => refused(400, "invalid_token", "missing routing headers");
        " 5 path", "GET /reports/../admin", get("/reports/../admin")? => traversal();
        " 5 path", "GET /reports/%252e%252e%255cadmin", get("/reports/%252e%252e%255cadmin")? => traversal();
    })
}

/// What is refused for the mandate itself.
pub(super) fn token(scene: &Scene) -> Cases {
    let get = |token: &str| Ask::get("/report", token, MANDATE);
    let malformed = || refused(401, "invalid_token", "malformed bearer token");
    let bad_signature = || refused(401, "invalid_token", "bearer signature invalid");
    let unsigned = scene.signed("none", &json!({}))?;
    let unsigned = unsigned
        .rsplit_once('.')
        .map(|(signed, _)| format!("{signed}."))
        .unwrap_or_default();
    let mut expiring = scene.stack.request_for(MANDATE);
    expiring.ttl_seconds = Some(30);
    Ok(cases! {
        " 6 token", "a bearer that is no token", get("not-a-token") => malformed();
        " 6 token", "alg none and no signature", get(&unsigned) => malformed();
        " 6 token", "alg HS256", get(&scene.signed("HS256", &json!({}))?) => malformed();
        " 6 token", "a single-use mandate for 25 hours",
            get(&scene.signed("ES256", &json!({ "exp": now() + 25 * 3600 }))?) => malformed();
        " 7 expiry", "a mandate with 30 seconds left",
            get(&scene.mandate_as(expiring)?)
                => refused(401, "credential_expired_not_renewable", "credential expiring within pre-flight window");
        " 7 expiry", "a mandate that is valid in an hour",
            get(&scene.signed("ES256", &json!({ "nbf": now() + 3600 }))?)
                => refused(401, "invalid_token", "bearer token not yet valid");
        " 8 zone", "no zone_id",
            get(&scene.signed("ES256", &json!({ "zone_id": null }))?)
                => refused(401, "invalid_token", "missing token zone");
        " 8 zone", "a zone that does not exist",
            get(&scene.signed("ES256", &json!({ "zone_id": "zone-nowhere" }))?) => bad_signature();
        " 9 signature", "one character of it changed", get(&forged(&scene.mandate(MANDATE)?)) => bad_signature();
    })
}

/// What is refused for where it would go.
pub(super) fn binding(scene: &Scene) -> Cases {
    Ok(cases! {
        "11 binding", "a resource that nobody bound",
            Ask::get("/report", &scene.mandate(MANDATE)?, "resource://unheard-of")
                => refused(403, "access_denied", "resource not configured");
        "11 egress", "a resource bound to 169.254.169.254",
            Ask::get("/report", &scene.mandate(METADATA)?, METADATA)
                => refused(502, "internal_error", "upstream not addressable");
    })
}

/// What is refused at the replay mark and at the exchange.
pub(super) fn exchange(scene: &Scene) -> Cases {
    let once = scene.mandate(MANDATE)?;
    let get = |token: &str, resource| Ask::get("/report", token, resource);
    Ok(cases! {
        "14 replay", "a mandate for the first time",
            get(&once, MANDATE) => Expect::Crosses { resource: MANDATE, means: "crosses, and is spent", hidden: &[] };
        "14 replay", "the same mandate again",
            get(&once, MANDATE) => refused(401, "invalid_token", "token replay detected");
        "15 exchange", "a mandate for another resource",
            get(&scene.mandate(NONE)?, MANDATE)
                => refused(403, "access_denied", "policy denied (mandate_target_mismatch)");
        "15 exchange", "another application's mandate",
            get(&scene.signed("ES256", &json!({ "client_id": format!("not-{APP}") }))?, MANDATE)
                => refused(403, "access_denied", "authority record client mismatch");
        "15 exchange", "an STS that directs elsewhere",
            get(&scene.mandate(HIJACKED)?, HIJACKED) => refused(502, "internal_error", "upstream not addressable");
    })
}

/// A token whose signature is another one of the same form.
fn forged(token: &str) -> String {
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return String::new();
    };
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default())
}
