//! The order of the gates: cheap and local first, nothing remote before a valid signature, the replay mark last.

use admission::Denial;
use serde_json::json;
use testkit::clock::START;

use crate::ports::{Exchange, Keys, Revocation, Set};
use crate::scene::{Scene, granting};

type Fault = fn(&mut Scene);

/// One fault for every refusal of the gates, in the order in which they must be found.
const FAULTS: [(Denial, Fault); 27] = [
    (Denial::AmbiguousHeaders, |scene| {
        scene.headers.push(("x_forwarded_for", "1".to_owned()));
    }),
    (Denial::BodyTooLarge, |scene| {
        scene.headers.push(("content-length", "1001".to_owned()));
    }),
    (Denial::MissingBearer, |scene| scene.scheme = "Basic"),
    (Denial::BearerTooLarge, |scene| {
        scene.mandate(|mandate| mandate.claim("pad", "x".repeat(4096)));
    }),
    (Denial::MissingRouting, |scene| scene.resource = ""),
    (Denial::PathTraversal, |scene| scene.target = "/v1/..%2fadmin"),
    (Denial::MalformedToken, |scene| {
        scene.mandate(|mandate| mandate.header("crit", json!(["exp"])));
    }),
    (Denial::Expiring, |scene| {
        scene.mandate(|mandate| mandate.claim("exp", START + 34));
    }),
    (Denial::NotYetValid, |scene| {
        scene.mandate(|mandate| mandate.claim("nbf", START + 31));
    }),
    (Denial::MissingZone, |scene| {
        scene.mandate(|mandate| mandate.claim("zone_id", ""));
    }),
    (Denial::UnknownZone, |scene| {
        scene.mandate(|mandate| mandate.claim("zone_id", "zone-2"));
    }),
    (Denial::KeysUnavailable, |scene| {
        scene.script.keys = Keys::Unavailable;
    }),
    (Denial::BadSignature, |scene| {
        scene.mandate(|mandate| mandate.header("kid", "unknown"));
    }),
    (Denial::RevocationStale, |scene| {
        scene.script.revocation = Revocation::Stale;
    }),
    (Denial::Revoked, |scene| {
        scene.script.revocation = Revocation::Revoked;
    }),
    (Denial::NotBound, |scene| scene.script.bound = None),
    (Denial::UpstreamNotAddressable, |scene| {
        scene.script.addresses = vec![[169, 254, 169, 254].into()];
    }),
    (Denial::CircuitOpen, |scene| scene.circuit_faults = 5),
    (Denial::EvidenceUnavailable, |scene| scene.script.room = false),
    (Denial::Replayed, |scene| scene.script.set = Set::Seen),
    (Denial::ReplayUnavailable, |scene| {
        scene.script.set = Set::Unavailable;
    }),
    (Denial::StsTimeout, |scene| {
        scene.script.exchange = Exchange::Timeout;
    }),
    (Denial::StsUnreachable, |scene| {
        scene.script.exchange = Exchange::Broken;
    }),
    (Denial::ExchangeRefused, |scene| {
        scene.script.exchange = Exchange::Answers(403, "{}".to_owned());
    }),
    (Denial::StsAnswerInvalid, |scene| {
        scene.script.exchange = Exchange::Oversized;
    }),
    (Denial::DirectiveInvalid, |scene| {
        scene.script.exchange = granting(&json!({ "url": "https://api.example" }));
    }),
    (Denial::NoDirective, |scene| {
        scene.script.exchange = granting(&json!({ "url": "" }));
    }),
];

#[test]
fn order_of_two_faults_the_earlier_is_found() {
    for (late, (_, later)) in FAULTS.iter().enumerate() {
        for (denial, earlier) in &FAULTS[..late] {
            let walked = Scene::with(|scene| {
                later(scene);
                earlier(scene);
            })
            .walk();
            assert_eq!(walked.denial(), Some(*denial), "before {:?}", FAULTS[late].0);
        }
    }
}

