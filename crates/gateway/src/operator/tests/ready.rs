//! Readiness, and the probes behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use testkit::wait::PATIENCE;

use super::{ask, configured, operator, readiness, text};
use crate::operator::Operator;
use crate::operator::probe::{self, Health, Probe, State};
use crate::operator::ready::Readiness;

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

/// A dependency that works, or does not.
fn failing(fails: bool) -> Probe {
    let state = if fails { State::Failing } else { State::Ok };
    probe::known(move || Health { state, age: None })
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
        let draining = fails(5);
        let operator = Operator {
            readiness: Readiness {
                bindings: failing(fails(0)),
                redis: failing(fails(1)),
                revocations: failing(fails(2)),
                audit: failing(fails(3)),
                sts: failing(fails(4)),
                draining: Box::new(move || draining),
            },
            ..operator(configured(&[]))
        };
        let response = ask(&operator, "GET", "/ready", &[]).await;
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
    let operator = Operator {
        readiness: Readiness {
            redis: stuck(),
            sts: stuck(),
            ..readiness()
        },
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

/// A clock that the test moves.
#[derive(Default)]
struct TestClock(AtomicU64);

impl admission::ports::Clock for TestClock {
    fn now(&self) -> admission::ports::Moment {
        let now = Duration::from_millis(self.0.load(Ordering::Relaxed));
        admission::ports::Moment {
            unix: now,
            monotonic: now,
        }
    }
}

#[tokio::test]
async fn a_cached_probe_asks_once_in_its_life() {
    let clock = Arc::new(TestClock::default());
    let asked = Arc::new(AtomicU64::new(0));
    let probe = {
        let asked = Arc::clone(&asked);
        probe::cached(
            Duration::from_secs(5),
            clock.clone(),
            Box::new(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                Box::pin(std::future::ready(Health {
                    state: State::Ok,
                    age: None,
                }))
            }),
        )
    };
    for (now, expect_asked, expect_age) in [
        (0, 1, 0),
        (100, 1, 100),
        (4_999, 1, 4_999),
        (5_000, 2, 0),
        (6_000, 2, 1_000),
    ] {
        clock.0.store(now, Ordering::Relaxed);
        let expect = Health {
            state: State::Ok,
            age: Some(Duration::from_millis(expect_age)),
        };
        assert_eq!((probe().await, probe().await), (expect, expect), "{now}");
        assert_eq!(asked.load(Ordering::Relaxed), expect_asked, "{now}");
    }
}

#[tokio::test]
async fn a_question_is_shared_while_it_is_asked_and_given_up_once_it_is_late() {
    let clock = Arc::new(TestClock::default());
    let asked = Arc::new(AtomicU64::new(0));
    let probe = {
        let asked = Arc::clone(&asked);
        probe::cached(
            Duration::from_secs(5),
            clock.clone(),
            Box::new(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                Box::pin(std::future::pending())
            }),
        )
    };
    let mut first = probe();
    let second = probe();
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(asked.load(Ordering::Relaxed), 1, "both wait for the same answer");
    drop((first, second));
    clock.0.store(1_499, Ordering::Relaxed);
    drop(probe());
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it may still come");
    clock.0.store(1_500, Ordering::Relaxed);
    drop(probe());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
