use testkit::mint::{Key, jwks};

use super::*;

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
        let hash = kid.bytes().map(u64::from).sum();
        word(&self.decide(kid, hash, at))
    }

    /// The decision for a request that is gone after it.
    fn decide(&self, kid: &str, hash: u64, at: Duration) -> Step {
        let all = Semaphore::new(1);
        self.0.decide(kid, hash, at, &mut Place::new(&all, &self.0))
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
fn zone_without_keys_is_unavailable_until_the_backoff_is_over() {
    let walk = Walk::new();
    walk.ask("a", START);
    let mut at = START;
    for backoff in [500, 1000, 2000, 4000, 8000, 8000] {
        walk.fail(at);
        let over = at + Duration::from_millis(backoff);
        assert_eq!(
            walk.ask("a", over - Duration::from_nanos(1)),
            "unavailable",
            "{backoff}"
        );
        assert_eq!(walk.ask("a", over), "fetch", "{backoff}");
        at = over;
    }
    walk.fetch(Ok(keys(&["a"])), at);
    assert_eq!(walk.ask("a", at), "key");
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
    assert_eq!(walk.ask("other", old), "unavailable", "it cannot be told");
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
    assert_eq!(walk.ask("x", START), "fetch");
    walk.0.begin();
    assert_eq!(
        walk.ask("y", START),
        "join",
        "a fetch that began before it was seen"
    );
    assert!(!walk.0.finish(Ok(keys(&["a"])), START));
    assert_eq!(walk.ask("x", START), "unknown");
    assert_eq!(walk.ask("y", START), "fetch", "gets one of its own");
    walk.fetch(Ok(keys(&["a", "y"])), START);
    assert_eq!(walk.ask("y", START), "key");
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
            "budget" | "unknown" => {}
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

/// What many requests are told that stay, and their places.
fn crowd<'a>(
    walk: &'a Walk,
    all: &'a Semaphore,
    kid: &str,
    at: Duration,
) -> (Vec<&'static str>, Vec<Place<'a>>) {
    let one = |number: u64| {
        let mut place = Place::new(all, &walk.0);
        (
            word(&walk.0.decide(kid, 1_000_000 + number, at, &mut place)),
            place,
        )
    };
    (0..1000).map(one).unzip()
}

fn count(words: &[&str], wanted: &str) -> usize {
    words.iter().filter(|word| **word == wanted).count()
}

#[test]
fn requests_that_wait_for_the_budget_are_bounded() {
    let (walk, all) = (Walk::with(&["a"]), Semaphore::new(1000));
    for spent in ["b", "c", "d", "e"] {
        assert_eq!(walk.ask(spent, START), "fetch");
        walk.fetch(Ok(keys(&["a"])), START);
    }
    let (words, places) = crowd(&walk, &all, "bogus", START);
    assert_eq!(count(&words, "budget"), MAX_WAITING_PER_ZONE);
    assert_eq!(count(&words, "too many"), 1000 - MAX_WAITING_PER_ZONE);
    assert_eq!(walk.ask("a", START), "key", "a kept key needs no place");
    drop(places);
    assert_eq!(walk.ask("bogus", START), "budget", "their places are free again");
}

#[test]
fn requests_that_wait_for_a_fetch_are_bounded_in_each_zone_and_in_all() {
    let (one, other, all) = (Walk::new(), Walk::new(), Semaphore::new(MAX_WAITING_PER_ZONE + 5));
    let (words, _one) = crowd(&one, &all, "a", START);
    assert_eq!(
        (words[0], count(&words, "join")),
        ("fetch", MAX_WAITING_PER_ZONE - 1)
    );
    assert_eq!(count(&words, "too many"), 1000 - MAX_WAITING_PER_ZONE);
    let (words, _other) = crowd(&other, &all, "a", START);
    assert_eq!((words[0], count(&words, "join")), ("fetch", 4));
    let cold = Walk::new();
    let (words, _) = crowd(&cold, &all, "a", START);
    assert_eq!(
        words[..2],
        ["too many, fetch", "too many"],
        "it is fetched all the same"
    );
}

#[test]
fn key_past_its_time_serves_when_too_many_wait_for_the_next() {
    let (walk, all) = (Walk::with(&["a"]), Semaphore::new(10));
    let (words, _places) = crowd(&walk, &all, "bogus", START + TTL);
    assert_eq!((words[0], count(&words, "join")), ("fetch", 9));
    let mut place = Place::new(&all, &walk.0);
    assert_eq!(word(&walk.0.decide("a", 1, START + TTL, &mut place)), "stale");
}

#[test]
fn failed_fetch_for_an_unknown_kid_refuses_nothing_for_good() {
    let walk = Walk::with(&["a"]);
    assert_eq!(walk.ask("new", START), "fetch");
    walk.fail(START);
    assert_eq!(walk.ask("new", START), "unavailable");
    assert_eq!(walk.ask("a", START), "key");
    let later = START + FIRST_BACKOFF;
    assert_eq!(walk.ask("new", later), "fetch");
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
