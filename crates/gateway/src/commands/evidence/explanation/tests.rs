use serde_json::json;

use super::*;

fn explained(kind: Option<&str>, status: &str, answered: u16) -> Explanation {
    let event = json!({
        "id": "e", "zone_id": "zone-1", "event_type": "gateway_resource_request", "request_id": "r",
        "decision": "deny", "evaluation_status": status, "occurred_at": "now",
        "metadata_json": {"resource": "res", "error_kind": kind, "gateway_status": answered},
    });
    Explanation::new(&Event::read(event.to_string().as_bytes()).unwrap(), true)
}

#[test]
fn every_refusal_that_can_be_on_record_is_explained_by_its_own_row() {
    for denial in Denial::ALL {
        for dispatched in [false, true] {
            let (status, kind) = evidence_labels(denial, dispatched);
            let row = denial.row();
            let explanation = explained(Some(kind), status.as_str(), row.status.as_u16());
            let cause = explanation
                .causes
                .iter()
                .find(|cause| cause.label == Some(row.label));
            let cause = cause.unwrap_or_else(|| panic!("{denial:?}: {explanation:?}"));
            assert_eq!((cause.gate, cause.help), (row.gate, row.help));
            assert_eq!(
                explanation.causes.len(),
                1,
                "{denial:?} is told apart by the status of the answer"
            );
        }
    }
}

#[test]
fn every_end_is_explained() {
    for end in End::ALL {
        let status = end.status().as_str();
        let causes = explained(end.error_kind(), status, 200).causes;
        assert!(!causes.is_empty() && !causes[0].help.is_empty(), "{end:?}");
        // A request that ended before it was dispatched.
        if end.error_kind().is_some() {
            assert!(
                !explained(end.error_kind(), "denied", 499).causes.is_empty(),
                "{end:?}"
            );
        }
    }
    assert_eq!(explained(None, "interrupted", 0).causes[0].help, INTERRUPTED);
    for kind in [None, Some("gateway_stopped")] {
        assert_eq!(
            explained(kind, "not_dispatched", 0).causes[0].help,
            NOT_DISPATCHED
        );
    }
}

#[test]
fn settings_are_those_that_the_table_names() {
    let text = explained(Some("upstream_not_addressable"), "upstream_rejected", 502).text();
    for wanted in [
        "gate 11",
        "ALLOW_PRIVATE_UPSTREAMS (default: false)",
        "UPSTREAM_HOST_ALLOWLIST",
        "zone zone-1",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(
        explained(Some("evidence_unavailable"), "denied", 503)
            .text()
            .contains("AUDIT_SPOOL_MAX_BYTES")
    );
}

#[test]
fn every_kind_of_error_that_is_no_label_is_in_the_audit_page() {
    let page = include_str!("../../../../../../docs/audit.md");
    let of_denials = Denial::ALL.into_iter().flat_map(|denial| {
        [false, true].map(|dispatched| (evidence_labels(denial, dispatched).1, denial.label()))
    });
    let of_denials = of_denials.filter(|(kind, label)| kind != label);
    let labels: Vec<_> = Denial::ALL.into_iter().map(Denial::label).collect();
    let of_ends = End::ALL.into_iter().filter_map(End::error_kind);
    let of_ends = of_ends
        .filter(|kind| !labels.contains(kind))
        .map(|kind| (kind, kind));
    for (kind, label) in of_denials.chain(of_ends) {
        for name in [kind, label] {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn what_was_not_judged_is_not_said_to_be_proved() {
    for (signature, wanted) in [
        (Signature::NotJudged, "not judged"),
        (Signature::Holds, "holds; the chain is not judged"),
        (Signature::Faulty, "MISSING OR WRONG"),
    ] {
        let text = explained(None, "executed", 200).signed(signature).text();
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}
