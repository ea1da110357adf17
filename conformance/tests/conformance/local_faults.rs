//! Faults of one replica's own: they are nobody else's.

use crate::report::{Report, refusal};
use crate::world::{NONE, World, present_to};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

async fn shared_epoch(world: &World) -> Option<String> {
    let mut get = redis::cmd("GET");
    get.arg("caracal:gateway:replay-epoch");
    get.query_async(&mut world.redis().await)
        .await
        .expect("an answer of Redis")
}

#[tokio::test]
async fn replay_replica_that_cannot_read_its_memory_refuses_and_the_others_go_on() {
    let world = World::start().await;
    let mut report = Report::default();
    report.status("first use of the store", &world.get(NONE, "/").await, 200);
    let before = shared_epoch(&world).await;
    report.holds("there is an epoch", before.is_some());
    let issued_before = world.token(NONE);

    let spool = tempfile::tempdir().expect("a directory");
    fs::create_dir(spool.path().join("replay-epoch")).expect("a directory where a file should be");
    let directory = spool.path().display().to_string();
    let broken = world.replica_with(&[("AUDIT_REPLAY_DIR", &directory)]).await;
    let response = present_to(broken.addr(), &world.token(NONE), NONE, "/").await;
    report.refused(
        "the replica",
        &response,
        refusal(503, "authority_unavailable", "replay store unavailable"),
    );
    report.equal("the shared epoch", shared_epoch(&world).await, before);
    let response = world.present(&issued_before, NONE, "/").await;
    report.status("another replica, a mandate of before", &response, 200);

    fs::remove_dir(spool.path().join("replay-epoch")).expect("an empty directory");
    let response = present_to(broken.addr(), &world.token(NONE), NONE, "/").await;
    report.status("the replica, mended", &response, 200);
    report.finish();
}

#[tokio::test]
async fn replay_memory_is_for_its_owner_alone_also_where_it_was_not() {
    let world = World::start().await;
    let mut report = Report::default();
    let spool = tempfile::tempdir().expect("a directory");
    let (file, directory) = (
        spool.path().join("replay-epoch"),
        spool.path().display().to_string(),
    );
    let mode = || fs::metadata(&file).expect("the file").permissions().mode() & 0o777;
    for case in ["a new one", "one that others could read"] {
        let replica = world.replica_with(&[("AUDIT_REPLAY_DIR", &directory)]).await;
        let response = present_to(replica.addr(), &world.token(NONE), NONE, "/").await;
        report.status(case, &response, 200);
        report.equal(case, mode(), 0o600);
        drop(replica);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("our own file");
    }
    report.finish();
}
