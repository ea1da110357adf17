//! The file in which a replica keeps which memory of the store it saw last.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use testkit::clock::{FixedClock, START};
use testkit::redis::PrivateRedis;

use crate::contract::replay::set;
use crate::support::Replay;
use crate::support::store::{epoch, issued};

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
}

#[tokio::test]
async fn memory_that_somebody_removes_is_written_anew_and_knows_of_a_loss() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    let replay = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    let mark = issued("a", START);
    assert_eq!(set(replay.port(), &mark).await, "set");
    let written = std::fs::read_to_string(&memory).unwrap();
    std::fs::remove_file(&memory).unwrap();
    testkit::wait::until("the memory", async || memory.exists().then_some(())).await;
    assert_eq!(std::fs::read_to_string(&memory).unwrap(), written);
    drop(replay);
    let () = server.ask(&["FLUSHALL"]).await;
    let next = Replay::remembering(&server.url(), Some(memory), &clock);
    assert_ne!(
        set(next.port(), &mark).await,
        "set",
        "it was used, and the store forgot that"
    );
}

#[tokio::test]
async fn memory_is_written_beside_the_draft_of_another_gateway_with_the_same_process_id() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    // Both run in containers, on one volume.
    let draft = memory.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&draft, "half").unwrap();
    let replay = Replay::remembering(&server.url(), Some(memory.clone()), &clock);
    assert_eq!(set(replay.port(), &issued("a", START)).await, "set");
    assert!(memory.exists());
    assert_eq!(std::fs::read_to_string(draft).unwrap(), "half");
    let files = directory.path().read_dir().unwrap().count();
    assert_eq!(files, 2, "its own draft is gone");
}

#[tokio::test]
async fn memory_on_a_disk_that_hangs_costs_the_deadline_and_leaves_the_shared_epoch_alone() {
    let (server, clock) = (PrivateRedis::start().await, FixedClock::default());
    let healthy = Replay::remembering(&server.url(), None, &clock);
    assert_eq!(set(healthy.port(), &issued("a", START)).await, "set");
    let shared = epoch(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let memory = directory.path().join("replay-epoch");
    // Nobody writes into it, so that whoever opens it waits in the kernel.
    assert!(Command::new("mkfifo").arg(&memory).status().unwrap().success());
    let replay = Replay::hasty_remembering(&server.url(), Some(memory.clone()), &clock);
    for number in 0..3 {
        let mark = issued(&format!("b-{number}"), START);
        assert_eq!(set(replay.port(), &mark).await, "unavailable");
    }
    assert_eq!(replay.marks.stats().errors, 0, "Redis is not to blame");
    assert!(replay.marks.fault().unwrap().is_local());
    assert_eq!(epoch(&server).await, shared);
    assert_eq!(
        set(healthy.port(), &issued("c", START)).await,
        "set",
        "the others go on"
    );

    // The disk answers.
    std::fs::rename(&memory, directory.path().join("aside")).unwrap();
    drop(
        OpenOptions::new()
            .write(true)
            .open(directory.path().join("aside"))
            .unwrap(),
    );
    replay.well().await;
    assert_eq!(set(replay.port(), &issued("d", START)).await, "set");
}
