//! What the STS answers, as tables. The directive's judgement is tested over the whole walk.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::answer::{self, NoGrant};
use super::circuit::Outcome;
use super::sign::{self, ExchangeSigner};
use crate::denial::Denial;
use crate::moment::Moment;
use crate::ports::StsAnswer;

const RESOURCE: &str = "resource://pipernet";

fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> StsAnswer {
    StsAnswer {
        status,
        content_type: content_type.to_owned(),
        body: body.into(),
    }
}

/// The access token and the directive of a granted exchange.
fn granted(content_type: &str, body: &str) -> Result<(String, Option<String>), NoGrant> {
    answer::read(&answer(200, content_type, body.to_owned()), RESOURCE).map(|grant| {
        assert_eq!(format!("{grant:?}"), "Grant", "a grant prints no token");
        let directive = grant.directive.map(|raw| raw.get().to_owned());
        (grant.access_token, directive)
    })
}

#[test]
fn what_holds_a_secret_prints_none() {
    let signer = ExchangeSigner::new(b"planted-key", "");
    let request = sign::ExchangeRequest {
        zone_id: "zone-1",
        application_id: "app-1",
        subject_token: "planted-mandate",
        resource: RESOURCE,
        request_method: "GET",
        request_path: b"/planted-path",
        exchange_id: "exchange-1",
    };
    let now = Moment {
        unix: Duration::from_secs(1),
        monotonic: Duration::ZERO,
    };
    let signed = signer.sign(&request, now);
    let body =
        r#"{"access_token":"planted-token","error":"e","error_description":"d","secret":"planted-secret"}"#;
    let (good, bad) = (
        answer(200, "text/html", body),
        answer(403, "application/json", body),
    );
    let not_granted = [&good, &bad].map(|answer| answer::read(answer, RESOURCE).unwrap_err());
    let printed = format!("{signer:?} {signed:?} {good:?} {bad:?} {not_granted:?}");
    assert!(
        printed.contains("exchange-1") && printed.contains("403"),
        "{printed}"
    );
    assert!(
        !printed.contains("planted") && !printed.contains(&signed.signature),
        "{printed}"
    );
}

/// What is made of a refusal: the denial, what it counts as, and the words that are passed on.
fn refused(status: u16, body: &str) -> (Denial, Outcome, Option<(u16, String, String)>) {
    let NoGrant {
        denial, outcome, sts, ..
    } = answer::read(&answer(status, "application/json", body.to_owned()), RESOURCE).unwrap_err();
    let words = sts.map(|words| (words.status, words.error, words.description));
    (denial, outcome, words)
}

fn words(status: u16, error: &str, description: &str) -> Option<(u16, String, String)> {
    Some((status, error.to_owned(), description.to_owned()))
}

