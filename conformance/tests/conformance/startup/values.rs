//! The grammar of durations, booleans and numbers, and what counts as unset.

use super::{Ground, REFUSED, refuses};
use crate::report::Report;
use serde_json::Value;

#[tokio::test]
async fn start_with_a_value_outside_its_grammar_is_refused() {
    let ground = Ground::new();
    let mut report = Report::default();
    let durations: Value = testkit::vectors::load("durations");
    let booleans: Value = testkit::vectors::load("booleans");
    let texts = |values: &Value| -> Vec<String> {
        let values = values.as_array().expect("a list");
        values
            .iter()
            .map(|value| value.as_str().expect("a text").to_owned())
            .collect()
    };
    let mut cases: Vec<(&str, String)> = Vec::new();
    let refused = texts(&durations["refused"]);
    assert!(refused.len() > 10);
    cases.extend(refused.into_iter().map(|value| ("STS_TIMEOUT", value)));
    // A duration of the right form that is no time to wait.
    cases.extend(["0", "0s", "-5s"].map(|value| ("READ_TIMEOUT", value.to_owned())));
    let refused = texts(&booleans["refused"]);
    assert!(refused.len() > 3);
    cases.extend(
        refused
            .into_iter()
            .map(|value| ("ALLOW_PRIVATE_UPSTREAMS", value)),
    );
    for value in ["0", "-1", "1.5", "ten", "10MB", "0x10", "99999999999999999999"] {
        cases.push(("MAX_REQUEST_BYTES", value.to_owned()));
    }
    for value in ["65536", "-1", "http", "8081/tcp"] {
        cases.push(("PORT", value.to_owned()));
    }
    cases.push(("STS_DIALECT", "oauth".to_owned()));
    cases.push(("AUDIT_FSYNC", "never".to_owned()));
    cases.push(("BIND_ADDR", "gateway.example".to_owned()));
    cases.push(("TRUSTED_PROXIES", "10.0.0.0/33".to_owned()));
    // An empty variable is unset, not malformed.
    cases.retain(|(_, value)| !value.is_empty());
    for (name, value) in cases {
        let finished = ground.production(&[(name, &value)]).finish().await;
        report.note(format!("{name}={value:?}"), refuses(&finished, &[name]));
    }
    report.finish();
}

#[tokio::test]
async fn check_with_values_inside_their_grammar_passes() {
    let ground = Ground::new();
    let mut report = Report::default();
    let durations: Value = testkit::vectors::load("durations");
    let accepted = durations["accepted_ns"].as_object().expect("accepted durations");
    assert!(accepted.len() > 8);
    for (text, nanoseconds) in accepted {
        let finished = ground
            .production(&[("STS_TIMEOUT", text)])
            .arg("check")
            .finish()
            .await;
        // In range, a duration is still no time to wait unless it is positive.
        let expect = if nanoseconds.as_i64().is_some_and(|ns| ns > 0) {
            Some(0)
        } else {
            REFUSED
        };
        report.equal(
            format!("STS_TIMEOUT={text}: {:?}", finished.stderr),
            finished.code,
            expect,
        );
    }
    let booleans: Value = testkit::vectors::load("booleans");
    for text in booleans["false"].as_array().expect("false booleans") {
        let text = text.as_str().expect("a text");
        let finished = ground
            .production(&[("JTI_FAIL_OPEN", text)])
            .arg("check")
            .finish()
            .await;
        report.equal(format!("JTI_FAIL_OPEN={text}"), finished.code, Some(0));
    }
    for text in booleans["true"].as_array().expect("true booleans") {
        let text = text.as_str().expect("a text");
        let finished = ground
            .production(&[("JTI_FAIL_OPEN", text)])
            .arg("check")
            .finish()
            .await;
        report.equal(format!("JTI_FAIL_OPEN={text}"), finished.code, REFUSED);
    }
    for changes in [
        &[
            ("CARACAL_ENV", ""),
            ("PORT", ""),
            ("STS_TIMEOUT", ""),
            ("METRICS_BEARER", ""),
        ][..],
        &[("CARACAL_ENV", "production"), ("CARACAL_MODE", "stable")],
        &[("CARACAL_MODE", "rc")],
        &[("STS_URL", "http://sts:8080")],
        &[("STS_URL", "http://127.0.0.1:8080")],
        &[("STS_URL", "http://[::1]:8080")],
        &[
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
            (
                "UPSTREAM_HOST_ALLOWLIST",
                "api.internal.company.com, Payments.internal.company.com,",
            ),
        ],
        &[("TRUST_PROXY", "true")],
        &[("REUSABLE_MANDATE_USES", "none")],
    ] {
        let finished = ground.production(changes).arg("check").finish().await;
        report.equal(
            format!("{changes:?}: {:?}", finished.stderr),
            finished.code,
            Some(0),
        );
    }
    report.finish();
}
