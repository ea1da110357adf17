mod shard;
mod table;

use std::time::Duration;

use admission::ports::Moment;

use super::{Memory, Seen, Standing, Verdict};
use crate::replay::epoch::value::{History, Name, Value};

const NOW: u64 = 1000;

fn at(unix: u64) -> Moment {
    Moment {
        unix: Duration::from_secs(unix),
        monotonic: Duration::from_secs(unix),
    }
}

/// An answer of the store. `told` is `run/replication`, or empty where the server may not be asked.
fn seen(text: Option<&str>, told: &str, link: u64) -> Seen {
    let (run, replication) = told.split_once('/').unwrap_or_default();
    Seen {
        text: text.map(str::to_owned),
        history: History {
            run: run.to_owned(),
            replication: replication.to_owned(),
        },
        link,
        slot: None,
    }
}

/// A gateway that knows this value since long, over the first connection.
fn knowing(text: &str, told: &str) -> Memory {
    let mut memory = Memory {
        proposed: Some((text.to_owned(), 1)),
        ..Memory::default()
    };
    let verdict = memory.judge(&seen(Some(text), told, 1), "fresh", at(1));
    assert!(matches!(verdict, Verdict::Keep(_)), "{verdict:?}");
    memory
}

fn recalling(name: &str) -> Memory {
    let mut memory = Memory::default();
    memory.recall(Name::parse(name));
    memory
}

fn kept(mut memory: Memory, text: Option<&str>, told: &str, link: u64) -> Option<String> {
    match memory.judge(&seen(text, told, link), "fresh", at(NOW)) {
        Verdict::Keep(_) => None,
        Verdict::Write(next) => Some(next),
    }
}

#[test]
fn epoch_without_the_right_to_ask_counts_each_connection_once() {
    let text = "a.h.0:0:r";
    assert_eq!(
        kept(Memory::default(), None, "", 1).as_deref(),
        Some("fresh..0:0:"),
        "first use"
    );
    assert_eq!(
        kept(Memory::default(), Some(text), "", 1).as_deref(),
        Some("fresh..0:1002:")
    );
    assert_eq!(
        kept(recalling("a.h.0"), Some(text), "", 1).as_deref(),
        Some("fresh..0:1002:")
    );
    assert_eq!(
        kept(knowing(text, ""), Some(text), "", 1),
        None,
        "the same connection"
    );
    assert_eq!(
        kept(knowing(text, ""), Some(text), "", 2).as_deref(),
        Some("fresh..0:1002:")
    );
    assert_eq!(
        kept(knowing(text, ""), Some("b..0:77:"), "", 1),
        None,
        "another's connection"
    );
    assert_eq!(
        kept(knowing(text, ""), Some("b..0:1002:"), "", 2),
        None,
        "another has just said so"
    );
    assert_eq!(
        kept(knowing(text, ""), Some("b..20:1002:"), "", 2).as_deref(),
        Some("fresh..20:1022:"),
        "another has said so 20 seconds ago"
    );

    // What it wrote itself it takes, over the same connection only.
    let mut memory = Memory::default();
    let Verdict::Write(next) = memory.judge(&seen(Some(text), "", 1), "fresh", at(NOW)) else {
        panic!("a loss that cannot be excluded")
    };
    let later = at(NOW + 10);
    let again = memory.judge(&seen(Some(&next), "", 2), "again", later);
    assert_eq!(again, Verdict::Write("again..0:1012:".to_owned()));
    let Verdict::Keep(Some(loss)) = memory.judge(&seen(Some("again..0:1012:"), "", 2), "third", later) else {
        panic!("it is known")
    };
    assert_eq!(loss.unix_seconds(), 1012);
}

#[test]
fn birth_has_a_margin_of_the_greatest_lead_and_is_later_than_one_before() {
    for (leads, expect) in [(&[][..], 1002), (&[0], 1002), (&[5, 20, 7], 1022), (&[900], 1032)] {
        let mut memory = knowing("a.h.0:0:r", "r/h");
        for lead in leads {
            memory.expect(Some(NOW as i64 + lead), at(NOW).unix);
        }
        let Verdict::Write(next) = memory.judge(&seen(None, "r/h", 1), "fresh", at(NOW)) else {
            panic!("{leads:?}")
        };
        assert_eq!(Value::parse(&next).unwrap().birth, expect, "{leads:?}");
    }
    for of_a_clock_ahead in [knowing("a.h.3:1080:r", "r/h"), recalling("a.1080.3")] {
        assert_eq!(
            kept(of_a_clock_ahead, None, "r/h", 1).as_deref(),
            Some("fresh.h.3:1081:r")
        );
    }
}

#[test]
fn birth_by_a_clock_far_ahead_ends_with_the_next_loss() {
    let lost = Some("fresh.h.0:1002:r");
    let far = "a.h.0:5000:r";
    for (case, memory, text, expect) in [
        ("the key is deleted", knowing(far, "r/h"), None, lost),
        ("deleted, from disk", recalling("a.5000.0"), None, lost),
        ("it is elsewhere", Memory::default(), Some("a.h.0:5000:q"), lost),
        (
            "another put it right",
            knowing(far, "r/h"),
            Some("b.h.0:1002:r"),
            None,
        ),
        ("nobody put it right", knowing(far, "r/h"), Some(far), None),
        ("taken for new", knowing(far, "r/h"), Some("b.h.0:0:r"), lost),
        (
            "a clock that is a minute ahead",
            knowing("a.h.0:1092:r", "r/h"),
            None,
            Some("fresh.h.0:1093:r"),
        ),
        (
            "another forgot that clock",
            knowing("a.h.0:1092:r", "r/h"),
            Some("b.h.0:1002:r"),
            Some("fresh.h.0:1093:r"),
        ),
    ] {
        assert_eq!(kept(memory, text, "r/h", 1).as_deref(), expect, "{case}");
    }
}

