//! Every refusal of an exchange, with its status, code and text.

use serde_json::{Value, json};

use crate::client::{APP, Exchange, Fixed, MANDATE, NOW, ZONE, claims, send, unique};

#[track_caller]
fn check(refusal: &(u16, String, String), expect: (u16, &str, &str)) {
    assert_eq!((refusal.0, refusal.1.as_str(), refusal.2.as_str()), expect);
}

#[tokio::test]
async fn a_faulty_form_is_refused_before_its_signature_is_looked_at() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    // A timestamp far off, so that a signature looked at too early would show.
    let base = || Exchange {
        timestamp: Some(0),
        ..fixed.exchange(&token, MANDATE)
    };
    for (exchange, description) in [
        (base().add("zone_id", ZONE), "duplicate form field: zone_id"),
        (
            base().add("unknown", "1").add("unknown", "2"),
            "duplicate form field: unknown",
        ),
        (base().set("grant_type", "password"), "unsupported grant_type"),
        (
            base().set("grant_type", "client_credentials"),
            "unsupported grant_type",
        ),
        (base().without("grant_type"), "unsupported grant_type"),
        (
            base().set("subject_token_type", "other"),
            "unsupported subject_token_type",
        ),
        (
            base().without("subject_token_type"),
            "subject_token_type is required with subject_token",
        ),
        (base().set("resource", ""), "resource must not be empty"),
        (base().without("resource"), "at least one resource is required"),
        (
            base().set("actor_token", "x"),
            "unsupported form field: actor_token",
        ),
    ] {
        check(
            &exchange.send().await.refusal(),
            (400, "invalid_token", description),
        );
    }
    let exchange = base();
    let body = exchange.body();
    let headers = exchange.signed_headers(&body);
    let url = fixed.stack.sts_url();
    let with_type = |kind: &'static str| {
        headers
            .iter()
            .map(move |(name, value)| (*name, if *name == "content-type" { kind } else { value }))
    };
    let form: Vec<_> = with_type("Application/X-WWW-Form-Urlencoded; charset=utf-8").collect();
    let json: Vec<_> = with_type("application/json").collect();
    let long = format!("{body}&pad={}", "x".repeat(64 * 1024));
    let cases = [
        (
            &form,
            "/oauth/2/token?a=1",
            body.as_str(),
            (400, "invalid_token", "query parameters are not allowed"),
        ),
        (
            &form,
            "/oauth/2/token",
            "a=%zz",
            (400, "invalid_token", "malformed request body"),
        ),
        (
            &form,
            "/oauth/2/token",
            &long,
            (413, "payload_too_large", "request body too large"),
        ),
        (
            &json,
            "/oauth/2/token",
            &body,
            (
                415,
                "invalid_token",
                "content type must be application/x-www-form-urlencoded",
            ),
        ),
        (
            &form,
            "/oauth/2/token",
            &body,
            (401, "access_denied", "invalid gateway exchange signature"),
        ),
    ];
    for (headers, target, body, expect) in cases {
        let answer = send(url, "POST", target, headers, body).await.unwrap();
        assert_eq!(answer.header("x-request-id"), exchange.nonce);
        assert_eq!(answer.json()["requestId"], json!(exchange.nonce));
        check(&answer.refusal(), expect);
    }
    let answer = send(url, "GET", "/oauth/2/token", &[], "").await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(answer.body, "Method Not Allowed");
}

const BAD_SIGNATURE: (u16, &str, &str) = (401, "access_denied", "invalid gateway exchange signature");

#[tokio::test]
async fn a_nonce_passes_once_and_is_spent_by_a_refused_exchange_too() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    let exchange = fixed.exchange(&token, MANDATE);
    assert_eq!(exchange.send().await.status, 200);
    check(&exchange.send().await.refusal(), BAD_SIGNATURE);
    let unknown = fixed.exchange(&token, "resource://unknown");
    assert_eq!(unknown.send().await.status, 403);
    check(&unknown.send().await.refusal(), BAD_SIGNATURE);
}

#[tokio::test]
async fn a_false_signature_spends_no_nonce() {
    let fixed = Fixed::start().await;
    let exchange = fixed.exchange(&fixed.mandate(MANDATE), MANDATE);
    let body = exchange.body();
    let mut headers = exchange.signed_headers(&body);
    headers[3].1 = "00".repeat(32);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let url = fixed.stack.sts_url();
    check(
        &send(url, "POST", "/oauth/2/token", &headers, &body)
            .await
            .unwrap()
            .refusal(),
        BAD_SIGNATURE,
    );
    assert_eq!(exchange.send().await.status, 200);
}

#[tokio::test]
async fn the_form_must_name_the_request_of_the_header() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    let other = Exchange {
        request_id: Some(unique()),
        ..fixed.exchange(&token, MANDATE)
    };
    check(&other.send().await.refusal(), BAD_SIGNATURE);
}

#[tokio::test]
async fn sixty_seconds_of_skew_pass_over_http() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    for (timestamp, expect) in [(NOW - 61, 401), (NOW - 60, 200), (NOW + 60, 200), (NOW + 61, 401)] {
        let exchange = Exchange {
            timestamp: Some(timestamp),
            ..fixed.exchange(&token, MANDATE)
        };
        assert_eq!(exchange.send().await.status, expect, "{timestamp}");
    }
}

