//! What replicas have confirmed.

use std::time::Duration;

use redis::{Pipeline, Value};

use crate::component::milliseconds;

/// A key that is written to have a place in the stream of replication.
pub(crate) const CONFIRM_KEY: &str = "caracal:gateway:confirm";
const KEY_LIFE: Duration = Duration::from_secs(60);
/// The longest that one `WAIT` is asked to take: a connection that waits answers no ping meanwhile.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How much later than asked a server may end it.
pub(crate) const WAIT_SLACK: Duration = Duration::from_secs(1);

/// Writes this key, and [`wait`]s: what the server took before, over whichever connection, is confirmed too.
/// Two answers, and the second one says nothing where the first one is an error.
pub(crate) fn write_and_wait(commands: &mut Pipeline, key: &str, min_replicas: u32, limit: Duration) {
    let write = commands.cmd("SET").arg(key).arg(1);
    write.arg("PX").arg(milliseconds(KEY_LIFE));
    wait(commands, min_replicas, limit);
}

/// Waits until this many replicas have what this connection wrote, or the limit passed. [`confirmed`] reads the answer.
pub(crate) fn wait(commands: &mut Pipeline, min_replicas: u32, limit: Duration) {
    // Zero would wait for ever.
    commands
        .cmd("WAIT")
        .arg(min_replicas)
        .arg(milliseconds(limit).max(1));
}

/// Whether this answer to `WAIT` tells of enough replicas.
pub(crate) fn confirmed(answer: Option<&Value>, min_replicas: u32) -> bool {
    matches!(answer, Some(Value::Int(replicas)) if *replicas >= i64::from(min_replicas))
}
