//! What the request carries, in all four modes.

use admission::Denial;
use serde_json::{Value, json};

use super::{carried, with};

#[test]
fn directive_modes_place_the_credential() {
    let mandate = "resource.mandate.sig";
    for (changes, placement, identity, reserved) in [
        (json!({ "auth_mode": "none" }), "none", None, "authorization"),
        (
            json!({ "auth_mode": "none", "auth_header": "X-Api-Key" }),
            "none",
            None,
            "x-api-key",
        ),
        (
            json!({}),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_scheme": "" }),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_header": "X-Token", "auth_scheme": "Mandate" }),
            "x-token: Mandate resource.mandate.sig",
            None,
            "x-token",
        ),
        // The identity header belongs to the provider modes: here the mandate is sent anyway.
        (
            json!({ "forward_caracal_identity": true }),
            "authorization: Bearer resource.mandate.sig",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "none", "forward_caracal_identity": true }),
            "none",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p" }),
            "authorization: Bearer p",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "dTpw", "auth_scheme": "Basic" }),
            "authorization: Basic dTpw",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p", "auth_header": "", "auth_scheme": "" }),
            "authorization: p",
            None,
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_oauth", "provider_token": "p", "forward_caracal_identity": true }),
            "authorization: Bearer p",
            Some(mandate),
            "authorization",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_location": "header", "auth_header": "X-API-Key", "auth_scheme": "", "provider_token": "k" }),
            "x-api-key: k",
            None,
            "x-api-key",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_header": "x_api_key", "auth_scheme": "", "provider_token": "k y" }),
            "x_api_key: k y",
            None,
            "x_api_key",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_header": "Cookie", "auth_scheme": "", "provider_token": "s=k" }),
            "cookie: s=k",
            None,
            "cookie",
        ),
        (
            json!({ "auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "api.key~1", "provider_token": "k&x=1", "forward_caracal_identity": true }),
            "?api.key~1=k%26x%3D1",
            Some(mandate),
            "authorization",
        ),
    ] {
        let expected = (
            placement.to_owned(),
            identity.map(str::to_owned),
            reserved.to_owned(),
        );
        assert_eq!(carried(with(&changes)), expected, "{changes}");
    }
}

#[test]
fn directive_that_cannot_be_obeyed_is_refused_and_the_mandate_is_spent() {
    let oauth = |name: &str, value: Value| json!({ "auth_mode": "provider_oauth", "provider_token": "p", name: value });
    let query = |name: &str| json!({ "auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": name, "provider_token": "k" });
    for changes in [
        json!({ "auth_mode": "" }),
        json!({ "auth_mode": "Caracal_JWT" }),
        json!({ "auth_mode": "caracal_jwt " }),
        json!({ "auth_mode": "bearer" }),
        json!({ "auth_mode": null }),
        json!({ "auth_mode": ["none"] }),
        json!({ "auth_mode": "provider_oauth" }),
        json!({ "auth_mode": "provider_apikey" }),
        oauth("provider_token", json!("")),
        oauth("provider_token", json!("a\r\nX-Evil: 1")),
        oauth("provider_token", json!("a\u{0}")),
        oauth("provider_token", json!("é")),
        oauth("provider_token", json!(7)),
        oauth("auth_scheme", json!("Bear er")),
        oauth("auth_scheme", json!("1x")),
        oauth("auth_scheme", json!("Bearer\r\n")),
        oauth("auth_header", json!("X Key")),
        oauth("auth_header", json!("X-Key: x\r\nY")),
        oauth("auth_header", json!("é")),
        json!({ "auth_mode": "provider_apikey", "auth_location": "body", "provider_token": "k" }),
        json!({ "auth_mode": "provider_apikey", "auth_location": "Query", "query_param_name": "k", "provider_token": "k" }),
        query(""),
        query("a b"),
        query("a&b"),
        query("a=b"),
        query("a%62"),
        query("é"),
        json!({ "allowed_token_hosts": "api.example" }),
        json!({ "forward_caracal_identity": "yes" }),
    ] {
        let walked = with(&changes);
        assert_eq!(walked.denial(), Some(Denial::DirectiveInvalid), "{changes}");
        assert!(!walked.world.journal.has("release"), "{changes}");
    }
}

#[test]
fn directive_reserved_credential_headers_are_refused_in_every_spelling() {
    for name in [
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
        "x-request-id",
        "x-caracal-identity",
        "x-caracal-client-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "proxy-x",
    ] {
        for spelling in [name.to_owned(), name.to_ascii_uppercase(), name.replace('-', "_")] {
            for mode in ["none", "caracal_jwt", "provider_oauth", "provider_apikey"] {
                let changes = json!({ "auth_mode": mode, "auth_header": spelling, "provider_token": "p" });
                assert_eq!(
                    with(&changes).denial(),
                    Some(Denial::DirectiveInvalid),
                    "{mode} {spelling}"
                );
            }
        }
    }
}
