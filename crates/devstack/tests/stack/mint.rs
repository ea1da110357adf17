//! Mandates for a client id and secret.

use serde_json::{Value, json};

use crate::client::{APP, Answer, Fixed, MANDATE, NOW, ZONE, claims, form, send};

async fn mint(fixed: &Fixed, change: &[(&str, &str)]) -> Answer {
    let secret = fixed.stack.clients()[0].secret.expose();
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("zone_id", ZONE),
        ("application_id", APP),
        ("client_secret", secret),
        ("resource", MANDATE),
    ];
    for (name, value) in change {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(
        fixed.stack.sts_url(),
        "POST",
        "/oauth/2/token",
        &headers,
        &form(&fields),
    )
    .await
    .unwrap()
}

async fn minted_claims(fixed: &Fixed, change: &[(&str, &str)]) -> Value {
    let answer = mint(fixed, change).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    claims(answer.json()["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_mandate_minted_over_http_is_exchanged() {
    let fixed = Fixed::start().await;
    let answer = mint(&fixed, &[]).await;
    let body = answer.json();
    assert_eq!(
        (&body["expires_in"], &body["scope"]),
        (&json!(900), &json!("invoke"))
    );
    assert_eq!(body["target_resources"], json!([MANDATE]));
    assert!(body.get("upstreams").is_none());
    let token = body["access_token"].as_str().unwrap();
    assert!(token.len() <= 4096);
    assert_eq!(fixed.exchange(token, MANDATE).send().await.status, 200);
    let counts = fixed.stack.sts().counts();
    assert_eq!((counts.mints, counts.exchanges), (1, 1));
}

#[tokio::test]
async fn a_gateway_mandate_rests_on_what_the_form_names() {
    let fixed = Fixed::start().await;
    let given = [
        ("agent_session_id", "agent-1"),
        ("delegation_edge_id", "edge-1"),
        ("sid", "sid-1"),
        ("root_sid", "root-1"),
        ("ttl_seconds", "60"),
        ("scope", "a b"),
        ("subject", "alice"),
    ];
    let claims = minted_claims(&fixed, &given).await;
    let issuer = fixed.stack.sts_url();
    for (name, expect) in [
        ("iss", json!(issuer)),
        ("aud", json!([issuer])),
        ("use", json!("gateway")),
        ("zone_id", json!(ZONE)),
        ("client_id", json!(APP)),
        ("sub", json!("alice")),
        ("sub_type", json!("user")),
        ("sid", json!("sid-1")),
        ("root_sid", json!("root-1")),
        ("agent_session_id", json!("agent-1")),
        ("target_session_id", json!("agent-1")),
        ("delegation_edge_id", json!("edge-1")),
        ("delegation_path", json!(["edge-1"])),
        (
            "delegation_chain",
            json!([{"application_id": APP, "agent_session_id": "agent-1", "delegation_edge_id": "edge-1"}]),
        ),
        ("hop_count", json!(1)),
        ("scope", json!("a b")),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 60)),
        ("target", json!([MANDATE])),
    ] {
        assert_eq!(claims[name], expect, "{name}");
    }
}

#[tokio::test]
async fn every_gateway_mandate_is_new_and_carries_a_session_and_an_edge() {
    let fixed = Fixed::start().await;
    let (one, two) = (minted_claims(&fixed, &[]).await, minted_claims(&fixed, &[]).await);
    for name in ["jti", "sid", "root_sid", "agent_session_id", "delegation_edge_id"] {
        let id = uuid::Uuid::parse_str(one[name].as_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), 7, "{name}");
        assert_ne!(one[name], two[name], "{name}");
    }
    assert_eq!(
        (&one["sub"], &one["sub_type"]),
        (&json!(APP), &json!("application"))
    );
    assert_eq!(one["root_sid"], one["sid"]);
}

#[tokio::test]
async fn a_session_mandate_has_no_session_and_edge_of_its_own() {
    let fixed = Fixed::start().await;
    let claims = minted_claims(&fixed, &[("use", "session")]).await;
    assert_eq!(claims["use"], json!("session"));
    assert_eq!(claims["root_sid"], claims["sid"]);
    for name in [
        "agent_session_id",
        "delegation_edge_id",
        "delegation_path",
        "hop_count",
        "source_session_id",
    ] {
        assert!(claims.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn the_lifetime_is_capped_at_an_hour() {
    let fixed = Fixed::start().await;
    for (asked, expect) in [("", 900), ("0", 900), ("1", 1), ("3600", 3600), ("3601", 3600)] {
        let claims = minted_claims(&fixed, &[("ttl_seconds", asked)]).await;
        assert_eq!(claims["exp"], json!(NOW + expect), "{asked:?}");
    }
}

#[tokio::test]
async fn a_mint_that_is_not_in_order_is_refused() {
    let fixed = Fixed::start().await;
    for (change, expect) in [
        (
            ("client_secret", "wrong"),
            (401, "access_denied", "invalid client credentials"),
        ),
        (
            ("client_secret", ""),
            (401, "access_denied", "invalid client credentials"),
        ),
        (
            ("application_id", "other"),
            (401, "access_denied", "invalid client credentials"),
        ),
        (
            ("zone_id", "other"),
            (401, "access_denied", "invalid client credentials"),
        ),
        (
            ("resource", "resource://other"),
            (403, "access_denied", "policy denied"),
        ),
        (
            ("resource", ""),
            (400, "invalid_token", "resource must not be empty"),
        ),
        (
            ("ttl_seconds", "1m"),
            (400, "invalid_token", "ttl_seconds must be a whole number"),
        ),
        (
            ("use", "resource"),
            (400, "invalid_token", "use must be gateway or session"),
        ),
        (
            ("grant_type", "password"),
            (400, "invalid_token", "unsupported grant_type"),
        ),
    ] {
        let (status, error, description) = mint(&fixed, &[change]).await.refusal();
        assert_eq!(
            (status, error.as_str(), description.as_str()),
            expect,
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn a_subject_token_without_the_gateways_signature_is_refused() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    let answer = mint(
        &fixed,
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &token),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
        ],
    )
    .await;
    assert_eq!(answer.refusal().2, "an exchange needs the gateway's signature");
}

#[tokio::test]
async fn a_mint_in_process_tells_what_the_mandate_rests_on() {
    let fixed = Fixed::start().await;
    let minted = fixed.stack.mint(&fixed.stack.request_for(MANDATE)).unwrap();
    let claims = claims(minted.token.expose());
    assert_eq!(claims["jti"], json!(minted.jti));
    assert_eq!(claims["sid"], json!(minted.sid));
    assert_eq!(claims["root_sid"], json!(minted.root_sid));
    assert_eq!(claims["agent_session_id"], json!(minted.agent_session_id));
    assert_eq!(claims["delegation_edge_id"], json!(minted.delegation_edge_id));
    assert_eq!(claims["exp"], json!(minted.expires_at));
    assert!(!format!("{minted:?}").contains(minted.token.expose()));
    let refusal = fixed
        .stack
        .mint(&fixed.stack.request_for("resource://other"))
        .unwrap_err();
    assert_eq!(
        (refusal.status.as_u16(), refusal.description.as_ref()),
        (403, "policy denied")
    );
    let nobody = devstack::MintRequest::new(ZONE, "nobody");
    assert_eq!(fixed.stack.mint(&nobody).unwrap_err().status.as_u16(), 401);
    let targetless = devstack::MintRequest::new(ZONE, APP);
    assert_eq!(
        fixed.stack.mint(&targetless).unwrap_err().description,
        "at least one resource is required"
    );
}
