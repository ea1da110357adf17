//! The spool: evidence on the local disk until the audit stream has it.

mod budget;
mod chain_file;
mod checkpoints;
mod claim;
mod commit;
mod config;
mod disk;
mod error;
mod flusher;
mod inner;
mod log;
mod offline;
mod orphan;
mod quota;
mod record;
mod recovery;
mod room;
mod segment;
mod stats;
mod superseded;
mod unreadable;

use std::path::Path;
use std::sync::{Arc, atomic};
use std::time::Duration;

use crate::event::{Outcome, REPLAY, Refusal, Replay, Request, Template, write_replay};
use claim::Claim;
use disk::is_full;
pub(crate) use disk::{Disk, System};
use log::{Log, Site};

pub use config::{Clock, Fsync, SpoolConfig};
pub use error::{NoRoom, SpoolError};
pub use flusher::Flusher;
pub use offline::{SpoolPart, Stored, read_spool};
pub use room::{Crossing, Departure, Room};
pub use stats::Stats;

pub(crate) use flusher::{blocking, flush};
pub(crate) use inner::Inner;
pub(crate) use orphan::Orphan;
pub(crate) use record::{Broken, Kind, MAX_RECORD, position};
pub(crate) use recovery::adopt;
pub(crate) use segment::{Records, Segment, Source, name_aside, read};
pub(crate) use stats::{Whose, add};
pub(crate) use unreadable::Unread;

/// How long a batch may take to be shipped.
const STALL: Duration = Duration::from_secs(1);

/// The least useful bound of a spool.
const MIN_BYTES: u64 = 1024 * 1024;

/// The greatest size of a segment.
const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// The evidence of this process. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool {
    pub(crate) inner: Arc<Inner>,
}

impl Spool {
    /// Opens a part of the spool for this process. The [`Flusher`] must be run for anything to become durable,
    /// a [`Shipper`](crate::Shipper) for anything to leave. On a volume without space it is opened all the same, and
    /// gives no room until there is.
    ///
    /// # Errors
    /// [`SpoolError::TooSmall`], [`SpoolError::Directory`].
    pub fn open(config: SpoolConfig) -> Result<(Self, Flusher), SpoolError> {
        Self::open_on(Arc::new(System), config)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, config: SpoolConfig) -> Result<(Self, Flusher), SpoolError> {
        let SpoolConfig {
            ref dir, max_bytes, ..
        } = config;
        if max_bytes < MIN_BYTES {
            return Err(SpoolError::TooSmall);
        }
        let segment_bytes = (max_bytes / 16).min(MAX_SEGMENT_BYTES);
        let site = Site::new(disk, dir.clone(), segment_bytes, config.checkpoint_key.clone());
        // One segment is kept back for what must be written even when the spool is full: acknowledgements,
        // and the intents of long-lived requests that move on so that others can be deleted.
        let limit = max_bytes - segment_bytes;
        Self::open_at(site, limit, config)
    }

    pub(crate) fn open_at(
        site: Site,
        limit: u64,
        config: SpoolConfig,
    ) -> Result<(Self, Flusher), SpoolError> {
        let log = Log::create(site);
        let log = log.map_err(|source| SpoolError::Directory {
            dir: config.dir.clone(),
            source,
        })?;
        let inner = Arc::new(Inner::new(config, limit, log));
        Ok((
            Self {
                inner: Arc::clone(&inner),
            },
            Flusher::new(inner),
        ))
    }

    /// Whether a part of the spool could be opened in this directory. Nothing is left behind.
    ///
    /// # Errors
    /// [`SpoolError::Directory`].
    pub fn judge(dir: &Path) -> Result<(), SpoolError> {
        match Claim::judge(&System, dir) {
            Err(source) if !is_full(&source) => Err(SpoolError::Directory {
                dir: dir.to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Promises room for the evidence of one request. Takes no lock and does not wait.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn reserve(&self) -> Result<Room, NoRoom> {
        Room::reserve(&self.inner)
    }

    /// Records a refusal that came after the signature was verified. Beyond `denials_per_second` of one
    /// zone and reason, counted when they are written, refusals are summed into one event a second; the sum
    /// of a process that is killed within that second is lost.
    pub fn denied(&self, request: &Request<'_>, refusal: &Refusal) {
        let key = (request.id, request.request_id);
        self.inner
            .refuse(request.zone_id, refusal.error_kind, key, |out| {
                let mut template = Vec::new();
                let parts = Template::write(&mut template, request);
                parts.complete(&template, &Outcome::from(*refusal), out);
            });
    }

    /// Records the second use of a mandate. Has a quota like that of [`Spool::denied`].
    pub fn replay_detected(&self, replay: &Replay<'_>) {
        let key = (replay.id, replay.request_id);
        self.inner
            .refuse(replay.zone_id, REPLAY, key, |out| write_replay(out, replay));
    }

    /// Whether less than a quarter of the bound is left: when it is full, requests are refused.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.inner.is_nearly_full()
    }

    /// Whether events have waited for longer than a second without one being shipped.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.inner.stalled_for() > STALL
    }

    /// The state and the counters, as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

#[cfg(test)]
mod tests;
