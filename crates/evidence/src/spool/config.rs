//! How a spool is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::CheckpointKey;

/// Tells the time, in Unix microseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// When a record counts as being in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When `write` has returned: it survives the end of the process. A group `fsync` follows within this
    /// time and makes it survive a power cut.
    Interval(Duration),
    /// When the group `fsync` has returned.
    Always,
}

/// How to set up a spool.
#[derive(Clone)]
pub struct SpoolConfig {
    /// The directory that all gateways of this machine share; made when missing.
    pub dir: PathBuf,
    /// The most bytes that this process keeps on disk, at least 1 MiB.
    pub max_bytes: u64,
    /// When a record counts as being in the spool.
    pub fsync: Fsync,
    /// How long an `fsync` may take before nothing new is accepted.
    pub fsync_timeout: Duration,
    /// Refusals a second that one zone may have written for one reason; those beyond it are summed.
    pub denials_per_second: u32,
    /// Signs the checkpoints of the chain; without one this process makes a key of its own.
    pub checkpoint_key: Option<CheckpointKey>,
    /// The time, for ages and for the quota of refusals.
    pub clock: Clock,
    /// Microseconds by a clock that nobody sets, never 0: for how long the disk takes.
    pub monotonic: Clock,
}
