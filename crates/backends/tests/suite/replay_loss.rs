//! A store that forgets its marks cannot vouch for mandates from before.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use admission::ports::Mark;
use testkit::clock::{FixedClock, START};
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use crate::contract::replay::{mark, set};
use crate::support::Replay;

fn issued(jti: &str, at: u64) -> Mark {
    Mark {
        issued_at: Some(i64::try_from(at).unwrap()),
        ..mark(jti, "a")
    }
}

async fn flush(server: &PrivateRedis) {
    let mut redis = server.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
}

async fn epoch(server: &PrivateRedis) -> String {
    let mut get = redis::cmd("GET");
    get.arg("caracal:gateway:replay-epoch");
    get.query_async(&mut server.connection().await).await.unwrap()
}

/// Sets a mark, through whatever reconnection it takes.
async fn settled(replay: &Replay, mark: &Mark) -> &'static str {
    until("the store to answer", async || {
        Some(set(replay.port(), mark).await).filter(|outcome| *outcome != "unavailable")
    })
    .await
}

#[tokio::test]
async fn first_use_is_no_loss() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let clock = FixedClock::default();
    let one = Replay::remembering(&server.url(), memory.clone(), &clock);
    let two = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(one.port(), &issued("a", START - 10)).await, "set");
    assert_eq!(set(two.port(), &issued("b", START - 10)).await, "set");
    let third = Replay::remembering(&server.url(), memory, &clock);
    assert_eq!(set(third.port(), &issued("c", START - 10)).await, "set");
    assert_eq!((one.marks.loss(), third.marks.loss()), (None, None));
    assert_eq!((one.marks.stats().losses, third.marks.stats().losses), (0, 0));
}

#[tokio::test]
async fn loss_counts_once_and_not_again_after_a_restart() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = Some(directory.path().join("replay-epoch"));
    let clock = FixedClock::default();
    let before = Replay::remembering(&server.url(), memory.clone(), &clock);
    assert_eq!(set(before.port(), &issued("a", START - 10)).await, "set");
    for jti in ["b", "c"] {
        flush(&server).await;
        assert_eq!(set(before.port(), &issued(jti, START - 10)).await, "seen");
        assert_eq!(set(before.port(), &issued(jti, START - 10)).await, "seen");
    }
    assert_eq!(before.marks.stats().losses, 2);
    let after = Replay::remembering(&server.url(), memory, &clock);
    assert_eq!(set(after.port(), &issued("d", START - 10)).await, "seen");
    assert_eq!(after.marks.stats().losses, 0, "known before");
}

#[tokio::test]
async fn flush_refuses_mandates_from_before_it_on_every_replica() {
    let server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let replicas = [(); 2].map(|()| Replay::remembering(&server.url(), None, &clock));
    for (number, replica) in replicas.iter().enumerate() {
        let mark = issued(&format!("before-{number}"), START);
        assert_eq!(set(replica.port(), &mark).await, "set");
    }
    flush(&server).await;
    clock.advance(Duration::from_secs(10));
    for (number, replica) in replicas.iter().enumerate() {
        let used = issued(&format!("before-{number}"), START);
        assert_eq!(set(replica.port(), &used).await, "seen", "its mark is forgotten");
        let unused = issued(&format!("unused-{number}"), START + 10);
        assert_eq!(set(replica.port(), &unused).await, "seen", "nobody can tell");
        let undated = Mark {
            issued_at: None,
            ..mark(&format!("undated-{number}"), "a")
        };
        assert_eq!(set(replica.port(), &undated).await, "seen");
        let later = issued(&format!("later-{number}"), START + 11);
        assert_eq!(set(replica.port(), &later).await, "set");
        let loss = replica.marks.loss().unwrap();
        assert_eq!(loss.unix_seconds(), START + 10);
    }
    clock.advance(Duration::from_secs(24 * 3600 + 61));
    let expired = issued("long-expired", START);
    assert_eq!(
        set(replicas[0].port(), &expired).await,
        "set",
        "the loss has passed"
    );
}

#[tokio::test]
async fn restarted_server_is_a_loss() {
    let mut server = PrivateRedis::start().await;
    let replay = Replay::start(&server.url());
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    server.restart().await;
    assert_eq!(settled(&replay, &issued("b", START)).await, "seen");
    assert_eq!(settled(&replay, &issued("c", START + 1)).await, "set");
}

