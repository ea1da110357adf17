mod anchored;

use uuid::Uuid;

use super::{Fault, KeyTrust, Report, Verifier};
use crate::chain::{Chain, CheckpointKey, Head, PublicKey, write_checkpoint};
use crate::signature::AuditKey;
use crate::testing::{DONE, event};

const AT: i64 = 1_790_000_000_000_000;

fn chain(id: u128) -> Chain {
    Chain::new(Uuid::from_u128(id), CheckpointKey::from_seed([3; 32]).unwrap())
}

fn checkpoint(chain: &mut Chain, is_final: bool) -> Vec<u8> {
    let mut marker = Vec::new();
    write_checkpoint(
        &mut marker,
        Uuid::from_u128(u128::from(chain.head.seq)),
        AT,
        is_final,
    );
    chain.join(&marker)
}

/// Three events, a checkpoint, two events, the last checkpoint, one event each second: numbers 1 to 7.
fn whole(id: u128) -> Vec<Vec<u8>> {
    let mut chain = chain(id);
    let mut events: Vec<_> = (0..3).map(|n| chain.join(&event(n, &DONE))).collect();
    events.push(checkpoint(&mut chain, false));
    events.extend((3..5).map(|n| chain.join(&event(n, &DONE))));
    events.push(checkpoint(&mut chain, true));
    events
}

fn name(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}

fn id(event: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(event).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

fn add(verifier: &mut Verifier, event: &[u8]) {
    verifier.add(&id(event), event, None);
}

fn verify<'a>(events: impl IntoIterator<Item = &'a Vec<u8>>) -> Report {
    let mut verifier = Verifier::new(None, Vec::new());
    for event in events {
        add(&mut verifier, event);
    }
    verifier.finish()
}

#[test]
fn a_whole_chain_is_proved_in_any_order_and_copies_are_one() {
    let (one, two) = (whole(1), whole(2));
    let mixed: Vec<_> = two.iter().rev().chain(&one).chain(&one[2..5]).cloned().collect();
    let report = verify(&mixed);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(
        (report.events, report.duplicates, report.proved, report.unchained),
        (17, 3, 14, 0)
    );
    for chain in &report.chains {
        assert_eq!(
            (chain.first, chain.last, chain.events, chain.proved),
            (1, 7, 7, 7)
        );
        assert_eq!((chain.checkpoints, chain.is_complete), (2, true));
        assert_eq!(chain.key_trust, KeyTrust::Announced);
    }
}

#[test]
fn what_no_checkpoint_covers_yet_is_sound_and_not_proved() {
    let events = whole(1);
    let report = verify(&events[..6]);
    assert!(report.is_sound());
    let chain = &report.chains[0];
    assert_eq!((chain.events, chain.proved, chain.is_complete), (6, 4, false));
}

#[test]
fn every_missing_event_is_named_and_takes_the_proof_of_those_before_it() {
    let events = whole(1);
    for (missing, from, to, proved) in [(0..1, 1, 1, 6), (1..3, 2, 3, 4), (3..4, 4, 4, 3), (4..6, 5, 6, 5)] {
        let rest = events[..missing.start].iter().chain(&events[missing.end..]);
        let report = verify(rest);
        let chain = name(1);
        assert!(
            report.faults.contains(&Fault::Missing { chain, from, to }),
            "{missing:?}: {report:?}"
        );
        assert_eq!(report.fault_count, 1);
        // The checkpoint in front of the hole still proves what is before it.
        assert_eq!(report.chains[0].proved, proved, "{missing:?}");
    }
}

#[test]
fn an_end_that_was_cut_off_leaves_the_chain_without_its_last_word() {
    let events = whole(1);
    for end in 4..7 {
        assert!(!verify(&events[..end]).chains[0].is_complete, "{end}");
    }
}

#[test]
fn a_changed_event_is_found_wherever_it_stands() {
    let events = whole(1);
    for n in 0..events.len() {
        let mut changed = events.clone();
        let text = String::from_utf8(changed[n].clone()).unwrap();
        changed[n] = text
            .replace("\"decision\":\"allow\"", "\"decision\":\"deny\"")
            .into_bytes();
        assert_ne!(changed[n], events[n]);
        let report = verify(&changed);
        assert!(!report.is_sound(), "{n}");
        assert!(report.proved < 7, "{n}");
    }
}

