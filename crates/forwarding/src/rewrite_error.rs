//! Why a request cannot cross.

use crate::framing::AmbiguousLength;

/// Why a request has no form in which it could cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The target has no path: `*`, or the authority form of `CONNECT`.
    #[error("the request target has no path")]
    Target,
    /// The joined target is longer than 64 KiB.
    #[error("the joined request target is too long")]
    JoinedTarget,
    /// `Content-Length` lines that disagree or are no number, or a transfer coding besides `chunked`.
    #[error("the framing is ambiguous")]
    AmbiguousLength,
}

impl From<AmbiguousLength> for RewriteError {
    fn from(_: AmbiguousLength) -> Self {
        Self::AmbiguousLength
    }
}
