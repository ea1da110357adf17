use uuid::Uuid;

use super::{Fault, KeyTrust, Report, Verifier, checkpoint_place};
use crate::chain::{Chain, CheckpointKey, Head, write_checkpoint};
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

fn verify<'a>(events: impl IntoIterator<Item = &'a Vec<u8>>) -> Report {
    let mut verifier = Verifier::new(None, Vec::new());
    for event in events {
        verifier.add(event, None);
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
    assert_eq!((chain.events, chain.proved, chain.is_complete), (6, 3, false));
}

#[test]
fn every_missing_event_is_named_and_takes_the_proof_of_those_before_it() {
    let events = whole(1);
    for (missing, from, to, proved) in [(0..1, 1, 1, 6), (1..3, 2, 3, 4), (3..4, 4, 4, 3), (4..6, 5, 6, 4)] {
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
        if n + 1 == events.len() {
            // Its own number, head and time are signed, and nothing follows that names it.
            continue;
        }
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
    events.iter().for_each(|event| verifier.add(event, None));
    let report = verifier.finish();
    assert!(report.faults.contains(&Fault::Key { chain: name(1) }));
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
fn a_spool_begins_where_shipping_stands() {
    let events = whole(1);
    let mut chain = chain(1);
    let key = chain.public;
    (0..3).for_each(|n| drop(chain_join(&mut chain, n)));
    let mut verifier = Verifier::new(None, vec![key]);
    verifier.begins_behind(&name(1), chain.head, key);
    // The third was shipped, and the process was killed before it knew.
    events[2..].iter().for_each(|event| verifier.add(event, None));
    let report = verifier.finish();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.chains[0].first, report.proved), (4, 4));
}

#[test]
fn signatures_are_judged_where_there_is_a_key() {
    let key = AuditKey::new(&[9; 32]).unwrap();
    let events = whole(1);
    let mut verifier = Verifier::new(Some(key.clone()), Vec::new());
    for (n, event) in events.iter().enumerate() {
        let signature = key.sign(if n == 2 { b"other" } else { event });
        verifier.add(event, (n != 1).then_some(&signature));
    }
    let report = verifier.finish();
    let unsigned = report
        .faults
        .iter()
        .filter(|fault| matches!(fault, Fault::Signature { .. }));
    assert_eq!(unsigned.count(), 2);
    assert!(report.signatures_judged);
}

#[test]
fn events_in_no_chain_are_counted_and_broken_ones_named() {
    let mut verifier = Verifier::new(None, Vec::new());
    verifier.add(&event(1, &DONE), None);
    verifier.add(b"{", None);
    let text = String::from_utf8(whole(1).remove(0)).unwrap();
    verifier.add(
        text.replace("\"chain_seq\":1", "\"chain_seq\":0").as_bytes(),
        None,
    );
    let report = verifier.finish();
    assert_eq!((report.unchained, report.fault_count), (1, 2));
}

/// What is there, what was sent to the anchor, how many are there as they were sent, and the faults.
type Row<'a> = (Vec<Vec<u8>>, &'a [Vec<u8>], (u64, Vec<Fault>));

#[test]
fn what_was_sent_to_the_anchor_must_be_there_byte_for_byte() {
    let events = whole(1);
    let missing = |chain, from, to| Fault::Missing {
        chain: name(chain),
        from,
        to,
    };
    let anchored = |why| Fault::Anchored {
        chain: name(1),
        seq: 7,
        why,
    };
    let changed = |event: &Vec<u8>| {
        let text = String::from_utf8(event.clone()).unwrap();
        text.replace("\"decision\":\"allow\"", "\"decision\":\"deny\"")
            .into_bytes()
    };
    let with_last = |last: Vec<u8>| [&events[..6], &[last]].concat();
    let rows: [Row<'_>; 8] = [
        (events.clone(), &[], (0, vec![])),
        (
            events.clone(),
            &[events[6].clone(), events[3].clone(), events[6].clone()],
            (2, vec![]),
        ),
        // The end was cut off, right behind a checkpoint too, which nothing else shows.
        (events[..6].to_vec(), &events[6..], (0, vec![missing(1, 7, 7)])),
        (
            events[..4].to_vec(),
            &[events[3].clone(), events[6].clone()],
            (1, vec![missing(1, 5, 7)]),
        ),
        // A whole chain is gone.
        (events.clone(), &whole(2)[3..4], (0, vec![missing(2, 1, 4)])),
        // The last event names itself nowhere else.
        (
            with_last(changed(&events[6])),
            &events[6..],
            (0, vec![anchored("the one that is there is another one")]),
        ),
        (
            events.clone(),
            &[events[6].clone(), changed(&events[6])],
            (1, vec![anchored("two different ones were sent to the anchor")]),
        ),
        (
            events.clone(),
            &[String::from_utf8(events[6].clone())
                .unwrap()
                .replace("final\":true", "final\":false")
                .into_bytes()],
            (0, vec![anchored("its signature does not hold")]),
        ),
    ];
    for (row, (there, sent, (found, faults))) in rows.into_iter().enumerate() {
        let mut verifier = Verifier::new(None, Vec::new());
        sent.iter()
            .for_each(|checkpoint| verifier.add_anchored(checkpoint));
        there.iter().for_each(|event| verifier.add(event, None));
        let report = verifier.finish();
        assert_eq!((report.anchored, report.faults), (found, faults), "{row}");
    }
}

#[test]
fn what_the_anchor_cannot_have_got_from_a_gateway_is_named() {
    let events = whole(1);
    let mut verifier = Verifier::new(None, vec![chain(1).public]);
    let mut stranger = Chain::new(Uuid::from_u128(2), CheckpointKey::from_seed([4; 32]).unwrap());
    verifier.add_anchored(&checkpoint(&mut stranger, true));
    verifier.add_anchored(&events[0]);
    verifier.add_anchored(&event(1, &DONE));
    verifier.add_anchored(b"{}");
    let faults = verifier.finish().faults;
    let anchored = |chain, why| Fault::Anchored {
        chain: name(chain),
        seq: 1,
        why,
    };
    assert_eq!(faults.len(), 4);
    assert_eq!(
        faults[..2],
        [
            anchored(2, "its key is none of the given ones"),
            anchored(1, "it is no checkpoint of a chain")
        ]
    );
    let is_line = |fault: &Fault| matches!(fault, Fault::AnchoredLine { .. });
    assert!(faults[2..].iter().all(is_line), "{faults:?}");
}

#[test]
fn only_a_signed_checkpoint_in_a_chain_has_a_place_to_be_sent_with() {
    let mut own = chain(1);
    own.join(&event(1, &DONE));
    let joined = checkpoint(&mut own, false);
    let place = checkpoint_place(&joined).unwrap();
    assert_eq!((place.chain_id, place.seq), (name(1), 2));
    assert_eq!(checkpoint_place(&own.join(&event(2, &DONE))), None);
    let mut apart = Vec::new();
    write_checkpoint(&mut apart, Uuid::from_u128(3), AT, true);
    assert_eq!(checkpoint_place(&apart), None, "in no chain");
    own.key = None;
    assert_eq!(checkpoint_place(&own.join(&apart)), None, "not signed");
    assert_eq!(checkpoint_place(b""), None);
}
