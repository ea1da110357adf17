//! Gate 15: what the STS is asked, and what its answers become.

mod request_shape;
mod secure;

use crate::report::{Refusal, Report, refusal};
use crate::world::{NONE, World};
use devstack::{Answer, RawAnswer, Scope};

const INVALID: Refusal = refusal(502, "sts_unavailable", "sts response invalid");

fn json(status: u16, body: &str) -> RawAnswer {
    RawAnswer::new(status, "application/json", body.to_owned())
}

#[tokio::test]
async fn exchange_answer_that_is_a_refusal_is_passed_on_and_nothing_more_of_it() {
    let world = World::start().await;
    let mut report = Report::default();
    let cases = [
        (400, "invalid_token", "duplicate form field: resource"),
        (401, "invalid_token", "invalid subject_token"),
        (401, "access_denied", "invalid client credentials"),
        (403, "access_denied", "policy denied (mandate_target_mismatch)"),
        (403, "operation_not_permitted", "operation is not declared"),
        (409, "approval_consumed", "approval was used"),
        (413, "payload_too_large", "request body too large"),
        (429, "provider_rate_limited", "authentication rate limit exceeded"),
        (
            502,
            "http_request_failed",
            "upstream credential for resource is unavailable",
        ),
        (503, "policy_eval_failed", "policy evaluation unavailable"),
    ];
    for (status, error, description) in cases {
        // Other members may be secrets.
        let body = format!(
            r#"{{"error":"{error}","error_description":"{description}","requestId":"of-the-sts","challenge_secret":"planted"}}"#
        );
        world.stack.script().set(Scope::Exchange, json(status, &body));
        let response = world.get(NONE, "/x").await;
        report.refused(
            format!("{status} {error}"),
            &response,
            refusal(status, error, description),
        );
        report.holds(
            format!("{status}: nothing else"),
            !response.text().contains("of-the-sts"),
        );
        let headers = format!("{:?}", response.head.headers);
        report.holds(
            format!("{status}: no secret"),
            !response.text().contains("planted") && !headers.contains("planted"),
        );
    }
    report.holds("no secret in the log", !world.printed().contains("planted"));
    report.equal("dispatched", world.dispatched(), 0);
    report.finish();
}

