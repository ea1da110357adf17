//! Mandate in, resource mandate and directive out.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use devstack::{Credential, Resource, Target};
use serde_json::{Value, json};

use crate::client::{APP, Fixed, MANDATE, NOW, ZONE, claims, part};

/// The secret that a resource's upstream gets, as the configuration has it.
fn secret(resource: &Resource) -> String {
    match &resource.credential {
        Credential::None | Credential::CaracalJwt => String::new(),
        Credential::ProviderOauth { token, .. } => token.expose().to_owned(),
        Credential::ApiKeyHeader { key, .. } | Credential::ApiKeyQuery { key, .. } => key.expose().to_owned(),
    }
}

#[tokio::test]
async fn every_credential_mode_has_its_directive() {
    let mut secrets = Vec::new();
    let fixed = Fixed::with(|config| {
        secrets = config
            .resources
            .iter()
            .map(|r| (r.identifier.clone(), secret(r)))
            .collect();
    })
    .await;
    let url = fixed.stack.upstream_url();
    let expected = [
        (
            "resource://none",
            json!({"url": url, "auth_mode": "none", "provider_id": "provider-none"}),
        ),
        (
            MANDATE,
            json!({"url": url, "auth_mode": "caracal_jwt", "auth_header": "Authorization",
                "auth_scheme": "Bearer", "provider_id": "provider-mandate"}),
        ),
        (
            "resource://oauth",
            json!({"url": url, "auth_mode": "provider_oauth", "auth_header": "Authorization",
                "auth_scheme": "Bearer", "allowed_token_hosts": ["127.0.0.1"], "provider_token": "",
                "provider_id": "provider-oauth", "connection_id": "connection-oauth",
                "forward_caracal_identity": true}),
        ),
        (
            "resource://key-header",
            json!({"url": url, "auth_mode": "provider_apikey", "auth_location": "header",
                "auth_header": "X-Api-Key", "allowed_token_hosts": ["127.0.0.1"], "provider_token": "",
                "provider_id": "provider-key-header", "connection_id": "connection-key-header"}),
        ),
        (
            "resource://key-query",
            json!({"url": url, "auth_mode": "provider_apikey", "auth_location": "query",
                "query_param_name": "api_key", "allowed_token_hosts": ["127.0.0.1"], "provider_token": "",
                "provider_id": "provider-key-query", "connection_id": "connection-key-query"}),
        ),
    ];
    assert_eq!(expected.len(), secrets.len());
    for ((resource, mut expect), (_, secret)) in expected.into_iter().zip(&secrets) {
        if let Some(token) = expect.get_mut("provider_token") {
            *token = Value::from(secret.as_str());
        }
        let answer = fixed.exchange(&fixed.mandate(resource), resource).send().await;
        assert_eq!(answer.status, 200, "{resource}");
        assert_eq!(answer.upstream(resource), expect, "{resource}");
    }
    assert_eq!(fixed.stack.sts().counts().exchanges, 5);
}

#[tokio::test]
async fn the_resource_mandate_verifies_under_the_published_key_and_inherits_the_subject() {
    let fixed = Fixed::start().await;
    let presented = fixed.mandate(MANDATE);
    let exchange = fixed.exchange(&presented, MANDATE);
    let answer = exchange.send().await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-request-id"), exchange.nonce);
    let body = answer.json();
    let token = body["access_token"].as_str().unwrap();
    for (name, expect) in [
        ("token_type", json!("Bearer")),
        ("expires_in", json!(900)),
        ("scope", json!("invoke")),
        (
            "issued_token_type",
            json!("urn:ietf:params:oauth:token-type:access_token"),
        ),
        ("target_resources", json!([MANDATE])),
    ] {
        assert_eq!(body[name], expect, "{name}");
    }

    let header = part(token, 0);
    let keys = fixed.get("/.well-known/jwks.json?zone_id=zone-dev").await.json();
    let key = &keys["keys"][0];
    assert_eq!(header, json!({"alg": "ES256", "kid": key["kid"], "typ": "JWT"}));
    let coordinate = |name: &str| {
        BASE64URL_NOPAD
            .decode(key[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    assert_eq!(signature.len(), 64);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &signature)
        .unwrap();

    let (before, after) = (claims(&presented), claims(token));
    for name in [
        "iss",
        "sub",
        "sub_type",
        "zone_id",
        "client_id",
        "scope",
        "root_sid",
        "agent_session_id",
        "delegation_edge_id",
        "source_session_id",
        "target_session_id",
        "delegation_path",
        "delegation_chain",
        "hop_count",
    ] {
        assert!(!before[name].is_null(), "{name}");
        assert_eq!(after[name], before[name], "{name}");
    }
    for (name, expect) in [
        ("use", json!("resource")),
        ("aud", json!([MANDATE])),
        ("target", json!([MANDATE])),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 900)),
    ] {
        assert_eq!(after[name], expect, "{name}");
    }
    for name in ["jti", "sid"] {
        assert_ne!(after[name], before[name], "{name}");
    }
    assert!(after.get("nbf").is_none());
}

