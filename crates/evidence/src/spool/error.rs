//! Why the spool does not take something.

use std::io;
use std::path::PathBuf;

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The bound is below 1 MiB.
    #[error("the spool needs at least 1 MiB")]
    TooSmall,
    /// The directory cannot be made, locked or written to.
    #[error(
        "spool directory {dir}: {source}; name a directory that exists, or can be made, and that this user may write to"
    )]
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
    /// The group `fsync` took longer than five seconds.
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