#[tokio::test]
async fn another_primary_with_a_copy_of_the_epoch_is_a_loss() {
    let (first, second) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let clock = FixedClock::default();
    let replay = Replay::remembering(&first.url(), None, &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    let () = redis::cmd("SET")
        .arg("caracal:gateway:replay-epoch")
        .arg(epoch(&first).await)
        .query_async(&mut second.connection().await)
        .await
        .unwrap();
    let moved = Replay::remembering(&second.url(), None, &clock);
    assert_eq!(set(moved.port(), &issued("a", START)).await, "seen");
    assert_eq!(set(moved.port(), &issued("b", START + 1)).await, "set");
}

#[tokio::test]
async fn loss_while_every_gateway_was_down_is_noticed_from_the_file() {
    let server = PrivateRedis::start().await;
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    let clock = FixedClock::default();
    let before = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(before.port(), &issued("a", START)).await, "set");
    drop(before);
    flush(&server).await;
    let after = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(after.port(), &issued("a", START)).await, "seen");
    assert_eq!(set(after.port(), &issued("b", START + 1)).await, "set");
    drop(after);
    let next = Replay::remembering(&server.url(), Some(memory), &clock);
    assert_eq!(set(next.port(), &issued("c", START)).await, "seen", "still known");
}

#[tokio::test]
async fn gateway_without_memory_does_not_hide_the_loss_from_one_with_it() {
    let server = PrivateRedis::start().await;
    let clock = FixedClock::default();
    let old = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(old.port(), &issued("a", START)).await, "set");
    flush(&server).await;
    let new = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(
        set(new.port(), &issued("fresh", START)).await,
        "set",
        "it knows of nothing before"
    );
    assert_eq!(set(old.port(), &issued("a", START)).await, "seen");
    assert_eq!(
        set(new.port(), &issued("b", START)).await,
        "seen",
        "it has learnt of the loss"
    );
}

#[tokio::test]
async fn memory_that_does_not_read_back_refuses_and_leaves_the_shared_epoch_alone() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let healthy = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(healthy.port(), &issued("a", START)).await, "set");
    let shared = epoch(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let (empty, unreadable) = (
        directory.path().join("empty"),
        directory.path().join("unreadable"),
    );
    std::fs::write(&empty, "").unwrap();
    std::fs::create_dir(&unreadable).unwrap();
    for (number, memory) in [empty, unreadable].into_iter().enumerate() {
        let replay = Replay::remembering(&server.url(), Some(memory), &clock);
        let mark = issued(&format!("b-{number}"), START);
        assert_eq!(set(replay.port(), &mark).await, "unavailable");
        assert_eq!(replay.marks.stats().errors, 0, "Redis is not to blame");
        assert_eq!(epoch(&server).await, shared);
        let next = issued(&format!("c-{number}"), START);
        assert_eq!(set(healthy.port(), &next).await, "set", "the others go on");
    }
}

#[tokio::test]
async fn memory_is_for_its_owner_alone_also_where_it_was_not() {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    let start = || Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(start().port(), &issued("a", START)).await, "set");
    assert_eq!(mode(&memory), 0o600, "a new one");
    std::fs::set_permissions(&memory, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(set(start().port(), &issued("b", START)).await, "set");
    assert_eq!(mode(&memory), 0o600, "one of before");
    let draft = memory.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&draft, "half").unwrap();
    std::fs::set_permissions(&draft, Permissions::from_mode(0o644)).unwrap();
    flush(&server).await;
    assert_eq!(set(start().port(), &issued("c", START)).await, "seen");
    assert_eq!(
        mode(&memory),
        0o600,
        "one written over a draft that was left behind"
    );
}

#[tokio::test]
async fn gateway_that_may_not_ask_for_the_run_id_takes_no_other_primary_for_granted() {
    let server = PrivateRedis::start().await;
    let () = redis::cmd("ACL")
        .arg(&["SETUSER", "limited", "on", ">secret", "~*", "+@all", "-info"])
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    let (open, limited) = (
        Replay::start(&server.url()),
        Replay::start(&format!("redis://limited:secret@127.0.0.1:{}/0", server.port())),
    );
    for (number, replica) in [&open, &limited, &open, &limited].into_iter().enumerate() {
        let mark = issued(&format!("jti-{number}"), START - 10);
        assert_eq!(set(replica.port(), &mark).await, "set", "{number}");
        assert_eq!(replica.marks.loss(), None, "{number}");
    }
}

#[tokio::test]
async fn epoch_is_judged_once_for_all_who_wait_for_it() {
    let server = PrivateRedis::start().await;
    assert_eq!(
        set(Replay::start(&server.url()).port(), &issued("first", START)).await,
        "set"
    );
    let replay = Replay::start(&server.url());
    let marks: Vec<_> = (0..100).map(|n| issued(&format!("jti-{n}"), START)).collect();
    let outcomes = futures_util::future::join_all(marks.iter().map(|mark| set(replay.port(), mark)));
    assert!(outcomes.await.iter().all(|outcome| *outcome == "set"));
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    let calls = info.split_once("cmdstat_info:calls=").unwrap().1;
    let calls: u64 = calls.split_once(',').unwrap().0.parse().unwrap();
    assert!(calls < 20, "INFO was asked for {calls} times");
}
