//! Many who wait: a crowd on one connection, many connections, a flood.

use super::*;

/// A flood of always new `kid`s, one from each connection, and one good caller whose key was rotated in its midst.
struct Flood {
    callers: u64,
    /// How long a fetch takes.
    fetch: Duration,
    /// When the key is rotated, and the good caller shows it at once.
    rotated: Duration,
}

impl Flood {
    const TICK: Duration = Duration::from_millis(10);

    /// How long the good caller waits, and how many fetches are made in all.
    fn run(&self) -> (Duration, u64) {
        let (walk, none_shared) = (Walk::with(&["old"]), Semaphore::new(0));
        let own: Vec<_> = (0..=self.callers).map(|_| OwnPlace::default()).collect();
        let start = |kid, hash, caller: usize| {
            search(
                kid,
                hash,
                Place::new(&own[caller], [walk.0.waiting(), &none_shared]),
            )
        };
        let mut good = start("new", 1, 0);
        let mut bogus: Vec<_> = (1..own.len())
            .map(|at| start("bogus", 1000 + at as u64, at))
            .collect();
        let (mut queued, mut ends, mut fetches, mut next) = (false, None, 0, 1_000_000);
        for now in (0..).map(|tick| START + Self::TICK * tick) {
            if ends.is_some_and(|(at, _)| now >= at) {
                let (_, published) = ends.take().expect("a fetch");
                let published: &[&str] = if published { &["old", "new"] } else { &["old"] };
                assert!(!walk.0.finish(Ok(keys(published)), now));
            }
            for (at, bogus) in (1..).zip(&mut bogus) {
                match walk.0.decide(bogus, now) {
                    Step::Fetch { queue } => queued |= queue,
                    Step::Budget(_) => {}
                    Step::Refuse(KeyRefusal::Unknown) => {
                        next += 1;
                        // Its place is free before its next request takes it.
                        bogus.place = Place::new(&own[at], [walk.0.waiting(), &none_shared]);
                        *bogus = start("bogus", next, at);
                    }
                    other => panic!("{}", word(&other)),
                }
            }
            let is_rotated = now >= START + self.rotated;
            if is_rotated {
                match walk.0.decide(&mut good, now) {
                    Step::Key(_) => return (now - START - self.rotated, fetches),
                    Step::Fetch { queue } => queued |= queue,
                    Step::Budget(_) => {}
                    other => panic!("the good caller: {}", word(&other)),
                }
            }
            if std::mem::take(&mut queued) {
                walk.0.begin();
                fetches += 1;
                ends = Some((now + self.fetch, is_rotated));
            }
        }
        unreachable!("time goes on")
    }
}

#[test]
fn rotated_key_passes_every_flood_with_the_next_fetch_of_the_budget() {
    let at = Duration::from_millis;
    for callers in [0, 1, 100, 1000] {
        for fetch in [at(0), at(30), at(700)] {
            for rotated in [at(0), at(10), at(1990), at(2000), at(3330)] {
                let flood = Flood {
                    callers,
                    fetch,
                    rotated,
                };
                let (waited, fetches) = flood.run();
                // The fetch under way, the budget, and the fetch that looks for it.
                let most = fetch * 2 + at(2000) + Flood::TICK * 3;
                let case =
                    format!("{callers} callers, {fetch:?}, {rotated:?}: {waited:?}, {fetches} fetches");
                assert!(waited <= most, "{case}");
                assert!(fetches <= 5 + (rotated + waited).as_secs() / 2, "{case}");
            }
        }
    }
}

/// What many requests of one connection are told that stay, and their searches.
fn crowd<'a>(
    walk: &'a Walk,
    own: &'a OwnPlace,
    all: &'a Semaphore,
    kid: &'a str,
    at: Duration,
) -> (Vec<&'static str>, Vec<Search<'a>>) {
    let one = |number: u64| {
        let place = Place::new(own, [walk.0.waiting(), all]);
        let mut search = search(kid, 1_000_000 + number, place);
        (word(&walk.0.decide(&mut search, at)), search)
    };
    (0..1000).map(one).unzip()
}

fn count(words: &[&str], wanted: &str) -> usize {
    words.iter().filter(|word| **word == wanted).count()
}

#[test]
fn requests_of_one_connection_that_wait_for_the_budget_are_bounded() {
    let (walk, own, all) = (Walk::with(&["a"]), OwnPlace::default(), Semaphore::new(1000));
    for spent in ["b", "c", "d", "e"] {
        assert_eq!(walk.ask(spent, START), "fetch");
        walk.fetch(Ok(keys(&["a"])), START);
    }
    let (words, crowd) = crowd(&walk, &own, &all, "bogus", START);
    assert_eq!(count(&words, "budget"), 1 + MAX_WAITING_PER_ZONE);
    assert_eq!(count(&words, "too many"), 1000 - 1 - MAX_WAITING_PER_ZONE);
    assert_eq!(walk.ask("a", START), "key", "a kept key needs no place");
    assert_eq!(
        walk.ask("bogus", START),
        "budget",
        "another connection has its own"
    );
    drop(crowd);
    assert!(
        own.take().is_some() && all.available_permits() == 1000,
        "free again"
    );
}

#[test]
fn requests_that_wait_for_a_fetch_are_bounded_in_each_zone_and_in_all() {
    let (one, other, all) = (Walk::new(), Walk::new(), Semaphore::new(MAX_WAITING_PER_ZONE + 5));
    let own = [(); 3].map(|()| OwnPlace::default());
    let (words, _one) = crowd(&one, &own[0], &all, "a", START);
    assert_eq!((words[0], count(&words, "join")), ("fetch", MAX_WAITING_PER_ZONE));
    assert_eq!(count(&words, "too many"), 1000 - 1 - MAX_WAITING_PER_ZONE);
    let (words, _other) = crowd(&other, &own[1], &all, "a", START);
    assert_eq!((words[0], count(&words, "join")), ("fetch", 5));
    let (cold, _taken) = (Walk::new(), own[2].take());
    let (words, _) = crowd(&cold, &own[2], &all, "a", START);
    assert_eq!(
        words[..2],
        ["too many, fetch", "too many"],
        "it is fetched all the same"
    );
}

#[test]
fn zone_without_keys_lets_every_connection_wait() {
    let (walk, none_shared) = (Walk::new(), Semaphore::new(0));
    let own: Vec<_> = (0..500).map(|_| OwnPlace::default()).collect();
    let mut searches: Vec<_> = own
        .iter()
        .map(|own| search("a", 1, Place::new(own, [walk.0.waiting(), &none_shared])))
        .collect();
    let mut ask = || -> Vec<_> {
        searches
            .iter_mut()
            .map(|search| word(&walk.0.decide(search, START)))
            .collect()
    };
    let words = ask();
    assert_eq!((words[0], count(&words, "join")), ("fetch", 499));
    walk.fetch(Ok(keys(&["a"])), START);
    assert_eq!(count(&ask(), "key"), 500);
}

#[test]
fn key_past_its_time_serves_when_too_many_wait_for_the_next() {
    let (walk, own, all) = (Walk::with(&["a"]), OwnPlace::default(), Semaphore::new(10));
    let (words, _crowd) = crowd(&walk, &own, &all, "bogus", START + TTL);
    assert_eq!((words[0], count(&words, "join")), ("fetch", 10));
    let place = Place::new(&own, [walk.0.waiting(), &all]);
    assert_eq!(
        word(&walk.0.decide(&mut search("a", 1, place), START + TTL)),
        "stale"
    );
}
