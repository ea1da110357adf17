use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::{
    MAX_EVENT_BYTES, MAX_OUTCOME_BYTES, Outcome, Refusal, Replay, Request, Status, Summary, Template,
};
use crate::fingerprint::{Fingerprint, fingerprint};

fn request() -> Request<'static> {
    Request {
        id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001),
        occurred_at: 1_790_000_000_123_456,
        zone_id: "zone-1",
        request_id: "req-0001",
        application_id: "app-1",
        resource: "resource://pipernet",
        subject_fingerprint: Fingerprint::from_digits(*b"0123456789abcdef"),
        method: "POST",
        client_certificate: None,
        agent_session_id: None,
        session_id: None,
        path_fingerprint: None,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        subject_kind: Some("application"),
        upstream_host: Some("api.example.com"),
        auth_mode: Some("caracal_jwt"),
        provider_id: None,
        connection_id: None,
    }
}

fn intent(request: &Request<'_>) -> String {
    let mut out = Vec::new();
    Template::write(&mut out, request);
    String::from_utf8(out).unwrap()
}

fn complete(request: &Request<'_>, outcome: &Outcome) -> String {
    // Bytes that stand before an event in the same buffer are not its concern.
    let mut template = b"before".to_vec();
    let parts = Template::write(&mut template, request);
    let mut out = b"before".to_vec();
    parts.complete(&template[6..], outcome, &mut out);
    String::from_utf8(out.split_off(6)).unwrap()
}

fn metadata_keys(event: &str) -> Vec<String> {
    let text = event
        .split_once("\"metadata_json\":{")
        .unwrap()
        .1
        .split_once('}')
        .unwrap()
        .0;
    text.split("\",\"")
        .flat_map(|part| part.split(",\""))
        .map(|part| part.trim_start_matches('"'))
        .filter_map(|part| part.split_once("\":").map(|(key, _)| key.to_owned()))
        .collect()
}

#[test]
fn an_executed_crossing_matches_the_published_vector() {
    let vector: Value = serde_json::from_str(include_str!("../../../../testkit/vectors/audit.json")).unwrap();
    let outcome = Outcome {
        gateway_status: Some(200),
        latency_ms: Some(12),
        response_bytes: Some(5),
        upstream_status: Some(200),
        ..Outcome::new(Status::Executed)
    };
    assert_eq!(complete(&request(), &outcome), vector["data"].as_str().unwrap());
}

#[test]
fn an_intent_is_the_interrupted_event_byte_for_byte() {
    assert_eq!(
        intent(&request()),
        complete(&request(), &Outcome::new(Status::Interrupted))
    );
}

#[test]
fn every_member_has_its_place_in_key_order() {
    let request = Request {
        agent_session_id: Some("a"),
        client_certificate: Some("CN=agent"),
        session_id: Some("s"),
        path_fingerprint: Some(fingerprint(b"/")),
        provider_id: Some("p"),
        connection_id: Some("c"),
        ..request()
    };
    let outcome = Outcome {
        error_kind: Some("response_copy_failed"),
        gateway_status: Some(200),
        latency_ms: Some(1),
        request_bytes: Some(1),
        response_bytes: Some(2),
        upstream_status: Some(404),
        revocation_interrupted: true,
        attempts: 2,
        ..Outcome::new(Status::UpstreamError)
    };
    let event = complete(&request, &outcome);
    let keys = metadata_keys(&event);
    assert_eq!(keys.len(), 23, "{keys:?}");
    assert!(keys.is_sorted(), "{keys:?}");
    let value: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(value["metadata_json"].as_object().unwrap().len(), 23);
    assert_eq!(value["metadata_json"]["revocation_interrupted"], true);
    assert_eq!(value["metadata_json"]["attempts"], 2);
    assert_eq!(value["metadata_json"]["result_class"], "client_error");
    assert_eq!(value["decision"], "allow");
}