#[test]
fn answer_grants_hold_the_token_and_the_directive_of_the_resource_alone() {
    let both = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":900,"x":{"y":[1]},
        "upstreams":{"resource://other":{"url":"https://o"},"resource://pipernet":{"url":"https://p"}}}"#;
    let token = || "a.b.c".to_owned();
    for (body, directive) in [
        (both, Some(r#"{"url":"https://p"}"#)),
        (r#"{"access_token":"a.b.c"}"#, None),
        (r#"{"access_token":"a.b.c","upstreams":null}"#, None),
        (r#"{"access_token":"a.b.c","upstreams":{}}"#, None),
        (
            r#"{"access_token":"a.b.c","upstreams":{"resource://other":{"url":"https://o"}}}"#,
            None,
        ),
        (r#" {"access_token":"a.b.c"} "#, None),
    ] {
        let granted = granted("application/json", body).unwrap();
        assert_eq!(granted, (token(), directive.map(str::to_owned)), "{body}");
    }
}

#[test]
fn answer_media_type_must_be_json() {
    let body = r#"{"access_token":"a.b.c"}"#;
    for (content_type, passes) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/token-response+json", true),
        ("", false),
        ("text/html", false),
        ("text/html; x=application/json", false),
        ("application/jsonp", false),
        ("application/jwt", false),
        ("json", false),
    ] {
        assert_eq!(granted(content_type, body).is_ok(), passes, "{content_type}");
    }
}

#[test]
fn answer_200_that_is_no_token_response_is_invalid_and_counts_against_the_zone() {
    for body in [
        "",
        "<html>",
        "null",
        "{}",
        "[]",
        r#"["a.b.c",null]"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":7}"#,
        r#"{"access_token":"a.b.c""#,
        r#"{"access_token":"a.b.c"}{}"#,
        r#"{"access_token":"a.b.c","access_token":"d.e.f"}"#,
        r#"{"access_token":"a\r\nX-Evil: 1"}"#,
        r#"{"access_token":"a b"}"#,
        r#"{"access_token":"a\u0000"}"#,
        r#"{"access_token":"é"}"#,
        r#"{"access_token":"a.b.c","upstreams":[]}"#,
        r#"{"access_token":"a.b.c","upstreams":"x"}"#,
    ] {
        let NoGrant {
            denial, outcome, sts, ..
        } = granted("application/json", body).unwrap_err();
        assert_eq!(
            (denial, outcome, sts),
            (Denial::StsAnswerInvalid, Outcome::ZoneFault, None),
            "{body}"
        );
    }
}

#[test]
fn answer_other_statuses_than_200_and_errors_are_invalid() {
    let body = r#"{"access_token":"a.b.c","error":"x"}"#;
    for status in [
        100, 101, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 399, 600, 999, 0,
    ] {
        assert_eq!(
            refused(status, body),
            (Denial::StsAnswerInvalid, Outcome::ZoneFault, None),
            "{status}"
        );
    }
}

#[test]
fn answer_refusals_pass_on_status_error_and_description_and_nothing_else() {
    use Outcome::{Answered, ZoneFault};
    for (status, error, description, outcome) in [
        (400, "invalid_token", "duplicate form field: resource", Answered),
        (401, "access_denied", "invalid client credentials", Answered),
        (401, "invalid_token", "invalid subject_token", Answered),
        (401, "interaction_required", "", Answered),
        (
            403,
            "access_denied",
            "policy denied (restriction_active)",
            Answered,
        ),
        (403, "sts_unavailable", "trusted time unavailable", Answered),
        (
            403,
            "access_denied",
            "invalid gateway exchange signature",
            Answered,
        ),
        (409, "approval_consumed", "", Answered),
        (413, "payload_too_large", "", Answered),
        (
            429,
            "provider_rate_limited",
            "authentication rate limit exceeded",
            Answered,
        ),
        (
            502,
            "http_request_failed",
            "upstream credential for resource x is unavailable",
            Answered,
        ),
        (
            503,
            "policy_eval_failed",
            "policy evaluation unavailable",
            Answered,
        ),
        (503, "sts_unavailable", "trusted time unavailable", ZoneFault),
        (500, "internal_error", "token issuance failed", ZoneFault),
        (599, "internal_error", "", ZoneFault),
        // Of a standard STS, and of a proxy before it.
        (500, "server_error", "", ZoneFault),
        (503, "temporarily_unavailable", "", ZoneFault),
        (502, "Bad Gateway", "no healthy upstream", ZoneFault),
    ] {
        let body = serde_json::json!({
            "error": error, "error_description": description, "requestId": "sts-1",
            "challenge_secret": "s3cret", "approval_id": "a",
        });
        let expected = (
            Denial::ExchangeRefused,
            outcome,
            words(status, error, description),
        );
        assert_eq!(refused(status, &body.to_string()), expected, "{status} {error}");
    }
    for body in [
        r#"{"error":"access_denied"}"#,
        r#"{"error":"access_denied","error_description":null}"#,
    ] {
        let expected = (Denial::ExchangeRefused, Answered, words(403, "access_denied", ""));
        assert_eq!(refused(403, body), expected, "{body}");
    }
}

#[test]
fn answer_refusals_without_a_decodable_error_get_their_reason_phrase() {
    use Outcome::{Answered, ZoneFault};
    for body in [
        "",
        "<html>Bad Gateway</html>",
        "{}",
        r#"{"error":""}"#,
        r#"{"error":7}"#,
        r#"{"error":null}"#,
        r#"["access_denied","x"]"#,
        r#"{"error":"a","error":"b"}"#,
        r#"{"error":"access_denied","error_description":7}"#,
        r#"{"error_description":"x"}"#,
    ] {
        for (status, phrase, outcome) in [
            (405, "Method Not Allowed", Answered),
            (500, "Internal Server Error", ZoneFault),
            (502, "Bad Gateway", ZoneFault),
            (503, "Service Unavailable", ZoneFault),
            (599, "sts unavailable", ZoneFault),
        ] {
            let expected = (
                Denial::ExchangeRefused,
                outcome,
                words(status, "sts_unavailable", phrase),
            );
            assert_eq!(refused(status, body), expected, "{status} {body}");
        }
    }
}

#[test]
fn answer_to_a_bad_gateway_signature_is_the_gateways_fault() {
    let body = r#"{"error":"access_denied","error_description":"invalid gateway exchange signature"}"#;
    assert_eq!(
        refused(401, body),
        (Denial::StsRefusedGateway, Outcome::Answered, None)
    );
}

#[test]
fn answer_words_are_bounded_at_a_character() {
    let body = serde_json::json!({ "error": "é".repeat(5000), "error_description": "x".repeat(5000) });
    let (_, _, words) = refused(400, &body.to_string());
    let (_, error, description) = words.unwrap();
    assert_eq!((error.len(), description.len()), (1024, 1024));
    let odd = serde_json::json!({ "error": format!("x{}", "é".repeat(5000)) });
    let (_, _, words) = refused(400, &odd.to_string());
    assert_eq!(words.unwrap().1.len(), 1023);
}

proptest! {
    /// Whatever arrives is read without a panic, and only a 200 can grant.
    #[test]
    fn answer_reading_is_total(status in any::<u16>(), json in any::<bool>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let content_type = if json { "application/json" } else { "text/plain" };
        let read = answer::read(&answer(status, content_type, body), RESOURCE);
        prop_assert!(read.is_err(), "random bytes are no token response");
    }

    /// Passed-on words are the STS's own, and the status is an error.
    #[test]
    fn answer_words_are_the_stss_own(status in 400_u16..600, error in "\\PC{1,40}", description in "\\PC{0,40}") {
        let body = serde_json::json!({ "error": error, "error_description": description }).to_string();
        if let (Denial::ExchangeRefused, _, passed_on) = refused(status, &body) {
            prop_assert_eq!(passed_on, words(status, &error, &description));
        }
    }
}