#[test]
fn whoever_writes_history_anew_needs_the_key() {
    let mut forged = Chain::new(Uuid::from_u128(1), CheckpointKey::from_seed([4; 32]).unwrap());
    let mut events: Vec<_> = (0..3).map(|n| forged.join(&event(n, &DONE))).collect();
    events.push(checkpoint(&mut forged, true));
    // Alone it looks like any other chain; its key is not the one that was announced elsewhere.
    assert!(verify(&events).is_sound());
    let genuine = chain(1).public;
    let mut verifier = Verifier::new(None, vec![genuine]);
    events.iter().for_each(|event| add(&mut verifier, event));
    let report = verifier.finish();
    let why = "its key is none of the given ones";
    assert!(report.faults.contains(&Fault::Key { chain: name(1), why }));
    let why = "it is signed with none of the given keys";
    let (chain, seq) = (name(1), 4);
    assert!(report.faults.contains(&Fault::Checkpoint { chain, seq, why }));
    assert_eq!(
        (report.proved, report.chains[0].key_trust),
        (0, KeyTrust::Foreign)
    );
    // With the first events of the genuine chain in front, the key changes in between.
    let mut spliced = whole(1)[..3].to_vec();
    let mut tail = Chain {
        head: Head::START,
        ..forged
    };
    (0..3).for_each(|n| drop(chain_join(&mut tail, n)));
    spliced.push(checkpoint(&mut tail, true));
    assert!(!verify(&spliced).is_sound());
}

fn chain_join(chain: &mut Chain, n: u128) -> Vec<u8> {
    chain.join(&event(n, &DONE))
}

/// Three events of a chain that announces `key`, or does not, without a checkpoint.
fn unproved(key: bool) -> Vec<Vec<u8>> {
    let mut chain = chain(1);
    let mut events: Vec<_> = (0..3).map(|n| chain_join(&mut chain, n)).collect();
    if !key {
        let text = String::from_utf8(events.remove(0)).unwrap();
        let at = text.find(",\"chain_key\":\"").unwrap();
        let first = text[..at].to_owned() + &text[at + 14 + 64 + 1..];
        events = vec![first.into_bytes()];
    }
    events
}

#[test]
fn where_keys_are_given_a_chain_without_a_known_one_does_not_count() {
    let key = chain(1).public;
    for (announced, sound) in [(true, true), (false, false)] {
        let mut verifier = Verifier::new(None, vec![key]);
        unproved(announced)
            .iter()
            .for_each(|event| add(&mut verifier, event));
        let report = verifier.finish();
        assert_eq!(report.is_sound(), sound, "{report:?}");
        assert_eq!((report.proved, report.unproved), (0, report.events));
    }
}

#[test]
fn a_key_that_does_not_count_is_told_from_one_that_is_not_known_and_from_a_secret() {
    let seed = PublicKey::from_hex(&"03".repeat(32)).unwrap();
    let other = CheckpointKey::from_seed([4; 32]).unwrap().public();
    for (key, from, words) in [
        (other, 0, "none of the given"),
        (other, 1, "not known"),
        (seed, 0, "`evidence key`"),
    ] {
        let mut verifier = Verifier::new(None, vec![key]);
        whole(1)[from..3]
            .iter()
            .for_each(|event| add(&mut verifier, event));
        let faults = verifier.finish().faults;
        let is_it = |fault: &Fault| matches!(fault, Fault::Key { why, .. } if why.contains(words));
        assert!(faults.iter().any(is_it), "{words}: {faults:?}");
    }
}

#[test]
fn what_no_checkpoint_proves_may_be_given_a_bound() {
    let minute = 60_000_000;
    for (oldest, newest, sound) in [
        (AT - minute, AT + minute, true),
        (AT, AT, true),
        (AT + 1, AT + minute, false),
        (AT - minute, AT - 1, false),
    ] {
        let verifier = || Verifier::new(None, Vec::new()).unproved_between(oldest, newest);
        let (mut open, mut whole_one) = (verifier(), verifier());
        unproved(true).iter().for_each(|event| add(&mut open, event));
        whole(1).iter().for_each(|event| add(&mut whole_one, event));
        let expected = (!sound).then(|| Fault::Unproved {
            chain: name(1),
            from: 1,
            to: 3,
        });
        assert_eq!(open.finish().faults, Vec::from_iter(expected));
        assert!(whole_one.finish().is_sound());
    }
}

#[test]
fn a_long_request_that_ended_a_moment_ago_waits_for_its_checkpoint_like_others() {
    let minute = 60_000_000;
    for (checkpoints, sound) in [(true, true), (false, false)] {
        let mut chain = chain(1);
        let mut events = vec![chain_join(&mut chain, 0)];
        if checkpoints {
            let mut marker = Vec::new();
            write_checkpoint(&mut marker, Uuid::from_u128(9), AT + 10 * minute, false);
            events.push(chain.join(&marker));
        }
        // It began ten minutes ago.
        events.push(chain_join(&mut chain, 1));
        let mut verifier = Verifier::default().unproved_between(AT + 5 * minute, AT + 11 * minute);
        events.iter().for_each(|event| add(&mut verifier, event));
        assert_eq!(verifier.finish().is_sound(), sound, "{checkpoints}");
    }
}