#[test]
fn every_member_and_value_is_in_the_audit_page() {
    let page = include_str!("../../../../docs/audit.md");
    let text = Some("text");
    let request = Request {
        agent_session_id: text,
        client_certificate: text,
        session_id: text,
        path_fingerprint: Some(fingerprint(b"/")),
        provider_id: text,
        connection_id: text,
        ..request()
    };
    let outcome = Outcome {
        error_kind: text,
        gateway_status: Some(200),
        latency_ms: Some(1),
        request_bytes: Some(1),
        response_bytes: Some(2),
        upstream_status: Some(404),
        revocation_interrupted: true,
        attempts: 2,
        ..Outcome::new(Status::UpstreamError)
    };
    let mut names = metadata_keys(&complete(&request, &outcome));
    let values = [
        "client_id",
        "jti",
        "subject_fp",
        "suppressed",
        super::REPLAY,
        super::REQUEST,
        super::ANOMALY,
    ];
    names.extend(values.map(str::to_owned));
    names.push(crate::chain::CHECKPOINT.to_owned());
    names.extend(["success", "redirect", "client_error", "server_error", "unknown"].map(str::to_owned));
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    for status in [
        Status::Executed,
        Status::UpstreamError,
        Status::UpstreamRejected,
        Status::BuildFailed,
        Status::Denied,
        Status::Interrupted,
        Status::NotDispatched,
    ] {
        let row = format!("| `{}` | `{}` |", status.as_str(), status.decision().as_str());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn statuses_carry_their_decision() {
    for (status, name, decision) in [
        (Status::Executed, "executed", "allow"),
        (Status::UpstreamError, "upstream_error", "allow"),
        (Status::Interrupted, "interrupted", "allow"),
        (Status::UpstreamRejected, "upstream_rejected", "deny"),
        (Status::BuildFailed, "build_failed", "deny"),
        (Status::Denied, "denied", "deny"),
    ] {
        let event: Value = serde_json::from_str(&complete(&request(), &Outcome::new(status))).unwrap();
        assert_eq!(
            (event["evaluation_status"].as_str(), event["decision"].as_str()),
            (Some(name), Some(decision))
        );
    }
}

#[test]
fn upstream_statuses_have_a_class() {
    for (status, request_bytes, class) in [
        (204, None, "success"),
        (301, None, "redirect"),
        (404, None, "client_error"),
        (503, None, "server_error"),
        (101, Some(0), "success"),
        (101, None, "unknown"),
        (100, None, "unknown"),
        (600, None, "unknown"),
    ] {
        let outcome = Outcome {
            upstream_status: Some(status),
            request_bytes,
            ..Outcome::new(Status::Executed)
        };
        let event: Value = serde_json::from_str(&complete(&request(), &outcome)).unwrap();
        assert_eq!(event["metadata_json"]["result_class"], class);
    }
}

#[test]
fn a_refusal_names_its_reason() {
    let refusal = Refusal {
        status: Status::Denied,
        error_kind: "session_revoked",
        gateway_status: 401,
        latency_ms: 3,
    };
    let event: Value = serde_json::from_str(&complete(&request(), &refusal.into())).unwrap();
    assert_eq!(event["decision"], "deny");
    assert_eq!(event["evaluation_status"], "denied");
    assert_eq!(event["metadata_json"]["error_kind"], "session_revoked");
    assert_eq!(event["metadata_json"]["gateway_status"], 401);
    assert_eq!(event["metadata_json"].get("result_class"), None);
}

#[test]
fn a_client_that_left_before_the_dispatch_is_a_refusal_with_its_subject() {
    let refusal = Refusal {
        status: Status::Denied,
        error_kind: "client_cancelled",
        gateway_status: 499,
        latency_ms: 12,
    };
    let mut request = request();
    request.agent_session_id = Some("agent-1");
    let event: Value = serde_json::from_str(&complete(&request, &Outcome::from(refusal))).unwrap();
    assert_eq!(
        (&event["decision"], &event["evaluation_status"]),
        (&"deny".into(), &"denied".into())
    );
    let metadata = &event["metadata_json"];
    assert_eq!(metadata["error_kind"], "client_cancelled");
    assert_eq!(metadata["agent_session_id"], "agent-1");
    assert_eq!(metadata["subject_fingerprint"], "0123456789abcdef");
    assert!(event["occurred_at"].is_string());
}

#[test]
fn a_replay_has_the_fields_of_its_own_event_type() {
    let mut out = Vec::new();
    super::write_replay(
        &mut out,
        &Replay {
            id: Uuid::from_u128(2),
            occurred_at: 0,
            zone_id: "z",
            request_id: "r",
            jti: "j",
            resource: "res",
            client_id: "c",
            subject_fingerprint: Fingerprint::from_digits(*b"0123456789abcdef"),
        },
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"id\":\"00000000-0000-0000-0000-000000000002\",\"zone_id\":\"z\",\"event_type\":\"replay_detected\",\
         \"request_id\":\"r\",\"decision\":\"deny\",\"evaluation_status\":\"anomaly\",\
         \"determining_policies_json\":[],\"diagnostics_json\":[],\"metadata_json\":{\"client_id\":\"c\",\
         \"jti\":\"j\",\"request_id\":\"r\",\"resource\":\"res\",\"subject_fp\":\"0123456789abcdef\"},\
         \"occurred_at\":\"1970-01-01T00:00:00.000000Z\"}"
    );
}

#[test]
fn a_summary_counts_what_it_stands_for() {
    for (reason, event_type, status) in [
        ("not_bound", "gateway_resource_request", "denied"),
        (super::REPLAY, "replay_detected", "anomaly"),
    ] {
        let mut out = Vec::new();
        super::write_summary(
            &mut out,
            &Summary {
                id: Uuid::from_u128(3),
                occurred_at: 0,
                zone_id: "z".to_owned(),
                request_id: "r".to_owned(),
                reason,
                suppressed: 41,
            },
        );
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["event_type"], event_type);
        assert_eq!(event["evaluation_status"], status);
        assert_eq!(event["metadata_json"]["suppressed"], 41);
        assert_eq!(event["metadata_json"]["error_kind"], reason);
    }
}

proptest! {
    #[test]
    fn no_value_breaks_an_event(value in "\\PC{0,3000}|[\\x00-\\x1f\"\\\\]{0,2000}") {
        let text = Some(value.as_str());
        let request = Request {
            zone_id: &value, request_id: &value, application_id: &value, resource: &value, method: &value,
            client_certificate: text, agent_session_id: text, session_id: text, trace_id: text, subject_kind: text, upstream_host: text,
            auth_mode: text, provider_id: text, connection_id: text,
            path_fingerprint: Some(fingerprint(value.as_bytes())),
            ..request()
        };
        let outcome = Outcome {
            error_kind: Some("response_copy_failed"), gateway_status: Some(u16::MAX), latency_ms: Some(u64::MAX),
            request_bytes: Some(u64::MAX), response_bytes: Some(u64::MAX), upstream_status: Some(u16::MAX), revocation_interrupted: true,
            attempts: u8::MAX, ..Outcome::new(Status::UpstreamRejected)
        };
        let event = complete(&request, &outcome);
        prop_assert!(event.len() <= MAX_EVENT_BYTES, "{}", event.len());
        let mut without = Vec::new();
        Template::write(&mut without, &request);
        prop_assert!(event.len() <= without.len() + MAX_OUTCOME_BYTES * 3 / 4, "{}", event.len());
        prop_assert!(!event.contains('\0') && !event.contains("\\u0000"));
        let parsed: Value = serde_json::from_str(&event).unwrap();
        prop_assert_eq!(parsed["metadata_json"].as_object().unwrap().len(), 23);
    }
}
