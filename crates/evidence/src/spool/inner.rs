//! What the rooms, the flusher and the shipper of one spool share.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::budget::Budget;
use super::checkpoints::LastCheckpoint;
use super::config::{Clock, Fsync, SpoolConfig};
use super::disk::Disk;
use super::error::NoRoom;
use super::log::Log;
use super::quota::{Quota, Verdict};
use super::record::{self, Kind, MAX_RECORD};
use super::room::ROOM;
use super::stats::{Counters, Stats, add, get};
use super::unreadable::{Probed, Unread};
use crate::event::{Summary, write_summary};

pub(crate) struct Inner {
    pub(crate) fsync: Fsync,
    pub(crate) clock: Clock,
    pub(super) monotonic: Clock,
    pub(crate) root: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) fsync_timeout: Duration,
    pub(crate) counters: Counters,
    /// Tells the flusher that something was written.
    pub(crate) dirty: Notify,
    budget: Budget,
    /// Why nothing may be promised, as of the last time the log was locked.
    shut: AtomicU8,
    log: Mutex<Log>,
    /// Held by whoever syncs and deletes, one at a time; the segments that cannot be read whose intents move on.
    pub(super) syncing: Mutex<Unread>,
    /// Held by whoever asks whether the volume is sound: when that was answered last, and how. No request waits for it.
    pub(super) probed: Mutex<Option<Probed>>,
    /// Since when the flusher has waited for the disk, by the monotonic clock; 0 while it does not.
    pub(super) asking_since: AtomicI64,
    pub(super) durable: watch::Sender<u64>,
    quota: Mutex<Quota>,
    pub(super) checkpoints: Mutex<LastCheckpoint>,
    denials_per_second: u32,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(config: SpoolConfig, limit: u64, log: Log) -> Self {
        let SpoolConfig {
            dir: root,
            fsync,
            fsync_timeout,
            denials_per_second,
            clock,
            monotonic,
            ..
        } = config;
        let disk = Arc::clone(&log.site().disk);
        let checkpoints = Mutex::new(LastCheckpoint::at(clock()));
        let inner = Self {
            fsync,
            clock,
            monotonic,
            root,
            disk,
            fsync_timeout,
            counters: Counters::default(),
            dirty: Notify::new(),
            budget: Budget::new(limit, log.bytes()),
            shut: AtomicU8::new(NoRoom::code(log.shut())),
            log: Mutex::new(log),
            syncing: Mutex::default(),
            probed: Mutex::default(),
            asking_since: AtomicI64::new(0),
            durable: watch::Sender::new(0),
            quota: Mutex::default(),
            checkpoints,
            denials_per_second,
        };
        inner.measure();
        inner
    }

    pub(crate) fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Works on the log, and keeps what is readable without its lock up to date.
    pub(crate) fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        let mut log = self.log.lock();
        log.answers(!self.is_stuck());
        let result = work(&mut log);
        self.budget.wrote(log.bytes());
        self.shut.store(NoRoom::code(log.shut()), Ordering::Release);
        let news = log.announce();
        drop(log);
        if news {
            self.dirty.notify_one();
        }
        result
    }

    /// Whether everything is shipped and no request is under way, be its intent on record or not.
    pub(crate) fn is_idle(&self, log: &Log) -> bool {
        log.is_idle() && self.budget.promised() == 0
    }

    /// Bytes that are promised.
    #[cfg(test)]
    pub(crate) fn promised(&self) -> u64 {
        self.budget.promised()
    }

    /// Whether nobody holds the log.
    #[cfg(test)]
    pub(crate) fn is_at_hand(&self) -> bool {
        self.log.try_lock().is_some()
    }

    /// Looks how much space of the volume is taken, and how much is free besides the spare segment. Where that cannot be
    /// told, a write will.
    pub(super) fn measure(&self) -> (u64, u64) {
        let taken = self.taken();
        let dir = self.with_log(|log| log.home().map(|home| Arc::clone(home.dir())));
        let free = dir.and_then(|dir| dir.available().ok()).unwrap_or(u64::MAX);
        self.budget.has_space(taken.saturating_add(free));
        self.with_log(|log| log.measured(free));
        (taken, free)
    }

    fn taken(&self) -> u64 {
        get(&self.counters.adopted_bytes) + self.budget.written()
    }

    /// Whether less than a quarter of the bound is left beside what is on disk. What is promised is mostly given back.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.taken() > self.budget.limit() / 4 * 3
    }

    /// How long the shipper has got no further, with events that wait for it.
    pub(crate) fn stalled_for(&self) -> Duration {
        let since = self.counters.waiting_since();
        let now = u64::try_from(self.now()).unwrap_or(0);
        Duration::from_micros(if since == 0 { 0 } else { now.saturating_sub(since) })
    }

    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), NoRoom> {
        if let Some(why) = self.shut() {
            return Err(why);
        }
        self.promise(bytes)
    }

    /// Why nothing may be promised, if so.
    fn shut(&self) -> Option<NoRoom> {
        let stuck = || self.is_stuck().then_some(NoRoom::Stuck);
        NoRoom::of_code(self.shut.load(Ordering::Acquire)).or_else(stuck)
    }

    fn promise(&self, bytes: u64) -> Result<(), NoRoom> {
        let others = get(&self.counters.adopted_bytes);
        self.budget.promise(bytes, others).map_err(NoRoom::from)
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.budget.release(bytes);
    }

    pub(crate) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Writes a refusal, counts it, or drops it.
    pub(crate) fn refuse(
        &self,
        zone: &str,
        reason: &'static str,
        (id, request_id): (Uuid, &str),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        // The last quarter of the spool belongs to requests that cross.
        let scarce = self.budget.promised() + self.taken() > self.budget.limit() / 4 * 3;
        let allowed = if scarce { 0 } else { self.denials_per_second };
        // By the moment of writing, read under the lock: when a request began says nothing of how many are written now, and
        // a time that lies before another one's would begin a new window.
        let mut quota = self.quota.lock();
        let (verdict, due) = quota.admit(zone, reason, allowed, self.now(), (id, request_id));
        drop(quota);
        if let Some(summary) = due {
            self.summarise(&summary);
        }
        match verdict {
            Verdict::Write if self.standalone(id, write) => {}
            Verdict::Write | Verdict::Drop => add(&self.counters.dropped, 1),
            Verdict::Sum => add(&self.counters.suppressed, 1),
        }
    }

    /// Writes the sums of the seconds that are over, or all sums.
    pub(crate) fn summarise_due(&self, all: bool) {
        let due = self.quota.lock().due(self.now(), all);
        for summary in due {
            self.summarise(&summary);
        }
    }

    fn summarise(&self, summary: &Summary) {
        if !self.standalone(summary.id, |out| write_summary(out, summary)) {
            add(&self.counters.dropped, summary.suppressed);
        }
    }

    /// Appends an event that has no intent. False when there is no room.
    pub(super) fn standalone(&self, id: Uuid, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let promised = MAX_RECORD as u64;
        // Where the volume has no place for all that is promised, it may have one for this, or it is kept for a while: its
        // request may have been refused for just that.
        let promise = self.promise(promised);
        if promise == Err(NoRoom::Full) {
            return false;
        }
        let mut bytes = record::begin();
        write(&mut bytes);
        let event = record::seal(&mut bytes, Kind::Event, self.now(), id);
        let written = self.with_log(|log| log.note(&event));
        if promise.is_ok() {
            self.release(promised);
        }
        add(&self.counters.persisted, u64::from(written));
        written
    }

    pub(crate) fn stats(&self) -> Stats {
        let now = self.now();
        let (files, (waiting, since)) = self.with_log(|log| (log.files() as u64, log.waiting()));
        let adopted = i64::try_from(get(&self.counters.adopted_since))
            .ok()
            .filter(|since| *since > 0);
        let oldest = [since, adopted].into_iter().flatten().min().unwrap_or(now);
        let bytes = self.taken();
        let wanted = bytes + self.budget.promised();
        let depth = wanted.div_ceil(MAX_RECORD as u64);
        Stats {
            files: files + get(&self.counters.adopted_files),
            bytes,
            waiting,
            oldest_age_seconds: u64::try_from((now - oldest) / crate::timestamp::SECOND).unwrap_or(0),
            dropped: get(&self.counters.dropped),
            suppressed: get(&self.counters.suppressed),
            sink_errors: get(&self.counters.sink_errors),
            stream_full: self.counters.stream_full.load(Ordering::Relaxed),
            persisted: get(&self.counters.persisted),
            drained: get(&self.counters.drained),
            recovered: get(&self.counters.recovered),
            removed: get(&self.counters.removed),
            queue_depth: depth,
            queue_capacity: self.budget.limit() / MAX_RECORD as u64,
            available: self.shut().is_none() && self.budget.exceeded(wanted + ROOM).is_none(),
        }
    }
}