#[test]
fn nothing_stands_behind_the_checkpoint_that_ends_a_chain() {
    let mut chain = chain(1);
    let mut events = vec![chain_join(&mut chain, 0), checkpoint(&mut chain, true)];
    events.extend((1..3).map(|n| chain_join(&mut chain, n)));
    let report = verify(&events);
    let (chain, from, to) = (name(1), 3, 4);
    assert_eq!(report.faults, [Fault::BehindEnd { chain, from, to }]);
}

#[test]
fn an_entry_with_another_id_than_its_event_is_named() {
    let events = whole(1);
    let mut verifier = Verifier::default();
    verifier.add(&id(&events[1]), &events[0], None);
    let event = id(&events[0]);
    assert_eq!(verifier.finish().faults, [Fault::Id { event }]);
}

#[test]
fn a_checkpoint_of_another_chain_proves_nothing() {
    let (one, two) = (whole(1), whole(2));
    let moved = String::from_utf8(two[3].clone())
        .unwrap()
        .replace(&name(2), &name(1));
    let mut events = one[..3].to_vec();
    events.push(moved.into_bytes());
    let report = verify(&events);
    assert_eq!(report.proved, 0);
    assert!(
        report
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::Checkpoint { seq: 4, .. }))
    );
}

#[test]
fn events_that_the_process_lost_are_told_from_missing_ones() {
    let mut chain = chain(1);
    let mut events = vec![chain_join(&mut chain, 0)];
    chain.skip(3);
    events.push(chain_join(&mut chain, 1));
    events.push(checkpoint(&mut chain, true));
    let report = verify(&events);
    assert_eq!(
        report.faults,
        [Fault::Lost {
            chain: name(1),
            from: 2,
            to: 4
        }]
    );
    assert_eq!(report.proved, 3, "what is there is proved all the same");
}

#[test]
fn two_events_with_one_number_are_a_conflict() {
    let mut events = whole(1);
    let mut other = chain(1);
    events.push(other.join(&event(77, &DONE)));
    let report = verify(&events);
    assert_eq!(
        report.faults,
        [Fault::Conflict {
            chain: name(1),
            seq: 1
        }]
    );
}

#[test]
fn signatures_are_judged_where_there_is_a_key() {
    let key = AuditKey::new(&[9; 32]).unwrap();
    let events = whole(1);
    let mut verifier = Verifier::new(Some(key.clone()), Vec::new());
    for (n, event) in events.iter().enumerate() {
        let signature = key.sign(if n == 2 { b"other" } else { event });
        let id = id(event);
        verifier.add(&id, event, (n != 1).then_some(&signature));
    }
    let report = verifier.finish();
    let unsigned = report.faults.iter().filter_map(|fault| match fault {
        Fault::Signature { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(
        unsigned.collect::<Vec<_>>(),
        [super::NO_SIGNATURE, "its signature does not hold"]
    );
    assert!(report.signatures_judged);
}

#[test]
fn events_in_no_chain_are_named_unless_they_may_be_and_broken_ones_are() {
    let outside = event(1, &DONE);
    let fault = Fault::Unchained { event: id(&outside) };
    for (verifier, named) in [
        (Verifier::default(), true),
        (Verifier::default().allow_unchained(), false),
    ] {
        let mut verifier = verifier;
        add(&mut verifier, &outside);
        verifier.add("", b"{", None);
        verifier.add_unreadable("line 3".to_owned());
        let text = String::from_utf8(whole(1).remove(0)).unwrap();
        add(
            &mut verifier,
            text.replace("\"chain_seq\":1", "\"chain_seq\":0").as_bytes(),
        );
        let report = verifier.finish();
        assert_eq!((report.unchained, report.fault_count), (1, 3 + u64::from(named)));
        assert_eq!(report.faults.contains(&fault), named);
    }
}

#[test]
fn an_event_that_names_another_one_is_told_by_its_id_and_by_that_of_the_one_there() {
    let events = whole(1);
    let mut changed = events.clone();
    let text = String::from_utf8(changed[1].clone()).unwrap();
    changed[1] = text
        .replace("\"decision\":\"allow\"", "\"decision\":\"deny\"")
        .into_bytes();
    let fault = Fault::Link {
        chain: name(1),
        seq: 3,
        event: id(&events[2]),
        before: Some(id(&events[1])),
    };
    assert_eq!(verify(&changed).faults, [fault]);
}
