use admission::OwnPlace;
use testkit::mint::{Key, jwks};

use super::super::search::Place;
use super::*;

mod waiting;

const START: Duration = Duration::from_secs(1000);

/// The keys of a document.
fn keys(kids: &[&str]) -> Keys {
    let made: Vec<Key> = kids.iter().map(|kid| Key::generate(kid)).collect();
    admission::token::jwks::parse(jwks(&made).to_string().as_bytes()).unwrap()
}

/// What was decided, in a word.
fn word(step: &Step) -> &'static str {
    match step {
        Step::Key(_) => "key",
        Step::StaleKey { retry: true, .. } => "stale, retry",
        Step::StaleKey { retry: false, .. } => "stale",
        Step::Refuse(KeyRefusal::Unknown) => "unknown",
        Step::Refuse(KeyRefusal::Unavailable(_)) => "unavailable",
        Step::Fetch { queue: true } => "fetch",
        Step::Fetch { queue: false } => "join",
        Step::Budget(_) => "budget",
        Step::TooMany { queue: true } => "too many, fetch",
        Step::TooMany { queue: false } => "too many",
    }
}

fn hash(kid: &str) -> u64 {
    kid.bytes().map(u64::from).sum()
}

fn search<'a>(kid: &'a str, kid_hash: u64, place: Place<'a>) -> Search<'a> {
    Search {
        kid,
        kid_hash,
        place,
        begun: None,
    }
}

struct Walk(Zone);

impl Walk {
    fn new() -> Self {
        Self(Zone::new("zone", START, 0))
    }

    fn with(kids: &[&str]) -> Self {
        let walk = Self::new();
        assert_eq!(walk.ask("any", START), "fetch");
        walk.fetch(Ok(keys(kids)), START);
        walk
    }

    fn ask(&self, kid: &str, at: Duration) -> &'static str {
        word(&self.decide(kid, hash(kid), at))
    }

    /// The decision for a request that is gone after it.
    fn decide(&self, kid: &str, hash: u64, at: Duration) -> Step {
        let (own, all) = (OwnPlace::default(), Semaphore::new(1));
        let place = Place::new(&own, [self.0.waiting(), &all]);
        self.0.decide(&mut search(kid, hash, place), at)
    }

    fn fetch(&self, outcome: Result<Keys, Cause>, at: Duration) -> bool {
        self.0.begin();
        self.0.finish(outcome, at)
    }

    fn fail(&self, at: Duration) {
        assert!(!self.fetch(Err(Cause::new("the STS is down")), at));
    }
}

#[test]
fn zone_without_keys_is_fetched_once_for_all() {
    let walk = Walk::new();
    assert_eq!(walk.ask("a", START), "fetch");
    assert_eq!(walk.ask("b", START), "join");
    walk.fetch(Ok(keys(&["a"])), START);
    assert_eq!(walk.ask("a", START), "key");
}

#[test]
fn zone_without_keys_is_tried_again_twice_a_second_however_long_the_sts_fails() {
    let walk = Walk::new();
    walk.ask("a", START);
    let mut at = START;
    for _ in 0..10 {
        walk.fail(at);
        assert_eq!(walk.ask("a", at + RETRY - Duration::from_nanos(1)), "unavailable");
        at += RETRY;
        assert_eq!(walk.ask("a", at), "fetch");
    }
    walk.fetch(Ok(keys(&["a"])), at);
    assert_eq!(walk.ask("a", at), "key");
}

#[test]
fn keys_that_serve_past_their_time_are_fetched_less_and_less_often_while_the_sts_fails() {
    let walk = Walk::with(&["a"]);
    let mut at = START + TTL;
    assert_eq!(walk.ask("a", at), "fetch");
    for backoff in [500, 1000, 2000, 4000, 8000, 8000] {
        walk.fail(at);
        let over = at + Duration::from_millis(backoff);
        assert_eq!(
            walk.ask("a", over - Duration::from_nanos(1)),
            "stale",
            "{backoff}"
        );
        assert_eq!(walk.ask("a", over), "stale, retry", "{backoff}");
        at = over;
    }
}

#[test]
fn fetch_that_this_process_could_not_make_says_nothing_about_the_sts() {
    let lacking = || Err(Cause::local("no descriptors"));
    let cold = Walk::new();
    cold.ask("a", START);
    assert!(!cold.fetch(lacking(), START));
    let Step::Refuse(KeyRefusal::Unavailable(cause)) = cold.decide("a", 1, START) else {
        panic!("there are no keys")
    };
    assert!(cause.is_local());
    let walk = Walk::with(&["a"]);
    assert_eq!(walk.ask("new", START), "fetch");
    walk.fetch(lacking(), START);
    assert_eq!(walk.ask("new", START), "unavailable", "nobody was asked");
    let old = START + TTL;
    assert_eq!(walk.ask("a", old), "stale, retry");
    for time in 0..5 {
        walk.fetch(lacking(), old + RETRY * time);
        assert_eq!(walk.ask("a", old + RETRY * (time + 1)), "stale, retry", "{time}");
    }
    let failed = old + RETRY * 5;
    walk.fail(failed);
    assert_eq!(
        walk.ask("a", failed + FIRST_BACKOFF),
        "stale, retry",
        "as after a first failure"
    );
}

