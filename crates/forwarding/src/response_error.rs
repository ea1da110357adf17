//! Why an answer cannot reach the caller.

use crate::framing::AmbiguousLength;

/// Why an answer has no form in which it could reach the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// A status of 1xx as the answer. Nobody asked the upstream to switch protocols.
    #[error("the upstream answered with an informational status")]
    Informational,
    /// A switch that does not fit the one that was asked for: another protocol, no proof that the key was read, or a
    /// subprotocol that nobody offered.
    #[error("the upstream's switch of protocols does not fit what it was asked")]
    SwitchUnfit,
    /// A success that is no switch, where the caller would take it for one (RFC 8441 §5).
    #[error("the upstream answered an extended CONNECT without a switch of protocols")]
    NotSwitched,
    /// `Content-Length` lines that disagree or are no number, or a transfer coding besides `chunked`.
    #[error("the upstream's framing is ambiguous")]
    AmbiguousLength,
}

impl From<AmbiguousLength> for ResponseError {
    fn from(_: AmbiguousLength) -> Self {
        Self::AmbiguousLength
    }
}