#[tokio::test]
async fn an_unknown_application_or_zone_is_refused() {
    let fixed = Fixed::start().await;
    let token = fixed.mandate(MANDATE);
    for (name, value) in [("application_id", "other"), ("zone_id", "other")] {
        let refusal = fixed
            .exchange(&token, MANDATE)
            .set(name, value)
            .send()
            .await
            .refusal();
        check(&refusal, (401, "access_denied", "invalid client credentials"));
    }
}

/// A token with some claims of a good one changed.
fn changed(fixed: &Fixed, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(&fixed.mandate(MANDATE));
    change(&mut claims);
    let header = format!(
        r#"{{"alg":"ES256","kid":"{}"}}"#,
        fixed.stack.sts().kid(ZONE).unwrap()
    );
    fixed
        .stack
        .sts()
        .sign_literally(ZONE, &header, &claims.to_string())
        .unwrap()
        .expose()
        .to_owned()
}

#[tokio::test]
async fn a_subject_token_that_does_not_hold_is_refused() {
    let fixed = Fixed::start().await;
    let good = fixed.mandate(MANDATE);
    let (front, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let sts = fixed.stack.sts();
    let kid = sts.kid(ZONE).unwrap();
    let text = claims(&good).to_string();
    let literal = |header: String| {
        sts.sign_literally(ZONE, &header, &text)
            .unwrap()
            .expose()
            .to_owned()
    };
    let tokens = [
        ("empty", String::new()),
        ("two parts", front.to_owned()),
        ("signature", format!("{front}.{flipped}{}", &signature[1..])),
        ("alg none", literal(format!(r#"{{"alg":"none","kid":"{kid}"}}"#))),
        (
            "unknown kid",
            literal(r#"{"alg":"ES256","kid":"other"}"#.to_owned()),
        ),
        ("no kid", literal(r#"{"alg":"ES256"}"#.to_owned())),
        (
            "iss",
            changed(&fixed, |claims| claims["iss"] = json!("http://other")),
        ),
        (
            "aud",
            changed(&fixed, |claims| claims["aud"] = json!(["http://other"])),
        ),
        (
            "zone",
            changed(&fixed, |claims| claims["zone_id"] = json!("other")),
        ),
        ("use", changed(&fixed, |claims| claims["use"] = json!("resource"))),
        ("no exp", changed(&fixed, |claims| claims["exp"] = json!(null))),
        ("exp", changed(&fixed, |claims| claims["exp"] = json!(NOW - 60))),
        ("iat", changed(&fixed, |claims| claims["iat"] = json!(NOW + 61))),
        ("nbf", changed(&fixed, |claims| claims["nbf"] = json!(NOW + 61))),
    ];
    for (fault, token) in tokens {
        let refusal = fixed.exchange(&token, MANDATE).send().await.refusal();
        assert_eq!(
            refusal,
            (401, "invalid_token".into(), "invalid subject_token".into()),
            "{fault}"
        );
    }
    for (case, token) in [
        (
            "leeway",
            changed(&fixed, |claims| claims["exp"] = json!(NOW - 59)),
        ),
        (
            "iat leeway",
            changed(&fixed, |claims| claims["iat"] = json!(NOW + 60)),
        ),
        (
            "aud as text",
            changed(&fixed, |claims| claims["aud"] = claims["iss"].clone()),
        ),
        (
            "unknown claims",
            changed(&fixed, |claims| claims["more"] = json!({"a": 1})),
        ),
    ] {
        assert_eq!(fixed.exchange(&token, MANDATE).send().await.status, 200, "{case}");
    }
}

#[tokio::test]
async fn a_mandate_that_holds_but_does_not_permit_is_refused() {
    let fixed = Fixed::with(|config| {
        config.clients.push(devstack::Client {
            zone: ZONE.into(),
            id: "app-other".into(),
            secret: devstack::Secret::random().unwrap(),
        });
    })
    .await;
    let good = fixed.mandate(MANDATE);
    let remove = |name: &'static str| {
        changed(&fixed, move |claims| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    for (exchange, expect) in [
        (
            fixed.exchange(&remove("sid"), MANDATE),
            (403, "invalid_token", "missing token authority record"),
        ),
        (
            fixed.exchange(&good, MANDATE).set("application_id", "app-other"),
            (403, "access_denied", "authority record client mismatch"),
        ),
        (
            fixed.exchange(&good, "resource://unknown"),
            (403, "access_denied", "policy denied"),
        ),
        (
            fixed.exchange(&good, "resource://none"),
            (403, "access_denied", "policy denied (mandate_target_mismatch)"),
        ),
        (
            fixed.exchange(&remove("delegation_edge_id"), MANDATE),
            (403, "access_denied", "policy denied (no_rule_matched)"),
        ),
        (
            fixed.exchange(&remove("scope"), MANDATE),
            (403, "access_denied", "policy denied (no_rule_matched)"),
        ),
    ] {
        check(&exchange.send().await.refusal(), expect);
    }
    assert_eq!(
        fixed
            .exchange(&good, MANDATE)
            .set("application_id", APP)
            .send()
            .await
            .status,
        200
    );
}
