//! Why a relayed body is cut.

/// Nothing can be said to the caller any more: the connection is closed without a last chunk, or the
/// stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// An anchor was revoked.
    #[error("authority revoked")]
    Revoked,
    /// The upstream broke off.
    #[error("upstream broke off its response")]
    Upstream,
    /// The upstream was silent for longer than `STREAM_IDLE_TIMEOUT`.
    #[error("upstream silent for longer than STREAM_IDLE_TIMEOUT")]
    Silent,
    /// A fixed-length response took longer than `WRITE_TIMEOUT`.
    #[error("response took longer than WRITE_TIMEOUT")]
    TooSlow,
}
