//! What tests of the replay marks do to, and read from, their server.

use admission::ports::Mark;
use testkit::redis::PrivateRedis;
use testkit::wait::until;

use super::Replay;
use crate::contract::replay::{mark, set};

/// A mark of a mandate that was issued at this second.
pub(crate) fn issued(jti: &str, at: u64) -> Mark {
    Mark {
        issued_at: Some(i64::try_from(at).unwrap()),
        ..mark(jti, "a")
    }
}

pub(crate) async fn flush(server: &PrivateRedis) {
    let () = server.ask(&["FLUSHALL"]).await;
}

pub(crate) async fn epoch(server: &PrivateRedis) -> String {
    server.ask(&["GET", "caracal:gateway:replay-epoch"]).await
}

/// Sets a mark, through whatever reconnection it takes.
pub(crate) async fn settled(replay: &Replay, mark: &Mark) -> &'static str {
    until("the store to answer", async || {
        Some(set(replay.port(), mark).await).filter(|outcome| *outcome != "unavailable")
    })
    .await
}

pub(crate) fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}
