//! What the revocation machinery counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) messages: Counter,
    pub(super) invalid_signatures: Counter,
    pub(super) ambiguous: Counter,
    pub(super) nameless: Counter,
    pub(super) gaps: Counter,
    pub(super) reloads: Counter,
    pub(super) reload_errors: Counter,
    pub(super) stream_errors: Counter,
    /// Milliseconds between a message's `XADD` and its application, of the most recent one.
    pub(super) propagation: AtomicU64,
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationCounters {
    /// Revocation messages applied.
    pub messages: u64,
    /// Messages dropped because their signature fails.
    pub invalid_signatures: u64,
    /// Messages that verify but could mean two things: a snapshot was taken instead.
    pub ambiguous: u64,
    /// Verified revocation messages that name nothing to revoke (what other consumers dead-letter).
    pub nameless: u64,
    /// Times that a stream may have lost messages before they were read.
    pub gaps: u64,
    /// Snapshots loaded.
    pub reloads: u64,
    /// Snapshots that failed.
    pub reload_errors: u64,
    /// Failures of the stream connection.
    pub stream_errors: u64,
    /// Age of the most recent applied message when it was applied, in milliseconds.
    pub propagation_milliseconds: u64,
}

impl Counters {
    pub(super) fn read(&self) -> RevocationCounters {
        RevocationCounters {
            messages: self.messages.get(),
            invalid_signatures: self.invalid_signatures.get(),
            ambiguous: self.ambiguous.get(),
            nameless: self.nameless.get(),
            gaps: self.gaps.get(),
            reloads: self.reloads.get(),
            reload_errors: self.reload_errors.get(),
            stream_errors: self.stream_errors.get(),
            propagation_milliseconds: self.propagation.load(Ordering::Relaxed),
        }
    }
}