#[test]
fn what_is_written_down_tells_of_the_birth() {
    for (text, written, birth) in [("a.h.3:900:r", "a.900.3", 900), ("a.h.3:0:r", "a.h.3", 0)] {
        assert_eq!(knowing(text, "r/h").note().as_deref(), Some(written));
        assert_eq!(Name::parse(written).unwrap().birth(), birth, "{text}");
    }
}

#[test]
fn lead_is_told_to_the_others_before_a_mandate_that_has_it_passes() {
    let mut memory = knowing("a.h.0:0:r", "r/h");
    let stored = seen(Some("a.h.0:0:r"), "r/h", 1);
    let ahead = Some(NOW as i64 + 8);
    assert_eq!(memory.standing(ahead, &stored, at(NOW)), Standing::Vouched);
    memory.expect(ahead, at(NOW).unix);
    assert_eq!(memory.standing(ahead, &stored, at(NOW)), Standing::Unjudged);
    let told = "a.h.8:0:r";
    assert_eq!(
        memory.judge(&stored, "fresh", at(NOW)),
        Verdict::Write(told.to_owned())
    );
    let stored = seen(Some(told), "r/h", 1);
    assert_eq!(memory.judge(&stored, "fresh", at(NOW)), Verdict::Keep(None));
    assert_eq!(memory.standing(ahead, &stored, at(NOW)), Standing::Vouched);
}

#[test]
fn birth_by_a_clock_that_is_behind_is_moved_behind_what_was_let_pass() {
    let memory = knowing("a.h.0:0:r", "r/h");
    memory.expect(Some(NOW as i64), at(NOW).unix);
    assert_eq!(
        kept(memory, Some("b.h.0:900:r"), "r/h", 1).as_deref(),
        Some("b.h.0:1000:r")
    );
}

#[test]
fn nothing_passes_for_two_seconds_after_a_loss_that_was_not_known() {
    let mut memory = knowing("a.h.0:0:r", "r/h");
    let stored = seen(Some("b.h.0:900:r"), "r/h", 1);
    let Verdict::Keep(Some(_)) = memory.judge(&stored, "fresh", at(NOW)) else {
        panic!("news")
    };
    let later = Some(NOW as i64);
    assert!(matches!(
        memory.standing(later, &stored, at(NOW + 1)),
        Standing::Forgotten(_)
    ));
    assert_eq!(memory.standing(later, &stored, at(NOW + 2)), Standing::Vouched);

    assert!(!memory.is_starting(at(NOW + 1)), "it goes on serving");
}

#[test]
fn start_waits_for_the_others_while_a_mandate_from_before_the_loss_may_live() {
    let stored = seen(Some("b.h.0:900:r"), "r/h", 1);
    let expired = 900 + 86_400 + 60;
    for (now, waits) in [(NOW, true), (expired, true), (expired + 1, false)] {
        for mut memory in [Memory::default(), recalling("b.900.0")] {
            assert!(matches!(
                memory.judge(&stored, "fresh", at(now)),
                Verdict::Keep(_)
            ));
            let standing = memory.standing(Some(now as i64), &stored, at(now + 1));
            assert_eq!(standing != Standing::Vouched, waits, "{now}");
            assert_eq!(memory.is_starting(at(now + 1)), waits, "{now}");
            let standing = memory.standing(Some(now as i64), &stored, at(now + 2));
            assert_eq!(standing, Standing::Vouched);
            assert!(!memory.is_starting(at(now + 2)));
        }
    }
}

#[test]
fn loss_forgets_mandates_up_to_its_own_second_and_without_a_date() {
    let memory = knowing("a.h.0:100:r", "r/h");
    let stored = seen(Some("a.h.0:100:r"), "r/h", 1);
    for (issued_at, expect) in [
        (Some(99), true),
        (Some(100), true),
        (Some(101), false),
        (Some(-1), true),
        (None, true),
    ] {
        let forgotten = matches!(
            memory.standing(issued_at, &stored, at(NOW)),
            Standing::Forgotten(_)
        );
        assert_eq!(forgotten, expect, "{issued_at:?}");
    }
    let day = 86_400 + 60;
    assert!(matches!(
        memory.standing(None, &stored, at(100 + day)),
        Standing::Forgotten(_)
    ));
    assert_eq!(
        memory.standing(None, &stored, at(101 + day)),
        Standing::Vouched,
        "it has passed"
    );
}

#[test]
fn mark_counts_only_under_the_epoch_that_was_judged() {
    let memory = knowing("a.h.0:0:r", "r/h");
    for (case, text, told, link, expect) in [
        ("the same", Some("a.h.0:0:r"), "r/h", 1, Standing::Vouched),
        ("gone", None, "r/h", 1, Standing::Unjudged),
        ("another", Some("b.h.0:0:r"), "r/h", 1, Standing::Unjudged),
        ("another history", Some("a.h.0:0:r"), "r/i", 1, Standing::Unjudged),
        (
            "another connection",
            Some("a.h.0:0:r"),
            "r/h",
            2,
            Standing::Unjudged,
        ),
    ] {
        assert_eq!(
            memory.standing(Some(1), &seen(text, told, link), at(NOW)),
            expect,
            "{case}"
        );
    }
    let blank = Memory::default();
    assert_eq!(
        blank.standing(Some(1), &seen(None, "r/h", 1), at(NOW)),
        Standing::Unjudged
    );
}
