//! Every interleaving of threads that promise, write and give back.

use loom::sync::{Arc, atomic};
use loom::thread;

#[path = "../src/spool/budget.rs"]
mod budget;

use budget::{Budget, Exceeded};

const LIMIT: u64 = 100;

#[test]
fn the_last_place_is_promised_to_one() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(LIMIT, 0));
        let other = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.promise(60, 0))
        };
        let promises = [budget.promise(60, 0), other.join().unwrap()];
        let kept = promises.iter().filter(|promise| promise.is_ok()).count();
        assert_eq!(kept, 1, "{promises:?}");
        assert!(promises.contains(&Err(Exceeded::Limit)));
        assert_eq!(budget.promised(), 60, "what was refused is given back");
    });
}

#[test]
fn what_is_written_stays_taken_when_its_promise_is_given_back() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(LIMIT, 20));
        budget.promise(60, 0).unwrap();
        let writer = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                budget.wrote(80);
                budget.release(60);
            })
        };
        assert_eq!(budget.promise(30, 0), Err(Exceeded::Limit));
        writer.join().unwrap();
        assert_eq!((budget.written(), budget.promised()), (80, 0));
        assert_eq!(budget.promise(20, 1), Err(Exceeded::Limit), "others have one");
        assert_eq!(budget.promise(20, 0), Ok(()));
    });
}

#[test]
fn what_is_promised_at_once_never_exceeds_what_the_volume_has() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(LIMIT, 0));
        budget.has_space(70);
        assert_eq!(
            (budget.exceeded(71), budget.exceeded(70)),
            (Some(Exceeded::Space), None)
        );
        let other = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                if budget.promise(40, 0).is_ok() {
                    budget.wrote(40);
                    budget.release(40);
                }
            })
        };
        let promised = budget.promise(40, 0);
        other.join().unwrap();
        let taken = budget.written() + budget.promised();
        assert!(taken <= 40, "{promised:?}: {taken}");
        assert_eq!(budget.limit(), LIMIT);
    });
}