#[test]
fn keys_past_their_time_are_fetched_first_and_serve_while_that_fails() {
    let walk = Walk::with(&["a"]);
    assert_eq!(walk.ask("a", START + TTL - Duration::from_nanos(1)), "key");
    let old = START + TTL;
    assert_eq!(walk.ask("a", old), "fetch");
    assert_eq!(walk.ask("a", old), "join");
    walk.fail(old);
    assert_eq!(walk.ask("a", old), "stale");
    assert_eq!(walk.ask("other", old), "unknown", "the keys at hand decide");
    let later = old + FIRST_BACKOFF;
    assert_eq!(walk.ask("a", later), "stale, retry");
    assert_eq!(walk.ask("a", later), "stale");
    walk.fail(later);
    let almost = START + SERVE_STALE - Duration::from_nanos(1);
    assert_eq!(walk.ask("a", almost), "stale, retry");
    walk.fail(almost);
    assert_eq!(
        walk.ask("a", START + SERVE_STALE),
        "unavailable",
        "an hour is over"
    );
}

#[test]
fn unknown_kid_is_refused_after_a_fetch_of_its_own() {
    let walk = Walk::with(&["a"]);
    let (own, all) = ([(); 3].map(|()| OwnPlace::default()), Semaphore::new(0));
    let ask = |search: &mut Search<'_>| word(&walk.0.decide(search, START));
    let [mut x, mut y, mut z] = [0, 1, 2].map(|at| {
        let kid = ["x", "y", "z"][at];
        search(kid, hash(kid), Place::new(&own[at], [walk.0.waiting(), &all]))
    });
    assert_eq!(ask(&mut x), "fetch");
    walk.0.begin();
    assert_eq!(
        [ask(&mut y), ask(&mut z)],
        ["join", "join"],
        "a fetch that began before"
    );
    assert!(!walk.0.finish(Ok(keys(&["a"])), START));
    assert_eq!(ask(&mut x), "unknown");
    assert_eq!(walk.ask("x", START), "unknown", "remembered");
    assert_eq!([ask(&mut y), ask(&mut z)], ["fetch", "join"], "one for both");
    walk.fetch(Ok(keys(&["a", "y"])), START);
    assert_eq!([ask(&mut y), ask(&mut z)], ["key", "unknown"]);
}

#[test]
fn unknown_kid_of_a_zone_without_keys_needs_no_second_fetch() {
    let (walk, own, all) = (Walk::new(), OwnPlace::default(), Semaphore::new(0));
    let mut bogus = search("x", hash("x"), Place::new(&own, [walk.0.waiting(), &all]));
    assert_eq!(word(&walk.0.decide(&mut bogus, START)), "fetch");
    walk.fetch(Ok(keys(&["a"])), START);
    assert_eq!(word(&walk.0.decide(&mut bogus, START)), "unknown");
}

#[test]
fn unknown_kids_cannot_exhaust_the_budget_for_a_rotated_key() {
    let walk = Walk::with(&["old"]);
    let mut fetches = 0;
    for bogus in 0..1000_u64 {
        match word(&walk.decide("bogus", 1_000_000 + bogus, START)) {
            "fetch" => {
                fetches += 1;
                walk.fetch(Ok(keys(&["old"])), START);
            }
            "budget" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(fetches, 4);
    // A mandate of a rotated key waits for the next fetch of the budget, which finds it.
    let Step::Budget(wait) = walk.decide("new", 1, START) else {
        panic!("the budget is spent")
    };
    assert!(wait <= Duration::from_secs(2));
    assert_eq!(walk.ask("new", START + wait), "fetch");
    walk.fetch(Ok(keys(&["old", "new"])), START + wait);
    assert_eq!(walk.ask("new", START + wait), "key");
}

#[test]
fn keys_at_hand_decide_when_the_fetch_for_an_unknown_kid_failed() {
    let walk = Walk::with(&["a"]);
    assert_eq!(walk.ask("new", START), "fetch");
    walk.fail(START);
    assert_eq!(walk.ask("new", START), "unknown");
    assert_eq!(walk.ask("a", START), "key");
    let later = START + RETRY;
    assert_eq!(walk.ask("new", later), "fetch", "that is not remembered");
    walk.fetch(Ok(keys(&["a", "new"])), later);
    assert_eq!(walk.ask("new", later), "key");
}

#[test]
fn invalidation_during_a_fetch_causes_another() {
    let walk = Walk::with(&["a"]);
    assert!(walk.0.invalidate(), "queued");
    assert!(!walk.0.invalidate(), "queued already");
    walk.0.begin();
    assert!(!walk.0.invalidate());
    assert!(walk.0.finish(Ok(keys(&["a"])), START), "once more");
    assert_eq!(walk.ask("x", START), "join");
    assert!(!walk.fetch(Ok(keys(&["a", "x"])), START));
    assert_eq!(walk.ask("x", START), "key");
}

#[test]
fn keys_in_use_are_due_before_their_time_is_over() {
    let walk = Walk::with(&["a"]);
    let due = START + TTL * REFRESH_AT / 100;
    assert!(!walk.0.is_due(due - Duration::from_nanos(1)));
    assert!(walk.0.is_due(due));
    assert!(!walk.0.is_due(due), "queued once");
    walk.fetch(Ok(keys(&["a"])), due);
    assert!(
        !walk.0.is_due(START + IN_USE + TTL),
        "nobody asked for it in ten minutes"
    );
}
