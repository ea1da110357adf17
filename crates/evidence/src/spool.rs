//! The spool: evidence on the local disk until the audit stream has it.

mod claim;
mod flusher;
mod inner;
mod log;
mod quota;
mod record;
mod recovery;
mod room;
mod segment;
mod stats;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Outcome, REPLAY, Refusal, Replay, Request, Template, write_replay};
use claim::Claim;
use log::Log;

pub use flusher::Flusher;
pub use room::{Crossing, Room};
pub use stats::Stats;

pub(crate) use flusher::flush;
pub(crate) use inner::Inner;
pub(crate) use record::{Broken, Kind, MAX_RECORD};
pub(crate) use recovery::{Orphan, adopt};
pub(crate) use segment::{Records, Segment, read};
pub(crate) use stats::add;

/// Tells the time, in Unix microseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The least useful bound of a spool.
const MIN_BYTES: u64 = 1024 * 1024;

/// The greatest size of a segment.
const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

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
    /// Refusals a second that one zone may have written for one reason; those beyond it are summed.
    pub denials_per_second: u32,
    /// The time, for ages and for the quota of refusals.
    pub clock: Clock,
}

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The bound is below 1 MiB.
    #[error("the spool needs at least 1 MiB")]
    TooSmall,
    /// The directory cannot be made, locked or written to.
    #[error("spool directory {dir}: {source}")]
    Directory {
        /// The configured directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record could not be written.
    #[error("spool write: {0}")]
    Write(#[source] io::Error),
    /// A request with this id is already under way.
    #[error("the event id is in use")]
    DuplicateId,
    /// The group `fsync` did not come about within five seconds.
    #[error("the spool's fsync took longer than 5 s")]
    FsyncDeadline,
}

/// There is no room for a request's evidence, so the request must not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The spool is full: the audit stream has not taken events for long.
    #[error("the evidence spool is full")]
    Full,
    /// The disk does not take records.
    #[error("the evidence spool cannot be written")]
    Unwritable,
}

/// The evidence of this process. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool {
    pub(crate) inner: Arc<Inner>,
}

impl Spool {
    /// Opens a part of the spool for this process. The [`Flusher`] must be run for anything to become durable,
    /// a [`Shipper`](crate::Shipper) for anything to leave.
    ///
    /// # Errors
    /// [`SpoolError::TooSmall`], [`SpoolError::Directory`].
    pub fn open(config: SpoolConfig) -> Result<(Self, Flusher), SpoolError> {
        let SpoolConfig {
            ref dir, max_bytes, ..
        } = config;
        if max_bytes < MIN_BYTES {
            return Err(SpoolError::TooSmall);
        }
        let segment_bytes = (max_bytes / 16).min(MAX_SEGMENT_BYTES);
        let log = Claim::create(dir).and_then(|claim| Log::create(claim, segment_bytes));
        let log = log.map_err(|source| SpoolError::Directory {
            dir: dir.clone(),
            source,
        })?;
        // One segment is kept back for what must be written even when the spool is full: acknowledgements,
        // and the intents of long-lived requests that move on so that others can be deleted.
        let limit = max_bytes - segment_bytes;
        let inner = Arc::new(Inner::new(config, limit, log));
        Ok((
            Self {
                inner: Arc::clone(&inner),
            },
            Flusher::new(inner),
        ))
    }

    /// Promises room for the evidence of one request. Takes no lock and does not wait.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn reserve(&self) -> Result<Room, NoRoom> {
        Room::reserve(&self.inner)
    }

    /// Records a refusal that came after the signature was verified. Beyond `denials_per_second` of one
    /// zone and reason, counted by the request's `occurred_at`, refusals are summed into one event a second; the sum
    /// of a process that is killed within that second is lost.
    pub fn denied(&self, request: &Request<'_>, refusal: &Refusal) {
        let key = (request.id, request.request_id, request.occurred_at);
        self.inner
            .refuse(request.zone_id, refusal.error_kind, key, |out| {
                let mut template = Vec::new();
                let parts = Template::write(&mut template, request);
                parts.complete(&template, &Outcome::from(*refusal), out);
            });
    }

    /// Records the second use of a mandate. Has a quota like that of [`Spool::denied`].
    pub fn replay_detected(&self, replay: &Replay<'_>) {
        let key = (replay.id, replay.request_id, replay.occurred_at);
        self.inner
            .refuse(replay.zone_id, REPLAY, key, |out| write_replay(out, replay));
    }

    /// The state and the counters, as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

#[cfg(test)]
mod tests;
