//! What the operator may want to know about the spool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A snapshot of the spool's state and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Segment files on disk, adopted ones included.
    pub files: u64,
    /// Bytes on disk, adopted files included.
    pub bytes: u64,
    /// Events that wait to be shipped, apart from adopted ones.
    pub waiting: u64,
    /// Whole seconds since the oldest event that waits to be shipped was recorded.
    pub oldest_age_seconds: u64,
    /// Events that could not be kept. Never that of a request that crossed, unless a file was damaged.
    pub dropped: u64,
    /// Refusals that were counted in another event instead of having one of their own.
    pub suppressed: u64,
    /// Attempts to ship that failed.
    pub sink_errors: u64,
    /// Whether shipping pauses because the stream holds as many entries as it may.
    pub stream_full: bool,
    /// Events that were written to the spool.
    pub persisted: u64,
    /// Events that the stream took.
    pub drained: u64,
    /// Events that dead processes left unfinished, and that were finished as `interrupted` or `not_dispatched`.
    pub recovered: u64,
    /// How often the directory, or a segment or the chain in it, was removed by somebody else.
    pub removed: u64,
    /// How much of the bound is taken or promised, in records of the greatest size.
    pub queue_depth: u64,
    /// The bound, in records of the greatest size. When the depth comes this near, requests are refused.
    pub queue_capacity: u64,
    /// Whether new requests can be recorded.
    pub available: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) dropped: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    pub(crate) sink_errors: AtomicU64,
    pub(crate) stream_full: AtomicBool,
    pub(crate) persisted: AtomicU64,
    pub(crate) drained: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) adopted_files: AtomicU64,
    pub(crate) adopted_bytes: AtomicU64,
    /// When the oldest adopted event that is not shipped was recorded; 0 when there is none.
    pub(crate) adopted_since: AtomicU64,
    /// Since when the shipper of own and of adopted events waits to be taken further; 0 when it has nothing to ship.
    shipping_since: [AtomicU64; 2],
}

/// Who recorded events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// This process.
    Own,
    /// One that died.
    Adopted,
}

impl Counters {
    pub(crate) fn adopted_since(&self, since: Option<i64>) {
        store(&self.adopted_since, since);
    }

    pub(crate) fn shipping_since(&self, whose: Whose, since: Option<i64>) {
        let [own, adopted] = &self.shipping_since;
        let shipping_since = match whose {
            Whose::Own => own,
            Whose::Adopted => adopted,
        };
        store(shipping_since, since);
    }

    /// Since when events have waited without one being taken further; 0 when none do.
    pub(crate) fn waiting_since(&self) -> u64 {
        let since = self.shipping_since.iter().map(get);
        since.filter(|since| *since > 0).min().unwrap_or(0)
    }

    pub(crate) fn stream_is_full(&self, full: bool) {
        self.stream_full.store(full, Ordering::Relaxed);
    }
}

fn store(time: &AtomicU64, at: Option<i64>) {
    let at = at.and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
    time.store(at, Ordering::Relaxed);
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, n: u64) {
    counter.fetch_sub(n, Ordering::Relaxed);
}

pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
