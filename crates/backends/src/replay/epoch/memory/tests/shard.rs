//! One shard of a cluster: which slots it vouches for.

use std::time::Duration;

use super::{Memory, NOW, Seen, Standing, Verdict, at, seen};
use crate::replay::epoch::memory::Beginning;
use crate::replay::epoch::slots::Slots;
use crate::replay::epoch::value::Name;

fn slots(text: &str) -> Slots {
    Slots::parse(text).unwrap()
}

fn shard(serves: &str, beginning: Beginning) -> Memory {
    Memory::of_shard(Default::default(), slots(serves), beginning)
}

/// An answer for a mark in this slot, or for a look.
fn answer(text: &str, slot: Option<u16>) -> Seen {
    Seen {
        slot,
        ..seen(Some(text), "r/h", 1)
    }
}

/// One that serves these slots and has known this value since long.
fn knowing(serves: &str, text: &str) -> Memory {
    let mut memory = shard(serves, Beginning::InUse);
    let verdict = memory.judge(&answer(text, None), "fresh", at(1));
    assert!(matches!(verdict, Verdict::Keep(_)), "{verdict:?}");
    assert!(memory.is_judged(&answer(text, None), at(10)));
    memory
}

/// What it writes after an answer for this slot; none where the value stays.
fn written(memory: &mut Memory, text: &str, slot: Option<u16>, now: u64) -> Option<String> {
    match memory.judge(&answer(text, slot), "fresh", at(now)) {
        Verdict::Keep(_) => None,
        Verdict::Write(next) => Some(next),
    }
}

fn standing(memory: &Memory, text: &str, slot: Option<u16>, now: u64) -> Standing {
    let young = i64::try_from(now).unwrap();
    memory.standing(Some(young), &answer(text, slot), at(now))
}

#[test]
fn slot_that_was_taken_over_is_a_loss_once_the_server_answers_for_it() {
    let text = "a.h.0:0:r/0-99";
    let mut memory = knowing("0-99", text);
    assert_eq!(standing(&memory, text, Some(99), NOW), Standing::Vouched);
    assert_eq!(standing(&memory, text, Some(100), NOW), Standing::Unjudged);
    assert_eq!(
        written(&mut memory, text, Some(100), NOW),
        None,
        "the cluster does not say so"
    );
    memory.serve(slots("0-199,300"));
    assert_eq!(
        standing(&memory, text, Some(99), NOW),
        Standing::Vouched,
        "nobody needs the others"
    );
    assert_eq!(written(&mut memory, text, None, NOW), None);
    let next = "fresh.h.0:1002:r/0-199,300";
    assert_eq!(written(&mut memory, text, Some(100), NOW).as_deref(), Some(next));
    assert_eq!(written(&mut memory, next, Some(100), NOW), None);
    assert_eq!(standing(&memory, next, Some(300), NOW + 3), Standing::Vouched);
}

#[test]
fn slot_that_left_is_not_vouched_for_when_it_is_back() {
    let (text, without) = ("a.h.0:0:r/0-99", "a.h.0:0:r/0-49,51-99");
    let mut memory = knowing("0-99", text);
    memory.serve(slots("0-49,51-99"));
    assert_eq!(
        standing(&memory, text, Some(7), NOW),
        Standing::Unjudged,
        "the others must know"
    );
    // Before that is written down.
    memory.serve(slots("0-99"));
    assert_eq!(standing(&memory, text, Some(50), NOW), Standing::Unjudged);
    assert_eq!(
        written(&mut memory, text, Some(7), NOW).as_deref(),
        Some(without),
        "no loss"
    );
    let reborn = Some("fresh.h.0:1002:r/0-99");
    assert_eq!(written(&mut memory, text, Some(50), NOW).as_deref(), reborn);
    // Another gateway wrote it down.
    assert_eq!(written(&mut memory, without, Some(7), NOW), None);
    assert_eq!(standing(&memory, without, Some(7), NOW), Standing::Vouched);
    assert_eq!(written(&mut memory, without, Some(50), NOW).as_deref(), reborn);
}

#[test]
fn slot_that_leaves_while_a_value_is_written_is_not_vouched_for() {
    let mut memory = knowing("0-99", "a.h.0:0:r/0-99");
    memory.serve(slots("0-199"));
    let next = written(&mut memory, "a.h.0:0:r/0-99", Some(150), NOW).unwrap();
    memory.serve(slots("0-149,151-199"));
    memory.serve(slots("0-199"));
    let without = "fresh.h.0:1002:r/0-149,151-199";
    assert_eq!(written(&mut memory, &next, None, NOW).as_deref(), Some(without));
}

#[test]
fn what_others_say_of_slots_is_corrected_when_it_lasts() {
    let mut memory = knowing("0-99", "a.h.0:0:r/0-99");
    let others = "b.h.0:900:r/0-199";
    assert_eq!(
        written(&mut memory, others, None, NOW),
        None,
        "they may have heard earlier"
    );
    assert_eq!(standing(&memory, others, Some(7), NOW + 4), Standing::Vouched);
    assert_eq!(standing(&memory, others, Some(7), NOW + 5), Standing::Unjudged);
    let corrected = Some("b.h.0:900:r/0-99");
    assert_eq!(written(&mut memory, others, None, NOW + 5).as_deref(), corrected);
    let mut starting = shard("0-99", Beginning::InUse);
    assert_eq!(written(&mut starting, others, None, NOW).as_deref(), corrected);
    let mut without = shard("0-99", Beginning::InUse);
    assert_eq!(
        written(&mut without, "b.h.0:900:r", None, NOW).as_deref(),
        Some("b.h.0:900:r/")
    );
}

