//! Checkpoints that an anchor got.

use uuid::Uuid;

use super::super::{Fault, Verifier, checkpoint_place};
use super::{AT, add, chain, chain_join, checkpoint, name, whole};
use crate::chain::{Chain, CheckpointKey, write_checkpoint};
use crate::testing::{DONE, event};

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
    // Signed with the chain's key all the same.
    let other = {
        let mut chain = chain(1);
        (10..16).for_each(|n| drop(chain_join(&mut chain, n)));
        checkpoint(&mut chain, true)
    };
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
        (
            events.clone(),
            std::slice::from_ref(&other),
            (0, vec![anchored("the one that is there is another one")]),
        ),
        (
            events.clone(),
            &[events[6].clone(), other.clone()],
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
        there.iter().for_each(|event| add(&mut verifier, event));
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