#[tokio::test]
async fn a_mandate_is_exchanged_any_number_of_times_and_a_short_one_for_a_long_one() {
    let fixed = Fixed::start().await;
    let mut request = fixed.stack.request_for(MANDATE);
    request.ttl_seconds = Some(5);
    let minted = fixed.stack.mint(&request).unwrap();
    for _ in 0..2 {
        let answer = fixed.exchange(minted.token.expose(), MANDATE).send().await;
        assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(900)));
    }
}

#[tokio::test]
async fn only_targeted_resources_of_several_are_granted() {
    let fixed = Fixed::start().await;
    let answer = fixed
        .exchange(&fixed.mandate(MANDATE), "resource://none")
        .add("resource", MANDATE)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["target_resources"], json!([MANDATE]));
    assert_eq!(answer.json()["upstreams"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_mandate_is_exchanged_only_where_it_is_configured() {
    for (accepts, expect) in [(false, 401), (true, 200)] {
        let fixed = Fixed::with(|config| config.accept_session_mandates = accepts).await;
        let mut request = fixed.stack.request_for(MANDATE);
        request.mandate_use = devstack::Use::Session;
        let minted = fixed.stack.mint(&request).unwrap();
        assert_eq!(
            fixed.exchange(minted.token.expose(), MANDATE).send().await.status,
            expect
        );
    }
}

#[tokio::test]
async fn a_base_path_and_query_of_the_echo_target_reach_the_directive_and_the_binding() {
    let fixed = Fixed::with(|config| config.resources[1].target = Target::Echo("/base?v=2".into())).await;
    let answer = fixed.exchange(&fixed.mandate(MANDATE), MANDATE).send().await;
    let url = format!("{}/base?v=2", fixed.stack.upstream_url());
    assert_eq!(answer.upstream(MANDATE)["url"], json!(url));
    let binding = &fixed.stack.bindings()[1];
    assert_eq!(
        (binding.zone.as_str(), binding.application_id.as_str()),
        (ZONE, APP)
    );
    assert_eq!(
        (binding.resource.as_str(), binding.upstream_url.as_str()),
        (MANDATE, url.as_str())
    );
}

#[tokio::test]
async fn a_token_of_the_previous_key_holds_and_one_of_the_key_before_that_does_not() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    let admin = format!("Bearer {}", fixed.stack.admin_token().expose());
    let rotate = |bearer: String| {
        let url = fixed.stack.sts_url().to_owned();
        async move {
            let target = "/internal/zones/zone-dev/signing-key/rotate";
            crate::client::send(&url, "POST", target, &[("authorization", &bearer)], "")
                .await
                .unwrap()
        }
    };
    assert_eq!(rotate("Bearer nobody".into()).await.status, 401);
    let first = fixed.stack.sts().kid(ZONE).unwrap();
    let rotated = rotate(admin).await;
    assert_eq!(rotated.status, 200);
    assert_eq!(rotated.json()["kid"], json!(fixed.stack.sts().kid(ZONE).unwrap()));
    let keys = fixed.get("/.well-known/jwks.json?zone_id=zone-dev").await.json();
    assert_eq!(keys["keys"][1]["kid"], json!(first));
    assert_eq!(fixed.exchange(&token, MANDATE).send().await.status, 200);
    fixed.stack.sts().rotate_key(ZONE).unwrap();
    let refusal = fixed.exchange(&token, MANDATE).send().await.refusal();
    assert_eq!(
        refusal,
        (401, "invalid_token".into(), "invalid subject_token".into())
    );
    assert!(fixed.stack.sts().rotate_key("nowhere").is_err());
}

#[tokio::test]
async fn the_key_set_has_the_published_shape_and_headers() {
    let fixed = Fixed::start().await;
    let answer = fixed.get("/.well-known/jwks.json?zone_id=zone-dev").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=300, must-revalidate"
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let keys = answer.json();
    let key = keys["keys"][0].as_object().unwrap();
    let names: Vec<_> = key.keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    for (name, expect) in [("kty", "EC"), ("crv", "P-256"), ("use", "sig"), ("alg", "ES256")] {
        assert_eq!(key[name], json!(expect));
    }
    assert_eq!(
        uuid::Uuid::parse_str(key["kid"].as_str().unwrap())
            .unwrap()
            .get_version_num(),
        7
    );
    for (target, expect) in [
        (
            "/.well-known/jwks.json",
            (400, "invalid_token", "zone_id required"),
        ),
        (
            "/.well-known/jwks.json?zone_id=x",
            (404, "resource_not_found", "zone signing key not found"),
        ),
    ] {
        let (status, error, description) = fixed.get(target).await.refusal();
        assert_eq!((status, error.as_str(), description.as_str()), expect);
    }
    assert_eq!(fixed.stack.sts().counts().jwks, 3);
    assert_eq!(fixed.get("/health").await.status, 204);
    assert_eq!(fixed.get("/nothing").await.status, 404);
}
