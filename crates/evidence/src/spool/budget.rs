//! How many bytes may still be promised, without a lock. `tests/budget.rs` goes through every interleaving of it.

use super::atomic::{AtomicU64, Ordering};

/// What does not hold what is to be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The bound of the spool.
    Limit,
    /// The volume.
    Space,
}

/// Bytes that are written, and bytes that are promised to be.
///
/// A promise is given back only when what was written of it is counted. So the sum of the two may be too large for a moment,
/// and is never too small.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    /// Promised, and not written.
    promised: AtomicU64,
    written: AtomicU64,
    /// How many bytes in all the volume has place for.
    space: AtomicU64,
}

impl Budget {
    /// Of at most `limit` bytes, `written` of which are.
    pub(crate) fn new(limit: u64, written: u64) -> Self {
        Self {
            limit,
            promised: AtomicU64::new(0),
            written: AtomicU64::new(written),
            space: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes note of what is written by now, before any of it is [given back](Self::release).
    pub(crate) fn wrote(&self, written: u64) {
        self.written.store(written, Ordering::Release);
    }

    /// Takes note of how many bytes the volume has place for, with those that are written.
    pub(crate) fn has_space(&self, bytes: u64) {
        self.space.store(bytes, Ordering::Release);
    }

    /// The most bytes in all.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that are written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes that are promised.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Acquire)
    }

    /// Promises so many bytes, beside those that others have taken.
    pub(crate) fn promise(&self, bytes: u64, others: u64) -> Result<(), Exceeded> {
        // The promise is made before what is written is read, so that no two can both take the last place.
        let promised = self.promised.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let exceeded = self.exceeded(promised + self.written() + others);
        exceeded.map_or(Ok(()), |exceeded| {
            self.release(bytes);
            Err(exceeded)
        })
    }

    /// What does not hold so many bytes in all.
    pub(crate) fn exceeded(&self, bytes: u64) -> Option<Exceeded> {
        if bytes > self.limit {
            Some(Exceeded::Limit)
        } else {
            (bytes > self.space.load(Ordering::Acquire)).then_some(Exceeded::Space)
        }
    }

    /// Gives back what was promised.
    pub(crate) fn release(&self, bytes: u64) {
        self.promised.fetch_sub(bytes, Ordering::AcqRel);
    }
}
