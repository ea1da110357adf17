use serde_json::Value;
use uuid::Uuid;

use super::{
    CHECKPOINT, CHECKPOINT_ZONE, Chain, CheckpointKey, EventHash, Head, MAX_CHAIN_BYTES, is_last,
    write_checkpoint,
};
use crate::testing::{DONE, event, interrupted};

fn chain() -> Chain {
    Chain::new(Uuid::from_u128(7), CheckpointKey::from_seed([3; 32]).unwrap())
}

fn checkpoint(is_final: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write_checkpoint(&mut out, Uuid::from_u128(99), 1_790_000_000_000_000, is_final);
    out
}

fn parsed(event: &[u8]) -> Value {
    serde_json::from_slice(event).unwrap()
}

#[test]
fn an_event_gets_its_place_and_keeps_everything_else() {
    let mut chain = chain();
    let (first, second) = (chain.join(&event(1, &DONE)), chain.join(&interrupted(2)));
    let (mut one, two) = (parsed(&first), parsed(&second));
    let metadata = one["metadata_json"].as_object_mut().unwrap();
    assert_eq!(
        metadata.remove("chain_id").unwrap(),
        "00000000-0000-0000-0000-000000000007"
    );
    assert_eq!(metadata.remove("chain_key").unwrap(), chain.public.hex());
    assert_eq!(metadata.remove("chain_prev").unwrap(), "0".repeat(64));
    assert_eq!(metadata.remove("chain_seq").unwrap(), 1);
    assert_eq!(one, parsed(&event(1, &DONE)));

    let metadata = &two["metadata_json"];
    assert_eq!(metadata["chain_prev"], EventHash::of(&first).hex());
    assert_eq!(metadata["chain_seq"], 2);
    assert!(metadata.get("chain_key").is_none());
    assert_eq!(
        chain.head,
        Head {
            seq: 2,
            hash: EventHash::of(&second)
        }
    );
}

#[test]
fn an_event_that_is_shipped_again_has_the_same_bytes() {
    let (mut once, mut again) = (chain(), chain());
    for n in 0..4 {
        assert_eq!(once.join(&event(n, &DONE)), again.join(&event(n, &DONE)));
    }
    assert_eq!(once.join(&checkpoint(true)), again.join(&checkpoint(true)));
    // A successor goes on from where the chain stood.
    let mut successor = Chain {
        head: once.head,
        ..chain()
    };
    assert_eq!(once.join(&event(9, &DONE)), successor.join(&event(9, &DONE)));
}

#[test]
fn a_checkpoint_states_what_came_before_it() {
    let mut chain = chain();
    let first = chain.join(&event(1, &DONE));
    for is_final in [false, true] {
        let before = chain.head;
        let event = parsed(&chain.join(&checkpoint(is_final)));
        assert_eq!(event["event_type"], CHECKPOINT);
        assert_eq!(event["zone_id"], CHECKPOINT_ZONE);
        let metadata = &event["metadata_json"];
        assert_eq!(
            (&metadata["final"], chain.is_final),
            (&Value::Bool(is_final), is_final)
        );
        assert_eq!(is_last(&checkpoint(is_final)), is_final);
        assert_eq!(metadata["count"], before.seq);
        assert_eq!(metadata["head"], before.hash.hex());
        assert_eq!(metadata["head"], metadata["chain_prev"]);
        assert_eq!(metadata["key"], chain.public.hex());
        assert_eq!(metadata["signature"].as_str().unwrap().len(), 128);
    }
    assert_eq!(chain.head.seq, 3);
    assert_ne!(chain.head.hash, EventHash::of(&first));
}

#[test]
fn lost_events_leave_their_numbers_unused() {
    let mut chain = chain();
    chain.skip(2);
    let event = parsed(&chain.join(&event(1, &DONE)));
    assert_eq!(event["metadata_json"]["chain_seq"], 3);
    // It is the first that was ever shipped.
    assert_eq!(event["metadata_json"]["chain_prev"], "0".repeat(64));
    assert_eq!(event["metadata_json"]["chain_key"], chain.public.hex());
}

#[test]
fn what_joins_grows_by_no_more_than_the_bound_and_what_is_no_event_not_at_all() {
    let mut chain = chain();
    chain.head.seq = u64::MAX - 1;
    chain.head.hash = EventHash::NONE;
    let marker = checkpoint(false);
    assert!(chain.join(&marker).len() - marker.len() <= MAX_CHAIN_BYTES);
    let before = chain.head;
    for other in [&b"{}"[..], b"", &[b'x'; 100]] {
        assert_eq!(chain.join(other), other);
    }
    assert_eq!(chain.head, before);
}

#[test]
fn debug_shows_no_key() {
    assert!(format!("{:?}", chain()).contains("CheckpointKey(redacted)"));
}
