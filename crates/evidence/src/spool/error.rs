//! Why the spool does not take something.

use std::io;
use std::path::PathBuf;

use super::budget::Exceeded;

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
    /// The group `fsync` took longer than it may.
    #[error("the spool's fsync took longer than AUDIT_FSYNC_TIMEOUT")]
    FsyncDeadline,
}

/// There is no room for a request's evidence, so the request must not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The spool is full: the audit stream has not taken events for long.
    #[error("the evidence spool is full")]
    Full,
    /// The volume, or the user's quota on it, is used up.
    #[error(
        "the volume of AUDIT_REPLAY_DIR has no space left for the evidence spool; free some, or enlarge it"
    )]
    NoSpace,
    /// The disk does not take records.
    #[error("the evidence spool cannot be written; see the log for the system's answer")]
    Unwritable,
    /// The directory of this process is not there any more, and no new one could be made yet.
    #[error(
        "the evidence spool's directory was removed from AUDIT_REPLAY_DIR and cannot be made again; see the log"
    )]
    Removed,
    /// The disk does not say that it keeps what was written.
    #[error("the disk of AUDIT_REPLAY_DIR has not finished an fsync within AUDIT_FSYNC_TIMEOUT")]
    Stuck,
    /// The process is about to end, and its spool was emptied and removed.
    #[error("the evidence spool is closed")]
    Closed,
}

impl From<Exceeded> for NoRoom {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Limit => Self::Full,
            Exceeded::Space => Self::NoSpace,
        }
    }
}

impl NoRoom {
    const ALL: [Self; 6] = [
        Self::Full,
        Self::NoSpace,
        Self::Unwritable,
        Self::Removed,
        Self::Stuck,
        Self::Closed,
    ];

    /// A number for it, or for there being room.
    pub(super) fn code(room: Option<Self>) -> u8 {
        room.map_or(0, |why| why as u8 + 1)
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Its name, for `/ready`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "spool_full",
            Self::NoSpace => "no_space",
            Self::Unwritable => "spool_unwritable",
            Self::Removed => "spool_removed",
            Self::Stuck => "fsync_timeout",
            Self::Closed => "spool_closed",
        }
    }
}