#[tokio::test]
async fn exchange_answer_that_is_no_answer_is_refused() {
    let mut report = Report::default();
    let grant = r#"{"access_token":"t","token_type":"Bearer"}"#;
    let cases = [
        (
            "redirect",
            RawAnswer::redirect(302, "http://127.0.0.1:1/oauth/2/token"),
            INVALID,
        ),
        (
            "permanent redirect",
            RawAnswer::redirect(308, "/oauth/2/token"),
            INVALID,
        ),
        (
            "html",
            RawAnswer::new(200, "text/html", "<html>welcome</html>"),
            INVALID,
        ),
        ("grant as text", RawAnswer::new(200, "text/plain", grant), INVALID),
        ("no json", json(200, "{"), INVALID),
        ("an array", json(200, r#"["t"]"#), INVALID),
        ("no token", json(200, r#"{"token_type":"Bearer"}"#), INVALID),
        ("empty token", json(200, r#"{"access_token":""}"#), INVALID),
        (
            "token with a line break",
            json(200, r#"{"access_token":"a\r\nX-Evil: 1"}"#),
            INVALID,
        ),
        ("oversized", RawAnswer::oversized(300 * 1024), INVALID),
        ("created", json(201, grant), INVALID),
        (
            "html error",
            RawAnswer::new(502, "text/html", "<html>"),
            refusal(502, "sts_unavailable", "Bad Gateway"),
        ),
        (
            "empty error",
            json(404, ""),
            refusal(404, "sts_unavailable", "Not Found"),
        ),
        (
            "no directive",
            json(200, grant),
            refusal(403, "access_denied", "resource upstream not configured"),
        ),
        (
            "directive of another resource",
            json(
                200,
                r#"{"access_token":"t","upstreams":{"resource://other":{"url":"http://127.0.0.1","auth_mode":"none"}}}"#,
            ),
            refusal(403, "access_denied", "resource upstream not configured"),
        ),
        (
            "our signature",
            json(
                401,
                r#"{"error":"access_denied","error_description":"invalid gateway exchange signature"}"#,
            ),
            refusal(503, "sts_unavailable", "sts refused the gateway"),
        ),
    ];
    // Two worlds, so that the failures of one table do not open a circuit in the middle of it.
    for half in cases.chunks(4) {
        let world = World::start().await;
        for (case, answer, expect) in half {
            world.stack.script().set(Scope::Exchange, answer.clone());
            let response = world.get(NONE, "/x").await;
            report.refused(*case, &response, *expect);
            report.equal(format!("{case}: Location"), response.header("location"), None);
        }
        report.equal("dispatched", world.dispatched(), 0);
        world.stack.script().clear(&Scope::Exchange);
        report.status("back to the truth", &world.get(NONE, "/x").await, 200);
    }
    report.finish();
}

#[tokio::test]
async fn exchange_directive_that_is_unsafe_is_refused() {
    let world = World::start().await;
    let mut report = Report::default();
    let url = world.stack.upstream_url().to_owned();
    let invalid = refusal(502, "internal_error", "upstream directive invalid");
    let not_addressable = refusal(502, "internal_error", "upstream not addressable");
    let wrong_host = refusal(
        502,
        "internal_error",
        "provider credential not allowed for upstream host",
    );
    let at = |rest: &str| format!(r#"{{"url":"{url}",{rest}}}"#);
    let elsewhere = |url: &str| format!(r#"{{"url":"{url}","auth_mode":"none"}}"#);
    let port = url.rsplit(':').next().unwrap_or_default();
    let cases = [
        ("unknown mode", at(r#""auth_mode":"magic""#), invalid),
        ("no mode", at(r#""provider_token":"t""#), invalid),
        (
            "reserved header",
            at(r#""auth_mode":"provider_oauth","auth_header":"Host","provider_token":"t""#),
            invalid,
        ),
        (
            "framing header",
            at(r#""auth_mode":"provider_oauth","auth_header":"Transfer-Encoding","provider_token":"t""#),
            invalid,
        ),
        (
            "identity header",
            at(
                r#""auth_mode":"provider_apikey","auth_location":"header","auth_header":"X-Caracal-Identity","provider_token":"t""#,
            ),
            invalid,
        ),
        (
            "no header name",
            at(r#""auth_mode":"provider_oauth","auth_header":"a b","provider_token":"t""#),
            invalid,
        ),
        (
            "no parameter name",
            at(r#""auth_mode":"provider_apikey","auth_location":"query","provider_token":"t""#),
            invalid,
        ),
        (
            "token of two lines",
            at(r#""auth_mode":"provider_oauth","provider_token":"a\r\nb""#),
            invalid,
        ),
        (
            "token of another host",
            at(
                r#""auth_mode":"provider_oauth","provider_token":"t","allowed_token_hosts":["api.example.com"]"#,
            ),
            wrong_host,
        ),
        ("another port", elsewhere("http://127.0.0.1:1/"), not_addressable),
        (
            "another host",
            elsewhere(&format!("http://localhost:{port}/")),
            not_addressable,
        ),
        (
            "another scheme",
            elsewhere(&url.replace("http:", "https:")),
            not_addressable,
        ),
        (
            "user in the URL",
            elsewhere(&url.replace("http://", "http://user@")),
            not_addressable,
        ),
        (
            "metadata service",
            elsewhere("http://169.254.169.254/latest"),
            not_addressable,
        ),
        ("traversal", elsewhere(&format!("{url}/a/../b")), not_addressable),
    ];
    for (case, directive, expect) in cases {
        world
            .stack
            .script()
            .set(Scope::Exchange, Answer::Directive(directive));
        report.refused(case, &world.get(NONE, "/x").await, expect);
    }
    report.equal("dispatched", world.dispatched(), 0);
    // The host list is matched whatever the case of the letters.
    let listed =
        at(r#""auth_mode":"provider_oauth","provider_token":"t","allowed_token_hosts":["127.0.0.1"]"#);
    world
        .stack
        .script()
        .set(Scope::Exchange, Answer::Directive(listed));
    report.status("token of this host", &world.get(NONE, "/x").await, 200);
    report.finish();
}

#[tokio::test]
async fn exchange_with_a_standard_sts_forwards_a_bearer_to_the_bound_upstream() {
    let world = World::builder().env("STS_DIALECT", "rfc8693").start().await;
    let mut report = Report::default();
    let grant = r#"{"access_token":"plain-token","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}"#;
    world.stack.script().set(Scope::Exchange, json(200, grant));
    report.status("no directive", &world.get(NONE, "/x").await, 200);
    let seen = world.stack.upstream().last().expect("a request at the upstream");
    report.equal("credential", seen.header("authorization"), ["Bearer plain-token"]);
    report.finish();
}
