//! Readiness, and the probes behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use admission::ports::Cause;
use backends::component::{Check, Health, Probe};
use http::StatusCode;
use testkit::wait::PATIENCE;

use super::{ask, configured, operator, readiness, text};
use crate::operator::Operator;

#[tokio::test]
async fn ready_lists_every_dependency_with_its_state_and_age() {
    let response = ask(&operator(configured(&[])), "GET", "/ready", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        text(&response),
        concat!(
            r#"{"ok":true,"ready":true,"checks":{"bindings":{"state":"ok","age_seconds":1},"#,
            r#""redis":{"state":"ok","age_seconds":2},"revocations":{"state":"ok","age_seconds":3},"#,
            r#""audit":{"state":"ok"},"sts":{"state":"ok","age_seconds":5}}}"#,
            "\n"
        )
    );
}

fn failing() -> Health {
    Health {
        fault: Some(Cause::new("password of redis")),
        age: None,
    }
}

#[tokio::test]
async fn ready_tells_a_degraded_part_and_stays_ready() {
    let mut readiness = readiness();
    let part = Check::known("revocation_anchors", "revocation_anchors_over_bound", failing);
    readiness.checks = vec![part.advisory()];
    let operator = Operator {
        readiness,
        ..operator(configured(&[]))
    };
    let response = ask(&operator, "GET", "/ready", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let expect = r#"{"ok":true,"ready":true,"checks":{"revocation_anchors":{"state":"degraded"}}}"#;
    assert_eq!(text(&response).trim_end(), expect);
}

#[tokio::test]
async fn ready_names_a_cause_that_has_a_name() {
    let mut readiness = readiness();
    let cause = || Cause::new("/a/path: No space left on device").labelled("no_space");
    let health = move || Health {
        fault: Some(cause()),
        age: None,
    };
    readiness.checks = vec![Check::known("audit", "audit_unavailable", health)];
    let operator = Operator {
        readiness,
        ..operator(configured(&[]))
    };
    let response = ask(&operator, "GET", "/ready", &[]).await;
    let expect = r#"{"ok":false,"ready":false,"reason":"audit_unavailable","#.to_owned()
        + r#""checks":{"audit":{"state":"failing","cause":"no_space"}}}"#;
    assert_eq!(text(&response).trim_end(), expect);
}

#[tokio::test]
async fn ready_names_the_first_failing_reason() {
    let reasons = [
        "bindings_unavailable",
        "redis_unreachable",
        "revocation_snapshot_stale",
        "audit_unavailable",
        "sts_unreachable",
        "draining",
    ];
    for mask in 0_u8..64 {
        let fails = |nth: usize| mask & (1 << nth) != 0;
        let mut readiness = readiness();
        let checks = readiness.checks.iter_mut().enumerate();
        for (_, check) in checks.filter(|(nth, _)| fails(*nth)) {
            check.probe = Check::known(check.name, check.reason, failing).probe;
        }
        if fails(5) {
            readiness.draining.cancel();
        }
        let operator = Operator {
            readiness,
            ..operator(configured(&[]))
        };
        let response = ask(&operator, "GET", "/ready", &[]).await;
        assert!(!text(&response).contains("password"), "{mask:b}");
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expect = reasons
            .iter()
            .enumerate()
            .find(|(nth, _)| fails(*nth))
            .map(|(_, reason)| *reason);
        assert_eq!(response.status() == StatusCode::OK, expect.is_none(), "{mask:b}");
        assert_eq!(json["reason"].as_str(), expect, "{mask:b}");
        assert_eq!(
            (json["ok"].as_bool(), json["ready"].as_bool()),
            (Some(mask == 0), Some(mask == 0))
        );
        for (nth, check) in ["bindings", "redis", "revocations", "audit", "sts"]
            .into_iter()
            .enumerate()
        {
            let state = if fails(nth) { "failing" } else { "ok" };
            assert_eq!(json["checks"][check]["state"], state, "{mask:b} {check}");
        }
    }
}

#[tokio::test]
async fn a_dependency_that_does_not_answer_costs_no_more_than_its_budget() {
    let asked = Arc::new(AtomicU64::new(0));
    let stuck = || -> Probe {
        let asked = Arc::clone(&asked);
        Box::new(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        })
    };
    let mut readiness = readiness();
    for check in &mut readiness.checks {
        if ["redis", "sts"].contains(&check.name) {
            check.probe = stuck();
        }
    }
    let operator = Operator {
        readiness,
        ..operator(configured(&[]))
    };
    let mut response = std::pin::pin!(ask(&operator, "GET", "/ready", &[]));
    assert!(futures_util::poll!(response.as_mut()).is_pending());
    assert_eq!(asked.load(Ordering::Relaxed), 2, "one budget for both");
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(json["reason"], "redis_unreachable");
    assert_eq!(
        (
            &json["checks"]["redis"]["state"],
            &json["checks"]["bindings"]["state"]
        ),
        (&"timeout".into(), &"ok".into())
    );
}
