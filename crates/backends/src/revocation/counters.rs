//! What the revocation machinery counts, for metrics.

/// What the streams and snapshots brought so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationCounters {
    /// Revocation messages applied.
    pub messages: u64,
    /// Messages dropped because their signature fails.
    pub invalid_signatures: u64,
    /// Messages that verify but could mean two things: a snapshot was taken instead.
    pub ambiguous: u64,
    /// Verified messages that name nothing (what other consumers dead-letter): a snapshot was taken instead.
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