#[test]
fn slot_that_left_while_the_server_was_out_of_reach_is_remembered_by_the_next_process() {
    let text = "a.h.0:900:r/0-99";
    let judged = knowing("0-99", text);
    let mut unjudged = shard("0-99", Beginning::InUse);
    unjudged.recall(Name::parse(&judged.note().unwrap()));
    for mut memory in [judged, unjudged] {
        memory.serve(slots("0-49,51-99"));
        let note = memory.note().unwrap();
        let mut next = shard("0-99", Beginning::InUse);
        next.recall(Name::parse(&note));
        let without = Some("a.h.0:900:r/0-49,51-99");
        assert_eq!(written(&mut next, text, None, NOW).as_deref(), without, "{note}");
    }
}

#[test]
fn slot_that_left_before_the_first_judgement_is_not_vouched_for_when_it_is_back() {
    let (text, without) = ("a.h.0:0:r/0-99", Some("a.h.0:0:r/0-49,51-99"));
    let mut memory = shard("0-99", Beginning::InUse);
    memory.serve(slots("0-49,51-99"));
    memory.serve(slots("0-99"));
    assert_eq!(written(&mut memory, text, None, NOW).as_deref(), without);
    // Nor one that was elsewhere when the process began.
    let mut memory = shard("0-49,51-99", Beginning::InUse);
    memory.serve(slots("0-99"));
    assert_eq!(written(&mut memory, text, None, NOW).as_deref(), without);
}

#[test]
fn value_of_whoever_has_not_heard_yet_that_a_slot_left_is_corrected() {
    let (mut memory, text) = (knowing("0-99", "a.h.0:0:r/0-99"), "b.h.0:900:r/0-99");
    memory.serve(slots("0-49,51-99"));
    let without = "b.h.0:900:r/0-49,51-99";
    assert_eq!(written(&mut memory, text, None, NOW).as_deref(), Some(without));
    memory.serve(slots("0-99"));
    assert_eq!(written(&mut memory, text, None, NOW).as_deref(), Some(without));
    assert_eq!(written(&mut memory, without, None, NOW), None);
    // Who names it now has heard that it is back.
    assert_eq!(written(&mut memory, "c.h.0:901:r/0-99", None, NOW), None);
}

#[test]
fn slots_that_keep_arriving_are_taken_in_when_the_last_loss_is_settled() {
    let mut memory = knowing("0-99", "a.h.0:0:r/0-99");
    memory.serve(slots("0-199"));
    let next = "fresh.h.0:1002:r/0-199";
    let reborn = written(&mut memory, "a.h.0:0:r/0-99", Some(100), NOW);
    assert_eq!(reborn.as_deref(), Some(next));
    assert_eq!(written(&mut memory, next, Some(100), NOW), None);
    memory.serve(slots("0-299"));
    let soon = standing(&memory, next, Some(200), NOW + 1);
    assert!(matches!(soon, Standing::Forgotten(_)), "{soon:?}");
    assert_eq!(written(&mut memory, next, Some(200), NOW + 1), None);
    assert_eq!(standing(&memory, next, Some(200), NOW + 2), Standing::Unjudged);
    let last = Some("fresh.h.0:1004:r/0-299");
    assert_eq!(written(&mut memory, next, Some(200), NOW + 2).as_deref(), last);
}

#[test]
fn missing_key_is_a_first_use_only_where_no_shard_has_one() {
    let missing = seen(None, "r/h", 1);
    for (beginning, birth) in [
        (Beginning::FirstUse, 0),
        (Beginning::InUse, 1002),
        (Beginning::Joined, 1002),
    ] {
        let mut memory = shard("0-99", beginning);
        let next = Verdict::Write(format!("fresh.h.0:{birth}:r/0-99"));
        assert_eq!(memory.judge(&missing, "fresh", at(NOW)), next, "{beginning:?}");
    }
}

#[test]
fn key_that_becomes_that_of_a_shard_counts_only_if_it_was_just_born() {
    let joined = || shard("0-99", Beginning::Joined);
    let reborn = Some("fresh.h.0:1002:r/0-99");
    for (text, expect) in [
        ("a.h.0:0:r/0-99", reborn),
        ("a.h.0:996:r/0-99", reborn),
        ("a.h.0:997:r/0-99", None),
        ("a.h.0:1002:r/0-99", None),
        // Born when the lead was added to the time.
        ("a.h.20:1016:r/0-99", Some("fresh.h.20:1022:r/0-99")),
        ("a.h.20:1017:r/0-99", None),
    ] {
        assert_eq!(
            written(&mut joined(), text, None, NOW).as_deref(),
            expect,
            "{text}"
        );
    }
    let mut memory = joined();
    assert_eq!(written(&mut memory, "a.h.0:1002:r/0-99", None, NOW), None);
    assert!(!memory.is_starting(at(NOW)), "the gateway has long been ready");
    let soon = memory.standing(Some(2000), &answer("a.h.0:1002:r/0-99", Some(7)), at(NOW));
    assert!(matches!(soon, Standing::Forgotten(_)), "{soon:?}");
}

#[test]
fn all_shards_know_the_lead_that_one_has_seen() {
    let issued = std::sync::Arc::default();
    let one = Memory::of_shard(std::sync::Arc::clone(&issued), slots("0-99"), Beginning::InUse);
    let mut other = Memory::of_shard(issued, slots("100-199"), Beginning::InUse);
    one.expect(Some(1020), Duration::from_secs(NOW));
    let text = "a.h.0:0:r/100-199";
    assert_eq!(
        written(&mut other, text, None, NOW).as_deref(),
        Some("a.h.20:0:r/100-199")
    );
    let missing = other.judge(&seen(None, "r/h", 1), "fresh", at(NOW));
    assert_eq!(missing, Verdict::Write("fresh.h.20:1022:r/100-199".to_owned()));
}
