//! The contract of [`ReplayMarks`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use admission::ports::{Mark, MarkRefusal, ReplayMarks};
use testkit::clock::START;
use testkit::wait::until;
use tokio::task::JoinSet;

/// A mark that lives long enough for a test.
pub(crate) fn mark(jti: &str, holder: &str) -> Mark {
    Mark {
        jti: jti.to_owned(),
        holder: holder.to_owned(),
        life: Duration::from_secs(600),
        issued_at: Some(i64::try_from(START).unwrap()),
    }
}

/// How a set ended.
pub(crate) async fn set(marks: &dyn ReplayMarks, mark: &Mark) -> &'static str {
    match marks.set(mark).await {
        Ok(()) => "set",
        Err(MarkRefusal::Seen(_)) => "seen",
        Err(MarkRefusal::Unavailable(_)) => "unavailable",
    }
}

/// Every instance that `make` makes shares one store, as replicas do.
pub(crate) async fn replay_contract(make: impl Fn() -> Arc<dyn ReplayMarks>) {
    first_use_wins_and_later_ones_are_seen(&make).await;
    release_frees_only_the_holders_own_mark(&make).await;
    one_of_a_thousand_parallel_uses_wins(&make).await;
}

async fn first_use_wins_and_later_ones_are_seen(make: &impl Fn() -> Arc<dyn ReplayMarks>) {
    let (one, two) = (make(), make());
    assert_eq!(set(&*one, &mark("first", "a")).await, "set");
    assert_eq!(set(&*one, &mark("first", "b")).await, "seen");
    assert_eq!(set(&*two, &mark("first", "c")).await, "seen");
    assert_eq!(
        set(&*one, &mark("first", "a")).await,
        "seen",
        "even for its holder"
    );
    assert_eq!(set(&*two, &mark("another", "c")).await, "set");
}

async fn release_frees_only_the_holders_own_mark(make: &impl Fn() -> Arc<dyn ReplayMarks>) {
    let marks = make();
    assert_eq!(set(&*marks, &mark("kept", "a")).await, "set");
    assert_eq!(set(&*marks, &mark("freed", "a")).await, "set");
    marks.release(mark("kept", "somebody else"));
    marks.release(mark("freed", "a"));
    until("the mark to be free again", async || {
        (set(&*marks, &mark("freed", "b")).await == "set").then_some(())
    })
    .await;
    assert_eq!(set(&*marks, &mark("kept", "c")).await, "seen");
}

async fn one_of_a_thousand_parallel_uses_wins(make: &impl Fn() -> Arc<dyn ReplayMarks>) {
    let replicas = [make(), make(), make()];
    let winners = Arc::new(AtomicUsize::new(0));
    let mut uses = JoinSet::new();
    for (number, replica) in (0..1000).zip(replicas.iter().cycle()) {
        let (replica, winners) = (Arc::clone(replica), Arc::clone(&winners));
        uses.spawn(async move {
            match set(&*replica, &mark("contended", &number.to_string())).await {
                "set" => winners.fetch_add(1, Ordering::SeqCst),
                "seen" => 0,
                other => panic!("use {number}: {other}"),
            };
        });
    }
    uses.join_all().await;
    assert_eq!(winners.load(Ordering::SeqCst), 1);
}
