//! What a walk that ends early gives back, and what it does not.

use std::sync::Arc;

use admission::ports::Mark;
use testkit::clock::START;

use crate::ports::{Exchange, Set, World};
use crate::scene::{EXCHANGE_ID, Scene};

/// The walk ended: nothing is in flight and no room is held.
fn settled(world: &Arc<World>) {
    assert_eq!(world.inflight(), 0, "the exchange slot is returned");
    let count = |name| world.journal.calls().iter().filter(|call| **call == name).count();
    assert_eq!(
        count("room"),
        count("room returned"),
        "the evidence room is returned"
    );
}

fn released(world: &World) -> bool {
    let released = world.journal.released.lock().unwrap();
    let set = world.journal.marks.lock().unwrap();
    match released.as_slice() {
        [] => false,
        [mark] => {
            assert_eq!(
                set.as_slice(),
                std::slice::from_ref(mark),
                "the mark that was set is the one released"
            );
            true
        }
        more => panic!("released {} times", more.len()),
    }
}

#[test]
fn replay_mark_outlives_its_mandate_and_names_this_attempt() {
    let walked = Scene::with(|scene| {
        scene
            .headers
            .push(("x-request-id", "chosen-by-client".to_owned()));
    })
    .walk();
    assert!(walked.result.is_ok());
    let marks = walked.world.journal.marks.lock().unwrap();
    let [
        Mark {
            holder,
            life,
            issued_at,
            jti,
        },
    ] = marks.as_slice()
    else {
        panic!("one mark")
    };
    assert_eq!(holder, EXCHANGE_ID);
    assert_eq!(life.as_secs(), 900 + 60);
    assert_eq!(*issued_at, i64::try_from(START).ok());
    assert!(!jti.is_empty());
}

#[test]
fn replay_mark_life_is_never_capped() {
    let walked = Scene::with(|scene| scene.mandate(|mandate| mandate.claim("exp", START + 86_400))).walk();
    assert_eq!(
        walked.world.journal.marks.lock().unwrap()[0].life.as_secs(),
        86_400 + 60
    );
}

#[test]
fn replay_mark_set_by_a_clock_that_is_ahead_outlives_its_mandate_at_the_others() {
    // 95 seconds ahead; by the other clocks the mandate has just been issued.
    let walked = Scene::with(|scene| {
        scene.mandate(|mandate| mandate.claim("iat", START - 95).claim("exp", START + 805));
    })
    .walk();
    assert_eq!(
        walked.world.journal.marks.lock().unwrap()[0].life.as_secs(),
        900 + 60
    );
}

#[test]
fn replay_mark_is_released_when_nothing_can_have_left() {
    for exchange in [Exchange::Local, Exchange::Connect, Exchange::PoolTimeout] {
        let walked = Scene::with(|scene| scene.script.exchange = exchange).walk();
        assert!(walked.result.is_err());
        assert!(released(&walked.world), "the mandate can be used again");
        settled(&walked.world);
    }
}

#[test]
fn replay_mark_whose_answer_was_lost_is_released() {
    let walked = Scene::with(|scene| scene.script.set = Set::Unavailable).walk();
    assert!(walked.result.is_err());
    assert!(released(&walked.world));
    settled(&walked.world);
}

#[test]
fn replay_mark_of_somebody_else_is_not_released() {
    let walked = Scene::with(|scene| scene.script.set = Set::Seen).walk();
    assert!(walked.result.is_err());
    assert!(!released(&walked.world));
    settled(&walked.world);
}

#[test]
fn replay_mark_is_released_when_the_caller_hangs_up_before_departure() {
    for change in [
        (|scene: &mut Scene| scene.script.set = Set::Hangs) as fn(&mut Scene),
        |scene| scene.script.exchange = Exchange::HangsBefore,
    ] {
        let world = Scene::with(change).walk_and_hang_up();
        assert!(released(&world));
        settled(&world);
    }
}

#[test]
fn replay_mark_stays_once_bytes_may_have_left() {
    let refusal = r#"{"error":"access_denied"}"#.to_owned();
    for exchange in [
        Exchange::Timeout,
        Exchange::Broken,
        Exchange::Oversized,
        Exchange::OversizedUnnoticed,
        Exchange::Answers(403, refusal.clone()),
        Exchange::Answers(503, String::new()),
        Exchange::Answers(302, String::new()),
        Exchange::Answers(200, "<html>".to_owned()),
        Exchange::AnswersUnnoticed(403, refusal),
        Exchange::AnswersUnnoticed(200, r#"{"access_token":"a.b.c"}"#.to_owned()),
    ] {
        let walked = Scene::with(|scene| scene.script.exchange = exchange).walk();
        assert!(walked.result.is_err());
        assert!(!released(&walked.world), "the mandate is spent");
        settled(&walked.world);
    }
}

#[test]
fn replay_mark_stays_when_the_caller_hangs_up_after_departure() {
    let world = Scene::with(|scene| scene.script.exchange = Exchange::HangsAfter).walk_and_hang_up();
    assert!(!released(&world));
    settled(&world);
}

#[test]
fn replay_mark_stays_after_a_grant_and_the_room_goes_with_the_permit() {
    let (world, permit) = Scene::good().walk().split();
    assert_eq!(world.inflight(), 0, "the exchange is over");
    assert!(!world.journal.has("room returned"));
    drop(permit);
    assert!(world.journal.has("room returned") && !released(&world));
}

#[test]
fn circuit_slot_that_was_not_used_is_not_counted() {
    let world = Scene::with(|scene| {
        scene.circuit_faults = 4;
        scene.script.exchange = Exchange::HangsAfter;
    })
    .walk_and_hang_up();
    settled(&world);
    let unable = Scene::with(|scene| {
        scene.circuit_faults = 4;
        scene.script.exchange = Exchange::Local;
    })
    .walk();
    settled(&unable.world);
    let walked = Scene::with(|scene| {
        scene.circuit_faults = 4;
        scene.script.exchange = Exchange::Connect;
    })
    .walk();
    let figures = |world: &World| {
        world
            .circuit
            .figures(admission::ports::Clock::now(&world.clock))
            .opened
    };
    assert_eq!(
        figures(&world),
        0,
        "a caller that hung up says nothing about the STS"
    );
    assert_eq!(
        figures(&unable.world),
        0,
        "nor does a process without descriptors"
    );
    assert_eq!(figures(&walked.world), 1, "the fifth failure to connect does");
}