#[test]
fn order_every_gate_calls_only_what_lies_before_it() {
    // What a walk has called by the time that a gate refuses.
    let whole = [
        "zone", "key", "watch", "standing", "find", "resolve", "room", "set", "expect", "exchange",
    ];
    for (denial, fault) in FAULTS {
        let mut calls = Scene::with(fault).walk().world.journal.calls();
        calls.retain(|call| !matches!(*call, "release" | "room returned"));
        let gate = denial.row().gate.unwrap();
        let expect = match gate {
            1..=7 => 0,
            8 if denial == Denial::MissingZone => 0,
            8 => 1,
            9 => 2,
            10 => 4,
            11 if denial == Denial::NotBound => 5,
            11 | 12 => 6,
            13 => 7,
            14 => 8,
            _ => 10,
        };
        assert_eq!(calls, whole[..expect], "{denial:?} at gate {gate}");
    }
}

#[test]
fn order_nothing_is_asked_of_the_world_before_a_valid_signature() {
    let remote = [
        "watch", "standing", "find", "resolve", "room", "set", "expect", "exchange",
    ];
    for (denial, fault) in FAULTS
        .into_iter()
        .filter(|(denial, _)| denial.row().gate <= Some(9))
    {
        let walked = Scene::with(fault).walk();
        for call in remote {
            assert!(!walked.world.journal.has(call), "{denial:?} called {call}");
        }
        assert!(
            !walked.world.journal.has("key") || denial.row().gate == Some(9),
            "{denial:?} fetched a key"
        );
    }
}

#[test]
fn order_refusals_before_the_replay_gate_never_touch_the_mark() {
    for (denial, fault) in FAULTS
        .into_iter()
        .filter(|(denial, _)| denial.row().gate < Some(14))
    {
        let journal = Scene::with(fault).walk().world.journal.calls();
        assert!(
            !journal.contains(&"set") && !journal.contains(&"release"),
            "{denial:?}: {journal:?}"
        );
    }
}

#[test]
fn order_refusals_name_a_subject_exactly_when_the_signature_held() {
    for (denial, fault) in FAULTS {
        let (kept, _) = Scene::with(fault).walk().result.err().unwrap();
        let verified = denial.row().gate > Some(9);
        assert_eq!(kept.subject.is_some(), verified, "{denial:?}");
        // The bearer is known from the gate that found it, and from no other.
        assert_eq!(kept.bearer.is_some(), denial.row().gate > Some(3), "{denial:?}");
        if let Some(subject) = kept.subject {
            assert_eq!(
                (subject.zone_id.as_str(), subject.resource.as_str()),
                ("zone-1", "resource://pipernet")
            );
            // Before the binding is known it is the token's client, afterwards the binding's application.
            let bound = denial.row().gate > Some(11);
            assert_eq!(subject.client_id.as_deref(), Some("app-1"), "{denial:?}");
            let application = bound.then_some("app-of-binding");
            assert_eq!(kept.application_id.as_deref(), application, "{denial:?}");
        }
    }
}

#[test]
fn order_only_a_verified_request_takes_a_place_in_flight() {
    let full = |fault: Fault| {
        Scene::with(|scene| {
            scene.script.place = false;
            fault(scene);
        })
        .walk()
    };
    assert_eq!(full(|_| ()).denial(), Some(Denial::Overloaded));
    for (denial, fault) in FAULTS {
        let expect = match denial.row().gate > Some(9) {
            true => Denial::Overloaded,
            false => denial,
        };
        assert_eq!(full(fault).denial(), Some(expect));
    }
}

#[test]
fn order_the_revocation_state_is_judged_at_the_time_it_is_read() {
    // Fetching the key took four seconds: what was fresh at the start of the walk may be stale now.
    let walked = Scene::with(|scene| scene.script.keys_take = std::time::Duration::from_secs(4)).walk();
    let read_at = walked.world.journal.standing_read_at.lock().unwrap().unwrap();
    assert_eq!(read_at.unix.as_secs(), START + 4);
}

#[test]
fn order_the_circuit_is_entered_at_the_time_it_is_reached() {
    // It was open at the start of the walk, and lets a probe through by the time the key is there.
    let walked = Scene::with(|scene| {
        scene.circuit_faults = 5;
        scene.script.keys_take = std::time::Duration::from_secs(10);
    })
    .walk();
    assert_eq!(walked.denial(), None);
}
